#include "bridge/pump.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/breaker.h"
#include "core/log.h"
#include "core/retry.h"
#include "core/utf8.h"

enum { PAGE_BYTES = 4 << 20 };

static const int64_t ENDED_MS = INT64_MAX;

struct pump {
    struct pump_options options;
    pthread_t thread;
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t wake;
    bool nudged;
    bool stopping;

    atomic_int_least64_t moved_ms; /* when the thread was last seen between two steps */

    /* The thread's own: */
    struct journal_reader *journal;
    struct journal_info info;
    bool attached;
    int64_t cursor;
    struct breaker breaker;
    uint64_t generation; /* of the breaker, for the step under way */
    struct retry retry;
    int attempts; /* of the event after the cursor */
    enum sink_state noted_state;
    enum breaker_state noted_breaker;
    struct journal_page page;
    size_t *indexes;         /* of the events to deliver */
    enum delivery *outcomes; /* of these, in the same order */
    bool *blocked;           /* one an event of the page: parked, or behind a parked one */
    struct parked *parked;   /* rows to write */
    int64_t dead_letters_due_ms;
};

/* What a step of the pump ends with. */
enum step {
    STEP_ON,   /* there may be more to do at once */
    STEP_IDLE, /* nothing to do until a nudge */
    STEP_WAIT, /* the peer is down or said no: wait before the next try */
    STEP_STOP, /* a person is needed */
};

static const char *name_of(const struct pump *pump)
{
    return pump->options.sink.ops->name;
}

static int64_t now_ms(const struct pump *pump)
{
    return clock_monotonic_ms(pump->options.clock);
}

/* Writes the state down when it changes, and every error. */
static void note(struct pump *pump, enum sink_state state, const char *reason)
{
    struct error error = {0};
    enum breaker_state breaker = breaker_state(&pump->breaker, now_ms(pump));
    if (state == pump->noted_state && breaker == pump->noted_breaker && !reason)
        return;
    if (state != pump->noted_state || breaker != pump->noted_breaker)
        LOG(state == SINK_RUNNING ? LOG_INFO : LOG_WARN, "sink.state",
            LOG_TEXT("sink", name_of(pump)), LOG_TEXT("state", sink_state_text(state)),
            LOG_TEXT("breaker", breaker_state_text(breaker)),
            LOG_TEXT("reason", reason ? reason : ""));
    pump->noted_state = state;
    pump->noted_breaker = breaker;
    if (pump->journal && ledger_note_state(pump->options.ledger, name_of(pump), state, breaker,
                                           reason, &error) != RESULT_OK)
        LOG(LOG_WARN, "ledger.failed", LOG_TEXT("error", error.text));
}

static enum step stop_sink(struct pump *pump, const struct error *error)
{
    note(pump, SINK_STOPPED, error->text);
    LOG(LOG_ERROR, "sink.stopped", LOG_TEXT("sink", name_of(pump)),
        LOG_TEXT("reason", error->text));
    return STEP_STOP;
}

/* Our own files can't be read or written: that is no outage of the peer, and may pass. */
static enum step wait_for_files(struct pump *pump, const struct error *error)
{
    breaker_withdraw(&pump->breaker, pump->generation);
    note(pump, SINK_DOWN, error->text);
    LOG(LOG_WARN, "pump.files", LOG_TEXT("sink", name_of(pump)), LOG_TEXT("error", error->text));
    return STEP_WAIT;
}

static enum step go_down(struct pump *pump, const struct error *error)
{
    breaker_report(&pump->breaker, pump->generation, false, now_ms(pump));
    pump->options.sink.ops->detach(pump->options.sink.self);
    pump->attached = false;
    note(pump, SINK_DOWN, error->text);
    return STEP_WAIT;
}

/* The journal must be the one that the cursor was moved along: one that was restored from a backup
 * gives sequences to new sales that others had before. */
static enum result compare_journal(struct pump *pump, const struct ledger_sink *row,
                                   struct error *error)
{
    uint8_t hash[SHA256_SIZE];
    enum result result = journal_reader_hash(pump->journal, row->cursor, hash, error);
    if (result == RESULT_OK && memcmp(hash, row->cursor_hash, sizeof hash) == 0)
        return RESULT_OK;
    if (result != RESULT_OK && result != RESULT_NOT_FOUND)
        return result;
    return error_set(error, RESULT_CONFLICT,
                     "the journal has not the event %lld that this sink had reached: the journal "
                     "was restored from a backup, bridge.db was not",
                     (long long)row->cursor);
}

static enum result read_cursor(struct pump *pump, struct error *error)
{
    struct ledger_sink row;
    uint8_t anchor_hash[SHA256_SIZE];
    enum result result =
        journal_reader_hash(pump->journal, pump->info.anchor_sequence, anchor_hash, error);
    if (result == RESULT_OK)
        result = ledger_attach(pump->options.ledger, name_of(pump), pump->info.journal_id,
                               pump->info.anchor_sequence, anchor_hash, error);
    if (result == RESULT_OK)
        result = ledger_find_sink(pump->options.ledger, name_of(pump), &row, error);
    if (result == RESULT_OK)
        result = compare_journal(pump, &row, error);
    if (result == RESULT_OK)
        pump->cursor = row.cursor;
    return result;
}

/* The journal may not be there yet: the appliance makes it. */
static enum step open_journal(struct pump *pump)
{
    struct error error = {0};
    enum result result = journal_reader_open(pump->options.data_dir, &pump->journal, &error);
    if (result == RESULT_OK)
        result = journal_reader_info(pump->journal, &pump->info, &error);
    if (result == RESULT_OK)
        result = read_cursor(pump, &error);
    if (result == RESULT_OK)
        return STEP_ON;
    if (result == RESULT_CONFLICT || result == RESULT_UNSUPPORTED)
        return stop_sink(pump, &error);
    journal_reader_close(pump->journal);
    pump->journal = NULL;
    return result == RESULT_NOT_FOUND ? STEP_IDLE : wait_for_files(pump, &error);
}

static enum result move_cursor(struct pump *pump, int64_t cursor, struct error *error)
{
    uint8_t hash[SHA256_SIZE];
    const struct ledger_place place = {cursor, hash};
    enum result result = journal_reader_hash(pump->journal, cursor, hash, error);
    if (result == RESULT_OK)
        result = ledger_rewind(pump->options.ledger, name_of(pump), &place, error);
    if (result == RESULT_OK)
        pump->cursor = cursor;
    return result;
}

static enum step attach(struct pump *pump)
{
    struct error error = {0};
    int64_t cursor = pump->cursor;
    /* The anchor may have moved since. */
    if (journal_reader_info(pump->journal, &pump->info, &error) != RESULT_OK)
        return wait_for_files(pump, &error);
    enum delivery done = pump->options.sink.ops->attach(pump->options.sink.self, pump->journal,
                                                        &pump->info, &cursor, &error);
    if (done == DELIVERY_STOP)
        return stop_sink(pump, &error);
    if (done != DELIVERY_DONE)
        return go_down(pump, &error);
    if (cursor != pump->cursor) {
        LOG(LOG_WARN, "sink.cursor_moved", LOG_TEXT("sink", name_of(pump)),
            LOG_INT("from", pump->cursor), LOG_INT("to", cursor));
        if (move_cursor(pump, cursor, &error) != RESULT_OK)
            return wait_for_files(pump, &error);
    }
    pump->attached = true;
    return STEP_ON;
}

static void fill_parked(const struct pump *pump, const struct journal_event *event,
                        enum parked_state state, const char *reason, struct parked *ret_parked)
{
    *ret_parked = (struct parked){.sequence = event->sequence,
                                  .order_id = event->order_id,
                                  .state = state,
                                  .attempts = state == PARKED_REFUSED ? pump->attempts + 1 : 0};
    snprintf(ret_parked->event_id, sizeof ret_parked->event_id, "%s", event->event_id);
    snprintf(ret_parked->event_type, sizeof ret_parked->event_type, "%s", event->event_type);
    snprintf(ret_parked->reason, sizeof ret_parked->reason, "%s", reason);
    utf8_trim_cut(ret_parked->reason);
    if (state == PARKED_REFUSED)
        LOG(LOG_ERROR, "event.parked", LOG_TEXT("sink", name_of(pump)),
            LOG_INT("sequence", event->sequence), LOG_TEXT("event_id", event->event_id),
            LOG_TEXT("event_type", event->event_type), LOG_TEXT("reason", reason));
}

static const char HELD_REASON[] = "held behind a parked event of the same order";

/* Sorts the page into what to deliver, and what is parked or held behind a parked event of the same
 * order. Most of the time nothing is. */
static enum result sort_page(struct pump *pump, size_t *ret_count, struct error *error)
{
    struct ledger_sink row;
    size_t count = 0, held = 0;
    enum result result = ledger_find_sink(pump->options.ledger, name_of(pump), &row, error);
    for (size_t i = 0; i < pump->page.count && result == RESULT_OK; i++) {
        const struct journal_event *event = &pump->page.events[i];
        pump->blocked[i] = false;
        if (row.parked_rows > 0)
            result = ledger_is_blocked(pump->options.ledger, name_of(pump), event->sequence,
                                       event->order_id, &pump->blocked[i], error);
        if (pump->blocked[i])
            fill_parked(pump, event, PARKED_HELD, HELD_REASON, &pump->parked[held++]);
        else
            pump->indexes[count++] = i;
    }
    /* Written down before the rest is delivered: the peer's cursor will pass over them. */
    if (result == RESULT_OK && held > 0)
        result = ledger_park(pump->options.ledger, name_of(pump), pump->parked, held, error);
    memset(pump->outcomes, 0, count * sizeof *pump->outcomes); /* DELIVERY_PENDING */
    *ret_count = count;
    return result;
}

/* What a page has come to, event by event from its start, up to one that isn't settled. */
struct tally {
    size_t events; /* of the page */
    int64_t delivered;
    size_t parked;
    enum delivery
        stopped_by; /* the outcome of the event that isn't settled; DELIVERY_DONE: all are */
};

/* Adds one event; false if it isn't settled. */
static bool add_event(struct pump *pump, size_t index, enum delivery outcome, const char *reason,
                      struct tally *tally)
{
    const struct journal_event *event = &pump->page.events[index];
    struct parked *row = &pump->parked[tally->parked];
    bool is_first = tally->events == 0;
    if (outcome == DELIVERY_DONE)
        tally->delivered++;
    else if (outcome == DELIVERY_HELD)
        fill_parked(pump, event, PARKED_HELD, HELD_REASON, row);
    else if (outcome == DELIVERY_REFUSED ||
             (outcome == DELIVERY_TRANSIENT && is_first && pump->attempts + 1 >= PUMP_ATTEMPTS))
        fill_parked(pump, event, PARKED_REFUSED, reason, row);
    else
        return false;
    tally->parked += outcome != DELIVERY_DONE;
    tally->events++;
    return true;
}

static struct tally count_page(struct pump *pump, const char *reason)
{
    struct tally tally = {.stopped_by = DELIVERY_DONE};
    size_t next = 0;
    for (size_t i = 0; i < pump->page.count; i++) {
        enum delivery outcome = pump->blocked[i] ? DELIVERY_HELD : pump->outcomes[next++];
        if (!add_event(pump, i, outcome, reason, &tally)) {
            tally.stopped_by = outcome;
            break;
        }
    }
    return tally;
}

/* Cursor, count and parked rows move together. */
static enum result settle(struct pump *pump, const struct tally *tally, struct error *error)
{
    bool no_again = tally->stopped_by == DELIVERY_TRANSIENT;
    if (tally->events == 0) {
        pump->attempts += no_again;
        return RESULT_OK;
    }
    const struct journal_event *last = &pump->page.events[tally->events - 1];
    const struct ledger_place cursor = {last->sequence, last->hash};
    enum result result = ledger_settle(pump->options.ledger, name_of(pump), &cursor,
                                       tally->delivered, pump->parked, tally->parked, error);
    if (result == RESULT_OK) {
        pump->cursor = last->sequence;
        pump->attempts = no_again;
    }
    return result;
}

static enum step conclude(struct pump *pump, const struct tally *tally,
                          const struct delivery_report *report)
{
    if (report->verdict == DELIVERY_STOP)
        return stop_sink(pump, &report->reason);
    if (report->verdict != DELIVERY_DONE)
        return go_down(pump, &report->reason);
    breaker_report(&pump->breaker, pump->generation, true, now_ms(pump));
    if (tally->stopped_by == DELIVERY_TRANSIENT)
        return STEP_WAIT;
    retry_reset(&pump->retry);
    note(pump, SINK_RUNNING, NULL);
    return STEP_ON;
}

/* True if it is time to stop. */
static bool wait_for(struct pump *pump, int64_t duration_ms, bool nudge_wakes)
{
    int64_t until_ns = clock_monotonic_ns(pump->options.clock) + duration_ms * 1000000;
    atomic_store(&pump->moved_ms, now_ms(pump));
    const struct timespec until = {.tv_sec = until_ns / 1000000000,
                                   .tv_nsec = until_ns % 1000000000};
    int timed_out = 0;
    pthread_mutex_lock(&pump->lock);
    while (!pump->stopping && !(nudge_wakes && pump->nudged) && timed_out == 0)
        timed_out = pthread_cond_clockwait(&pump->wake, &pump->lock, CLOCK_MONOTONIC, &until);
    pump->nudged = false;
    bool stopping = pump->stopping;
    pthread_mutex_unlock(&pump->lock);
    return stopping;
}

static int64_t wait_after(struct pump *pump, enum step step)
{
    if (step == STEP_ON)
        return 0;
    if (step == STEP_IDLE)
        return PUMP_POLL_MS;
    int64_t backoff_ms = retry_next_ms(&pump->retry, pump->options.random);
    int64_t closed_ms = breaker_wait_ms(&pump->breaker, now_ms(pump));
    return backoff_ms > closed_ms ? backoff_ms : closed_ms;
}

static enum step deliver_page(struct pump *pump)
{
    struct error error = {0};
    struct delivery_report report = {.verdict = DELIVERY_DONE};
    size_t count = 0;
    if (sort_page(pump, &count, &error) != RESULT_OK)
        return wait_for_files(pump, &error);
    const struct journal_event *last = &pump->page.events[pump->page.count - 1];
    const struct batch batch = {
        .page = &pump->page,
        .indexes = pump->indexes,
        .count = count,
        .through = last->sequence,
        .through_hash = last->hash,
        .outcomes = pump->outcomes,
    };
    pump->options.sink.ops->deliver(pump->options.sink.self, &batch, &report);
    struct tally tally = count_page(pump, report.reason.text);
    /* What has been delivered is not delivered again for want of a place to write it down. */
    while (settle(pump, &tally, &error) != RESULT_OK) {
        enum step step = wait_for_files(pump, &error);
        if (wait_for(pump, wait_after(pump, step), false))
            return step;
    }
    return conclude(pump, &tally, &report);
}

/* Collects one parked event that isn't in the dead letters yet. */
static void keep_first(void *context, const struct parked *parked)
{
    struct parked *first = context;
    if (first->sequence == 0)
        *first = *parked;
}

/* Finds one parked event, of any sink, that isn't in the dead letters yet, and reads it into the
 * page. RESULT_NOT_FOUND if there is none. */
static enum result find_dead_letter(struct pump *pump, struct parked *ret_parked,
                                    struct error *error)
{
    const struct parked_filter filter = {.only_not_dead_lettered = true};
    struct parked parked = {0};
    enum result result =
        ledger_each_parked(pump->options.ledger, &filter, keep_first, &parked, error);
    if (result == RESULT_OK && parked.sequence == 0)
        return RESULT_NOT_FOUND;
    if (result == RESULT_OK)
        result = journal_reader_page(pump->journal, parked.sequence - 1, parked.sequence,
                                     &pump->page, error);
    if (result == RESULT_OK && pump->page.count == 0)
        result = error_set(error, RESULT_CORRUPT, "parked event %lld is not in the journal",
                           (long long)parked.sequence);
    if (result == RESULT_OK)
        *ret_parked = parked;
    return result;
}

/* Sends one parked event to the dead letters. STEP_IDLE if there is none, or the broker didn't take
 * the last one. */
static enum step send_dead_letter(struct pump *pump)
{
    const struct sink *sink = &pump->options.sink;
    struct parked parked;
    struct error error = {0};
    if (!sink->ops->dead_letter || now_ms(pump) < pump->dead_letters_due_ms)
        return STEP_IDLE;
    enum result result = find_dead_letter(pump, &parked, &error);
    if (result != RESULT_OK)
        return result == RESULT_NOT_FOUND ? STEP_IDLE : wait_for_files(pump, &error);
    enum delivery done = sink->ops->dead_letter(
        sink->self, journal_page_payload(&pump->page, 0), pump->page.events[0].payload_size,
        &pump->page.events[0], parked.reason, parked.attempts, &error);
    if (done == DELIVERY_DOWN)
        return go_down(pump, &error);
    breaker_report(&pump->breaker, pump->generation, true, now_ms(pump));
    if (done != DELIVERY_DONE) {
        LOG(LOG_ERROR, "dead_letter.refused", LOG_INT("sequence", parked.sequence),
            LOG_TEXT("error", error.text));
        pump->dead_letters_due_ms = now_ms(pump) + PUMP_DEAD_LETTER_RETRY_MS;
        return STEP_IDLE;
    }
    result = ledger_note_dead_lettered(pump->options.ledger, parked.sink, parked.sequence, &error);
    return result == RESULT_OK ? STEP_ON : wait_for_files(pump, &error);
}

static enum step rest(struct pump *pump)
{
    struct error error = {0};
    enum step step = send_dead_letter(pump);
    if (step != STEP_IDLE)
        return step;
    if (pump->options.sink.ops->idle(pump->options.sink.self, &error) != DELIVERY_DONE)
        return go_down(pump, &error);
    breaker_report(&pump->breaker, pump->generation, true, now_ms(pump));
    retry_reset(&pump->retry);
    note(pump, SINK_RUNNING, NULL);
    return STEP_IDLE;
}

static enum step take_step(struct pump *pump)
{
    struct error error = {0};
    if (!pump->journal) {
        enum step step = open_journal(pump);
        if (step != STEP_ON)
            return step;
    }
    if (breaker_admit(&pump->breaker, now_ms(pump), &pump->generation) != RESULT_OK)
        return STEP_WAIT;
    if (pump->breaker.state == BREAKER_HALF_OPEN)
        note(pump, SINK_DOWN, NULL);
    if (!pump->attached) {
        enum step step = attach(pump);
        if (step != STEP_ON)
            return step;
    }
    if (journal_reader_page(pump->journal, pump->cursor, INT64_MAX, &pump->page, &error) !=
        RESULT_OK)
        return wait_for_files(pump, &error);
    return pump->page.count > 0 ? deliver_page(pump) : rest(pump);
}

static void *run(void *context)
{
    struct pump *pump = context;
    enum step step;
    do
        step = take_step(pump);
    while (step != STEP_STOP && !wait_for(pump, wait_after(pump, step), step == STEP_IDLE));
    atomic_store(&pump->moved_ms, ENDED_MS);
    return NULL;
}

static void pump_free(struct pump *pump)
{
    pump->options.sink.ops->free(pump->options.sink.self);
    journal_reader_close(pump->journal);
    journal_page_done(&pump->page);
    free(pump->indexes);
    free(pump->outcomes);
    free(pump->blocked);
    free(pump->parked);
    pthread_cond_destroy(&pump->wake);
    pthread_mutex_destroy(&pump->lock);
    free(pump);
}

static struct pump *pump_new(const struct pump_options *options)
{
    static const struct breaker_options BREAKER = {
        .trip_after = PUMP_TRIP_AFTER, .close_after = 1, .cool_down_ms = PUMP_COOL_DOWN_MS};
    static const struct retry_options RETRY = {.base_ms = PUMP_RETRY_BASE_MS,
                                               .cap_ms = PUMP_RETRY_CAP_MS};
    struct pump *pump = calloc(1, sizeof *pump);
    if (!pump)
        return NULL;
    pump->options = *options;
    atomic_store(&pump->moved_ms, now_ms(pump));
    pthread_mutex_init(&pump->lock, NULL);
    pthread_cond_init(&pump->wake, NULL);
    breaker_init(&pump->breaker, &BREAKER);
    retry_init(&pump->retry, &RETRY);
    pump->indexes = calloc(options->sink.page_events, sizeof *pump->indexes);
    pump->outcomes = calloc(options->sink.page_events, sizeof *pump->outcomes);
    pump->blocked = calloc(options->sink.page_events, sizeof *pump->blocked);
    pump->parked = calloc(options->sink.page_events, sizeof *pump->parked);
    return pump;
}

enum result pump_start(const struct pump_options *options, struct pump **ret_pump,
                       struct error *error)
{
    struct pump *pump = pump_new(options);
    if (!pump) {
        options->sink.ops->free(options->sink.self);
        return RESULT_NO_MEMORY;
    }
    enum result result = journal_page_init(&pump->page, options->sink.page_events, PAGE_BYTES);
    if (result == RESULT_OK &&
        (!pump->indexes || !pump->outcomes || !pump->blocked || !pump->parked))
        result = RESULT_NO_MEMORY;
    if (result == RESULT_OK && pthread_create(&pump->thread, NULL, run, pump) != 0)
        result = error_set(error, RESULT_NO_MEMORY, "the pump's thread doesn't start");
    if (result != RESULT_OK) {
        pump_free(pump);
        return result;
    }
    *ret_pump = pump;
    return RESULT_OK;
}

void pump_nudge(struct pump *pump)
{
    pthread_mutex_lock(&pump->lock);
    pump->nudged = true;
    pthread_mutex_unlock(&pump->lock);
    pthread_cond_signal(&pump->wake);
}

bool pump_has_moved(struct pump *pump)
{
    int64_t moved_ms = atomic_load(&pump->moved_ms);
    return moved_ms == ENDED_MS || now_ms(pump) - moved_ms < PUMP_STEP_MAX_MS;
}

void pump_watch(struct pump *pump)
{
    const struct sink *sink = &pump->options.sink;
    if (sink->ops->watch)
        sink->ops->watch(sink->self, now_ms(pump));
}

void pump_stop(struct pump *pump)
{
    if (!pump)
        return;
    pthread_mutex_lock(&pump->lock);
    pump->stopping = true;
    pthread_mutex_unlock(&pump->lock);
    pthread_cond_signal(&pump->wake);
    pthread_join(pump->thread, NULL);
    pump_free(pump);
}
