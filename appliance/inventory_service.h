/* The inventory service that keeps the stock of the store's other tills too, as the stock check
 * sees it: remote_stock.h, or a test's own. One thread at a time uses one of these. */
#ifndef TILLBOX_APPLIANCE_INVENTORY_SERVICE_H
#define TILLBOX_APPLIANCE_INVENTORY_SERVICE_H

#include <stdint.h>

#include "core/result.h"

struct inventory_service_ops {
    /* How much there is of a product; below zero where more was sold than there was. Returns by
     * `due_ms`, a moment of the monotonic clock. RESULT_NOT_FOUND: the service answers, and doesn't
     * know the product. Anything else: it could not be asked, or its answer makes no sense. */
    enum result (*find_stock)(void *service, int64_t product_id, int64_t due_ms, int64_t *ret_stock,
                              struct error *error);
    void (*free)(void *service);
};

struct inventory_service {
    const struct inventory_service_ops *ops;
    void *self;
};

#endif
