/* Before a sale: does the inventory service have enough?
 *
 * A sale waits in a bounded queue for one of STOCK_CHECK_THREADS threads, which asks for each of
 * its products. Whatever happens, the sale goes on within `timeout_ms` of being submitted. What
 * can't be asked (no answer in time, nonsense, a product that the service doesn't know yet, a full
 * queue) is sold by the journal's own knowledge: ORDER_STOCK_LOCAL.
 *
 * A breaker stands before it all: after `trip_after` sales in a row whose call failed, sales go on
 * at once for `cool_down_ms`; then one of them, and only one, tries the service again. */
#ifndef TILLBOX_APPLIANCE_STOCK_CHECK_H
#define TILLBOX_APPLIANCE_STOCK_CHECK_H

#include "appliance/command.h"
#include "appliance/remote_stock.h"
#include "core/breaker.h"

enum { STOCK_CHECK_THREADS = 8, STOCK_CHECK_QUEUE_MAX = 256 };

struct stock_check;

struct stock_check_options {
    struct remote_stock_options remote;
    int trip_after;
    int64_t cool_down_ms;
    /* From a thread of the check, once for each command that was taken: its order's stock_checked
     * and its shortage have been set. */
    void (*on_checked)(void *context, struct command *command);
    void *context;
};

enum stock_check_outcome {
    STOCK_CHECK_ENOUGH,
    STOCK_CHECK_SHORT,
    STOCK_CHECK_UNKNOWN, /* the service doesn't know a product of the order */
    STOCK_CHECK_FAILED,
    STOCK_CHECK_SKIPPED, /* the breaker was open, the queue full, or the time over */
    STOCK_CHECK_OUTCOMES,
};

struct stock_check_stats {
    uint64_t outcomes[STOCK_CHECK_OUTCOMES]; /* since the start */
    int waiting;                             /* sales queued or being asked about */
    enum breaker_state breaker;
};

MUST_CHECK enum result stock_check_start(const struct stock_check_options *options,
                                         struct stock_check **ret_check, struct error *error);

/* Takes a COMMAND_CREATE_ORDER. RESULT_CONFLICT if one with the same Idempotency-Key is being
 * checked; RESULT_BUSY if it is to go on at once (its stock_checked has been set). Never blocks. */
MUST_CHECK enum result stock_check_submit(struct stock_check *check, struct command *command);

/* Lets go of every sale that waits, and ends the threads when their calls have ended. Later
 * submissions get RESULT_BUSY. */
void stock_check_stop(struct stock_check *check);

/* Stops it first if that hasn't been done. NULL is fine. */
void stock_check_free(struct stock_check *check);

void stock_check_stats(struct stock_check *check, struct stock_check_stats *ret_stats);

/* "enough", "short", … */
const char *stock_check_outcome_text(enum stock_check_outcome outcome);

#endif
