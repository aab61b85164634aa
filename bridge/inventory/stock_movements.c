#include "bridge/inventory/stock_movements.h"

/* What a product has in all lines from `first` on; 0 if it stands in an earlier one. */
static int64_t quantity_from(const struct envelope *order, size_t first)
{
    int64_t product_id = order->lines[first].product_id, quantity = 0;
    for (size_t i = 0; i < first; i++)
        if (order->lines[i].product_id == product_id)
            return 0;
    for (size_t i = first; i < order->line_count; i++)
        if (order->lines[i].product_id == product_id)
            quantity += order->lines[i].quantity;
    return quantity;
}

static void each_of_order(const struct envelope *order,
                          void (*each)(void *context, int64_t product_id, int64_t change),
                          void *context)
{
    int64_t sign = order->kind == ENVELOPE_ORDER_CREATED ? -1 : 1;
    for (size_t i = 0; i < order->line_count; i++) {
        int64_t quantity = quantity_from(order, i);
        if (quantity > 0)
            each(context, order->lines[i].product_id, sign * quantity);
    }
}

void stock_movements_each(const struct envelope *event,
                          void (*each)(void *context, int64_t product_id, int64_t change),
                          void *context)
{
    switch (event->kind) {
    case ENVELOPE_ORDER_CREATED:
    case ENVELOPE_ORDER_CANCELLED:
        each_of_order(event, each, context);
        break;
    case ENVELOPE_PRODUCT_CREATED:
        each(context, event->product_id, event->stock);
        break;
    case ENVELOPE_PRODUCT_UPDATED: /* its `stock` is one box's view of the moment */
        each(context, event->product_id, 0);
        break;
    case ENVELOPE_STOCK_ADJUSTED:
        each(context, event->product_id, event->delta);
        break;
    case ENVELOPE_KINDS:
        break;
    }
}
