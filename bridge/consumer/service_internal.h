/* What the service's files share; nobody else includes this. */
#ifndef TILLBOX_BRIDGE_SERVICE_INTERNAL_H
#define TILLBOX_BRIDGE_SERVICE_INTERNAL_H

#include "bridge/consumer/service.h"

/* What the HTTP thread sees. */
struct service_api {
    const struct service *service;
    struct consumer *consumer;
    const struct clock *clock;
    int64_t started_at_ms;
};

/* For http_server_options; `context` is a struct service_api. */
bool service_api_screen(void *context, struct http_exchange *exchange);
void service_api_handle(void *context, struct http_exchange *exchange);

#endif
