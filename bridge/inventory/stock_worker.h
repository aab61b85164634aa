/* Answers requests for head office's stock, in a thread and over a database connection of its own:
 * a database that doesn't answer must not hold up the HTTP thread, which has probes to serve. */
#ifndef TILLBOX_BRIDGE_STOCK_WORKER_H
#define TILLBOX_BRIDGE_STOCK_WORKER_H

#include "bridge/inventory/stock_request.h"
#include "core/breaker.h"

enum {
    STOCK_WORKER_QUEUE_MAX = 64, /* requests that wait; more are answered 503 */
    STOCK_WORKER_DEADLINE_MS = 3000,
    STOCK_WORKER_TRIP_AFTER = 2,
    STOCK_WORKER_COOL_DOWN_MS = 2000,
};

struct stock_worker;

/* The options are copied; their deadline is STOCK_WORKER_DEADLINE_MS. */
MUST_CHECK enum result stock_worker_start(const struct pg_options *postgres,
                                          struct stock_worker **ret_worker, struct error *error);

/* Takes over a request whose exchange is deferred, and resumes that. RESULT_BUSY, RESULT_CLOSED:
 * nothing happened. */
MUST_CHECK enum result stock_worker_submit(struct stock_worker *worker,
                                           struct stock_request *request);

enum breaker_state stock_worker_breaker(struct stock_worker *worker);

/* Cancels the call under way and answers 503 to all that wait; from now on every request is
 * refused. */
void stock_worker_stop(struct stock_worker *worker);

/* When it has stopped, and nothing is submitted any more. */
void stock_worker_free(struct stock_worker *worker);

#endif
