#include "bridge/repair/reconcile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_EVENTS = 2000, PAGE_BYTES = 8 << 20, OURS_BYTES = 2 * PAGE_BYTES };
enum { NUMBER_SIZE = 24 };
enum { AT_SEQUENCE, AT_EVENT, AT_VERDICT };

/* $4 are the box's own events of this range: what head office has made of each is in the verdict.
 */
static const char EVENTS_SQL[] =
    "WITH ours AS (SELECT (e ->> 'sequence')::bigint AS sequence, e, e -> 'data' AS data"
    "  FROM jsonb_array_elements($4::jsonb) AS e) "
    "SELECT l.sequence, l.event_id::text, CASE"
    "  WHEN ours.e IS NULL THEN 'same'"
    "  WHEN l.payload <> ours.e OR l.event_type <> ours.e ->> 'event_type' THEN 'other'"
    "  WHEN ours.data ->> 'order_id' IS NULL THEN 'same'"
    "  WHEN o.order_id IS NULL THEN 'missing'"
    "  WHEN o.user_id <> (ours.data ->> 'user_id')::bigint OR o.items <> ours.data -> 'items'"
    "    OR o.total <> (ours.data ->> 'total')::bigint"
    "    OR (l.event_type = 'order.cancelled' AND o.status <> 'cancelled') THEN 'other'"
    "  ELSE 'same' END"
    "  FROM event_logs l LEFT JOIN ours USING (sequence)"
    "  LEFT JOIN orders o ON o.device_id = l.device_id AND o.order_id = l.order_id"
    " WHERE l.device_id = $1 AND l.sequence > $2 AND l.sequence <= $3 ORDER BY l.sequence";

struct reconcile {
    const struct reconcile_options *options;
    struct reconcile_report report;
    struct journal_info info;
    struct journal_page page;
    struct buf ours; /* the page's events as a JSON array */
    int64_t cursor;  /* of the sink: what lies beyond is on its way */
};

const char *difference_text(enum difference difference)
{
    static const char *const TEXTS[] = {[DIFFERENCE_MISSING] = "missing",
                                        [DIFFERENCE_UNKNOWN] = "unknown",
                                        [DIFFERENCE_OTHER] = "other",
                                        [DIFFERENCE_STOCK_MISSING] = "stock_missing",
                                        [DIFFERENCE_STOCK_DOUBLED] = "stock_doubled",
                                        [DIFFERENCE_STOCK_OTHER] = "stock_other"};
    return TEXTS[difference];
}

static void reconcile_find(struct reconcile *run, enum difference difference, int64_t sequence,
                           const char *event_id)
{
    int64_t *const counts[] = {[DIFFERENCE_MISSING] = &run->report.missing,
                               [DIFFERENCE_UNKNOWN] = &run->report.unknown,
                               [DIFFERENCE_OTHER] = &run->report.other};
    ++*counts[difference];
    const struct finding finding = {
        .difference = difference, .sequence = sequence, .event_id = event_id};
    run->options->found(run->options->context, &finding);
}

/* Head office hasn't got the event: is that known? */
static enum result miss(struct reconcile *run, const struct journal_event *event,
                        struct error *error)
{
    bool parked = false;
    enum result result = delivery_state_is_parked(run->options->deliveries, "postgres",
                                                  event->sequence, &parked, error);
    if (result != RESULT_OK)
        return result;
    if (parked)
        run->report.parked++;
    else
        reconcile_find(run, DIFFERENCE_MISSING, event->sequence, event->event_id);
    return RESULT_OK;
}

/* Head office has the event: has it what the event says, too? */
static void reconcile_compare_event(struct reconcile *run, const struct journal_event *event,
                                    const struct pg_rows *rows, size_t row)
{
    const char *verdict = pg_text(rows, row, AT_VERDICT);
    if (strcmp(pg_text(rows, row, AT_EVENT), event->event_id) != 0 || strcmp(verdict, "other") == 0)
        reconcile_find(run, DIFFERENCE_OTHER, event->sequence, event->event_id);
    else if (strcmp(verdict, "missing") == 0)
        reconcile_find(run, DIFFERENCE_MISSING, event->sequence, event->event_id);
}

/* Walks two lists in order of sequence side by side, as a merge does. */
static enum result reconcile_compare_page(struct reconcile *run, const struct pg_rows *rows,
                                          struct error *error)
{
    size_t row = 0, count = pg_row_count(rows);
    enum result result = RESULT_OK;
    for (size_t i = 0; i < run->page.count && result == RESULT_OK; i++) {
        const struct journal_event *event = &run->page.events[i];
        while (row < count && pg_int(rows, row, AT_SEQUENCE) < event->sequence) {
            reconcile_find(run, DIFFERENCE_UNKNOWN, pg_int(rows, row, AT_SEQUENCE),
                           pg_text(rows, row, AT_EVENT));
            row++;
        }
        run->report.compared++;
        if (row == count || pg_int(rows, row, AT_SEQUENCE) > event->sequence) {
            result = miss(run, event, error);
            continue;
        }
        reconcile_compare_event(run, event, rows, row);
        row++;
    }
    for (; row < count && result == RESULT_OK; row++)
        reconcile_find(run, DIFFERENCE_UNKNOWN, pg_int(rows, row, AT_SEQUENCE),
                       pg_text(rows, row, AT_EVENT));
    return result;
}

static enum result reconcile_ask(struct reconcile *run, int64_t after, int64_t through,
                                 struct pg_rows **ret_rows, struct error *error)
{
    char first[NUMBER_SIZE], last[NUMBER_SIZE];
    snprintf(first, sizeof first, "%" PRId64, after);
    snprintf(last, sizeof last, "%" PRId64, through);
    const char *const values[] = {run->info.device_id, first, last, buf_text(&run->ours)};
    if (buf_result(&run->ours) != RESULT_OK)
        return RESULT_NO_MEMORY;
    enum delivery done =
        pg_run(run->options->pg, EVENTS_SQL, ARRAY_LENGTH(values), values, ret_rows, error);
    return done == DELIVERY_DONE ? RESULT_OK : RESULT_IO;
}

/* Where only the ids count. */
static void list_none(struct reconcile *run)
{
    buf_clear(&run->ours);
    buf_append_text(&run->ours, "[]");
}

static void list_ours(struct reconcile *run)
{
    buf_clear(&run->ours);
    for (size_t i = 0; i < run->page.count; i++) {
        buf_append_text(&run->ours, i > 0 ? "," : "[");
        buf_append(&run->ours, journal_page_payload(&run->page, i),
                   run->page.events[i].payload_size);
    }
    buf_append_text(&run->ours, "]");
}

static enum result compare_all(struct reconcile *run, struct error *error)
{
    int64_t after = run->info.anchor_sequence;
    enum result result = RESULT_OK;
    while (after < run->cursor && result == RESULT_OK) {
        struct pg_rows *rows = NULL;
        result = journal_reader_page(run->options->journal, after, run->cursor, &run->page, error);
        if (result != RESULT_OK || run->page.count == 0)
            break;
        int64_t through = run->page.events[run->page.count - 1].sequence;
        list_ours(run);
        result = reconcile_ask(run, after, through, &rows, error);
        if (result == RESULT_OK)
            result = reconcile_compare_page(run, rows, error);
        pg_free_rows(rows);
        after = through;
    }
    return result;
}

/* Beyond the box's own head there can be nothing of this box. */
static enum result look_beyond(struct reconcile *run, struct error *error)
{
    struct pg_rows *rows = NULL;
    int64_t head = 0;
    list_none(run);
    enum result result = journal_reader_head(run->options->journal, &head, error);
    if (result == RESULT_OK)
        result = reconcile_ask(run, head, INT64_MAX, &rows, error);
    for (size_t row = 0; row < pg_row_count(rows); row++)
        reconcile_find(run, DIFFERENCE_UNKNOWN, pg_int(rows, row, AT_SEQUENCE),
                       pg_text(rows, row, AT_EVENT));
    pg_free_rows(rows);
    return result;
}

static enum result reconcile_read_cursor(struct reconcile *run, struct error *error)
{
    struct delivery_state_sink sink;
    enum result result =
        delivery_state_find_sink(run->options->deliveries, "postgres", &sink, error);
    if (result == RESULT_NOT_FOUND)
        return error_set(error, result, "the bridge has never sent anything to PostgreSQL");
    if (result == RESULT_OK)
        run->cursor = sink.cursor;
    return result;
}

enum result reconcile_run(const struct reconcile_options *options,
                          struct reconcile_report *ret_report, struct error *error)
{
    struct reconcile run = {.options = options};
    buf_init(&run.ours, OURS_BYTES);
    enum result result = journal_page_init(&run.page, PAGE_EVENTS, PAGE_BYTES);
    if (result == RESULT_OK)
        result = journal_reader_info(options->journal, &run.info, error);
    if (result == RESULT_OK)
        result = reconcile_read_cursor(&run, error);
    if (result == RESULT_OK)
        result = compare_all(&run, error);
    if (result == RESULT_OK)
        result = look_beyond(&run, error);
    journal_page_done(&run.page);
    buf_done(&run.ours);
    *ret_report = run.report;
    return result;
}
