/* Sales, cancellations and backlog of the last hours, for a chart: a ring of counts in memory.
 *
 * Sales of before the start come from the journal; what the backlog was then is not known. */
#ifndef TILLBOX_APPLIANCE_HISTORY_H
#define TILLBOX_APPLIANCE_HISTORY_H

#include <stdint.h>

#include "core/json.h"

enum {
    HISTORY_SPANS = 96,
    HISTORY_SPAN_S = 300,
    HISTORY_ORDERS_READ = 50000, /* of the newest orders, at the start */
};

struct history;

/* Counted since the start. */
struct history_totals {
    int64_t sales, cancellations;
    int64_t backlog; /* at the moment; below 0: not known */
};

/* Reads the journal in `data_dir`. */
MUST_CHECK enum result history_new(const char *data_dir, int64_t now_ms,
                                   struct history **ret_history, struct error *error);
void history_free(struct history *history);

/* What has been counted up to `now_ms`, the wall clock. About once a second, from one thread. */
void history_add(struct history *history, int64_t now_ms, const struct history_totals *totals);

/* Writes `span_s`, `until` (the end of the last span) and the arrays `sales`, `cancellations` and
 * `backlog` (the most in each span; null if not known), oldest first, into an object that is open.
 * From any thread. */
void history_write(struct history *history, int64_t now_ms, struct json_writer *writer);

#endif
