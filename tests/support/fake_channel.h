/* A channel without a receiver: it remembers what arrived, and plays the outcomes that a test
 * orders. Calls are counted from 1; where nothing is ordered, the receiver takes the message. For
 * one thread at a time. */
#ifndef TILLBOX_TESTS_SUPPORT_FAKE_CHANNEL_H
#define TILLBOX_TESTS_SUPPORT_FAKE_CHANNEL_H

#include "bridge/notification/channel.h"
#include "tests/support/fake_clock.h"

enum { FAKE_CHANNEL_CALLS_MAX = 256, FAKE_CHANNEL_IDS_MAX = 128, FAKE_CHANNEL_TEXT_SIZE = 256 };

struct fake_channel_outcome {
    enum result result;
    const char *cause;   /* NULL: none is given */
    int64_t late_ms;     /* the clock moves so far during the call */
    bool is_answer_lost; /* the message arrives, whatever the result */
};

struct fake_channel {
    struct fake_clock *clock;
    struct fake_channel_outcome outcomes[FAKE_CHANNEL_CALLS_MAX]; /* of each call, from 0 */
    int calls;
    int received[FAKE_CHANNEL_IDS_MAX]; /* how often, by the message's id */
    int64_t order_of_arrival[FAKE_CHANNEL_CALLS_MAX];
    int arrivals;
    char subject[FAKE_CHANNEL_TEXT_SIZE], total[FAKE_CHANNEL_TEXT_SIZE]; /* of the last */
    int open;                       /* channels that aren't freed */
    void (*on_send)(void *context); /* before each call; NULL: nothing */
    void *context;
};

void fake_channel_init(struct fake_channel *fake, struct fake_clock *clock);

/* A channel that records in `fake`, which must stay where it is. Any number may be open. */
void fake_channel_open(struct fake_channel *fake, struct channel *ret_channel);

/* What the nth call (from 1), and all together `times` calls, give. */
void fake_channel_play(struct fake_channel *fake, int nth, int times,
                       struct fake_channel_outcome outcome);

#endif
