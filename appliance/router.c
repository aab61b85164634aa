#include "appliance/router.h"

#include <stdlib.h>
#include <string.h>

#include "appliance/till_page.h"

enum { BOTH = SERVICE_ORDERS | SERVICE_INVENTORY, ID_DIGITS_MAX = 16 };

struct resource {
    const char *path; /* {id} stands for one segment */
    int services;     /* on which ports */
    api_handler *get, *post, *patch;
    const char *allow; /* the methods above, for a 405 */
};

static const struct resource RESOURCES[] = {
    {"/", SERVICE_ORDERS, api_get_page, NULL, NULL, "GET, HEAD"},
    {"/orders", SERVICE_ORDERS, api_get_orders, api_post_orders, NULL, "GET, HEAD, POST"},
    {"/orders/latest", SERVICE_ORDERS, api_get_latest_orders, NULL, NULL, "GET, HEAD"},
    {"/orders/{id}", SERVICE_ORDERS, api_get_order, NULL, NULL, "GET, HEAD"},
    {"/orders/{id}/cancel", SERVICE_ORDERS, NULL, api_cancel_order, NULL, "POST"},
    {"/products", BOTH, api_get_products, api_post_products, NULL, "GET, HEAD, POST"},
    {"/products/{id}", BOTH, api_get_product, NULL, api_patch_product, "GET, HEAD, PATCH"},
    {"/products/{id}/stock", BOTH, NULL, api_post_stock, NULL, "POST"},
    {"/livez", BOTH, api_get_livez, NULL, NULL, "GET, HEAD"},
    {"/readyz", BOTH, api_get_readyz, NULL, NULL, "GET, HEAD"},
    {"/healthz", BOTH, api_get_healthz, NULL, NULL, "GET, HEAD"},
    {"/status", BOTH, api_get_status, NULL, NULL, "GET, HEAD"},
    {"/metrics", BOTH, api_get_metrics, NULL, NULL, "GET, HEAD"},
    {"/settings", SERVICE_ORDERS, api_get_settings, NULL, NULL, "GET, HEAD"},
    {"/parked", SERVICE_ORDERS, api_get_parked, NULL, NULL, "GET, HEAD"},
    {"/history", SERVICE_ORDERS, api_get_history, NULL, NULL, "GET, HEAD"},
};

/* Each file that the till page loads. */
static const struct resource PAGE_FILE = {NULL, SERVICE_ORDERS, api_get_page,
                                          NULL, NULL,           "GET, HEAD"};

/* The {id}, when a path fits a pattern that has one. */
struct segment {
    const char *text;
    size_t size;
};

static bool fits(const char *pattern, const char *path, struct segment *ret_id)
{
    static const char ID[] = "{id}";
    const char *hole = strstr(pattern, ID);
    if (!hole)
        return strcmp(pattern, path) == 0;
    size_t before = (size_t)(hole - pattern);
    if (strncmp(pattern, path, before) != 0)
        return false;
    ret_id->text = path + before;
    ret_id->size = strcspn(ret_id->text, "/");
    return ret_id->size > 0 && strcmp(hole + sizeof ID - 1, ret_id->text + ret_id->size) == 0;
}

static bool parse_id(const struct segment *segment, int64_t *ret_id)
{
    int64_t id = 0;
    if (segment->size > ID_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < segment->size; i++) {
        if (segment->text[i] < '0' || segment->text[i] > '9')
            return false;
        id = id * 10 + (segment->text[i] - '0');
    }
    if (id < 1 || id > JSON_INTEGER_MAX)
        return false;
    *ret_id = id;
    return true;
}

static api_handler *handler_for(const struct resource *resource,
                                const struct http_exchange *exchange)
{
    const char *method = http_exchange_method(exchange);
    if (http_exchange_reads(exchange))
        return resource->get;
    if (strcmp(method, "POST") == 0)
        return resource->post;
    return strcmp(method, "PATCH") == 0 ? resource->patch : NULL;
}

static const struct resource *find_resource(const struct service *service, const char *path,
                                            struct segment *ret_id)
{
    for (size_t i = 0; i < ARRAY_LENGTH(RESOURCES); i++)
        if ((RESOURCES[i].services & (int)service->kind) && fits(RESOURCES[i].path, path, ret_id))
            return &RESOURCES[i];
    return service->kind == SERVICE_ORDERS && till_page_find(path) ? &PAGE_FILE : NULL;
}

void router_handle(void *context, struct http_exchange *exchange)
{
    struct service *service = context;
    struct http_reply *reply = http_exchange_reply(exchange);
    struct segment segment = {0};
    int64_t id = 0;
    const struct resource *resource =
        find_resource(service, http_exchange_path(exchange), &segment);
    if (!resource) {
        reply_problem(reply, PROBLEM_NOT_FOUND, "nothing is served at this path on this port");
        return;
    }
    api_handler *handler = handler_for(resource, exchange);
    if (!handler) {
        reply_method_refused(reply, resource->allow);
        return;
    }
    if (segment.text && !parse_id(&segment, &id)) {
        reply_problem(reply, PROBLEM_NOT_FOUND, "an id is a whole number from 1");
        return;
    }
    handler(service, exchange, id);
}
