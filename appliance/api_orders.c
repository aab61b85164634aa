/* POST /orders, POST /orders/{id}/cancel, GET /orders, GET /orders/latest, GET /orders/{id}. */
#include <stdio.h>

#include "appliance/api.h"
#include "core/http/request_body.h"

enum { PREFIX_SIZE = 32 };

static void orders_read_line(struct request_body *form, struct order_line *line)
{
    request_body_integer(form, "product_id", FORM_REQUIRED, 1, JSON_INTEGER_MAX, &line->product_id);
    request_body_integer(form, "quantity", FORM_REQUIRED, 1, ORDER_QUANTITY_MAX, &line->quantity);
}

static enum result read_items(const struct json *items, struct order *order,
                              struct field_errors *errors)
{
    size_t count = 0;
    for (const struct json *item = json_first(items); item; item = json_next(item))
        count++;
    enum result result = order_init(order, count);
    if (result != RESULT_OK)
        return result;
    size_t index = 0;
    for (const struct json *item = json_first(items); item; item = json_next(item), index++) {
        struct request_body form;
        char prefix[PREFIX_SIZE];
        snprintf(prefix, sizeof prefix, "items[%zu].", index);
        request_body_open(&form, item, prefix, errors);
        orders_read_line(&form, &order->lines[index]);
        request_body_close(&form);
    }
    return RESULT_OK;
}

/* Which of the two was meant? */
static void refuse_both_forms(struct request_body *form)
{
    static const char WHY[] = "belongs into items, or items must go";
    request_body_refuse_member(form, "product_id", WHY);
    request_body_refuse_member(form, "quantity", WHY);
}

/* One line in the order itself, or any number of them in `items`. */
static enum result orders_read_order(const struct json *body, struct command *command,
                                     struct field_errors *errors)
{
    struct request_body form;
    struct order *order = &command->input.order;
    int64_t user_id = 0;
    enum result result = RESULT_OK;
    request_body_open(&form, body, "", errors);
    request_body_integer(&form, "user_id", FORM_REQUIRED, 1, JSON_INTEGER_MAX, &user_id);
    command->order_is_list = form.object && json_member(body, "items");
    if (command->order_is_list) {
        const struct json *items =
            request_body_array(&form, "items", FORM_REQUIRED, 1, ORDER_LINES_MAX);
        result = items ? read_items(items, order, errors) : RESULT_OK;
        refuse_both_forms(&form);
    } else {
        result = order_init(order, 1);
        if (result == RESULT_OK)
            orders_read_line(&form, &order->lines[0]);
    }
    request_body_close(&form);
    order->user_id = user_id;
    return result;
}

void api_post_orders(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)id;
    struct field_errors errors;
    struct json *body = http_parse_body(exchange);
    if (!body)
        return;
    struct command *command = api_new_command(exchange, COMMAND_CREATE_ORDER);
    field_errors_init(&errors);
    enum result result = command ? orders_read_order(body, command, &errors) : RESULT_NO_MEMORY;
    json_free(body);
    if (result != RESULT_OK)
        reply_problem(http_exchange_reply(exchange), PROBLEM_INTERNAL, "%s", result_text(result));
    else if (errors.count > 0)
        reply_invalid(http_exchange_reply(exchange), &errors);
    else
        api_submit(service, exchange, command);
    field_errors_done(&errors);
}

/* The call needs no body; one that comes anyway must be an empty object. */
static bool accept_empty_body(struct http_exchange *exchange)
{
    struct field_errors errors;
    struct request_body form;
    if (http_exchange_body(exchange)->size == 0)
        return true;
    struct json *body = http_parse_body(exchange);
    if (!body)
        return false;
    field_errors_init(&errors);
    request_body_open(&form, body, "", &errors);
    request_body_close(&form);
    json_free(body);
    bool good = errors.count == 0;
    if (!good)
        reply_invalid(http_exchange_reply(exchange), &errors);
    field_errors_done(&errors);
    return good;
}

void api_cancel_order(struct service *service, struct http_exchange *exchange, int64_t id)
{
    if (!accept_empty_body(exchange))
        return;
    struct command *command = api_new_command(exchange, COMMAND_CANCEL_ORDER);
    if (!command)
        return;
    command->input.order_id = id;
    api_submit(service, exchange, command);
}

void api_get_order(struct service *service, struct http_exchange *exchange, int64_t id)
{
    struct error error = {0};
    struct json_writer writer;
    char what[40];
    snprintf(what, sizeof what, "order %lld", (long long)id);
    json_writer_init(&writer, &http_exchange_reply(exchange)->body);
    enum result result = queries_order(service->queries, id, &writer, &error);
    api_answer_read(exchange, result, what, &error);
}

void api_get_orders(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)id;
    struct error error = {0};
    struct json_writer writer;
    struct page page;
    enum order_filter filter = ORDERS_ALL;
    if (!api_read_page(exchange, &page, &filter))
        return;
    json_writer_init(&writer, &http_exchange_reply(exchange)->body);
    enum result result = queries_orders(service->queries, filter, &page, &writer, &error);
    api_answer_read(exchange, result, "order", &error);
}

void api_get_latest_orders(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)id;
    struct error error = {0};
    struct json_writer writer;
    struct page_back page;
    if (!api_read_latest(exchange, &page))
        return;
    json_writer_init(&writer, &http_exchange_reply(exchange)->body);
    enum result result = queries_latest_orders(service->queries, &page, &writer, &error);
    api_answer_read(exchange, result, "order", &error);
}
