#include "bridge/relay/status_api.h"

#include <string.h>

#include "core/http/http_guard.h"
#include "core/journal/delivery_status.h"

bool status_api_screen(void *context, struct http_exchange *exchange)
{
    const struct status_api *api = context;
    const struct http_guard guard = {.allowed_hosts = api->allowed_hosts,
                                     .addresses = {api->listen}};
    return http_guard_check(&guard, exchange);
}

typedef void status_handler(const struct delivery_status *delivery_status, int64_t now_ms,
                            struct http_reply *reply);

static void status_api_get_livez(const struct delivery_status *delivery_status, int64_t now_ms,
                                 struct http_reply *reply)
{
    (void)delivery_status;
    (void)now_ms;
    buf_append_text(&reply->body, "{\"status\":\"ok\"}");
}

static void status_api_get_status(const struct delivery_status *delivery_status, int64_t now_ms,
                                  struct http_reply *reply)
{
    struct json_writer writer;
    json_writer_init(&writer, &reply->body);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "version", TILLBOX_VERSION);
    delivery_status_write(delivery_status, now_ms, &writer);
    json_end_object(&writer);
}

/* An outage of head office is no illness of the bridge; a sink that needs a person is. */
static bool is_well(const struct delivery_status *delivery_status)
{
    for (size_t i = 0; i < delivery_status->sink_count; i++)
        if (strcmp(delivery_status->sinks[i].state, "stopped") == 0 ||
            delivery_status->sinks[i].unaccounted != 0)
            return false;
    return true;
}

static void status_api_get_healthz(const struct delivery_status *delivery_status, int64_t now_ms,
                                   struct http_reply *reply)
{
    struct json_writer writer;
    bool well = is_well(delivery_status);
    reply->status = well ? 200 : 503;
    json_writer_init(&writer, &reply->body);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "status", well ? "ok" : "needs_attention");
    delivery_status_write(delivery_status, now_ms, &writer);
    json_end_object(&writer);
}

static void status_api_get_metrics(const struct delivery_status *delivery_status, int64_t now_ms,
                                   struct http_reply *reply)
{
    reply->content_type = "text/plain; version=0.0.4";
    delivery_status_write_metrics(delivery_status, now_ms, &reply->body);
}

static const struct {
    const char *path;
    status_handler *handle;
} PATHS[] = {{"/livez", status_api_get_livez},
             {"/status", status_api_get_status},
             {"/healthz", status_api_get_healthz},
             {"/metrics", status_api_get_metrics}};

static status_handler *find_handler(const char *path)
{
    for (size_t i = 0; i < ARRAY_LENGTH(PATHS); i++)
        if (strcmp(PATHS[i].path, path) == 0)
            return PATHS[i].handle;
    return NULL;
}

void status_api_handle(void *context, struct http_exchange *exchange)
{
    const struct status_api *api = context;
    struct http_reply *reply = http_exchange_reply(exchange);
    struct delivery_status delivery_status = {0};
    struct error error = {0};
    status_handler *handle = find_handler(http_exchange_path(exchange));
    if (!handle) {
        reply_problem(reply, PROBLEM_NOT_FOUND, "nothing is served at this path");
        return;
    }
    if (!http_exchange_reads(exchange)) {
        reply_method_refused(reply, "GET, HEAD");
        return;
    }
    enum result result =
        delivery_status_read(api->data_dir, api->bridge_dir, &delivery_status, &error);
    if (result == RESULT_OK || result == RESULT_NOT_FOUND)
        handle(&delivery_status, clock_wall_ms(api->clock), reply);
    else
        reply_problem(reply, PROBLEM_INTERNAL, "%s", error.text);
}
