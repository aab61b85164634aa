/* Orders and products as JSON: the same members in the API's answers and in the events. */
#ifndef TILLBOX_APPLIANCE_RENDER_H
#define TILLBOX_APPLIANCE_RENDER_H

#include "appliance/order.h"
#include "appliance/product.h"
#include "core/json.h"

/* [{"product_id","quantity","unit_price"}, …], as the journal keeps it. */
void render_order_items(struct json_writer *writer, const char *name, const struct order *order);

/* The member `stock_checked`, where the order has it. */
void render_order_stock(struct json_writer *writer, const struct order *order);

/* RESULT_CORRUPT unless `items` is what render_order_items wrote. Calls order_init. */
MUST_CHECK enum result render_parse_items(const char *items, size_t size, struct order *ret_order);

/* The API's order; `name` as in json_put_…. */
void render_order(struct json_writer *writer, const char *name, const struct order *order);

/* The API's product. */
void render_product(struct json_writer *writer, const char *name, const struct product *product);

/* Members common to the answer and the event, into an object that is open. */
void render_product_members(struct json_writer *writer, const struct product *product);

#endif
