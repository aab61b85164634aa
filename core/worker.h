/* Threads that work off a bounded queue: for what must not hold up whoever submits it.
 *
 * The queue holds pointers, first in, first out, and owns none of them. Closing it works off what
 * has queued: every item that was accepted is handed to `work` exactly once. */
#ifndef TILLBOX_CORE_WORKER_H
#define TILLBOX_CORE_WORKER_H

#include <stddef.h>

#include "core/clock.h"

enum { WORKER_THREADS_MAX = 16 };

struct worker;

struct worker_options {
    size_t threads;   /* 1 to WORKER_THREADS_MAX */
    size_t queue_max; /* items that wait, ≥ 1 */
    /* Runs in thread `thread`, from 0, without any lock held. */
    void (*work)(void *context, size_t thread, void *item);
    void *context;
    const struct clock *clock;
};

/* What the options point to must outlive the worker. */
MUST_CHECK enum result worker_start(const struct worker_options *options,
                                    struct worker **ret_worker, struct error *error);

/* RESULT_BUSY when the queue is full, RESULT_CLOSED after the close: the item stays the caller's.
 * From any thread, also from `work`. */
MUST_CHECK enum result worker_submit(struct worker *worker, void *item);

/* Accepts nothing more, works off what has queued, and waits for the threads to end. Closing it
 * again does nothing. From one thread, and not from `work`. */
void worker_close(struct worker *worker);

/* Closes it, if need be; nothing may be submitted any more. NULL is fine. */
void worker_free(struct worker *worker);

#endif
