#include "tests/support/fake_channel.h"

#include <stdio.h>

#include "tests/support/unit.h"

static void receive(struct fake_channel *fake, const struct channel_message *message)
{
    int64_t id = message->notification->id;
    assert_in_range(id, 1, FAKE_CHANNEL_IDS_MAX - 1);
    fake->received[id]++;
    fake->order_of_arrival[fake->arrivals++] = id;
    snprintf(fake->subject, sizeof fake->subject, "%s", message->subject);
    snprintf(fake->total, sizeof fake->total, "%s", message->total);
}

static enum result fake_channel_send(void *self, const struct channel_message *message,
                                     struct error *error)
{
    struct fake_channel *fake = self;
    assert_in_range(fake->calls, 0, FAKE_CHANNEL_CALLS_MAX - 1);
    const struct fake_channel_outcome outcome = fake->outcomes[fake->calls++];
    if (fake->on_send)
        fake->on_send(fake->context);
    fake_clock_advance(fake->clock, outcome.late_ms);
    if (outcome.result == RESULT_OK || outcome.is_answer_lost)
        receive(fake, message);
    if (outcome.cause)
        error_write(error, "%s", outcome.cause);
    return outcome.result;
}

static void fake_channel_free(void *self)
{
    struct fake_channel *fake = self;
    fake->open--;
}

void fake_channel_init(struct fake_channel *fake, struct fake_clock *clock)
{
    *fake = (struct fake_channel){.clock = clock};
}

void fake_channel_open(struct fake_channel *fake, struct channel *ret_channel)
{
    static const struct channel_ops OPS = {.send = fake_channel_send, .free = fake_channel_free};
    *ret_channel = (struct channel){.ops = &OPS, .self = fake};
    fake->open++;
}

void fake_channel_play(struct fake_channel *fake, int nth, int times,
                       struct fake_channel_outcome outcome)
{
    assert_in_range(nth, 1, FAKE_CHANNEL_CALLS_MAX + 1 - times);
    for (int i = 0; i < times; i++)
        fake->outcomes[nth - 1 + i] = outcome;
}
