#include "appliance/guard.h"

#include "appliance/till_page.h"
#include "core/http/http_guard.h"

/* The till page's files are the same everywhere: it asks for the token itself. */
static bool is_page(const struct service *service, const struct http_exchange *exchange)
{
    return service->kind == SERVICE_ORDERS && till_page_find(http_exchange_path(exchange));
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
    return http_guard_check(&guard, exchange) &&
           (is_page(service, exchange) ||
            http_guard_check_token(service->api->settings->api_token, exchange));
}
