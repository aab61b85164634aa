#include "bridge/consumer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bridge/consumer_internal.h"
#include "bridge/topology.h"
#include "core/log.h"

enum { LAST_WAIT_MS = 400 };

static int64_t now_ms(const struct consumer *c)
{
    return clock_monotonic_ms(c->options.clock);
}

void consumer_set_amqp(struct consumer *c, struct amqp **place, struct amqp *amqp)
{
    pthread_mutex_lock(&c->lock);
    struct amqp *old = *place;
    *place = amqp;
    pthread_mutex_unlock(&c->lock);
    amqp_close(old);
}

static void write_peer(const struct consumer *c, const struct consumer_peer *peer, bool *ret_up,
                       enum breaker_state *ret_breaker)
{
    *ret_up = peer->up;
    *ret_breaker = breaker_state(&peer->breaker, now_ms(c));
}

/* Writes down how the peers are; `reason` is why one went away, NULL when all is well. */
static void note(struct consumer *c, const char *reason)
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
static void tell(const struct consumer *c, const struct consumer_peer *peer, const char *reason)
{
    LOG(peer->up ? LOG_INFO : LOG_WARN, "consumer.peer", LOG_TEXT("consumer", c->options.ops->name),
        LOG_TEXT("peer", peer->name), LOG_TEXT("state", peer->up ? "up" : "down"),
        LOG_TEXT("breaker", breaker_state_text(breaker_state(&peer->breaker, now_ms(c)))),
        LOG_TEXT("reason", reason ? reason : ""));
}

static void report_up(struct consumer *c, struct consumer_peer *peer)
{
    breaker_report(&peer->breaker, peer->generation, true, now_ms(c));
    peer->generation = peer->breaker.generation; /* it may have closed just now */
    retry_reset(&peer->retry);
    if (!peer->up) {
        peer->up = true;
        tell(c, peer, NULL);
    }
    note(c, NULL);
}

static void report_down(struct consumer *c, struct consumer_peer *peer, const struct error *error)
{
    enum breaker_state before = breaker_state(&peer->breaker, now_ms(c));
    bool was_up = peer->up;
    peer->up = false;
    breaker_report(&peer->breaker, peer->generation, false, now_ms(c));
    if (was_up || breaker_state(&peer->breaker, now_ms(c)) != before)
        tell(c, peer, error->text);
    note(c, error->text);
}

/* Since the database is away. */
static void leave_rabbitmq(struct consumer *c)
{
    consumer_set_amqp(c, &c->dead_letters, NULL);
    consumer_set_amqp(c, &c->amqp, NULL);
    c->is_returned = c->count > 0;
}

/* The messages go back to the queue; for other replicas, or for later. */
static void lose_rabbitmq(struct consumer *c, const struct error *error)
{
    leave_rabbitmq(c);
    consumer_drop(c);
    report_down(c, &c->rabbitmq, error);
}

static void lose_postgres(struct consumer *c, const struct error *error)
{
    pg_close(c->pg);
    c->pg = NULL;
    report_down(c, &c->postgres, error);
}

static bool tick(struct consumer *c)
{
    struct error error = {0};
    const struct consumer_ops *ops = c->options.ops;
    c->ticked_ms = now_ms(c);
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
    if (breaker_admit(&c->postgres.breaker, now_ms(c), &c->postgres.generation) != RESULT_OK)
        return false;
    if (pg_connect(&c->postgres_options, &c->pg, &error) == DELIVERY_DONE)
        return tick(c);
    report_down(c, &c->postgres, &error);
    return false;
}

/* What can't be done now must not be taken off the queue: without the database there is no
 * consuming. A session that broke is replaced at once, with the batch still in hand. */
static bool attach_postgres(struct consumer *c)
{
    if (c->pg && (now_ms(c) - c->ticked_ms < CONSUMER_TICK_MS || tick(c)))
        return true;
    if (!c->pg && connect_postgres(c)) {
        if (c->count == 0) /* otherwise the batch that failed will tell */
            report_up(c, &c->postgres);
        return true;
    }
    if (!c->postgres.up && c->amqp && c->postgres.breaker.failures > 1)
        leave_rabbitmq(c);
    return false;
}

static enum delivery connect_rabbitmq(struct consumer *c, struct error *error)
{
    struct amqp *amqp = NULL;
    enum delivery done = amqp_connect(c->options.rabbitmq, &amqp, error);
    if (done == DELIVERY_DONE)
        consumer_set_amqp(c, &c->amqp, amqp);
    return done;
}

/* Head office may have declared it, and this user may not. */
static enum delivery declare(struct consumer *c, struct error *error)
{
    if (c->topology_denied)
        return DELIVERY_DONE;
    enum delivery done = topology_declare(c->amqp, &c->topology_denied, error);
    if (done == DELIVERY_DONE || !c->topology_denied)
        return done;
    consumer_set_amqp(c, &c->amqp, NULL); /* the refusal has closed the channel */
    return connect_rabbitmq(c, error);
}

static bool attach_rabbitmq(struct consumer *c)
{
    struct error error = {0};
    if (c->amqp)
        return true;
    if (breaker_admit(&c->rabbitmq.breaker, now_ms(c), &c->rabbitmq.generation) != RESULT_OK)
        return false;
    enum delivery done = connect_rabbitmq(c, &error);
    if (done == DELIVERY_DONE)
        done = declare(c, &error);
    if (done == DELIVERY_DONE)
        done = amqp_consume(c->amqp, c->options.ops->queue, CONSUMER_PREFETCH, &error);
    if (done != DELIVERY_DONE)
        lose_rabbitmq(c, &error);
    return done == DELIVERY_DONE;
}

/* False if the database is away; then the batch stays. */
static bool apply(struct consumer *c)
{
    struct error error = {0};
    if (consumer_apply(c, &error) != DELIVERY_DONE) {
        lose_postgres(c, &error);
        if (++c->failures > 1 && c->amqp)
            leave_rabbitmq(c);
        return false;
    }
    c->failures = 0;
    report_up(c, &c->postgres);
    return true;
}

static bool settle(struct consumer *c)
{
    struct error error = {0};
    enum delivery done = c->is_returned ? DELIVERY_DONE : consumer_settle(c, &error);
    if (done == DELIVERY_DONE) {
        consumer_drop(c);
        return true;
    }
    lose_rabbitmq(c, &error);
    return false;
}

static bool collect(struct consumer *c)
{
    struct error error = {0};
    if (consumer_collect(c, &error) != DELIVERY_DONE) {
        lose_rabbitmq(c, &error);
        return false;
    }
    if (!c->rabbitmq.up)
        report_up(c, &c->rabbitmq);
    return true;
}

/* False: wait before the next step. */
static bool take_step(struct consumer *c)
{
    if (!attach_postgres(c))
        return false;
    if (c->count == 0 && (!attach_rabbitmq(c) || !collect(c)))
        return false;
    return c->count == 0 || (apply(c) && settle(c));
}

/* After a failure: the longer of what its retry and its breaker say. */
static int64_t wait_after_failure(struct consumer *c)
{
    struct consumer_peer *peer = c->postgres.up ? &c->rabbitmq : &c->postgres;
    int64_t backoff_ms = retry_next_ms(&peer->retry, c->options.random);
    int64_t breaker_ms = breaker_wait_ms(&peer->breaker, now_ms(c));
    return backoff_ms > breaker_ms ? backoff_ms : breaker_ms;
}

static void wait_for(struct consumer *c, int64_t duration_ms)
{
    int64_t until_ns = clock_monotonic_ns(c->options.clock) + duration_ms * 1000000;
    const struct timespec until = {.tv_sec = until_ns / 1000000000,
                                   .tv_nsec = until_ns % 1000000000};
    int timed_out = 0;
    pthread_mutex_lock(&c->lock);
    while (!atomic_load(&c->stopping) && timed_out == 0)
        timed_out = pthread_cond_clockwait(&c->wake, &c->lock, CLOCK_MONOTONIC, &until);
    pthread_mutex_unlock(&c->lock);
}

/* Without the cancellation, what we hadn't acknowledged might hide what we had. */
static void leave(struct consumer *c)
{
    struct error ignored;
    if (c->amqp && !latch_is_raised(&c->abandon) && amqp_cancel(c->amqp, &ignored) != DELIVERY_DONE)
        LOG(LOG_DEBUG, "consumer.cancel_failed", LOG_TEXT("error", ignored.text));
    consumer_drop(c);
    consumer_set_amqp(c, &c->dead_letters, NULL);
    consumer_set_amqp(c, &c->amqp, NULL);
    pg_close(c->pg);
}

static void *run(void *context)
{
    struct consumer *c = context;
    while (!atomic_load(&c->stopping)) {
        atomic_store(&c->moved_ms, now_ms(c));
        if (!take_step(c))
            wait_for(c, wait_after_failure(c));
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
    atomic_store(&c->moved_ms, now_ms(c));
    c->postgres_options = *options->postgres;
    c->postgres_options.break_off = &c->abandon;
    init_peer(&c->postgres, "postgres");
    init_peer(&c->rabbitmq, "rabbitmq");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    if (pthread_create(&c->thread, NULL, run, c) != 0) {
        consumer_free(c);
        return error_set(error, RESULT_NO_MEMORY, "the consumer's thread doesn't start");
    }
    *ret_consumer = c;
    return RESULT_OK;
}

static void watch(struct consumer *c, int64_t time_ms)
{
    pthread_mutex_lock(&c->lock);
    if (c->amqp)
        amqp_watch(c->amqp, time_ms);
    if (c->dead_letters)
        amqp_watch(c->dead_letters, time_ms);
    pthread_mutex_unlock(&c->lock);
}

void consumer_watch(struct consumer *consumer)
{
    watch(consumer, now_ms(consumer));
}

bool consumer_has_moved(struct consumer *consumer)
{
    return now_ms(consumer) - atomic_load(&consumer->moved_ms) < CONSUMER_STEP_MAX_MS;
}

void consumer_stats(struct consumer *consumer, struct consumer_stats *ret_stats)
{
    pthread_mutex_lock(&consumer->lock);
    *ret_stats = consumer->stats;
    pthread_mutex_unlock(&consumer->lock);
}

static bool wait_for_end(struct consumer *c, int64_t duration_ms)
{
    int64_t until_ns = clock_monotonic_ns(c->options.clock) + duration_ms * 1000000;
    const struct timespec until = {.tv_sec = until_ns / 1000000000,
                                   .tv_nsec = until_ns % 1000000000};
    int timed_out = 0;
    pthread_mutex_lock(&c->lock);
    while (!c->ended && timed_out == 0)
        timed_out = pthread_cond_clockwait(&c->wake, &c->lock, CLOCK_MONOTONIC, &until);
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
        watch(consumer, INT64_MAX);
        if (!wait_for_end(consumer, LAST_WAIT_MS))
            return false;
    }
    pthread_join(consumer->thread, NULL);
    consumer_free(consumer);
    return true;
}
