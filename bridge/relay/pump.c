#include "bridge/relay/pump.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bridge/relay/cursor.h"
#include "bridge/relay/in_flight.h"
#include "core/breaker.h"
#include "core/log.h"
#include "core/retry.h"

enum {
    PAGE_BYTES = 4 << 20,
    BATCH_BYTES_MIN = 4 << 10,
    BATCH_SHRINKS = 4, /* to a part of this, when nothing of it has arrived */
    BATCH_GROWS = 2,
};

static const int64_t ENDED_MS = INT64_MAX;

#define TO MACHINE_NEXT
static const struct machine_state STATES[] = {
    [PUMP_OPENING] = {"OPENING", TO(PUMP_CONNECTING) | TO(PUMP_FENCED)},
    [PUMP_CONNECTING] = {"CONNECTING", TO(PUMP_OPENING) | TO(PUMP_VERIFYING) | TO(PUMP_FENCED)},
    [PUMP_VERIFYING] = {"VERIFYING", TO(PUMP_OPENING) | TO(PUMP_READING) | TO(PUMP_FENCED)},
    [PUMP_READING] = {"READING",
                      TO(PUMP_OPENING) | TO(PUMP_DELIVERING) | TO(PUMP_IDLE) | TO(PUMP_FENCED)},
    [PUMP_DELIVERING] = {"DELIVERING", TO(PUMP_OPENING) | TO(PUMP_READING) | TO(PUMP_ADVANCING) |
                                           TO(PUMP_FENCED)},
    [PUMP_ADVANCING] = {"ADVANCING", TO(PUMP_CONNECTING) | TO(PUMP_READING) | TO(PUMP_FENCED)},
    [PUMP_IDLE] = {"IDLE",
                   TO(PUMP_OPENING) | TO(PUMP_CONNECTING) | TO(PUMP_READING) | TO(PUMP_FENCED)},
    [PUMP_FENCED] = {"FENCED", 0},
};
#undef TO
const struct machine_table PUMP_MACHINE = {"pump", STATES, ARRAY_LENGTH(STATES)};

struct pump {
    struct pump_options options;
    pthread_t thread;
    pthread_mutex_t lock; /* of `woken` and `ended`, and of waiting */
    pthread_cond_t wake;
    bool woken;
    bool ended; /* the thread has nothing more to do */
    bool joined;
    atomic_bool stopping;
    atomic_int_least64_t moved_ms; /* when the thread was last seen between two steps */

    /* The thread's own: */
    struct machine machine;
    struct journal_reader *journal;
    struct journal_info info;
    struct cursor cursor;
    struct in_flight in_flight; /* after the cursor */
    struct delivery_report report;
    enum in_flight_verdict verdict; /* of the delivery, where the peer was there to the end */
    enum sink_state noted_state;
    enum breaker_state noted_breaker;
    bool is_probing; /* nothing got through the last time */
    bool unverified;
    bool wakeup_ends_wait;
    bool is_admitted; /* by the breaker, and hasn't reported yet, … */
    struct breaker breaker;
    uint64_t generation; /* … in this generation of it */
    struct retry retry;
    size_t batch_bytes; /* what is offered at a time: less on a line that is slow */
    int64_t advanced_at_ms;
    int64_t unreadable_before; /* the log has named what is unreadable up to here */
    int64_t dead_letters_due_ms;
};

static const char *pump_name(const struct pump *pump)
{
    return pump->options.sink.ops->name;
}

static int64_t pump_now_ms(const struct pump *pump)
{
    return clock_monotonic_ms(pump->options.clock);
}

static enum pump_state pump_state(const struct pump *pump)
{
    return (enum pump_state)pump->machine.state;
}

static void pump_move(struct pump *pump, enum pump_state next)
{
    machine_move(&pump->machine, (int)next);
}

/* Writes the sink's state down when it changes, and every reason. */
static void note_state(struct pump *pump, enum sink_state state, const char *reason)
{
    struct error error = {0};
    enum breaker_state breaker = breaker_state(&pump->breaker, pump_now_ms(pump));
    if (pump->unverified && state == SINK_DOWN)
        state = SINK_STOPPED; /* the next start must still know that it had stopped */
    if (state == pump->noted_state && breaker == pump->noted_breaker && !reason)
        return;
    if (state != pump->noted_state || breaker != pump->noted_breaker)
        LOG(state == SINK_RUNNING ? LOG_INFO : LOG_WARN, "sink.state",
            LOG_TEXT("sink", pump_name(pump)), LOG_TEXT("state", sink_state_text(state)),
            LOG_TEXT("breaker", breaker_state_text(breaker)),
            LOG_TEXT("reason", reason ? reason : ""));
    pump->noted_state = state;
    pump->noted_breaker = breaker;
    if (pump->journal && delivery_state_note_state(pump->options.deliveries, pump_name(pump), state,
                                                   breaker, reason, &error) != RESULT_OK)
        LOG(LOG_WARN, "delivery_state.failed", LOG_TEXT("error", error.text));
}

static void pump_report_success(struct pump *pump)
{
    breaker_report(&pump->breaker, pump->generation, true, pump_now_ms(pump));
    pump->is_admitted = false;
}

/* The longer of what retry and breaker say. */
static int64_t back_off(struct pump *pump)
{
    int64_t backoff_ms = retry_next_ms(&pump->retry, pump->options.random);
    int64_t closed_ms = breaker_wait_ms(&pump->breaker, pump_now_ms(pump));
    return backoff_ms > closed_ms ? backoff_ms : closed_ms;
}

static int64_t wait_for_wakeup(struct pump *pump)
{
    pump->wakeup_ends_wait = true;
    return PUMP_POLL_MS;
}

/* Our own files can't be read or written: that is no outage of the peer, and may pass. */
static int64_t wait_for_storage(struct pump *pump, const struct error *error)
{
    breaker_withdraw(&pump->breaker, pump->generation);
    pump->is_admitted = false;
    note_state(pump, SINK_DOWN, error->text);
    LOG(LOG_WARN, "pump.storage_error", LOG_TEXT("sink", pump_name(pump)),
        LOG_TEXT("error", error->text));
    return back_off(pump);
}

/* The peer can't be reached, or can't work. */
static int64_t disconnect(struct pump *pump, const struct error *error)
{
    breaker_report(&pump->breaker, pump->generation, false, pump_now_ms(pump));
    pump->is_admitted = false;
    pump->options.sink.ops->detach(pump->options.sink.self);
    pump_move(pump, PUMP_CONNECTING);
    note_state(pump, SINK_DOWN, error->text);
    return back_off(pump);
}

/* This sink sends nothing more until the operator has looked. */
static int64_t stop_sending(struct pump *pump, const struct error *reason)
{
    pump_move(pump, PUMP_FENCED);
    note_state(pump, SINK_STOPPED, reason->text);
    LOG(LOG_ERROR, "sink.stopped", LOG_TEXT("sink", pump_name(pump)),
        LOG_TEXT("reason", reason->text));
    return 0;
}

/* … and neither does any other: the reason is about this box. */
static int64_t raise_fence(struct pump *pump, const struct error *reason)
{
    fence_raise(pump->options.fence, reason);
    return stop_sending(pump, reason);
}

static int64_t follow_fence(struct pump *pump)
{
    struct error reason;
    fence_read_reason(pump->options.fence, &reason);
    return stop_sending(pump, &reason);
}

/* Somebody has put another file in the journal's place: it is looked at as at the start. */
static void leave_replaced_journal(struct pump *pump)
{
    LOG(LOG_WARN, "journal.replaced", LOG_TEXT("sink", pump_name(pump)));
    pump->options.sink.ops->detach(pump->options.sink.self);
    in_flight_clear(&pump->in_flight);
    journal_reader_close(pump->journal);
    pump->journal = NULL;
    pump_move(pump, PUMP_OPENING);
}

/* The journal may not be there yet: the appliance makes it. */
static int64_t open_journal(struct pump *pump)
{
    struct error error = {0};
    enum result result = journal_reader_open(pump->options.data_dir, &pump->journal, &error);
    if (result == RESULT_OK)
        result = journal_reader_info(pump->journal, &pump->info, &error);
    if (result == RESULT_OK)
        result = cursor_attach(&pump->cursor, pump->journal, &pump->info, &error);
    if (result == RESULT_OK) {
        pump_move(pump, PUMP_CONNECTING);
        return 0;
    }
    if (result == RESULT_CONFLICT || result == RESULT_UNSUPPORTED)
        return raise_fence(pump, &error);
    journal_reader_close(pump->journal);
    pump->journal = NULL;
    return result == RESULT_NOT_FOUND ? wait_for_wakeup(pump) : wait_for_storage(pump, &error);
}

static bool is_admitted(struct pump *pump)
{
    if (!pump->is_admitted)
        pump->is_admitted =
            breaker_admit(&pump->breaker, pump_now_ms(pump), &pump->generation) == RESULT_OK;
    return pump->is_admitted;
}

/* The peer is connected and has nothing against this box: it may be further than bridge.db says, or
 * have been restored to an earlier state. */
static int64_t follow_peer(struct pump *pump, int64_t sequence)
{
    struct error error = {0};
    enum result result =
        cursor_audit(&pump->cursor, &pump->options.sink, pump->journal, sequence, &error);
    if (result == RESULT_UNREACHABLE)
        return disconnect(pump, &error);
    if (result == RESULT_OK && sequence != pump->cursor.sequence) {
        result = cursor_rewind(&pump->cursor, pump->journal, sequence, &error);
        if (result == RESULT_OK)
            in_flight_clear(&pump->in_flight);
    }
    if (result != RESULT_OK) {
        pump->options.sink.ops->detach(pump->options.sink.self);
        return wait_for_storage(pump, &error);
    }
    pump->dead_letters_due_ms = 0; /* the topology is declared on each connection */
    pump_move(pump, PUMP_VERIFYING);
    return 0;
}

static int64_t connect_sink(struct pump *pump)
{
    struct error error = {0};
    const struct sink *sink = &pump->options.sink;
    if (!is_admitted(pump))
        return back_off(pump);
    if (pump->breaker.state == BREAKER_HALF_OPEN)
        note_state(pump, SINK_DOWN, NULL);
    /* The anchor may have moved since. */
    if (journal_reader_info(pump->journal, &pump->info, &error) != RESULT_OK)
        return wait_for_storage(pump, &error);
    int64_t sequence = pump->cursor.sequence;
    enum delivery done =
        sink->ops->attach(sink->self, pump->journal, &pump->info, &sequence, &error);
    if (done == DELIVERY_STOP)
        return raise_fence(pump, &error);
    if (done != DELIVERY_DONE)
        return disconnect(pump, &error);
    return follow_peer(pump, sequence);
}

/* A sink that had stopped has been asked again, and has nothing against this box. */
static int64_t verify_sinks(struct pump *pump)
{
    if (pump->unverified)
        fence_clear_unverified(pump->options.fence);
    pump->unverified = false;
    if (!fence_is_unverified(pump->options.fence)) {
        pump_move(pump, PUMP_READING);
        return 0;
    }
    if (pump->noted_state != SINK_DOWN)
        note_state(pump, SINK_DOWN,
                   "waits for a sink that had stopped and hasn't been asked again");
    return wait_for_wakeup(pump);
}

/* Parks the sequences after the cursor that can't be read, and goes on with what comes after. */
static enum result read_past_damage(struct pump *pump, struct error *error)
{
    int64_t readable = 0, sequence = pump->cursor.sequence + 1;
    enum result result =
        journal_reader_skip(pump->journal, pump->cursor.sequence, &readable, error);
    if (result != RESULT_OK)
        return result;
    if (readable > pump->unreadable_before)
        LOG(LOG_ERROR, "journal.unreadable", LOG_TEXT("sink", pump_name(pump)),
            LOG_INT("from", sequence), LOG_INT("to", readable - 1));
    if (readable > pump->unreadable_before)
        pump->unreadable_before = readable;
    result = cursor_park_unreadable(&pump->cursor, sequence, readable, error);
    if (result == RESULT_OK)
        result = journal_reader_page(pump->journal, readable - 1, INT64_MAX, &pump->in_flight.page,
                                     error);
    return result;
}

static enum result read_next_page(struct pump *pump, struct error *error)
{
    struct in_flight *in_flight = &pump->in_flight;
    enum result result = journal_reader_page(pump->journal, pump->cursor.sequence, INT64_MAX,
                                             &in_flight->page, error);
    if (result == RESULT_CORRUPT)
        result = read_past_damage(pump, error);
    if (result == RESULT_OK)
        in_flight_load(in_flight);
    else
        in_flight_clear(in_flight);
    return result;
}

/* What is tried in vain holds up none of what comes behind it. */
static enum result read_behind_page(struct pump *pump, struct error *error)
{
    struct in_flight *in_flight = &pump->in_flight;
    in_flight_make_room(in_flight);
    enum result result = journal_reader_extend(pump->journal, &in_flight->page, error);
    in_flight_extend(in_flight);
    return result;
}

static int64_t read_page(struct pump *pump)
{
    struct error error = {0};
    struct in_flight *in_flight = &pump->in_flight;
    if (!is_admitted(pump))
        return back_off(pump);
    bool is_next = in_flight_is_empty(in_flight);
    if (is_next)
        in_flight_clear(in_flight);
    enum result result = is_next ? read_next_page(pump, &error) : read_behind_page(pump, &error);
    if (result != RESULT_OK)
        return wait_for_storage(pump, &error);
    pump_move(pump, in_flight_is_empty(in_flight) ? PUMP_IDLE : PUMP_DELIVERING);
    return 0;
}

/* The cursor moves while the rest is still on its way, so that less is sent again after a crash. If
 * it can't be written now, the end of the delivery tries again. */
static bool advance_meanwhile(void *context)
{
    struct pump *pump = context;
    if (pump_now_ms(pump) - pump->advanced_at_ms >= PUMP_ADVANCE_MS) {
        in_flight_note_done(&pump->in_flight);
        (void)!cursor_advance(&pump->cursor, &pump->in_flight, NULL);
        pump->advanced_at_ms = pump_now_ms(pump);
    }
    return !atomic_load(&pump->stopping) && !fence_is_raised(pump->options.fence);
}

/* A batch that is too large for the line never arrives within the deadline, however often it is
 * sent. */
static void fit_batch_size(struct pump *pump, const struct batch *batch)
{
    bool any_done = false;
    size_t bytes = 0;
    for (size_t i = 0; i < batch->count; i++) {
        any_done = any_done || batch->outcomes[i] == DELIVERY_DONE;
        bytes += batch->page->events[batch->indexes[i]].payload_size;
    }
    if (pump->report.verdict == DELIVERY_DONE && pump->batch_bytes < PAGE_BYTES)
        pump->batch_bytes *= BATCH_GROWS;
    else if (pump->report.verdict == DELIVERY_DOWN && !any_done && batch->count > 1)
        pump->batch_bytes =
            bytes / BATCH_SHRINKS > BATCH_BYTES_MIN ? bytes / BATCH_SHRINKS : BATCH_BYTES_MIN;
}

static int64_t deliver_page(struct pump *pump)
{
    struct error error = {0};
    struct batch batch;
    enum result result = cursor_hold_blocked(&pump->cursor, &pump->in_flight, &error);
    if (result == RESULT_CONFLICT) {
        in_flight_release(&pump->in_flight);
        breaker_withdraw(&pump->breaker, pump->generation);
        pump->is_admitted = false;
        pump_move(pump, PUMP_READING);
        return 0;
    }
    if (result != RESULT_OK) {
        pump_move(pump, PUMP_READING);
        return wait_for_storage(pump, &error);
    }
    if (pump->is_probing)
        in_flight_pack_probe(&pump->in_flight, &batch);
    else
        in_flight_pack(&pump->in_flight, pump->batch_bytes, &batch);
    batch.progress = advance_meanwhile;
    batch.context = pump;
    pump->advanced_at_ms = pump_now_ms(pump);
    pump->report = (struct delivery_report){.verdict = DELIVERY_DONE};
    pump->options.sink.ops->deliver(pump->options.sink.self, &batch, &pump->report);
    fit_batch_size(pump, &batch);
    pump->verdict = in_flight_conclude(&pump->in_flight, &pump->report);
    pump_move(pump, PUMP_ADVANCING);
    return 0;
}

/* The peer is there and takes nothing. What hits every event alike is an outage; a new connection
 * declares what may have been deleted, and finds the queues' new leaders. */
static int64_t reconnect(struct pump *pump)
{
    struct error error = {0};
    error_write(&error, "nothing gets through: %s", in_flight_trouble(&pump->in_flight));
    return disconnect(pump, &error);
}

/* What has been delivered is not delivered again for want of a place to write it down: the pump
 * stays here until it is written, whatever the peer does meanwhile. */
static int64_t advance_cursor(struct pump *pump)
{
    struct error error = {0};
    enum result result = cursor_advance(&pump->cursor, &pump->in_flight, &error);
    if (result == RESULT_CONFLICT) /* what an event was held behind has been replayed since */
        in_flight_release(&pump->in_flight);
    else if (result != RESULT_OK)
        return wait_for_storage(pump, &error);
    if (pump->report.verdict == DELIVERY_STOP)
        return raise_fence(pump, &pump->report.reason);
    if (pump->report.verdict != DELIVERY_DONE)
        return disconnect(pump, &pump->report.reason);
    pump->is_probing = pump->verdict == IN_FLIGHT_NOTHING;
    if (pump->is_probing)
        return reconnect(pump);
    pump_report_success(pump);
    pump_move(pump, PUMP_READING);
    if (pump->verdict == IN_FLIGHT_RETRY)
        return back_off(pump);
    retry_reset(&pump->retry);
    note_state(pump, SINK_RUNNING, NULL);
    return 0;
}

/* The next event, of any sink, that was rejected and isn't in order.failed yet, as a page of its
 * own. RESULT_NOT_FOUND if there is none, or it isn't time to try again. */
static enum result read_dead_letter(struct pump *pump, struct parked *ret_parked,
                                    struct error *error)
{
    struct journal_page *page = &pump->in_flight.page;
    if (!pump->options.sink.ops->dead_letter || pump_now_ms(pump) < pump->dead_letters_due_ms)
        return RESULT_NOT_FOUND;
    enum result result =
        delivery_state_find_dead_letter(pump->options.deliveries, ret_parked, error);
    if (result == RESULT_OK)
        result = journal_reader_page(pump->journal, ret_parked->sequence - 1, ret_parked->sequence,
                                     page, error);
    if (result == RESULT_OK && page->count == 0)
        return error_set(error, RESULT_CORRUPT, "parked event %lld is not in the journal",
                         (long long)ret_parked->sequence);
    return result;
}

static enum delivery send_dead_letter(struct pump *pump, const struct parked *parked,
                                      struct error *error)
{
    const struct sink *sink = &pump->options.sink;
    const struct journal_page *page = &pump->in_flight.page;
    enum delivery done = sink->ops->dead_letter(sink->self, journal_page_payload(page, 0),
                                                page->events[0].payload_size, &page->events[0],
                                                parked->reason, parked->attempts, error);
    if (done == DELIVERY_DONE || done == DELIVERY_DOWN)
        return done;
    LOG(LOG_ERROR, "dead_letter.refused", LOG_INT("sequence", parked->sequence),
        LOG_TEXT("error", error->text));
    pump->dead_letters_due_ms = pump_now_ms(pump) + PUMP_DEAD_LETTER_RETRY_MS;
    return done;
}

static int64_t idle_sink(struct pump *pump)
{
    struct parked parked;
    struct error error = {0};
    const struct sink *sink = &pump->options.sink;
    enum result result = read_dead_letter(pump, &parked, &error);
    if (result == RESULT_OK) {
        enum delivery done = send_dead_letter(pump, &parked, &error);
        in_flight_clear(&pump->in_flight);
        if (done == DELIVERY_DOWN)
            return disconnect(pump, &error);
        if (done == DELIVERY_DONE)
            result = delivery_state_note_dead_lettered(pump->options.deliveries, parked.sink,
                                                       parked.sequence, &error);
    } else {
        in_flight_clear(&pump->in_flight);
        if (result == RESULT_NOT_FOUND && sink->ops->idle(sink->self, &error) != DELIVERY_DONE)
            return disconnect(pump, &error);
    }
    pump_move(pump, PUMP_READING);
    if (result != RESULT_OK && result != RESULT_NOT_FOUND)
        return wait_for_storage(pump, &error);
    pump_report_success(pump);
    if (result == RESULT_OK)
        return 0;
    retry_reset(&pump->retry);
    note_state(pump, SINK_RUNNING, NULL);
    return wait_for_wakeup(pump);
}

int64_t pump_step(struct pump *pump)
{
    enum pump_state state = pump_state(pump);
    pump->wakeup_ends_wait = false;
    if (state != PUMP_OPENING && state != PUMP_ADVANCING && state != PUMP_FENCED) {
        if (fence_is_raised(pump->options.fence))
            return follow_fence(pump);
        if (!journal_reader_is_current(pump->journal))
            leave_replaced_journal(pump);
    }
    switch (pump_state(pump)) {
    case PUMP_OPENING:
        return open_journal(pump);
    case PUMP_CONNECTING:
        return connect_sink(pump);
    case PUMP_VERIFYING:
        return verify_sinks(pump);
    case PUMP_READING:
        return read_page(pump);
    case PUMP_DELIVERING:
        return deliver_page(pump);
    case PUMP_ADVANCING:
        return advance_cursor(pump);
    case PUMP_IDLE:
        return idle_sink(pump);
    case PUMP_FENCED:
        break;
    }
    return 0;
}

const struct machine *pump_machine(const struct pump *pump)
{
    return &pump->machine;
}

static void pump_wait(struct pump *pump, int64_t duration_ms)
{
    int64_t until_ns = clock_deadline_ns(pump->options.clock, duration_ms);
    bool is_late = duration_ms <= 0;
    atomic_store(&pump->moved_ms, pump_now_ms(pump));
    if (is_late)
        return;
    pthread_mutex_lock(&pump->lock);
    while (!atomic_load(&pump->stopping) && !(pump->wakeup_ends_wait && pump->woken) && !is_late)
        is_late = clock_wait(pump->options.clock, &pump->wake, &pump->lock, until_ns);
    pump->woken = false;
    pthread_mutex_unlock(&pump->lock);
}

static void *pump_run(void *context)
{
    struct pump *pump = context;
    while (!atomic_load(&pump->stopping) && pump_state(pump) != PUMP_FENCED)
        pump_wait(pump, pump_step(pump));
    if (pump_state(pump) == PUMP_ADVANCING)
        (void)pump_step(pump); /* what was confirmed at the last moment is written down */
    atomic_store(&pump->moved_ms, ENDED_MS);
    pthread_mutex_lock(&pump->lock);
    pump->ended = true;
    pthread_mutex_unlock(&pump->lock);
    pthread_cond_broadcast(&pump->wake);
    return NULL;
}

void pump_free(struct pump *pump)
{
    if (!pump)
        return;
    pump->options.sink.ops->free(pump->options.sink.self);
    journal_reader_close(pump->journal);
    in_flight_done(&pump->in_flight);
    cursor_done(&pump->cursor);
    pthread_cond_destroy(&pump->wake);
    pthread_mutex_destroy(&pump->lock);
    free(pump);
}

static void pump_init(struct pump *pump, const struct pump_options *options)
{
    static const struct breaker_options BREAKER = {
        .trip_after = PUMP_TRIP_AFTER, .close_after = 1, .cool_down_ms = PUMP_COOL_DOWN_MS};
    static const struct retry_options RETRY = {.base_ms = PUMP_RETRY_BASE_MS,
                                               .cap_ms = PUMP_RETRY_CAP_MS};
    pump->options = *options;
    pump->unverified = options->unverified;
    pump->batch_bytes = PAGE_BYTES;
    machine_init(&pump->machine, &PUMP_MACHINE);
    atomic_store(&pump->moved_ms, pump_now_ms(pump));
    pthread_mutex_init(&pump->lock, NULL);
    pthread_cond_init(&pump->wake, NULL);
    breaker_init(&pump->breaker, &BREAKER);
    retry_init(&pump->retry, &RETRY);
}

enum result pump_new(const struct pump_options *options, struct pump **ret_pump,
                     struct error *error)
{
    size_t page_events = options->sink.page_events;
    struct pump *pump = calloc(1, sizeof *pump);
    if (!pump) {
        options->sink.ops->free(options->sink.self);
        return error_set(error, RESULT_NO_MEMORY, "no memory for a pump");
    }
    pump_init(pump, options);
    enum result result = in_flight_init(&pump->in_flight, page_events, PAGE_BYTES);
    if (result == RESULT_OK)
        result = cursor_init(&pump->cursor, options->deliveries, pump_name(pump), page_events);
    if (result != RESULT_OK) {
        pump_free(pump);
        return error_set(error, result, "no memory for a pump's page");
    }
    *ret_pump = pump;
    return RESULT_OK;
}

enum result pump_start(const struct pump_options *options, struct pump **ret_pump,
                       struct error *error)
{
    struct pump *pump = NULL;
    enum result result = pump_new(options, &pump, error);
    if (result != RESULT_OK)
        return result;
    if (pthread_create(&pump->thread, NULL, pump_run, pump) != 0) {
        pump_free(pump);
        return error_set(error, RESULT_NO_MEMORY, "the pump's thread doesn't start");
    }
    *ret_pump = pump;
    return RESULT_OK;
}

void pump_wake(struct pump *pump)
{
    pthread_mutex_lock(&pump->lock);
    pump->woken = true;
    pthread_mutex_unlock(&pump->lock);
    pthread_cond_signal(&pump->wake);
}

bool pump_has_moved(struct pump *pump)
{
    int64_t moved_ms = atomic_load(&pump->moved_ms);
    return moved_ms == ENDED_MS || pump_now_ms(pump) - moved_ms < PUMP_STEP_MAX_MS;
}

void pump_watch(struct pump *pump)
{
    const struct sink *sink = &pump->options.sink;
    if (sink->ops->watch)
        sink->ops->watch(sink->self, pump_now_ms(pump));
}

void pump_ask_to_stop(struct pump *pump)
{
    pthread_mutex_lock(&pump->lock);
    atomic_store(&pump->stopping, true);
    pthread_mutex_unlock(&pump->lock);
    pthread_cond_signal(&pump->wake);
}

void pump_break_off(struct pump *pump)
{
    pump->options.sink.ops->break_off(pump->options.sink.self);
}

bool pump_join(struct pump *pump, int64_t until_ms)
{
    bool is_late = false;
    pthread_mutex_lock(&pump->lock);
    while (!pump->ended && !is_late)
        is_late = clock_wait(pump->options.clock, &pump->wake, &pump->lock, until_ms * 1000000);
    bool ended = pump->ended;
    pthread_mutex_unlock(&pump->lock);
    if (ended && !pump->joined)
        pump->joined = pthread_join(pump->thread, NULL) == 0;
    return pump->joined;
}
