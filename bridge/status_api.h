/* The bridge's own HTTP: /status, /healthz, /livez and /metrics. */
#ifndef TILLBOX_BRIDGE_STATUS_API_H
#define TILLBOX_BRIDGE_STATUS_API_H

#include "bridge/settings.h"
#include "core/clock.h"
#include "core/http_server.h"

struct status_api {
    const struct settings *settings;
    const struct clock *clock;
};

/* For http_server_options; `context` is a struct status_api. */
bool status_api_screen(void *context, struct http_exchange *exchange);
void status_api_handle(void *context, struct http_exchange *exchange);

#endif
