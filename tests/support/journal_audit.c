#include "tests/support/journal_audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "appliance/journal.h"
#include "core/db.h"
#include "core/journal/chain.h"

enum { SQL_SIZE = 512 };

/* Each counts what must not be, which the text beside it names. */
static const struct {
    const char *found;
    const char *sql;
} CONTRADICTIONS[] = {
    {"gaps in the order ids", "SELECT coalesce(max(order_id), 0) - count(*) FROM orders"},
    {"order ids given out and not used",
     "SELECT seq - (SELECT count(*) FROM orders) FROM sqlite_sequence WHERE name = 'orders'"
     " UNION ALL SELECT 0 LIMIT 1"},
    {"gaps in the sequence", "SELECT coalesce(max(sequence), 0) - count(*) FROM events"},
    {"event ids that don't rise",
     "SELECT count(*) FROM (SELECT event_id, lag(event_id) OVER (ORDER BY sequence) AS before"
     " FROM events) WHERE before >= event_id"},
    {"orders with no event or several, or events of no order",
     "SELECT abs((SELECT count(*) FROM orders) - count(*)) + count(*) - count(DISTINCT order_id)"
     " + sum(order_id NOT IN (SELECT order_id FROM orders)) FROM events"
     " WHERE event_type = 'order.created' HAVING count(*) > 0"
     " UNION ALL SELECT count(*) FROM orders LIMIT 1"},
    {"cancelled orders with no event or several, or such events of no cancelled order",
     "SELECT abs((SELECT count(*) FROM orders WHERE cancelled_at_ms IS NOT NULL) - count(*))"
     " + count(*) - count(DISTINCT order_id) + sum(order_id NOT IN"
     " (SELECT order_id FROM orders WHERE cancelled_at_ms IS NOT NULL)) FROM events"
     " WHERE event_type = 'order.cancelled' HAVING count(*) > 0"
     " UNION ALL SELECT count(*) FROM orders WHERE cancelled_at_ms IS NOT NULL LIMIT 1"},
    {"products whose stock isn't what was there at first, adjusted, less what was sold",
     "WITH moved(product_id, amount) AS ("
     " SELECT payload ->> '$.data.product_id', payload ->> '$.data.stock' FROM events"
     " WHERE event_type = 'product.created'"
     " UNION ALL SELECT payload ->> '$.data.product_id', payload ->> '$.data.delta' FROM events"
     " WHERE event_type = 'stock.adjusted'"
     " UNION ALL SELECT line.value ->> 'product_id', -(line.value ->> 'quantity')"
     " FROM orders, json_each(items) line WHERE cancelled_at_ms IS NULL)"
     " SELECT count(*) FROM products p WHERE stock IS NOT"
     " (SELECT sum(amount) FROM moved m WHERE m.product_id = p.product_id)"},
};

static void take_first(void *context, const char *text)
{
    char *first = context;
    if (first[0] == '\0')
        snprintf(first, ERROR_TEXT_MAX, "%s", text);
}

static enum result check_file(struct db *db, struct error *error)
{
    char first[ERROR_TEXT_MAX] = "";
    enum result result = db_query_text(db, "PRAGMA quick_check", take_first, first, error);
    if (result == RESULT_OK && strcmp(first, "ok") != 0)
        result = error_set(error, RESULT_CORRUPT, "quick_check: %.400s", first);
    return result;
}

static enum result check_chain(struct db *db, struct error *error)
{
    struct chain_report report;
    enum result result = chain_check(db, CHAIN_ALL, &report, error);
    if (result == RESULT_OK && report.bad_sequence != 0)
        result = error_set(error, RESULT_CORRUPT, "event %lld: %s", (long long)report.bad_sequence,
                           report.reason);
    return result;
}

static enum result check_tables(struct db *db, struct error *error)
{
    for (size_t i = 0; i < ARRAY_LENGTH(CONTRADICTIONS); i++) {
        int64_t count = 0;
        enum result result = db_query_int(db, CONTRADICTIONS[i].sql, &count, error);
        if (result != RESULT_OK)
            return result;
        if (count != 0)
            return error_set(error, RESULT_CORRUPT, "%lld %s", (long long)count,
                             CONTRADICTIONS[i].found);
    }
    return RESULT_OK;
}

enum result journal_audit(const char *folder, struct error *error)
{
    struct db *db = NULL;
    char path[JOURNAL_PATH_SIZE];
    journal_path(folder, path);
    enum result result = db_open(path, DB_READER, &db, error);
    if (result == RESULT_OK)
        result = check_file(db, error);
    if (result == RESULT_OK)
        result = check_chain(db, error);
    if (result == RESULT_OK)
        result = check_tables(db, error);
    db_close(db);
    return result;
}

int64_t journal_ask(const char *folder, const char *sql, ...)
{
    struct db *db = NULL;
    int64_t number = INT64_MIN;
    char path[JOURNAL_PATH_SIZE], filled[SQL_SIZE];
    va_list arguments;
    va_start(arguments, sql);
    vsnprintf(filled, sizeof filled, sql, arguments);
    va_end(arguments);
    journal_path(folder, path);
    if (db_open(path, DB_READER, &db, NULL) != RESULT_OK ||
        db_query_int(db, filled, &number, NULL) != RESULT_OK)
        number = INT64_MIN;
    db_close(db);
    return number;
}
