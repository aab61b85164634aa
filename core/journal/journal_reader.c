#include "core/journal/journal_reader.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/db.h"

enum { SCHEMA_VERSION_KNOWN = 2, PATH_SIZE = 4096, PAYLOAD_SLACK = 1 << 20 };

#define READER_STATEMENTS(X)                                                                   \
    X(INFO, "SELECT journal_id, device_id, location, chain_anchor_sequence FROM meta")         \
    X(HEAD, "SELECT max(chain_anchor_sequence,"                                                \
            " coalesce((SELECT max(sequence) FROM events), 0)) FROM meta")                     \
    X(HASH, "SELECT hash FROM events WHERE sequence = ?1 UNION ALL"                            \
            " SELECT chain_anchor_hash FROM meta WHERE chain_anchor_sequence = ?1 LIMIT 1")    \
    X(PAGE, "SELECT sequence, coalesce(order_id, 0), event_id, event_type, hash, payload,"     \
            " unixepoch(occurred_at) * 1000 + CAST(substr(occurred_at, 21, 3) AS INTEGER)"     \
            " FROM events WHERE sequence >= ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?3") \
    X(OLDEST, "SELECT CAST(unixepoch(occurred_at) * 1000 AS INTEGER) FROM events"              \
              " WHERE sequence > ?1 ORDER BY sequence LIMIT 1")

enum reader_statement {
#define X(name, sql) READER_##name,
    READER_STATEMENTS(X)
#undef X
        READER_STATEMENT_COUNT
};

static const char *const STATEMENTS[] = {
#define X(name, sql) [READER_##name] = (sql),
    READER_STATEMENTS(X)
#undef X
};

struct journal_reader {
    char path[PATH_SIZE];
    dev_t device; /* with `inode`: which file it is, whatever its name */
    ino_t inode;
    struct db *db;
    struct statement *statements[READER_STATEMENT_COUNT];
};

enum result journal_page_init(struct journal_page *page, size_t capacity, size_t bytes_max)
{
    *page = (struct journal_page){.capacity = capacity};
    buf_init(&page->bytes, bytes_max + PAYLOAD_SLACK);
    page->events = calloc(capacity, sizeof *page->events);
    return page->events ? RESULT_OK : RESULT_NO_MEMORY;
}

void journal_page_done(struct journal_page *page)
{
    buf_done(&page->bytes);
    free(page->events);
    *page = (struct journal_page){0};
}

void journal_page_drop(struct journal_page *page, size_t count)
{
    assert(count <= page->count);
    size_t bytes = count < page->count ? page->events[count].payload_at : page->bytes.size;
    page->count -= count;
    memmove(page->events, page->events + count, page->count * sizeof *page->events);
    for (size_t i = 0; i < page->count; i++)
        page->events[i].payload_at -= bytes;
    buf_drop_front(&page->bytes, bytes);
}

const char *journal_page_payload(const struct journal_page *page, size_t index)
{
    return page->bytes.bytes + page->events[index].payload_at;
}

static enum result check_schema(struct db *db, struct error *error)
{
    int64_t version = 0;
    enum result result = db_query_int(db, "PRAGMA user_version", &version, error);
    if (result == RESULT_OK && version == 0)
        return error_set(error, RESULT_NOT_FOUND, "the journal is being created");
    if (result == RESULT_OK && version > SCHEMA_VERSION_KNOWN)
        return error_set(error, RESULT_UNSUPPORTED,
                         "the journal has schema version %lld, this program knows up to %d",
                         (long long)version, SCHEMA_VERSION_KNOWN);
    return result;
}

bool journal_reader_is_current(const struct journal_reader *reader)
{
    struct stat file;
    return stat(reader->path, &file) == 0 && file.st_dev == reader->device &&
           file.st_ino == reader->inode;
}

enum result journal_reader_open(const char *data_dir, struct journal_reader **ret_reader,
                                struct error *error)
{
    struct stat file = {0};
    struct journal_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return RESULT_NO_MEMORY;
    snprintf(reader->path, sizeof reader->path, "%s/journal.db", data_dir);
    enum result result = RESULT_OK;
    if (stat(reader->path, &file) != 0)
        result = error_set(error, RESULT_NOT_FOUND, "there is no journal at %s", reader->path);
    reader->device = file.st_dev; /* one that is replaced before it is opened counts as replaced */
    reader->inode = file.st_ino;
    if (result == RESULT_OK)
        result = db_open(reader->path, DB_READER, &reader->db, error);
    if (result == RESULT_OK)
        result = check_schema(reader->db, error);
    for (int i = 0; i < READER_STATEMENT_COUNT && result == RESULT_OK; i++)
        result = statement_prepare(reader->db, STATEMENTS[i], &reader->statements[i], error);
    if (result != RESULT_OK) {
        journal_reader_close(reader);
        return result;
    }
    *ret_reader = reader;
    return RESULT_OK;
}

void journal_reader_close(struct journal_reader *reader)
{
    if (!reader)
        return;
    for (int i = 0; i < READER_STATEMENT_COUNT; i++)
        statement_free(reader->statements[i]);
    db_close(reader->db);
    free(reader);
}

/* Steps to the one row of a search; RESULT_NOT_FOUND if it has none. */
static enum result find_row(struct statement *statement, struct error *error)
{
    bool row = false;
    enum result result = statement_step(statement, &row, error);
    if (result == RESULT_OK && !row)
        return error_set(error, RESULT_NOT_FOUND, "the journal has no such row");
    return result;
}

static void journal_reader_copy_text(char *ret_text, size_t size, struct statement *row, int column)
{
    snprintf(ret_text, size, "%s", statement_text(row, column));
}

enum result journal_reader_info(struct journal_reader *reader, struct journal_info *ret_info,
                                struct error *error)
{
    struct statement *select = reader->statements[READER_INFO];
    enum result result = find_row(select, error);
    if (result != RESULT_OK)
        return result;
    journal_reader_copy_text(ret_info->journal_id, sizeof ret_info->journal_id, select, 0);
    journal_reader_copy_text(ret_info->device_id, sizeof ret_info->device_id, select, 1);
    journal_reader_copy_text(ret_info->location, sizeof ret_info->location, select, 2);
    ret_info->anchor_sequence = statement_int(select, 3);
    statement_reset(select);
    return RESULT_OK;
}

static enum result read_int(struct statement *select, int64_t *ret_number, struct error *error)
{
    enum result result = find_row(select, error);
    if (result == RESULT_OK)
        *ret_number = statement_int(select, 0);
    statement_reset(select);
    return result;
}

enum result journal_reader_head(struct journal_reader *reader, int64_t *ret_sequence,
                                struct error *error)
{
    return read_int(reader->statements[READER_HEAD], ret_sequence, error);
}

enum result journal_reader_oldest(struct journal_reader *reader, int64_t after,
                                  int64_t *ret_occurred_at_ms, struct error *error)
{
    struct statement *select = reader->statements[READER_OLDEST];
    statement_bind_int(select, 1, after);
    return read_int(select, ret_occurred_at_ms, error);
}

enum result journal_reader_hash(struct journal_reader *reader, int64_t sequence,
                                uint8_t ret_hash[static SHA256_SIZE], struct error *error)
{
    struct statement *select = reader->statements[READER_HASH];
    statement_bind_int(select, 1, sequence);
    enum result result = find_row(select, error);
    if (result == RESULT_OK && statement_size(select, 0) != SHA256_SIZE)
        result = error_set(error, RESULT_CORRUPT, "the hash at %lld has the wrong size",
                           (long long)sequence);
    if (result == RESULT_OK)
        memcpy(ret_hash, statement_blob(select, 0), SHA256_SIZE);
    statement_reset(select);
    return result;
}

static enum result take_event(struct journal_page *page, struct statement *row, struct error *error)
{
    struct journal_event *event = &page->events[page->count];
    if (statement_size(row, 4) != SHA256_SIZE)
        return error_set(error, RESULT_CORRUPT, "event %lld has no proper hash",
                         (long long)statement_int(row, 0));
    event->sequence = statement_int(row, 0);
    event->order_id = statement_int(row, 1);
    journal_reader_copy_text(event->event_id, sizeof event->event_id, row, 2);
    journal_reader_copy_text(event->event_type, sizeof event->event_type, row, 3);
    memcpy(event->hash, statement_blob(row, 4), SHA256_SIZE);
    event->occurred_at_ms = statement_int(row, 6);
    event->payload_at = page->bytes.size;
    const char *payload = statement_text(row, 5);
    event->payload_size = statement_size(row, 5);
    buf_append(&page->bytes, payload, event->payload_size);
    buf_append(&page->bytes, "", 1);
    page->count++;
    return buf_result(&page->bytes);
}

static bool is_full(const struct journal_page *page)
{
    return page->count == page->capacity || page->bytes.size + PAYLOAD_SLACK >= page->bytes.limit;
}

/* Adds the events after `after`, up to and with `through`, to the page. */
static enum result fill_page(struct journal_reader *reader, int64_t after, int64_t through,
                             struct journal_page *page, struct error *error)
{
    struct statement *select = reader->statements[READER_PAGE];
    bool row = true;
    statement_bind_int(select, 1, after + 1); /* "> after" would look at the page of `after` too */
    statement_bind_int(select, 2, through);
    statement_bind_int(select, 3, (int64_t)(page->capacity - page->count));
    enum result result = statement_step(select, &row, error);
    while (result == RESULT_OK && row && !is_full(page)) {
        result = take_event(page, select, error);
        if (result == RESULT_OK)
            result = statement_step(select, &row, error);
    }
    statement_reset(select);
    return result == RESULT_CORRUPT && page->count > 0 ? RESULT_OK : result;
}

enum result journal_reader_page(struct journal_reader *reader, int64_t after, int64_t through,
                                struct journal_page *page, struct error *error)
{
    page->count = 0;
    buf_clear(&page->bytes);
    return fill_page(reader, after, through, page, error);
}

enum result journal_reader_extend(struct journal_reader *reader, struct journal_page *page,
                                  struct error *error)
{
    assert(page->count > 0);
    if (is_full(page))
        return RESULT_OK;
    return fill_page(reader, page->events[page->count - 1].sequence, INT64_MAX, page, error);
}

enum result journal_reader_skip(struct journal_reader *reader, int64_t after, int64_t *ret_sequence,
                                struct error *error)
{
    uint8_t hash[SHA256_SIZE];
    int64_t head = 0;
    enum result result = journal_reader_head(reader, &head, error);
    /* One by one: a search goes past damaged neighbours, a walk doesn't. */
    for (int64_t sequence = after + 1; result == RESULT_OK && sequence <= head; sequence++) {
        enum result found = journal_reader_hash(reader, sequence, hash, error);
        if (found == RESULT_OK)
            *ret_sequence = sequence;
        if (found != RESULT_CORRUPT && found != RESULT_NOT_FOUND)
            return found;
    }
    return result == RESULT_OK ? RESULT_NOT_FOUND : result;
}
