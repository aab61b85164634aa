/* Compares the journal with head office's event_logs and orders, event by event. */
#ifndef TILLBOX_BRIDGE_RECONCILE_H
#define TILLBOX_BRIDGE_RECONCILE_H

#include "bridge/adapters/pg.h"
#include "bridge/relay/delivery_state.h"
#include "core/journal/journal_reader.h"

enum difference {
    DIFFERENCE_MISSING, /* the box has it, head office should, and hasn't */
    DIFFERENCE_UNKNOWN, /* head office has it, the box doesn't know it */
    DIFFERENCE_OTHER,   /* both have an event with this sequence, but it or its order differs */

    DIFFERENCE_STOCK_MISSING, /* the event hasn't moved head office's stock of this product */
    DIFFERENCE_STOCK_DOUBLED, /* it has moved it twice */
    DIFFERENCE_STOCK_OTHER,   /* … by another amount; without a product: a product not its own */
};

struct finding {
    enum difference difference;
    int64_t sequence;
    const char *event_id;
    int64_t product_id; /* of DIFFERENCE_STOCK_…; 0: none */
};

const char *difference_text(enum difference difference);

struct reconcile_report {
    int64_t compared; /* events of the journal up to the sink's cursor, but for what was removed */
    int64_t parked;   /* of these, missing because they are parked or were discarded */
    int64_t missing;
    int64_t unknown;
    int64_t other;
};

struct reconcile_options {
    struct journal_reader *journal;
    struct delivery_state *deliveries;
    struct pg *pg;

    /* Called for every difference, in order of sequence. */
    void (*found)(void *context, const struct finding *finding);
    void *context;
};

/* RESULT_IO if head office can't be asked. */
MUST_CHECK enum result reconcile_run(const struct reconcile_options *options,
                                     struct reconcile_report *ret_report, struct error *error);

#endif
