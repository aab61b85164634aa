#include "appliance/committer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

enum { BUSY_RETRY_S = 1, DISK_RETRY_S = 30, EXPIRE_EVERY_MS = 10000 };

#define TO MACHINE_NEXT
static const struct machine_state STATES[] = {
    [COMMITTER_IDLE] = {"IDLE",
                        TO(COMMITTER_EXECUTING) | TO(COMMITTER_PRUNING) | TO(COMMITTER_CLOSED)},
    [COMMITTER_EXECUTING] = {"EXECUTING", TO(COMMITTER_COMMITTING) | TO(COMMITTER_ANSWERING)},
    [COMMITTER_COMMITTING] = {"COMMITTING", TO(COMMITTER_EXECUTING) | TO(COMMITTER_ANSWERING)},
    [COMMITTER_ANSWERING] = {"ANSWERING", TO(COMMITTER_CHECKPOINTING) | TO(COMMITTER_FAILED)},
    [COMMITTER_CHECKPOINTING] = {"CHECKPOINTING", TO(COMMITTER_EXPIRING) | TO(COMMITTER_FAILED)},
    [COMMITTER_EXPIRING] = {"EXPIRING",
                            TO(COMMITTER_IDLE) | TO(COMMITTER_PRUNING) | TO(COMMITTER_FAILED)},
    [COMMITTER_PRUNING] = {"PRUNING", TO(COMMITTER_IDLE) | TO(COMMITTER_FAILED)},
    [COMMITTER_FAILED] = {"FAILED", TO(COMMITTER_CLOSED)},
    [COMMITTER_CLOSED] = {"CLOSED", 0},
};
#undef TO
const struct machine_table COMMITTER_MACHINE = {"committer", STATES, ARRAY_LENGTH(STATES)};

struct queue {
    struct command *first;
    struct command **last;
    int length;
};

struct committer {
    struct committer_options options;
    pthread_t thread;
    bool has_thread;      /* that hasn't been joined; the stopper's own */
    pthread_mutex_t lock; /* what follows, up to the step's own */
    pthread_cond_t wake;
    struct queue queue;
    struct committer_stats stats;
    int64_t prune_through;   /* events up to here … */
    int64_t prune_before_ms; /* … from before then … */
    bool pruning;            /* … may be removed, if there are any */
    bool closed;
    bool woken;      /* to show that it moves */
    uint64_t rounds; /* of looking for work */
    uint64_t rounds_seen;

    /* The step's own: */
    struct machine machine;
    struct command *batch; /* taken and not yet answered */
    enum result outcome;   /* of the batch */
    int64_t began_ns;      /* the batch, by the monotonic clock */
    bool checkpoint_failing;
    int64_t expiry_due_ms;
    int64_t trusted_wall_ms; /* as of … */
    int64_t trusted_at_ms;   /* … this moment of the monotonic clock */
    struct event appended[COMMITTER_BATCH_MAX];
};

static const int64_t BUCKETS_US[COMMITTER_BUCKETS] = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, INT64_MAX};

static enum committer_state committer_state(const struct committer *committer)
{
    return (enum committer_state)committer->machine.state;
}

int64_t committer_bucket_us(int bucket)
{
    return BUCKETS_US[bucket];
}

static void queue_init(struct queue *queue)
{
    *queue = (struct queue){.last = &queue->first};
}

static void queue_push(struct queue *queue, struct command *command)
{
    command->next = NULL;
    *queue->last = command;
    queue->last = &command->next;
    queue->length++;
}

/* Takes up to `most` commands off the front, in order. */
static struct command *queue_take(struct queue *queue, int most)
{
    struct command *batch = queue->first;
    struct command **end = &queue->first;
    for (int taken = 0; taken < most && *end; taken++, queue->length--)
        end = &(*end)->next;
    queue->first = *end;
    *end = NULL;
    if (!queue->first)
        queue->last = &queue->first;
    return batch;
}

static void fail_command(struct command *command, enum result result)
{
    struct http_reply *reply = command->reply;
    command->has_event = false;
    reply->location[0] = '\0';
    if (result == RESULT_DISK_FULL) {
        reply_problem(reply, PROBLEM_DISK_FULL, "the change was not made; free some disk space");
        reply->retry_after_s = DISK_RETRY_S;
    } else {
        reply_problem(reply, PROBLEM_INTERNAL, "the change was not made: %s",
                      result == RESULT_NOT_FOUND ? "the journal's file isn't there any more"
                                                 : result_text(result));
    }
    if (result == RESULT_SYNC_FAILED || result == RESULT_IO)
        reply_problem(reply, PROBLEM_INTERNAL,
                      "it isn't known whether the change was made: %s; ask again with the same "
                      "Idempotency-Key",
                      result_text(result));
}

/* Is the key's first use in this batch, and so not durable yet? */
static bool committer_is_in_flight(const struct command *batch, const struct command *command)
{
    for (; batch != command; batch = batch->next)
        if (batch->keeps_answer && memcmp(batch->key, command->key, JOURNAL_KEY_SIZE) == 0)
            return true;
    return false;
}

/* RESULT_OK: the reply is there, from an earlier use of the key or because the key can't be used.
 * RESULT_NOT_FOUND: the command is new. */
static enum result answer_again(struct committer *committer, const struct command *batch,
                                struct command *command, struct error *error)
{
    struct journal_answer answer;
    struct http_reply *reply = command->reply;
    enum result result =
        journal_find_answer(committer->options.journal, command->key, &answer, &reply->body, error);
    if (result != RESULT_OK)
        return result;
    if (committer_is_in_flight(batch, command)) {
        reply_problem(reply, PROBLEM_IN_FLIGHT, "the first request with this key isn't done yet");
        reply->retry_after_s = BUSY_RETRY_S;
    } else if (memcmp(answer.request_hash, command->request_hash, SHA256_SIZE) != 0) {
        reply_problem(reply, PROBLEM_KEY_REUSED, "the key was used for another request before");
    } else {
        reply->status = answer.status;
        reply->content_type = answer.status < 400 ? "application/json" : "application/problem+json";
        memcpy(reply->location, answer.location, sizeof reply->location);
    }
    return RESULT_OK;
}

static enum result keep_answer(struct journal *journal, struct command *command, int64_t now_ms,
                               struct error *error)
{
    struct journal_answer answer = {.status = command->reply->status};
    memcpy(answer.location, command->reply->location, sizeof answer.location);
    memcpy(answer.request_hash, command->request_hash, sizeof answer.request_hash);
    enum result result =
        journal_insert_answer(journal, command->key, &answer, &command->reply->body, now_ms, error);
    command->keeps_answer = result == RESULT_OK;
    return result;
}

/* The command inside its savepoint, which anything but success rolls back. `*ret_contained` tells
 * whether the savepoint did its work: otherwise only the whole batch can be taken back. */
static enum result execute_in_savepoint(struct journal *journal, struct command *command,
                                        int64_t now_ms, bool *ret_contained, struct error *error)
{
    *ret_contained = false;
    enum result result = journal_savepoint(journal, error);
    if (result != RESULT_OK)
        return result;
    enum result outcome = command_execute(command, journal, now_ms, error);
    if (buf_result(&command->reply->body) != RESULT_OK)
        outcome = error_set(error, RESULT_NO_MEMORY, "no memory for the answer");
    if (outcome == RESULT_OK)
        result = journal_release(journal, error);
    else
        result = journal_rollback_to_savepoint(journal, error);
    *ret_contained = result == RESULT_OK;
    return result == RESULT_OK ? outcome : result;
}

/* A failure that more than this one command will meet. */
static bool is_of_the_disk(enum result result)
{
    return result == RESULT_DISK_FULL || result == RESULT_IO || result == RESULT_SYNC_FAILED;
}

/* The box's fault, but this command's alone. */
static enum result fail_alone(struct command *command, enum result result,
                              const struct error *error)
{
    LOG(LOG_ERROR, "command.failed", LOG_TEXT("error", error->text));
    fail_command(command, result);
    return RESULT_OK;
}

static enum result execute(struct committer *committer, const struct command *batch,
                           struct command *command, struct error *error)
{
    struct journal *journal = committer->options.journal;
    int64_t now_ms = clock_wall_ms(committer->options.clock);
    buf_clear(&command->reply->body);
    command->has_event = command->keeps_answer = false;
    if (command->has_key) {
        enum result found = answer_again(committer, batch, command, error);
        if (found != RESULT_OK && found != RESULT_NOT_FOUND && !is_of_the_disk(found))
            return fail_alone(command, found, error);
        if (found != RESULT_NOT_FOUND)
            return found;
    }
    if (disk_stage(committer->options.disk) == DISK_LOW && !command_is_sale(command)) {
        fail_command(command, RESULT_DISK_FULL);
        return RESULT_OK;
    }
    bool contained = false;
    enum result result = execute_in_savepoint(journal, command, now_ms, &contained, error);
    if (!contained || is_of_the_disk(result))
        return result;
    if (result != RESULT_OK && result != RESULT_REFUSED)
        return fail_alone(command, result, error);
    return command->has_key ? keep_answer(journal, command, now_ms, error) : RESULT_OK;
}

/* Up to the COMMIT. On anything but RESULT_OK it has been rolled back. */
static enum result execute_batch(struct committer *committer, struct error *error)
{
    struct journal *journal = committer->options.journal;
    struct command *batch = committer->batch;
    enum result result = journal_begin(journal, error);
    if (result != RESULT_OK)
        return result;
    for (struct command *command = batch; command && result == RESULT_OK; command = command->next)
        result = execute(committer, batch, command, error);
    if (result != RESULT_OK)
        journal_rollback(journal);
    return result;
}

/* Nobody in a batch that was rolled back may be answered as if it had not been. */
static void fail_batch(const struct committer *committer, const struct error *error)
{
    LOG(LOG_ERROR, "batch.failed", LOG_TEXT("result", result_text(committer->outcome)),
        LOG_TEXT("error", error->text));
    for (struct command *command = committer->batch; command; command = command->next)
        fail_command(command, committer->outcome);
}

/* A batch of refusals writes nothing, and so says nothing about the disk. */
static bool has_written(const struct command *batch)
{
    for (; batch; batch = batch->next)
        if (batch->has_event || batch->keeps_answer)
            return true;
    return false;
}

static int bucket_of(int64_t duration_us)
{
    int bucket = 0;
    while (duration_us > BUCKETS_US[bucket])
        bucket++;
    return bucket;
}

static void count_command(struct committer_stats *stats, const struct command *command)
{
    if (command->has_event)
        stats->events[command->kind]++;
    else if (command->reply->status >= 500)
        stats->failed++;
    else if (command->reply->status >= 400)
        stats->refused++;
    else
        stats->replayed++;
}

static void count_batch(struct committer *committer)
{
    struct committer_stats *stats = &committer->stats;
    int64_t ended_ns = clock_monotonic_ns(committer->options.clock);
    int64_t duration_us = (ended_ns - committer->began_ns) / 1000;
    bool written = has_written(committer->batch);
    if (committer->outcome == RESULT_OK && written)
        disk_note_success(committer->options.disk);
    pthread_mutex_lock(&committer->lock);
    if (committer->outcome != RESULT_OK || written)
        stats->healthy = committer->outcome == RESULT_OK;
    for (const struct command *command = committer->batch; command; command = command->next)
        count_command(stats, command);
    stats->batches++;
    stats->commit_us += (uint64_t)duration_us;
    stats->commit_buckets[bucket_of(duration_us)]++;
    pthread_mutex_unlock(&committer->lock);
}

/* Lets the answers go. From here the commands belong to their submitters again. */
static int answer_batch(struct committer *committer)
{
    int appended = 0;
    while (committer->batch) {
        struct command *command = committer->batch;
        committer->batch = command->next;
        if (command->has_event)
            committer->appended[appended++] = command->event;
        command->done(command);
    }
    return appended;
}

/* Wakes the bridge and logs the events, once the answers are out. */
static void report_events(const struct committer *committer, int count)
{
    const struct event *events = committer->appended;
    if (count > 0 && committer->options.on_commit)
        committer->options.on_commit(committer->options.context);
    for (int i = 0; i < count; i++)
        LOG(LOG_INFO, events[i].event_type, LOG_INT("sequence", events[i].sequence),
            LOG_TEXT("event_id", events[i].event_id));
}

/* Reports a failing checkpoint when it begins and when it ends, not each time. */
static enum result checkpoint(struct committer *committer)
{
    struct error error = {0};
    enum result result = journal_checkpoint_if_due(committer->options.journal, &error);
    bool failing = result != RESULT_OK && result != RESULT_BUSY;
    if (failing && !committer->checkpoint_failing)
        LOG(LOG_ERROR, "checkpoint.failing", LOG_TEXT("error", error.text));
    if (!failing && committer->checkpoint_failing)
        LOG(LOG_INFO, "checkpoint.recovered");
    committer->checkpoint_failing = failing;
    return result;
}

/* The wall clock, but for its leaps forward: a clock that is set right must not make this morning's
 * keys look days old. */
static int64_t trusted_wall_ms(struct committer *committer, int64_t now_ms)
{
    int64_t wall_ms = clock_wall_ms(committer->options.clock);
    int64_t most_ms = committer->trusted_wall_ms + (now_ms - committer->trusted_at_ms);
    if (wall_ms < most_ms)
        most_ms = wall_ms;
    committer->trusted_wall_ms = most_ms;
    committer->trusted_at_ms = now_ms;
    return most_ms;
}

/* Forgets old keys, a few at a time; goes on at once where there are more. */
static enum result expire_answers(struct committer *committer, int64_t now_ms)
{
    struct error error = {0};
    int64_t removed = 0;
    if (now_ms < committer->expiry_due_ms)
        return RESULT_OK;
    int64_t before_ms = trusted_wall_ms(committer, now_ms) - committer->options.answers_kept_ms;
    enum result result =
        journal_sweep_answers(committer->options.journal, before_ms, &removed, &error);
    if (result != RESULT_OK)
        LOG(LOG_WARN, "sweep.failed", LOG_TEXT("error", error.text));
    if (removed < JOURNAL_KEYS_SWEPT)
        committer->expiry_due_ms = now_ms + EXPIRE_EVERY_MS;
    return result;
}

static bool may_prune(struct committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    bool may = committer->pruning && !committer->closed;
    pthread_mutex_unlock(&committer->lock);
    return may;
}

/* Removes a few old events. */
static enum result prune_events(struct committer *committer)
{
    struct error error = {0};
    int64_t removed = 0;
    pthread_mutex_lock(&committer->lock);
    int64_t through = committer->prune_through, before_ms = committer->prune_before_ms;
    pthread_mutex_unlock(&committer->lock);
    enum result result =
        journal_remove_events(committer->options.journal, through, before_ms, &removed, &error);
    pthread_mutex_lock(&committer->lock);
    bool newer = committer->prune_through != through || committer->prune_before_ms != before_ms;
    if (removed < JOURNAL_EVENTS_REMOVED && !newer) /* else what came meanwhile would be lost */
        committer->pruning = false;
    pthread_mutex_unlock(&committer->lock);
    if (result == RESULT_OK)
        result = checkpoint(committer);
    if (result != RESULT_OK && result != RESULT_BUSY)
        LOG(LOG_WARN, "retention.failed", LOG_TEXT("error", error.text));
    return result;
}

/* The disk refused to flush: nothing may be written any more. */
static void give_up(struct committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    committer->closed = true;
    committer->stats.healthy = false;
    pthread_mutex_unlock(&committer->lock);
    committer->options.on_fatal(committer->options.context);
}

/* What has queued comes before what is to be removed, and both before the end. */
static enum committer_state take_work(struct committer *committer)
{
    enum committer_state next = COMMITTER_IDLE;
    pthread_mutex_lock(&committer->lock);
    committer->batch = queue_take(&committer->queue, COMMITTER_BATCH_MAX);
    if (committer->batch)
        next = COMMITTER_EXECUTING;
    else if (committer->closed)
        next = COMMITTER_CLOSED;
    else if (committer->pruning)
        next = COMMITTER_PRUNING;
    committer->woken = false;
    committer->rounds++;
    pthread_mutex_unlock(&committer->lock);
    committer->began_ns = clock_monotonic_ns(committer->options.clock);
    return next;
}

/* After a failed flush. False when there was none. */
static bool refuse_batch(struct committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    committer->batch = queue_take(&committer->queue, COMMITTER_BATCH_MAX);
    pthread_mutex_unlock(&committer->lock);
    if (!committer->batch)
        return false;
    for (struct command *command = committer->batch; command; command = command->next)
        fail_command(command, RESULT_SYNC_FAILED);
    answer_batch(committer);
    return true;
}

/* A batch that can't be committed: once more, if the disk was full and there is a reserve to give
 * back, or it fails whole. */
static enum committer_state take_back(struct committer *committer, const struct error *error)
{
    if (committer->outcome == RESULT_DISK_FULL && disk_release_reserve(committer->options.disk))
        return COMMITTER_EXECUTING;
    fail_batch(committer, error);
    return COMMITTER_ANSWERING;
}

int64_t committer_step(struct committer *committer, int64_t now_ms)
{
    struct error error = {0};
    enum result result = RESULT_OK;
    enum committer_state state = committer_state(committer), next = state;
    switch (state) {
    case COMMITTER_IDLE:
        next = take_work(committer);
        break;
    case COMMITTER_EXECUTING:
        committer->outcome = execute_batch(committer, &error);
        next =
            committer->outcome == RESULT_OK ? COMMITTER_COMMITTING : take_back(committer, &error);
        break;
    case COMMITTER_COMMITTING:
        committer->outcome = journal_commit(committer->options.journal, &error);
        next = committer->outcome == RESULT_OK ? COMMITTER_ANSWERING : take_back(committer, &error);
        break;
    case COMMITTER_ANSWERING:
        count_batch(committer);
        report_events(committer, answer_batch(committer));
        result = committer->outcome;
        next = COMMITTER_CHECKPOINTING;
        break;
    case COMMITTER_CHECKPOINTING:
        result = checkpoint(committer);
        next = COMMITTER_EXPIRING;
        break;
    case COMMITTER_EXPIRING:
        result = expire_answers(committer, now_ms);
        next = may_prune(committer) ? COMMITTER_PRUNING : COMMITTER_IDLE;
        break;
    case COMMITTER_PRUNING:
        result = prune_events(committer);
        next = COMMITTER_IDLE;
        break;
    case COMMITTER_FAILED:
        next = refuse_batch(committer) ? COMMITTER_FAILED : COMMITTER_CLOSED;
        break;
    case COMMITTER_CLOSED:
        break;
    }
    if (result == RESULT_SYNC_FAILED)
        next = COMMITTER_FAILED;
    machine_move(&committer->machine, (int)next);
    if (result == RESULT_SYNC_FAILED)
        give_up(committer);
    bool idles = next == state && (state == COMMITTER_IDLE || state == COMMITTER_CLOSED);
    return idles ? CLOCK_FOREVER : 0;
}

const struct machine *committer_machine(const struct committer *committer)
{
    return &committer->machine;
}

static void committer_wait(struct committer *committer, int64_t wait_ms)
{
    const struct clock *clock = committer->options.clock;
    int64_t until_ns = clock_deadline_ns(clock, wait_ms);
    bool is_late = false;
    if (wait_ms <= 0)
        return;
    pthread_mutex_lock(&committer->lock);
    while (!committer->queue.first && !committer->closed && !committer->pruning &&
           !committer->woken && !is_late)
        is_late = clock_wait(clock, &committer->wake, &committer->lock, until_ns);
    pthread_mutex_unlock(&committer->lock);
}

static void *committer_run(void *context)
{
    struct committer *committer = context;
    while (committer_state(committer) != COMMITTER_CLOSED)
        committer_wait(committer,
                       committer_step(committer, clock_monotonic_ms(committer->options.clock)));
    return NULL;
}

enum result committer_new(const struct committer_options *options, struct committer **ret_committer,
                          struct error *error)
{
    struct committer *committer = calloc(1, sizeof *committer);
    if (!committer)
        return error_set(error, RESULT_NO_MEMORY, "no memory for the committer");
    committer->options = *options;
    committer->trusted_wall_ms = clock_wall_ms(options->clock);
    committer->trusted_at_ms = clock_monotonic_ms(options->clock);
    committer->stats.healthy = true;
    machine_init(&committer->machine, &COMMITTER_MACHINE);
    queue_init(&committer->queue);
    pthread_mutex_init(&committer->lock, NULL);
    pthread_cond_init(&committer->wake, NULL);
    *ret_committer = committer;
    return RESULT_OK;
}

enum result committer_start(const struct committer_options *options,
                            struct committer **ret_committer, struct error *error)
{
    struct committer *committer = NULL;
    enum result result = committer_new(options, &committer, error);
    if (result != RESULT_OK)
        return result;
    if (pthread_create(&committer->thread, NULL, committer_run, committer) != 0) {
        committer_free(committer);
        return error_set(error, RESULT_NO_MEMORY, "the committer's thread doesn't start");
    }
    committer->has_thread = true;
    *ret_committer = committer;
    return RESULT_OK;
}

enum result committer_submit(struct committer *committer, struct command *command)
{
    enum result result = RESULT_OK;
    pthread_mutex_lock(&committer->lock);
    if (committer->closed)
        result = RESULT_CLOSED;
    else if (committer->queue.length >= COMMITTER_QUEUE_MAX)
        result = RESULT_BUSY;
    else
        queue_push(&committer->queue, command);
    if (committer->queue.length > committer->stats.queued_most)
        committer->stats.queued_most = committer->queue.length;
    bool first = committer->queue.length == 1;
    pthread_mutex_unlock(&committer->lock);
    if (result == RESULT_OK && first)
        pthread_cond_signal(&committer->wake);
    return result;
}

void committer_prune_events(struct committer *committer, int64_t through, int64_t before_ms)
{
    pthread_mutex_lock(&committer->lock);
    committer->pruning = true;
    committer->prune_through = through;
    committer->prune_before_ms = before_ms;
    pthread_mutex_unlock(&committer->lock);
    pthread_cond_signal(&committer->wake);
}

void committer_stop(struct committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    committer->closed = true;
    pthread_mutex_unlock(&committer->lock);
    pthread_cond_signal(&committer->wake);
    if (committer->has_thread)
        pthread_join(committer->thread, NULL);
    committer->has_thread = false;
}

void committer_free(struct committer *committer)
{
    if (!committer)
        return;
    committer_stop(committer);
    pthread_cond_destroy(&committer->wake);
    pthread_mutex_destroy(&committer->lock);
    free(committer);
}

bool committer_has_moved(struct committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    bool moved = committer->rounds != committer->rounds_seen;
    committer->rounds_seen = committer->rounds;
    committer->woken = true;
    pthread_mutex_unlock(&committer->lock);
    pthread_cond_signal(&committer->wake);
    return moved;
}

void committer_stats(struct committer *committer, struct committer_stats *ret_stats)
{
    pthread_mutex_lock(&committer->lock);
    *ret_stats = committer->stats;
    ret_stats->queued = committer->queue.length;
    pthread_mutex_unlock(&committer->lock);
}
