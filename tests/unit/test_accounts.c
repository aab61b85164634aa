#include "appliance/accounts.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bridge/relay/delivery_state.h"
#include "core/db.h"
#include "tests/support/appliance_fixture.h"
#include "tests/support/unit.h"

static struct fixture fixture;
static struct folder bridge_folder;
static struct accounts *accounts;

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    folder_make(&bridge_folder);
    accounts = NULL;
    assert_ok(fixture_open(&fixture, NULL));
    return 0;
}

static int tear_down(UNUSED void **state)
{
    accounts_stop(accounts);
    folder_remove(&bridge_folder);
    fixture_done(&fixture);
    return 0;
}

static void start(void)
{
    const struct accounts_options options = {
        .data_dir = fixture.folder.path, .bridge_dir = bridge_folder.path, .clock = &clock_system};
    assert_ok(accounts_start(&options, &accounts, NULL));
}

static void make_bridge_db(void)
{
    struct delivery_state *deliveries = NULL;
    assert_ok(delivery_state_open(bridge_folder.path, &clock_system, &deliveries, NULL));
    delivery_state_close(deliveries);
}

static void bridge_file(const char *name, char ret_path[static FOLDER_PATH_SIZE])
{
    folder_file(&bridge_folder, name, ret_path);
}

/* The thread gets past it: what it reads the next time is right again. */
static void assert_refused_in_time(enum result expected)
{
    struct delivery_status status;
    struct error error = {0};
    int64_t began_ms = clock_monotonic_ms(&clock_system);
    start();
    assert_int_equal(accounts_get(accounts, &status, &error), expected);
    assert_true(error.text[0] != '\0' || expected == RESULT_OK);
    accounts_stop(accounts);
    accounts = NULL;
    assert_in_range(clock_monotonic_ms(&clock_system) - began_ms, 0,
                    ACCOUNTS_FIRST_MS + ACCOUNTS_STOP_MS + DB_UNTRUSTED_MS + 1000);
}

static void without_a_bridge_there_is_nothing_to_tell(UNUSED void **state)
{
    struct delivery_status status;
    start();
    assert_ok(accounts_get(accounts, &status, NULL));
    assert_int_equal(status.sink_count, 0);
    assert_false(status.bridge_running);
}

static void a_pipe_in_the_place_of_the_lock_holds_nothing_up(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE];
    make_bridge_db();
    bridge_file("bridge.lock", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused_in_time(RESULT_OK);
}

static void a_pipe_or_a_link_in_the_place_of_the_database_is_refused(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE], other[FOLDER_PATH_SIZE];
    bridge_file("bridge.db", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused_in_time(RESULT_DENIED);
    assert_int_equal(unlink(path), 0);
    make_bridge_db();
    bridge_file("elsewhere.db", other);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink(other, path), 0);
    assert_refused_in_time(RESULT_DENIED);
}

static void change_bridge_db(const char *sql)
{
    char path[FOLDER_PATH_SIZE];
    sqlite3 *db = NULL;
    bridge_file("bridge.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_database_that_never_ends_is_left(UNUSED void **state)
{
    make_bridge_db();
    change_bridge_db(
        "DROP TABLE sinks; CREATE VIEW sinks AS WITH RECURSIVE n(i) AS"
        " (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT i AS name, i AS state, i AS breaker, i AS start_sequence, i AS cursor,"
        " i AS delivered, i AS last_delivered_at_ms, i AS last_error_at_ms,"
        " i AS last_error, i AS journal_id, i AS cursor_hash FROM n WHERE i < 0");
    assert_refused_in_time(RESULT_CLOSED);
}

static void what_is_locked_for_ever_is_busy(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE];
    sqlite3 *db = NULL;
    make_bridge_db();
    bridge_file("bridge.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    struct delivery_status status;
    struct error error = {0};
    start();
    assert_int_not_equal(accounts_get(accounts, &status, &error), RESULT_OK);
    assert_true(error.text[0] != '\0');
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_bridge_there_is_nothing_to_tell),
        TEST(a_pipe_in_the_place_of_the_lock_holds_nothing_up),
        TEST(a_pipe_or_a_link_in_the_place_of_the_database_is_refused),
        TEST(a_database_that_never_ends_is_left),
        TEST(what_is_locked_for_ever_is_busy),
    };
    return RUN_TESTS(argc, argv, tests);
}
