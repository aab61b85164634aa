#include "appliance/guard.h"

#include <string.h>
#include <strings.h>

#include "appliance/till_page.h"
#include "core/http_guard.h"
#include "core/sha256.h"

static bool has_token(const char *token, const char *authorization)
{
    static const char SCHEME[] = "Bearer ";
    size_t scheme = sizeof SCHEME - 1, length = strlen(token);
    if (!authorization || strncasecmp(authorization, SCHEME, scheme) != 0)
        return false;
    authorization += scheme;
    return strlen(authorization) == length && constant_time_equal(authorization, token, length);
}

/* Probes tell nothing but whether the box is up, and the till page's files are the same everywhere:
 * it asks for the token itself. */
static bool is_open_to_all(const struct service *service, const char *path)
{
    static const char *const OPEN[] = {"/livez", "/readyz", "/healthz"};
    for (size_t i = 0; i < ARRAY_LENGTH(OPEN); i++)
        if (strcmp(path, OPEN[i]) == 0)
            return true;
    return service->kind == SERVICE_ORDERS && till_page_find(path);
}

static bool check_token(const struct service *service, struct http_exchange *exchange)
{
    const char *token = service->api->settings->api_token;
    struct http_reply *reply = http_exchange_reply(exchange);
    if (!token || is_open_to_all(service, http_exchange_path(exchange)) ||
        has_token(token, http_exchange_header(exchange, "Authorization")))
        return true;
    reply_problem(reply, PROBLEM_UNAUTHORIZED, "send the header Authorization: Bearer TOKEN");
    reply->authenticate = "Bearer realm=\"tillbox\"";
    return false;
}

static struct http_guard guard_of(const struct api *api)
{
    const struct settings *settings = api->settings;
    struct http_guard guard = {
        .allowed_hosts = &settings->allowed_hosts,
        .addresses = {&settings->orders_listen, &settings->inventory_listen},
    };
    for (int i = 0; i < SERVICE_COUNT; i++) {
        const struct http_server *server = atomic_load(&api->services[i].server);
        guard.ports[i] = server ? http_server_port(server) : 0;
    }
    return guard;
}

bool guard_screen(void *context, struct http_exchange *exchange)
{
    const struct service *service = context;
    const struct http_guard guard = guard_of(service->api);
    return http_guard_check(&guard, exchange) && check_token(service, exchange);
}
