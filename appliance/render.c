#include "appliance/render.h"

void render_order_items(struct json_writer *writer, const char *name, const struct order *order)
{
    json_begin_array(writer, name);
    for (size_t i = 0; i < order->line_count; i++) {
        json_begin_object(writer, NULL);
        json_put_int(writer, "product_id", order->lines[i].product_id);
        json_put_int(writer, "quantity", order->lines[i].quantity);
        json_put_int(writer, "unit_price", order->lines[i].unit_price_minor);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static bool render_read_member(const struct json *item, const char *name, int64_t *ret_number)
{
    const struct json *member = json_member(item, name);
    return member && json_integer(member, ret_number) == RESULT_OK;
}

static enum result render_read_lines(const struct json *items, struct order *order)
{
    size_t count = 0;
    for (const struct json *item = json_first(items); item; item = json_next(item), count++) {
        struct order_line *line = &order->lines[count];
        if (json_kind(item) != JSON_OBJECT ||
            !render_read_member(item, "product_id", &line->product_id) ||
            !render_read_member(item, "quantity", &line->quantity) ||
            !render_read_member(item, "unit_price", &line->unit_price_minor))
            return RESULT_CORRUPT;
    }
    return RESULT_OK;
}

enum result render_parse_items(const char *items, size_t size, struct order *ret_order)
{
    struct json *document = NULL;
    struct order order = {0};
    size_t count = 0;
    enum result result = json_parse(items, size, &document, NULL);
    if (result != RESULT_OK)
        return result == RESULT_NO_MEMORY ? result : RESULT_CORRUPT;
    for (const struct json *item = json_first(document); item; item = json_next(item))
        count++;
    result = json_kind(document) == JSON_ARRAY ? order_init(&order, count) : RESULT_CORRUPT;
    if (result == RESULT_OK)
        result = render_read_lines(document, &order);
    if (result == RESULT_OK)
        *ret_order = order;
    else
        order_done(&order);
    json_free(document);
    return result;
}

void render_order_stock(struct json_writer *writer, const struct order *order)
{
    if (order->stock_checked != ORDER_STOCK_UNASKED)
        json_put_text(writer, "stock_checked", order_stock_text(order->stock_checked));
}

void render_order(struct json_writer *writer, const char *name, const struct order *order)
{
    json_begin_object(writer, name);
    json_put_int(writer, "id", order->order_id);
    json_put_int(writer, "user_id", order->user_id);
    if (order->line_count == 1) {
        json_put_int(writer, "product_id", order->lines[0].product_id);
        json_put_int(writer, "quantity", order->lines[0].quantity);
    }
    json_put_text(writer, "status", order_status_text(order->status));
    render_order_items(writer, "items", order);
    json_put_int(writer, "total", order->total_minor);
    render_order_stock(writer, order);
    json_put_time(writer, "created_at", order->created_at_ms);
    if (order->status == ORDER_CANCELLED)
        json_put_time(writer, "cancelled_at", order->cancelled_at_ms);
    json_end_object(writer);
}

void render_product_members(struct json_writer *writer, const struct product *product)
{
    json_put_int(writer, "product_id", product->product_id);
    json_put_text(writer, "product_name", product->name);
    json_put_int(writer, "stock", product->stock);
    json_put_int(writer, "price", product->price_minor);
    if (product->sku[0])
        json_put_text(writer, "sku", product->sku);
    else
        json_put_null(writer, "sku");
}

void render_product(struct json_writer *writer, const char *name, const struct product *product)
{
    json_begin_object(writer, name);
    render_product_members(writer, product);
    json_put_time(writer, "updated_at", product->updated_at_ms);
    json_end_object(writer);
}
