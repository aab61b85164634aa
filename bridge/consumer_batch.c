/* A batch's way: off the queue, into the database, acknowledged. */
#include <stdio.h>
#include <string.h>

#include "bridge/consumer_internal.h"
#include "bridge/topology.h"
#include "core/log.h"
#include "core/utf8.h"

enum { APPLY_RETRY_BASE_MS = 20, APPLY_RETRY_CAP_MS = 500 };

static int64_t now_ms(const struct consumer *c)
{
    return clock_monotonic_ms(c->options.clock);
}

static void make_bad(struct consumer_item *item, const char *reason)
{
    if (item->is_good)
        envelope_done(&item->envelope);
    item->is_good = false;
    snprintf(item->reason, sizeof item->reason, "%.*s", ENVELOPE_REASON_SIZE - 1, reason);
    utf8_trim_cut(item->reason);
}

static void read_item(const struct consumer *c, struct consumer_item *item)
{
    struct error reason = {0};
    size_t size = 0;
    const char *body = amqp_delivery_body(item->delivery, &size);
    const struct envelope_properties properties = {.message_id = amqp_delivery_id(item->delivery),
                                                   .type = amqp_delivery_type(item->delivery),
                                                   .app_id = amqp_delivery_app_id(item->delivery),
                                                   .user_id = amqp_delivery_user_id(item->delivery),
                                                   .box_user_prefix = c->options.box_user_prefix};
    if (amqp_delivery_is_too_large(item->delivery)) {
        make_bad(item, "the message is too large");
        return;
    }
    if (envelope_read(body, size, &properties, &item->envelope, &reason) != RESULT_OK) {
        make_bad(item, reason.text);
        return;
    }
    item->is_good = true;
    if (!(c->options.ops->kinds & 1U << item->envelope.kind))
        make_bad(item, "event_type doesn't belong in this queue");
}

static void add_item(struct consumer *c, struct amqp_delivery *delivery)
{
    struct consumer_item *item = &c->items[c->count++];
    *item = (struct consumer_item){.delivery = delivery};
    read_item(c, item);
}

enum delivery consumer_collect(struct consumer *c, struct error *error)
{
    int64_t until_ms = now_ms(c) + CONSUMER_POLL_MS;
    size_t bytes = 0;
    c->is_returned = false;
    while (c->count < CONSUMER_BATCH_EVENTS && bytes < CONSUMER_BATCH_BYTES) {
        struct amqp_delivery *delivery = NULL;
        int64_t left_ms = until_ms - now_ms(c);
        enum delivery done =
            amqp_next(c->amqp, left_ms > 0 ? left_ms : 0, ENVELOPE_BYTES_MAX, &delivery, error);
        if (done != DELIVERY_DONE)
            return done;
        if (!delivery)
            break;
        if (c->count == 0)
            until_ms = now_ms(c) + CONSUMER_LINGER_MS;
        size_t size = 0;
        amqp_delivery_body(delivery, &size);
        bytes += size;
        add_item(c, delivery);
    }
    return DELIVERY_DONE;
}

void consumer_drop(struct consumer *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->items[i].is_good)
            envelope_done(&c->items[i].envelope);
        amqp_delivery_free(c->items[i].delivery);
    }
    c->count = 0;
}

static void count_retry(struct consumer *c)
{
    pthread_mutex_lock(&c->lock);
    c->stats.retries++;
    pthread_mutex_unlock(&c->lock);
}

/* Runs again what the server asks to be run again, then takes it for an outage: the events are not
 * to blame. */
static enum delivery apply_part(struct consumer *c, size_t first, size_t count, size_t *ret_applied,
                                struct error *error)
{
    static const struct retry_options RETRY = {.base_ms = APPLY_RETRY_BASE_MS,
                                               .cap_ms = APPLY_RETRY_CAP_MS};
    struct retry retry;
    retry_init(&retry, &RETRY);
    for (int tries = 1;; tries++) {
        enum delivery done = c->options.ops->apply(c->options.self, c->pg, c->events + first, count,
                                                   ret_applied, error);
        if (done != DELIVERY_TRANSIENT)
            return done;
        if (tries == CONSUMER_TRIES)
            return DELIVERY_DOWN;
        count_retry(c);
        clock_sleep_ms(c->options.clock, retry_next_ms(&retry, c->options.random));
    }
}

static size_t list_good(struct consumer *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++)
        if (c->items[i].is_good) {
            c->events[count] = &c->items[i].envelope;
            c->of_item[count++] = i;
        }
    return count;
}

static void note_applied(struct consumer *c, size_t events, size_t applied)
{
    int64_t wall_ms = clock_wall_ms(c->options.clock), oldest_ms = wall_ms;
    for (size_t i = 0; i < c->count; i++)
        if (c->items[i].is_good && c->items[i].envelope.occurred_at_ms < oldest_ms)
            oldest_ms = c->items[i].envelope.occurred_at_ms;
    pthread_mutex_lock(&c->lock);
    struct consumer_stats *stats = &c->stats;
    stats->received += (int64_t)c->count;
    stats->applied += (int64_t)applied;
    stats->duplicates += (int64_t)(events - applied);
    stats->batches++;
    stats->batch_events_last = (int64_t)c->count;
    if (stats->batch_events_last > stats->batch_events_most)
        stats->batch_events_most = stats->batch_events_last;
    stats->event_age_ms = wall_ms - oldest_ms;
    stats->applied_at_ms = wall_ms;
    pthread_mutex_unlock(&c->lock);
}

/* Refused data is closed in on by halving: everything else goes through, and it alone is named. */
enum delivery consumer_apply(struct consumer *c, struct error *error)
{
    size_t total = list_good(c), next = 0, applied = 0, events = 0;
    size_t part = total;
    while (next < total) {
        size_t new_ones = 0, count = part < total - next ? part : total - next;
        enum delivery done = apply_part(c, next, count, &new_ones, error);
        if (done == DELIVERY_REFUSED && count > 1) {
            part = count / 2;
            continue;
        }
        if (done == DELIVERY_REFUSED) {
            make_bad(&c->items[c->of_item[next]], error->text);
            part = total; /* one is seldom followed by another */
        } else if (done != DELIVERY_DONE) {
            return DELIVERY_DOWN;
        } else {
            applied += new_ones;
            events += count;
        }
        next += count;
    }
    note_applied(c, events, applied);
    return DELIVERY_DONE;
}

static void tell_dead(const struct consumer *c, const struct consumer_item *item)
{
    LOG(LOG_ERROR, "message.dead_lettered", LOG_TEXT("consumer", c->options.ops->name),
        LOG_TEXT("event_id", amqp_delivery_id(item->delivery)),
        LOG_TEXT("event_type", amqp_delivery_type(item->delivery)),
        LOG_TEXT("device_id", amqp_delivery_app_id(item->delivery)),
        LOG_TEXT("user_id", amqp_delivery_user_id(item->delivery)),
        LOG_TEXT("reason", item->reason));
}

static enum delivery open_dead_letters(struct consumer *c, struct error *error)
{
    struct amqp *amqp = NULL;
    if (c->dead_letters)
        return DELIVERY_DONE;
    enum delivery done = amqp_connect(c->options.rabbitmq, &amqp, error);
    if (done == DELIVERY_DONE)
        consumer_set_amqp(c, &c->dead_letters, amqp);
    return done;
}

static enum delivery publish_dead_letter(struct consumer *c, const struct consumer_item *item,
                                         struct error *error)
{
    const struct amqp_refusal refusal = {.exchange = TOPOLOGY_DEAD_LETTERS,
                                         .key = TOPOLOGY_FAILED,
                                         .reason = item->reason,
                                         .queue = c->options.ops->queue,
                                         .without_user = c->user_denied};
    enum delivery done = open_dead_letters(c, error);
    if (done == DELIVERY_DONE)
        done = amqp_dead_letter(c->dead_letters, item->delivery, &refusal, error);
    return done;
}

/* Who sent it should be kept, but a login without the tag for that must not hold up the queue. */
static enum delivery send_dead_letter(struct consumer *c, const struct consumer_item *item,
                                      struct error *error)
{
    enum delivery done = publish_dead_letter(c, item, error);
    if (done != DELIVERY_DOWN || !c->dead_letters || !amqp_user_is_refused(c->dead_letters))
        return done;
    c->user_denied = true;
    consumer_set_amqp(c, &c->dead_letters, NULL); /* the refusal has closed the channel */
    return publish_dead_letter(c, item, error);
}

/* What is too large to be held goes through the broker, by the queue's own dead letters. */
static enum delivery bury(struct consumer *c, const struct consumer_item *item, struct error *error)
{
    enum delivery done = amqp_delivery_is_too_large(item->delivery)
                             ? amqp_reject(c->amqp, item->delivery, error)
                             : send_dead_letter(c, item, error);
    if (done != DELIVERY_DONE)
        return DELIVERY_DOWN;
    tell_dead(c, item);
    pthread_mutex_lock(&c->lock);
    c->stats.dead_lettered++;
    pthread_mutex_unlock(&c->lock);
    return DELIVERY_DONE;
}

enum delivery consumer_settle(struct consumer *c, struct error *error)
{
    const struct amqp_delivery *last = NULL;
    enum delivery done = DELIVERY_DONE;
    for (size_t i = 0; i < c->count && done == DELIVERY_DONE; i++) {
        if (!c->items[i].is_good)
            done = bury(c, &c->items[i], error);
        if (!amqp_delivery_is_too_large(c->items[i].delivery))
            last = c->items[i].delivery;
    }
    consumer_set_amqp(c, &c->dead_letters, NULL);
    if (done == DELIVERY_DONE && last)
        done = amqp_acknowledge_through(c->amqp, last, error);
    return done;
}
