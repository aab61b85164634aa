/* Who may talk to the box: the checks that come before routing.
 *
 * A web page that a shop's browser has open must not be able to sell, cancel or read: its host name
 * can be made to resolve to the box (DNS rebinding), and it can send simple requests anywhere. So
 * the Host must be a name of the box, and an Origin, where there is one, a page of the box. */
#ifndef TILLBOX_APPLIANCE_GUARD_H
#define TILLBOX_APPLIANCE_GUARD_H

#include "appliance/api.h"

/* For http_server_options.screen; `context` is the service. */
bool guard_screen(void *context, struct http_exchange *exchange);

#endif
