/* What an order is, and the rules it obeys. Pure: no clock, no file, no network. */
#ifndef TILLBOX_APPLIANCE_ORDER_H
#define TILLBOX_APPLIANCE_ORDER_H

#include <stddef.h>
#include <stdint.h>

#include "core/result.h"

enum { ORDER_LINES_MAX = 1000, ORDER_QUANTITY_MAX = 1000000 };

/* Amounts of money are whole minor units of the shop's one currency. 2^53 - 1, so that a total is
 * exact for every JSON reader. */
static const int64_t ORDER_TOTAL_MAX_MINOR = 9007199254740991;

/* An order's life:
 *
 *     (POST /orders) ──▶ created ──(POST /orders/{id}/cancel)──▶ cancelled
 */
enum order_status { ORDER_CREATED, ORDER_CANCELLED };

/* By whose knowledge of the stock the order was sold. */
enum order_stock {
    ORDER_STOCK_UNASKED, /* there is no inventory service besides the box's own */
    ORDER_STOCK_LOCAL,   /* it could not be asked: the journal's alone */
    ORDER_STOCK_REMOTE,  /* it was asked, and had enough of everything */
};

struct order_line {
    int64_t product_id;
    int64_t quantity;
    int64_t unit_price_minor; /* the price at the time of the sale */
};

struct order {
    int64_t order_id; /* the receipt number */
    int64_t user_id;
    enum order_status status;
    enum order_stock stock_checked;
    int64_t total_minor;
    int64_t created_at_ms;
    int64_t cancelled_at_ms;  /* 0 unless cancelled */
    struct order_line *lines; /* owned */
    size_t line_count;
};

/* Allocates room for the lines. */
MUST_CHECK enum result order_init(struct order *order, size_t line_count);
void order_done(struct order *order);

const char *order_status_text(enum order_status status);

/* "local", "remote"; "" for ORDER_STOCK_UNASKED. */
const char *order_stock_text(enum order_stock stock);

/* The other way round; ORDER_STOCK_UNASKED for any other text. */
enum order_stock order_stock_of_text(const char *text);

/* Sets the total from the lines' prices; RESULT_TOO_LARGE above ORDER_TOTAL_MAX_MINOR. */
MUST_CHECK enum result order_price(struct order *order);

/* Moves the order to cancelled; RESULT_CONFLICT if it is there already. */
MUST_CHECK enum result order_cancel(struct order *order, int64_t now_ms);

#endif
