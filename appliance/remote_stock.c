#include "appliance/remote_stock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/http/http_client.h"
#include "core/json.h"
#include "core/retry.h"

enum {
    URL_SIZE = 2048,
    TOKEN_HEADER_SIZE = 600,
    CONNECT_PART = 3, /* a connection may take a third of the deadline */
};

static const struct retry_options RETRY = {.base_ms = 25, .cap_ms = 200};

struct remote_stock {
    struct remote_stock_options options;
    struct http_client *client;
    char authorization[TOKEN_HEADER_SIZE];
    struct buf body;
};

static int64_t left_ms(const struct remote_stock *remote, int64_t due_ms)
{
    return due_ms - clock_monotonic_ms(remote->options.clock);
}

/* {"product_id": …, "stock": …, …} of the product that was asked for. */
static enum result read_stock(const struct buf *body, int64_t product_id, int64_t *ret_stock,
                              struct error *error)
{
    struct json *document = NULL;
    int64_t found_id = 0, stock = 0;
    enum result result = json_parse(buf_text(body), body->size, &document, error);
    if (result != RESULT_OK)
        return result;
    bool is_object = json_kind(document) == JSON_OBJECT;
    const struct json *id = is_object ? json_member(document, "product_id") : NULL;
    const struct json *value = is_object ? json_member(document, "stock") : NULL;
    if (!id || json_integer(id, &found_id) != RESULT_OK || found_id != product_id || !value ||
        json_integer(value, &stock) != RESULT_OK)
        result = error_set(error, RESULT_MALFORMED, "the answer is no product %lld with its stock",
                           (long long)product_id);
    else
        *ret_stock = stock;
    json_free(document);
    return result;
}

static enum result read_answer(int status, const struct buf *body, int64_t product_id,
                               int64_t *ret_stock, struct error *error)
{
    if (status == 200)
        return read_stock(body, product_id, ret_stock, error);
    if (status == 404)
        return RESULT_NOT_FOUND;
    bool passing = status == 408 || status == 429 || status >= 500;
    return error_set(error, passing ? RESULT_BUSY : RESULT_REFUSED, "answered %d", status);
}

static enum result remote_stock_try_once(struct remote_stock *remote, const char *url,
                                         int64_t product_id, int64_t due_ms, int64_t *ret_stock,
                                         struct error *error)
{
    int status = 0;
    int64_t most_ms = left_ms(remote, due_ms);
    int64_t connect_ms = remote->options.timeout_ms / CONNECT_PART + 1;
    const struct http_header headers[] = {{"Accept", "application/json"},
                                          {"Authorization", remote->authorization}};
    const struct http_request request = {
        .url = url,
        .headers = headers,
        .header_count = remote->options.token ? 2 : 1,
        .timeout_ms = most_ms,
        .connect_timeout_ms = connect_ms < most_ms ? connect_ms : most_ms,
    };
    if (most_ms <= 0)
        return error_set(error, RESULT_TIMED_OUT, "no answer within the deadline");
    buf_clear(&remote->body);
    enum result result = http_client_call(remote->client, &request, &status, &remote->body, error);
    if (result != RESULT_OK)
        return result;
    return read_answer(status, &remote->body, product_id, ret_stock, error);
}

static enum result remote_stock_find(void *self, int64_t product_id, int64_t due_ms,
                                     int64_t *ret_stock, struct error *error)
{
    struct remote_stock *remote = self;
    char url[URL_SIZE];
    struct retry retry;
    retry_init(&retry, &RETRY);
    snprintf(url, sizeof url, "%s/products/%lld", remote->options.url, (long long)product_id);
    for (int tries = 1;; tries++) {
        enum result result =
            remote_stock_try_once(remote, url, product_id, due_ms, ret_stock, error);
        int64_t pause_ms = retry_next_ms(&retry, remote->options.random);
        if (!result_may_retry(result) || tries == REMOTE_STOCK_TRIES ||
            pause_ms >= left_ms(remote, due_ms))
            return result;
        clock_sleep_ms(remote->options.clock, pause_ms);
    }
}

static void remote_stock_free(void *self)
{
    struct remote_stock *remote = self;
    explicit_bzero(remote->authorization, sizeof remote->authorization);
    http_client_free(remote->client);
    buf_done(&remote->body);
    free(remote);
}

enum result remote_stock_new(const struct remote_stock_options *options,
                             struct inventory_service *ret_service)
{
    static const struct inventory_service_ops OPS = {.find_stock = remote_stock_find,
                                                     .free = remote_stock_free};
    struct remote_stock *remote = calloc(1, sizeof *remote);
    if (!remote)
        return RESULT_NO_MEMORY;
    remote->options = *options;
    buf_init(&remote->body, REMOTE_STOCK_ANSWER_MAX);
    if (options->token)
        snprintf(remote->authorization, sizeof remote->authorization, "Bearer %s", options->token);
    enum result result = http_client_new(options->ca_file, &remote->client);
    if (result == RESULT_OK)
        *ret_service = (struct inventory_service){.ops = &OPS, .self = remote};
    else
        remote_stock_free(remote);
    return result;
}
