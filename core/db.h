/* SQLite, as far as the programs use it. The only header of the tree that knows there is SQLite.
 *
 * One connection of a WAL file writes and checkpoints, all others only read: Debian 12's SQLite can
 * damage a WAL file when two connections write or checkpoint at once (sqlite.org/wal.html, "the
 * WAL-reset bug"). DB_WRITER is that one. A file that several processes write has a rollback
 * journal instead: DB_SHARED. A connection and its statements belong to one thread at a time. */
#ifndef TILLBOX_CORE_DB_H
#define TILLBOX_CORE_DB_H

#include <stddef.h>
#include <stdint.h>

#include "core/result.h"

struct db;
struct statement;

enum { DB_UNTRUSTED_MS = 250 };

enum db_mode {
    DB_WRITER, /* creates the file; WAL, synchronous=FULL, both checked after setting */
    DB_READER, /* can neither write nor checkpoint */
    DB_SHARED, /* creates the file; rollback journal, synchronous=FULL, waits for others' locks */

    /* As DB_READER, of a file that a stranger may have made: it must be a plain file and no link,
     * its schema may call no functions, and all statements together have DB_UNTRUSTED_MS. */
    DB_UNTRUSTED,
};

/* RESULT_CORRUPT if it isn't a database, RESULT_UNSUPPORTED if WAL or FULL can't be had there,
 * RESULT_DENIED if an untrusted file is none. Past the time its statements
 * give RESULT_CLOSED. */
MUST_CHECK enum result db_open(const char *path, enum db_mode mode, struct db **ret_db,
                               struct error *error);
void db_close(struct db *db);

/* Closes without the checkpoint that the last connection of a WAL file makes: nothing is written.
 */
void db_abandon(struct db *db);

/* Runs one or more statements that give no rows. */
MUST_CHECK enum result db_exec(struct db *db, const char *sql, struct error *error);

/* Runs a statement that gives one integer. RESULT_NOT_FOUND if it gives no row. */
MUST_CHECK enum result db_query_int(struct db *db, const char *sql, int64_t *ret_number,
                                    struct error *error);

/* Runs a statement and hands the first column of each row, as text, to `row`. */
MUST_CHECK enum result db_query_text(struct db *db, const char *sql,
                                     void (*row)(void *context, const char *text), void *context,
                                     struct error *error);

/* True between BEGIN and COMMIT; an error may have rolled back already. */
bool db_in_transaction(const struct db *db);

/* The rowid that the last INSERT gave out. */
int64_t db_last_id(const struct db *db);

/* Rows that the last INSERT, UPDATE or DELETE touched. */
int64_t db_changes(const struct db *db);

/* Pages in the WAL file after the last commit; for the writer, 0 before the first. */
int db_wal_pages(const struct db *db);

/* Copies what readers allow of the WAL into the database; never waits for them. */
MUST_CHECK enum result db_checkpoint(struct db *db, struct error *error);

/* Brings all of the WAL into the database, flushed, and empties it. RESULT_BUSY while a reader is
 * in the way. */
MUST_CHECK enum result db_empty_wal(struct db *db, struct error *error);

/* Leaves `-wal` and `-shm` in place when the last connection closes, so that a reader without the
 * right to create them can still open the file. */
void db_keep_wal(struct db *db);

/* Copies the whole database into a new file, consistent, while others write. RESULT_CONFLICT if
 * the file exists. */
MUST_CHECK enum result db_backup(struct db *db, const char *path, struct error *error);

/* Calls `stop` now and then during long statements, which then end with RESULT_CLOSED if it
 * returns true. NULL ends the calls. */
void db_set_stop(struct db *db, bool (*stop)(void *context), void *context);

/* Binding and column indexes count from 1 and 0, as in SQLite. A failed bind is reported by the
 * next step. Bound text and blobs must stay until the statement is reset. */
MUST_CHECK enum result statement_prepare(struct db *db, const char *sql,
                                         struct statement **ret_statement, struct error *error);
void statement_free(struct statement *statement);

void statement_bind_int(struct statement *statement, int index, int64_t value);
void statement_bind_text(struct statement *statement, int index, const char *text, size_t size);
void statement_bind_blob(struct statement *statement, int index, const void *bytes, size_t size);
void statement_bind_null(struct statement *statement, int index);

/* Steps once. Resets by itself at the end and on an error. */
MUST_CHECK enum result statement_step(struct statement *statement, bool *ret_row,
                                      struct error *error);

/* Steps to the end, rows ignored. */
MUST_CHECK enum result statement_run(struct statement *statement, struct error *error);

/* Ends a statement that was left at a row; NULL is fine. */
void statement_reset(struct statement *statement);

int64_t statement_int(struct statement *statement, int column);
bool statement_is_null(struct statement *statement, int column);

/* Valid until the next step or reset; "" for NULL. */
const char *statement_text(struct statement *statement, int column);
size_t statement_size(struct statement *statement, int column);
const void *statement_blob(struct statement *statement, int column);

/* The version of the SQLite library in use, "3.40.1". */
const char *db_library_version(void);

#endif
