/* What a pump does once journal and peer are there: deliver, settle, and rest. */
#include <stdio.h>

#include "bridge/relay/pump_internal.h"
#include "core/log.h"
#include "core/utf8.h"

static const char HELD_REASON[] = "held behind a parked event of the same order";

/* Holds what is parked already, or is behind a parked event of its order. Most of the time nothing
 * is. RESULT_CONFLICT if a replay was faster. */
static enum result hold_blocked(struct pump *pump, struct error *error)
{
    struct delivery_state *deliveries = pump->options.deliveries;
    struct in_flight *in_flight = &pump->in_flight;
    bool any = false;
    size_t held = 0;
    enum result result =
        delivery_state_has_parked(deliveries, pump_name(pump), pump->cursor, &any, error);
    for (size_t i = in_flight->settled; any && i < in_flight->page.count; i++) {
        const struct journal_event *event = &in_flight->page.events[i];
        bool blocked = false;
        if (in_flight->items[i].outcome != DELIVERY_PENDING)
            continue;
        result = delivery_state_is_blocked(deliveries, pump_name(pump), event->sequence,
                                           event->order_id, &blocked, error);
        if (result != RESULT_OK)
            return result;
        if (!blocked)
            continue;
        in_flight_hold(in_flight, i);
        pump_fill_parked(event, PARKED_HELD, HELD_REASON, 0, &pump->parked[held++]);
    }
    /* Written down before the rest is delivered: the peer's cursor will pass over them. */
    if (result == RESULT_OK && held > 0)
        result = delivery_state_park(deliveries, pump_name(pump), pump->parked, held, error);
    return result;
}

static void log_parked(const struct pump *pump, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (pump->parked[i].state == PARKED_REFUSED)
            LOG(LOG_ERROR, "event.parked", LOG_TEXT("sink", pump_name(pump)),
                LOG_INT("sequence", pump->parked[i].sequence),
                LOG_TEXT("event_id", pump->parked[i].event_id),
                LOG_TEXT("event_type", pump->parked[i].event_type),
                LOG_TEXT("reason", pump->parked[i].reason));
}

/* Cursor, count and parked rows move together, up to the first event that is pending. */
static enum result pump_deliver_settle(struct pump *pump, struct error *error)
{
    struct in_flight *in_flight = &pump->in_flight;
    size_t ready = in_flight_count_ready(in_flight), parked = 0;
    size_t end = in_flight->settled + ready;
    if (ready == 0)
        return RESULT_OK;
    for (size_t i = in_flight->settled; i < end; i++) {
        const struct in_flight_item *item = &in_flight->items[i];
        const struct journal_event *event = &in_flight->page.events[i];
        if (item->outcome == DELIVERY_REFUSED)
            pump_fill_parked(event, PARKED_REFUSED, in_flight_reason(in_flight, i), item->attempts,
                             &pump->parked[parked++]);
        else if (item->outcome == DELIVERY_HELD)
            pump_fill_parked(event, PARKED_HELD, HELD_REASON, 0, &pump->parked[parked++]);
    }
    const struct journal_event *last = &in_flight->page.events[end - 1];
    const struct delivery_state_place cursor = {last->sequence, last->hash};
    enum result result =
        delivery_state_settle(pump->options.deliveries, pump_name(pump), &cursor,
                              (int64_t)(ready - parked), pump->parked, parked, error);
    if (result != RESULT_OK)
        return result;
    log_parked(pump, parked);
    pump->cursor = last->sequence;
    in_flight->settled = end;
    return RESULT_OK;
}

/* The cursor moves while the rest is still on its way, so that less is sent again after a crash. If
 * it can't be written now, the end of the delivery tries again. */
static bool pump_deliver_on_progress(void *context)
{
    struct pump *pump = context;
    int64_t now_ms = pump_now_ms(pump);
    if (now_ms - pump->settled_at_ms >= PUMP_SETTLE_MS) {
        in_flight_note_done(&pump->in_flight);
        (void)!pump_deliver_settle(pump, NULL);
        pump->settled_at_ms = pump_now_ms(pump);
    }
    return !atomic_load(&pump->stopping) && !fence_is_raised(pump->options.fence);
}

/* What has been delivered is not delivered again for want of a place to write it down. False if it
 * is time to stop. */
static bool settle_at_last(struct pump *pump)
{
    struct error error = {0};
    enum result result = pump_deliver_settle(pump, &error);
    while (result != RESULT_OK && result != RESULT_CONFLICT) {
        if (pump_wait_after(pump, pump_wait_for_files(pump, &error)))
            return false;
        result = pump_deliver_settle(pump, &error);
    }
    if (result == RESULT_CONFLICT) /* what an event was held behind has been replayed since */
        in_flight_release(&pump->in_flight);
    return true;
}

static enum step conclude(struct pump *pump, const struct delivery_report *report, bool again)
{
    if (report->verdict == DELIVERY_STOP)
        return pump_stop_all(pump, &report->reason);
    if (report->verdict != DELIVERY_DONE)
        return pump_go_down(pump, &report->reason);
    breaker_report(&pump->breaker, pump->generation, true, pump_now_ms(pump));
    if (again)
        return STEP_WAIT;
    retry_reset(&pump->retry);
    pump_note(pump, SINK_RUNNING, NULL);
    return STEP_ON;
}

enum step pump_deliver(struct pump *pump)
{
    struct error error = {0};
    struct batch batch;
    struct delivery_report report = {.verdict = DELIVERY_DONE};
    enum result result = hold_blocked(pump, &error);
    if (result == RESULT_CONFLICT) {
        in_flight_release(&pump->in_flight);
        breaker_withdraw(&pump->breaker, pump->generation);
        return STEP_ON;
    }
    if (result != RESULT_OK)
        return pump_wait_for_files(pump, &error);
    in_flight_pack(&pump->in_flight, &batch);
    batch.progress = pump_deliver_on_progress;
    batch.context = pump;
    pump->settled_at_ms = pump_now_ms(pump);
    pump->options.sink.ops->deliver(pump->options.sink.self, &batch, &report);
    bool again = in_flight_conclude(&pump->in_flight, &report);
    if (!settle_at_last(pump))
        return STEP_WAIT;
    return conclude(pump, &report, again);
}

/* Reads the parked event into the page. */
static enum result pump_deliver_read_parked(struct pump *pump, const struct parked *parked,
                                            struct error *error)
{
    struct journal_page *page = &pump->in_flight.page;
    enum result result =
        journal_reader_page(pump->journal, parked->sequence - 1, parked->sequence, page, error);
    if (result == RESULT_OK && page->count == 0)
        return error_set(error, RESULT_CORRUPT, "parked event %lld is not in the journal",
                         (long long)parked->sequence);
    return result;
}

/* The parked event, of any sink, is in the page. */
static enum step pump_deliver_send_dead_letter(struct pump *pump, const struct parked *parked)
{
    const struct sink *sink = &pump->options.sink;
    const struct journal_page *page = &pump->in_flight.page;
    struct error error = {0};
    enum delivery done = sink->ops->dead_letter(sink->self, journal_page_payload(page, 0),
                                                page->events[0].payload_size, &page->events[0],
                                                parked->reason, parked->attempts, &error);
    if (done == DELIVERY_DOWN)
        return pump_go_down(pump, &error);
    breaker_report(&pump->breaker, pump->generation, true, pump_now_ms(pump));
    if (done != DELIVERY_DONE) {
        LOG(LOG_ERROR, "dead_letter.refused", LOG_INT("sequence", parked->sequence),
            LOG_TEXT("error", error.text));
        pump->dead_letters_due_ms = pump_now_ms(pump) + PUMP_DEAD_LETTER_RETRY_MS;
        return STEP_IDLE;
    }
    enum result result = delivery_state_note_dead_lettered(pump->options.deliveries, parked->sink,
                                                           parked->sequence, &error);
    return result == RESULT_OK ? STEP_ON : pump_wait_for_files(pump, &error);
}

/* STEP_IDLE if there is none to send, or the broker didn't take the last one. */
static enum step send_next_dead_letter(struct pump *pump)
{
    struct parked parked;
    struct error error = {0};
    if (!pump->options.sink.ops->dead_letter || pump_now_ms(pump) < pump->dead_letters_due_ms)
        return STEP_IDLE;
    enum result result = delivery_state_find_dead_letter(pump->options.deliveries, &parked, &error);
    if (result == RESULT_NOT_FOUND)
        return STEP_IDLE;
    if (result == RESULT_OK)
        result = pump_deliver_read_parked(pump, &parked, &error);
    enum step step = result == RESULT_OK ? pump_deliver_send_dead_letter(pump, &parked)
                                         : pump_wait_for_files(pump, &error);
    in_flight_clear(&pump->in_flight);
    return step;
}

enum step pump_rest(struct pump *pump)
{
    struct error error = {0};
    enum step step = send_next_dead_letter(pump);
    if (step != STEP_IDLE)
        return step;
    if (pump->options.sink.ops->idle(pump->options.sink.self, &error) != DELIVERY_DONE)
        return pump_go_down(pump, &error);
    breaker_report(&pump->breaker, pump->generation, true, pump_now_ms(pump));
    retry_reset(&pump->retry);
    pump_note(pump, SINK_RUNNING, NULL);
    return STEP_IDLE;
}
