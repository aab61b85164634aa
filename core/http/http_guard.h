/* Who may talk to a server: the checks on Host and Origin that come before routing.
 *
 * A web page that a browser near the box has open must not be able to sell, cancel or read: its
 * host name can be made to resolve to the box (DNS rebinding), and it can send simple requests
 * anywhere. So the Host must be a name of the box, and an Origin, where there is one, a page of the
 * box. */
#ifndef TILLBOX_CORE_HTTP_GUARD_H
#define TILLBOX_CORE_HTTP_GUARD_H

#include "core/config/config.h"
#include "core/http/http_server.h"

enum { HTTP_GUARD_PORTS_MAX = 2 };

struct http_guard {
    const struct string_list *allowed_hosts; /* besides the names of loopback and the addresses */
    const struct listen_address *addresses[HTTP_GUARD_PORTS_MAX];
    uint16_t ports[HTTP_GUARD_PORTS_MAX]; /* of the box's own pages; 0: none */
};

/* False, with the reply filled in, if Host or Origin is a stranger's. */
bool http_guard_check(const struct http_guard *guard, struct http_exchange *exchange);

/* False, with the reply filled in, if the request lacks the token, but for /livez, /readyz and
 * /healthz. NULL: none is needed. */
bool http_guard_check_token(const char *token, struct http_exchange *exchange);

#endif
