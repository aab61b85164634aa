#include "core/db.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/buf.h"
#include "tests/support/folder.h"
#include "tests/support/unit.h"

static struct folder folder;
static char path[FOLDER_PATH_SIZE], wal_path[FOLDER_PATH_SIZE], shm_path[FOLDER_PATH_SIZE];
static struct db *writer, *reader;
static struct statement *statement;
static struct error error;

static int set_up(UNUSED void **state)
{
    folder_make(&folder);
    folder_file(&folder, "test.db", path);
    folder_file(&folder, "test.db-wal", wal_path);
    folder_file(&folder, "test.db-shm", shm_path);
    reader = NULL;
    statement = NULL;
    return db_open(path, DB_WRITER, &writer, &error) == RESULT_OK ? 0 : -1;
}

static int tear_down(UNUSED void **state)
{
    statement_free(statement);
    db_close(reader);
    db_close(writer);
    folder_remove(&folder);
    return 0;
}

static void run(const char *sql)
{
    if (db_exec(writer, sql, &error) != RESULT_OK)
        fail_msg("%s: %s", sql, error.text);
}

static int64_t ask(struct db *db, const char *sql)
{
    int64_t number = 0;
    if (db_query_int(db, sql, &number, &error) != RESULT_OK)
        fail_msg("%s: %s", sql, error.text);
    return number;
}

static void append_text(void *context, const char *text)
{
    buf_append_format(context, "%s|", text);
}

static void assert_rows(struct db *db, const char *sql, const char *expected)
{
    struct buf rows;
    buf_init(&rows, 1000);
    assert_ok(db_query_text(db, sql, append_text, &rows, &error));
    assert_string_equal(buf_text(&rows), expected);
    buf_done(&rows);
}

static void prepare(struct db *db, const char *sql)
{
    statement_free(statement);
    statement = NULL;
    assert_ok(statement_prepare(db, sql, &statement, &error));
}

static void assert_step(bool expected_row)
{
    bool row = !expected_row;
    assert_ok(statement_step(statement, &row, &error));
    assert_int_equal(row, expected_row);
}

static void open_reader(void)
{
    assert_ok(db_open(path, DB_READER, &reader, &error));
}

/* A table `t` with this many rows of a kilobyte. */
static void fill_table(int rows)
{
    char sql[200];
    snprintf(sql, sizeof sql,
             "CREATE TABLE t (n INTEGER, text TEXT);"
             "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %d)"
             "INSERT INTO t SELECT n, hex(zeroblob(500)) FROM c",
             rows);
    run(sql);
}

static void a_writer_uses_a_wal_and_flushes_every_commit(UNUSED void **state)
{
    assert_rows(writer, "PRAGMA journal_mode", "wal|");
    assert_int_equal(ask(writer, "PRAGMA synchronous"), 2);
    assert_int_equal(ask(writer, "PRAGMA journal_size_limit"), 64 << 20);
    assert_int_equal(ask(writer, "PRAGMA foreign_keys"), 1);
}

static void a_writer_checkpoints_only_when_told_to(UNUSED void **state)
{
    assert_int_equal(ask(writer, "PRAGMA wal_autocheckpoint"), 0);
    fill_table(5000);
    assert_true(db_wal_pages(writer) > 1000);
    assert_true(file_size(path) < 10000);
    assert_ok(db_checkpoint(writer, &error));
    assert_true(file_size(path) > 5000000);
}

static void where_a_wal_cannot_be_had_a_writer_is_refused(UNUSED void **state)
{
    struct db *untouched = NULL;
    assert_int_equal(db_open(":memory:", DB_WRITER, &untouched, &error), RESULT_UNSUPPORTED);
    assert_contains(error.text, "\"memory\" instead of \"wal\"");
    assert_null(untouched);
}

static void a_file_that_is_no_database_is_refused_as_damaged(UNUSED void **state)
{
    struct db *untouched = NULL;
    char other[FOLDER_PATH_SIZE];
    static char garbage[8192];
    memset(garbage, 'x', sizeof garbage);
    folder_file(&folder, "other", other);
    file_write(other, garbage, sizeof garbage);
    assert_int_equal(db_open(other, DB_WRITER, &untouched, &error), RESULT_CORRUPT);
    assert_contains(error.text, "not a database");
    assert_int_equal(db_open(other, DB_READER, &untouched, &error), RESULT_CORRUPT);
    assert_null(untouched);
}

static void a_reader_does_not_create_a_file(UNUSED void **state)
{
    struct db *untouched = NULL;
    char other[FOLDER_PATH_SIZE];
    folder_file(&folder, "other", other);
    assert_int_equal(db_open(other, DB_READER, &untouched, &error), RESULT_NOT_FOUND);
    assert_int_equal(file_size(other), -1);
    assert_int_equal(db_open("/nowhere/x", DB_WRITER, &untouched, &error), RESULT_NOT_FOUND);
    assert_int_equal(db_open(folder.path, DB_WRITER, &untouched, NULL), RESULT_NOT_FOUND);
    assert_null(untouched);
}

static void a_reader_sees_what_is_committed_and_nothing_else(UNUSED void **state)
{
    run("CREATE TABLE t (n)");
    open_reader();
    run("BEGIN; INSERT INTO t VALUES (1)");
    assert_int_equal(ask(reader, "SELECT count(*) FROM t"), 0);
    run("COMMIT");
    assert_int_equal(ask(reader, "SELECT count(*) FROM t"), 1);
}

static void a_reader_cannot_write(UNUSED void **state)
{
    static const char *const WRITES[] = {
        "INSERT INTO t VALUES (2)",
        "UPDATE t SET n = 2",
        "DELETE FROM t",
        "DROP TABLE t",
        "CREATE TABLE u (n)",
        "PRAGMA user_version = 7",
        "VACUUM",
        "PRAGMA application_id = 7",
    };
    run("CREATE TABLE t (n); INSERT INTO t VALUES (1)");
    open_reader();
    assert_int_equal(ask(reader, "PRAGMA query_only"), 1);
    for (size_t i = 0; i < ARRAY_LENGTH(WRITES); i++)
        if (db_exec(reader, WRITES[i], &error) != RESULT_DENIED)
            fail_msg("%s: %s", WRITES[i], error.text);
    assert_int_equal(db_exec(reader, "PRAGMA query_only = OFF; DELETE FROM t", &error),
                     RESULT_DENIED);
    assert_int_equal(ask(writer, "SELECT n FROM t"), 1);
}

static void a_reader_neither_checkpoints_nor_removes_the_wal(UNUSED void **state)
{
    fill_table(100);
    db_keep_wal(writer);
    open_reader();
    assert_int_equal(db_exec(writer, "PRAGMA wal_checkpoint(TRUNCATE)", &error), RESULT_OK);
    run("INSERT INTO t SELECT n, text FROM t");
    long size = file_size(path), wal_size = file_size(wal_path);
    assert_true(wal_size > 0);
    assert_int_not_equal(db_checkpoint(reader, &error), RESULT_OK);
    assert_int_equal(ask(reader, "PRAGMA wal_autocheckpoint"), 0);
    db_close(reader);
    reader = NULL;
    assert_int_equal(file_size(path), size);
    assert_int_equal(file_size(wal_path), wal_size);
}

/* The writer leaves without a checkpoint, as if it had been killed. */
static void the_last_reader_to_close_leaves_the_wal_as_it_is(UNUSED void **state)
{
    char copy[FOLDER_PATH_SIZE], copy_wal[FOLDER_PATH_SIZE];
    static char bytes[1 << 20];
    fill_table(100);
    folder_file(&folder, "copy.db", copy);
    folder_file(&folder, "copy.db-wal", copy_wal);
    const char *const from[] = {path, wal_path}, *const to[] = {copy, copy_wal};
    for (size_t i = 0; i < ARRAY_LENGTH(from); i++) {
        FILE *file = fopen(from[i], "r");
        assert_non_null(file);
        file_write(to[i], bytes, fread(bytes, 1, sizeof bytes, file));
        fclose(file);
    }
    long wal_size = file_size(copy_wal);
    assert_ok(db_open(copy, DB_READER, &reader, &error));
    assert_int_equal(ask(reader, "SELECT count(*) FROM t"), 100);
    db_close(reader);
    reader = NULL;
    assert_int_equal(file_size(copy_wal), wal_size);
}

static void a_shared_file_has_a_rollback_journal_and_flushes_every_commit(UNUSED void **state)
{
    struct db *untouched = NULL;
    char shared[FOLDER_PATH_SIZE], shared_wal[FOLDER_PATH_SIZE];
    folder_file(&folder, "shared.db", shared);
    folder_file(&folder, "shared.db-wal", shared_wal);
    assert_ok(db_open(shared, DB_SHARED, &reader, &error));
    assert_rows(reader, "PRAGMA journal_mode", "truncate|");
    assert_int_equal(ask(reader, "PRAGMA synchronous"), 2);
    assert_ok(db_exec(reader, "CREATE TABLE t (n)", &error));
    assert_int_equal(file_size(shared_wal), -1);
    assert_int_equal(db_open(":memory:", DB_SHARED, &untouched, &error), RESULT_UNSUPPORTED);
    assert_null(untouched);
}

static void *commit_soon(void *context)
{
    usleep(20000);
    return db_exec(context, "COMMIT", NULL) == RESULT_OK ? context : NULL;
}

static void a_shared_file_waits_for_the_others_locks(UNUSED void **state)
{
    struct db *second = NULL;
    char shared[FOLDER_PATH_SIZE];
    pthread_t thread;
    void *committed = NULL;
    folder_file(&folder, "shared.db", shared);
    assert_ok(db_open(shared, DB_SHARED, &reader, &error));
    assert_ok(db_exec(reader, "CREATE TABLE t (n); BEGIN; INSERT INTO t VALUES (1)", &error));
    assert_ok(db_open(shared, DB_SHARED, &second, &error));
    assert_int_equal(pthread_create(&thread, NULL, commit_soon, reader), 0);
    enum result result = db_exec(second, "INSERT INTO t VALUES (2)", &error);
    pthread_join(thread, &committed);
    db_close(second);
    assert_ok(result);
    assert_non_null(committed);
    assert_int_equal(ask(reader, "SELECT count(*) FROM t"), 2);
}

static void an_abandoned_file_is_left_as_it_is(UNUSED void **state)
{
    fill_table(100);
    long size = file_size(path), wal_size = file_size(wal_path);
    db_abandon(writer);
    writer = NULL;
    assert_int_equal(file_size(path), size);
    assert_int_equal(file_size(wal_path), wal_size);
    open_reader();
    assert_int_equal(ask(reader, "SELECT count(*) FROM t"), 100);
    db_abandon(NULL);
}

static void a_second_writer_finds_the_file_busy(UNUSED void **state)
{
    struct db *second = NULL;
    run("CREATE TABLE t (n)");
    assert_ok(db_open(path, DB_WRITER, &second, &error));
    run("BEGIN IMMEDIATE");
    enum result result = db_exec(second, "BEGIN IMMEDIATE", &error);
    db_close(second);
    assert_int_equal(result, RESULT_BUSY);
    run("COMMIT");
}

static void several_statements_run_until_one_fails(UNUSED void **state)
{
    run("CREATE TABLE t (n UNIQUE); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);");
    assert_int_equal(ask(writer, "SELECT count(*) FROM t"), 2);
    assert_int_equal(db_exec(writer,
                             "INSERT INTO t VALUES (3); INSERT INTO t VALUES (1);"
                             "INSERT INTO t VALUES (4)",
                             &error),
                     RESULT_CONFLICT);
    assert_contains(error.text, "UNIQUE constraint failed: t.n");
    assert_int_equal(ask(writer, "SELECT max(n) FROM t"), 3);
    assert_int_equal(db_exec(writer, "SELEKT", NULL), RESULT_INTERNAL);
}

static void a_query_for_a_number_gives_the_first_column(UNUSED void **state)
{
    int64_t number = 7;
    assert_int_equal(ask(writer, "SELECT -9223372036854775807 - 1, 2"), INT64_MIN);
    assert_int_equal(db_query_int(writer, "SELECT 1 WHERE 0", &number, &error), RESULT_NOT_FOUND);
    assert_contains(error.text, "SELECT 1 WHERE 0");
    assert_int_equal(db_query_int(writer, "SELECT x", &number, &error), RESULT_INTERNAL);
    assert_contains(error.text, "no such column: x");
    assert_int_equal(number, 7);
}

static void a_query_for_text_hands_on_every_row(UNUSED void **state)
{
    assert_rows(writer,
                "SELECT n, 0 FROM (SELECT 'a' AS n UNION ALL SELECT 2 UNION ALL SELECT NULL)",
                "a|2||");
}

static void a_transaction_is_known_from_begin_to_its_end(UNUSED void **state)
{
    assert_false(db_in_transaction(writer));
    run("CREATE TABLE t (n UNIQUE ON CONFLICT ROLLBACK); BEGIN");
    assert_true(db_in_transaction(writer));
    run("COMMIT; BEGIN; INSERT INTO t VALUES (1)");
    assert_true(db_in_transaction(writer));
    assert_int_equal(db_exec(writer, "INSERT INTO t VALUES (1)", NULL), RESULT_CONFLICT);
    assert_false(db_in_transaction(writer));
    assert_int_equal(ask(writer, "SELECT count(*) FROM t"), 0);
}

static void the_last_id_and_the_touched_rows_are_known(UNUSED void **state)
{
    run("CREATE TABLE t (id INTEGER PRIMARY KEY, n); INSERT INTO t VALUES (41, 0)");
    run("INSERT INTO t (n) VALUES (1)");
    assert_int_equal(db_last_id(writer), 42);
    assert_int_equal(db_changes(writer), 1);
    run("UPDATE t SET n = 5");
    assert_int_equal(db_changes(writer), 2);
    run("DELETE FROM t WHERE id = 0");
    assert_int_equal(db_changes(writer), 0);
}

static void the_pages_of_the_wal_are_counted_from_the_first_commit(UNUSED void **state)
{
    assert_int_equal(db_wal_pages(writer), 0);
    run("CREATE TABLE t (n)");
    int first = db_wal_pages(writer);
    assert_true(first > 0);
    run("INSERT INTO t VALUES (1)");
    assert_true(db_wal_pages(writer) > first);
    assert_ok(db_checkpoint(writer, &error));
    run("INSERT INTO t VALUES (2)");
    assert_true(db_wal_pages(writer) <= first);
}

static void a_checkpoint_does_not_wait_for_a_reader(UNUSED void **state)
{
    fill_table(10);
    open_reader();
    prepare(reader, "SELECT n FROM t");
    assert_step(true);
    run("UPDATE t SET n = n + 100");
    assert_ok(db_checkpoint(writer, &error));
    assert_step(true);
    assert_int_equal(statement_int(statement, 0), 2);
    statement_reset(statement);
    assert_step(true);
    assert_int_equal(statement_int(statement, 0), 101);
}

static void the_wal_stays_after_the_last_close_only_if_it_is_kept(UNUSED void **state)
{
    run("CREATE TABLE t (n)");
    db_close(writer);
    assert_int_equal(file_size(wal_path), -1);
    assert_ok(db_open(path, DB_WRITER, &writer, &error));
    db_keep_wal(writer);
    run("INSERT INTO t VALUES (1)");
    db_close(writer);
    writer = NULL;
    assert_true(file_size(wal_path) >= 0);
    assert_true(file_size(shm_path) >= 0);
    open_reader();
    assert_int_equal(ask(reader, "SELECT n FROM t"), 1);
}

struct stream {
    struct db *db;
    atomic_bool stop;
    atomic_int commits;
    enum result result;
};

/* Every transaction leaves as many rows in `a` as in `b`. */
static void *write_pairs(void *context)
{
    struct stream *stream = context;
    while (!atomic_load(&stream->stop) && stream->result == RESULT_OK) {
        stream->result = db_exec(stream->db,
                                 "BEGIN; INSERT INTO a VALUES (hex(zeroblob(500)));"
                                 "INSERT INTO b VALUES (hex(zeroblob(500))); COMMIT",
                                 NULL);
        atomic_fetch_add(&stream->commits, 1);
    }
    return NULL;
}

static void a_backup_made_while_others_write_is_consistent(UNUSED void **state)
{
    struct stream stream = {.db = writer};
    char copy[FOLDER_PATH_SIZE];
    pthread_t thread;
    run("CREATE TABLE a (t); CREATE TABLE b (t)");
    open_reader();
    folder_file(&folder, "copy.db", copy);
    assert_int_equal(pthread_create(&thread, NULL, write_pairs, &stream), 0);
    while (atomic_load(&stream.commits) < 20)
        usleep(100);
    enum result result = db_backup(reader, copy, &error);
    atomic_store(&stream.stop, true);
    pthread_join(thread, NULL);
    assert_ok(result);
    assert_ok(stream.result);
    db_close(reader);
    reader = NULL;
    assert_ok(db_open(copy, DB_READER, &reader, &error));
    assert_rows(reader, "PRAGMA integrity_check", "ok|");
    assert_true(ask(reader, "SELECT count(*) FROM a") >= 20);
    assert_int_equal(ask(reader, "SELECT count(*) FROM a"), ask(reader, "SELECT count(*) FROM b"));
}

static void a_backup_never_overwrites(UNUSED void **state)
{
    char copy[FOLDER_PATH_SIZE];
    folder_file(&folder, "copy.db", copy);
    file_write(copy, "mine", 4);
    assert_int_equal(db_backup(writer, copy, &error), RESULT_CONFLICT);
    assert_contains(error.text, copy);
    assert_int_equal(file_size(copy), 4);
}

static void a_backup_that_fails_leaves_no_file(UNUSED void **state)
{
    char copy[FOLDER_PATH_SIZE];
    folder_file(&folder, "missing/copy.db", copy);
    assert_int_equal(db_backup(writer, copy, &error), RESULT_NOT_FOUND);
    fill_table(100);
    folder_file(&folder, "copy.db", copy);
    struct rlimit before, tight;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = 20000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    enum result result = db_backup(writer, copy, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_not_equal(result, RESULT_OK);
    assert_int_equal(file_size(copy), -1);
    assert_ok(db_backup(writer, copy, &error));
}

static const char LONG_SQL[] =
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000)"
    "SELECT count(*) FROM c";

/* Counts the questions; says stop from the one that `limit` says. */
struct stopper {
    int asked, limit;
};

static bool ask_stopper(void *context)
{
    struct stopper *stopper = context;
    return ++stopper->asked > stopper->limit;
}

static void a_long_statement_ends_when_it_is_told_to_stop(UNUSED void **state)
{
    struct stopper stopper = {.limit = 3};
    int64_t number = 7;
    db_set_stop(writer, ask_stopper, &stopper);
    assert_int_equal(db_query_int(writer, LONG_SQL, &number, &error), RESULT_CLOSED);
    assert_int_equal(number, 7);
    assert_int_equal(stopper.asked, 4);
}

static void a_long_statement_goes_on_while_it_is_not_told_to_stop(UNUSED void **state)
{
    struct stopper stopper = {.limit = 1000000};
    db_set_stop(writer, ask_stopper, &stopper);
    assert_int_equal(ask(writer, LONG_SQL), 100000);
    assert_true(stopper.asked > 3);
    int asked = stopper.asked;
    db_set_stop(writer, NULL, NULL);
    assert_int_equal(ask(writer, LONG_SQL), 100000);
    assert_int_equal(stopper.asked, asked);
}

static void a_full_file_is_told_as_a_full_disk(UNUSED void **state)
{
    run("CREATE TABLE t (n)");
    assert_true(ask(writer, "PRAGMA max_page_count = 4") > 0);
    assert_int_equal(db_exec(writer, "INSERT INTO t VALUES (zeroblob(100000))", &error),
                     RESULT_DISK_FULL);
    assert_int_equal(ask(writer, "SELECT count(*) FROM t"), 0);
}

static void nothing_may_be_closed_and_freed(UNUSED void **state)
{
    db_close(NULL);
    statement_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_writer_uses_a_wal_and_flushes_every_commit),
        TEST(a_writer_checkpoints_only_when_told_to),
        TEST(where_a_wal_cannot_be_had_a_writer_is_refused),
        TEST(a_file_that_is_no_database_is_refused_as_damaged),
        TEST(a_reader_does_not_create_a_file),
        TEST(a_reader_sees_what_is_committed_and_nothing_else),
        TEST(a_reader_cannot_write),
        TEST(a_reader_neither_checkpoints_nor_removes_the_wal),
        TEST(the_last_reader_to_close_leaves_the_wal_as_it_is),
        TEST(a_shared_file_has_a_rollback_journal_and_flushes_every_commit),
        TEST(a_shared_file_waits_for_the_others_locks),
        TEST(an_abandoned_file_is_left_as_it_is),
        TEST(a_second_writer_finds_the_file_busy),
        TEST(several_statements_run_until_one_fails),
        TEST(a_query_for_a_number_gives_the_first_column),
        TEST(a_query_for_text_hands_on_every_row),
        TEST(a_transaction_is_known_from_begin_to_its_end),
        TEST(the_last_id_and_the_touched_rows_are_known),
        TEST(the_pages_of_the_wal_are_counted_from_the_first_commit),
        TEST(a_checkpoint_does_not_wait_for_a_reader),
        TEST(the_wal_stays_after_the_last_close_only_if_it_is_kept),
        TEST(a_backup_made_while_others_write_is_consistent),
        TEST(a_backup_never_overwrites),
        TEST(a_backup_that_fails_leaves_no_file),
        TEST(a_long_statement_ends_when_it_is_told_to_stop),
        TEST(a_long_statement_goes_on_while_it_is_not_told_to_stop),
        TEST(a_full_file_is_told_as_a_full_disk),
        TEST(nothing_may_be_closed_and_freed),
    };
    return RUN_TESTS(argc, argv, tests);
}
