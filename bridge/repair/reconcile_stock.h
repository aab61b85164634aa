/* Compares the journal with head office's stock_logs: every event that the broker has taken must
 * have exactly one row for each of its products, with the right change. */
#ifndef TILLBOX_BRIDGE_RECONCILE_STOCK_H
#define TILLBOX_BRIDGE_RECONCILE_STOCK_H

#include "bridge/repair/reconcile.h"

/* What is missing may still be on its way: it is looked for again for so long, in all. */
enum { RECONCILE_STOCK_GRACE_MS = 3000 };

struct reconcile_stock_report {
    bool is_kept;     /* false: head office has no row at all, so nothing was compared */
    int64_t compared; /* events */
    int64_t parked;   /* of these, not on the broker as they are parked or were discarded */
    int64_t missing;  /* (event, product) rows that should be there */
    int64_t doubled;  /* … that are there twice, under several locations */
    int64_t
        other; /* rows with another change or location, or of a product that isn't the event's */
};

/* RESULT_IO if head office can't be asked. */
MUST_CHECK enum result reconcile_stock_run(const struct reconcile_options *options,
                                           struct reconcile_stock_report *ret_report,
                                           struct error *error);

#endif
