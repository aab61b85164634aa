/* What head office's services have in common: a consumer, and HTTP beside it with
 *
 *   /livez    the process is there             /status   all that it knows of itself
 *   /readyz   both peers can be reached        /metrics  the same for Prometheus
 *   /healthz  200 also while a peer is away: an outage is no illness of the service
 *
 * Probes are open; everything else needs the token, if there is one. */
#ifndef TILLBOX_BRIDGE_SERVICE_H
#define TILLBOX_BRIDGE_SERVICE_H

#include "bridge/commands.h"
#include "bridge/consumer.h"
#include "core/http_server.h"

struct service_ops {
    /* Starts what `handle` needs, before the first request comes. NULL: nothing. */
    enum result (*start)(void *self, const struct pg_options *postgres, struct error *error);

    /* Answers, or defers, what isn't one of the paths above; false if nothing is served there.
     * Called in the HTTP thread: it must not block. NULL: nothing else is served. */
    bool (*handle)(void *self, struct http_exchange *exchange);

    /* Adds members to /status, and lines to /metrics. Either may be NULL. */
    void (*put_status)(void *self, struct json_writer *writer);
    void (*put_metrics)(void *self, struct buf *text);

    /* When no more requests come: answers those that were deferred, and those that had begun. Also
     * called after a failed start. NULL: none are deferred. */
    void (*drain)(void *self);
};

struct service {
    const struct settings *settings;
    const struct listen_address *listen; /* where it serves HTTP */
    const char *listen_option;           /* "inventory_listen" */
    const struct consumer_ops *consumes;
    const struct service_ops *serves;
    void *self; /* of both */
};

/* Checks what the service needs of the settings, runs it until SIGTERM or SIGINT, which end it
 * within two seconds, and gives the program's exit code. Problems are printed, failures logged. */
enum exit_code service_run(const struct service *service, struct settings *settings,
                           const struct config_sources *sources);

#endif
