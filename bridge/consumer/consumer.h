/* Takes events off a queue and has them applied to head office's database, each once.
 *
 *   collect a batch ─▶ read and check ─▶ ops->apply, one transaction ─▶ COMMIT ─▶ acknowledge
 *                            │
 *                            └─ bad ─▶ order.failed with the reason, confirmed ─▶ acknowledge
 *
 * A message comes at least once, so `apply` must know what it has applied: an event_id that it has
 * seen changes nothing.
 *
 * Database away: the consumer stops taking and gives back what it has, and tries that batch, kept
 * in memory, until it goes through. Only then it takes more: an outage of any length counts as one
 * delivery of these messages, and none of them becomes a dead letter. Broker away: it connects
 * anew. One thread drives it; only consumer_watch and consumer_stats come from others. */
#ifndef TILLBOX_BRIDGE_CONSUMER_H
#define TILLBOX_BRIDGE_CONSUMER_H

#include "bridge/adapters/broker.h"
#include "bridge/adapters/pg.h"
#include "bridge/consumer/envelope.h"
#include "core/breaker.h"
#include "core/random.h"

enum {
    CONSUMER_BATCH_EVENTS = 500,
    CONSUMER_BATCH_BYTES = 2 << 20, /* of bodies; a batch ends with the message that reaches it */
    CONSUMER_PREFETCH = 2 * CONSUMER_BATCH_EVENTS,
    CONSUMER_LINGER_MS = 2, /* how long a batch waits for more, once the queue seems empty */
    CONSUMER_POLL_MS = 100, /* how soon a stop is seen */
    CONSUMER_TICK_MS = 1000,
    CONSUMER_TRIES = 3, /* of a batch that the database asks to be run again */
    CONSUMER_RETRY_BASE_MS = 100,
    CONSUMER_RETRY_CAP_MS = 3000,
    CONSUMER_TRIP_AFTER = 5,
    CONSUMER_COOL_DOWN_MS = 2000,
    CONSUMER_STEP_MAX_MS = 900000, /* a whole batch over a slow line that moves */
    CONSUMER_FINISH_MS = 1200,     /* a stop lets the batch under way go on so long */
};

struct consumer;

struct consumer_ops {
    const char *name;  /* "inventory": in logs and metrics */
    const char *queue; /* TOPOLOGY_INVENTORY, … */

    /* The kinds of event that belong in this queue, as bits (1 << ENVELOPE_…); any other is a dead
     * letter. */
    unsigned kinds;

    /* Applies the events, in the order in which they came, in ONE transaction that is committed
     * when it returns DELIVERY_DONE. `*ret_applied` is how many were new; the others had been
     * applied before. `events` may hold the same event twice.
     *
     * Otherwise nothing was applied: DELIVERY_TRANSIENT (run it again), DELIVERY_DOWN (the database
     * can't be had now), DELIVERY_REFUSED (some event's data will never do: the batch is halved
     * until that one is found, and it becomes a dead letter with `error` as its reason). These are
     * what pg_run() gives. */
    enum delivery (*apply)(void *self, struct pg *pg, const struct envelope *const *events,
                           size_t count, size_t *ret_applied, struct error *error);

    /* About once a second while the database is there; NULL if there is nothing to do.
     * DELIVERY_DOWN if it isn't there any more, otherwise DELIVERY_DONE. */
    enum delivery (*tick)(void *self, struct pg *pg, struct error *error);
};

struct consumer_options {
    const struct consumer_ops *ops;
    void *self; /* of the ops; outlives the consumer */
    const struct pg_options *postgres;
    const struct broker_options *rabbitmq;
    const char *amqp_user_prefix; /* as in struct envelope_properties */
    const struct clock *clock;
    const struct random_source *random;
};

/* What it has done since it started, and how it is. */
struct consumer_stats {
    int64_t received;      /* messages; one that came twice counts twice */
    int64_t applied;       /* events that were new */
    int64_t duplicates;    /* events that had been applied before */
    int64_t dead_lettered; /* messages sent to order.failed */
    int64_t batches;
    int64_t batch_events_last;
    int64_t batch_events_most;
    int64_t retries;      /* batches that the database asked to be run again */
    int64_t event_age_ms; /* of the oldest event of the last batch, by the clocks of box and host */
    int64_t applied_at_ms; /* wall clock, of the last batch; 0: none yet */
    bool postgres_up, rabbitmq_up;
    enum breaker_state postgres_breaker, rabbitmq_breaker;
    struct error last_error; /* of what is down; "" when all is well */
};

/* Copies the options, and starts the thread. */
MUST_CHECK enum result consumer_start(const struct consumer_options *options,
                                      struct consumer **ret_consumer, struct error *error);

/* Breaks off what hangs; about once a second, from any thread. */
void consumer_watch(struct consumer *consumer);

/* Does the thread still go round? Waiting for a peer counts, up to CONSUMER_STEP_MAX_MS a step.
 * From any thread. */
bool consumer_has_moved(struct consumer *consumer);

void consumer_stats(struct consumer *consumer, struct consumer_stats *ret_stats);

/* Finishes the batch under way, or after CONSUMER_FINISH_MS rolls it back, and frees the consumer.
 * False if its thread hangs where nothing can break it off (in a name look-up): then it is still
 * there, and the process had better end. What was not acknowledged comes again. */
bool consumer_stop(struct consumer *consumer);

#endif
