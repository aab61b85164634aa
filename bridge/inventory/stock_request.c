#include "bridge/inventory/stock_request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_SIZE = 24 };

/* The columns of a product, as write_product() takes them. */
#define COLUMNS                                                                        \
    "p.location, p.product_id, p.product_name, p.stock, p.price, p.sku, p.below_zero," \
    " to_char(p.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
enum { AT_LOCATION, AT_ID, AT_NAME, AT_STOCK, AT_PRICE, AT_SKU, AT_BELOW, AT_UPDATED, AT_OUTCOME };

static const char LIST[] = "SELECT " COLUMNS " FROM products p WHERE p.location = $1"
                           " AND p.product_id > $2 ORDER BY p.product_id LIMIT $3";
static const char SHOW[] = "SELECT " COLUMNS " FROM products p WHERE p.location = $1"
                           " AND p.product_id = $2";
static const char CHANGE[] =
    "SELECT " COLUMNS ", r.outcome FROM tillbox_stock_request($1, $2, $3::jsonb) r"
    " LEFT JOIN LATERAL jsonb_populate_record(NULL::products, r.product_row) p ON true";

void stock_request_free(void *request)
{
    struct stock_request *self = request;
    buf_done(&self->asked);
    free(self);
}

static struct http_reply *reply_of(struct stock_request *request)
{
    return http_exchange_reply(request->exchange);
}

void stock_request_refuse(struct stock_request *request)
{
    struct http_reply *reply = reply_of(request);
    reply_problem(reply, PROBLEM_DATABASE, "nothing was changed; try again in a moment");
    reply->retry_after_s = STOCK_RETRY_AFTER_S;
}

static void put_text_or_null(struct json_writer *writer, const char *name,
                             const struct pg_rows *rows, size_t row, int column)
{
    if (pg_is_null(rows, row, column))
        json_put_null(writer, name);
    else
        json_put_text(writer, name, pg_text(rows, row, column));
}

static void stock_request_write_product(struct json_writer *writer, const struct pg_rows *rows,
                                        size_t row)
{
    json_begin_object(writer, NULL);
    json_put_text(writer, "location", pg_text(rows, row, AT_LOCATION));
    json_put_int(writer, "product_id", pg_int(rows, row, AT_ID));
    put_text_or_null(writer, "product_name", rows, row, AT_NAME);
    json_put_int(writer, "stock", pg_int(rows, row, AT_STOCK));
    if (pg_is_null(rows, row, AT_PRICE))
        json_put_null(writer, "price");
    else
        json_put_int(writer, "price", pg_int(rows, row, AT_PRICE));
    put_text_or_null(writer, "sku", rows, row, AT_SKU);
    json_put_bool(writer, "below_zero", pg_text(rows, row, AT_BELOW)[0] == 't');
    json_put_text(writer, "updated_at", pg_text(rows, row, AT_UPDATED));
    json_end_object(writer);
}

/* One row more than the page holds was asked for: it tells whether there is a next page. */
static void answer_list(struct stock_request *request, const struct pg_rows *rows)
{
    struct json_writer writer;
    size_t count = pg_row_count(rows), shown = (size_t)request->limit;
    json_writer_init(&writer, &reply_of(request)->body);
    json_begin_object(&writer, NULL);
    json_begin_array(&writer, "products");
    for (size_t row = 0; row < count && row < shown; row++)
        stock_request_write_product(&writer, rows, row);
    json_end_array(&writer);
    if (count > shown)
        json_put_int(&writer, "next_after", pg_int(rows, shown - 1, AT_ID));
    else
        json_put_null(&writer, "next_after");
    json_end_object(&writer);
}

static void answer_one(struct stock_request *request, const struct pg_rows *rows, int status)
{
    struct http_reply *reply = reply_of(request);
    struct json_writer writer;
    reply->status = status;
    json_writer_init(&writer, &reply->body);
    stock_request_write_product(&writer, rows, 0);
    if (status == 201)
        snprintf(reply->location, sizeof reply->location, "/locations/%s/products/%" PRId64,
                 request->location, pg_int(rows, 0, AT_ID));
}

static void answer_not_found(struct stock_request *request)
{
    reply_problem(reply_of(request), PROBLEM_NOT_FOUND, "there is no product %" PRId64 " in %s",
                  request->product_id, request->location);
}

static int64_t asked_number(const struct stock_request *request, const char *name)
{
    struct json *asked = NULL;
    int64_t number = 0;
    if (json_parse(buf_text(&request->asked), request->asked.size, &asked, NULL) != RESULT_OK ||
        json_integer(json_member(asked, name), &number) != RESULT_OK)
        number = 0;
    json_free(asked);
    return number;
}

static void answer_change(struct stock_request *request, const struct pg_rows *rows)
{
    const char *outcome = pg_text(rows, 0, AT_OUTCOME);
    struct http_reply *reply = reply_of(request);
    if (strcmp(outcome, "done") == 0)
        answer_one(request, rows, request->kind == STOCK_ADD ? 201 : 200);
    else if (strcmp(outcome, "not_found") == 0)
        answer_not_found(request);
    else if (strcmp(outcome, "insufficient") == 0)
        reply_insufficient_stock(reply, request->product_id, -asked_number(request, "delta"),
                                 pg_int(rows, 0, AT_STOCK));
    else if (strcmp(outcome, "exists") == 0)
        reply_problem(reply, PROBLEM_PRODUCT_EXISTS, "%s has a product %s", request->location,
                      pg_text(rows, 0, AT_ID));
    else
        reply_problem(reply, PROBLEM_KEY_REUSED, "a new request needs a new Idempotency-Key");
}

static enum delivery stock_request_run(struct stock_request *request, struct pg *pg,
                                       struct pg_rows **ret_rows, struct error *error)
{
    char number[NUMBER_SIZE], limit[NUMBER_SIZE];
    bool is_list = request->kind == STOCK_LIST;
    if (request->kind == STOCK_ADD || request->kind == STOCK_ADJUST) {
        const char *const values[] = {request->has_key ? request->key : NULL, request->hash,
                                      buf_text(&request->asked)};
        return pg_run(pg, CHANGE, ARRAY_LENGTH(values), values, ret_rows, error);
    }
    snprintf(number, sizeof number, "%" PRId64, is_list ? request->after : request->product_id);
    snprintf(limit, sizeof limit, "%" PRId64, request->limit + 1);
    const char *const values[] = {request->location, number, limit};
    return pg_run(pg, is_list ? LIST : SHOW, is_list ? 3 : 2, values, ret_rows, error);
}

static void answer_rows(struct stock_request *request, const struct pg_rows *rows)
{
    if (request->kind == STOCK_LIST)
        answer_list(request, rows);
    else if (pg_row_count(rows) == 0)
        answer_not_found(request);
    else if (request->kind == STOCK_SHOW)
        answer_one(request, rows, 200);
    else
        answer_change(request, rows);
}

/* Someone else has the row, or the first request with this key is under way. */
static void answer_locked(struct stock_request *request)
{
    struct http_reply *reply = reply_of(request);
    reply_problem(reply, request->has_key ? PROBLEM_IN_FLIGHT : PROBLEM_SERVICE_BUSY,
                  "nothing was changed; try again in a moment");
    reply->retry_after_s = STOCK_RETRY_AFTER_S;
}

enum delivery stock_request_answer(struct stock_request *request, struct pg *pg,
                                   struct error *error)
{
    struct pg_rows *rows = NULL;
    enum delivery done = stock_request_run(request, pg, &rows, error);
    if (done == DELIVERY_DONE) {
        answer_rows(request, rows);
    } else if (done == DELIVERY_TRANSIENT || strcmp(pg_sqlstate(pg), "55P03") == 0) {
        answer_locked(request);
        done = DELIVERY_DONE;
    } else if (done == DELIVERY_REFUSED) {
        reply_problem(reply_of(request), PROBLEM_CONFLICT, "the stock would leave its bounds");
        done = DELIVERY_DONE;
    } else {
        stock_request_refuse(request);
    }
    pg_free_rows(rows);
    return done;
}
