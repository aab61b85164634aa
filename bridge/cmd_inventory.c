/* bridge inventory: keeps head office's stock, and serves it. */
#include "bridge/inventory.h"
#include "bridge/service.h"

static void put_status(void *self, struct json_writer *writer)
{
    struct inventory *inventory = self;
    json_put_int(writer, "products_below_zero", atomic_load(&inventory->below_zero));
    json_put_int(writer, "went_below_zero", atomic_load(&inventory->went_below_total));
}

static void put_metrics(void *self, struct buf *text)
{
    struct inventory *inventory = self;
    buf_append_format(text,
                      "# TYPE tillbox_inventory_products_below_zero gauge\n"
                      "tillbox_inventory_products_below_zero %lld\n"
                      "# TYPE tillbox_inventory_went_below_zero_total counter\n"
                      "tillbox_inventory_went_below_zero_total %lld\n",
                      (long long)atomic_load(&inventory->below_zero),
                      (long long)atomic_load(&inventory->went_below_total));
}

static const struct service_ops SERVES = {.put_status = put_status, .put_metrics = put_metrics};

enum exit_code command_inventory(struct settings *settings, const struct config_sources *sources)
{
    struct inventory inventory;
    const struct service service = {.settings = settings,
                                    .listen = &settings->inventory_listen,
                                    .listen_option = "inventory_listen",
                                    .consumes = &INVENTORY_OPS,
                                    .serves = &SERVES,
                                    .self = &inventory};
    inventory_init(&inventory, &clock_system);
    enum exit_code code = service_run(&service, settings, sources);
    inventory_done(&inventory);
    return code;
}
