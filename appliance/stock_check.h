/* Before a sale: does the inventory service have enough?
 *
 * A sale waits in a bounded queue for one of up to STOCK_CHECK_THREADS workers, which asks for each
 * of its products. Whatever happens, the sale goes on within `timeout_ms` of being submitted. What
 * can't be asked (no answer in time, nonsense, a product that the service doesn't know yet, a full
 * queue) is sold by the journal's own knowledge: ORDER_STOCK_LOCAL.
 *
 * A breaker stands before it all: after `trip_after` sales in a row whose call failed, sales go on
 * at once for `cool_down_ms`; then one of them, and only one, tries the service again.
 *
 * Each worker, a thread with an inventory service of its own, is a machine:
 *
 *   IDLE -> QUERYING, REPORTING, CLOSED
 *   QUERYING -> REPORTING
 *   REPORTING -> IDLE
 *   CLOSED
 */
#ifndef TILLBOX_APPLIANCE_STOCK_CHECK_H
#define TILLBOX_APPLIANCE_STOCK_CHECK_H

#include "appliance/command.h"
#include "appliance/inventory_service.h"
#include "core/breaker.h"
#include "core/clock.h"
#include "core/machine.h"

enum { STOCK_CHECK_THREADS = 8, STOCK_CHECK_QUEUE_MAX = 256 };

enum stock_check_state {
    STOCK_CHECK_IDLE,      /* waits for a sale */
    STOCK_CHECK_QUERYING,  /* one product of the sale a step */
    STOCK_CHECK_REPORTING, /* to the breaker; then the sale goes on */
    STOCK_CHECK_CLOSED,    /* the end */
};

extern const struct machine_table STOCK_CHECK_MACHINE;

struct stock_check;

struct stock_check_options {
    struct inventory_service services[STOCK_CHECK_THREADS]; /* one a worker */
    int worker_count;                                       /* ≥ 1 */
    int64_t timeout_ms;                                     /* of a sale */
    int trip_after;
    int64_t cool_down_ms;
    const struct clock *clock;
    /* In a step, once for each command that was taken: its order's stock_checked and its shortage
     * have been set. */
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

/* Without threads: somebody calls stock_check_step(). Takes the services, whatever the result. */
MUST_CHECK enum result stock_check_new(const struct stock_check_options *options,
                                       struct stock_check **ret_check, struct error *error);

/* One step of a worker, 0 being the first: at most one call to its service. `now_ms` is a moment of
 * the monotonic clock. Gives the milliseconds to wait before the next one: 0, or CLOCK_FOREVER
 * where only another call to the check makes work. */
int64_t stock_check_step(struct stock_check *check, int worker, int64_t now_ms);

/* A worker's state, and its transitions so far: for whoever steps it, or once its thread has ended.
 */
const struct machine *stock_check_machine(const struct stock_check *check, int worker);

/* Makes a check and the threads that step its workers. Takes the services, whatever the result. */
MUST_CHECK enum result stock_check_start(const struct stock_check_options *options,
                                         struct stock_check **ret_check, struct error *error);

/* Takes a COMMAND_CREATE_ORDER. RESULT_CONFLICT if one with the same Idempotency-Key is being
 * checked; RESULT_BUSY if it is to go on at once (its stock_checked has been set). Never blocks. */
MUST_CHECK enum result stock_check_submit(struct stock_check *check, struct command *command);

/* Later submissions get RESULT_BUSY. The threads work off the sales that wait, within the deadline
 * of each, then end; without threads that is left to whoever steps, up to STOCK_CHECK_CLOSED. */
void stock_check_stop(struct stock_check *check);

/* Stops it first if that hasn't been done. A sale that waits then, where there are no threads,
 * never goes on. NULL is fine. */
void stock_check_free(struct stock_check *check);

void stock_check_stats(struct stock_check *check, struct stock_check_stats *ret_stats);

/* "enough", "short", … */
const char *stock_check_outcome_text(enum stock_check_outcome outcome);

#endif
