#include "bridge/relay/cursor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/utf8.h"

static const char HELD_REASON[] = "held behind a parked event of the same order";

enum result cursor_init(struct cursor *cursor, struct delivery_state *deliveries, const char *sink,
                        size_t rows_max)
{
    *cursor = (struct cursor){.deliveries = deliveries, .sink = sink, .rows_max = rows_max};
    cursor->rows = calloc(rows_max, sizeof *cursor->rows);
    return cursor->rows ? RESULT_OK : RESULT_NO_MEMORY;
}

void cursor_done(struct cursor *cursor)
{
    free(cursor->rows);
    cursor->rows = NULL;
}

static enum result compare_journal(struct journal_reader *journal,
                                   const struct delivery_state_sink *row, struct error *error)
{
    uint8_t hash[SHA256_SIZE];
    enum result result = journal_reader_hash(journal, row->cursor, hash, error);
    if (result == RESULT_OK && memcmp(hash, row->cursor_hash, sizeof hash) == 0)
        return RESULT_OK;
    if (result != RESULT_OK && result != RESULT_NOT_FOUND)
        return result;
    return error_set(error, RESULT_CONFLICT,
                     "the journal has not the event %lld that this sink had reached: the journal "
                     "was restored from a backup, bridge.db was not",
                     (long long)row->cursor);
}

enum result cursor_attach(struct cursor *cursor, struct journal_reader *journal,
                          const struct journal_info *info, struct error *error)
{
    struct delivery_state_sink row;
    uint8_t hash[SHA256_SIZE];
    enum result result = journal_reader_hash(journal, info->anchor_sequence, hash, error);
    if (result == RESULT_OK)
        result = delivery_state_attach(cursor->deliveries, cursor->sink, info->journal_id,
                                       info->anchor_sequence, hash, error);
    if (result == RESULT_OK)
        result = delivery_state_find_sink(cursor->deliveries, cursor->sink, &row, error);
    if (result == RESULT_OK)
        result = compare_journal(journal, &row, error);
    if (result == RESULT_OK)
        cursor->sequence = row.cursor;
    return result;
}

enum result cursor_rewind(struct cursor *cursor, struct journal_reader *journal, int64_t sequence,
                          struct error *error)
{
    uint8_t hash[SHA256_SIZE];
    const struct delivery_state_place place = {sequence, hash};
    enum result result = journal_reader_hash(journal, sequence, hash, error);
    if (result == RESULT_OK)
        result = delivery_state_rewind(cursor->deliveries, cursor->sink, &place, error);
    if (result != RESULT_OK)
        return result;
    LOG(LOG_WARN, "sink.cursor_moved", LOG_TEXT("sink", cursor->sink),
        LOG_INT("from", cursor->sequence), LOG_INT("to", sequence));
    cursor->sequence = sequence;
    return RESULT_OK;
}

static void fill_row(const struct journal_event *event, enum parked_state state, const char *reason,
                     int attempts, struct parked *ret_row)
{
    *ret_row = (struct parked){.sequence = event->sequence,
                               .order_id = event->order_id,
                               .state = state,
                               .attempts = attempts};
    snprintf(ret_row->event_id, sizeof ret_row->event_id, "%s", event->event_id);
    snprintf(ret_row->event_type, sizeof ret_row->event_type, "%s", event->event_type);
    snprintf(ret_row->reason, sizeof ret_row->reason, "%s", reason);
    utf8_trim_cut(ret_row->reason);
}

enum result cursor_hold_blocked(struct cursor *cursor, struct in_flight *in_flight,
                                struct error *error)
{
    bool any = false;
    size_t held = 0;
    enum result result =
        delivery_state_has_parked(cursor->deliveries, cursor->sink, cursor->sequence, &any, error);
    for (size_t i = in_flight->settled; any && i < in_flight->page.count; i++) {
        const struct journal_event *event = &in_flight->page.events[i];
        bool blocked = false;
        if (in_flight->items[i].outcome != DELIVERY_PENDING)
            continue;
        result = delivery_state_is_blocked(cursor->deliveries, cursor->sink, event->sequence,
                                           event->order_id, &blocked, error);
        if (result != RESULT_OK)
            return result;
        if (!blocked)
            continue;
        in_flight_hold(in_flight, i);
        fill_row(event, PARKED_HELD, HELD_REASON, 0, &cursor->rows[held++]);
    }
    /* Written down before the rest is delivered: the peer's cursor will pass over them. */
    if (result == RESULT_OK && held > 0)
        result = delivery_state_park(cursor->deliveries, cursor->sink, cursor->rows, held, error);
    return result;
}

static void log_parked(const struct cursor *cursor, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (cursor->rows[i].state == PARKED_REFUSED)
            LOG(LOG_ERROR, "event.parked", LOG_TEXT("sink", cursor->sink),
                LOG_INT("sequence", cursor->rows[i].sequence),
                LOG_TEXT("event_id", cursor->rows[i].event_id),
                LOG_TEXT("event_type", cursor->rows[i].event_type),
                LOG_TEXT("reason", cursor->rows[i].reason));
}

/* The rows of those before `end` that were rejected, or are held; returns how many. */
static size_t fill_rows(struct cursor *cursor, const struct in_flight *in_flight, size_t end)
{
    size_t count = 0;
    for (size_t i = in_flight->settled; i < end; i++) {
        const struct in_flight_item *item = &in_flight->items[i];
        const struct journal_event *event = &in_flight->page.events[i];
        if (item->outcome == DELIVERY_REFUSED)
            fill_row(event, PARKED_REFUSED, in_flight_reason(in_flight, i), item->attempts,
                     &cursor->rows[count++]);
        else if (item->outcome == DELIVERY_HELD)
            fill_row(event, PARKED_HELD, HELD_REASON, 0, &cursor->rows[count++]);
    }
    return count;
}

enum result cursor_advance(struct cursor *cursor, struct in_flight *in_flight, struct error *error)
{
    size_t ready = in_flight_count_ready(in_flight), end = in_flight->settled + ready;
    if (ready == 0)
        return RESULT_OK;
    size_t parked = fill_rows(cursor, in_flight, end);
    const struct journal_event *last = &in_flight->page.events[end - 1];
    const struct delivery_state_place place = {last->sequence, last->hash};
    enum result result =
        delivery_state_settle(cursor->deliveries, cursor->sink, &place, (int64_t)(ready - parked),
                              cursor->rows, parked, error);
    if (result != RESULT_OK)
        return result;
    log_parked(cursor, parked);
    cursor->sequence = last->sequence;
    in_flight->settled = end;
    return RESULT_OK;
}

static void fill_unreadable(int64_t sequence, struct parked *ret_row)
{
    *ret_row = (struct parked){.sequence = sequence,
                               .state = PARKED_REFUSED,
                               .dead_lettered = true, /* there is nothing to send */
                               .event_type = PARKED_UNREADABLE,
                               .reason = "the journal is damaged here"};
    snprintf(ret_row->event_id, sizeof ret_row->event_id, "00000000-0000-0000-0000-%012" PRIu64,
             (uint64_t)sequence % UINT64_C(1000000000000));
}

enum result cursor_park_unreadable(struct cursor *cursor, int64_t from, int64_t to,
                                   struct error *error)
{
    enum result result = RESULT_OK;
    while (result == RESULT_OK && from < to) {
        size_t count = 0;
        while (count < cursor->rows_max && from < to)
            fill_unreadable(from++, &cursor->rows[count++]);
        result = delivery_state_park(cursor->deliveries, cursor->sink, cursor->rows, count, error);
    }
    return result;
}

/* Events that the peer's cursor has passed and that it hasn't got. */
struct losses {
    struct cursor *cursor;
    size_t count; /* in the cursor's rows */
    enum result result;
    struct error error;
};

static void write_losses(struct losses *losses)
{
    struct cursor *cursor = losses->cursor;
    if (losses->result == RESULT_OK && losses->count > 0)
        losses->result = delivery_state_park(cursor->deliveries, cursor->sink, cursor->rows,
                                             losses->count, &losses->error);
    losses->count = 0;
}

static bool is_behind_loss(struct losses *losses, const struct journal_event *event)
{
    struct cursor *cursor = losses->cursor;
    bool behind = false;
    for (size_t i = 0; i < losses->count && event->order_id != 0; i++)
        behind = behind || cursor->rows[i].order_id == event->order_id;
    if (!behind && losses->result == RESULT_OK)
        losses->result =
            delivery_state_has_open_before(cursor->deliveries, cursor->sink, event->sequence,
                                           event->order_id, &behind, &losses->error);
    return behind;
}

static void on_missing(void *context, const struct journal_event *event)
{
    struct losses *losses = context;
    if (losses->count == losses->cursor->rows_max)
        write_losses(losses);
    bool behind = is_behind_loss(losses, event);
    fill_row(event, behind ? PARKED_HELD : PARKED_REFUSED,
             "head office hasn't got it, and what bridge.db said of it was lost", 0,
             &losses->cursor->rows[losses->count++]);
}

enum result cursor_audit(struct cursor *cursor, const struct sink *sink,
                         struct journal_reader *journal, int64_t through, struct error *error)
{
    struct losses losses = {.cursor = cursor};
    if (!sink->ops->audit || through <= cursor->sequence)
        return RESULT_OK;
    enum delivery done = sink->ops->audit(sink->self, journal, cursor->sequence, through,
                                          on_missing, &losses, error);
    write_losses(&losses);
    if (done != DELIVERY_DONE)
        return RESULT_UNREACHABLE;
    if (losses.result != RESULT_OK)
        *error = losses.error;
    return losses.result;
}
