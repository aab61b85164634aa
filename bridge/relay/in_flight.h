/* A page of events on its way to one sink, and what has become of each of them between the tries.
 *
 *      DELIVERY_PENDING ──▶ DELIVERY_DONE
 *         ▲ │ │ │
 *         └─┘ │ └────────▶ DELIVERY_REFUSED  by the peer, or nacked IN_FLIGHT_ATTEMPTS times
 *       nacked│
 *             └──────────▶ DELIVERY_HELD     behind an earlier event of its order that is refused
 *
 * Only what is pending is sent again. Events are settled, that is written down in the
 * deliveries, in order of their sequence: those before the first pending one. No clock, no I/O.
 */
#ifndef TILLBOX_BRIDGE_IN_FLIGHT_H
#define TILLBOX_BRIDGE_IN_FLIGHT_H

#include "bridge/relay/sink.h"

enum { IN_FLIGHT_ATTEMPTS = 3 }; /* of an event that the peer says no to */

struct in_flight_item {
    enum delivery outcome; /* one of the four above */
    int attempts;          /* that were spent */
    bool nacked;           /* refused, since it was nacked once too often */
};

struct in_flight {
    struct journal_page page;
    struct in_flight_item *items; /* one an event of the page */
    size_t settled;               /* events before this one have been written down */
    size_t *indexes;              /* of the batch under way */
    enum delivery *outcomes;      /* … in the same order */
    size_t batch_count;
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

/* What is pending, as a batch; `progress` and its context are left to the caller. */
void in_flight_pack(struct in_flight *in_flight, struct batch *ret_batch);

/* Takes over what the batch under way has brought to its end so far. */
void in_flight_note_done(struct in_flight *in_flight);

/* The batch's delivery has ended. True if an event was nacked that will be tried again. */
bool in_flight_conclude(struct in_flight *in_flight, const struct delivery_report *report);

/* How many events, from `settled` on, are pending no longer. */
size_t in_flight_count_ready(const struct in_flight *in_flight);

/* Why an event was refused. */
const char *in_flight_reason(const struct in_flight *in_flight, size_t index);

#endif
