#include "bridge/inventory/stock_api.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/http/http_request.h"
#include "core/http/request_body.h"
#include "core/utf8.h"

enum { BUSY_RETRY_S = 1, FIELD_MAX = 60, NUMBER_SIZE = 24 };

static bool is_location(const char *text, size_t size)
{
    if (size < 1 || size > ENVELOPE_NAME_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
            return false;
    return true;
}

/* What a path leads to. */
struct place {
    char location[STOCK_NAME_SIZE];
    int64_t product_id; /* 0: none in the path */
    bool is_stock;
};

static bool parse_product(const char *rest, struct place *place)
{
    char number[NUMBER_SIZE];
    size_t size = strcspn(rest, "/");
    if (size == 0 || size >= sizeof number)
        return false;
    snprintf(number, sizeof number, "%.*s", (int)size, rest);
    place->is_stock = strcmp(rest + size, "/stock") == 0;
    return (place->is_stock || rest[size] == '\0') &&
           http_parse_number(number, 1, JSON_INTEGER_MAX, &place->product_id);
}

static bool parse_path(const char *path, struct place *ret_place)
{
    static const char ROOT[] = "/locations/", PRODUCTS[] = "/products";
    struct place place = {0};
    if (strncmp(path, ROOT, sizeof ROOT - 1) != 0)
        return false;
    path += sizeof ROOT - 1;
    size_t size = strcspn(path, "/");
    if (!is_location(path, size) || strncmp(path + size, PRODUCTS, sizeof PRODUCTS - 1) != 0)
        return false;
    snprintf(place.location, sizeof place.location, "%.*s", (int)size, path);
    path += size + sizeof PRODUCTS - 1;
    if (*path != '\0' && (*path != '/' || !parse_product(path + 1, &place)))
        return false;
    *ret_place = place;
    return true;
}

struct page_reading {
    struct stock_request *request;
    struct field_errors errors;
};

static void stock_api_read_parameter(void *context, const char *name, const char *value)
{
    struct page_reading *reading = context;
    if (strcmp(name, "after") == 0) {
        if (!http_parse_number(value, 0, JSON_INTEGER_MAX, &reading->request->after))
            field_errors_add(&reading->errors, "after", "must be an id: a whole number");
    } else if (strcmp(name, "limit") == 0) {
        if (!http_parse_number(value, 1, STOCK_PAGE_MAX, &reading->request->limit))
            field_errors_add(&reading->errors, "limit", "must be a whole number from 1 to %d",
                             STOCK_PAGE_MAX);
    } else {
        char field[FIELD_MAX + 1];
        snprintf(field, sizeof field, "%.*s", FIELD_MAX, name);
        field_errors_add(&reading->errors, utf8_length(field, strlen(field)) < 0 ? "?" : field,
                         "is not a known parameter");
    }
}

static bool stock_api_read_page(struct stock_request *request)
{
    struct page_reading reading = {.request = request};
    request->limit = STOCK_PAGE_DEFAULT;
    field_errors_init(&reading.errors);
    http_exchange_query(request->exchange, stock_api_read_parameter, &reading);
    bool good = reading.errors.count == 0;
    if (!good)
        reply_invalid(http_exchange_reply(request->exchange), &reading.errors);
    field_errors_done(&reading.errors);
    return good;
}

static void stock_api_read_product(struct request_body *form, struct json_writer *asked)
{
    int64_t product_id = 0, stock = 0, price = 0;
    const char *name = NULL, *sku = NULL;
    if (request_body_integer(form, "product_id", FORM_OPTIONAL, 1, JSON_INTEGER_MAX, &product_id))
        json_put_int(asked, "product_id", product_id);
    if (request_body_text(form, "product_name", FORM_REQUIRED, 1, ENVELOPE_TEXT_MAX, &name))
        json_put_text(asked, "product_name", name);
    request_body_integer(form, "stock", FORM_REQUIRED, 0, ENVELOPE_STOCK_MAX, &stock);
    request_body_integer(form, "price", FORM_OPTIONAL, 0, ENVELOPE_PRICE_MAX_MINOR, &price);
    request_body_text_or_null(form, "sku", 1, ENVELOPE_SKU_MAX, &sku);
    request_body_refuse_blank(form, "product_name", name);
    request_body_refuse_blank(form, "sku", sku);
    json_put_int(asked, "stock", stock);
    json_put_int(asked, "price", price);
    if (sku)
        json_put_text(asked, "sku", sku);
}

static void stock_api_read_adjustment(struct request_body *form, struct json_writer *asked)
{
    int64_t delta = 0;
    const char *reason = NULL;
    bool has_delta = request_body_integer(form, "delta", FORM_REQUIRED, -ENVELOPE_STOCK_MAX,
                                          ENVELOPE_STOCK_MAX, &delta);
    if (has_delta && delta == 0)
        field_errors_add(form->errors, "delta", "must not be 0");
    if (request_body_text(form, "reason", FORM_REQUIRED, 1, ENVELOPE_TEXT_MAX, &reason))
        json_put_text(asked, "reason", reason);
    request_body_refuse_blank(form, "reason", reason);
    json_put_int(asked, "delta", delta);
}

/* Reads the body into `asked`. */
static bool stock_api_read_change(struct stock_api *api, struct stock_request *request)
{
    char event_id[UUID_TEXT_SIZE];
    struct request_body form;
    struct field_errors errors;
    struct json_writer asked;
    struct json *body = http_parse_body(request->exchange);
    if (!body)
        return false;
    struct uuid id = uuid_generate(api->ids);
    uuid_format(&id, event_id);
    field_errors_init(&errors);
    json_writer_init(&asked, &request->asked);
    json_begin_object(&asked, NULL);
    json_put_text(&asked, "event_id", event_id);
    json_put_text(&asked, "location", request->location);
    request_body_open(&form, body, "", &errors);
    if (request->kind == STOCK_ADD) {
        stock_api_read_product(&form, &asked);
    } else {
        json_put_int(&asked, "product_id", request->product_id);
        stock_api_read_adjustment(&form, &asked);
    }
    request_body_close(&form);
    json_end_object(&asked);
    bool good = errors.count == 0;
    if (!good)
        reply_invalid(http_exchange_reply(request->exchange), &errors);
    field_errors_done(&errors);
    json_free(body);
    return good;
}

static void write_hash(struct sha256 *hasher, char ret_text[static STOCK_HASH_SIZE])
{
    uint8_t hash[SHA256_SIZE];
    sha256_end(hasher, hash);
    ret_text[0] = '\\';
    ret_text[1] = 'x';
    sha256_format(hash, ret_text + 2);
}

/* What makes a request the same as another: method, path and body. */
static bool stock_api_read_key(struct stock_api *api, struct stock_request *request)
{
    const char *key = http_exchange_header(request->exchange, "Idempotency-Key");
    const char *path = http_exchange_path(request->exchange);
    const struct buf *body = http_exchange_body(request->exchange);
    if (key && !http_key_is_usable(key)) {
        reply_problem(http_exchange_reply(request->exchange), PROBLEM_MALFORMED,
                      "an Idempotency-Key has 1 to %d visible ASCII characters", HTTP_KEY_MAX);
        return false;
    }
    request->has_key = key != NULL;
    if (key) {
        sha256_begin(api->hasher);
        sha256_add(api->hasher, key, strlen(key));
        write_hash(api->hasher, request->key);
    }
    sha256_begin(api->hasher);
    sha256_add(api->hasher, path, strlen(path) + 1);
    sha256_add(api->hasher, buf_text(body), body->size);
    write_hash(api->hasher, request->hash);
    return true;
}

static bool read_request(struct stock_api *api, struct stock_request *request)
{
    if (request->kind == STOCK_LIST)
        return stock_api_read_page(request);
    return request->kind == STOCK_SHOW ||
           (stock_api_read_change(api, request) && stock_api_read_key(api, request));
}

static void submit(struct stock_api *api, struct stock_request *request)
{
    struct http_reply *reply = http_exchange_reply(request->exchange);
    /* Deferred before it is queued: the worker may be done before submit returns. */
    http_exchange_defer(request->exchange);
    if (stock_worker_submit(api->worker, request) == RESULT_OK)
        return;
    reply_problem(reply, PROBLEM_SERVICE_BUSY, "%d requests are waiting already",
                  STOCK_WORKER_QUEUE_MAX);
    reply->retry_after_s = BUSY_RETRY_S;
    http_exchange_resume(request->exchange);
}

/* False, with the reply filled in, if the resource hasn't the method. */
static bool find_kind(const struct place *place, struct http_exchange *exchange,
                      enum stock_kind *ret_kind)
{
    const char *method = http_exchange_method(exchange);
    bool posts = strcmp(method, "POST") == 0;
    if (http_exchange_reads(exchange) && !place->is_stock)
        *ret_kind = place->product_id ? STOCK_SHOW : STOCK_LIST;
    else if (posts && place->product_id == 0)
        *ret_kind = STOCK_ADD;
    else if (posts && place->is_stock)
        *ret_kind = STOCK_ADJUST;
    else {
        reply_method_refused(http_exchange_reply(exchange), place->is_stock ? "POST"
                                                            : place->product_id
                                                                ? "GET, HEAD"
                                                                : "GET, HEAD, POST");
        return false;
    }
    return true;
}

bool stock_api_handle(struct stock_api *api, struct http_exchange *exchange)
{
    struct place place;
    enum stock_kind kind;
    if (!parse_path(http_exchange_path(exchange), &place))
        return false;
    if (!find_kind(&place, exchange, &kind))
        return true;
    struct stock_request *request = calloc(1, sizeof *request);
    if (!request) {
        reply_problem(http_exchange_reply(exchange), PROBLEM_INTERNAL, "out of memory");
        return true;
    }
    request->kind = kind;
    request->exchange = exchange;
    request->product_id = place.product_id;
    memcpy(request->location, place.location, sizeof request->location);
    buf_init(&request->asked, STOCK_ASKED_MAX);
    http_exchange_keep(exchange, request, stock_request_free);
    if (read_request(api, request))
        submit(api, request);
    return true;
}
