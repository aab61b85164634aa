#include "bridge/sink_rabbitmq.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/topology.h"

enum { POLL_EVERY = 64 /* publishes between two looks at what the broker says */ };

/* A returned message is acknowledged all the same: only with that ack has it been dealt with. */
enum confirm {
    CONFIRM_PENDING,
    CONFIRM_PENDING_RETURNED,
    CONFIRM_TAKEN,
    CONFIRM_NACKED,
    CONFIRM_RETURNED,
};

struct sink_rabbitmq {
    const struct amqp_options *options;
    struct journal_info info;
    pthread_mutex_t lock; /* keeps the watchdog off a connection that is being closed */
    struct amqp *amqp;
    bool topology_denied;
};

static void detach(void *self)
{
    struct sink_rabbitmq *sink = self;
    pthread_mutex_lock(&sink->lock);
    struct amqp *amqp = sink->amqp;
    sink->amqp = NULL;
    pthread_mutex_unlock(&sink->lock);
    amqp_close(amqp);
}

static enum delivery connect(struct sink_rabbitmq *sink, struct error *error)
{
    struct amqp *amqp = NULL;
    enum delivery done = amqp_connect(sink->options, &amqp, error);
    if (done != DELIVERY_DONE)
        return done;
    pthread_mutex_lock(&sink->lock);
    sink->amqp = amqp;
    pthread_mutex_unlock(&sink->lock);
    return DELIVERY_DONE;
}

static enum delivery attach(void *self, struct journal_reader *journal,
                            const struct journal_info *info, int64_t *cursor, struct error *error)
{
    struct sink_rabbitmq *sink = self;
    (void)journal;
    (void)cursor; /* the broker doesn't know how far we have come */
    sink->info = *info;
    enum delivery done = connect(sink, error);
    if (done != DELIVERY_DONE || sink->topology_denied)
        return done;
    done = topology_declare(sink->amqp, &sink->topology_denied, error);
    if (done != DELIVERY_DONE && sink->topology_denied) {
        detach(sink); /* the refusal has closed the channel */
        done = connect(sink, error);
    }
    return done;
}

static enum delivery publish(struct sink_rabbitmq *sink, const struct journal_event *event,
                             const char *payload, uint64_t *ret_tag, struct error *error)
{
    const struct amqp_message message = {
        .exchange = TOPOLOGY_EVENTS,
        .routing_key = event->event_type,
        .body = payload,
        .body_size = event->payload_size,
        .message_id = event->event_id,
        .type = event->event_type,
        .app_id = sink->info.device_id,
        .timestamp_s = event->occurred_at_s,
        .headers = {{.name = "x-device-id", .text = sink->info.device_id},
                    {.name = "x-sequence", .number = event->sequence}},
        .header_count = 2,
    };
    return amqp_publish(sink->amqp, &message, ret_tag, error);
}

/* A batch on its way: what has been published, and what the broker has said of each event. */
struct flight {
    struct sink_rabbitmq *sink;
    const struct batch *batch;
    enum confirm *confirms; /* one an event */
    uint64_t first_tag;     /* of the batch's first event */
    size_t published;
    size_t settled;   /* events before this one have all been heard of */
    size_t unsettled; /* published, not yet heard of */
    struct error *error;
};

static bool is_pending(enum confirm confirm)
{
    return confirm == CONFIRM_PENDING || confirm == CONFIRM_PENDING_RETURNED;
}

static void settle_one(struct flight *flight, size_t index, enum confirm confirm)
{
    enum confirm before = flight->confirms[index];
    if (!is_pending(before))
        return;
    flight->confirms[index] = before == CONFIRM_PENDING_RETURNED ? CONFIRM_RETURNED : confirm;
    flight->unsettled--;
    while (flight->settled < flight->published && !is_pending(flight->confirms[flight->settled]))
        flight->settled++;
}

static void settle_tags(struct flight *flight, const struct amqp_event *event, enum confirm confirm)
{
    if (event->tag < flight->first_tag || event->tag - flight->first_tag >= flight->published)
        return;
    size_t last = (size_t)(event->tag - flight->first_tag);
    for (size_t i = event->multiple ? flight->settled : last; i <= last; i++)
        settle_one(flight, i, confirm);
}

static void mark_returned(struct flight *flight, const struct amqp_event *event)
{
    for (size_t i = flight->settled; i < flight->published; i++) {
        const struct journal_event *sent = &flight->batch->page->events[flight->batch->indexes[i]];
        if (strcmp(sent->event_id, event->message_id) == 0)
            flight->confirms[i] = CONFIRM_PENDING_RETURNED;
    }
}

/* One word of the broker's. `*ret_heard` tells whether there was one. */
static enum delivery hear(struct flight *flight, int64_t timeout_ms, bool *ret_heard)
{
    struct amqp_event event;
    enum delivery done = amqp_wait(flight->sink->amqp, timeout_ms, &event, flight->error);
    *ret_heard = event.kind != AMQP_NOTHING;
    if (done != DELIVERY_DONE)
        return done;
    if (event.kind == AMQP_BLOCKED) {
        error_write(flight->error, "the broker takes nothing for now: %s", event.reason);
        return DELIVERY_DOWN;
    }
    if (event.kind == AMQP_ACK)
        settle_tags(flight, &event, CONFIRM_TAKEN);
    else if (event.kind == AMQP_NACK)
        settle_tags(flight, &event, CONFIRM_NACKED);
    else if (event.kind == AMQP_RETURN)
        mark_returned(flight, &event);
    return DELIVERY_DONE;
}

/* Takes what has come, without waiting. */
static enum delivery hear_all(struct flight *flight)
{
    bool heard = true;
    enum delivery done = DELIVERY_DONE;
    while (heard && done == DELIVERY_DONE)
        done = hear(flight, 0, &heard);
    return done;
}

/* Waits for one word; an outage if the broker says nothing for a whole deadline. */
static enum delivery wait_to_hear(struct flight *flight)
{
    bool heard = false;
    enum delivery done = hear(flight, flight->sink->options->deadline_ms, &heard);
    if (done == DELIVERY_DONE && !heard) {
        error_write(flight->error, "the broker doesn't confirm");
        return DELIVERY_DOWN;
    }
    return done;
}

static enum delivery publish_next(struct flight *flight)
{
    uint64_t tag = 0;
    size_t index = flight->batch->indexes[flight->published];
    enum delivery done =
        publish(flight->sink, &flight->batch->page->events[index],
                journal_page_payload(flight->batch->page, index), &tag, flight->error);
    if (done != DELIVERY_DONE)
        return done;
    if (flight->published == 0)
        flight->first_tag = tag;
    flight->published++;
    flight->unsettled++;
    return flight->published % POLL_EVERY == 0 ? hear_all(flight) : DELIVERY_DONE;
}

static enum delivery fly(struct flight *flight)
{
    enum delivery done = hear_all(flight); /* heartbeats and old news first: a publish may hang */
    while (done == DELIVERY_DONE &&
           (flight->published < flight->batch->count || flight->unsettled > 0)) {
        if (flight->published < flight->batch->count && flight->unsettled < SINK_RABBITMQ_WINDOW)
            done = publish_next(flight);
        else
            done = wait_to_hear(flight);
    }
    return done;
}

static enum delivery judge(enum confirm confirm, enum delivery otherwise, struct error *reason)
{
    if (confirm == CONFIRM_RETURNED) {
        error_write(reason, "unroutable: no queue takes events of this type");
        return DELIVERY_REFUSED;
    }
    if (confirm == CONFIRM_NACKED) {
        error_write(reason, "the broker said no (nack); a queue may be full");
        return DELIVERY_TRANSIENT;
    }
    return otherwise;
}

static void deliver(void *self, const struct batch *batch, struct delivery_report *ret_report)
{
    struct delivery_report report = {.verdict = DELIVERY_DONE};
    struct flight flight = {.sink = self, .batch = batch, .error = &report.reason};
    flight.confirms = calloc(batch->count + 1, sizeof *flight.confirms);
    if (!flight.confirms) {
        error_write(&report.reason, "out of memory");
        report.verdict = DELIVERY_DOWN;
    } else {
        report.verdict = fly(&flight);
        while (report.delivered < batch->count &&
               flight.confirms[report.delivered] == CONFIRM_TAKEN)
            report.delivered++;
        if (report.delivered < batch->count)
            report.verdict =
                judge(flight.confirms[report.delivered], report.verdict, &report.reason);
    }
    free(flight.confirms);
    *ret_report = report;
}

static enum delivery dead_letter(void *self, const char *payload, size_t size,
                                 const struct journal_event *event, const char *reason,
                                 int attempts, struct error *error)
{
    struct sink_rabbitmq *sink = self;
    uint64_t tag = 0;
    const struct amqp_message message = {
        .exchange = TOPOLOGY_DEAD_LETTERS,
        .routing_key = TOPOLOGY_FAILED,
        .body = payload,
        .body_size = size,
        .message_id = event->event_id,
        .type = event->event_type,
        .app_id = sink->info.device_id,
        .timestamp_s = event->occurred_at_s,
        .headers = {{.name = "x-device-id", .text = sink->info.device_id},
                    {.name = "x-sequence", .number = event->sequence},
                    {.name = "x-reason", .text = reason},
                    {.name = "x-attempts", .number = attempts},
                    {.name = "x-original-routing-key", .text = event->event_type}},
        .header_count = 5,
    };
    enum delivery done = amqp_publish(sink->amqp, &message, &tag, error);
    return done == DELIVERY_DONE ? amqp_await_confirm(sink->amqp, tag, error) : done;
}

static enum delivery idle(void *self, struct error *error)
{
    struct sink_rabbitmq *sink = self;
    struct amqp_event event;
    return amqp_wait(sink->amqp, 0, &event, error);
}

static void watch(void *self, int64_t now_ms)
{
    struct sink_rabbitmq *sink = self;
    pthread_mutex_lock(&sink->lock);
    if (sink->amqp)
        amqp_watch(sink->amqp, now_ms);
    pthread_mutex_unlock(&sink->lock);
}

static void sink_free(void *self)
{
    struct sink_rabbitmq *sink = self;
    detach(sink);
    pthread_mutex_destroy(&sink->lock);
    free(sink);
}

static const struct sink_ops OPS = {
    .name = "rabbitmq",
    .attach = attach,
    .detach = detach,
    .deliver = deliver,
    .resend = deliver, /* the broker has no cursor */
    .dead_letter = dead_letter,
    .idle = idle,
    .watch = watch,
    .free = sink_free,
};

enum result sink_rabbitmq_new(const struct amqp_options *options, struct sink *ret_sink)
{
    struct sink_rabbitmq *sink = calloc(1, sizeof *sink);
    if (!sink)
        return RESULT_NO_MEMORY;
    sink->options = options;
    pthread_mutex_init(&sink->lock, NULL);
    *ret_sink = (struct sink){.ops = &OPS, .self = sink, .page_events = SINK_RABBITMQ_PAGE};
    return RESULT_OK;
}
