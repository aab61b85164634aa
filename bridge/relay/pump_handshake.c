/* How a pump comes by its journal and its peer, and sees to it that they fit each other and
 * bridge.db. */
#include <string.h>

#include "bridge/relay/pump_internal.h"
#include "core/log.h"

/* The journal must be the one that the cursor was moved along: one that was restored from a backup
 * gives sequences to new sales that others had before. */
static enum result compare_journal(struct pump *pump, const struct delivery_state_sink *row,
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

static enum result pump_handshake_read_cursor(struct pump *pump, struct error *error)
{
    struct delivery_state_sink row;
    uint8_t anchor_hash[SHA256_SIZE];
    enum result result =
        journal_reader_hash(pump->journal, pump->info.anchor_sequence, anchor_hash, error);
    if (result == RESULT_OK)
        result =
            delivery_state_attach(pump->options.deliveries, pump_name(pump), pump->info.journal_id,
                                  pump->info.anchor_sequence, anchor_hash, error);
    if (result == RESULT_OK)
        result = delivery_state_find_sink(pump->options.deliveries, pump_name(pump), &row, error);
    if (result == RESULT_OK)
        result = compare_journal(pump, &row, error);
    if (result == RESULT_OK)
        pump->cursor = row.cursor;
    return result;
}

/* The journal may not be there yet: the appliance makes it. */
static enum step pump_handshake_open_journal(struct pump *pump)
{
    struct error error = {0};
    enum result result = journal_reader_open(pump->options.data_dir, &pump->journal, &error);
    if (result == RESULT_OK)
        result = journal_reader_info(pump->journal, &pump->info, &error);
    if (result == RESULT_OK)
        result = pump_handshake_read_cursor(pump, &error);
    if (result == RESULT_OK)
        return STEP_ON;
    if (result == RESULT_CONFLICT || result == RESULT_UNSUPPORTED)
        return pump_stop_all(pump, &error);
    journal_reader_close(pump->journal);
    pump->journal = NULL;
    return result == RESULT_NOT_FOUND ? STEP_IDLE : pump_wait_for_files(pump, &error);
}

/* Somebody has put another file in the journal's place: it is looked at as at the start. */
static void leave_replaced_journal(struct pump *pump)
{
    LOG(LOG_WARN, "journal.replaced", LOG_TEXT("sink", pump_name(pump)));
    pump->options.sink.ops->detach(pump->options.sink.self);
    pump->attached = false;
    in_flight_clear(&pump->in_flight);
    journal_reader_close(pump->journal);
    pump->journal = NULL;
}

static enum result move_cursor(struct pump *pump, int64_t cursor, struct error *error)
{
    uint8_t hash[SHA256_SIZE];
    const struct delivery_state_place place = {cursor, hash};
    enum result result = journal_reader_hash(pump->journal, cursor, hash, error);
    if (result == RESULT_OK)
        result = delivery_state_rewind(pump->options.deliveries, pump_name(pump), &place, error);
    if (result != RESULT_OK)
        return result;
    LOG(LOG_WARN, "sink.cursor_moved", LOG_TEXT("sink", pump_name(pump)),
        LOG_INT("from", pump->cursor), LOG_INT("to", cursor));
    pump->cursor = cursor;
    in_flight_clear(&pump->in_flight);
    return RESULT_OK;
}

/* Events that the peer's cursor has passed and that it hasn't got: they had been parked, and
 * bridge.db, which knew it, was lost. */
struct losses {
    struct pump *pump;
    size_t count; /* in the pump's rows */
    enum result result;
    struct error error;
};

static void write_losses(struct losses *losses)
{
    struct pump *pump = losses->pump;
    if (losses->result == RESULT_OK && losses->count > 0)
        losses->result = delivery_state_park(pump->options.deliveries, pump_name(pump),
                                             pump->parked, losses->count, &losses->error);
    losses->count = 0;
}

static bool is_behind_loss(struct losses *losses, const struct journal_event *event)
{
    struct pump *pump = losses->pump;
    bool behind = false;
    for (size_t i = 0; i < losses->count && event->order_id != 0; i++)
        behind = behind || pump->parked[i].order_id == event->order_id;
    if (!behind && losses->result == RESULT_OK)
        losses->result = delivery_state_has_open_before(pump->options.deliveries, pump_name(pump),
                                                        event->sequence, event->order_id, &behind,
                                                        &losses->error);
    return behind;
}

static void on_missing(void *context, const struct journal_event *event)
{
    struct losses *losses = context;
    struct pump *pump = losses->pump;
    if (losses->count == pump->options.sink.page_events)
        write_losses(losses);
    bool behind = is_behind_loss(losses, event);
    pump_fill_parked(event, behind ? PARKED_HELD : PARKED_REFUSED,
                     "head office hasn't got it, and what bridge.db said of it was lost", 0,
                     &pump->parked[losses->count++]);
}

/* The peer is further than bridge.db says: what it passed over is parked, and nothing is called
 * delivered on trust. */
static enum delivery pump_handshake_audit(struct pump *pump, int64_t through, struct error *error)
{
    const struct sink *sink = &pump->options.sink;
    struct losses losses = {.pump = pump};
    if (!sink->ops->audit || through <= pump->cursor)
        return DELIVERY_DONE;
    enum delivery done = sink->ops->audit(sink->self, pump->journal, pump->cursor, through,
                                          on_missing, &losses, error);
    write_losses(&losses);
    if (done != DELIVERY_DONE || losses.result == RESULT_OK)
        return done;
    *error = losses.error;
    return DELIVERY_DOWN;
}

static enum step pump_handshake_attach(struct pump *pump)
{
    struct error error = {0};
    int64_t cursor = pump->cursor;
    /* The anchor may have moved since. */
    if (journal_reader_info(pump->journal, &pump->info, &error) != RESULT_OK)
        return pump_wait_for_files(pump, &error);
    enum delivery done = pump->options.sink.ops->attach(pump->options.sink.self, pump->journal,
                                                        &pump->info, &cursor, &error);
    if (done == DELIVERY_STOP)
        return pump_stop_all(pump, &error);
    if (done == DELIVERY_DONE)
        done = pump_handshake_audit(pump, cursor, &error);
    if (done != DELIVERY_DONE)
        return pump_go_down(pump, &error);
    if (cursor != pump->cursor && move_cursor(pump, cursor, &error) != RESULT_OK)
        return pump_wait_for_files(pump, &error);
    pump->attached = true;
    pump->dead_letters_due_ms = 0; /* the topology is declared on each connection */
    return STEP_ON;
}

/* A sink that had stopped has been asked again, and has nothing against this box. */
static void clear_unverified(struct pump *pump)
{
    if (pump->unverified)
        fence_clear_unverified(pump->options.fence);
    pump->unverified = false;
}

static enum step wait_for_others(struct pump *pump)
{
    breaker_withdraw(&pump->breaker, pump->generation);
    if (pump->noted_state != SINK_DOWN)
        pump_note(pump, SINK_DOWN, "waits for a sink that had stopped and hasn't been asked again");
    return STEP_IDLE;
}

enum step pump_meet(struct pump *pump)
{
    enum step step = STEP_ON;
    if (pump->journal && !journal_reader_is_current(pump->journal))
        leave_replaced_journal(pump);
    if (!pump->journal)
        step = pump_handshake_open_journal(pump);
    if (step != STEP_ON)
        return step;
    if (breaker_admit(&pump->breaker, pump_now_ms(pump), &pump->generation) != RESULT_OK)
        return STEP_WAIT;
    if (pump->breaker.state == BREAKER_HALF_OPEN)
        pump_note(pump, SINK_DOWN, NULL);
    if (!pump->attached)
        step = pump_handshake_attach(pump);
    if (step != STEP_ON)
        return step;
    clear_unverified(pump);
    return fence_is_unverified(pump->options.fence) ? wait_for_others(pump) : STEP_ON;
}
