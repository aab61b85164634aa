/* Orders and products as rows of the journal, for its writer and its readers. */
#ifndef TILLBOX_APPLIANCE_ROWS_H
#define TILLBOX_APPLIANCE_ROWS_H

#include "appliance/order.h"
#include "appliance/product.h"
#include "core/db.h"

/* The columns that row_order() and row_product() read, to stand in a SELECT. */
#define ROW_ORDER "order_id, user_id, items, total, created_at_ms, cancelled_at_ms, stock_checked"
#define ROW_PRODUCT "product_id, product_name, stock, price, sku, updated_at_ms"

/* Steps a statement to its one row; RESULT_NOT_FOUND if it has none. */
MUST_CHECK enum result row_find(struct statement *statement, struct error *error);

/* A column's text, cut to `size` with its NUL. */
void row_text(char *ret_text, size_t size, struct statement *row, int column);

/* Owned by the caller: order_done(). RESULT_CORRUPT if the items can't be read. */
MUST_CHECK enum result row_order(struct statement *row, struct order *ret_order,
                                 struct error *error);
void row_product(struct statement *row, struct product *ret_product);

#endif
