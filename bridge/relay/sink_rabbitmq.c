#include "bridge/relay/sink_rabbitmq.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/adapters/topology.h"

enum {
    /* Grows by one with each confirm: a line that breaks again and again costs few duplicates. */
    WINDOW_START = 100,
    POLL_EVERY = 64,   /* publishes between two looks at what the broker says */
    CONFIRM_MS = 4000, /* without a word: a quorum queue that lost its leader forgets what it had */
};

struct sink_rabbitmq {
    const struct broker_options *options;
    struct journal_info info;
    pthread_mutex_t lock; /* keeps the watchdog off a connection that is being closed */
    struct broker *broker;
    size_t window; /* messages that may wait for their confirm now */
    bool topology_denied;
};

static void sink_rabbitmq_detach(void *self)
{
    struct sink_rabbitmq *sink = self;
    pthread_mutex_lock(&sink->lock);
    struct broker *broker = sink->broker;
    sink->broker = NULL;
    pthread_mutex_unlock(&sink->lock);
    broker_close(broker);
}

/* The watchdog may look at the connection while it is being made. */
static enum delivery sink_rabbitmq_connect(struct sink_rabbitmq *sink, struct error *error)
{
    struct broker *broker = broker_new(sink->options);
    if (!broker) {
        error_write(error, "out of memory");
        return DELIVERY_DOWN;
    }
    pthread_mutex_lock(&sink->lock);
    sink->broker = broker;
    pthread_mutex_unlock(&sink->lock);
    sink->window = WINDOW_START;
    enum delivery done = broker_open(broker, error);
    if (done != DELIVERY_DONE)
        sink_rabbitmq_detach(sink);
    return done;
}

static enum delivery sink_rabbitmq_attach(void *self, struct journal_reader *journal,
                                          const struct journal_info *info, int64_t *cursor,
                                          struct error *error)
{
    struct sink_rabbitmq *sink = self;
    (void)journal;
    (void)cursor; /* the broker doesn't know how far we have come */
    sink->info = *info;
    enum delivery done = sink_rabbitmq_connect(sink, error);
    if (done != DELIVERY_DONE || sink->topology_denied)
        return done;
    done = topology_declare(sink->broker, &sink->topology_denied, error);
    if (done != DELIVERY_DONE && sink->topology_denied) {
        sink_rabbitmq_detach(sink); /* the refusal has closed the channel */
        done = sink_rabbitmq_connect(sink, error);
    }
    return done;
}

static enum delivery publish(struct sink_rabbitmq *sink, const struct journal_event *event,
                             const char *payload, uint64_t *ret_tag, struct error *error)
{
    const struct broker_message message = {
        .exchange = TOPOLOGY_EVENTS,
        .routing_key = event->event_type,
        .body = payload,
        .body_size = event->payload_size,
        .message_id = event->event_id,
        .type = event->event_type,
        .app_id = sink->info.device_id,
        .user_id = broker_user(sink->broker),
        .timestamp_s = event->occurred_at_ms / 1000,
        .headers = {{.name = "x-device-id", .text = sink->info.device_id},
                    {.name = "x-sequence", .number = event->sequence}},
        .header_count = 2,
    };
    return broker_publish(sink->broker, &message, ret_tag, error);
}

/* A batch on its way: what has been published, and what the broker has said of each event. */
struct flight {
    struct sink_rabbitmq *sink;
    const struct batch *batch;
    uint64_t *tags; /* one an event: the number it was published under; 0: it wasn't */
    bool *returned; /* one an event; a returned message is acknowledged all the same */
    uint64_t first_tag;
    uint64_t next_tag;
    size_t *by_tag;     /* the event that was published as first_tag + n */
    size_t next;        /* events before this one have been published or held */
    size_t settled;     /* … and those before this one have been heard of */
    size_t unsettled;   /* published, not yet heard of */
    int64_t last_order; /* the highest order that has been published */
    struct error *error;
};

static const struct journal_event *event_at(const struct flight *flight, size_t i)
{
    return &flight->batch->page->events[flight->batch->indexes[i]];
}

static void settle_one(struct flight *flight, size_t i, enum delivery outcome)
{
    if (flight->batch->outcomes[i] != DELIVERY_PENDING)
        return;
    flight->batch->outcomes[i] = flight->returned[i] ? DELIVERY_REFUSED : outcome;
    flight->unsettled--;
    if (flight->sink->window < SINK_RABBITMQ_WINDOW)
        flight->sink->window++;
    while (flight->settled < flight->next &&
           flight->batch->outcomes[flight->settled] != DELIVERY_PENDING)
        flight->settled++;
}

static void settle_tags(struct flight *flight, const struct broker_event *event,
                        enum delivery outcome)
{
    if (event->tag < flight->first_tag || event->tag >= flight->next_tag)
        return;
    size_t last = flight->by_tag[event->tag - flight->first_tag];
    for (size_t i = event->multiple ? flight->settled : last; i <= last; i++)
        if (flight->tags[i] != 0)
            settle_one(flight, i, outcome);
}

/* It counts as heard of when its ack comes. */
static void mark_returned(struct flight *flight, const struct broker_event *event)
{
    for (size_t i = flight->settled; i < flight->next; i++)
        if (strcmp(event_at(flight, i)->event_id, event->message_id) == 0)
            flight->returned[i] = true;
}

/* One word of the broker's. `*ret_heard` tells whether there was one. */
static enum delivery hear(struct flight *flight, int64_t timeout_ms, bool *ret_heard)
{
    struct broker_event event;
    enum delivery done = broker_wait(flight->sink->broker, timeout_ms, &event, flight->error);
    *ret_heard = event.kind != AMQP_NOTHING;
    if (done != DELIVERY_DONE)
        return done;
    if (event.kind == AMQP_BLOCKED) {
        error_write(flight->error, "the broker takes nothing for now: %s", event.reason);
        return DELIVERY_DOWN;
    }
    if (event.kind == AMQP_ACK)
        settle_tags(flight, &event, DELIVERY_DONE);
    else if (event.kind == AMQP_NACK)
        settle_tags(flight, &event, DELIVERY_TRANSIENT);
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
    enum delivery done = hear(flight, CONFIRM_MS, &heard);
    if (done == DELIVERY_DONE && !heard) {
        error_write(flight->error, AMQP_SILENT);
        return DELIVERY_DOWN;
    }
    return done;
}

static enum delivery publish_next(struct flight *flight)
{
    uint64_t tag = 0;
    size_t i = flight->next, index = flight->batch->indexes[i];
    enum delivery done =
        publish(flight->sink, event_at(flight, i), journal_page_payload(flight->batch->page, index),
                &tag, flight->error);
    if (done != DELIVERY_DONE)
        return done;
    if (flight->first_tag == 0)
        flight->first_tag = tag;
    flight->tags[i] = tag;
    flight->by_tag[tag - flight->first_tag] = i;
    flight->next_tag = tag + 1;
    flight->next++;
    flight->unsettled++;
    if (event_at(flight, i)->order_id > flight->last_order)
        flight->last_order = event_at(flight, i)->order_id;
    return flight->next % POLL_EVERY == 0 ? hear_all(flight) : DELIVERY_DONE;
}

/* How the event before the next one of the same order stands; DELIVERY_DONE if there is none in
 * this batch. Orders rise, so most events need no look. */
static enum delivery predecessor_of_next(const struct flight *flight)
{
    int64_t order_id = event_at(flight, flight->next)->order_id;
    if (order_id == 0 || order_id > flight->last_order)
        return DELIVERY_DONE;
    for (size_t i = flight->next; i > 0; i--)
        if (event_at(flight, i - 1)->order_id == order_id)
            return flight->batch->outcomes[i - 1];
    return DELIVERY_DONE;
}

/* An event goes out when the one before it of its order has been taken, and not at all when that
 * was refused. */
static enum delivery send_next(struct flight *flight)
{
    switch (predecessor_of_next(flight)) {
    case DELIVERY_DONE:
        return publish_next(flight);
    case DELIVERY_PENDING:
        return wait_to_hear(flight);
    case DELIVERY_TRANSIENT:
    case DELIVERY_DOWN:
    case DELIVERY_REFUSED:
    case DELIVERY_HELD:
    case DELIVERY_STOP:
        break;
    }
    flight->batch->outcomes[flight->next++] = DELIVERY_HELD;
    return DELIVERY_DONE;
}

/* May more be published? Tells how far we are, too. */
static bool goes_on(const struct flight *flight)
{
    return !flight->batch->progress || flight->batch->progress(flight->batch->context);
}

static enum delivery fly(struct flight *flight)
{
    enum delivery done = hear_all(flight); /* heartbeats and old news first: a publish may hang */
    bool going = true;
    while (done == DELIVERY_DONE) {
        going = going && goes_on(flight);
        bool more = going && flight->next < flight->batch->count;
        if (!more && flight->unsettled == 0)
            break;
        if (more && flight->unsettled < flight->sink->window)
            done = send_next(flight);
        else
            done = wait_to_hear(flight);
    }
    return done;
}

static void sink_rabbitmq_deliver(void *self, const struct batch *batch,
                                  struct delivery_report *ret_report)
{
    struct delivery_report report = {.verdict = DELIVERY_DOWN};
    struct flight flight = {.sink = self, .batch = batch, .error = &report.reason};
    flight.tags = calloc(batch->count + 1, sizeof *flight.tags);
    flight.returned = calloc(batch->count + 1, sizeof *flight.returned);
    flight.by_tag = calloc(batch->count + 1, sizeof *flight.by_tag);
    if (flight.tags && flight.returned && flight.by_tag)
        report.verdict = fly(&flight);
    else
        error_write(&report.reason, "out of memory");
    error_write(&report.refusal, AMQP_UNROUTABLE);
    error_write(&report.unwilling, AMQP_NACKED);
    free(flight.tags);
    free(flight.returned);
    free(flight.by_tag);
    *ret_report = report;
}

static enum delivery dead_letter(void *self, const char *payload, size_t size,
                                 const struct journal_event *event, const char *reason,
                                 int attempts, struct error *error)
{
    struct sink_rabbitmq *sink = self;
    uint64_t tag = 0;
    const struct broker_message message = {
        .exchange = TOPOLOGY_DEAD_LETTERS,
        .routing_key = TOPOLOGY_FAILED,
        .body = payload,
        .body_size = size,
        .message_id = event->event_id,
        .type = event->event_type,
        .app_id = sink->info.device_id,
        .user_id = broker_user(sink->broker),
        .timestamp_s = event->occurred_at_ms / 1000,
        .headers = {{.name = "x-device-id", .text = sink->info.device_id},
                    {.name = "x-sequence", .number = event->sequence},
                    {.name = "x-reason", .text = reason},
                    {.name = "x-attempts", .number = attempts},
                    {.name = "x-original-routing-key", .text = event->event_type}},
        .header_count = 5,
    };
    enum delivery done = broker_publish(sink->broker, &message, &tag, error);
    return done == DELIVERY_DONE ? broker_await_confirm(sink->broker, tag, error) : done;
}

static enum delivery sink_rabbitmq_idle(void *self, struct error *error)
{
    struct sink_rabbitmq *sink = self;
    struct broker_event event;
    return broker_wait(sink->broker, 0, &event, error);
}

static void sink_rabbitmq_watch(void *self, int64_t now_ms)
{
    struct sink_rabbitmq *sink = self;
    pthread_mutex_lock(&sink->lock);
    if (sink->broker)
        broker_watch(sink->broker, now_ms);
    pthread_mutex_unlock(&sink->lock);
}

static void sink_rabbitmq_break_off(void *self)
{
    struct sink_rabbitmq *sink = self;
    pthread_mutex_lock(&sink->lock);
    if (sink->broker)
        broker_break_off(sink->broker);
    pthread_mutex_unlock(&sink->lock);
}

static void sink_rabbitmq_sink_free(void *self)
{
    struct sink_rabbitmq *sink = self;
    sink_rabbitmq_detach(sink);
    pthread_mutex_destroy(&sink->lock);
    free(sink);
}

static const struct sink_ops OPS = {
    .name = "rabbitmq",
    .attach = sink_rabbitmq_attach,
    .detach = sink_rabbitmq_detach,
    .deliver = sink_rabbitmq_deliver,
    .resend = sink_rabbitmq_deliver, /* the broker has no cursor */
    .dead_letter = dead_letter,
    .idle = sink_rabbitmq_idle,
    .watch = sink_rabbitmq_watch,
    .break_off = sink_rabbitmq_break_off,
    .free = sink_rabbitmq_sink_free,
};

enum result sink_rabbitmq_new(const struct broker_options *options, struct sink *ret_sink)
{
    struct sink_rabbitmq *sink = calloc(1, sizeof *sink);
    if (!sink)
        return RESULT_NO_MEMORY;
    sink->options = options;
    pthread_mutex_init(&sink->lock, NULL);
    *ret_sink = (struct sink){.ops = &OPS, .self = sink, .page_events = SINK_RABBITMQ_PAGE};
    return RESULT_OK;
}
