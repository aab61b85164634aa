/* The paths that every service has. */
#include <string.h>

#include "bridge/consumer/service_internal.h"
#include "core/http/http_guard.h"

enum { RETRY_AFTER_S = 2 };

bool service_api_screen(void *context, struct http_exchange *exchange)
{
    const struct service_api *api = context;
    const struct service *service = api->service;
    const struct http_guard guard = {.allowed_hosts = service->allowed_hosts,
                                     .addresses = {service->listen}};
    return http_guard_check(&guard, exchange) &&
           http_guard_check_token(service->api_token, exchange);
}

static bool service_api_is_ready(const struct consumer_stats *stats)
{
    return stats->postgres_up && stats->rabbitmq_up;
}

static void put_peer(struct json_writer *writer, const char *name, bool up,
                     enum breaker_state breaker)
{
    json_begin_object(writer, name);
    json_put_text(writer, "state", up ? "up" : "down");
    json_put_text(writer, "breaker", breaker_state_text(breaker));
    json_end_object(writer);
}

static void put_health(struct json_writer *writer, const struct consumer_stats *stats)
{
    json_put_text(writer, "status", service_api_is_ready(stats) ? "ok" : "waiting");
    put_peer(writer, "postgres", stats->postgres_up, stats->postgres_breaker);
    put_peer(writer, "rabbitmq", stats->rabbitmq_up, stats->rabbitmq_breaker);
    if (stats->last_error.text[0])
        json_put_text(writer, "last_error", stats->last_error.text);
    else
        json_put_null(writer, "last_error");
}

static void put_counts(struct json_writer *writer, const struct consumer_stats *stats)
{
    json_begin_object(writer, "consumed");
    json_put_int(writer, "received", stats->received);
    json_put_int(writer, "applied", stats->applied);
    json_put_int(writer, "duplicates", stats->duplicates);
    json_put_int(writer, "dead_lettered", stats->dead_lettered);
    json_put_int(writer, "retries", stats->retries);
    json_put_int(writer, "batches", stats->batches);
    json_put_int(writer, "batch_events_last", stats->batch_events_last);
    json_put_int(writer, "batch_events_most", stats->batch_events_most);
    json_put_int(writer, "event_age_ms", stats->event_age_ms);
    json_put_time_or_null(writer, "applied_at", stats->applied_at_ms);
    json_end_object(writer);
}

static void service_api_get_livez(const struct service_api *api, const struct consumer_stats *stats,
                                  struct http_reply *reply)
{
    (void)api;
    (void)stats;
    buf_append_text(&reply->body, "{\"status\":\"ok\"}");
}

static void get_readyz(const struct service_api *api, const struct consumer_stats *stats,
                       struct http_reply *reply)
{
    if (service_api_is_ready(stats)) {
        service_api_get_livez(api, stats, reply);
        return;
    }
    reply_problem(reply, PROBLEM_DATABASE, "waiting for %s",
                  stats->postgres_up ? "the broker" : "the database");
    reply->retry_after_s = RETRY_AFTER_S;
}

static void service_api_get_healthz(const struct service_api *api,
                                    const struct consumer_stats *stats, struct http_reply *reply)
{
    (void)api;
    struct json_writer writer;
    json_writer_init(&writer, &reply->body);
    json_begin_object(&writer, NULL);
    put_health(&writer, stats);
    json_end_object(&writer);
}

static void service_api_get_status(const struct service_api *api,
                                   const struct consumer_stats *stats, struct http_reply *reply)
{
    struct json_writer writer;
    const struct service *service = api->service;
    json_writer_init(&writer, &reply->body);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "service", service->consumes->name);
    json_put_text(&writer, "version", TILLBOX_VERSION);
    json_put_time(&writer, "started_at", api->started_at_ms);
    put_health(&writer, stats);
    put_counts(&writer, stats);
    if (service->serves->put_status)
        service->serves->put_status(service->self, &writer);
    json_end_object(&writer);
}

static void declare_metric(struct buf *text, const char *name, const char *type, const char *help)
{
    buf_append_format(text, "# HELP tillbox_consumer_%s %s\n# TYPE tillbox_consumer_%s %s\n", name,
                      help, name, type);
}

static void service_api_put_metric(struct buf *text, const char *consumer, const char *name,
                                   const char *type, int64_t value, const char *help)
{
    declare_metric(text, name, type, help);
    buf_append_format(text, "tillbox_consumer_%s{consumer=\"%s\"} ", name, consumer);
    buf_append_int(text, value);
    buf_append_text(text, "\n");
}

static void put_peer_metric(struct buf *text, const char *consumer, const char *name,
                            int64_t postgres, int64_t rabbitmq, const char *help)
{
    declare_metric(text, name, "gauge", help);
    buf_append_format(text,
                      "tillbox_consumer_%s{consumer=\"%s\",peer=\"postgres\"} %d\n"
                      "tillbox_consumer_%s{consumer=\"%s\",peer=\"rabbitmq\"} %d\n",
                      name, consumer, (int)postgres, name, consumer, (int)rabbitmq);
}

static void put_age(struct buf *text, const char *consumer, int64_t age_ms)
{
    declare_metric(text, "event_age_seconds", "gauge", "Age of the last batch's oldest event.");
    buf_append_format(text, "tillbox_consumer_event_age_seconds{consumer=\"%s\"} %.3f\n", consumer,
                      (double)age_ms / 1000);
}

static void put_batch_metrics(struct buf *text, const char *name,
                              const struct consumer_stats *stats)
{
    service_api_put_metric(text, name, "batches_total", "counter", stats->batches,
                           "Batches applied.");
    service_api_put_metric(text, name, "batch_events", "gauge", stats->batch_events_last,
                           "Messages of the last batch.");
    service_api_put_metric(text, name, "batch_events_most", "gauge", stats->batch_events_most,
                           "Messages of the largest batch.");
    put_age(text, name, stats->event_age_ms);
}

static void service_api_get_metrics(const struct service_api *api,
                                    const struct consumer_stats *stats, struct http_reply *reply)
{
    const struct service *service = api->service;
    const char *name = service->consumes->name;
    struct buf *text = &reply->body;
    reply->content_type = "text/plain; version=0.0.4";
    service_api_put_metric(text, name, "messages_total", "counter", stats->received,
                           "Messages taken off the queue.");
    service_api_put_metric(text, name, "applied_total", "counter", stats->applied,
                           "Events that were new.");
    service_api_put_metric(text, name, "duplicates_total", "counter", stats->duplicates,
                           "Events that had been applied before.");
    service_api_put_metric(text, name, "dead_lettered_total", "counter", stats->dead_lettered,
                           "Messages sent to order.failed.");
    service_api_put_metric(text, name, "retries_total", "counter", stats->retries,
                           "Batches that the database asked to be run again.");
    put_batch_metrics(text, name, stats);
    put_peer_metric(text, name, "peer_up", stats->postgres_up, stats->rabbitmq_up,
                    "1 if the peer is connected.");
    put_peer_metric(text, name, "breaker_state", stats->postgres_breaker, stats->rabbitmq_breaker,
                    "0 closed, 1 open, 2 half-open.");
    if (service->serves->put_metrics)
        service->serves->put_metrics(service->self, text);
}

typedef void path_handler(const struct service_api *api, const struct consumer_stats *stats,
                          struct http_reply *reply);

static const struct {
    const char *path;
    path_handler *handle;
} PATHS[] = {{"/livez", service_api_get_livez},
             {"/readyz", get_readyz},
             {"/healthz", service_api_get_healthz},
             {"/status", service_api_get_status},
             {"/metrics", service_api_get_metrics}};

static path_handler *find_path(const char *path)
{
    for (size_t i = 0; i < ARRAY_LENGTH(PATHS); i++)
        if (strcmp(PATHS[i].path, path) == 0)
            return PATHS[i].handle;
    return NULL;
}

void service_api_handle(void *context, struct http_exchange *exchange)
{
    const struct service_api *api = context;
    const struct service *service = api->service;
    struct http_reply *reply = http_exchange_reply(exchange);
    path_handler *handle = find_path(http_exchange_path(exchange));
    if (!handle) {
        if (!service->serves->handle || !service->serves->handle(service->self, exchange))
            reply_problem(reply, PROBLEM_NOT_FOUND, "nothing is served at this path");
        return;
    }
    if (!http_exchange_reads(exchange)) {
        reply_method_refused(reply, "GET, HEAD");
        return;
    }
    struct consumer_stats stats;
    consumer_stats(api->consumer, &stats);
    handle(api, &stats, reply);
}
