/* The one thread that writes the journal.
 *
 * It takes what has queued, executes all of it in one transaction with a savepoint per command,
 * commits, and only then lets the answers go. While it waits for the disk the next batch queues:
 * the group commit needs no timer, and one sale alone waits for one flush.
 *
 *   IDLE -> EXECUTING, PRUNING, CLOSED
 *   EXECUTING -> COMMITTING, ANSWERING
 *   COMMITTING -> EXECUTING, ANSWERING
 *   ANSWERING -> CHECKPOINTING, FAILED
 *   CHECKPOINTING -> EXPIRING, FAILED
 *   EXPIRING -> IDLE, PRUNING, FAILED
 *   PRUNING -> IDLE, FAILED
 *   FAILED -> CLOSED
 *   CLOSED
 *
 * A batch that can't be committed fails whole: nobody in it is answered as if it had been. When the
 * disk is full the reserve is given back and the batch tried once more. A failed flush is final
 * (after it the kernel may have dropped what it could not write): every later command is refused
 * and `on_fatal` is told, so that the process ends and the next start finds out what the disk
 * holds. */
#ifndef TILLBOX_APPLIANCE_COMMITTER_H
#define TILLBOX_APPLIANCE_COMMITTER_H

#include "appliance/command.h"
#include "appliance/disk.h"
#include "appliance/journal.h"
#include "core/clock.h"
#include "core/machine.h"

enum {
    COMMITTER_QUEUE_MAX = 1024,
    COMMITTER_BATCH_MAX = 256,
    COMMITTER_BUCKETS = 12,
};

enum committer_state {
    COMMITTER_IDLE,       /* between two batches; waits where nothing has queued */
    COMMITTER_EXECUTING,  /* the batch, in a transaction; once more with the reserve given back */
    COMMITTER_COMMITTING, /* … and the flush */
    COMMITTER_ANSWERING,  /* the batch is durable, or has failed whole */
    COMMITTER_CHECKPOINTING, /* the WAL, if it has grown */
    COMMITTER_EXPIRING,      /* a few of the old Idempotency-Keys */
    COMMITTER_PRUNING,       /* a few of the old events */
    COMMITTER_FAILED,        /* a flush has failed: refuses what has queued */
    COMMITTER_CLOSED,        /* the end */
};

extern const struct machine_table COMMITTER_MACHINE;

struct committer;

struct committer_options {
    struct journal *journal; /* used by no one else while the committer runs */
    struct disk *disk;
    const struct clock *clock;
    int64_t answers_kept_ms;          /* how long an Idempotency-Key is remembered */
    void (*on_commit)(void *context); /* events have been made durable; NULL: nobody cares */
    void (*on_fatal)(void *context);
    void *context;
};

/* Counted since the start. */
struct committer_stats {
    uint64_t events[5]; /* appended, by enum command_kind */
    uint64_t refused;
    uint64_t failed;   /* commands that got an error of the box */
    uint64_t replayed; /* answers given again under their key */
    uint64_t batches;
    uint64_t commit_buckets[COMMITTER_BUCKETS]; /* commits that took up to committer_bucket_us() */
    uint64_t commit_us;
    int queued;
    int queued_most;
    bool healthy; /* the last batch could be committed */
};

/* Without a thread: somebody calls committer_step(). */
MUST_CHECK enum result committer_new(const struct committer_options *options,
                                     struct committer **ret_committer, struct error *error);

/* One step; `now_ms` is a moment of the monotonic clock. Gives the milliseconds to wait before the
 * next one: 0, or CLOCK_FOREVER where only another call to the committer makes work. */
int64_t committer_step(struct committer *committer, int64_t now_ms);

/* The state, and the transitions so far: for whoever steps, or once the thread has ended. */
const struct machine *committer_machine(const struct committer *committer);

/* Makes a committer and a thread that steps it. */
MUST_CHECK enum result committer_start(const struct committer_options *options,
                                       struct committer **ret_committer, struct error *error);

/* Hands a command over; its `done` will be called in a step. RESULT_BUSY if the queue is full,
 * RESULT_CLOSED if the committer is stopping or has failed: then it won't. */
MUST_CHECK enum result committer_submit(struct committer *committer, struct command *command);

/* Lets the committer remove events up to `through` that happened before `before_ms`, a few at a
 * time between batches. Called again now and then, as head office comes along. */
void committer_prune_events(struct committer *committer, int64_t through, int64_t before_ms);

/* Later submissions get RESULT_CLOSED. The thread works off what has queued, then ends; without one
 * that is left to whoever steps, up to COMMITTER_CLOSED. */
void committer_stop(struct committer *committer);

/* Stops it first if that hasn't been done. What is still queued then, where there was no thread, is
 * never answered. */
void committer_free(struct committer *committer);

void committer_stats(struct committer *committer, struct committer_stats *ret_stats);

/* Has it gone round since this was last asked? Wakes it, so that one that idles will have.
 * Asked by one thread. */
bool committer_has_moved(struct committer *committer);

/* The upper bound of a bucket in microseconds; the last one is INT64_MAX. */
int64_t committer_bucket_us(int bucket);

#endif
