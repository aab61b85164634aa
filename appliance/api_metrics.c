/* GET /metrics, in the Prometheus text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/api.h"
#include "core/log.h"

static void put_type(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_gauge(struct buf *out, const char *name, const char *help, int64_t value)
{
    put_type(out, name, "gauge", help);
    buf_append_format(out, "%s %" PRId64 "\n", name, value);
}

static void put_counter(struct buf *out, const char *name, const char *help, uint64_t value)
{
    put_type(out, name, "counter", help);
    buf_append_format(out, "%s %" PRIu64 "\n", name, value);
}

static void put_events(struct buf *out, const struct committer_stats *stats)
{
    static const char *const TYPES[] = {
        [COMMAND_CREATE_ORDER] = EVENT_ORDER_CREATED,
        [COMMAND_CANCEL_ORDER] = EVENT_ORDER_CANCELLED,
        [COMMAND_CREATE_PRODUCT] = EVENT_PRODUCT_CREATED,
        [COMMAND_UPDATE_PRODUCT] = EVENT_PRODUCT_UPDATED,
        [COMMAND_ADJUST_STOCK] = EVENT_STOCK_ADJUSTED,
    };
    static const char NAME[] = "tillbox_events_total";
    put_type(out, NAME, "counter", "Events made durable since the start.");
    for (size_t i = 0; i < ARRAY_LENGTH(TYPES); i++)
        buf_append_format(out, "%s{type=\"%s\"} %" PRIu64 "\n", NAME, TYPES[i], stats->events[i]);
}

static void put_commits(struct buf *out, const struct committer_stats *stats)
{
    static const char NAME[] = "tillbox_commit_duration_seconds";
    uint64_t sum = 0;
    put_type(out, NAME, "histogram", "Time from taking a batch to its being durable.");
    for (int i = 0; i < COMMITTER_BUCKETS; i++) {
        sum += stats->commit_buckets[i];
        if (i == COMMITTER_BUCKETS - 1)
            buf_append_format(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", NAME, sum);
        else
            buf_append_format(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", NAME,
                              (double)committer_bucket_us(i) / 1e6, sum);
    }
    buf_append_format(out, "%s_sum %.6f\n%s_count %" PRIu64 "\n", NAME,
                      (double)stats->commit_us / 1e6, NAME, sum);
}

static void put_answers(struct buf *out, const struct api *api)
{
    static const char *const PORTS[] = {"orders", "inventory"};
    static const char NAME[] = "tillbox_http_responses_total";
    put_type(out, NAME, "counter", "Answers given, by service and status.");
    for (int i = 0; i < SERVICE_COUNT; i++) {
        const struct http_server *server = atomic_load(&api->services[i].server);
        for (int status = 200; server && status < 600; status++) {
            uint64_t count = http_server_answers(server, status);
            if (count > 0)
                buf_append_format(out, "%s{service=\"%s\",status=\"%d\"} %" PRIu64 "\n", NAME,
                                  PORTS[i], status, count);
        }
    }
}

/* The second number of /proc/self/statm is the resident set, in pages (proc(5)). */
static int64_t resident_bytes(void)
{
    char line[128] = "";
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    const char *resident = fgets(line, sizeof line, file) ? strchr(line, ' ') : NULL;
    fclose(file);
    return resident ? strtoll(resident, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}

static void put_stock_checks(struct buf *out, const struct api *api)
{
    static const char NAME[] = "tillbox_stock_checks_total";
    static const int64_t STATES[] = {
        [BREAKER_CLOSED] = 0, [BREAKER_OPEN] = 1, [BREAKER_HALF_OPEN] = 2};
    struct stock_check_stats stats = {0};
    if (api->stock_check)
        stock_check_stats(api->stock_check, &stats);
    put_type(out, NAME, "counter", "Sales that the inventory service was to be asked about.");
    for (enum stock_check_outcome i = 0; i < STOCK_CHECK_OUTCOMES; i++)
        buf_append_format(out, "%s{outcome=\"%s\"} %" PRIu64 "\n", NAME,
                          stock_check_outcome_text(i), stats.outcomes[i]);
    put_gauge(out, "tillbox_stock_checks_waiting", "Sales that wait for the inventory service.",
              stats.waiting);
    put_gauge(out, "tillbox_inventory_breaker_state", "0 closed, 1 open, 2 half-open.",
              STATES[stats.breaker]);
}

static void metrics_put_bridge(struct buf *out, const struct api *api)
{
    struct delivery_status delivery_status;
    if (accounts_get(api->accounts, &delivery_status, NULL) == RESULT_OK)
        delivery_status_write_metrics(&delivery_status, clock_wall_ms(api->clock), out);
}

void api_get_metrics(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)id;
    const struct api *api = service->api;
    struct http_reply *reply = http_exchange_reply(exchange);
    struct buf *out = &reply->body;
    struct committer_stats stats;
    char detail[INTEGRITY_DETAIL_SIZE];
    committer_stats(api->committer, &stats);
    reply->content_type = "text/plain; version=0.0.4";
    put_events(out, &stats);
    put_commits(out, &stats);
    put_answers(out, api);
    put_counter(out, "tillbox_commands_refused_total", "Changes refused by a rule.", stats.refused);
    put_counter(out, "tillbox_commands_failed_total", "Changes that the box failed to make.",
                stats.failed);
    put_counter(out, "tillbox_answers_replayed_total", "Answers repeated under an Idempotency-Key.",
                stats.replayed);
    put_counter(out, "tillbox_log_lines_dropped_total", "Log lines nobody read in time.",
                log_dropped());
    put_gauge(out, "tillbox_queue_length", "Changes waiting to be written.", stats.queued);
    put_gauge(out, "tillbox_queue_longest", "Most changes that waited at once.", stats.queued_most);
    put_gauge(out, "tillbox_journal_writable", "1 if the next sale can be written.",
              api_can_write(api));
    put_gauge(out, "tillbox_journal_sequence", "Sequence of the last event.",
              journal_head(api->journal).sequence);
    put_gauge(out, "tillbox_journal_damaged", "1 if a check found damage.",
              integrity_state(api->integrity, detail) == INTEGRITY_DAMAGED);
    put_gauge(out, "tillbox_disk_stage", "0 ok, 1 low: only sales go on, 2 full.",
              disk_stage(api->disk));
    put_gauge(out, "tillbox_disk_free_bytes", "Free space on the journal's volume.",
              disk_free_bytes(api->disk));
    put_gauge(out, "tillbox_resident_bytes", "Memory of the process.", resident_bytes());
    put_gauge(out, "tillbox_start_time_seconds", "When the process started, seconds since 1970.",
              api->started_at_ms / 1000);
    put_stock_checks(out, api);
    metrics_put_bridge(out, api);
}
