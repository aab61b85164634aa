/* Answers requests for head office's stock, in a thread and over a database connection of its own:
 * a database that doesn't answer must not hold up the HTTP thread, which has probes to serve. */
#ifndef TILLBOX_BRIDGE_STOCK_DESK_H
#define TILLBOX_BRIDGE_STOCK_DESK_H

#include "bridge/inventory/stock_request.h"
#include "core/breaker.h"

enum {
    STOCK_DESK_QUEUE_MAX = 64, /* requests that wait; more are answered 503 */
    STOCK_DESK_DEADLINE_MS = 3000,
    STOCK_DESK_TRIP_AFTER = 2,
    STOCK_DESK_COOL_DOWN_MS = 2000,
};

struct stock_desk;

/* The options are copied; their deadline is STOCK_DESK_DEADLINE_MS. */
MUST_CHECK enum result stock_desk_start(const struct pg_options *postgres,
                                        struct stock_desk **ret_desk, struct error *error);

/* Takes over a request whose exchange is deferred, and resumes that. RESULT_BUSY: nothing happened.
 */
MUST_CHECK enum result stock_desk_submit(struct stock_desk *desk, struct stock_request *request);

enum breaker_state stock_desk_breaker(struct stock_desk *desk);

/* Breaks off the call under way and answers 503 to all that wait; from now on every request is
 * refused. */
void stock_desk_stop(struct stock_desk *desk);

/* When it has stopped, and nothing is submitted any more. */
void stock_desk_free(struct stock_desk *desk);

#endif
