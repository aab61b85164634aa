/* GET /livez, /readyz, /healthz, /status. */
#include <stdio.h>
#include <string.h>

#include "appliance/api.h"
#include "appliance/versions.h"

enum { LIBRARIES_MAX = 8 };

void api_get_livez(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)service;
    (void)id;
    buf_append_text(&http_exchange_reply(exchange)->body, "{\"status\":\"ok\"}");
}

bool api_can_write(const struct api *api)
{
    struct committer_stats commits;
    struct error ignored;
    committer_stats(api->committer, &commits);
    return commits.healthy && journal_check_files(api->journal, &ignored) == RESULT_OK;
}

/* How the box is. The journal decides whether it is ready; head office never does. */
struct health {
    struct committer_stats commits;
    bool writable;
    enum disk_stage disk;
    enum integrity_state integrity;
    char integrity_detail[INTEGRITY_DETAIL_SIZE];
};

static struct health read_health(const struct api *api)
{
    struct health health;
    committer_stats(api->committer, &health.commits);
    health.writable = api_can_write(api);
    health.disk = disk_stage(api->disk);
    health.integrity = integrity_state(api->integrity, health.integrity_detail);
    return health;
}

static bool health_is_ready(const struct health *health)
{
    return health->writable && health->disk != DISK_FULL;
}

static bool is_degraded(const struct health *health)
{
    return health->disk != DISK_OK || health->integrity == INTEGRITY_DAMAGED;
}

static const char *word_for(const struct health *health)
{
    if (!health_is_ready(health))
        return "not_ready";
    return is_degraded(health) ? "degraded" : "ready";
}

static void put_checks(struct json_writer *writer, const struct health *health)
{
    json_put_text(writer, "status", word_for(health));
    json_put_text(writer, "journal", health->writable ? "writable" : "failing");
    json_put_text(writer, "integrity", integrity_state_text(health->integrity));
    json_put_text(writer, "disk", disk_stage_text(health->disk));
}

void api_get_readyz(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)id;
    struct health health = read_health(service->api);
    struct http_reply *reply = http_exchange_reply(exchange);
    struct json_writer writer;
    if (!health_is_ready(&health)) {
        reply_problem(reply, PROBLEM_NOT_READY, "the last change could not be made durable");
        return;
    }
    json_writer_init(&writer, &reply->body);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "status", word_for(&health));
    json_end_object(&writer);
}

void api_get_healthz(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)id;
    struct health health = read_health(service->api);
    struct http_reply *reply = http_exchange_reply(exchange);
    struct json_writer writer;
    json_writer_init(&writer, &reply->body);
    json_begin_object(&writer, NULL);
    put_checks(&writer, &health);
    json_end_object(&writer);
    reply->status = health_is_ready(&health) ? 200 : 503;
}

static void put_head(struct json_writer *writer, const struct journal_head *head)
{
    char hex[SHA256_TEXT_SIZE];
    sha256_format(head->hash, hex);
    json_begin_object(writer, "chain_head");
    json_put_int(writer, "sequence", head->sequence);
    json_put_text(writer, "hash", hex);
    json_end_object(writer);
}

static void put_journal(struct json_writer *writer, const struct api *api,
                        const struct health *health)
{
    const struct journal_identity *identity = journal_identity(api->journal);
    struct journal_head head = journal_head(api->journal);
    json_begin_object(writer, "journal");
    json_put_text(writer, "journal_id", identity->journal_id);
    json_put_bool(writer, "writable", health->writable);
    json_put_bool(writer, "stopped_cleanly_before", identity->stopped_cleanly);
    json_put_text(writer, "integrity", integrity_state_text(health->integrity));
    if (health->integrity == INTEGRITY_DAMAGED)
        json_put_text(writer, "damage", health->integrity_detail);
    put_head(writer, &head);
    json_end_object(writer);
}

static void put_load(struct json_writer *writer, const struct api *api, const struct health *health)
{
    json_begin_object(writer, "queue");
    json_put_int(writer, "length", health->commits.queued);
    json_put_int(writer, "longest", health->commits.queued_most);
    json_put_int(writer, "limit", COMMITTER_QUEUE_MAX);
    json_end_object(writer);
    json_begin_object(writer, "disk");
    json_put_text(writer, "stage", disk_stage_text(health->disk));
    json_put_int(writer, "free_bytes", disk_free_bytes(api->disk));
    json_end_object(writer);
}

static void put_stock_check(struct json_writer *writer, const struct api *api)
{
    struct stock_check_stats stats;
    if (!api->stock_check)
        return;
    stock_check_stats(api->stock_check, &stats);
    json_begin_object(writer, "stock_check");
    json_put_text(writer, "breaker", breaker_state_text(stats.breaker));
    json_put_int(writer, "waiting", stats.waiting);
    for (enum stock_check_outcome i = 0; i < STOCK_CHECK_OUTCOMES; i++)
        json_put_int(writer, stock_check_outcome_text(i), (int64_t)stats.outcomes[i]);
    json_end_object(writer);
}

/* Where the events are on their way to head office; the bridge may be down, or never have been
 * here. */
static void health_put_bridge(struct json_writer *writer, const struct api *api)
{
    struct delivery_status delivery_status;
    struct error error = {0};
    json_begin_object(writer, "bridge");
    if (accounts_get(api->accounts, &delivery_status, &error) == RESULT_OK)
        delivery_status_write(&delivery_status, clock_wall_ms(api->clock), writer);
    else
        json_put_text(writer, "error", error.text);
    json_end_object(writer);
}

static void put_versions(struct json_writer *writer)
{
    struct library libraries[LIBRARIES_MAX];
    size_t count = versions_list(libraries, LIBRARIES_MAX);
    json_begin_object(writer, "versions");
    json_put_text(writer, "appliance", TILLBOX_VERSION);
    for (size_t i = 0; i < count; i++)
        json_put_text(writer, libraries[i].name, libraries[i].version);
    json_end_object(writer);
}

void api_get_status(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)id;
    const struct api *api = service->api;
    const struct journal_identity *identity = journal_identity(api->journal);
    struct health health = read_health(api);
    struct json_writer writer;
    json_writer_init(&writer, &http_exchange_reply(exchange)->body);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "status", word_for(&health));
    json_put_text(&writer, "device_id", identity->device_id);
    json_put_text(&writer, "location", identity->location);
    json_put_time(&writer, "started_at", api->started_at_ms);
    json_put_time(&writer, "now", clock_wall_ms(api->clock));
    json_put_int(&writer, "uptime_s",
                 (clock_monotonic_ns(api->clock) - api->started_ns) / 1000000000);
    put_journal(&writer, api, &health);
    put_load(&writer, api, &health);
    put_stock_check(&writer, api);
    health_put_bridge(&writer, api);
    put_versions(&writer);
    json_end_object(&writer);
}
