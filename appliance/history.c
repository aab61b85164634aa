#include "appliance/history.h"

#include <pthread.h>
#include <stdlib.h>

#include "appliance/journal.h"
#include "core/db.h"

static const int64_t SPAN_MS = HISTORY_SPAN_S * 1000;

static const char SALES_SQL[] =
    "SELECT created_at_ms / ?1, count(*) FROM orders"
    " WHERE order_id > (SELECT coalesce(max(order_id), 0) FROM orders) - ?2"
    " AND created_at_ms >= ?3 GROUP BY 1";
static const char CANCELLATIONS_SQL[] =
    "SELECT cancelled_at_ms / ?1, count(*) FROM orders"
    " WHERE order_id > (SELECT coalesce(max(order_id), 0) FROM orders) - ?2"
    " AND cancelled_at_ms IS NOT NULL AND cancelled_at_ms >= ?3 GROUP BY 1";

struct span {
    int64_t number; /* spans since 1970; tells a slot's present use from an old one */
    int64_t sales, cancellations;
    int64_t backlog; /* the most; below 0: not known */
};

struct history {
    pthread_mutex_t lock;
    struct span spans[HISTORY_SPANS];
    struct history_totals counted; /* what is in the spans already */
};

static struct span *span_at(struct history *history, int64_t number)
{
    struct span *span = &history->spans[number % HISTORY_SPANS];
    if (span->number != number)
        *span = (struct span){.number = number, .backlog = -1};
    return span;
}

static int64_t *sales_of(struct span *span)
{
    return &span->sales;
}

static int64_t *cancellations_of(struct span *span)
{
    return &span->cancellations;
}

static enum result history_load(struct history *history, struct db *journal, const char *sql,
                                int64_t now_ms, int64_t *count_of(struct span *span),
                                struct error *error)
{
    struct statement *select = NULL;
    bool row = true;
    int64_t last = now_ms / SPAN_MS, first = last - HISTORY_SPANS + 1;
    enum result result = statement_prepare(journal, sql, &select, error);
    if (result != RESULT_OK)
        return result;
    statement_bind_int(select, 1, SPAN_MS);
    statement_bind_int(select, 2, HISTORY_ORDERS_READ);
    statement_bind_int(select, 3, first * SPAN_MS);
    for (;;) {
        result = statement_step(select, &row, error);
        if (result != RESULT_OK || !row)
            break;
        int64_t number = statement_int(select, 0);
        if (number <= last) /* a clock that was set back leaves orders in the future */
            *count_of(span_at(history, number)) += statement_int(select, 1);
    }
    statement_free(select);
    return result;
}

enum result history_new(const char *data_dir, int64_t now_ms, struct history **ret_history,
                        struct error *error)
{
    char path[JOURNAL_PATH_SIZE];
    struct db *journal = NULL;
    struct history *history = calloc(1, sizeof *history);
    if (!history)
        return RESULT_NO_MEMORY;
    pthread_mutex_init(&history->lock, NULL);
    journal_path(data_dir, path);
    enum result result = db_open(path, DB_READER, &journal, error);
    if (result == RESULT_OK)
        result = history_load(history, journal, SALES_SQL, now_ms, sales_of, error);
    if (result == RESULT_OK)
        result = history_load(history, journal, CANCELLATIONS_SQL, now_ms, cancellations_of, error);
    db_close(journal);
    if (result != RESULT_OK) {
        history_free(history);
        return result;
    }
    *ret_history = history;
    return RESULT_OK;
}

void history_free(struct history *history)
{
    if (!history)
        return;
    pthread_mutex_destroy(&history->lock);
    free(history);
}

void history_add(struct history *history, int64_t now_ms, const struct history_totals *totals)
{
    pthread_mutex_lock(&history->lock);
    struct span *span = span_at(history, now_ms / SPAN_MS);
    span->sales += totals->sales - history->counted.sales;
    span->cancellations += totals->cancellations - history->counted.cancellations;
    if (totals->backlog > span->backlog)
        span->backlog = totals->backlog;
    history->counted = *totals;
    pthread_mutex_unlock(&history->lock);
}

static void write_counts(struct json_writer *writer, const char *name,
                         const struct span *const spans[], int64_t *count_of(struct span *span))
{
    json_begin_array(writer, name);
    for (int i = 0; i < HISTORY_SPANS; i++) {
        struct span span = spans[i] ? *spans[i] : (struct span){0};
        json_put_int(writer, NULL, *count_of(&span));
    }
    json_end_array(writer);
}

static void write_backlog(struct json_writer *writer, const struct span *const spans[])
{
    json_begin_array(writer, "backlog");
    for (int i = 0; i < HISTORY_SPANS; i++) {
        if (spans[i] && spans[i]->backlog >= 0)
            json_put_int(writer, NULL, spans[i]->backlog);
        else
            json_put_null(writer, NULL);
    }
    json_end_array(writer);
}

void history_write(struct history *history, int64_t now_ms, struct json_writer *writer)
{
    const struct span *spans[HISTORY_SPANS];
    int64_t last = now_ms / SPAN_MS;
    json_put_int(writer, "span_s", HISTORY_SPAN_S);
    json_put_time(writer, "until", (last + 1) * SPAN_MS);
    pthread_mutex_lock(&history->lock);
    for (int i = 0; i < HISTORY_SPANS; i++) {
        int64_t number = last - HISTORY_SPANS + 1 + i;
        const struct span *span = &history->spans[number % HISTORY_SPANS];
        spans[i] = span->number == number ? span : NULL;
    }
    write_counts(writer, "sales", spans, sales_of);
    write_counts(writer, "cancellations", spans, cancellations_of);
    write_backlog(writer, spans);
    pthread_mutex_unlock(&history->lock);
}
