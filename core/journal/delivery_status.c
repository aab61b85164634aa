#include "core/journal/delivery_status.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/db.h"
#include "core/journal/journal_reader.h"
#include "core/utf8.h"

enum { PATH_SIZE = 4096, BUSY_TRIES = 20 };

static const char SINKS_SQL[] =
    "SELECT name, state, breaker, start_sequence, cursor, delivered,"
    " (SELECT count(*) FROM parked p WHERE p.sink = s.name AND p.sequence <= s.cursor"
    "  AND p.state IN ('refused', 'held') AND p.event_type <> 'unreadable'),"
    " (SELECT count(*) FROM parked p WHERE p.sink = s.name AND p.sequence <= s.cursor"
    "  AND p.state IN ('delivered', 'discarded')),"
    " (SELECT coalesce(min(sequence), 0) FROM parked p WHERE p.sink = s.name"
    "  AND p.state IN ('refused', 'held')),"
    " coalesce(last_delivered_at_ms, 0), coalesce(last_error_at_ms, 0), last_error,"
    " journal_id, cursor_hash FROM sinks s ORDER BY name";

static void delivery_status_copy_text(char *ret_text, size_t size, struct statement *row,
                                      int column)
{
    snprintf(ret_text, size, "%s", statement_text(row, column));
    utf8_trim_cut(ret_text);
}

/* A restored journal has the id of the one that was lost, but not its events. */
static bool fits_journal(struct journal_reader *journal, int64_t cursor, struct statement *row)
{
    struct journal_info info;
    uint8_t hash[SHA256_SIZE];
    return journal_reader_info(journal, &info, NULL) == RESULT_OK &&
           strcmp(info.journal_id, statement_text(row, 12)) == 0 &&
           journal_reader_hash(journal, cursor, hash, NULL) == RESULT_OK &&
           statement_size(row, 13) == SHA256_SIZE &&
           memcmp(hash, statement_blob(row, 13), SHA256_SIZE) == 0;
}

/* `unaccounted` still lacks the head and what is pending, which are read later. */
static void delivery_status_read_sink(struct journal_reader *journal, struct statement *row,
                                      struct delivery_status_sink *ret_sink)
{
    delivery_status_copy_text(ret_sink->name, sizeof ret_sink->name, row, 0);
    delivery_status_copy_text(ret_sink->state, sizeof ret_sink->state, row, 1);
    delivery_status_copy_text(ret_sink->breaker, sizeof ret_sink->breaker, row, 2);
    int64_t start = statement_int(row, 3);
    ret_sink->cursor = statement_int(row, 4);
    ret_sink->delivered = statement_int(row, 5);
    ret_sink->parked = statement_int(row, 6);
    ret_sink->settled = statement_int(row, 7);
    ret_sink->unaccounted = -start - ret_sink->delivered - ret_sink->parked - ret_sink->settled;
    ret_sink->first_parked = statement_int(row, 8);
    ret_sink->last_delivered_at_ms = statement_int(row, 9);
    ret_sink->last_error_at_ms = statement_int(row, 10);
    delivery_status_copy_text(ret_sink->last_error, sizeof ret_sink->last_error, row, 11);
    ret_sink->fits_journal = fits_journal(journal, ret_sink->cursor, row);
}

static enum result read_sinks(struct journal_reader *journal, struct db *bridge,
                              struct delivery_status *delivery_status, struct error *error)
{
    struct statement *select = NULL;
    bool row = true;
    enum result result = statement_prepare(bridge, SINKS_SQL, &select, error);
    while (result == RESULT_OK && delivery_status->sink_count < DELIVERY_STATUS_SINKS_MAX) {
        result = statement_step(select, &row, error);
        if (result != RESULT_OK || !row)
            break;
        delivery_status_read_sink(journal, select,
                                  &delivery_status->sinks[delivery_status->sink_count++]);
    }
    statement_free(select);
    return result;
}

static enum result try_bridge(struct journal_reader *journal, const char *path, enum db_mode mode,
                              struct delivery_status *delivery_status, struct error *error)
{
    struct db *bridge = NULL;
    int64_t version = 0;
    delivery_status->sink_count = 0;
    enum result result = db_open(path, mode, &bridge, error);
    if (result == RESULT_OK)
        result = db_query_int(bridge, "PRAGMA user_version", &version, error);
    if (result == RESULT_OK && version > 0)
        result = read_sinks(journal, bridge, delivery_status, error);
    db_close(bridge);
    return result;
}

/* What a stranger left half done isn't taken back for him: a rollback journal may name any file to
 * be removed. */
static bool is_own_file(const char *path)
{
    struct stat file;
    return lstat(path, &file) == 0 && S_ISREG(file.st_mode) && file.st_uid == geteuid();
}

/* The bridge writes often, and each time keeps readers out for a flush. One that was killed may
 * have left a write half done, which takes a writer to take back. */
static enum result read_bridge(struct journal_reader *journal, const char *bridge_dir,
                               struct delivery_status *delivery_status, struct error *error)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/bridge.db", bridge_dir);
    if (access(path, F_OK) != 0)
        return RESULT_OK;
    enum result result = try_bridge(journal, path, DB_UNTRUSTED, delivery_status, error);
    for (int tries = 1; result == RESULT_BUSY && tries < BUSY_TRIES; tries++)
        result = try_bridge(journal, path, DB_UNTRUSTED, delivery_status, error);
    if (result == RESULT_DENIED && is_own_file(path))
        result = try_bridge(journal, path, DB_SHARED, delivery_status, error);
    return result;
}

static enum result read_oldest(struct journal_reader *journal,
                               struct delivery_status *delivery_status, struct error *error)
{
    for (size_t i = 0; i < delivery_status->sink_count; i++) {
        struct delivery_status_sink *sink = &delivery_status->sinks[i];
        enum result result =
            journal_reader_oldest(journal, sink->cursor, &sink->oldest_pending_ms, error);
        if (result != RESULT_OK && result != RESULT_NOT_FOUND && result != RESULT_CORRUPT)
            return result;
    }
    return RESULT_OK;
}

static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

static void lock_path(const char *bridge_dir, char path[static PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/bridge.lock", bridge_dir);
}

static bool is_bridge_running(const char *bridge_dir)
{
    char path[PATH_SIZE];
    struct flock lock = whole_file();
    lock_path(bridge_dir, path);
    /* A pipe in its place is opened at once, and bears no lock. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (descriptor < 0)
        return false;
    lock.l_type = F_RDLCK;
    bool running = fcntl(descriptor, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(descriptor);
    return running;
}

enum result delivery_status_lock_bridge(const char *bridge_dir, int *ret_descriptor,
                                        struct error *error)
{
    char path[PATH_SIZE];
    struct flock lock = whole_file();
    lock_path(bridge_dir, path);
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (descriptor < 0)
        return error_set_errno(error, RESULT_DENIED, "can't open %s", path);
    if (fcntl(descriptor, F_OFD_SETLK, &lock) != 0) {
        close(descriptor);
        return error_set(error, RESULT_LOCKED, "another bridge runs on %s", bridge_dir);
    }
    *ret_descriptor = descriptor;
    return RESULT_OK;
}

enum result delivery_status_read(const char *data_dir, const char *bridge_dir,
                                 struct delivery_status *ret_accounting, struct error *error)
{
    struct delivery_status delivery_status = {0};
    struct journal_reader *journal = NULL;
    enum result result = journal_reader_open(data_dir, &journal, error);
    /* The sinks first: a head that is read later can only be further. */
    if (result == RESULT_OK)
        result = read_bridge(journal, bridge_dir, &delivery_status, error);
    if (result == RESULT_OK)
        result = journal_reader_head(journal, &delivery_status.head, error);
    for (size_t i = 0; i < delivery_status.sink_count; i++) {
        struct delivery_status_sink *sink = &delivery_status.sinks[i];
        int64_t beyond = delivery_status.head - sink->cursor;
        sink->pending = beyond > 0 ? beyond : 0; /* a journal that was restored ends before it */
        sink->unaccounted += delivery_status.head - sink->pending;
    }
    if (result == RESULT_OK)
        result = read_oldest(journal, &delivery_status, error);
    journal_reader_close(journal);
    if (result != RESULT_OK)
        return result;
    delivery_status.bridge_running = is_bridge_running(bridge_dir);
    *ret_accounting = delivery_status;
    return RESULT_OK;
}

int64_t delivery_status_watermark(const struct delivery_status *delivery_status)
{
    int64_t watermark = delivery_status->sink_count > 0 ? INT64_MAX : 0;
    for (size_t i = 0; i < delivery_status->sink_count; i++) {
        const struct delivery_status_sink *sink = &delivery_status->sinks[i];
        int64_t done = sink->fits_journal ? sink->cursor : 0;
        if (sink->first_parked > 0 && sink->first_parked <= done)
            done = sink->first_parked - 1;
        watermark = done < watermark ? done : watermark;
    }
    return watermark;
}

int64_t delivery_status_backlog(const struct delivery_status *delivery_status)
{
    int64_t backlog = 0;
    for (size_t i = 0; i < delivery_status->sink_count; i++)
        if (delivery_status->sinks[i].pending > backlog)
            backlog = delivery_status->sinks[i].pending;
    return backlog;
}

static int64_t age_s(const struct delivery_status_sink *sink, int64_t now_ms)
{
    int64_t age_ms = sink->oldest_pending_ms ? now_ms - sink->oldest_pending_ms : 0;
    return age_ms > 0 ? age_ms / 1000 : 0;
}

static void write_sink(const struct delivery_status_sink *sink, int64_t now_ms,
                       struct json_writer *writer)
{
    json_begin_object(writer, NULL);
    json_put_text(writer, "name", sink->name);
    json_put_text(writer, "state", sink->state);
    json_put_text(writer, "breaker", sink->breaker);
    json_put_int(writer, "cursor", sink->cursor);
    json_put_int(writer, "delivered", sink->delivered);
    json_put_int(writer, "pending", sink->pending);
    json_put_int(writer, "oldest_pending_age_s", age_s(sink, now_ms));
    json_put_int(writer, "parked", sink->parked);
    json_put_int(writer, "settled", sink->settled);
    json_put_int(writer, "unaccounted", sink->unaccounted);
    json_put_time_or_null(writer, "last_delivered_at", sink->last_delivered_at_ms);
    json_put_time_or_null(writer, "last_error_at", sink->last_error_at_ms);
    json_put_text(writer, "last_error", sink->last_error);
    json_end_object(writer);
}

void delivery_status_write(const struct delivery_status *delivery_status, int64_t now_ms,
                           struct json_writer *writer)
{
    int64_t unaccounted = 0;
    for (size_t i = 0; i < delivery_status->sink_count; i++) {
        const struct delivery_status_sink *sink = &delivery_status->sinks[i];
        unaccounted += sink->unaccounted > 0 ? sink->unaccounted : -sink->unaccounted;
    }
    json_put_bool(writer, "bridge_running", delivery_status->bridge_running);
    json_put_int(writer, "backlog", delivery_status_backlog(delivery_status));
    json_put_int(writer, "unaccounted_events", unaccounted);
    json_begin_array(writer, "sinks");
    for (size_t i = 0; i < delivery_status->sink_count; i++)
        write_sink(&delivery_status->sinks[i], now_ms, writer);
    json_end_array(writer);
}

/* The metrics of a sink: name, help, value. */
struct metric {
    const char *name, *help;
    int64_t (*value)(const struct delivery_status_sink *sink, int64_t now_ms);
};

static int64_t value_pending(const struct delivery_status_sink *sink, int64_t now_ms)
{
    (void)now_ms;
    return sink->pending;
}

static int64_t value_parked(const struct delivery_status_sink *sink, int64_t now_ms)
{
    (void)now_ms;
    return sink->parked;
}

static int64_t value_unaccounted(const struct delivery_status_sink *sink, int64_t now_ms)
{
    (void)now_ms;
    return sink->unaccounted;
}

static int64_t value_cursor(const struct delivery_status_sink *sink, int64_t now_ms)
{
    (void)now_ms;
    return sink->cursor;
}

static int64_t value_breaker(const struct delivery_status_sink *sink, int64_t now_ms)
{
    (void)now_ms;
    if (strcmp(sink->breaker, "closed") == 0)
        return 0;
    return strcmp(sink->breaker, "open") == 0 ? 1 : 2;
}

static int64_t value_stopped(const struct delivery_status_sink *sink, int64_t now_ms)
{
    (void)now_ms;
    return strcmp(sink->state, "stopped") == 0;
}

static const struct metric METRICS[] = {
    {"tillbox_backlog_events", "Events that wait to be delivered.", value_pending},
    {"tillbox_oldest_pending_seconds", "Age of the oldest event that waits.", age_s},
    {"tillbox_parked_events", "Events that the peer refused, and those held behind them.",
     value_parked},
    {"tillbox_unaccounted_events", "Events that are neither delivered, parked nor pending: 0.",
     value_unaccounted},
    {"tillbox_sink_cursor", "Sequence up to which the sink is done.", value_cursor},
    {"tillbox_breaker_state", "0 closed, 1 open, 2 half-open.", value_breaker},
    {"tillbox_sink_stopped", "1 if the sink has stopped and needs a person.", value_stopped},
};

void delivery_status_write_metrics(const struct delivery_status *delivery_status, int64_t now_ms,
                                   struct buf *out)
{
    for (size_t m = 0; m < ARRAY_LENGTH(METRICS); m++) {
        buf_append_format(out, "# HELP %s %s\n# TYPE %s gauge\n", METRICS[m].name, METRICS[m].help,
                          METRICS[m].name);
        for (size_t i = 0; i < delivery_status->sink_count; i++)
            buf_append_format(out, "%s{sink=\"%s\"} %" PRId64 "\n", METRICS[m].name,
                              delivery_status->sinks[i].name,
                              METRICS[m].value(&delivery_status->sinks[i], now_ms));
    }
    buf_append_format(out,
                      "# HELP tillbox_bridge_running 1 if the bridge runs on this box.\n"
                      "# TYPE tillbox_bridge_running gauge\ntillbox_bridge_running %d\n",
                      delivery_status->bridge_running);
}
