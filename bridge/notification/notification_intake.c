#include "bridge/notification/notification_intake.h"

#include "bridge/adapters/topology.h"

enum { EVENTS_BYTES_MAX = 64 << 20, COUNT_EVERY_MS = 2000 };

/* Whether an event is new is seen by its rows. Sorted, so that replicas that add the same events
 * wait for each other instead of locking each other out; and as a box's ids rise, its messages are
 * numbered in the order of its events. */
static const char ADD[] =
    "WITH added AS (INSERT INTO notifications (event_id, channel, kind, device_id, location,"
    "  order_id, user_id, items, total, occurred_at)"
    "  SELECT e.event_id, c.channel, e.kind, e.device_id, e.location, e.order_id, e.user_id, "
    "e.items,"
    "    e.total, e.occurred_at"
    "  FROM json_to_recordset($1::json) AS e (event_id uuid, kind text, device_id text,"
    "    location text, order_id bigint, user_id bigint, items json, total bigint,"
    "    occurred_at timestamptz)"
    "  CROSS JOIN json_array_elements_text($2::json) AS c (channel)"
    "  ORDER BY e.event_id, c.channel ON CONFLICT (event_id, channel) DO NOTHING"
    "  RETURNING event_id) "
    "SELECT count(DISTINCT event_id) FROM added";

void notification_intake_init(struct notification_intake *intake, const struct clock *clock,
                              const char *channels)
{
    *intake = (struct notification_intake){.clock = clock, .channels = channels};
    atomic_init(&intake->notifier, NULL);
    buf_init(&intake->events, EVENTS_BYTES_MAX);
    pthread_mutex_init(&intake->lock, NULL);
}

void notification_intake_done(struct notification_intake *intake)
{
    buf_done(&intake->events);
    pthread_mutex_destroy(&intake->lock);
}

bool notification_intake_counts(struct notification_intake *intake,
                                struct notification_counts *ret_counts)
{
    pthread_mutex_lock(&intake->lock);
    bool counted = intake->counted;
    *ret_counts = intake->counts;
    pthread_mutex_unlock(&intake->lock);
    return counted;
}

static bool is_of_order(const struct envelope *event)
{
    return event->kind == ENVELOPE_ORDER_CREATED || event->kind == ENVELOPE_ORDER_CANCELLED;
}

static void notification_intake_write_items(struct json_writer *writer,
                                            const struct envelope *order)
{
    json_begin_array(writer, "items");
    for (size_t i = 0; i < order->line_count; i++) {
        json_begin_object(writer, NULL);
        json_put_int(writer, "product_id", order->lines[i].product_id);
        json_put_int(writer, "quantity", order->lines[i].quantity);
        json_put_int(writer, "unit_price", order->lines[i].unit_price_minor);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void notification_intake_write_order(struct json_writer *writer,
                                            const struct envelope *order)
{
    bool is_created = order->kind == ENVELOPE_ORDER_CREATED;
    json_begin_object(writer, NULL);
    json_put_text(writer, "event_id", order->event_id);
    json_put_text(writer, "kind",
                  is_created ? NOTIFICATION_CONFIRMATION : NOTIFICATION_CANCELLATION);
    json_put_text(writer, "device_id", order->device_id);
    json_put_text(writer, "location", order->location);
    json_put_int(writer, "order_id", order->order_id);
    json_put_int(writer, "user_id", order->user_id);
    notification_intake_write_items(writer, order);
    json_put_int(writer, "total", order->total_minor);
    json_put_text(writer, "occurred_at", order->occurred_at);
    json_end_object(writer);
}

/* How many of the events are of no order. */
static size_t notification_intake_write_events(struct notification_intake *intake,
                                               const struct envelope *const *events, size_t count)
{
    struct json_writer writer;
    size_t passed_over = 0;
    buf_clear(&intake->events);
    json_writer_init(&writer, &intake->events);
    json_begin_array(&writer, NULL);
    for (size_t i = 0; i < count; i++) {
        if (is_of_order(events[i]))
            notification_intake_write_order(&writer, events[i]);
        else
            passed_over++;
    }
    json_end_array(&writer);
    return passed_over;
}

static enum delivery notification_intake_apply(void *self, struct pg *pg,
                                               const struct envelope *const *events, size_t count,
                                               size_t *ret_applied, struct error *error)
{
    struct notification_intake *intake = self;
    struct pg_rows *rows = NULL;
    size_t passed_over = notification_intake_write_events(intake, events, count);
    if (buf_result(&intake->events) != RESULT_OK) {
        error_write(error, "the batch doesn't fit into memory");
        return DELIVERY_DOWN;
    }
    const char *const values[] = {buf_text(&intake->events), intake->channels};
    enum delivery done = pg_run(pg, ADD, ARRAY_LENGTH(values), values, &rows, error);
    if (done == DELIVERY_DONE) {
        *ret_applied = passed_over + (size_t)pg_int(rows, 0, 0);
        struct notifier *notifier = atomic_load(&intake->notifier);
        if (notifier)
            notifier_wake(notifier);
    }
    pg_free_rows(rows);
    return done;
}

static enum delivery notification_intake_tick(void *self, struct pg *pg, struct error *error)
{
    struct notification_intake *intake = self;
    struct notification_counts counts = {0};
    int64_t now_ms = clock_monotonic_ms(intake->clock);
    if (intake->counted_ms && now_ms - intake->counted_ms < COUNT_EVERY_MS)
        return DELIVERY_DONE;
    bool counted = notification_count(pg, &counts, error) == DELIVERY_DONE;
    intake->counted_ms = counted ? now_ms : 0;
    pthread_mutex_lock(&intake->lock);
    intake->counts = counts;
    intake->counted = counted;
    pthread_mutex_unlock(&intake->lock);
    return counted ? DELIVERY_DONE : DELIVERY_DOWN;
}

const struct consumer_ops NOTIFICATION_OPS = {.name = "notification",
                                              .queue = TOPOLOGY_NOTIFICATION,
                                              .kinds = (1U << ENVELOPE_KINDS) - 1,
                                              .apply = notification_intake_apply,
                                              .tick = notification_intake_tick};
