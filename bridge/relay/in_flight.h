/* A page of events on its way to one sink, and what has become of each of them between the tries.
 *
 *      DELIVERY_PENDING ──▶ DELIVERY_DONE
 *         ▲ │ │ │
 *         └─┘ │ └────────▶ DELIVERY_REFUSED  by the peer, or nacked CONSIGNMENT_ATTEMPTS times
 *       nacked│
 *             └──────────▶ DELIVERY_HELD     behind an earlier event of its order that is refused
 *
 * Only what is pending is sent again. Events are settled, that is written down in the ledger, in
 * order of their sequence: those before the first pending one. No clock, no I/O. */
#ifndef TILLBOX_BRIDGE_CONSIGNMENT_H
#define TILLBOX_BRIDGE_CONSIGNMENT_H

#include "bridge/relay/sink.h"

enum { CONSIGNMENT_ATTEMPTS = 3 }; /* of an event that the peer says no to */

struct consignment_item {
    enum delivery outcome; /* one of the four above */
    int attempts;          /* that were spent */
    bool nacked;           /* refused, since it was nacked once too often */
};

struct consignment {
    struct journal_page page;
    struct consignment_item *items; /* one an event of the page */
    size_t settled;                 /* events before this one have been written down */
    size_t *indexes;                /* of the batch under way */
    enum delivery *outcomes;        /* … in the same order */
    size_t batch_count;
    struct error refusal, unwilling; /* the last reasons that the peer gave */
};

MUST_CHECK enum result consignment_init(struct consignment *consignment, size_t capacity,
                                        size_t bytes_max);
void consignment_done(struct consignment *consignment);

/* The page has been read anew: all of it is pending. */
void consignment_load(struct consignment *consignment);

/* Forgets the page. */
void consignment_clear(struct consignment *consignment);

/* Is all of it settled? */
bool consignment_is_empty(const struct consignment *consignment);

void consignment_hold(struct consignment *consignment, size_t index);

/* Nothing is held any longer: what isn't settled is sent after all. */
void consignment_release(struct consignment *consignment);

/* What is pending, as a batch; `progress` and its context are left to the caller. */
void consignment_pack(struct consignment *consignment, struct batch *ret_batch);

/* Takes over what the batch under way has brought to its end so far. */
void consignment_note_done(struct consignment *consignment);

/* The batch's delivery has ended. True if an event was nacked that will be tried again. */
bool consignment_conclude(struct consignment *consignment, const struct delivery_report *report);

/* How many events, from `settled` on, are pending no longer. */
size_t consignment_count_ready(const struct consignment *consignment);

/* Why an event was refused. */
const char *consignment_reason(const struct consignment *consignment, size_t index);

#endif
