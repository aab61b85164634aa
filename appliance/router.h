/* Which handler answers which call. */
#ifndef TILLBOX_APPLIANCE_ROUTER_H
#define TILLBOX_APPLIANCE_ROUTER_H

#include "appliance/api.h"

/* For http_server_options.handle; `context` is the service. */
void router_handle(void *context, struct http_exchange *exchange);

#endif
