/* A page of events on its way to one sink, and what has become of each of them between the tries.
 *
 *      DELIVERY_PENDING ──▶ DELIVERY_DONE
 *         ▲ │ │ │
 *         └─┘ │ └────────▶ DELIVERY_REFUSED  by the peer, while others got through
 *       tried │
 *             └──────────▶ DELIVERY_HELD     behind an earlier event of its order that is rejected
 *
 * Whether an event is to blame or the peer takes nothing shows only where another one gets through:
 * a try counts as an attempt if an event of another order, offered after it in the same batch, was
 * taken. One such attempt rejects what the peer says it will never take, IN_FLIGHT_ATTEMPTS of them
 * what it only says no to. Tries of the time when nothing got through are not remembered. A nack
 * says nothing about a message: RabbitMQ sends it for a queue without a leader, too
 * (rabbitmq.com/docs/confirms). So what hits every event alike spends no attempt.
 *
 * Only what is pending is sent again. Outcomes are written down in order of their sequence, up to
 * the first pending one. No clock, no I/O. */
#ifndef TILLBOX_BRIDGE_IN_FLIGHT_H
#define TILLBOX_BRIDGE_IN_FLIGHT_H

#include "bridge/relay/sink.h"

enum { IN_FLIGHT_ATTEMPTS = 3 }; /* of an event that the peer says no to */

struct in_flight_item {
    enum delivery outcome; /* one of the four above */
    enum delivery said;    /* by the peer the last time: DELIVERY_REFUSED or DELIVERY_TRANSIENT */
    bool is_tried;         /* in vain */
    int attempts;          /* tries that counted */
};

struct in_flight {
    struct journal_page page;
    struct in_flight_item *items; /* one an event of the page */
    size_t item_count;            /* of the page's events that have one */
    size_t settled;               /* events before this one have been written down */
    size_t *indexes;              /* of the batch under way */
    enum delivery *outcomes;      /* … in the same order */
    size_t batch_count;
    size_t probe_from;               /* where the next probe looks for its second event */
    struct error refusal, unwilling; /* the last reasons that the peer gave */
};

MUST_CHECK enum result in_flight_init(struct in_flight *in_flight, size_t capacity,
                                      size_t bytes_max);
void in_flight_done(struct in_flight *in_flight);

/* The page has been read anew: all of it is pending. */
void in_flight_load(struct in_flight *in_flight);

/* Forgets the page. */
void in_flight_clear(struct in_flight *in_flight);

/* Is all of it settled? */
bool in_flight_is_empty(const struct in_flight *in_flight);

void in_flight_hold(struct in_flight *in_flight, size_t index);

/* Nothing is held any longer: what isn't settled is sent after all. */
void in_flight_release(struct in_flight *in_flight);

/* Drops what has been written down from the page's front: there is room for new events behind its
 * end, which in_flight_extend() makes pending once they have been read. */
void in_flight_make_room(struct in_flight *in_flight);
void in_flight_extend(struct in_flight *in_flight);

/* What is pending, as a batch, up to `bytes_max` of payload but at least one event; `progress` and
 * its context are left to the caller. */
void in_flight_pack(struct in_flight *in_flight, size_t bytes_max, struct batch *ret_batch);

/* Only the first, and one of another order, another one each time: enough to find out whether the
 * peer takes anything again. */
void in_flight_pack_probe(struct in_flight *in_flight, struct batch *ret_batch);

/* Takes over what the batch under way has brought to its end so far. */
void in_flight_note_done(struct in_flight *in_flight);

enum in_flight_verdict {
    IN_FLIGHT_WELL,    /* nothing was said no to */
    IN_FLIGHT_RETRY,   /* some got through, and some have to be tried again */
    IN_FLIGHT_NOTHING, /* nothing got through, and it can't be told why */
};

/* The batch's delivery has ended. */
enum in_flight_verdict in_flight_conclude(struct in_flight *in_flight,
                                          const struct delivery_report *report);

/* Why the first event that is tried in vain wasn't taken; "" if there is none. */
const char *in_flight_trouble(const struct in_flight *in_flight);

/* How many events, from `settled` on, are pending no longer. */
size_t in_flight_count_ready(const struct in_flight *in_flight);

/* Why an event was refused. */
const char *in_flight_reason(const struct in_flight *in_flight, size_t index);

#endif
