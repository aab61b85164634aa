#include "bridge/consumer/consumer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/adapters/broker_consume.h"
#include "bridge/adapters/topology.h"
#include "core/log.h"
#include "core/retry.h"
#include "core/utf8.h"

enum { LAST_WAIT_MS = 400, APPLY_RETRY_BASE_MS = 20, APPLY_RETRY_CAP_MS = 500 };

/* A message of the batch. */
struct consumer_item {
    struct broker_delivery *delivery;
    bool is_good;
    struct envelope envelope;          /* if it is good */
    char reason[ENVELOPE_REASON_SIZE]; /* if it isn't */
};

/* One of the two peers. */
struct consumer_peer {
    const char *name;
    bool up;
    struct breaker breaker;
    uint64_t generation; /* of the breaker, for the call under way */
    struct retry retry;
};

struct consumer {
    struct consumer_options options;
    struct pg_options postgres_options;
    pthread_t thread;
    atomic_bool stopping;
    atomic_int_least64_t moved_ms; /* when the thread was last seen between two steps */
    struct latch abandon;          /* also break off what is under way */

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t wake;
    bool ended;
    struct broker *broker;       /* consumes */
    struct broker *dead_letters; /* publishes; only while there is something to publish */
    struct consumer_stats stats;

    /* The thread's own: */
    struct pg *pg;
    struct consumer_peer postgres, rabbitmq;
    bool topology_denied;
    bool user_denied; /* dead letters may not keep their user_id */
    int64_t ticked_ms;
    struct consumer_item items[CONSUMER_BATCH_EVENTS];
    const struct envelope *events[CONSUMER_BATCH_EVENTS]; /* of the good items */
    size_t of_item[CONSUMER_BATCH_EVENTS];                /* the item of each of these */
    size_t count;                                         /* of items */
    int failures;                                         /* of the database, over this batch */
    bool is_returned; /* the messages have gone back; the batch only waits for the database */
};

static int64_t consumer_now_ms(const struct consumer *c)
{
    return clock_monotonic_ms(c->options.clock);
}

/* Puts a connection into `*place`, where the watchdog sees it; NULL takes the old one away and
 * closes it. */
static void set_broker(struct consumer *c, struct broker **place, struct broker *broker)
{
    pthread_mutex_lock(&c->lock);
    struct broker *old = *place;
    *place = broker;
    pthread_mutex_unlock(&c->lock);
    broker_close(old);
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
    const char *body = broker_delivery_body(item->delivery, &size);
    const struct envelope_properties properties = {.message_id = broker_delivery_id(item->delivery),
                                                   .type = broker_delivery_type(item->delivery),
                                                   .app_id = broker_delivery_app_id(item->delivery),
                                                   .user_id =
                                                       broker_delivery_user_id(item->delivery),
                                                   .amqp_user_prefix = c->options.amqp_user_prefix};
    if (broker_delivery_is_too_large(item->delivery)) {
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

static void add_item(struct consumer *c, struct broker_delivery *delivery)
{
    struct consumer_item *item = &c->items[c->count++];
    *item = (struct consumer_item){.delivery = delivery};
    read_item(c, item);
}

/* Takes a batch off the queue; c->count stays 0 if nothing came. DELIVERY_DOWN: the broker. */
static enum delivery collect_batch(struct consumer *c, struct error *error)
{
    int64_t until_ms = consumer_now_ms(c) + CONSUMER_POLL_MS;
    size_t bytes = 0;
    c->is_returned = false;
    while (c->count < CONSUMER_BATCH_EVENTS && bytes < CONSUMER_BATCH_BYTES) {
        struct broker_delivery *delivery = NULL;
        int64_t left_ms = until_ms - consumer_now_ms(c);
        enum delivery done =
            broker_next(c->broker, left_ms > 0 ? left_ms : 0, ENVELOPE_BYTES_MAX, &delivery, error);
        if (done != DELIVERY_DONE)
            return done;
        if (!delivery)
            break;
        if (c->count == 0)
            until_ms = consumer_now_ms(c) + CONSUMER_LINGER_MS;
        size_t size = 0;
        broker_delivery_body(delivery, &size);
        bytes += size;
        add_item(c, delivery);
    }
    return DELIVERY_DONE;
}

/* Forgets the batch. */
static void drop_batch(struct consumer *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->items[i].is_good)
            envelope_done(&c->items[i].envelope);
        broker_delivery_free(c->items[i].delivery);
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
static enum delivery apply_batch(struct consumer *c, struct error *error)
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
        LOG_TEXT("event_id", broker_delivery_id(item->delivery)),
        LOG_TEXT("event_type", broker_delivery_type(item->delivery)),
        LOG_TEXT("device_id", broker_delivery_app_id(item->delivery)),
        LOG_TEXT("user_id", broker_delivery_user_id(item->delivery)),
        LOG_TEXT("reason", item->reason));
}

static enum delivery open_dead_letters(struct consumer *c, struct error *error)
{
    struct broker *broker = NULL;
    if (c->dead_letters)
        return DELIVERY_DONE;
    enum delivery done = broker_connect(c->options.rabbitmq, &broker, error);
    if (done == DELIVERY_DONE)
        set_broker(c, &c->dead_letters, broker);
    return done;
}

static enum delivery publish_dead_letter(struct consumer *c, const struct consumer_item *item,
                                         struct error *error)
{
    const struct broker_refusal refusal = {.exchange = TOPOLOGY_DEAD_LETTERS,
                                           .key = TOPOLOGY_FAILED,
                                           .reason = item->reason,
                                           .queue = c->options.ops->queue,
                                           .without_user = c->user_denied};
    enum delivery done = open_dead_letters(c, error);
    if (done == DELIVERY_DONE)
        done = broker_dead_letter(c->dead_letters, item->delivery, &refusal, error);
    return done;
}

/* Who sent it should be kept, but a login without the tag for that must not hold up the queue. */
static enum delivery consumer_send_dead_letter(struct consumer *c, const struct consumer_item *item,
                                               struct error *error)
{
    enum delivery done = publish_dead_letter(c, item, error);
    if (done != DELIVERY_DOWN || !c->dead_letters || !broker_user_is_refused(c->dead_letters))
        return done;
    c->user_denied = true;
    set_broker(c, &c->dead_letters, NULL); /* the refusal has closed the channel */
    return publish_dead_letter(c, item, error);
}

/* What is too large to be held goes through the broker, by the queue's own dead letters. */
static enum delivery bury(struct consumer *c, const struct consumer_item *item, struct error *error)
{
    enum delivery done = broker_delivery_is_too_large(item->delivery)
                             ? broker_reject(c->broker, item->delivery, error)
                             : consumer_send_dead_letter(c, item, error);
    if (done != DELIVERY_DONE)
        return DELIVERY_DOWN;
    tell_dead(c, item);
    pthread_mutex_lock(&c->lock);
    c->stats.dead_lettered++;
    pthread_mutex_unlock(&c->lock);
    return DELIVERY_DONE;
}

/* Sends the bad items to the dead letters and acknowledges all. DELIVERY_DOWN: the broker. */
static enum delivery acknowledge_batch(struct consumer *c, struct error *error)
{
    const struct broker_delivery *last = NULL;
    enum delivery done = DELIVERY_DONE;
    for (size_t i = 0; i < c->count && done == DELIVERY_DONE; i++) {
        if (!c->items[i].is_good)
            done = bury(c, &c->items[i], error);
        if (!broker_delivery_is_too_large(c->items[i].delivery))
            last = c->items[i].delivery;
    }
    set_broker(c, &c->dead_letters, NULL);
    if (done == DELIVERY_DONE && last)
        done = broker_acknowledge_through(c->broker, last, error);
    return done;
}

static void write_peer(const struct consumer *c, const struct consumer_peer *peer, bool *ret_up,
                       enum breaker_state *ret_breaker)
{
    *ret_up = peer->up;
    *ret_breaker = breaker_state(&peer->breaker, consumer_now_ms(c));
}

/* Writes down how the peers are; `reason` is why one went away, NULL when all is well. */
static void consumer_note(struct consumer *c, const char *reason)
{
    pthread_mutex_lock(&c->lock);
    write_peer(c, &c->postgres, &c->stats.postgres_up, &c->stats.postgres_breaker);
    write_peer(c, &c->rabbitmq, &c->stats.rabbitmq_up, &c->stats.rabbitmq_breaker);
    if (reason)
        error_write(&c->stats.last_error, "%s", reason);
    else if (c->postgres.up && c->rabbitmq.up)
        c->stats.last_error.text[0] = '\0';
    pthread_mutex_unlock(&c->lock);
}

/* Each time a peer goes or comes, and when its breaker moves. */
static void consumer_tell(const struct consumer *c, const struct consumer_peer *peer,
                          const char *reason)
{
    LOG(peer->up ? LOG_INFO : LOG_WARN, "consumer.peer", LOG_TEXT("consumer", c->options.ops->name),
        LOG_TEXT("peer", peer->name), LOG_TEXT("state", peer->up ? "up" : "down"),
        LOG_TEXT("breaker", breaker_state_text(breaker_state(&peer->breaker, consumer_now_ms(c)))),
        LOG_TEXT("reason", reason ? reason : ""));
}

static void report_up(struct consumer *c, struct consumer_peer *peer)
{
    breaker_report(&peer->breaker, peer->generation, true, consumer_now_ms(c));
    peer->generation = peer->breaker.generation; /* it may have closed just now */
    retry_reset(&peer->retry);
    if (!peer->up) {
        peer->up = true;
        consumer_tell(c, peer, NULL);
    }
    consumer_note(c, NULL);
}

static void report_down(struct consumer *c, struct consumer_peer *peer, const struct error *error)
{
    enum breaker_state before = breaker_state(&peer->breaker, consumer_now_ms(c));
    bool was_up = peer->up;
    peer->up = false;
    breaker_report(&peer->breaker, peer->generation, false, consumer_now_ms(c));
    if (was_up || breaker_state(&peer->breaker, consumer_now_ms(c)) != before)
        consumer_tell(c, peer, error->text);
    consumer_note(c, error->text);
}

/* Since the database is away. */
static void leave_rabbitmq(struct consumer *c)
{
    set_broker(c, &c->dead_letters, NULL);
    set_broker(c, &c->broker, NULL);
    c->is_returned = c->count > 0;
}

/* The messages go back to the queue; for other replicas, or for later. */
static void lose_rabbitmq(struct consumer *c, const struct error *error)
{
    leave_rabbitmq(c);
    drop_batch(c);
    report_down(c, &c->rabbitmq, error);
}

static void lose_postgres(struct consumer *c, const struct error *error)
{
    pg_close(c->pg);
    c->pg = NULL;
    report_down(c, &c->postgres, error);
}

static bool consumer_tick(struct consumer *c)
{
    struct error error = {0};
    const struct consumer_ops *ops = c->options.ops;
    c->ticked_ms = consumer_now_ms(c);
    if (!pg_is_alive(c->pg))
        error_write(&error, "the connection was lost");
    else if (!ops->tick || ops->tick(c->options.self, c->pg, &error) == DELIVERY_DONE)
        return true;
    lose_postgres(c, &error);
    return false;
}

static bool connect_postgres(struct consumer *c)
{
    struct error error = {0};
    if (breaker_admit(&c->postgres.breaker, consumer_now_ms(c), &c->postgres.generation) !=
        RESULT_OK)
        return false;
    if (pg_connect(&c->postgres_options, &c->pg, &error) == DELIVERY_DONE)
        return consumer_tick(c);
    report_down(c, &c->postgres, &error);
    return false;
}

/* What can't be done now must not be taken off the queue: without the database there is no
 * consuming. A session that broke is replaced at once, with the batch still in hand. */
static bool attach_postgres(struct consumer *c)
{
    if (c->pg && (consumer_now_ms(c) - c->ticked_ms < CONSUMER_TICK_MS || consumer_tick(c)))
        return true;
    if (!c->pg && connect_postgres(c)) {
        if (c->count == 0) /* otherwise the batch that failed will tell */
            report_up(c, &c->postgres);
        return true;
    }
    if (!c->postgres.up && c->broker && c->postgres.breaker.failures > 1)
        leave_rabbitmq(c);
    return false;
}

static enum delivery connect_rabbitmq(struct consumer *c, struct error *error)
{
    struct broker *broker = NULL;
    enum delivery done = broker_connect(c->options.rabbitmq, &broker, error);
    if (done == DELIVERY_DONE)
        set_broker(c, &c->broker, broker);
    return done;
}

/* Head office may have declared it, and this user may not. */
static enum delivery declare(struct consumer *c, struct error *error)
{
    if (c->topology_denied)
        return DELIVERY_DONE;
    enum delivery done = topology_declare(c->broker, &c->topology_denied, error);
    if (done == DELIVERY_DONE || !c->topology_denied)
        return done;
    set_broker(c, &c->broker, NULL); /* the refusal has closed the channel */
    return connect_rabbitmq(c, error);
}

static bool attach_rabbitmq(struct consumer *c)
{
    struct error error = {0};
    if (c->broker)
        return true;
    if (breaker_admit(&c->rabbitmq.breaker, consumer_now_ms(c), &c->rabbitmq.generation) !=
        RESULT_OK)
        return false;
    enum delivery done = connect_rabbitmq(c, &error);
    if (done == DELIVERY_DONE)
        done = declare(c, &error);
    if (done == DELIVERY_DONE)
        done = broker_consume(c->broker, c->options.ops->queue, CONSUMER_PREFETCH, &error);
    if (done != DELIVERY_DONE)
        lose_rabbitmq(c, &error);
    return done == DELIVERY_DONE;
}

/* False if the database is away; then the batch stays. */
static bool consumer_apply(struct consumer *c)
{
    struct error error = {0};
    if (apply_batch(c, &error) != DELIVERY_DONE) {
        lose_postgres(c, &error);
        if (++c->failures > 1 && c->broker)
            leave_rabbitmq(c);
        return false;
    }
    c->failures = 0;
    report_up(c, &c->postgres);
    return true;
}

static bool consumer_settle(struct consumer *c)
{
    struct error error = {0};
    enum delivery done = c->is_returned ? DELIVERY_DONE : acknowledge_batch(c, &error);
    if (done == DELIVERY_DONE) {
        drop_batch(c);
        return true;
    }
    lose_rabbitmq(c, &error);
    return false;
}

static bool collect(struct consumer *c)
{
    struct error error = {0};
    if (collect_batch(c, &error) != DELIVERY_DONE) {
        lose_rabbitmq(c, &error);
        return false;
    }
    if (!c->rabbitmq.up)
        report_up(c, &c->rabbitmq);
    return true;
}

/* False: wait before the next step. */
static bool consumer_take_step(struct consumer *c)
{
    if (!attach_postgres(c))
        return false;
    if (c->count == 0 && (!attach_rabbitmq(c) || !collect(c)))
        return false;
    return c->count == 0 || (consumer_apply(c) && consumer_settle(c));
}

/* After a failure: the longer of what its retry and its breaker say. */
static int64_t wait_after_failure(struct consumer *c)
{
    struct consumer_peer *peer = c->postgres.up ? &c->rabbitmq : &c->postgres;
    int64_t backoff_ms = retry_next_ms(&peer->retry, c->options.random);
    int64_t breaker_ms = breaker_wait_ms(&peer->breaker, consumer_now_ms(c));
    return backoff_ms > breaker_ms ? backoff_ms : breaker_ms;
}

static void consumer_wait_for(struct consumer *c, int64_t duration_ms)
{
    int64_t until_ns = clock_deadline_ns(c->options.clock, duration_ms);
    bool is_late = false;
    pthread_mutex_lock(&c->lock);
    while (!atomic_load(&c->stopping) && !is_late)
        is_late = clock_wait(c->options.clock, &c->wake, &c->lock, until_ns);
    pthread_mutex_unlock(&c->lock);
}

/* Without the cancellation, what we hadn't acknowledged might hide what we had. */
static void leave(struct consumer *c)
{
    struct error ignored;
    if (c->broker && !latch_is_raised(&c->abandon) &&
        broker_cancel(c->broker, &ignored) != DELIVERY_DONE)
        LOG(LOG_DEBUG, "consumer.cancel_failed", LOG_TEXT("error", ignored.text));
    drop_batch(c);
    set_broker(c, &c->dead_letters, NULL);
    set_broker(c, &c->broker, NULL);
    pg_close(c->pg);
}

static void *consumer_run(void *context)
{
    struct consumer *c = context;
    while (!atomic_load(&c->stopping)) {
        atomic_store(&c->moved_ms, consumer_now_ms(c));
        if (!consumer_take_step(c))
            consumer_wait_for(c, wait_after_failure(c));
    }
    leave(c);
    pthread_mutex_lock(&c->lock);
    c->ended = true;
    pthread_mutex_unlock(&c->lock);
    pthread_cond_broadcast(&c->wake);
    return NULL;
}

static void init_peer(struct consumer_peer *peer, const char *name)
{
    static const struct breaker_options BREAKER = {
        .trip_after = CONSUMER_TRIP_AFTER, .close_after = 1, .cool_down_ms = CONSUMER_COOL_DOWN_MS};
    static const struct retry_options RETRY = {.base_ms = CONSUMER_RETRY_BASE_MS,
                                               .cap_ms = CONSUMER_RETRY_CAP_MS};
    peer->name = name;
    breaker_init(&peer->breaker, &BREAKER);
    retry_init(&peer->retry, &RETRY);
}

static void consumer_free(struct consumer *c)
{
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    latch_done(&c->abandon);
    free(c);
}

enum result consumer_start(const struct consumer_options *options, struct consumer **ret_consumer,
                           struct error *error)
{
    struct consumer *c = calloc(1, sizeof *c);
    if (!c || latch_init(&c->abandon) != RESULT_OK) {
        free(c);
        return RESULT_NO_MEMORY;
    }
    c->options = *options;
    atomic_store(&c->moved_ms, consumer_now_ms(c));
    c->postgres_options = *options->postgres;
    c->postgres_options.break_off = &c->abandon;
    init_peer(&c->postgres, "postgres");
    init_peer(&c->rabbitmq, "rabbitmq");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    if (pthread_create(&c->thread, NULL, consumer_run, c) != 0) {
        consumer_free(c);
        return error_set(error, RESULT_NO_MEMORY, "the consumer's thread doesn't start");
    }
    *ret_consumer = c;
    return RESULT_OK;
}

static void consumer_own_watch(struct consumer *c, int64_t time_ms)
{
    pthread_mutex_lock(&c->lock);
    if (c->broker)
        broker_watch(c->broker, time_ms);
    if (c->dead_letters)
        broker_watch(c->dead_letters, time_ms);
    pthread_mutex_unlock(&c->lock);
}

void consumer_watch(struct consumer *consumer)
{
    consumer_own_watch(consumer, consumer_now_ms(consumer));
}

bool consumer_has_moved(struct consumer *consumer)
{
    return consumer_now_ms(consumer) - atomic_load(&consumer->moved_ms) < CONSUMER_STEP_MAX_MS;
}

void consumer_stats(struct consumer *consumer, struct consumer_stats *ret_stats)
{
    pthread_mutex_lock(&consumer->lock);
    *ret_stats = consumer->stats;
    pthread_mutex_unlock(&consumer->lock);
}

static bool wait_for_end(struct consumer *c, int64_t duration_ms)
{
    int64_t until_ns = clock_deadline_ns(c->options.clock, duration_ms);
    bool is_late = false;
    pthread_mutex_lock(&c->lock);
    while (!c->ended && !is_late)
        is_late = clock_wait(c->options.clock, &c->wake, &c->lock, until_ns);
    bool ended = c->ended;
    pthread_mutex_unlock(&c->lock);
    return ended;
}

bool consumer_stop(struct consumer *consumer)
{
    if (!consumer)
        return true;
    pthread_mutex_lock(&consumer->lock);
    atomic_store(&consumer->stopping, true);
    pthread_mutex_unlock(&consumer->lock);
    pthread_cond_broadcast(&consumer->wake);
    if (!wait_for_end(consumer, CONSUMER_FINISH_MS)) {
        latch_raise(&consumer->abandon);
        consumer_own_watch(consumer, INT64_MAX);
        if (!wait_for_end(consumer, LAST_WAIT_MS))
            return false;
    }
    pthread_join(consumer->thread, NULL);
    consumer_free(consumer);
    return true;
}
