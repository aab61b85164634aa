#include "bridge/inventory/inventory.h"

#include "bridge/adapters/topology.h"
#include "bridge/inventory/stock_movements.h"
#include "core/log.h"

enum { MOVES_BYTES_MAX = 64 << 20, COUNT_EVERY_MS = 5000, PURGE_EVERY_MS = 3600000 };

static const char MOVE_STOCK[] =
    "SELECT applied, at_location, of_product, now_stock FROM tillbox_move_stock($1::json)";
static const char COUNT_BELOW_ZERO[] = "SELECT count(*) FROM products WHERE below_zero";
static const char PURGE_KEYS[] =
    "DELETE FROM inventory_keys WHERE created_at < now() - interval '72 hours'";

/* The event that a batch's JSON is being written for. */
struct writing {
    struct json_writer writer;
    const struct envelope *event;
    size_t number;
};

static void write_move(void *context, int64_t product_id, int64_t change)
{
    struct writing *writing = context;
    struct json_writer *writer = &writing->writer;
    const struct envelope *event = writing->event;
    json_begin_object(writer, NULL);
    json_put_int(writer, "number", (int64_t)writing->number);
    json_put_text(writer, "event_id", event->event_id);
    json_put_text(writer, "location", event->location);
    json_put_int(writer, "product_id", product_id);
    json_put_int(writer, "change", change);
    json_put_text(writer, "reason", event->event_type);
    json_put_text(writer, "device_id", event->device_id);
    json_put_text(writer, "journal_id", event->journal_id);
    json_put_int(writer, "sequence", event->sequence);
    json_put_text(writer, "occurred_at", event->occurred_at);
    if (event->order_id)
        json_put_int(writer, "order_id", event->order_id);
    if (event->reason)
        json_put_text(writer, "note", event->reason);
    if (event->product_name) {
        json_put_text(writer, "product_name", event->product_name);
        json_put_int(writer, "price", event->price_minor);
    }
    if (event->sku)
        json_put_text(writer, "sku", event->sku);
    json_end_object(writer);
}

static enum result write_moves(struct inventory *inventory, const struct envelope *const *events,
                               size_t count)
{
    struct writing writing;
    buf_clear(&inventory->moves);
    json_writer_init(&writing.writer, &inventory->moves);
    json_begin_array(&writing.writer, NULL);
    for (size_t i = 0; i < count; i++) {
        writing.event = events[i];
        writing.number = i;
        stock_movements_each(events[i], write_move, &writing);
    }
    json_end_array(&writing.writer);
    return buf_result(&inventory->moves);
}

/* Once a crossing: the first row is the count, the others are products. */
static void tell_crossings(struct inventory *inventory, const struct pg_rows *rows)
{
    for (size_t row = 1; row < pg_row_count(rows); row++) {
        int64_t stock = pg_int(rows, row, 3);
        LOG(stock < 0 ? LOG_WARN : LOG_INFO, stock < 0 ? "stock.below_zero" : "stock.recovered",
            LOG_TEXT("location", pg_text(rows, row, 1)),
            LOG_INT("product_id", pg_int(rows, row, 2)), LOG_INT("stock", stock));
        atomic_fetch_add(&inventory->went_below_total, stock < 0 ? 1 : 0);
    }
}

static enum delivery inventory_apply(void *self, struct pg *pg,
                                     const struct envelope *const *events, size_t count,
                                     size_t *ret_applied, struct error *error)
{
    struct inventory *inventory = self;
    struct pg_rows *rows = NULL;
    if (write_moves(inventory, events, count) != RESULT_OK) {
        error_write(error, "the batch doesn't fit into memory");
        return DELIVERY_DOWN;
    }
    const char *const values[] = {buf_text(&inventory->moves)};
    enum delivery done = pg_run(pg, MOVE_STOCK, 1, values, &rows, error);
    if (done == DELIVERY_DONE) {
        *ret_applied = (size_t)pg_int(rows, 0, 0);
        tell_crossings(inventory, rows);
    }
    pg_free_rows(rows);
    return done;
}

static enum delivery purge_keys(struct inventory *inventory, struct pg *pg, int64_t now_ms,
                                struct error *error)
{
    if (inventory->purged_ms && now_ms - inventory->purged_ms < PURGE_EVERY_MS)
        return DELIVERY_DONE;
    inventory->purged_ms = now_ms;
    return pg_run(pg, PURGE_KEYS, 0, NULL, NULL, error) == DELIVERY_DONE ? DELIVERY_DONE
                                                                         : DELIVERY_DOWN;
}

static enum delivery inventory_tick(void *self, struct pg *pg, struct error *error)
{
    struct inventory *inventory = self;
    struct pg_rows *rows = NULL;
    int64_t now_ms = clock_monotonic_ms(inventory->clock);
    if (inventory->counted_ms && now_ms - inventory->counted_ms < COUNT_EVERY_MS)
        return DELIVERY_DONE;
    if (pg_run(pg, COUNT_BELOW_ZERO, 0, NULL, &rows, error) != DELIVERY_DONE) {
        atomic_store(&inventory->below_zero, -1);
        inventory->counted_ms = 0;
        return DELIVERY_DOWN;
    }
    inventory->counted_ms = now_ms;
    atomic_store(&inventory->below_zero, pg_int(rows, 0, 0));
    pg_free_rows(rows);
    return purge_keys(inventory, pg, now_ms, error);
}

void inventory_init(struct inventory *inventory, const struct clock *clock)
{
    *inventory = (struct inventory){.clock = clock};
    atomic_init(&inventory->below_zero, -1);
    buf_init(&inventory->moves, MOVES_BYTES_MAX);
}

void inventory_done(struct inventory *inventory)
{
    buf_done(&inventory->moves);
}

const struct consumer_ops INVENTORY_OPS = {
    .name = "inventory",
    .queue = TOPOLOGY_INVENTORY,
    .kinds = 1U << ENVELOPE_ORDER_CREATED | 1U << ENVELOPE_ORDER_CANCELLED |
             1U << ENVELOPE_PRODUCT_CREATED | 1U << ENVELOPE_PRODUCT_UPDATED |
             1U << ENVELOPE_STOCK_ADJUSTED,
    .apply = inventory_apply,
    .tick = inventory_tick,
};
