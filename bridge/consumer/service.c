#include "bridge/consumer/service.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "bridge/consumer/service_internal.h"
#include "core/log.h"
#include "core/sd_notify.h"
#include "core/stop_signals.h"
#include "core/watchdog.h"

enum { TICK_MS = 1000, DRAIN_POLL_MS = 10, DRAIN_MS = 200 };

struct running {
    const struct service *service;
    struct service_api api;
    struct http_server *server;
    int signals; /* signalfd */
    struct watchdog watchdog;
};

static enum result service_start(struct running *running, struct error *error)
{
    const struct service *service = running->service;
    const struct consumer_options options = {.ops = service->consumes,
                                             .self = service->self,
                                             .postgres = service->postgres,
                                             .rabbitmq = service->rabbitmq,
                                             .amqp_user_prefix = service->amqp_user_prefix,
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
        result = service->serves->start(service->self, service->postgres, error);
    return result == RESULT_OK ? http_server_start(&http, &running->server, error) : result;
}

static bool consumer_moves(void *context)
{
    return consumer_has_moved(context);
}

static bool service_server_moves(void *context)
{
    return http_server_has_moved(context);
}

/* A consumer that waits for a peer moves. */
static void service_start_watchdog(struct running *running)
{
    watchdog_init(&running->watchdog, &clock_system);
    watchdog_add(&running->watchdog, "consumer", consumer_moves, running->api.consumer);
    watchdog_add(&running->watchdog, "http", service_server_moves, running->server);
}

static void service_serve(struct running *running)
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

static enum result service_end(struct running *running, enum result result)
{
    stop_http(running);
    if (!consumer_stop(running->api.consumer)) {
        LOG(LOG_WARN, "service.aborted",
            LOG_TEXT("detail", "a name look-up hangs; what was not acknowledged comes again"));
        _exit(EXIT_SUCCESS);
    }
    close(running->signals);
    return result;
}

enum result service_run(const struct service *service)
{
    struct error error = {0};
    struct running running = {.service = service, .signals = stop_signals_open()};
    enum result result = service_start(&running, &error);
    if (result == RESULT_OK) {
        LOG(LOG_INFO, "service.ready", LOG_TEXT("service", service->consumes->name),
            LOG_TEXT("version", TILLBOX_VERSION), LOG_TEXT("host", service->listen->host),
            LOG_INT("port", http_server_port(running.server)));
        service_start_watchdog(&running);
        sd_notify_ready();
        service_serve(&running);
        LOG(LOG_INFO, "service.stopping");
        sd_notify_stopping();
    } else {
        LOG(LOG_ERROR, "service.start_failed", LOG_TEXT("result", result_text(result)),
            LOG_TEXT("error", error.text));
    }
    return service_end(&running, result);
}
