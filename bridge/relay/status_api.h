/* The bridge's own HTTP: /status, /healthz, /livez and /metrics. */
#ifndef TILLBOX_BRIDGE_STATUS_API_H
#define TILLBOX_BRIDGE_STATUS_API_H

#include "core/clock.h"
#include "core/config/config.h"
#include "core/http/http_server.h"

struct status_api {
    const struct listen_address *listen;
    const struct string_list *allowed_hosts;
    const char *data_dir, *bridge_dir;
    const struct clock *clock;
};

/* For http_server_options; `context` is a struct status_api. */
bool status_api_screen(void *context, struct http_exchange *exchange);
void status_api_handle(void *context, struct http_exchange *exchange);

#endif
