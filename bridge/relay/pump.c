#include "bridge/relay/pump.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/relay/pump_internal.h"
#include "core/log.h"

enum { PAGE_BYTES = 4 << 20 };

static const int64_t ENDED_MS = INT64_MAX;

/* Another sink has found that this box must not send. */
static enum step follow_fence(struct pump *pump)
{
    struct error reason;
    fence_read_reason(pump->options.fence, &reason);
    pump_note(pump, SINK_STOPPED, reason.text);
    LOG(LOG_ERROR, "sink.stopped", LOG_TEXT("sink", pump_name(pump)),
        LOG_TEXT("reason", reason.text));
    return STEP_STOP;
}

static void fill_unreadable(int64_t sequence, struct parked *ret_parked)
{
    *ret_parked = (struct parked){.sequence = sequence,
                                  .state = PARKED_REFUSED,
                                  .dead_lettered = true, /* there is nothing to send */
                                  .event_type = PARKED_UNREADABLE,
                                  .reason = "the journal is damaged here"};
    snprintf(ret_parked->event_id, sizeof ret_parked->event_id,
             "00000000-0000-0000-0000-%012" PRIu64, (uint64_t)sequence % UINT64_C(1000000000000));
}

/* Parks the sequences after the cursor that can't be read, and goes on with what comes after them.
 */
static enum result read_past_damage(struct pump *pump, struct error *error)
{
    int64_t readable = 0, sequence = pump->cursor + 1;
    enum result result = journal_reader_skip(pump->journal, pump->cursor, &readable, error);
    if (result == RESULT_OK && readable > pump->damage_told) {
        LOG(LOG_ERROR, "journal.unreadable", LOG_TEXT("sink", pump_name(pump)),
            LOG_INT("from", sequence), LOG_INT("to", readable - 1));
        pump->damage_told = readable;
    }
    while (result == RESULT_OK && sequence < readable) {
        size_t count = 0;
        while (count < pump->options.sink.page_events && sequence < readable)
            fill_unreadable(sequence++, &pump->parked[count++]);
        result = delivery_state_park(pump->options.deliveries, pump_name(pump), pump->parked, count,
                                     error);
    }
    if (result == RESULT_OK)
        result = journal_reader_page(pump->journal, readable - 1, INT64_MAX, &pump->in_flight.page,
                                     error);
    return result;
}

static enum result pump_read_page(struct pump *pump, struct error *error)
{
    enum result result =
        journal_reader_page(pump->journal, pump->cursor, INT64_MAX, &pump->in_flight.page, error);
    return result == RESULT_CORRUPT ? read_past_damage(pump, error) : result;
}

static enum step pump_take_step(struct pump *pump)
{
    struct error error = {0};
    if (pump->journal && fence_is_raised(pump->options.fence))
        return follow_fence(pump);
    enum step step = pump_meet(pump);
    if (step != STEP_ON)
        return step;
    struct in_flight *in_flight = &pump->in_flight;
    if (!in_flight_is_empty(in_flight))
        return pump_deliver(pump);
    in_flight_clear(in_flight);
    if (pump_read_page(pump, &error) != RESULT_OK) {
        in_flight_clear(in_flight);
        return pump_wait_for_files(pump, &error);
    }
    in_flight_load(in_flight);
    return in_flight_is_empty(in_flight) ? pump_rest(pump) : pump_deliver(pump);
}

static void *pump_run(void *context)
{
    struct pump *pump = context;
    enum step step;
    do
        step = pump_take_step(pump);
    while (step != STEP_STOP && !pump_wait_after(pump, step));
    atomic_store(&pump->moved_ms, ENDED_MS);
    pthread_mutex_lock(&pump->lock);
    pump->ended = true;
    pthread_mutex_unlock(&pump->lock);
    pthread_cond_broadcast(&pump->wake);
    return NULL;
}

void pump_free(struct pump *pump)
{
    pump->options.sink.ops->free(pump->options.sink.self);
    journal_reader_close(pump->journal);
    in_flight_done(&pump->in_flight);
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
    pump->unverified = options->unverified;
    atomic_store(&pump->moved_ms, pump_now_ms(pump));
    pthread_mutex_init(&pump->lock, NULL);
    pthread_cond_init(&pump->wake, NULL);
    breaker_init(&pump->breaker, &BREAKER);
    retry_init(&pump->retry, &RETRY);
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
    enum result result = in_flight_init(&pump->in_flight, options->sink.page_events, PAGE_BYTES);
    if (result == RESULT_OK && !pump->parked)
        result = RESULT_NO_MEMORY;
    if (result == RESULT_OK && pthread_create(&pump->thread, NULL, pump_run, pump) != 0)
        result = error_set(error, RESULT_NO_MEMORY, "the pump's thread doesn't start");
    if (result != RESULT_OK) {
        pump_free(pump);
        return result;
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
