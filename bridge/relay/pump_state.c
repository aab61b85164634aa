/* How the pump's sink is: written down, logged, and how long to wait for it. */
#include <stdio.h>

#include "bridge/relay/pump_internal.h"
#include "core/log.h"
#include "core/utf8.h"

const char *pump_name(const struct pump *pump)
{
    return pump->options.sink.ops->name;
}

int64_t pump_now_ms(const struct pump *pump)
{
    return clock_monotonic_ms(pump->options.clock);
}

void pump_note(struct pump *pump, enum sink_state state, const char *reason)
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

enum step pump_stop_all(struct pump *pump, const struct error *error)
{
    fence_raise(pump->options.fence, error);
    pump_note(pump, SINK_STOPPED, error->text);
    LOG(LOG_ERROR, "sink.stopped", LOG_TEXT("sink", pump_name(pump)),
        LOG_TEXT("reason", error->text));
    return STEP_STOP;
}

enum step pump_wait_for_files(struct pump *pump, const struct error *error)
{
    breaker_withdraw(&pump->breaker, pump->generation);
    pump_note(pump, SINK_DOWN, error->text);
    LOG(LOG_WARN, "pump.storage_error", LOG_TEXT("sink", pump_name(pump)),
        LOG_TEXT("error", error->text));
    return STEP_WAIT;
}

enum step pump_go_down(struct pump *pump, const struct error *error)
{
    breaker_report(&pump->breaker, pump->generation, false, pump_now_ms(pump));
    pump->options.sink.ops->detach(pump->options.sink.self);
    pump->attached = false;
    pump_note(pump, SINK_DOWN, error->text);
    return STEP_WAIT;
}

static bool pump_state_wait_for(struct pump *pump, int64_t duration_ms, bool wakeup_ends_it)
{
    int64_t until_ns = clock_deadline_ns(pump->options.clock, duration_ms);
    atomic_store(&pump->moved_ms, pump_now_ms(pump));
    bool is_late = false;
    pthread_mutex_lock(&pump->lock);
    while (!atomic_load(&pump->stopping) && !(wakeup_ends_it && pump->woken) && !is_late)
        is_late = clock_wait(pump->options.clock, &pump->wake, &pump->lock, until_ns);
    pump->woken = false;
    pthread_mutex_unlock(&pump->lock);
    return atomic_load(&pump->stopping);
}

static int64_t wait_ms(struct pump *pump, enum step step)
{
    if (step == STEP_ON)
        return 0;
    if (step == STEP_IDLE)
        return PUMP_POLL_MS;
    int64_t backoff_ms = retry_next_ms(&pump->retry, pump->options.random);
    int64_t closed_ms = breaker_wait_ms(&pump->breaker, pump_now_ms(pump));
    return backoff_ms > closed_ms ? backoff_ms : closed_ms;
}

bool pump_wait_after(struct pump *pump, enum step step)
{
    return pump_state_wait_for(pump, wait_ms(pump, step), step == STEP_IDLE);
}

void pump_fill_parked(const struct journal_event *event, enum parked_state state,
                      const char *reason, int attempts, struct parked *ret_parked)
{
    *ret_parked = (struct parked){.sequence = event->sequence,
                                  .order_id = event->order_id,
                                  .state = state,
                                  .attempts = attempts};
    snprintf(ret_parked->event_id, sizeof ret_parked->event_id, "%s", event->event_id);
    snprintf(ret_parked->event_type, sizeof ret_parked->event_type, "%s", event->event_type);
    snprintf(ret_parked->reason, sizeof ret_parked->reason, "%s", reason);
    utf8_trim_cut(ret_parked->reason);
}
