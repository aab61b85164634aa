/* Who may talk to the box: Host, Origin and token, checked before routing. */
#ifndef TILLBOX_APPLIANCE_GUARD_H
#define TILLBOX_APPLIANCE_GUARD_H

#include "appliance/api.h"

/* For http_server_options.screen; `context` is the service. */
bool guard_screen(void *context, struct http_exchange *exchange);

#endif
