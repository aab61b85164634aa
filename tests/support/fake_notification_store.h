/* Notifications without a database: rows in memory that follow the rules of notification.h, by the
 * test's clock. Any number of stores share the rows; a test orders what their calls give.
 *
 * Calls are counted by their kind, over all stores, from 1. For one thread at a time. */
#ifndef TILLBOX_TESTS_SUPPORT_FAKE_NOTIFICATION_STORE_H
#define TILLBOX_TESTS_SUPPORT_FAKE_NOTIFICATION_STORE_H

#include "bridge/notification/notification_store.h"
#include "tests/support/fake_clock.h"

enum fake_store_call {
    FAKE_STORE_CONNECT,
    FAKE_STORE_CLAIM,
    FAKE_STORE_MARK_SENT,
    FAKE_STORE_MARK_FAILED,
    FAKE_STORE_CALLS,
};

enum { FAKE_STORE_ROWS_MAX = 128, FAKE_STORE_FOR_EVER = 1 << 30, FAKE_STORE_REASON_SIZE = 128 };

struct fake_store_fault {
    int nth, times;        /* 0: none */
    enum delivery verdict; /* DELIVERY_DONE: the call is late, and that is all */
    int64_t late_ms;       /* the clock moves so far before the call does its work */
    bool is_answer_lost;   /* the work is done, whatever the verdict */
};

enum fake_row_status { FAKE_ROW_PENDING, FAKE_ROW_SENDING, FAKE_ROW_SENT, FAKE_ROW_FAILED };

struct fake_row {
    struct notification notification; /* its id is its place among the rows */
    enum channel_kind channel;
    enum fake_row_status status;
    int64_t due_ms;
    int marked_sent, marked_failed; /* how often that changed the row */
    char reason[FAKE_STORE_REASON_SIZE];
};

struct fake_notification_store {
    struct fake_clock *clock;
    struct fake_row rows[FAKE_STORE_ROWS_MAX]; /* the first isn't used */
    int64_t row_count;
    int calls[FAKE_STORE_CALLS];
    struct fake_store_fault faults[FAKE_STORE_CALLS];
    int open, connected; /* stores that aren't freed, or closed */
    void (*on_call)(enum fake_store_call call, void *context); /* before each; NULL: nothing */
    void *context;
};

void fake_store_init(struct fake_notification_store *fake, struct fake_clock *clock);

/* A store on the rows of `fake`, which must stay where it is. */
void fake_store_open(struct fake_notification_store *fake, struct notification_store *ret_store);

/* Adds a message that is due now; returns its id, from 1. */
int64_t fake_store_add(struct fake_notification_store *fake, enum channel_kind channel);

void fake_store_fail(struct fake_notification_store *fake, enum fake_store_call call,
                     struct fake_store_fault fault);

#endif
