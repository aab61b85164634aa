#include "appliance/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/utf8.h"

enum { BUSY_RETRY_S = 1 };

static void release_command(void *kept)
{
    command_done(kept);
    free(kept);
}

struct command *api_new_command(struct http_exchange *exchange, enum command_kind kind)
{
    struct command *command = malloc(sizeof *command);
    if (!command) {
        reply_problem(http_exchange_reply(exchange), PROBLEM_INTERNAL, "out of memory");
        return NULL;
    }
    command_init(command, kind, http_exchange_reply(exchange));
    http_exchange_keep(exchange, command, release_command);
    return command;
}

struct sha256 *api_hasher(struct service *service)
{
    return service->api->hashers[service->kind == SERVICE_ORDERS ? 0 : 1];
}

/* What makes a request the same as another: method, path and body. */
static void hash_request(struct service *service, const struct http_exchange *exchange,
                         const char *key, struct command *command)
{
    uint8_t key_hash[SHA256_SIZE];
    struct sha256 *hasher = api_hasher(service);
    const char *method = http_exchange_method(exchange), *path = http_exchange_path(exchange);
    const struct buf *body = http_exchange_body(exchange);
    sha256_begin(hasher);
    sha256_add(hasher, key, strlen(key));
    sha256_end(hasher, key_hash);
    memcpy(command->key, key_hash, JOURNAL_KEY_SIZE);
    sha256_begin(hasher);
    sha256_add(hasher, method, strlen(method) + 1);
    sha256_add(hasher, path, strlen(path) + 1);
    sha256_add(hasher, buf_text(body), body->size);
    sha256_end(hasher, command->request_hash);
    command->has_key = true;
}

static bool api_read_key(struct service *service, struct http_exchange *exchange,
                         struct command *command)
{
    const char *key = http_exchange_header(exchange, "Idempotency-Key");
    if (!key || strcmp(http_exchange_method(exchange), "POST") != 0)
        return true;
    if (!http_key_is_usable(key)) {
        reply_problem(http_exchange_reply(exchange), PROBLEM_MALFORMED,
                      "an Idempotency-Key has 1 to %d visible ASCII characters", HTTP_KEY_MAX);
        return false;
    }
    hash_request(service, exchange, key, command);
    return true;
}

/* In the committer's thread. */
static void on_command_done(struct command *command)
{
    http_exchange_resume(command->context);
}

static void hand_over(const struct api *api, struct command *command)
{
    struct http_reply *reply = command->reply;
    struct http_exchange *exchange = command->context;
    enum result result = committer_submit(api->committer, command);
    if (result == RESULT_OK)
        return;
    if (result == RESULT_BUSY)
        reply_problem(reply, PROBLEM_BUSY, "%d changes are waiting already", COMMITTER_QUEUE_MAX);
    else
        reply_problem(reply, PROBLEM_STOPPING, "the box is stopping; try again in a moment");
    reply->retry_after_s = BUSY_RETRY_S;
    http_exchange_resume(exchange);
}

void api_on_checked(void *context, struct command *command)
{
    hand_over(context, command);
}

/* A sale that was made already gets its answer again, whatever the stock is now. */
static bool is_answered(const struct service *service, const struct command *command)
{
    bool found = false;
    struct error error = {0};
    if (!command->has_key)
        return false;
    if (queries_has_answer(service->queries, command->key, &found, &error) != RESULT_OK)
        LOG(LOG_ERROR, "read.failed", LOG_TEXT("error", error.text));
    return found;
}

static void check_stock(const struct service *service, struct command *command)
{
    struct api *api = service->api;
    enum result result =
        is_answered(service, command) ? RESULT_BUSY : stock_check_submit(api->stock_check, command);
    if (result == RESULT_BUSY)
        hand_over(api, command);
    if (result != RESULT_CONFLICT)
        return;
    reply_problem(command->reply, PROBLEM_IN_FLIGHT,
                  "the first request with this key isn't done yet");
    command->reply->retry_after_s = BUSY_RETRY_S;
    http_exchange_resume(command->context);
}

void api_submit(struct service *service, struct http_exchange *exchange, struct command *command)
{
    const struct api *api = service->api;
    if (!api_read_key(service, exchange, command))
        return;
    command->done = on_command_done;
    command->context = exchange;
    /* Deferred before it is queued: the committer may be done before submit returns. */
    http_exchange_defer(exchange);
    if (api->stock_check && command->kind == COMMAND_CREATE_ORDER)
        check_stock(service, command);
    else
        hand_over(api, command);
}

struct page_reading {
    const char *bound; /* "after" or "before" */
    struct page *page;
    enum order_filter *filter;
    bool has_bound, has_limit, has_filter;
    struct field_errors errors;
};

static bool parse_filter(const char *text, enum order_filter *ret_filter)
{
    if (strcmp(text, "created") == 0)
        *ret_filter = ORDERS_CREATED;
    else if (strcmp(text, "cancelled") == 0)
        *ret_filter = ORDERS_CANCELLED;
    else
        return false;
    return true;
}

static bool is_first(struct page_reading *reading, const char *name, bool *seen)
{
    if (*seen)
        field_errors_add(&reading->errors, name, "is given twice");
    bool first = !*seen;
    *seen = true;
    return first;
}

static void api_read_parameter(void *context, const char *name, const char *value)
{
    struct page_reading *reading = context;
    struct field_errors *errors = &reading->errors;
    if (strcmp(name, reading->bound) == 0) {
        if (is_first(reading, name, &reading->has_bound) &&
            !http_parse_number(value, 0, JSON_INTEGER_MAX, &reading->page->after))
            field_errors_add(errors, reading->bound, "must be an id: a whole number");
    } else if (strcmp(name, "limit") == 0) {
        if (is_first(reading, name, &reading->has_limit) &&
            !http_parse_number(value, 1, QUERIES_PAGE_MAX, &reading->page->limit))
            field_errors_add(errors, "limit", "must be a whole number from 1 to %d",
                             QUERIES_PAGE_MAX);
    } else if (reading->filter && strcmp(name, "status") == 0) {
        if (is_first(reading, name, &reading->has_filter) && !parse_filter(value, reading->filter))
            field_errors_add(errors, "status", "must be created or cancelled");
    } else {
        char field[64];
        snprintf(field, sizeof field, "%.60s", name);
        field_errors_add(errors, utf8_length(field, strlen(field)) < 0 ? "?" : field,
                         "is not a known parameter");
    }
}

static bool read_parameters(struct http_exchange *exchange, struct page_reading *reading)
{
    field_errors_init(&reading->errors);
    http_exchange_query(exchange, api_read_parameter, reading);
    bool good = reading->errors.count == 0;
    if (!good)
        reply_invalid(http_exchange_reply(exchange), &reading->errors);
    field_errors_done(&reading->errors);
    return good;
}

bool api_read_page(struct http_exchange *exchange, struct page *ret_page,
                   enum order_filter *ret_filter)
{
    struct page_reading reading = {.bound = "after", .page = ret_page, .filter = ret_filter};
    *ret_page = (struct page){.limit = QUERIES_PAGE_DEFAULT};
    return read_parameters(exchange, &reading);
}

bool api_read_latest(struct http_exchange *exchange, struct page_back *ret_page)
{
    struct page page = {.after = JSON_INTEGER_MAX, .limit = QUERIES_PAGE_DEFAULT};
    struct page_reading reading = {.bound = "before", .page = &page};
    bool good = read_parameters(exchange, &reading);
    *ret_page = (struct page_back){.before = page.after, .limit = page.limit};
    return good;
}

void api_answer_read(struct http_exchange *exchange, enum result result, const char *what,
                     const struct error *error)
{
    struct http_reply *reply = http_exchange_reply(exchange);
    if (result == RESULT_OK)
        return;
    if (result == RESULT_NOT_FOUND) {
        reply_problem(reply, PROBLEM_NOT_FOUND, "there is no %s", what);
        return;
    }
    LOG(LOG_ERROR, "read.failed", LOG_TEXT("error", error->text));
    reply_problem(reply, PROBLEM_INTERNAL, "the journal can't be read: %s", result_text(result));
}
