/* The inventory service's part in consuming: makes events into moves of head office's stock. */
#ifndef TILLBOX_BRIDGE_INVENTORY_H
#define TILLBOX_BRIDGE_INVENTORY_H

#include <stdatomic.h>

#include "bridge/consumer/consumer.h"

struct inventory {
    struct buf moves; /* of a batch, as a JSON array */
    const struct clock *clock;
    int64_t counted_ms;                    /* when below_zero was counted */
    int64_t purged_ms;                     /* when old keys of requests were removed */
    atomic_int_least64_t below_zero;       /* products; -1 while it isn't known */
    atomic_int_least64_t went_below_total; /* how often a product went below zero */
};

void inventory_init(struct inventory *inventory, const struct clock *clock);
void inventory_done(struct inventory *inventory);

/* For consumer_options; `self` is a struct inventory. */
extern const struct consumer_ops INVENTORY_OPS;

#endif
