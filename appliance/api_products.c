/* POST /products, GET /products, GET and PATCH /products/{id}, POST /products/{id}/stock. */
#include <stdio.h>

#include "appliance/api.h"
#include "appliance/stock.h"
#include "core/http/request_body.h"

enum { REASON_MAX = 200 };

/* What a body is read into. Texts are copied out of the document, which goes first. */
typedef void read_body(const struct json *body, struct command *command,
                       struct field_errors *errors);

static void products_copy_text(char *ret_text, size_t size, const char *text)
{
    snprintf(ret_text, size, "%s", text ? text : "");
}

static void products_read_product(const struct json *body, struct command *command,
                                  struct field_errors *errors)
{
    struct request_body form;
    struct product *product = &command->input.product;
    const char *name = NULL, *sku = NULL;
    request_body_open(&form, body, "", errors);
    request_body_text(&form, "product_name", FORM_REQUIRED, 1, PRODUCT_NAME_MAX, &name);
    request_body_integer(&form, "stock", FORM_REQUIRED, 0, STOCK_MAX, &product->stock);
    request_body_integer(&form, "price", FORM_OPTIONAL, 0, PRODUCT_PRICE_MAX_MINOR,
                         &product->price_minor);
    request_body_text_or_null(&form, "sku", 1, PRODUCT_SKU_MAX, &sku);
    request_body_refuse_blank(&form, "product_name", name);
    request_body_refuse_blank(&form, "sku", sku);
    request_body_close(&form);
    products_copy_text(product->name, sizeof product->name, name);
    products_copy_text(product->sku, sizeof product->sku, sku);
}

static void products_read_change(const struct json *body, struct command *command,
                                 struct field_errors *errors)
{
    struct request_body form;
    struct product_change *change = &command->input.change;
    const char *name = NULL, *sku = NULL;
    request_body_open(&form, body, "", errors);
    change->has_name =
        request_body_text(&form, "product_name", FORM_OPTIONAL, 1, PRODUCT_NAME_MAX, &name);
    change->has_price = request_body_integer(&form, "price", FORM_OPTIONAL, 0,
                                             PRODUCT_PRICE_MAX_MINOR, &change->to.price_minor);
    change->has_sku = request_body_text_or_null(&form, "sku", 1, PRODUCT_SKU_MAX, &sku);
    request_body_refuse_blank(&form, "product_name", name);
    request_body_refuse_blank(&form, "sku", sku);
    request_body_close(&form);
    products_copy_text(change->to.name, sizeof change->to.name, name);
    products_copy_text(change->to.sku, sizeof change->to.sku, sku);
    if (errors->count == 0 && !change->has_name && !change->has_price && !change->has_sku)
        field_errors_add(errors, "", "must have product_name, price or sku");
}

static void products_read_adjustment(const struct json *body, struct command *command,
                                     struct field_errors *errors)
{
    struct request_body form;
    struct stock_adjustment *adjustment = &command->input.adjustment;
    const char *reason = NULL;
    request_body_open(&form, body, "", errors);
    bool has_delta = request_body_integer(&form, "delta", FORM_REQUIRED, -STOCK_MAX, STOCK_MAX,
                                          &adjustment->delta);
    request_body_text(&form, "reason", FORM_REQUIRED, 1, REASON_MAX, &reason);
    request_body_refuse_blank(&form, "reason", reason);
    request_body_close(&form);
    if (has_delta && adjustment->delta == 0)
        field_errors_add(errors, "delta", "must not be 0");
    products_copy_text(adjustment->reason, sizeof adjustment->reason, reason);
}

/* Reads the body into a new command and submits it, or answers what is wrong with it. */
static void submit_body(struct service *service, struct http_exchange *exchange,
                        enum command_kind kind, int64_t id, read_body *read)
{
    struct field_errors errors;
    struct json *body = http_parse_body(exchange);
    if (!body)
        return;
    struct command *command = api_new_command(exchange, kind);
    if (!command) {
        json_free(body);
        return;
    }
    field_errors_init(&errors);
    read(body, command, &errors);
    json_free(body);
    if (kind == COMMAND_UPDATE_PRODUCT)
        command->input.change.product_id = id;
    if (kind == COMMAND_ADJUST_STOCK)
        command->input.adjustment.product_id = id;
    if (errors.count > 0)
        reply_invalid(http_exchange_reply(exchange), &errors);
    else
        api_submit(service, exchange, command);
    field_errors_done(&errors);
}

void api_post_products(struct service *service, struct http_exchange *exchange, int64_t id)
{
    submit_body(service, exchange, COMMAND_CREATE_PRODUCT, id, products_read_product);
}

void api_patch_product(struct service *service, struct http_exchange *exchange, int64_t id)
{
    submit_body(service, exchange, COMMAND_UPDATE_PRODUCT, id, products_read_change);
}

void api_post_stock(struct service *service, struct http_exchange *exchange, int64_t id)
{
    submit_body(service, exchange, COMMAND_ADJUST_STOCK, id, products_read_adjustment);
}

void api_get_product(struct service *service, struct http_exchange *exchange, int64_t id)
{
    struct error error = {0};
    struct json_writer writer;
    char what[40];
    snprintf(what, sizeof what, "product %lld", (long long)id);
    json_writer_init(&writer, &http_exchange_reply(exchange)->body);
    enum result result = queries_product(service->queries, id, &writer, &error);
    api_answer_read(exchange, result, what, &error);
}

void api_get_products(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)id;
    struct error error = {0};
    struct json_writer writer;
    struct page page;
    if (!api_read_page(exchange, &page, NULL))
        return;
    json_writer_init(&writer, &http_exchange_reply(exchange)->body);
    enum result result = queries_products(service->queries, &page, &writer, &error);
    api_answer_read(exchange, result, "product", &error);
}
