#include "appliance/rows.h"

#include <string.h>

#include "appliance/render.h"

enum result row_find(struct statement *statement, struct error *error)
{
    bool row = false;
    enum result result = statement_step(statement, &row, error);
    return result == RESULT_OK && !row ? RESULT_NOT_FOUND : result;
}

void row_text(char *ret_text, size_t size, struct statement *row, int column)
{
    const char *text = statement_text(row, column);
    size_t length = statement_size(row, column);
    length = length < size ? length : size - 1;
    memcpy(ret_text, text, length);
    ret_text[length] = '\0';
}

enum result row_order(struct statement *row, struct order *ret_order, struct error *error)
{
    int64_t order_id = statement_int(row, 0);
    const char *items = statement_text(row, 2);
    enum result result = render_parse_items(items, statement_size(row, 2), ret_order);
    if (result != RESULT_OK)
        return error_set(error, result, "the items of order %lld can't be read",
                         (long long)order_id);
    ret_order->order_id = order_id;
    ret_order->user_id = statement_int(row, 1);
    ret_order->total_minor = statement_int(row, 3);
    ret_order->created_at_ms = statement_int(row, 4);
    ret_order->cancelled_at_ms = statement_int(row, 5);
    ret_order->stock_checked = order_stock_of_text(statement_text(row, 6));
    ret_order->status = statement_is_null(row, 5) ? ORDER_CREATED : ORDER_CANCELLED;
    return RESULT_OK;
}

void row_product(struct statement *row, struct product *ret_product)
{
    ret_product->product_id = statement_int(row, 0);
    row_text(ret_product->name, sizeof ret_product->name, row, 1);
    ret_product->stock = statement_int(row, 2);
    ret_product->price_minor = statement_int(row, 3);
    row_text(ret_product->sku, sizeof ret_product->sku, row, 4);
    ret_product->updated_at_ms = statement_int(row, 5);
}
