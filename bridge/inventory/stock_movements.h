/* What an event does to head office's stock. */
#ifndef TILLBOX_BRIDGE_STOCK_MOVEMENTS_H
#define TILLBOX_BRIDGE_STOCK_MOVEMENTS_H

#include "bridge/consumer/envelope.h"

/* Calls `each` once for every product of the event: an order's lines of the same product count
 * together. A product.updated moves nothing, but is logged like the others. */
void stock_movements_each(const struct envelope *event,
                          void (*each)(void *context, int64_t product_id, int64_t change),
                          void *context);

#endif
