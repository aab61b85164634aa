/* What head office's services have in common: a consumer, and HTTP beside it with
 *
 *   /livez    the process is there             /status   all that it knows of itself
 *   /readyz   both peers can be reached        /metrics  the same for Prometheus
 *   /healthz  200 also while a peer is away: an outage is no illness of the service
 *
 * Probes are open; everything else needs the token, if there is one. */
#ifndef TILLBOX_BRIDGE_SERVICE_H
#define TILLBOX_BRIDGE_SERVICE_H

#include "bridge/consumer/consumer.h"
#include "core/config/config.h"
#include "core/http/http_server.h"

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
    const struct listen_address *listen; /* where it serves HTTP */
    const struct string_list *allowed_hosts;
    const char *api_token; /* NULL: none is asked for */
    const struct pg_options *postgres;
    const struct broker_options *rabbitmq;
    const char *amqp_user_prefix; /* NULL: logins aren't compared with senders */
    const struct consumer_ops *consumes;
    const struct service_ops *serves;
    void *self; /* of both */
};

/* Runs the service until SIGTERM or SIGINT, which end it within two seconds. A failure to start is
 * logged and returned. */
MUST_CHECK enum result service_run(const struct service *service);

#endif
