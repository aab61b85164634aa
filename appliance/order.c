#include "appliance/order.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* TRANSITION_ALLOWED[from][to] */
static const bool TRANSITION_ALLOWED[2][2] = {
    [ORDER_CREATED] = {[ORDER_CANCELLED] = true},
};

enum result order_init(struct order *order, size_t line_count)
{
    *order = (struct order){.line_count = line_count};
    order->lines = calloc(line_count ? line_count : 1, sizeof *order->lines);
    return order->lines ? RESULT_OK : RESULT_NO_MEMORY;
}

void order_done(struct order *order)
{
    free(order->lines);
    *order = (struct order){0};
}

const char *order_status_text(enum order_status status)
{
    return status == ORDER_CANCELLED ? "cancelled" : "created";
}

static const char *const STOCK_TEXTS[] = {
    [ORDER_STOCK_UNASKED] = "", [ORDER_STOCK_LOCAL] = "local", [ORDER_STOCK_REMOTE] = "remote"};

const char *order_stock_text(enum order_stock stock)
{
    return STOCK_TEXTS[stock];
}

enum order_stock order_stock_of_text(const char *text)
{
    for (enum order_stock stock = ORDER_STOCK_LOCAL; stock <= ORDER_STOCK_REMOTE; stock++)
        if (strcmp(STOCK_TEXTS[stock], text) == 0)
            return stock;
    return ORDER_STOCK_UNASKED;
}

enum result order_price(struct order *order)
{
    int64_t total = 0, amount = 0;
    for (size_t i = 0; i < order->line_count; i++) {
        const struct order_line *line = &order->lines[i];
        if (__builtin_mul_overflow(line->quantity, line->unit_price_minor, &amount) ||
            __builtin_add_overflow(total, amount, &total) || total > ORDER_TOTAL_MAX_MINOR)
            return RESULT_TOO_LARGE;
    }
    order->total_minor = total;
    return RESULT_OK;
}

static enum result order_move(struct order *order, enum order_status to)
{
    if (!TRANSITION_ALLOWED[order->status][to])
        return RESULT_CONFLICT;
    order->status = to;
    return RESULT_OK;
}

enum result order_cancel(struct order *order, int64_t now_ms)
{
    enum result result = order_move(order, ORDER_CANCELLED);
    if (result == RESULT_OK)
        order->cancelled_at_ms = now_ms;
    return result;
}
