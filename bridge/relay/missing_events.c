#include "bridge/relay/missing_events.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MISSING_PAGE_EVENTS = 2000, MISSING_PAGE_BYTES = 8 << 20, SEQUENCE_TEXT_SIZE = 24 };
enum { LOGGED_SEQUENCE, LOGGED_EVENT };

static const char LOGGED_SQL[] =
    "SELECT sequence, event_id::text FROM event_logs"
    " WHERE device_id = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence";

/* Both lists are in order of sequence. */
static void missing_events_compare_page(const struct journal_page *page, const struct pg_rows *rows,
                                        void (*missing)(void *context,
                                                        const struct journal_event *event),
                                        void *context)
{
    size_t row = 0, count = pg_row_count(rows);
    for (size_t i = 0; i < page->count; i++) {
        while (row < count && pg_int(rows, row, LOGGED_SEQUENCE) < page->events[i].sequence)
            row++;
        if (row == count || strcmp(pg_text(rows, row, LOGGED_EVENT), page->events[i].event_id) != 0)
            missing(context, &page->events[i]);
    }
}

static enum delivery read_logged(struct pg *pg, const char *device_id, int64_t after,
                                 int64_t through, struct pg_rows **ret_rows, struct error *error)
{
    char first[SEQUENCE_TEXT_SIZE], last[SEQUENCE_TEXT_SIZE];
    snprintf(first, sizeof first, "%" PRId64, after);
    snprintf(last, sizeof last, "%" PRId64, through);
    const char *const values[] = {device_id, first, last};
    return pg_run(pg, LOGGED_SQL, ARRAY_LENGTH(values), values, ret_rows, error);
}

enum delivery missing_events_find(struct journal_reader *journal, struct pg *pg, int64_t after,
                                  int64_t through,
                                  void (*missing)(void *context, const struct journal_event *event),
                                  void *context, struct error *error)
{
    struct journal_page page = {0};
    struct journal_info info;
    enum result result = journal_page_init(&page, MISSING_PAGE_EVENTS, MISSING_PAGE_BYTES);
    enum delivery done = DELIVERY_DONE;
    if (result == RESULT_OK)
        result = journal_reader_info(journal, &info, error);
    while (result == RESULT_OK && done == DELIVERY_DONE && after < through) {
        struct pg_rows *rows = NULL;
        result = journal_reader_page(journal, after, through, &page, error);
        if (result != RESULT_OK || page.count == 0)
            break;
        int64_t last = page.events[page.count - 1].sequence;
        done = read_logged(pg, info.device_id, after, last, &rows, error);
        if (done == DELIVERY_DONE)
            missing_events_compare_page(&page, rows, missing, context);
        pg_free_rows(rows);
        after = last;
    }
    journal_page_done(&page);
    return result == RESULT_OK && done == DELIVERY_DONE ? DELIVERY_DONE : DELIVERY_DOWN;
}
