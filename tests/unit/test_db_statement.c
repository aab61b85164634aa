#include <string.h>

#include "core/db.h"
#include "tests/support/folder.h"
#include "tests/support/unit.h"

static struct folder folder;
static char path[FOLDER_PATH_SIZE];
static struct db *writer;
static struct statement *statement;
static struct error error;

static int set_up(UNUSED void **state)
{
    folder_make(&folder);
    folder_file(&folder, "test.db", path);
    statement = NULL;
    return db_open(path, DB_WRITER, &writer, &error) == RESULT_OK ? 0 : -1;
}

static int tear_down(UNUSED void **state)
{
    statement_free(statement);
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

static void what_is_bound_comes_back(UNUSED void **state)
{
    prepare(writer, "SELECT ?1, ?2, ?3, ?4");
    statement_bind_int(statement, 1, INT64_MIN);
    statement_bind_text(statement, 2, "a\0bc", 3);
    statement_bind_blob(statement, 3, "\0\xFF", 2);
    statement_bind_null(statement, 4);
    assert_step(true);
    assert_int_equal(statement_int(statement, 0), INT64_MIN);
    assert_int_equal(statement_size(statement, 1), 3);
    assert_memory_equal(statement_text(statement, 1), "a\0b", 4);
    assert_int_equal(statement_size(statement, 2), 2);
    assert_memory_equal(statement_blob(statement, 2), "\0\xFF", 2);
    assert_false(statement_is_null(statement, 2));
    assert_true(statement_is_null(statement, 3));
    assert_string_equal(statement_text(statement, 3), "");
    assert_int_equal(statement_size(statement, 3), 0);
    assert_step(false);
}

static void a_failed_bind_is_reported_by_the_next_step(UNUSED void **state)
{
    bool row = false;
    prepare(writer, "SELECT ?1");
    statement_bind_int(statement, 2, 7);
    statement_bind_int(statement, 1, 7);
    assert_int_not_equal(statement_step(statement, &row, &error), RESULT_OK);
    assert_step(true);
    assert_int_equal(statement_int(statement, 0), 7);
}

static void a_statement_resets_itself_at_its_end_and_after_an_error(UNUSED void **state)
{
    run("CREATE TABLE t (n UNIQUE)");
    prepare(writer, "INSERT INTO t VALUES (?1)");
    for (int i = 0; i < 3; i++) {
        bool row = true;
        statement_bind_int(statement, 1, i / 2);
        assert_int_equal(statement_step(statement, &row, &error),
                         i == 1 ? RESULT_CONFLICT : RESULT_OK);
    }
    prepare(writer, "SELECT n FROM t ORDER BY n");
    for (int i = 0; i < 2; i++) {
        assert_step(true);
        assert_step(true);
        assert_step(false);
    }
}

static void running_a_statement_passes_over_its_rows(UNUSED void **state)
{
    run("CREATE TABLE t (n UNIQUE)");
    prepare(writer, "INSERT INTO t VALUES (1), (2) RETURNING n");
    assert_ok(statement_run(statement, &error));
    assert_int_equal(ask(writer, "SELECT count(*) FROM t"), 2);
    assert_int_equal(statement_run(statement, &error), RESULT_CONFLICT);
    assert_contains(error.text, "UNIQUE");
}

static void a_statement_left_at_a_row_holds_its_view_until_it_is_reset(UNUSED void **state)
{
    run("CREATE TABLE t (n); INSERT INTO t VALUES (1)");
    struct db *reader = NULL;
    assert_ok(db_open(path, DB_READER, &reader, &error));
    prepare(reader, "SELECT n FROM t");
    assert_step(true);
    run("UPDATE t SET n = 2");
    int64_t before = ask(reader, "SELECT n FROM t");
    statement_reset(statement);
    int64_t after = ask(reader, "SELECT n FROM t");
    statement_free(statement);
    statement = NULL;
    db_close(reader);
    assert_int_equal(before, 1);
    assert_int_equal(after, 2);
    statement_reset(NULL);
}

static void a_statement_that_cannot_be_prepared_is_refused_with_the_cause(UNUSED void **state)
{
    struct statement *untouched = NULL;
    assert_int_equal(statement_prepare(writer, "SELECT n FROM missing", &untouched, &error),
                     RESULT_INTERNAL);
    assert_contains(error.text, "no such table: missing");
    assert_null(untouched);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_bound_comes_back),
        TEST(a_failed_bind_is_reported_by_the_next_step),
        TEST(a_statement_resets_itself_at_its_end_and_after_an_error),
        TEST(running_a_statement_passes_over_its_rows),
        TEST(a_statement_left_at_a_row_holds_its_view_until_it_is_reset),
        TEST(a_statement_that_cannot_be_prepared_is_refused_with_the_cause),
    };
    return RUN_TESTS(argc, argv, tests);
}
