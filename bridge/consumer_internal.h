/* What the files of the consumer share; nobody else includes this. */
#ifndef TILLBOX_BRIDGE_CONSUMER_INTERNAL_H
#define TILLBOX_BRIDGE_CONSUMER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "bridge/amqp_consume.h"
#include "bridge/consumer.h"
#include "core/retry.h"

/* A message of the batch. */
struct consumer_item {
    struct amqp_delivery *delivery;
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
    struct amqp *amqp;         /* consumes */
    struct amqp *dead_letters; /* publishes; only while there is something to publish */
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

/* Takes a batch off the queue; c->count stays 0 if nothing came. DELIVERY_DOWN: the broker. */
enum delivery consumer_collect(struct consumer *c, struct error *error) MUST_CHECK;

/* Applies the good items; those that the database will never have turn bad. DELIVERY_DOWN: the
 * database; the batch stays. */
enum delivery consumer_apply(struct consumer *c, struct error *error) MUST_CHECK;

/* Sends the bad items to the dead letters and acknowledges all. DELIVERY_DOWN: the broker. */
enum delivery consumer_settle(struct consumer *c, struct error *error) MUST_CHECK;

/* Forgets the batch. */
void consumer_drop(struct consumer *c);

/* Puts a connection into `*place`, where the watchdog sees it; NULL takes the old one away and
 * closes it. */
void consumer_set_amqp(struct consumer *c, struct amqp **place, struct amqp *amqp);

#endif
