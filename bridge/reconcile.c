#include "bridge/reconcile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_EVENTS = 2000, PAGE_BYTES = 8 << 20, NUMBER_SIZE = 24 };

static const char EVENTS_SQL[] =
    "SELECT sequence, event_id::text FROM event_logs"
    " WHERE device_id = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence";

struct reconcile {
    const struct reconcile_options *options;
    struct reconcile_report report;
    struct journal_info info;
    struct journal_page page;
    int64_t cursor; /* of the sink: what lies beyond is on its way */
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

static void find(struct reconcile *run, enum difference difference, int64_t sequence,
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
    enum result result =
        ledger_is_parked(run->options->ledger, "postgres", event->sequence, &parked, error);
    if (result != RESULT_OK)
        return result;
    if (parked)
        run->report.parked++;
    else
        find(run, DIFFERENCE_MISSING, event->sequence, event->event_id);
    return RESULT_OK;
}

/* Walks two lists in order of sequence side by side, as a merge does. */
static enum result compare_page(struct reconcile *run, const struct pg_rows *rows,
                                struct error *error)
{
    size_t row = 0, count = pg_row_count(rows);
    enum result result = RESULT_OK;
    for (size_t i = 0; i < run->page.count && result == RESULT_OK; i++) {
        const struct journal_event *event = &run->page.events[i];
        while (row < count && pg_int(rows, row, 0) < event->sequence) {
            find(run, DIFFERENCE_UNKNOWN, pg_int(rows, row, 0), pg_text(rows, row, 1));
            row++;
        }
        run->report.compared++;
        if (row == count || pg_int(rows, row, 0) > event->sequence) {
            result = miss(run, event, error);
            continue;
        }
        if (strcmp(pg_text(rows, row, 1), event->event_id) != 0)
            find(run, DIFFERENCE_OTHER, event->sequence, event->event_id);
        row++;
    }
    for (; row < count && result == RESULT_OK; row++)
        find(run, DIFFERENCE_UNKNOWN, pg_int(rows, row, 0), pg_text(rows, row, 1));
    return result;
}

static enum result ask(struct reconcile *run, int64_t after, int64_t through,
                       struct pg_rows **ret_rows, struct error *error)
{
    char first[NUMBER_SIZE], last[NUMBER_SIZE];
    snprintf(first, sizeof first, "%" PRId64, after);
    snprintf(last, sizeof last, "%" PRId64, through);
    const char *const values[] = {run->info.device_id, first, last};
    enum delivery done = pg_run(run->options->pg, EVENTS_SQL, 3, values, ret_rows, error);
    return done == DELIVERY_DONE ? RESULT_OK : RESULT_IO;
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
        result = ask(run, after, through, &rows, error);
        if (result == RESULT_OK)
            result = compare_page(run, rows, error);
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
    enum result result = journal_reader_head(run->options->journal, &head, error);
    if (result == RESULT_OK)
        result = ask(run, head, INT64_MAX, &rows, error);
    for (size_t row = 0; row < pg_row_count(rows); row++)
        find(run, DIFFERENCE_UNKNOWN, pg_int(rows, row, 0), pg_text(rows, row, 1));
    pg_free_rows(rows);
    return result;
}

static enum result read_cursor(struct reconcile *run, struct error *error)
{
    struct ledger_sink sink;
    enum result result = ledger_find_sink(run->options->ledger, "postgres", &sink, error);
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
    enum result result = journal_page_init(&run.page, PAGE_EVENTS, PAGE_BYTES);
    if (result == RESULT_OK)
        result = journal_reader_info(options->journal, &run.info, error);
    if (result == RESULT_OK)
        result = read_cursor(&run, error);
    if (result == RESULT_OK)
        result = compare_all(&run, error);
    if (result == RESULT_OK)
        result = look_beyond(&run, error);
    journal_page_done(&run.page);
    *ret_report = run.report;
    return result;
}

/* One page: both lists are in order of sequence. */
static void compare_missing(const struct journal_page *page, const struct pg_rows *rows,
                            void (*missing)(void *context, const struct journal_event *event),
                            void *context)
{
    size_t row = 0, count = pg_row_count(rows);
    for (size_t i = 0; i < page->count; i++) {
        while (row < count && pg_int(rows, row, 0) < page->events[i].sequence)
            row++;
        if (row == count || strcmp(pg_text(rows, row, 1), page->events[i].event_id) != 0)
            missing(context, &page->events[i]);
    }
}

enum delivery reconcile_find_missing(struct journal_reader *journal, struct pg *pg, int64_t after,
                                     int64_t through,
                                     void (*missing)(void *context,
                                                     const struct journal_event *event),
                                     void *context, struct error *error)
{
    struct reconcile_options options = {.journal = journal, .pg = pg};
    struct reconcile run = {.options = &options};
    enum result result = journal_page_init(&run.page, PAGE_EVENTS, PAGE_BYTES);
    if (result == RESULT_OK)
        result = journal_reader_info(journal, &run.info, error);
    while (result == RESULT_OK && after < through) {
        struct pg_rows *rows = NULL;
        result = journal_reader_page(journal, after, through, &run.page, error);
        if (result != RESULT_OK || run.page.count == 0)
            break;
        int64_t last = run.page.events[run.page.count - 1].sequence;
        result = ask(&run, after, last, &rows, error);
        if (result == RESULT_OK)
            compare_missing(&run.page, rows, missing, context);
        pg_free_rows(rows);
        after = last;
    }
    journal_page_done(&run.page);
    return result == RESULT_OK ? DELIVERY_DONE : DELIVERY_DOWN;
}
