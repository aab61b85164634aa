/* The local HTTP API: what its files share.
 *
 * Each of the two ports is a `service` with an HTTP thread and a reading connection of its own.
 * Requests that change something become commands for the committer. */
#ifndef TILLBOX_APPLIANCE_API_H
#define TILLBOX_APPLIANCE_API_H

#include <stdatomic.h>

#include "appliance/accounts.h"
#include "appliance/committer.h"
#include "appliance/disk.h"
#include "appliance/history.h"
#include "appliance/integrity.h"
#include "appliance/queries.h"
#include "appliance/settings.h"
#include "appliance/stock_check.h"
#include "core/http/http_request.h"
#include "core/json.h"

enum { SERVICE_COUNT = 2 };

enum service_kind { SERVICE_ORDERS = 1 << 0, SERVICE_INVENTORY = 1 << 1 };

struct api;

struct service {
    struct api *api;
    enum service_kind kind;
    struct queries *queries; /* of the service's HTTP thread */
    /* NULL until it listens: the other service may be asked first. */
    _Atomic(struct http_server *) server;
};

struct api {
    const struct settings *settings;
    const struct clock *clock;
    struct journal *journal; /* only journal_identity(), _head() and _check_files() */
    struct committer *committer;
    struct disk *disk;
    struct integrity *integrity;
    struct accounts *accounts;
    struct stock_check *stock_check; /* NULL: no inventory_url, nobody is asked */
    struct history *history;
    struct sha256 *hashers[SERVICE_COUNT];
    struct service services[SERVICE_COUNT];
    int64_t started_at_ms;
    int64_t started_ns; /* monotonic */
};

/* One answer's worth of work. `id` is the {id} of the path, 0 if it has none. */
typedef void api_handler(struct service *service, struct http_exchange *exchange, int64_t id);

api_handler api_post_orders, api_get_orders, api_get_latest_orders, api_get_order, api_cancel_order;
api_handler api_post_products, api_get_products, api_get_product, api_patch_product, api_post_stock;
api_handler api_get_livez, api_get_readyz, api_get_healthz, api_get_status, api_get_metrics;
api_handler api_get_page, api_get_settings, api_get_parked, api_get_history;

/* Creates the exchange's command; NULL, with the reply filled in, when there is no memory. It lives
 * as long as the exchange. */
struct command *api_new_command(struct http_exchange *exchange, enum command_kind kind);

/* Reads the Idempotency-Key, defers the exchange and hands the command to the committer; a sale
 * goes by way of the stock check where there is one. */
void api_submit(struct service *service, struct http_exchange *exchange, struct command *command);

/* For stock_check_options: hands a checked sale, of this `struct api`, to the committer. */
void api_on_checked(void *context, struct command *command);

/* Reads `after` and `limit`, and `status` if `ret_filter` isn't NULL. False, with the reply filled
 * in, if one is wrong or there are others. api_read_latest reads `before` and `limit`. */
bool api_read_page(struct http_exchange *exchange, struct page *ret_page,
                   enum order_filter *ret_filter);
bool api_read_latest(struct http_exchange *exchange, struct page_back *ret_page);

/* Answers a read: the JSON that was written, 404 saying "there is no `what`", or an error. */
void api_answer_read(struct http_exchange *exchange, enum result result, const char *what,
                     const struct error *error);

/* Could the last batch be committed, and are the journal's files there for the next? */
bool api_can_write(const struct api *api);

/* The service's own SHA-256, for its HTTP thread. */
struct sha256 *api_hasher(struct service *service);

#endif
