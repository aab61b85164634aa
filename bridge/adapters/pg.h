/* PostgreSQL, by libpq: the only place that knows libpq.
 *
 * Every call has a deadline of its own, since a peer behind a broken line may accept bytes and
 * never answer. Nothing here depends on session state, so it works through a pooler in transaction
 * mode. One connection belongs to one thread. */
#ifndef TILLBOX_BRIDGE_PG_H
#define TILLBOX_BRIDGE_PG_H

#include <stddef.h>
#include <stdint.h>

#include "bridge/adapters/delivery.h"
#include "core/clock.h"
#include "core/latch.h"
#include "core/result.h"

struct pg;
struct pg_rows;

enum {
    PG_SQLSTATE_SIZE = 6,
    PG_PARAMETERS_MAX = 12,
    /* The server ends a statement after so long, also when we are no longer there. It counts from
     * the statement's first byte, so a batch on a slow line must fit. */
    PG_STATEMENT_LIMIT_MS = 120000,
};

struct pg_options {
    const char *url;           /* a conninfo string or URI; TLS options belong in it */
    const char *password_file; /* read for each connection; NULL: the URL's password, if any */
    const char *application_name;
    int64_t deadline_ms; /* for connecting, and for each statement */
    const struct clock *clock;

    const struct latch *break_off; /* once it is raised every wait ends; NULL: there is none */
};

/* DELIVERY_DOWN if it can't be had now. */
enum delivery pg_connect(const struct pg_options *options, struct pg **ret_pg,
                         struct error *error) MUST_CHECK;
void pg_close(struct pg *pg);

/* Runs one statement, a transaction of its own, with text parameters (NULL for NULL). `ret_rows`
 * may be NULL; otherwise the caller frees it. On anything but DELIVERY_DONE, `error` tells the
 * cause and pg_sqlstate() its code; after DELIVERY_DOWN the connection is of no more use. 40001 and
 * 40P01 come as DELIVERY_TRANSIENT, classes 22 and 23 as DELIVERY_REFUSED, everything else as
 * DELIVERY_DOWN. */
enum delivery pg_run(struct pg *pg, const char *sql, size_t count, const char *const values[],
                     struct pg_rows **ret_rows, struct error *error) MUST_CHECK;

/* Runs a script of several statements, without parameters. */
enum delivery pg_run_script(struct pg *pg, const char *sql, struct error *error) MUST_CHECK;

/* Of the last failed statement; "" if the server didn't say. */
const char *pg_sqlstate(const struct pg *pg);

/* Does the connection still seem to be there? Reads what has come, without waiting. */
bool pg_is_alive(struct pg *pg);

size_t pg_row_count(const struct pg_rows *rows);
const char *pg_text(const struct pg_rows *rows, size_t row, int column); /* "" for NULL */
bool pg_is_null(const struct pg_rows *rows, size_t row, int column);
int64_t pg_int(const struct pg_rows *rows, size_t row, int column);
void pg_free_rows(struct pg_rows *rows);

#endif
