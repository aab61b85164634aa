#include "bridge/repair/replay.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_EVENTS = 500, PAGE_BYTES = 4 << 20, ROWS_MAX = 500, BURSTS_A_SECOND = 10 };

struct replay {
    const struct replay_options *options;
    struct replay_report *report;
    struct journal_reader *journal;
    struct journal_info info;
    struct journal_page page;
    size_t indexes[PAGE_EVENTS];
    enum delivery outcomes[PAGE_EVENTS];
    struct parked *rows; /* of parked events, ROWS_MAX */
    size_t row_count;
    int64_t left; /* events that the limit still allows */
};

static const char *sink_name(const struct replay *replay)
{
    return replay->options->sink->ops->name;
}

static bool is_in_time(const struct replay *replay, const struct journal_event *event)
{
    const struct replay_filter *filter = replay->options->filter;
    int64_t occurred_ms = event->occurred_at_ms;
    return (filter->since_ms == 0 || occurred_ms >= filter->since_ms) &&
           (filter->until_ms == 0 || occurred_ms <= filter->until_ms);
}

static bool replay_is_wanted(const struct replay *replay, const struct journal_event *event)
{
    const struct replay_filter *filter = replay->options->filter;
    return is_in_time(replay, event) &&
           (!filter->event_id || strcmp(filter->event_id, event->event_id) == 0) &&
           (!filter->event_type || strcmp(filter->event_type, event->event_type) == 0) &&
           (filter->order_id == 0 || filter->order_id == event->order_id);
}

static void replay_tell(struct replay *replay, size_t index, const char *reason)
{
    const struct replay_options *options = replay->options;
    if (reason)
        replay->report->failed++;
    else
        replay->report->sent++;
    options->progress(options->context, sink_name(replay), &replay->page.events[index], reason);
}

static void keep_rate(const struct replay *replay, size_t count)
{
    int64_t rate = replay->options->filter->rate;
    if (rate > 0)
        clock_sleep_ms(replay->options->clock, (int64_t)count * 1000 / rate);
}

/* How many of them go at once: an even flow, not all of a page and then a long pause. */
static size_t burst_of(const struct replay *replay, size_t count)
{
    size_t burst = (size_t)replay->options->filter->rate / BURSTS_A_SECOND + 1;
    return replay->options->filter->rate > 0 && burst < count ? burst : count;
}

/* Sends the first `count` of the indexes; the outcomes tell how it went. */
static void send(struct replay *replay, size_t count, struct delivery_report *report)
{
    const struct sink *sink = replay->options->sink;
    const struct journal_event *last = &replay->page.events[replay->indexes[count - 1]];
    const struct batch batch = {.page = &replay->page,
                                .indexes = replay->indexes,
                                .count = count,
                                .through = last->sequence,
                                .through_hash = last->hash,
                                .outcomes = replay->outcomes};
    bool dry = replay->options->filter->dry_run;
    *report = (struct delivery_report){.verdict = DELIVERY_DONE};
    for (size_t i = 0; i < count; i++)
        replay->outcomes[i] = dry ? DELIVERY_DONE : DELIVERY_PENDING;
    if (dry)
        return;
    sink->ops->resend(sink->self, &batch, report);
    keep_rate(replay, count);
}

/* One page of the range. What the peer refuses is told and passed over. */
static enum result send_page(struct replay *replay, size_t count, struct error *error)
{
    struct delivery_report report;
    while (count > 0) {
        size_t burst = burst_of(replay, count), done = 0;
        send(replay, burst, &report);
        for (; done < burst && replay->outcomes[done] != DELIVERY_PENDING; done++)
            replay_tell(replay, replay->indexes[done],
                        replay->outcomes[done] == DELIVERY_DONE
                            ? NULL
                            : delivery_reason(&report, replay->outcomes[done]));
        if (report.verdict != DELIVERY_DONE)
            return error_set(error, RESULT_IO, "%s: %s", sink_name(replay), report.reason.text);
        memmove(replay->indexes, replay->indexes + done, (count - done) * sizeof *replay->indexes);
        count -= done;
    }
    return RESULT_OK;
}

static enum result replay_range(struct replay *replay, struct error *error)
{
    int64_t after = replay->options->filter->from - 1;
    while (replay->left > 0) {
        enum result result = journal_reader_page(replay->journal, after,
                                                 replay->options->filter->to, &replay->page, error);
        if (result != RESULT_OK || replay->page.count == 0)
            return result;
        size_t count = 0;
        for (size_t i = 0; i < replay->page.count && replay->left > 0; i++) {
            bool parked = false;
            result = delivery_state_is_parked(replay->options->deliveries, sink_name(replay),
                                              replay->page.events[i].sequence, &parked, error);
            if (result != RESULT_OK)
                return result;
            if (parked || !replay_is_wanted(replay, &replay->page.events[i]))
                continue;
            replay->indexes[count++] = i;
            replay->left--;
        }
        after = replay->page.events[replay->page.count - 1].sequence;
        result = send_page(replay, count, error);
        if (result != RESULT_OK)
            return result;
    }
    return RESULT_OK;
}

static void replay_keep_row(void *context, const struct parked *parked)
{
    struct replay *replay = context;
    if (replay->row_count < ROWS_MAX)
        replay->rows[replay->row_count++] = *parked;
}

/* The next open rows of the sink, in order of sequence. */
static enum result read_rows(struct replay *replay, int64_t after, struct error *error)
{
    const struct replay_filter *filter = replay->options->filter;
    const struct parked_filter open_rows = {.sink = sink_name(replay),
                                            .event_id = filter->event_id,
                                            .event_type = filter->event_type,
                                            .order_id = filter->order_id,
                                            .after = after,
                                            .only_open = true};
    replay->row_count = 0;
    return delivery_state_each_parked(replay->options->deliveries, &open_rows, replay_keep_row,
                                      replay, error);
}

/* An earlier event of the order is still parked: sending this one now would break the order's own.
 */
static enum result is_behind(struct replay *replay, const struct parked *row, bool *ret_behind,
                             struct error *error)
{
    *ret_behind = false;
    if (row->order_id == 0 || replay->options->filter->dry_run)
        return RESULT_OK;
    return delivery_state_has_open_before(replay->options->deliveries, sink_name(replay),
                                          row->sequence, row->order_id, ret_behind, error);
}

static enum result replay_settle(struct replay *replay, const struct parked *row,
                                 struct error *error)
{
    if (replay->options->filter->dry_run)
        return RESULT_OK;
    enum result result =
        delivery_state_settle_parked(replay->options->deliveries, sink_name(replay), row->sequence,
                                     PARKED_DELIVERED, "replayed", error);
    return result == RESULT_NOT_FOUND ? RESULT_OK : result; /* another replay was faster */
}

/* Of an event that can't be read the row is all there is. */
static void tell_unreadable(struct replay *replay, const struct parked *row)
{
    struct journal_event *event = &replay->page.events[0];
    *event = (struct journal_event){.sequence = row->sequence};
    memcpy(event->event_id, row->event_id, sizeof event->event_id);
    memcpy(event->event_type, row->event_type, sizeof event->event_type);
    replay_tell(replay, 0, "the journal is damaged here");
}

static enum result replay_row(struct replay *replay, const struct parked *row, struct error *error)
{
    struct delivery_report report;
    bool behind = false;
    enum result result = journal_reader_page(replay->journal, row->sequence - 1, row->sequence,
                                             &replay->page, error);
    if (result == RESULT_CORRUPT) {
        tell_unreadable(replay, row);
        return RESULT_OK;
    }
    if (result == RESULT_OK && replay->page.count == 0)
        return error_set(error, RESULT_CORRUPT, "event %lld is not in the journal",
                         (long long)row->sequence);
    if (result != RESULT_OK || !is_in_time(replay, &replay->page.events[0]))
        return result;
    result = is_behind(replay, row, &behind, error);
    if (result != RESULT_OK)
        return result;
    replay->left--;
    if (behind) {
        replay_tell(replay, 0, "held behind an earlier event of its order");
        return RESULT_OK;
    }
    replay->indexes[0] = 0;
    send(replay, 1, &report);
    if (report.verdict != DELIVERY_DONE)
        return error_set(error, RESULT_IO, "%s: %s", sink_name(replay), report.reason.text);
    bool sent = replay->outcomes[0] == DELIVERY_DONE;
    replay_tell(replay, 0, sent ? NULL : delivery_reason(&report, replay->outcomes[0]));
    return sent ? replay_settle(replay, row, error) : RESULT_OK;
}

static enum result replay_parked(struct replay *replay, struct error *error)
{
    int64_t after = 0;
    enum result result = read_rows(replay, after, error);
    while (result == RESULT_OK && replay->row_count > 0 && replay->left > 0) {
        for (size_t i = 0; i < replay->row_count && replay->left > 0 && result == RESULT_OK; i++)
            result = replay_row(replay, &replay->rows[i], error);
        after = replay->rows[replay->row_count - 1].sequence;
        if (result == RESULT_OK)
            result = read_rows(replay, after, error);
    }
    return result;
}

static enum result replay_attach(struct replay *replay, struct error *error)
{
    const struct sink *sink = replay->options->sink;
    int64_t cursor = 0; /* the pump's business */
    if (replay->options->filter->dry_run)
        return RESULT_OK;
    enum delivery done =
        sink->ops->attach(sink->self, replay->journal, &replay->info, &cursor, error);
    return done == DELIVERY_DONE ? RESULT_OK : RESULT_IO;
}

static enum result prepare(struct replay *replay, struct error *error)
{
    enum result result = journal_page_init(&replay->page, PAGE_EVENTS, PAGE_BYTES);
    replay->rows = calloc(ROWS_MAX, sizeof *replay->rows);
    if (result == RESULT_OK && !replay->rows)
        result = RESULT_NO_MEMORY;
    if (result == RESULT_OK)
        result = journal_reader_open(replay->options->data_dir, &replay->journal, error);
    if (result == RESULT_OK)
        result = journal_reader_info(replay->journal, &replay->info, error);
    return result == RESULT_OK ? replay_attach(replay, error) : result;
}

enum result replay_run(const struct replay_options *options, struct replay_report *report,
                       struct error *error)
{
    struct replay *replay = calloc(1, sizeof *replay);
    if (!replay)
        return RESULT_NO_MEMORY;
    replay->options = options;
    replay->report = report;
    replay->left = options->filter->limit > 0 ? options->filter->limit : INT64_MAX;
    enum result result = prepare(replay, error);
    if (result == RESULT_OK)
        result =
            options->filter->from > 0 ? replay_range(replay, error) : replay_parked(replay, error);
    options->sink->ops->detach(options->sink->self);
    journal_reader_close(replay->journal);
    journal_page_done(&replay->page);
    free(replay->rows);
    free(replay);
    return result;
}
