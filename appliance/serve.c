/* appliance serve: starts the parts in order, waits, stops them in order. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/api.h"
#include "appliance/commands.h"
#include "appliance/guard.h"
#include "appliance/remote_stock.h"
#include "appliance/router.h"
#include "core/journal/wakeup.h"
#include "core/log.h"
#include "core/sd_notify.h"
#include "core/stop_signals.h"
#include "core/watchdog.h"

enum {
    TICK_MS = 1000,
    PRUNE_EVERY_TICKS = 60,
    STATUS_EVERY_TICKS = 10,
    DRAIN_MS = 5000,    /* for requests under way */
    FAREWELL_MS = 1000, /* for their answers */
    GLANCE_MS = 5,
    DESCRIPTORS = SERVICE_COUNT * HTTP_CONNECTIONS_MAX + 64,
    DATA_DIR_MODE = 0750,
};

static const int64_t DAY_MS = 86400000;

struct appliance {
    struct api api;
    struct settings *settings;
    struct wakeup *wakeup;
    struct watchdog watchdog;
    atomic_bool flush_failed;
    bool files_missing; /* the journal's; told once */
};

/* In the committer's thread: the bridge has something to do. */
static void on_commit(void *context)
{
    const struct appliance *appliance = context;
    wakeup_send(appliance->wakeup);
}

/* In the committer's thread. */
static void on_fatal(void *context)
{
    struct appliance *appliance = context;
    atomic_store(&appliance->flush_failed, true);
    kill(getpid(), SIGTERM);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= DESCRIPTORS)
        return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < DESCRIPTORS)
        LOG(LOG_WARN, "fd.low", LOG_INT("limit", (int64_t)limit.rlim_cur),
            LOG_INT("wanted", DESCRIPTORS));
}

static enum result serve_open_journal(struct appliance *appliance, struct error *error)
{
    struct api *api = &appliance->api;
    const struct journal_options options = {
        .data_dir = appliance->settings->data_dir,
        .device_id = appliance->settings->device_id,
        .location = appliance->settings->location,
        .clock = &clock_system,
        .random = &random_system,
    };
    enum result result = journal_open(&options, &api->journal, error);
    if (result == RESULT_DISK_FULL && disk_release_reserve(api->disk))
        result = journal_open(&options, &api->journal, error);
    return result;
}

static enum result start_journal(struct appliance *appliance, struct error *error)
{
    struct api *api = &appliance->api;
    const char *data_dir = appliance->settings->data_dir;
    if (mkdir(data_dir, DATA_DIR_MODE) != 0 && access(data_dir, F_OK) != 0)
        return error_set_errno(error, RESULT_DENIED, "can't create the folder %s", data_dir);
    enum result result =
        disk_new(data_dir, appliance->settings->disk_reserve_mb << 20, &api->disk, error);
    if (result == RESULT_OK)
        result = serve_open_journal(appliance, error);
    if (result != RESULT_OK)
        return result;
    const struct journal_identity *identity = journal_identity(api->journal);
    log_set_device(identity->device_id);
    if (identity->lost_wal)
        LOG(LOG_ERROR, "journal.wal_missing",
            LOG_TEXT("error", "the last stop was not clean, and journal.db-wal isn't there: unless "
                              "a backup was restored, the newest sales are gone"));
    disk_check(api->disk);
    const struct accounts_options accounts = {.data_dir = data_dir,
                                              .bridge_dir = appliance->settings->bridge_dir,
                                              .clock = &clock_system};
    result = accounts_start(&accounts, &api->accounts, error);
    if (result != RESULT_OK)
        return result;
    result = history_new(data_dir, api->started_at_ms, &api->history, error);
    if (result != RESULT_OK)
        return result;
    return integrity_start(data_dir, identity->stopped_cleanly, &api->integrity, error);
}

static enum result start_committer(struct appliance *appliance, struct error *error)
{
    struct api *api = &appliance->api;
    const struct committer_options options = {
        .journal = api->journal,
        .disk = api->disk,
        .clock = &clock_system,
        .answers_kept_ms = appliance->settings->idempotency_hours * 3600000,
        .on_commit = on_commit,
        .on_fatal = on_fatal,
        .context = appliance,
    };
    enum result result = wakeup_new(appliance->settings->bridge_dir, &appliance->wakeup, error);
    if (result != RESULT_OK)
        return result;
    return committer_start(&options, &api->committer, error);
}

static enum result start_stock_check(struct appliance *appliance, struct error *error)
{
    const struct settings *settings = appliance->settings;
    const struct remote_stock_options remote = {
        .url = settings->inventory_url,
        .token = settings->inventory_token,
        .ca_file = settings->inventory_ca_file,
        .timeout_ms = settings->inventory_timeout_ms,
        .clock = &clock_system,
        .random = &random_system,
    };
    struct stock_check_options options = {
        .timeout_ms = settings->inventory_timeout_ms,
        .trip_after = (int)settings->inventory_breaker_threshold,
        .cool_down_ms = settings->inventory_breaker_reset_ms,
        .clock = &clock_system,
        .on_checked = api_on_checked,
        .context = &appliance->api,
    };
    if (!settings->inventory_url)
        return RESULT_OK;
    enum result result = RESULT_OK;
    while (result == RESULT_OK && options.worker_count < STOCK_CHECK_THREADS) {
        result = remote_stock_new(&remote, &options.services[options.worker_count]);
        options.worker_count += result == RESULT_OK;
    }
    if (result == RESULT_OK)
        return stock_check_start(&options, &appliance->api.stock_check, error);
    for (int i = 0; i < options.worker_count; i++)
        options.services[i].ops->free(options.services[i].self);
    return error_set(error, result, "no memory for the stock check's clients");
}

static enum result start_service(struct appliance *appliance, int index, enum service_kind kind,
                                 const struct listen_address *address, struct error *error)
{
    struct api *api = &appliance->api;
    struct service *service = &api->services[index];
    service->api = api;
    service->kind = kind;
    enum result result = sha256_new(&api->hashers[index]);
    if (result == RESULT_OK)
        result = queries_open(appliance->settings->data_dir, &service->queries, error);
    const struct http_server_options options = {
        .host = address->host,
        .port = address->port,
        .clock = &clock_system,
        .screen = guard_screen,
        .handle = router_handle,
        .context = service,
    };
    struct http_server *server = NULL;
    if (result == RESULT_OK)
        result = http_server_start(&options, &server, error);
    atomic_store(&service->server, server);
    return result;
}

static enum result serve_start(struct appliance *appliance, struct error *error)
{
    const struct settings *settings = appliance->settings;
    struct api *api = &appliance->api;
    api->settings = settings;
    api->clock = &clock_system;
    api->started_at_ms = clock_wall_ms(&clock_system);
    api->started_ns = clock_monotonic_ns(&clock_system);
    enum result result = start_journal(appliance, error);
    if (result == RESULT_OK)
        result = start_committer(appliance, error);
    if (result == RESULT_OK)
        result = start_stock_check(appliance, error);
    if (result == RESULT_OK)
        result = start_service(appliance, 0, SERVICE_ORDERS, &settings->orders_listen, error);
    if (result == RESULT_OK)
        result = start_service(appliance, 1, SERVICE_INVENTORY, &settings->inventory_listen, error);
    return result;
}

static void serve_log_ready(const struct appliance *appliance)
{
    const struct api *api = &appliance->api;
    const struct journal_identity *identity = journal_identity(api->journal);
    LOG(LOG_INFO, "appliance.ready", LOG_TEXT("version", TILLBOX_VERSION),
        LOG_TEXT("location", identity->location), LOG_TEXT("journal_id", identity->journal_id),
        LOG_INT("sequence", journal_head(api->journal).sequence),
        LOG_TEXT("orders_host", appliance->settings->orders_listen.host),
        LOG_INT("orders_port", http_server_port(api->services[0].server)),
        LOG_TEXT("inventory_host", appliance->settings->inventory_listen.host),
        LOG_INT("inventory_port", http_server_port(api->services[1].server)));
}

/* Head office has them, and they are old: the journal may let go of them. */
static void serve_prune_events(struct appliance *appliance)
{
    struct delivery_status delivery_status;
    struct error error = {0};
    int64_t days = appliance->settings->retention_days;
    if (days == 0)
        return;
    enum result result = accounts_get(appliance->api.accounts, &delivery_status, &error);
    if (result != RESULT_OK) {
        LOG(LOG_WARN, "retention.skipped", LOG_TEXT("error", error.text));
        return;
    }
    int64_t watermark = delivery_status_watermark(&delivery_status);
    if (watermark > 0)
        committer_prune_events(appliance->api.committer, watermark,
                               clock_wall_ms(&clock_system) - days * DAY_MS);
}

/* For `systemctl status`: what a person would ask first. */
static void tell_status(struct appliance *appliance)
{
    const struct api *api = &appliance->api;
    struct delivery_status delivery_status = {0};
    struct error error = {0};
    int64_t backlog = 0;
    if (accounts_get(api->accounts, &delivery_status, &error) == RESULT_OK)
        backlog = delivery_status_backlog(&delivery_status);
    sd_notify_status("selling on port %u; %lld events, %lld on their way to head office; disk %s",
                     http_server_port(api->services[0].server),
                     (long long)journal_head(api->journal).sequence, (long long)backlog,
                     disk_stage_text(disk_stage(api->disk)));
}

static bool committer_moves(void *context)
{
    return committer_has_moved(context);
}

static bool serve_server_moves(void *context)
{
    return http_server_has_moved(context);
}

/* All that a sale goes through. Head office is none of it. */
static void serve_start_watchdog(struct appliance *appliance)
{
    struct api *api = &appliance->api;
    watchdog_init(&appliance->watchdog, &clock_system);
    watchdog_add(&appliance->watchdog, "committer", committer_moves, api->committer);
    watchdog_add(&appliance->watchdog, "orders", serve_server_moves, api->services[0].server);
    watchdog_add(&appliance->watchdog, "inventory", serve_server_moves, api->services[1].server);
}

static void add_history(const struct api *api)
{
    struct committer_stats stats;
    struct delivery_status delivery_status;
    committer_stats(api->committer, &stats);
    struct history_totals totals = {
        .sales = (int64_t)stats.events[COMMAND_CREATE_ORDER],
        .cancellations = (int64_t)stats.events[COMMAND_CANCEL_ORDER],
        .backlog = -1,
    };
    if (accounts_get(api->accounts, &delivery_status, NULL) == RESULT_OK)
        totals.backlog = delivery_status_backlog(&delivery_status);
    history_add(api->history, clock_wall_ms(api->clock), &totals);
}

/* Nobody may be selling while it happens. */
static void check_files(struct appliance *appliance)
{
    struct error error = {0};
    bool missing = journal_check_files(appliance->api.journal, &error) != RESULT_OK;
    if (missing && !appliance->files_missing)
        LOG(LOG_ERROR, "journal.missing", LOG_TEXT("error", error.text));
    if (!missing && appliance->files_missing)
        LOG(LOG_INFO, "journal.restored");
    appliance->files_missing = missing;
}

static void serve_tick(struct appliance *appliance, int64_t ticks)
{
    for (int i = 0; i < SERVICE_COUNT; i++)
        http_server_sweep(appliance->api.services[i].server);
    disk_check(appliance->api.disk);
    check_files(appliance);
    add_history(&appliance->api);
    if (ticks % PRUNE_EVERY_TICKS == 1)
        serve_prune_events(appliance);
    if (ticks % STATUS_EVERY_TICKS == 0)
        tell_status(appliance);
    watchdog_tick(&appliance->watchdog);
}

/* Until SIGTERM or SIGINT. */
static void wait_for_signal(struct appliance *appliance, const sigset_t *signals)
{
    const struct timespec pause = {.tv_sec = TICK_MS / 1000};
    for (int64_t ticks = 1; sigtimedwait(signals, NULL, &pause) < 0; ticks++)
        serve_tick(appliance, ticks);
}

static void wait_for_exchanges(const struct api *api, int64_t most_ms)
{
    int64_t until_ms = clock_monotonic_ms(&clock_system) + most_ms;
    for (;;) {
        int open = 0;
        for (int i = 0; i < SERVICE_COUNT; i++)
            if (api->services[i].server)
                open += http_server_open_exchanges(api->services[i].server);
        if (open == 0 || clock_monotonic_ms(&clock_system) >= until_ms)
            return;
        clock_sleep_ms(&clock_system, GLANCE_MS);
    }
}

/* Requests under way are finished and answered, new ones refused; nothing may be suspended when the
 * HTTP servers stop. */
static void serve_drain(struct api *api)
{
    for (int i = 0; i < SERVICE_COUNT; i++)
        if (api->services[i].server)
            http_server_drain(api->services[i].server);
    wait_for_exchanges(api, DRAIN_MS);
    if (api->stock_check)
        stock_check_stop(api->stock_check);
    if (api->committer)
        committer_stop(api->committer);
    wait_for_exchanges(api, FAREWELL_MS);
    for (int i = 0; i < SERVICE_COUNT; i++) {
        http_server_stop(api->services[i].server);
        api->services[i].server = NULL;
    }
}

/* A stop is clean only if nothing is left to check: else the next start looks again. */
static bool serve_is_sound(struct integrity *integrity)
{
    char detail[INTEGRITY_DETAIL_SIZE];
    enum integrity_state state = integrity_state(integrity, detail);
    return state == INTEGRITY_TRUSTED || state == INTEGRITY_SOUND;
}

/* On a full disk the clean stop can't be written down: the next start will look for itself. */
static enum result close_journal(struct journal *journal, struct error *error)
{
    enum result result = journal_close(journal, error);
    if (result != RESULT_DISK_FULL)
        return result;
    LOG(LOG_WARN, "journal.not_marked_clean", LOG_TEXT("error", error->text));
    return RESULT_OK;
}

static enum result serve_stop(struct appliance *appliance, struct error *error)
{
    struct api *api = &appliance->api;
    enum result result = RESULT_OK;
    serve_drain(api);
    /* Closing the journal would write to a disk that can't be trusted any more. */
    if (atomic_load(&appliance->flush_failed))
        _exit(EXIT_DISK);
    stock_check_free(api->stock_check);
    committer_free(api->committer);
    wakeup_free(appliance->wakeup);
    for (int i = 0; i < SERVICE_COUNT; i++) {
        queries_close(api->services[i].queries);
        sha256_free(api->hashers[i]);
    }
    bool sound = !api->integrity || serve_is_sound(api->integrity);
    integrity_stop(api->integrity);
    accounts_stop(api->accounts);
    history_free(api->history);
    if (api->journal && sound)
        result = close_journal(api->journal, error);
    else
        journal_abandon(api->journal);
    disk_free(api->disk);
    return result;
}

enum exit_code exit_code_of(enum result result)
{
    if (result == RESULT_OK)
        return EXIT_DONE;
    if (result == RESULT_LOCKED)
        return EXIT_IN_USE;
    if (result == RESULT_CORRUPT)
        return EXIT_DAMAGED;
    return result == RESULT_SYNC_FAILED ? EXIT_DISK : EXIT_FAILED;
}

static enum exit_code report(const char *event, enum result result, const struct error *error)
{
    if (result != RESULT_OK)
        LOG(LOG_ERROR, event, LOG_TEXT("result", result_text(result)),
            LOG_TEXT("error", error->text));
    return exit_code_of(result);
}

enum exit_code command_serve(struct settings *settings, const struct config_sources *sources)
{
    struct error error = {0};
    struct buf problems;
    struct appliance appliance = {.settings = settings};
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    enum result result = settings_check_serving(settings, sources, &problems);
    if (result != RESULT_OK)
        fprintf(stderr, "%s", buf_text(&problems));
    buf_done(&problems);
    if (result != RESULT_OK)
        return EXIT_USAGE;
    raise_descriptor_limit();
    sigset_t signals = stop_signals_block();
    result = serve_start(&appliance, &error);
    enum exit_code code = report("appliance.start_failed", result, &error);
    if (result == RESULT_OK) {
        serve_log_ready(&appliance);
        serve_start_watchdog(&appliance);
        tell_status(&appliance);
        sd_notify_ready();
        wait_for_signal(&appliance, &signals);
        LOG(LOG_INFO, "appliance.stopping");
        sd_notify_stopping();
    }
    result = serve_stop(&appliance, &error);
    enum exit_code stop_code = report("appliance.stop_failed", result, &error);
    return code != EXIT_DONE ? code : stop_code;
}
