#include "bridge/relay/sink_postgres.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/relay/missing_events.h"
#include "core/retry.h"

enum {
    BATCH_BYTES_MAX = 16 << 20,
    NUMBER_SIZE = 24,
    HEX_SIZE = SHA256_TEXT_SIZE + 2, /* with PostgreSQL's \x */
    TRIES = 3,
    RETRY_BASE_MS = 20,
    RETRY_CAP_MS = 500,
};

static const char FIND_DEVICE[] =
    "SELECT journal_id::text, last_sequence, '\\x' || encode(chain_head, 'hex')"
    " FROM devices WHERE device_id = $1";
static const char ADD_DEVICE[] =
    "INSERT INTO devices (device_id, journal_id, location, last_sequence, chain_head)"
    " VALUES ($1, $2, $3, $4, $5)";
static const char TAKE_EVENTS[] = "SELECT tillbox_take_events($1, $2, $3, $4, $5, $6, $7::jsonb)";
static const char STORE_EVENTS[] = "SELECT tillbox_store_events($1, $2::jsonb)";

struct sink_postgres {
    struct pg_options options;
    const struct random_source *random;
    struct latch break_off;
    struct journal_info info;
    struct pg *pg;
    int64_t last_sequence; /* head office's cursor */
    int64_t through; /* the last batch's, whose events are delivered or parked by the time that … */
    uint8_t through_hash[SHA256_SIZE]; /* … there is nothing more to deliver */
    struct buf events;                 /* the batch as a JSON array */
};

static void format_number(int64_t number, char ret_text[static NUMBER_SIZE])
{
    snprintf(ret_text, NUMBER_SIZE, "%" PRId64, number);
}

static void format_hash(const uint8_t *hash, char ret_text[static HEX_SIZE])
{
    ret_text[0] = '\\';
    ret_text[1] = 'x';
    sha256_format(hash, ret_text + 2);
}

static void sink_postgres_detach(void *self)
{
    struct sink_postgres *sink = self;
    pg_close(sink->pg);
    sink->pg = NULL;
}

/* What head office knows of the box. */
struct device {
    bool known;
    char journal_id[UUID_TEXT_SIZE];
    int64_t last_sequence;
    char chain_head[HEX_SIZE];
};

static enum delivery find_device(struct sink_postgres *sink, struct device *ret_device,
                                 struct error *error)
{
    struct pg_rows *rows = NULL;
    const char *const values[] = {sink->info.device_id};
    enum delivery done = pg_run(sink->pg, FIND_DEVICE, 1, values, &rows, error);
    if (done != DELIVERY_DONE)
        return DELIVERY_DOWN;
    *ret_device = (struct device){.known = pg_row_count(rows) == 1};
    if (ret_device->known) {
        snprintf(ret_device->journal_id, sizeof ret_device->journal_id, "%s", pg_text(rows, 0, 0));
        ret_device->last_sequence = pg_int(rows, 0, 1);
        snprintf(ret_device->chain_head, sizeof ret_device->chain_head, "%s", pg_text(rows, 0, 2));
    }
    pg_free_rows(rows);
    return DELIVERY_DONE;
}

/* A box that head office hears of for the first time starts at its anchor. */
static enum delivery add_device(struct sink_postgres *sink, const uint8_t *hash,
                                struct error *error)
{
    char sequence[NUMBER_SIZE], head[HEX_SIZE];
    format_number(sink->info.anchor_sequence, sequence);
    format_hash(hash, head);
    const char *const values[] = {sink->info.device_id, sink->info.journal_id, sink->info.location,
                                  sequence, head};
    enum delivery done = pg_run(sink->pg, ADD_DEVICE, 5, values, NULL, error);
    return done == DELIVERY_DONE ? DELIVERY_DONE : DELIVERY_DOWN;
}

/* Head office and box must have the same event at head office's cursor. Behind is fine: head
 * office was restored, and gets the rest again. */
static enum delivery sink_postgres_compare(struct sink_postgres *sink,
                                           struct journal_reader *journal,
                                           const struct device *device, struct error *error)
{
    uint8_t hash[SHA256_SIZE];
    char head[HEX_SIZE];
    if (strcmp(device->journal_id, sink->info.journal_id) != 0) {
        error_write(error, "head office has journal %s for box %s, this is %s: a box was replaced",
                    device->journal_id, sink->info.device_id, sink->info.journal_id);
        return DELIVERY_STOP;
    }
    enum result result = journal_reader_hash(journal, device->last_sequence, hash, error);
    if (result == RESULT_NOT_FOUND) {
        error_write(error,
                    "head office is at sequence %lld of box %s, which the journal doesn't have: "
                    "the box or head office was restored from a backup",
                    (long long)device->last_sequence, sink->info.device_id);
        return DELIVERY_STOP;
    }
    if (result != RESULT_OK)
        return DELIVERY_DOWN;
    format_hash(hash, head);
    if (strcmp(head, device->chain_head) == 0)
        return DELIVERY_DONE;
    error_write(error,
                "head office has another event %lld of box %s: the box was cloned or restored",
                (long long)device->last_sequence, sink->info.device_id);
    return DELIVERY_STOP;
}

static enum delivery agree(struct sink_postgres *sink, struct journal_reader *journal,
                           int64_t *cursor, struct error *error)
{
    struct device device;
    uint8_t anchor_hash[SHA256_SIZE];
    enum delivery done = find_device(sink, &device, error);
    if (done == DELIVERY_DONE && device.known) {
        done = sink_postgres_compare(sink, journal, &device, error);
        if (done == DELIVERY_DONE)
            *cursor = device.last_sequence;
        return done;
    }
    if (done != DELIVERY_DONE ||
        journal_reader_hash(journal, sink->info.anchor_sequence, anchor_hash, error) != RESULT_OK)
        return DELIVERY_DOWN;
    done = add_device(sink, anchor_hash, error);
    if (done == DELIVERY_DONE)
        *cursor = sink->info.anchor_sequence;
    return done;
}

static enum delivery sink_postgres_attach(void *self, struct journal_reader *journal,
                                          const struct journal_info *info, int64_t *cursor,
                                          struct error *error)
{
    struct sink_postgres *sink = self;
    sink->info = *info;
    enum delivery done = pg_connect(&sink->options, &sink->pg, error);
    if (done == DELIVERY_DONE)
        done = agree(sink, journal, cursor, error);
    if (done == DELIVERY_DONE)
        sink->last_sequence = sink->through = *cursor;
    else if (done == DELIVERY_STOP)
        sink_postgres_detach(sink);
    return done;
}

/* A part of a batch: the events from index `first`, `count` of them. */
struct part {
    size_t first, count;
    int64_t through;
    const uint8_t *hash;
};

static enum result sink_postgres_write_events(struct sink_postgres *sink, const struct batch *batch,
                                              const struct part *part)
{
    const char *separator = "[";
    buf_clear(&sink->events);
    for (size_t i = part->first; i < part->first + part->count; i++) {
        size_t index = batch->indexes[i];
        if (batch->outcomes[i] == DELIVERY_HELD)
            continue;
        buf_append_text(&sink->events, separator);
        separator = ",";
        buf_append(&sink->events, journal_page_payload(batch->page, index),
                   batch->page->events[index].payload_size);
    }
    buf_append_text(&sink->events, separator[0] == '[' ? "[]" : "]");
    return buf_result(&sink->events);
}

/* Not about any event: the line, the login, resources, locks, the operator, the system, and TB001,
 * after which attaching again compares the heads (PostgreSQL, appendix A). */
static bool is_about_the_server(const char *sqlstate)
{
    static const char *const CLASSES[] = {"",   "08", "25", "28", "3D", "40",
                                          "53", "55", "57", "58", "TB"};
    for (size_t i = 0; i < ARRAY_LENGTH(CLASSES); i++)
        if (strncmp(sqlstate, CLASSES[i], 2) == 0)
            return true;
    return false;
}

/* Whatever else the server says may be about one event, as a trigger's RAISE is: then the others
 * get through. */
static enum delivery classify_failure(const struct sink_postgres *sink, enum delivery done)
{
    const char *sqlstate = pg_sqlstate(sink->pg);
    if (strcmp(sqlstate, "TB002") == 0)
        return DELIVERY_STOP;
    if (done == DELIVERY_DOWN && !is_about_the_server(sqlstate))
        return DELIVERY_REFUSED;
    return done;
}

/* Runs again what the server asks to be run again, then takes it for an outage: the events are not
 * to blame. */
static enum delivery run_again(struct sink_postgres *sink, const char *sql, size_t count,
                               const char *const values[], struct error *error)
{
    static const struct retry_options RETRY = {.base_ms = RETRY_BASE_MS, .cap_ms = RETRY_CAP_MS};
    struct retry retry;
    retry_init(&retry, &RETRY);
    for (int tries = 1;; tries++) {
        enum delivery done = pg_run(sink->pg, sql, count, values, NULL, error);
        if (done != DELIVERY_TRANSIENT)
            return done == DELIVERY_DONE ? done : classify_failure(sink, done);
        if (tries == TRIES)
            return DELIVERY_DOWN;
        clock_sleep_ms(sink->options.clock, retry_next_ms(&retry, sink->random));
    }
}

/* With the cursor, or as a replay without. */
static enum delivery take_part(struct sink_postgres *sink, const struct part *part,
                               struct error *error)
{
    char after[NUMBER_SIZE], through[NUMBER_SIZE], head[HEX_SIZE];
    format_number(sink->last_sequence, after);
    format_number(part->through, through);
    format_hash(part->hash, head);
    const char *const values[7] = {
        sink->info.device_id,   sink->info.journal_id, sink->info.location, after, through, head,
        buf_text(&sink->events)};
    enum delivery done = run_again(sink, TAKE_EVENTS, ARRAY_LENGTH(values), values, error);
    if (done == DELIVERY_DONE)
        sink->last_sequence = part->through;
    return done;
}

static enum delivery store_part(struct sink_postgres *sink, struct error *error)
{
    const char *const values[] = {sink->info.device_id, buf_text(&sink->events)};
    return run_again(sink, STORE_EVENTS, ARRAY_LENGTH(values), values, error);
}

static enum delivery deliver_part(struct sink_postgres *sink, const struct batch *batch,
                                  const struct part *part, bool again, struct error *error)
{
    if (sink_postgres_write_events(sink, batch, part) != RESULT_OK) {
        error_write(error, "the batch doesn't fit into memory");
        return DELIVERY_DOWN;
    }
    return again ? store_part(sink, error) : take_part(sink, part, error);
}

/* The part that starts at `first` and has up to `count` events. The last one speaks for everything
 * up to the batch's end. */
static struct part part_of(const struct batch *batch, size_t first, size_t count)
{
    size_t left = batch->count - first;
    if (count >= left)
        return (struct part){first, left, batch->through, batch->through_hash};
    const struct journal_event *last = &batch->page->events[batch->indexes[first + count - 1]];
    if (last->sequence >= batch->through) /* a probe has events from farther behind */
        return (struct part){first, count, batch->through, batch->through_hash};
    return (struct part){first, count, last->sequence, last->hash};
}

static void mark(const struct batch *batch, const struct part *part, enum delivery outcome)
{
    for (size_t i = part->first; i < part->first + part->count; i++)
        if (batch->outcomes[i] != DELIVERY_HELD)
            batch->outcomes[i] = outcome;
}

/* The later events of a rejected one's order are not offered. */
static void hold_order(const struct batch *batch, size_t rejected)
{
    const struct journal_event *events = batch->page->events;
    int64_t order_id = events[batch->indexes[rejected]].order_id;
    for (size_t i = rejected + 1; order_id != 0 && i < batch->count; i++)
        if (events[batch->indexes[i]].order_id == order_id)
            batch->outcomes[i] = DELIVERY_HELD;
}

/* What goes through keeps the rest of the batch going; so many in a row that don't, end it. */
enum { REJECTED_IN_A_ROW_MAX = 4 };

/* How a batch goes on after a part of it. */
struct progress {
    size_t next, count; /* the next part */
    bool is_past_rejected;
    int rejected_in_a_row;
};

/* The part has been dealt with. Behind a rejected event the cursor stays, until the bridge has
 * written down what becomes of that event. */
static void go_on(struct progress *at, const struct part *part, size_t batch_count,
                  bool is_rejected)
{
    at->next += part->count;
    at->count = batch_count;
    at->is_past_rejected |= is_rejected;
    at->rejected_in_a_row = is_rejected ? at->rejected_in_a_row + 1 : 0;
}

/* Rejected data is closed in on by halving: everything else goes through, and it alone is named. */
static void deliver_parts(struct sink_postgres *sink, const struct batch *batch, bool again,
                          struct delivery_report *ret_report)
{
    struct delivery_report report = {.verdict = DELIVERY_DONE};
    struct progress at = {.count = batch->count};
    do {
        struct part part = part_of(batch, at.next, at.count);
        enum delivery done =
            deliver_part(sink, batch, &part, again || at.is_past_rejected, &report.reason);
        if (done == DELIVERY_REFUSED && part.count > 1) {
            at.count = part.count / 2;
            continue;
        }
        if (done == DELIVERY_REFUSED)
            report.refusal = report.reason;
        if (done == DELIVERY_DONE || (done == DELIVERY_REFUSED && part.count == 1)) {
            mark(batch, &part, done);
            if (done == DELIVERY_REFUSED)
                hold_order(batch, part.first);
            go_on(&at, &part, batch->count, done == DELIVERY_REFUSED);
        } else {
            report.verdict = done == DELIVERY_REFUSED ? DELIVERY_DOWN : done;
        }
    } while (report.verdict == DELIVERY_DONE && at.next < batch->count &&
             at.rejected_in_a_row < REJECTED_IN_A_ROW_MAX);
    *ret_report = report;
}

static void sink_postgres_deliver(void *self, const struct batch *batch,
                                  struct delivery_report *ret_report)
{
    struct sink_postgres *sink = self;
    sink->through = batch->through;
    memcpy(sink->through_hash, batch->through_hash, sizeof sink->through_hash);
    deliver_parts(sink, batch, false, ret_report);
}

static void resend(void *self, const struct batch *batch, struct delivery_report *ret_report)
{
    deliver_parts(self, batch, true, ret_report);
}

static enum delivery sink_postgres_idle(void *self, struct error *error)
{
    struct sink_postgres *sink = self;
    const struct part nothing = {.through = sink->through, .hash = sink->through_hash};
    if (!pg_is_alive(sink->pg)) {
        error_write(error, "the connection was lost");
        return DELIVERY_DOWN;
    }
    if (sink->through <= sink->last_sequence)
        return DELIVERY_DONE;
    /* Over the rejected events at the journal's end, which are parked by now. */
    buf_clear(&sink->events);
    buf_append_text(&sink->events, "[]");
    enum delivery done = take_part(sink, &nothing, error);
    return done == DELIVERY_DONE ? DELIVERY_DONE : DELIVERY_DOWN;
}

static void sink_postgres_break_off(void *self)
{
    struct sink_postgres *sink = self;
    latch_raise(&sink->break_off);
}

static enum delivery sink_postgres_audit(void *self, struct journal_reader *journal, int64_t after,
                                         int64_t through,
                                         void (*missing)(void *context,
                                                         const struct journal_event *event),
                                         void *context, struct error *error)
{
    struct sink_postgres *sink = self;
    return missing_events_find(journal, sink->pg, after, through, missing, context, error);
}

static void sink_postgres_sink_free(void *self)
{
    struct sink_postgres *sink = self;
    sink_postgres_detach(sink);
    latch_done(&sink->break_off);
    buf_done(&sink->events);
    free(sink);
}

static const struct sink_ops OPS = {
    .name = "postgres",
    .attach = sink_postgres_attach,
    .detach = sink_postgres_detach,
    .audit = sink_postgres_audit,
    .deliver = sink_postgres_deliver,
    .resend = resend,
    .idle = sink_postgres_idle,
    .break_off = sink_postgres_break_off,
    .free = sink_postgres_sink_free,
};

enum result sink_postgres_new(const struct pg_options *options, const struct random_source *random,
                              struct sink *ret_sink)
{
    struct sink_postgres *sink = calloc(1, sizeof *sink);
    if (!sink)
        return RESULT_NO_MEMORY;
    if (latch_init(&sink->break_off) != RESULT_OK) {
        free(sink);
        return RESULT_NO_MEMORY;
    }
    sink->options = *options;
    sink->options.break_off = &sink->break_off;
    sink->random = random;
    buf_init(&sink->events, BATCH_BYTES_MAX);
    *ret_sink = (struct sink){.ops = &OPS, .self = sink, .page_events = SINK_POSTGRES_PAGE};
    return RESULT_OK;
}
