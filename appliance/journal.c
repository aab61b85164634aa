#include "appliance/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "appliance/journal_internal.h"
#include "core/migrate.h"

/* "TILB": whose file it is, for file(1) and for us. */
static const int32_t APPLICATION_ID = 0x54494C42;

/* Below this a checkpoint costs more fsyncs than it saves; above, the tail latency doubles. */
enum { CHECKPOINT_PAGES = 1000 };

enum { PAYLOAD_MAX = 1 << 20, DEVICE_DIGITS = 6, EMPTY_WAL_TRIES = 20 };

extern const struct migration SCHEMA_JOURNAL[];
extern const size_t SCHEMA_JOURNAL_count;

static const char *const STATEMENTS[] = {
#define X(name, sql) [JOURNAL_##name] = (sql),
    JOURNAL_STATEMENTS(X)
#undef X
};

void journal_path(const char *data_dir, char ret_path[static JOURNAL_PATH_SIZE])
{
    snprintf(ret_path, JOURNAL_PATH_SIZE, "%s/journal.db", data_dir);
}

static enum result journal_run(struct journal *journal, enum journal_statement statement,
                               struct error *error)
{
    return statement_run(journal->statements[statement], error);
}

static enum result take_lock(struct journal *journal, const char *data_dir, struct error *error)
{
    char path[JOURNAL_PATH_SIZE];
    snprintf(path, sizeof path, "%s/journal.lock", data_dir);
    journal->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (journal->lock < 0)
        return error_set_errno(error, errno == ENOSPC ? RESULT_DISK_FULL : RESULT_DENIED,
                               "can't open %s", path);
    if (flock(journal->lock, LOCK_EX | LOCK_NB) != 0)
        return error_set(error, RESULT_LOCKED, "another process has the journal in %s", data_dir);
    return RESULT_OK;
}

static enum result prepare_all(struct journal *journal, struct error *error)
{
    for (int i = 0; i < JOURNAL_STATEMENT_COUNT; i++) {
        enum result result =
            statement_prepare(journal->db, STATEMENTS[i], &journal->statements[i], error);
        if (result != RESULT_OK)
            return result;
    }
    return RESULT_OK;
}

static void make_device_id(const struct random_source *random, char *ret_text, size_t size)
{
    uint8_t digits[DEVICE_DIGITS];
    random_fill(random, digits, sizeof digits);
    snprintf(ret_text, size, "box-%02x%02x%02x%02x%02x%02x", digits[0], digits[1], digits[2],
             digits[3], digits[4], digits[5]);
}

/* The first run of a journal writes who it is. */
static enum result create_identity(struct journal *journal, const struct journal_options *options,
                                   struct error *error)
{
    struct statement *insert = NULL;
    char journal_id[UUID_TEXT_SIZE], device_id[JOURNAL_NAME_MAX + 1];
    const uint8_t genesis[SHA256_SIZE] = {0};
    struct uuid uuid = uuid_generate(&journal->ids);
    uuid_format(&uuid, journal_id);
    make_device_id(options->random, device_id, sizeof device_id);
    if (options->device_id)
        snprintf(device_id, sizeof device_id, "%s", options->device_id);
    const char *location = options->location ? options->location : device_id;
    enum result result =
        statement_prepare(journal->db,
                          "INSERT INTO meta (id, journal_id, device_id, location, created_at_ms,"
                          " stopped_cleanly, chain_anchor_sequence, chain_anchor_hash)"
                          " VALUES (1, ?1, ?2, ?3, ?4, 1, 0, ?5)",
                          &insert, error);
    if (result == RESULT_OK) {
        statement_bind_text(insert, 1, journal_id, strlen(journal_id));
        statement_bind_text(insert, 2, device_id, strlen(device_id));
        statement_bind_text(insert, 3, location, strlen(location));
        statement_bind_int(insert, 4, clock_wall_ms(options->clock));
        statement_bind_blob(insert, 5, genesis, sizeof genesis);
        result = statement_run(insert, error);
    }
    statement_free(insert);
    return result;
}

static void journal_copy_text(char *ret_text, size_t size, struct statement *row, int column)
{
    snprintf(ret_text, size, "%s", statement_text(row, column));
}

static enum result read_identity(struct journal *journal, struct error *error)
{
    struct statement *select = NULL;
    bool row = false;
    enum result result = statement_prepare(
        journal->db,
        "SELECT journal_id, device_id, location, stopped_cleanly, chain_anchor_sequence,"
        " chain_anchor_hash FROM meta",
        &select, error);
    if (result == RESULT_OK)
        result = statement_step(select, &row, error);
    if (result == RESULT_OK && !row)
        result = error_set(error, RESULT_NOT_FOUND, "the journal doesn't say who it is");
    if (result == RESULT_OK) {
        struct journal_identity *identity = &journal->identity;
        journal_copy_text(identity->journal_id, sizeof identity->journal_id, select, 0);
        journal_copy_text(identity->device_id, sizeof identity->device_id, select, 1);
        journal_copy_text(identity->location, sizeof identity->location, select, 2);
        identity->stopped_cleanly = statement_int(select, 3) == 1;
        journal->head.sequence = statement_int(select, 4);
        memcpy(journal->head.hash, statement_blob(select, 5), SHA256_SIZE);
    }
    statement_free(select);
    return result;
}

static enum result load_identity(struct journal *journal, const struct journal_options *options,
                                 struct error *error)
{
    struct journal_identity *identity = &journal->identity;
    enum result result = read_identity(journal, error);
    if (result == RESULT_NOT_FOUND) {
        identity->is_new = true;
        result = create_identity(journal, options, error);
        if (result == RESULT_OK)
            result = read_identity(journal, error);
    }
    if (result != RESULT_OK)
        return result;
    if (options->device_id && strcmp(options->device_id, identity->device_id) != 0)
        return error_set(error, RESULT_CONFLICT,
                         "the journal in %s belongs to device_id \"%s\", the settings say \"%s\"",
                         options->data_dir, identity->device_id, options->device_id);
    if (options->location)
        snprintf(identity->location, sizeof identity->location, "%s", options->location);
    return RESULT_OK;
}

/* Where the chain goes on: after the last event, or after the anchor if none is left. */
static enum result load_head(struct journal *journal, struct error *error)
{
    struct statement *select = NULL;
    struct uuid last;
    bool row = false;
    enum result result = statement_prepare(
        journal->db, "SELECT sequence, hash, event_id FROM events ORDER BY sequence DESC LIMIT 1",
        &select, error);
    if (result == RESULT_OK)
        result = statement_step(select, &row, error);
    if (result == RESULT_OK && row) {
        journal->head.sequence = statement_int(select, 0);
        memcpy(journal->head.hash, statement_blob(select, 1), SHA256_SIZE);
        if (uuid_parse(statement_text(select, 2), &last) == RESULT_OK)
            uuid_generator_resume(&journal->ids, &last);
    }
    statement_free(select);
    journal->savepoint_head = journal->committed_head = journal->head;
    return result;
}

static enum result mark_running(struct journal *journal, struct error *error)
{
    struct statement *update = journal->statements[JOURNAL_SET_RUNNING];
    const char *location = journal->identity.location;
    statement_bind_text(update, 1, location, strlen(location));
    return statement_run(update, error);
}

/* After a flush that failed, the WAL's end may be in the kernel's memory and nowhere else, and look
 * sound: what were appended behind such a hole would be lost with it at a power cut. So nothing is
 * built on an old WAL: all of it is written and flushed into the database first. Readers are short.
 */
static enum result make_durable(struct journal *journal, struct error *error)
{
    enum result result = db_empty_wal(journal->db, error);
    for (int tries = 1; result == RESULT_BUSY && tries < EMPTY_WAL_TRIES; tries++)
        result = db_empty_wal(journal->db, error);
    /* On a full disk the WAL stays as it is: sales come first, and a flush that fails for want of
     * room fails before anything is acknowledged. */
    return result == RESULT_DISK_FULL ? RESULT_OK : result;
}

static enum result write_new(const char *path, struct error *error)
{
    struct db *db = NULL;
    enum result result = db_open(path, DB_WRITER, &db, error);
    if (result == RESULT_OK)
        result = migrate_up(db, APPLICATION_ID, SCHEMA_JOURNAL, SCHEMA_JOURNAL_count, error);
    if (result == RESULT_OK)
        result = db_empty_wal(db, error);
    db_close(db);
    return result;
}

static enum result flush_folder(const char *data_dir, struct error *error)
{
    int folder = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool flushed = folder >= 0 && fsync(folder) == 0;
    if (folder >= 0)
        close(folder);
    return flushed ? RESULT_OK : error_set_errno(error, RESULT_IO, "can't flush %s", data_dir);
}

/* A new journal gets its name when it is whole and on the disk: what a failed flush and a power cut
 * leave of a file that was being made need not look like a database any more. */
static enum result create_file(const char *data_dir, const char *path, struct error *error)
{
    static const char *const ENDS[] = {"", "-journal", "-wal", "-shm"};
    char new_path[JOURNAL_PATH_SIZE + 8], left_over[JOURNAL_PATH_SIZE + 16];
    if (access(path, F_OK) == 0)
        return RESULT_OK;
    snprintf(new_path, sizeof new_path, "%s.new", path);
    for (size_t i = 0; i < ARRAY_LENGTH(ENDS); i++) {
        snprintf(left_over, sizeof left_over, "%s%s", new_path, ENDS[i]);
        unlink(left_over);
    }
    enum result result = write_new(new_path, error);
    if (result == RESULT_OK && rename(new_path, path) != 0)
        result = error_set_errno(error, RESULT_IO, "can't rename %s", new_path);
    return result == RESULT_OK ? flush_folder(data_dir, error) : result;
}

/* The mark goes into the database itself, so that it is there even if the WAL isn't any more. */
static enum result start_running(struct journal *journal, bool had_wal, struct error *error)
{
    struct journal_identity *identity = &journal->identity;
    identity->lost_wal = !had_wal && !identity->stopped_cleanly;
    enum result result = make_durable(journal, error);
    if (result == RESULT_OK)
        result = mark_running(journal, error);
    if (result == RESULT_OK)
        result = make_durable(journal, error);
    return result == RESULT_OK ? journal_files_note(&journal->files, error) : result;
}

static enum result open_file(struct journal *journal, const struct journal_options *options,
                             struct error *error)
{
    char path[JOURNAL_PATH_SIZE];
    bool had_wal = false;
    journal_path(options->data_dir, path);
    enum result result = create_file(options->data_dir, path, error);
    if (result == RESULT_OK)
        result = journal_files_lock(&journal->files, path, &had_wal, error);
    if (result == RESULT_OK)
        result = db_open(path, DB_WRITER, &journal->db, error);
    if (result == RESULT_OK) {
        db_keep_wal(journal->db);
        result =
            migrate_up(journal->db, APPLICATION_ID, SCHEMA_JOURNAL, SCHEMA_JOURNAL_count, error);
    }
    if (result == RESULT_OK)
        result = load_identity(journal, options, error);
    if (result == RESULT_OK)
        result = load_head(journal, error);
    if (result == RESULT_OK)
        result = prepare_all(journal, error);
    return result == RESULT_OK ? start_running(journal, had_wal, error) : result;
}

enum result journal_open(const struct journal_options *options, struct journal **ret_journal,
                         struct error *error)
{
    struct journal *journal = calloc(1, sizeof *journal);
    if (!journal)
        return RESULT_NO_MEMORY;
    journal->clock = options->clock;
    journal->lock = -1;
    journal_files_init(&journal->files);
    pthread_mutex_init(&journal->head_lock, NULL);
    buf_init(&journal->payload, PAYLOAD_MAX);
    buf_init(&journal->items, PAYLOAD_MAX);
    uuid_generator_init(&journal->ids, options->clock, options->random);
    enum result result = sha256_new(&journal->hasher);
    if (result == RESULT_OK)
        result = take_lock(journal, options->data_dir, error);
    if (result == RESULT_OK)
        result = open_file(journal, options, error);
    if (result != RESULT_OK) {
        journal_abandon(journal);
        return result;
    }
    *ret_journal = journal;
    return RESULT_OK;
}

static void journal_free(struct journal *journal, void (*close_db)(struct db *db))
{
    if (!journal)
        return;
    for (int i = 0; i < JOURNAL_STATEMENT_COUNT; i++)
        statement_free(journal->statements[i]);
    close_db(journal->db);
    journal_files_done(&journal->files);
    if (journal->lock >= 0)
        close(journal->lock);
    sha256_free(journal->hasher);
    buf_done(&journal->payload);
    buf_done(&journal->items);
    pthread_mutex_destroy(&journal->head_lock);
    free(journal);
}

void journal_abandon(struct journal *journal)
{
    journal_free(journal, db_abandon);
}

enum result journal_close(struct journal *journal, struct error *error)
{
    enum result result = journal_check_files(journal, error);
    if (result == RESULT_OK)
        result = journal_run(journal, JOURNAL_SET_STOPPED, error);
    if (result == RESULT_OK)
        result = db_checkpoint(journal->db, error);
    journal_free(journal, db_close);
    return result;
}

const struct journal_identity *journal_identity(const struct journal *journal)
{
    return &journal->identity;
}

enum result journal_check_files(const struct journal *journal, struct error *error)
{
    return journal_files_check(&journal->files, error);
}

enum result journal_begin(struct journal *journal, struct error *error)
{
    return journal_run(journal, JOURNAL_BEGIN, error);
}

enum result journal_commit(struct journal *journal, struct error *error)
{
    enum result result = journal_check_files(journal, error);
    if (result == RESULT_OK)
        result = journal_run(journal, JOURNAL_COMMIT, error);
    if (result != RESULT_OK) {
        if (result != RESULT_SYNC_FAILED)
            journal_rollback(journal);
        return result;
    }
    pthread_mutex_lock(&journal->head_lock);
    journal->committed_head = journal->head;
    pthread_mutex_unlock(&journal->head_lock);
    return RESULT_OK;
}

void journal_rollback(struct journal *journal)
{
    /* A failed statement may have rolled back already. ROLLBACK itself can't fail otherwise. */
    if (db_in_transaction(journal->db) && journal_run(journal, JOURNAL_ROLLBACK, NULL) != RESULT_OK)
        abort();
    journal->head = journal->committed_head;
}

enum result journal_savepoint(struct journal *journal, struct error *error)
{
    journal->savepoint_head = journal->head;
    return journal_run(journal, JOURNAL_SAVEPOINT, error);
}

enum result journal_release(struct journal *journal, struct error *error)
{
    return journal_run(journal, JOURNAL_RELEASE, error);
}

enum result journal_rollback_to_savepoint(struct journal *journal, struct error *error)
{
    journal->head = journal->savepoint_head;
    enum result result = journal_run(journal, JOURNAL_ROLLBACK_TO, error);
    return result == RESULT_OK ? journal_run(journal, JOURNAL_RELEASE, error) : result;
}

enum result journal_checkpoint_if_due(struct journal *journal, struct error *error)
{
    if (db_wal_pages(journal->db) < CHECKPOINT_PAGES)
        return RESULT_OK;
    return db_checkpoint(journal->db, error);
}

struct journal_head journal_head(struct journal *journal)
{
    pthread_mutex_lock(&journal->head_lock);
    struct journal_head head = journal->committed_head;
    pthread_mutex_unlock(&journal->head_lock);
    return head;
}
