#include "core/db.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"

enum {
    WRITER_BUSY_MS = 250, /* a reader may be recovering the WAL's index */
    READER_BUSY_MS = 100,
    SHARED_BUSY_MS = 10000,
    ALL_PAGES = -1,
    STOP_CHECK_OPCODES = 10000,
    UNTRUSTED_STEPS = 1000,
    UNTRUSTED_LENGTH_MAX = 1 << 20,
};

struct db {
    sqlite3 *handle;
    int wal_pages;
    bool (*stop)(void *context);
    void *stop_context;
    int64_t deadline_ms; /* of an untrusted file's statements */
};

struct statement {
    sqlite3_stmt *handle;
    int bind_code; /* first failed bind since the last reset */
};

static enum result db_result_of(const sqlite3 *handle, int code)
{
    switch (code & 0xFF) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return RESULT_OK;
    case SQLITE_NOMEM:
        return RESULT_NO_MEMORY;
    case SQLITE_FULL:
        return RESULT_DISK_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return RESULT_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return RESULT_CORRUPT;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
        return RESULT_DENIED;
    case SQLITE_CANTOPEN:
        return RESULT_NOT_FOUND;
    case SQLITE_CONSTRAINT:
        return RESULT_CONFLICT;
    case SQLITE_INTERRUPT:
        return RESULT_CLOSED;
    case SQLITE_IOERR:
        break;
    default:
        return RESULT_INTERNAL;
    }
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
        return RESULT_SYNC_FAILED;
    int cause = handle ? sqlite3_system_errno((sqlite3 *)(uintptr_t)handle) : 0;
    return cause == ENOSPC || cause == EDQUOT ? RESULT_DISK_FULL : RESULT_IO;
}

static enum result db_fail(sqlite3 *handle, int code, struct error *error)
{
    int extended = handle ? sqlite3_extended_errcode(handle) : code;
    enum result result = db_result_of(handle, extended);
    error_write(error, "SQLite: %s (%d)", handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code),
                extended);
    return result == RESULT_OK ? RESULT_INTERNAL : result;
}

static int remember_wal_pages(void *context, sqlite3 *handle, const char *name, int pages)
{
    (void)handle;
    (void)name;
    struct db *db = context;
    db->wal_pages = pages;
    return SQLITE_OK;
}

static enum result expect_pragma(struct db *db, const char *sql, const char *wanted,
                                 struct error *error)
{
    struct statement *statement = NULL;
    bool row = false;
    enum result result = statement_prepare(db, sql, &statement, error);
    if (result == RESULT_OK)
        result = statement_step(statement, &row, error);
    if (result == RESULT_OK && (!row || strcmp(statement_text(statement, 0), wanted) != 0))
        result = error_set(error, RESULT_UNSUPPORTED, "%s gave \"%s\" instead of \"%s\"", sql,
                           row ? statement_text(statement, 0) : "nothing", wanted);
    statement_free(statement);
    return result;
}

/* The committer checkpoints by itself, after it has answered: hence no automatic one. */
static enum result configure_writer(struct db *db, struct error *error)
{
    sqlite3_busy_timeout(db->handle, WRITER_BUSY_MS);
    enum result result = expect_pragma(db, "PRAGMA journal_mode=WAL", "wal", error);
    if (result == RESULT_OK)
        result = db_exec(db,
                         "PRAGMA synchronous=FULL; PRAGMA cache_size=-4096;"
                         "PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=ON;",
                         error);
    if (result == RESULT_OK)
        result = expect_pragma(db, "PRAGMA synchronous", "2", error);
    if (result == RESULT_OK)
        result = expect_pragma(db, "PRAGMA journal_size_limit=67108864", "67108864", error);
    sqlite3_wal_autocheckpoint(db->handle, 0);
    sqlite3_wal_hook(db->handle, remember_wal_pages, db);
    return result;
}

static enum result configure_reader(struct db *db, struct error *error)
{
    sqlite3_busy_timeout(db->handle, READER_BUSY_MS);
    sqlite3_wal_autocheckpoint(db->handle, 0);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return db_exec(db, "PRAGMA query_only=ON; PRAGMA cache_size=-1024; PRAGMA temp_store=MEMORY;",
                   error);
}

static enum result configure_shared(struct db *db, struct error *error)
{
    sqlite3_busy_timeout(db->handle, SHARED_BUSY_MS);
    enum result result = expect_pragma(db, "PRAGMA journal_mode=TRUNCATE", "truncate", error);
    if (result == RESULT_OK)
        result = db_exec(db, "PRAGMA synchronous=FULL; PRAGMA cache_size=-1024;", error);
    return result;
}

/* Called now and then while a statement runs; another value than 0 ends it. */
static int check_deadline(void *context)
{
    const struct db *db = context;
    return clock_monotonic_ms(&clock_system) > db->deadline_ms;
}

/* sqlite.org/security.html, "Untrusted SQLite Database Files". */
static enum result configure_untrusted(struct db *db, struct error *error)
{
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_limit(db->handle, SQLITE_LIMIT_LENGTH, UNTRUSTED_LENGTH_MAX);
    sqlite3_limit(db->handle, SQLITE_LIMIT_SQL_LENGTH, UNTRUSTED_LENGTH_MAX);
    db->deadline_ms = clock_monotonic_ms(&clock_system) + DB_UNTRUSTED_MS;
    sqlite3_progress_handler(db->handle, UNTRUSTED_STEPS, check_deadline, db);
    return configure_reader(db, error);
}

/* Opening a pipe would wait for somebody to write into it. */
static enum result check_plain_file(const char *path, struct error *error)
{
    struct stat file;
    if (lstat(path, &file) != 0)
        return error_set_errno(error, RESULT_NOT_FOUND, "%s", path);
    if (!S_ISREG(file.st_mode))
        return error_set(error, RESULT_DENIED, "%s isn't a plain file", path);
    return RESULT_OK;
}

static enum result configure(struct db *db, enum db_mode mode, struct error *error)
{
    switch (mode) {
    case DB_WRITER:
        return configure_writer(db, error);
    case DB_READER:
        return configure_reader(db, error);
    case DB_SHARED:
        return configure_shared(db, error);
    case DB_UNTRUSTED:
        return configure_untrusted(db, error);
    }
    return RESULT_INTERNAL;
}

enum result db_open(const char *path, enum db_mode mode, struct db **ret_db, struct error *error)
{
    bool is_reader = mode == DB_READER || mode == DB_UNTRUSTED;
    int flags = SQLITE_OPEN_NOMUTEX |
                (is_reader ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    if (mode == DB_UNTRUSTED && check_plain_file(path, error) != RESULT_OK)
        return RESULT_DENIED;
    struct db *db = calloc(1, sizeof *db);
    if (!db)
        return RESULT_NO_MEMORY;
    int code = sqlite3_open_v2(path, &db->handle, flags, NULL);
    enum result result = code == SQLITE_OK ? RESULT_OK : db_fail(db->handle, code, error);
    if (result == RESULT_OK) {
        sqlite3_extended_result_codes(db->handle, 1);
        result = configure(db, mode, error);
    }
    if (result != RESULT_OK) {
        db_close(db);
        return result;
    }
    *ret_db = db;
    return RESULT_OK;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    sqlite3_close_v2(db->handle);
    free(db);
}

void db_abandon(struct db *db)
{
    if (db)
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    db_close(db);
}

enum result db_exec(struct db *db, const char *sql, struct error *error)
{
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? RESULT_OK : db_fail(db->handle, code, error);
}

enum result db_query_int(struct db *db, const char *sql, int64_t *ret_number, struct error *error)
{
    struct statement *statement = NULL;
    bool row = false;
    enum result result = statement_prepare(db, sql, &statement, error);
    if (result == RESULT_OK)
        result = statement_step(statement, &row, error);
    if (result == RESULT_OK && !row)
        result = error_set(error, RESULT_NOT_FOUND, "no row from: %s", sql);
    if (result == RESULT_OK)
        *ret_number = statement_int(statement, 0);
    statement_free(statement);
    return result;
}

enum result db_query_text(struct db *db, const char *sql,
                          void (*row)(void *context, const char *text), void *context,
                          struct error *error)
{
    struct statement *statement = NULL;
    bool more = true;
    enum result result = statement_prepare(db, sql, &statement, error);
    while (result == RESULT_OK && more) {
        result = statement_step(statement, &more, error);
        if (result == RESULT_OK && more)
            row(context, statement_text(statement, 0));
    }
    statement_free(statement);
    return result;
}

bool db_in_transaction(const struct db *db)
{
    return sqlite3_get_autocommit(db->handle) == 0;
}

int64_t db_last_id(const struct db *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

int64_t db_changes(const struct db *db)
{
    return sqlite3_changes64(db->handle);
}

int db_wal_pages(const struct db *db)
{
    return db->wal_pages;
}

enum result db_checkpoint(struct db *db, struct error *error)
{
    int code = sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return code == SQLITE_OK ? RESULT_OK : db_fail(db->handle, code, error);
}

enum result db_empty_wal(struct db *db, struct error *error)
{
    int code = sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    return code == SQLITE_OK ? RESULT_OK : db_fail(db->handle, code, error);
}

void db_keep_wal(struct db *db)
{
    int keep = 1;
    sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
}

/* All pages in one step, and so from one snapshot: in smaller steps the copy would start again with
 * every commit of the writer. */
static enum result copy_pages(sqlite3 *from, sqlite3 *to, struct error *error)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    if (!backup)
        return db_fail(to, sqlite3_errcode(to), error);
    int code = sqlite3_backup_step(backup, ALL_PAGES);
    sqlite3_backup_finish(backup);
    return code == SQLITE_DONE ? RESULT_OK : db_fail(to, code, error);
}

enum result db_backup(struct db *db, const char *path, struct error *error)
{
    if (access(path, F_OK) == 0)
        return error_set(error, RESULT_CONFLICT, "%s exists already", path);
    sqlite3 *copy = NULL;
    int code = sqlite3_open_v2(path, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    enum result result =
        code == SQLITE_OK ? copy_pages(db->handle, copy, error) : db_fail(copy, code, error);
    sqlite3_close_v2(copy);
    if (result != RESULT_OK)
        unlink(path);
    return result;
}

static int ask_stop(void *context)
{
    const struct db *db = context;
    return db->stop(db->stop_context) ? 1 : 0;
}

void db_set_stop(struct db *db, bool (*stop)(void *context), void *context)
{
    db->stop = stop;
    db->stop_context = context;
    sqlite3_progress_handler(db->handle, STOP_CHECK_OPCODES, stop ? ask_stop : NULL, db);
}

enum result statement_prepare(struct db *db, const char *sql, struct statement **ret_statement,
                              struct error *error)
{
    struct statement *statement = calloc(1, sizeof *statement);
    if (!statement)
        return RESULT_NO_MEMORY;
    int code = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                  &statement->handle, NULL);
    if (code != SQLITE_OK) {
        free(statement);
        return db_fail(db->handle, code, error);
    }
    *ret_statement = statement;
    return RESULT_OK;
}

void statement_free(struct statement *statement)
{
    if (!statement)
        return;
    sqlite3_finalize(statement->handle);
    free(statement);
}

static void note_bind(struct statement *statement, int code)
{
    if (code != SQLITE_OK && statement->bind_code == SQLITE_OK)
        statement->bind_code = code;
}

void statement_bind_int(struct statement *statement, int index, int64_t value)
{
    note_bind(statement, sqlite3_bind_int64(statement->handle, index, value));
}

void statement_bind_text(struct statement *statement, int index, const char *text, size_t size)
{
    note_bind(statement, sqlite3_bind_text64(statement->handle, index, text, size, SQLITE_STATIC,
                                             SQLITE_UTF8));
}

void statement_bind_blob(struct statement *statement, int index, const void *bytes, size_t size)
{
    note_bind(statement, sqlite3_bind_blob64(statement->handle, index, bytes, size, SQLITE_STATIC));
}

void statement_bind_null(struct statement *statement, int index)
{
    note_bind(statement, sqlite3_bind_null(statement->handle, index));
}

enum result statement_step(struct statement *statement, bool *ret_row, struct error *error)
{
    assert(statement);
    sqlite3 *handle = sqlite3_db_handle(statement->handle);
    int code = statement->bind_code;
    if (code == SQLITE_OK)
        code = sqlite3_step(statement->handle);
    if (code == SQLITE_ROW || code == SQLITE_DONE) {
        *ret_row = code == SQLITE_ROW;
        if (code == SQLITE_DONE)
            statement_reset(statement);
        return RESULT_OK;
    }
    enum result result = db_fail(handle, code, error);
    statement_reset(statement);
    return result;
}

enum result statement_run(struct statement *statement, struct error *error)
{
    bool row = true;
    enum result result = RESULT_OK;
    while (result == RESULT_OK && row)
        result = statement_step(statement, &row, error);
    return result;
}

void statement_reset(struct statement *statement)
{
    if (!statement)
        return;
    sqlite3_reset(statement->handle);
    statement->bind_code = SQLITE_OK;
}

int64_t statement_int(struct statement *statement, int column)
{
    return sqlite3_column_int64(statement->handle, column);
}

bool statement_is_null(struct statement *statement, int column)
{
    return sqlite3_column_type(statement->handle, column) == SQLITE_NULL;
}

const char *statement_text(struct statement *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement->handle, column);
    return text ? (const char *)text : "";
}

size_t statement_size(struct statement *statement, int column)
{
    return (size_t)sqlite3_column_bytes(statement->handle, column);
}

const void *statement_blob(struct statement *statement, int column)
{
    return sqlite3_column_blob(statement->handle, column);
}

const char *db_library_version(void)
{
    return sqlite3_libversion();
}
