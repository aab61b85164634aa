/* An appliance without its HTTP side, in a temporary folder, with a clock that the test turns; and
 * the requests that a test makes to it. */
#ifndef TILLBOX_TESTS_SUPPORT_APPLIANCE_FIXTURE_H
#define TILLBOX_TESTS_SUPPORT_APPLIANCE_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "appliance/command.h"
#include "appliance/committer.h"
#include "appliance/disk.h"
#include "appliance/journal.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_random.h"
#include "tests/support/folder.h"

/* Where the fixture's clock stands at first: 2026-01-31T09:05:00.250Z. */
static const int64_t FIXTURE_NOW_MS = 1769850300250;
enum { FIXTURE_ANSWERS_KEPT_MS = 3600000 };

struct fixture {
    struct folder folder;
    struct fake_clock clock;
    struct fake_random random;
    struct journal_options options; /* a test may change them before it opens the journal */
    int64_t reserve_bytes;          /* likewise; 0 at first */
    bool is_stepped;                /* likewise: the committer has no thread, the test steps it */
    struct disk *disk;
    struct journal *journal;
    struct committer *committer;
    atomic_int fatal_calls, commit_calls;
    pthread_mutex_t lock; /* what follows, and what requests share with the committer's thread */
    pthread_cond_t changed;
    int answers;
    bool holds;
    struct request *gate;
};

/* Makes the folder and nothing in it. From here on nothing is logged, and tests/support/fault_vfs.h
 * stands between SQLite and the disk. */
void fixture_init(struct fixture *fixture);

/* Lets go of whatever is open and removes the folder. */
void fixture_done(struct fixture *fixture);

/* The disk and the journal. */
MUST_CHECK enum result fixture_open(struct fixture *fixture, struct error *error);

/* The same and the committer. Its transitions are noted when it is let go of: machine_check.h. */
MUST_CHECK enum result fixture_start(struct fixture *fixture, struct error *error);

/* Works off what has queued and closes the journal. */
MUST_CHECK enum result fixture_stop(struct fixture *fixture, struct error *error);

/* Lets go of the journal as a crash would. */
void fixture_crash(struct fixture *fixture);

/* What is submitted between these two becomes one batch, or several full ones. */
void fixture_hold(struct fixture *fixture);
void fixture_release(struct fixture *fixture);

/* See journal_ask() and journal_audit(); the latter fails the test unless all is well. */
int64_t fixture_ask(const struct fixture *fixture, const char *sql);
void fixture_audit(const struct fixture *fixture);

struct request {
    struct command command;
    struct http_reply reply;
    struct fixture *fixture;
    bool is_answered;
    int rank;                                   /* the fixture's how many-th answer this is */
    void (*on_answer)(struct request *request); /* in the committer's thread; NULL: nothing */
};

/* Each is owned by the caller: request_free(), once it is answered or was never taken. */
struct request *request_product(struct fixture *fixture, const char *name, int64_t stock,
                                int64_t price_minor);
struct request *request_order(struct fixture *fixture, int64_t user_id, int64_t product_id,
                              int64_t quantity);
struct request *request_cancel(struct fixture *fixture, int64_t order_id);
struct request *request_adjustment(struct fixture *fixture, int64_t product_id, int64_t delta);

/* An order of product 1 in as many lines as there may be. REQUEST_LARGE_ORDERS of these fill the
 * WAL so far that a checkpoint is due. */
enum { REQUEST_LARGE_ORDERS = 50 };
struct request *request_large_order(struct fixture *fixture);

void request_free(struct request *request);

/* As with an Idempotency-Key. */
void request_set_key(struct request *request, const char *key, const char *body);

/* As committer_submit(); RESULT_CLOSED also where there is no committer. */
MUST_CHECK enum result request_submit(struct request *request);

/* Waits for the answer and returns its status. */
int request_wait(struct request *request);

/* Submits and waits; 503 if it isn't taken. */
int request_do(struct request *request);

/* request_do() with a request that is freed again. */
int request_do_once(struct request *request);

#endif
