/* bridge run: a pump per sink, the wakeup socket, the status server. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bridge/commands/commands.h"
#include "bridge/commands/sinks.h"
#include "bridge/relay/pump.h"
#include "bridge/relay/status_api.h"
#include "core/journal/delivery_status.h"
#include "core/journal/wakeup.h"
#include "core/sd_notify.h"
#include "core/stop_signals.h"
#include "core/watchdog.h"

enum {
    TICK_MS = 1000,
    WAIT_FOR_FOLDER_MS = 1000,
    STOP_MS = 500,      /* for what is under way to come to its end by itself … */
    BREAK_OFF_MS = 500, /* … and after it has been broken off */
};

struct bridge {
    struct settings *settings;
    struct sinks peers;
    struct status_api status;
    int lock;
    int signals; /* signalfd */
    int wakeups; /* datagram socket */
    struct delivery_state *deliveries;
    struct fence fence;
    struct pump *pumps[SINKS_MAX];
    size_t pump_count;
    struct http_server *server;
    struct watchdog watchdog;
};

static enum result start_pump(struct bridge *bridge, struct sink sink, bool unverified,
                              struct error *error)
{
    const struct pump_options options = {
        .data_dir = bridge->settings->data_dir,
        .deliveries = bridge->deliveries,
        .fence = &bridge->fence,
        .sink = sink,
        .unverified = unverified,
        .clock = &clock_system,
        .random = &random_system,
    };
    enum result result = pump_start(&options, &bridge->pumps[bridge->pump_count], error);
    if (result == RESULT_OK)
        bridge->pump_count++;
    return result;
}

/* Had the sink stopped when the bridge last ended? */
static enum result was_stopped(struct bridge *bridge, const char *sink, bool *ret_stopped,
                               struct error *error)
{
    struct delivery_state_sink row;
    enum result result = delivery_state_find_sink(bridge->deliveries, sink, &row, error);
    *ret_stopped = result == RESULT_OK && row.state == SINK_STOPPED;
    return result == RESULT_NOT_FOUND ? RESULT_OK : result;
}

static enum result start_pumps(struct bridge *bridge, struct error *error)
{
    struct sink sinks[SINKS_MAX];
    bool stopped[SINKS_MAX];
    size_t count = 0;
    sinks_init(&bridge->peers, bridge->settings);
    enum result result = sinks_new(&bridge->peers, NULL, sinks, &count);
    for (size_t i = 0; i < count && result == RESULT_OK; i++) {
        result = was_stopped(bridge, sinks[i].ops->name, &stopped[i], error);
        if (result == RESULT_OK && stopped[i])
            fence_add_unverified(&bridge->fence);
    }
    for (size_t i = 0; i < count; i++) {
        if (result == RESULT_OK)
            result = start_pump(bridge, sinks[i], stopped[i], error);
        else
            sinks[i].ops->free(sinks[i].self);
    }
    return result;
}

static enum result start_status(struct bridge *bridge, struct error *error)
{
    bridge->status = (struct status_api){.listen = &bridge->settings->status_listen,
                                         .allowed_hosts = &bridge->settings->allowed_hosts,
                                         .data_dir = bridge->settings->data_dir,
                                         .bridge_dir = bridge->settings->bridge_dir,
                                         .clock = &clock_system};
    const struct http_server_options options = {
        .host = bridge->settings->status_listen.host,
        .port = bridge->settings->status_listen.port,
        .clock = &clock_system,
        .screen = status_api_screen,
        .handle = status_api_handle,
        .context = &bridge->status,
    };
    return http_server_start(&options, &bridge->server, error);
}

static enum result run_start(struct bridge *bridge, struct error *error)
{
    const char *bridge_dir = bridge->settings->bridge_dir;
    enum result result = delivery_status_lock_bridge(bridge_dir, &bridge->lock, error);
    if (result == RESULT_OK)
        result = delivery_state_open(bridge_dir, &clock_system, &bridge->deliveries, error);
    if (result == RESULT_OK)
        result = wakeup_listen(bridge_dir, &bridge->wakeups, error);
    if (result == RESULT_OK)
        result = start_status(bridge, error);
    return result == RESULT_OK ? start_pumps(bridge, error) : result;
}

static void run_tick(struct bridge *bridge)
{
    for (size_t i = 0; i < bridge->pump_count; i++)
        pump_watch(bridge->pumps[i]);
    http_server_sweep(bridge->server);
    watchdog_tick(&bridge->watchdog);
}

/* Until SIGTERM or SIGINT. */
static void run_serve(struct bridge *bridge)
{
    struct pollfd descriptors[] = {{.fd = bridge->signals, .events = POLLIN},
                                   {.fd = bridge->wakeups, .events = POLLIN}};
    int64_t ticked_ms = clock_monotonic_ms(&clock_system);
    while (!(descriptors[0].revents & POLLIN)) {
        int ready = poll(descriptors, ARRAY_LENGTH(descriptors), TICK_MS);
        if (ready > 0 && (descriptors[1].revents & POLLIN) && wakeup_drain(bridge->wakeups))
            for (size_t i = 0; i < bridge->pump_count; i++)
                pump_wake(bridge->pumps[i]);
        int64_t now_ms = clock_monotonic_ms(&clock_system);
        if (now_ms - ticked_ms >= TICK_MS) {
            run_tick(bridge);
            ticked_ms = now_ms;
        }
    }
}

/* False if a thread is left that can't be ended: it sits in a library's call, such as the lookup of
 * a name, and has nothing under way that isn't written down. */
static bool stop_pumps(struct bridge *bridge)
{
    int64_t until_ms = clock_monotonic_ms(&clock_system) + STOP_MS;
    bool ended = true;
    for (size_t i = 0; i < bridge->pump_count; i++)
        pump_ask_to_stop(bridge->pumps[i]);
    for (size_t i = 0; i < bridge->pump_count; i++)
        if (!pump_join(bridge->pumps[i], until_ms))
            pump_break_off(bridge->pumps[i]);
    for (size_t i = 0; i < bridge->pump_count; i++)
        ended = pump_join(bridge->pumps[i], until_ms + BREAK_OFF_MS) && ended;
    for (size_t i = 0; i < bridge->pump_count && ended; i++)
        pump_free(bridge->pumps[i]);
    return ended;
}

static bool run_stop(struct bridge *bridge)
{
    bool ended = stop_pumps(bridge);
    http_server_stop(bridge->server);
    if (!ended)
        return false;
    delivery_state_close(bridge->deliveries);
    fence_done(&bridge->fence);
    if (bridge->wakeups >= 0)
        close(bridge->wakeups);
    if (bridge->lock >= 0)
        close(bridge->lock);
    close(bridge->signals);
    return true;
}

static bool pump_moves(void *context)
{
    return pump_has_moved(context);
}

static bool run_server_moves(void *context)
{
    return http_server_has_moved(context);
}

/* A pump that waits for head office moves. */
static void run_start_watchdog(struct bridge *bridge)
{
    watchdog_init(&bridge->watchdog, &clock_system);
    watchdog_add(&bridge->watchdog, "status", run_server_moves, bridge->server);
    for (size_t i = 0; i < bridge->pump_count; i++)
        watchdog_add(&bridge->watchdog, "pump", pump_moves, bridge->pumps[i]);
}

static void run_log_ready(const struct bridge *bridge)
{
    LOG(LOG_INFO, "bridge.ready", LOG_TEXT("version", TILLBOX_VERSION),
        LOG_TEXT("status_host", bridge->settings->status_listen.host),
        LOG_INT("status_port", http_server_port(bridge->server)),
        LOG_TEXT("postgres", bridge->settings->postgres_url ? "on" : "off"),
        LOG_TEXT("rabbitmq", bridge->settings->amqp_url ? "on" : "off"));
}

/* The appliance makes the folder; a bridge that starts first waits for it. False on a signal. */
static bool wait_for_folder(struct bridge *bridge)
{
    struct pollfd signals = {.fd = bridge->signals, .events = POLLIN};
    bool told = false;
    while (access(bridge->settings->data_dir, F_OK) != 0) {
        if (!told)
            LOG(LOG_INFO, "bridge.waiting", LOG_TEXT("for", bridge->settings->data_dir));
        told = true;
        if (poll(&signals, 1, WAIT_FOR_FOLDER_MS) > 0)
            return false;
    }
    return true;
}

enum exit_code exit_code_of(enum result result)
{
    if (result == RESULT_LOCKED)
        return EXIT_IN_USE;
    return result == RESULT_OK ? EXIT_DONE : EXIT_FAILED;
}

enum exit_code command_run(struct settings *settings, const struct config_sources *sources)
{
    (void)sources;
    struct error error = {0};
    struct bridge bridge = {.settings = settings, .lock = -1, .wakeups = -1};
    settings_warn(settings);
    fence_init(&bridge.fence);
    bridge.signals = stop_signals_open();
    if (!wait_for_folder(&bridge))
        return EXIT_DONE;
    enum result result = run_start(&bridge, &error);
    if (result == RESULT_OK) {
        run_log_ready(&bridge);
        run_start_watchdog(&bridge);
        sd_notify_status(
            "database %s, broker %s; `tillbox-bridge status` says where every event is",
            settings->postgres_url ? "on" : "off", settings->amqp_url ? "on" : "off");
        sd_notify_ready();
        run_serve(&bridge);
        LOG(LOG_INFO, "bridge.stopping");
        sd_notify_stopping();
    } else {
        LOG(LOG_ERROR, "bridge.start_failed", LOG_TEXT("result", result_text(result)),
            LOG_TEXT("error", error.text));
    }
    if (!run_stop(&bridge)) {
        LOG(LOG_WARN, "bridge.thread_leaked");
        _exit((int)exit_code_of(result)); /* what that thread uses must not be released */
    }
    return exit_code_of(result);
}
