#include "bridge/repair/reconcile_stock.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/consumer/envelope.h"
#include "bridge/inventory/stock_movements.h"

enum { PAGE_EVENTS = 500, PAGE_BYTES = 8 << 20, IDS_BYTES = PAGE_EVENTS * 40, POLL_MS = 100 };
enum { AT_EVENT, AT_PRODUCT, AT_LOCATION, AT_CHANGE };

static const char IS_KEPT[] = "SELECT EXISTS (SELECT FROM stock_logs)";
static const char ROWS[] = "SELECT event_id::text, product_id, location, change FROM stock_logs"
                           " WHERE event_id = ANY ($1::uuid[]) ORDER BY event_id, product_id";

struct run {
    const struct reconcile_options *options;
    struct reconcile_stock_report report;
    struct journal_info info;
    struct journal_page page;
    struct buf ids;
    int64_t cursor; /* of the sink: what lies beyond is on its way */
    int64_t grace_ms;
};

/* One event beside its rows. */
struct beside {
    struct run *run;
    const struct journal_event *event;
    const struct envelope *envelope;
    const struct pg_rows *rows;
    size_t first, count; /* of the event's rows */
    int64_t missing;     /* rows that aren't there */
    size_t matched;      /* rows that belong to a product of the event */
    bool only_count;     /* … and tell nobody */
};

static void reconcile_stock_find(const struct beside *beside, enum difference difference,
                                 int64_t product_id)
{
    struct reconcile_stock_report *report = &beside->run->report;
    int64_t *count = difference == DIFFERENCE_STOCK_MISSING   ? &report->missing
                     : difference == DIFFERENCE_STOCK_DOUBLED ? &report->doubled
                                                              : &report->other;
    const struct finding finding = {.difference = difference,
                                    .sequence = beside->event->sequence,
                                    .event_id = beside->event->event_id,
                                    .product_id = product_id};
    ++*count;
    beside->run->options->found(beside->run->options->context, &finding);
}

static void compare_move(void *context, int64_t product_id, int64_t change)
{
    struct beside *beside = context;
    size_t there = 0;
    bool is_right = true;
    for (size_t row = beside->first; row < beside->first + beside->count; row++) {
        if (pg_int(beside->rows, row, AT_PRODUCT) != product_id)
            continue;
        there++;
        is_right = is_right && pg_int(beside->rows, row, AT_CHANGE) == change &&
                   strcmp(pg_text(beside->rows, row, AT_LOCATION), beside->envelope->location) == 0;
    }
    beside->missing += there == 0;
    beside->matched += there;
    if (beside->only_count)
        return;
    if (there == 0)
        reconcile_stock_find(beside, DIFFERENCE_STOCK_MISSING, product_id);
    else if (there > 1)
        reconcile_stock_find(beside, DIFFERENCE_STOCK_DOUBLED, product_id);
    else if (!is_right)
        reconcile_stock_find(beside, DIFFERENCE_STOCK_OTHER, product_id);
}

/* The rows are sorted by their event. */
static size_t first_row(const struct pg_rows *rows, const char *event_id)
{
    size_t low = 0, high = pg_row_count(rows);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(pg_text(rows, middle, AT_EVENT), event_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t count_rows(const struct pg_rows *rows, size_t first, const char *event_id)
{
    size_t row = first;
    while (row < pg_row_count(rows) && strcmp(pg_text(rows, row, AT_EVENT), event_id) == 0)
        row++;
    return row - first;
}

static enum result reconcile_stock_compare_event(struct run *run, size_t index,
                                                 const struct pg_rows *rows, bool only_count,
                                                 int64_t *missing, struct error *error)
{
    static const struct envelope_properties NONE = {"", "", "", "", NULL};
    struct envelope envelope;
    struct beside beside = {.run = run,
                            .event = &run->page.events[index],
                            .envelope = &envelope,
                            .rows = rows,
                            .only_count = only_count};
    enum result result = envelope_read(journal_page_payload(&run->page, index),
                                       beside.event->payload_size, &NONE, &envelope, error);
    if (result != RESULT_OK)
        return result;
    beside.first = first_row(rows, beside.event->event_id);
    beside.count = count_rows(rows, beside.first, beside.event->event_id);
    stock_movements_each(&envelope, compare_move, &beside);
    if (!only_count && beside.matched < beside.count)
        reconcile_stock_find(&beside, DIFFERENCE_STOCK_OTHER, 0);
    *missing += beside.missing;
    envelope_done(&envelope);
    return RESULT_OK;
}

/* Events that aren't on the broker can have no effect yet. */
static enum result reconcile_stock_compare_page(struct run *run, const struct pg_rows *rows,
                                                bool only_count, int64_t *ret_missing,
                                                struct error *error)
{
    int64_t missing = 0;
    enum result result = RESULT_OK;
    for (size_t i = 0; i < run->page.count && result == RESULT_OK; i++) {
        bool parked = false;
        result = delivery_state_is_blocked(run->options->deliveries, "rabbitmq",
                                           run->page.events[i].sequence, 0, &parked, error);
        if (result == RESULT_OK && !parked)
            result = reconcile_stock_compare_event(run, i, rows, only_count, &missing, error);
        if (!only_count) {
            run->report.compared++;
            run->report.parked += parked;
        }
    }
    *ret_missing = missing;
    return result;
}

static enum result reconcile_stock_ask(struct run *run, struct pg_rows **ret_rows,
                                       struct error *error)
{
    buf_clear(&run->ids);
    for (size_t i = 0; i < run->page.count; i++)
        buf_append_format(&run->ids, "%s%s", i > 0 ? "," : "{", run->page.events[i].event_id);
    buf_append_text(&run->ids, "}");
    if (buf_result(&run->ids) != RESULT_OK)
        return RESULT_NO_MEMORY;
    const char *const values[] = {buf_text(&run->ids)};
    enum delivery done = pg_run(run->options->pg, ROWS, 1, values, ret_rows, error);
    return done == DELIVERY_DONE ? RESULT_OK : RESULT_IO;
}

/* Looks again while something is missing and there is time. */
static enum result look_at_page(struct run *run, struct error *error)
{
    for (;;) {
        struct pg_rows *rows = NULL;
        int64_t missing = 0;
        enum result result = reconcile_stock_ask(run, &rows, error);
        if (result == RESULT_OK)
            result = reconcile_stock_compare_page(run, rows, true, &missing, error);
        bool is_final = missing == 0 || run->grace_ms <= 0;
        if (result == RESULT_OK && is_final)
            result = reconcile_stock_compare_page(run, rows, false, &missing, error);
        pg_free_rows(rows);
        if (result != RESULT_OK || is_final)
            return result;
        clock_sleep_ms(&clock_system, POLL_MS);
        run->grace_ms -= POLL_MS;
    }
}

static enum result look_at_all(struct run *run, struct error *error)
{
    int64_t after = run->info.anchor_sequence;
    enum result result = RESULT_OK;
    while (after < run->cursor && result == RESULT_OK) {
        result = journal_reader_page(run->options->journal, after, run->cursor, &run->page, error);
        if (result != RESULT_OK || run->page.count == 0)
            break;
        after = run->page.events[run->page.count - 1].sequence;
        result = look_at_page(run, error);
    }
    return result;
}

/* A bridge that has no broker has nothing that could have moved head office's stock. */
static enum result reconcile_stock_read_cursor(struct run *run, struct error *error)
{
    struct delivery_state_sink sink;
    enum result result =
        delivery_state_find_sink(run->options->deliveries, "rabbitmq", &sink, error);
    if (result == RESULT_OK)
        run->cursor = sink.cursor;
    return result == RESULT_NOT_FOUND ? RESULT_OK : result;
}

/* A head office that keeps no stock has no rows, or not even the table. */
static bool is_kept(struct pg *pg)
{
    struct pg_rows *rows = NULL;
    struct error ignored;
    bool kept = pg_run(pg, IS_KEPT, 0, NULL, &rows, &ignored) == DELIVERY_DONE &&
                pg_text(rows, 0, 0)[0] == 't';
    pg_free_rows(rows);
    return kept;
}

enum result reconcile_stock_run(const struct reconcile_options *options,
                                struct reconcile_stock_report *ret_report, struct error *error)
{
    struct run run = {.options = options, .grace_ms = RECONCILE_STOCK_GRACE_MS};
    run.report.is_kept = is_kept(options->pg);
    buf_init(&run.ids, IDS_BYTES);
    enum result result = journal_page_init(&run.page, PAGE_EVENTS, PAGE_BYTES);
    if (result == RESULT_OK)
        result = journal_reader_info(options->journal, &run.info, error);
    if (result == RESULT_OK)
        result = reconcile_stock_read_cursor(&run, error);
    if (result == RESULT_OK && run.report.is_kept)
        result = look_at_all(&run, error);
    journal_page_done(&run.page);
    buf_done(&run.ids);
    *ret_report = run.report;
    return result;
}
