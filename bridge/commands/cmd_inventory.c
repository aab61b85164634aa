/* bridge inventory: keeps head office's stock, and serves it. */
#include "bridge/commands/run_service.h"
#include "bridge/inventory/inventory.h"
#include "bridge/inventory/stock_api.h"

struct inventory_service {
    struct inventory inventory;
    struct uuid_generator ids;
    struct stock_api api;
};

static enum result inventory_start(void *self, const struct pg_options *postgres,
                                   struct error *error)
{
    struct inventory_service *running = self;
    enum result result = sha256_new(&running->api.hasher);
    return result == RESULT_OK ? stock_worker_start(postgres, &running->api.worker, error) : result;
}

static bool handle(void *self, struct http_exchange *exchange)
{
    struct inventory_service *running = self;
    return stock_api_handle(&running->api, exchange);
}

static void inventory_put_status(void *self, struct json_writer *writer)
{
    struct inventory_service *running = self;
    json_put_int(writer, "products_below_zero", atomic_load(&running->inventory.below_zero));
    json_put_int(writer, "went_below_zero", atomic_load(&running->inventory.went_below_total));
    json_put_text(writer, "api_breaker",
                  breaker_state_text(stock_worker_breaker(running->api.worker)));
}

static void inventory_put_metrics(void *self, struct buf *text)
{
    struct inventory_service *running = self;
    buf_append_format(text,
                      "# HELP tillbox_inventory_products_below_zero Products whose stock is below"
                      " zero; -1: not known.\n"
                      "# TYPE tillbox_inventory_products_below_zero gauge\n"
                      "tillbox_inventory_products_below_zero %lld\n"
                      "# HELP tillbox_inventory_went_below_zero_total How often a product went"
                      " below zero.\n"
                      "# TYPE tillbox_inventory_went_below_zero_total counter\n"
                      "tillbox_inventory_went_below_zero_total %lld\n"
                      "# HELP tillbox_inventory_api_breaker_state The breaker between this API and"
                      " the database.\n"
                      "# TYPE tillbox_inventory_api_breaker_state gauge\n"
                      "tillbox_inventory_api_breaker_state %d\n",
                      (long long)atomic_load(&running->inventory.below_zero),
                      (long long)atomic_load(&running->inventory.went_below_total),
                      (int)stock_worker_breaker(running->api.worker));
}

static void inventory_drain(void *self)
{
    struct inventory_service *running = self;
    stock_worker_stop(running->api.worker);
}

static const struct service_ops SERVES = {.start = inventory_start,
                                          .handle = handle,
                                          .put_status = inventory_put_status,
                                          .put_metrics = inventory_put_metrics,
                                          .drain = inventory_drain};

enum exit_code command_inventory(struct settings *settings, const struct config_sources *sources)
{
    struct inventory_service running = {0};
    const struct service service = {.listen = &settings->inventory_listen,
                                    .consumes = &INVENTORY_OPS,
                                    .serves = &SERVES,
                                    .self = &running};
    inventory_init(&running.inventory, &clock_system);
    uuid_generator_init(&running.ids, &clock_system, &random_system);
    running.api.ids = &running.ids;
    enum exit_code code = run_service(&service, "inventory_listen", settings, sources);
    stock_worker_free(running.api.worker);
    sha256_free(running.api.hasher);
    inventory_done(&running.inventory);
    return code;
}
