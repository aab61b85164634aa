#include "bridge/service.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "bridge/peers.h"
#include "bridge/service_internal.h"
#include "core/access.h"
#include "core/notify.h"
#include "core/stop_signals.h"
#include "core/watchdog.h"

enum { TICK_MS = 1000, DRAIN_POLL_MS = 10, DRAIN_MS = 200 };

struct running {
    const struct service *service;
    struct peers peers;
    struct service_api api;
    struct http_server *server;
    int signals; /* signalfd */
    struct watchdog watchdog;
};

static enum result check_settings(const struct service *service, struct settings *settings,
                                  const struct config_sources *sources, struct buf *problems)
{
    if (!settings->postgres_url)
        config_add_problem(sources, "postgres_url", problems, "isn't set");
    if (!settings->amqp_url)
        config_add_problem(sources, "amqp_url", problems, "isn't set");
    access_load_token(sources, settings->api_token_file, problems, &settings->api_token);
    access_check_reach(sources, service->listen_option, service->listen,
                       settings->api_token_file || settings->api_token, settings->allow_anonymous,
                       problems);
    return config_verdict(problems);
}

static enum result start(struct running *running, struct error *error)
{
    const struct service *service = running->service;
    peers_init(&running->peers, service->settings);
    running->peers.postgres.application_name = service->consumes->name;
    const struct consumer_options options = {.ops = service->consumes,
                                             .self = service->self,
                                             .postgres = &running->peers.postgres,
                                             .rabbitmq = &running->peers.rabbitmq,
                                             .box_user_prefix = service->settings->box_user_prefix,
                                             .clock = &clock_system,
                                             .random = &random_system};
    const struct http_server_options http = {.host = service->listen->host,
                                             .port = service->listen->port,
                                             .clock = &clock_system,
                                             .screen = service_api_screen,
                                             .handle = service_api_handle,
                                             .context = &running->api};
    running->api.service = service;
    running->api.clock = &clock_system;
    running->api.started_at_ms = clock_wall_ms(&clock_system);
    enum result result = consumer_start(&options, &running->api.consumer, error);
    if (result == RESULT_OK && service->serves->start)
        result = service->serves->start(service->self, &running->peers.postgres, error);
    return result == RESULT_OK ? http_server_start(&http, &running->server, error) : result;
}

static bool consumer_moves(void *context)
{
    return consumer_has_moved(context);
}

static bool server_moves(void *context)
{
    return http_server_has_moved(context);
}

/* A consumer that waits for a peer moves. */
static void start_watchdog(struct running *running)
{
    watchdog_init(&running->watchdog, &clock_system);
    watchdog_add(&running->watchdog, "consumer", consumer_moves, running->api.consumer);
    watchdog_add(&running->watchdog, "http", server_moves, running->server);
}

static void serve(struct running *running)
{
    struct pollfd signals = {.fd = running->signals, .events = POLLIN};
    while (poll(&signals, 1, TICK_MS) == 0) {
        consumer_watch(running->api.consumer);
        http_server_sweep(running->server);
        watchdog_tick(&running->watchdog);
    }
}

/* Requests under way get their answers. */
static void stop_http(struct running *running)
{
    const struct service *service = running->service;
    if (running->server)
        http_server_drain(running->server);
    if (service->serves->drain)
        service->serves->drain(service->self);
    if (!running->server)
        return;
    for (int waited_ms = 0; waited_ms < DRAIN_MS && http_server_open_exchanges(running->server) > 0;
         waited_ms += DRAIN_POLL_MS)
        clock_sleep_ms(&clock_system, DRAIN_POLL_MS);
    http_server_stop(running->server);
}

static enum exit_code end(struct running *running, enum result result)
{
    stop_http(running);
    if (!consumer_stop(running->api.consumer)) {
        LOG(LOG_WARN, "service.cut_short",
            LOG_TEXT("detail", "a name look-up hangs; what was not acknowledged comes again"));
        _exit(EXIT_DONE);
    }
    close(running->signals);
    return exit_code_of(result);
}

static enum exit_code run(const struct service *service)
{
    struct error error = {0};
    struct running running = {.service = service, .signals = stop_signals_open()};
    enum result result = start(&running, &error);
    if (result == RESULT_OK) {
        LOG(LOG_INFO, "service.ready", LOG_TEXT("service", service->consumes->name),
            LOG_TEXT("version", TILLBOX_VERSION), LOG_TEXT("host", service->listen->host),
            LOG_INT("port", http_server_port(running.server)));
        start_watchdog(&running);
        notify_ready();
        serve(&running);
        LOG(LOG_INFO, "service.stopping");
        notify_stopping();
    } else {
        LOG(LOG_ERROR, "service.start_failed", LOG_TEXT("result", result_text(result)),
            LOG_TEXT("error", error.text));
    }
    return end(&running, result);
}

enum exit_code service_run(const struct service *service, struct settings *settings,
                           const struct config_sources *sources)
{
    struct buf problems;
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    settings_warn(settings);
    enum result result = check_settings(service, settings, sources, &problems);
    if (result != RESULT_OK)
        fprintf(stderr, "%s", buf_text(&problems));
    buf_done(&problems);
    return result == RESULT_OK ? run(service) : EXIT_USAGE;
}
