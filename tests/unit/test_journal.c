#include "tests/support/unit.h"

#include "appliance/journal.h"

#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "core/db.h"
#include "core/journal/chain.h"
#include "tests/support/appliance_fixture.h"
#include "tests/support/fault_vfs.h"

static struct fixture fixture;

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    fault_vfs_watch(fixture.folder.path, true);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    fault_vfs_heal();
    fixture_done(&fixture);
    return 0;
}

static const struct journal_identity *open_journal(void)
{
    assert_ok(fixture_open(&fixture, NULL));
    return journal_identity(fixture.journal);
}

static void close_journal(void)
{
    assert_ok(fixture_stop(&fixture, NULL));
}

static enum result refused_open(struct error *error)
{
    *error = (struct error){0};
    struct journal *journal = NULL;
    enum result result = journal_open(&fixture.options, &journal, error);
    assert_null(journal);
    return result;
}

/* Changes the file behind the journal's back, while it is closed. */
static void tamper(const char *sql)
{
    struct db *db = NULL;
    char path[JOURNAL_PATH_SIZE];
    journal_path(fixture.folder.path, path);
    assert_ok(db_open(path, DB_WRITER, &db, NULL));
    assert_ok(db_exec(db, sql, NULL));
    db_close(db);
}

static void append_event(int64_t now_ms)
{
    struct json_writer *data = journal_begin_event(fixture.journal, "order.created", now_ms);
    json_put_int(data, "order_id", 1);
    assert_ok(journal_end_event(fixture.journal, NULL));
}

static int64_t insert_order(void)
{
    struct order order;
    assert_ok(order_init(&order, 1));
    order.user_id = 5;
    order.lines[0] = (struct order_line){1, 2, 999};
    order.total_minor = 1998;
    order.created_at_ms = FIXTURE_NOW_MS;
    assert_ok(journal_insert_order(fixture.journal, &order, NULL));
    int64_t order_id = order.order_id;
    order_done(&order);
    return order_id;
}

static void begin(void)
{
    assert_ok(journal_begin(fixture.journal, NULL));
}

static void commit(void)
{
    assert_ok(journal_commit(fixture.journal, NULL));
}

static void a_new_journal_makes_up_who_it_is(UNUSED void **state)
{
    const struct journal_identity *identity = open_journal();
    assert_true(identity->is_new);
    assert_true(identity->stopped_cleanly);
    assert_int_equal(strlen(identity->journal_id), UUID_TEXT_SIZE - 1);
    assert_int_equal(identity->journal_id[14], '7');
    assert_int_equal(strspn(identity->device_id + 4, "0123456789abcdef"), 12);
    assert_memory_equal(identity->device_id, "box-", 4);
    assert_int_equal(identity->device_id[16], '\0');
    assert_string_equal(identity->location, identity->device_id);
    assert_int_equal(journal_head(fixture.journal).sequence, 0);
}

static void a_journal_stays_who_it_is(UNUSED void **state)
{
    struct journal_identity before = *open_journal();
    close_journal();
    fake_clock_advance(&fixture.clock, 1000);
    const struct journal_identity *identity = open_journal();
    assert_false(identity->is_new);
    assert_string_equal(identity->journal_id, before.journal_id);
    assert_string_equal(identity->device_id, before.device_id);
    assert_string_equal(identity->location, before.location);
}

static void a_new_journal_takes_the_names_it_is_given(UNUSED void **state)
{
    fixture.options.device_id = "till-7";
    fixture.options.location = "High-Street";
    const struct journal_identity *identity = open_journal();
    assert_string_equal(identity->device_id, "till-7");
    assert_string_equal(identity->location, "High-Street");
}

static void a_changed_location_is_kept(UNUSED void **state)
{
    fixture.options.location = "High-Street";
    open_journal();
    close_journal();
    fixture.options.location = "Low-Street";
    assert_string_equal(open_journal()->location, "Low-Street");
    close_journal();
    fixture.options.location = NULL;
    assert_string_equal(open_journal()->location, "Low-Street");
}

static void another_device_id_is_a_conflict_that_names_both(UNUSED void **state)
{
    struct error error;
    fixture.options.device_id = "till-7";
    open_journal();
    close_journal();
    fixture.options.device_id = "till-8";
    assert_int_equal(refused_open(&error), RESULT_CONFLICT);
    assert_contains(error.text, "till-7");
    assert_contains(error.text, "till-8");
}

static void a_journal_that_is_open_is_locked_for_others(UNUSED void **state)
{
    struct error error;
    open_journal();
    assert_int_equal(refused_open(&error), RESULT_LOCKED);
    assert_contains(error.text, fixture.folder.path);
    close_journal();
    open_journal();
}

static void a_refused_open_lets_go_and_leaves_the_clean_stop_as_it_was(UNUSED void **state)
{
    struct error error;
    fixture.options.device_id = "till-7";
    open_journal();
    close_journal();
    fixture.options.device_id = "till-8";
    assert_int_equal(refused_open(&error), RESULT_CONFLICT);
    fixture.options.device_id = "till-7";
    assert_true(open_journal()->stopped_cleanly);
}

static void a_newer_schema_is_refused_and_nothing_changed(UNUSED void **state)
{
    struct error error;
    open_journal();
    close_journal();
    tamper("PRAGMA user_version = 99");
    assert_int_equal(refused_open(&error), RESULT_UNSUPPORTED);
    assert_contains(error.text, "99");
    assert_int_equal(fixture_ask(&fixture, "PRAGMA user_version"), 99);
    assert_int_equal(fixture_ask(&fixture, "SELECT stopped_cleanly FROM meta"), 1);
}

static void a_database_of_another_program_is_refused(UNUSED void **state)
{
    struct error error;
    tamper("PRAGMA application_id = 7; CREATE TABLE notes (text)");
    assert_int_equal(refused_open(&error), RESULT_UNSUPPORTED);
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM sqlite_schema"), 1);
}

static void a_file_that_is_no_database_is_refused_as_corrupt(UNUSED void **state)
{
    struct error error;
    char path[FOLDER_PATH_SIZE], text[4096];
    memset(text, 'x', sizeof text);
    folder_file(&fixture.folder, "journal.db", path);
    file_write(path, text, sizeof text);
    assert_int_equal(refused_open(&error), RESULT_CORRUPT);
    assert_int_equal(file_size(path), sizeof text);
}

static void a_folder_that_is_not_there_is_refused(UNUSED void **state)
{
    struct error error;
    fixture.options.data_dir = "/nowhere/at/all";
    assert_int_equal(refused_open(&error), RESULT_DENIED);
    assert_contains(error.text, "/nowhere/at/all");
}

static void a_stop_is_clean_only_when_the_journal_was_closed(UNUSED void **state)
{
    open_journal();
    fixture_crash(&fixture);
    assert_false(open_journal()->stopped_cleanly);
    close_journal();
    assert_true(open_journal()->stopped_cleanly);
    assert_int_equal(fixture_ask(&fixture, "SELECT stopped_cleanly FROM meta"), 0);
}

static void what_was_not_committed_is_gone_after_a_crash(UNUSED void **state)
{
    open_journal();
    begin();
    assert_int_equal(insert_order(), 1);
    commit();
    begin();
    assert_int_equal(insert_order(), 2);
    fixture_crash(&fixture);
    open_journal();
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM orders"), 1);
}

static void a_journal_that_is_abandoned_writes_nothing_more(UNUSED void **state)
{
    open_journal();
    begin();
    append_event(FIXTURE_NOW_MS);
    commit();
    int64_t written = fault_vfs_count(FAULT_WRITE);
    fixture_crash(&fixture);
    assert_int_equal(fault_vfs_count(FAULT_WRITE), written);
}

static void readers_find_the_wal_after_a_clean_stop(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE];
    open_journal();
    close_journal();
    folder_file(&fixture.folder, "journal.db-wal", path);
    assert_int_equal(access(path, F_OK), 0);
    folder_file(&fixture.folder, "journal.db-shm", path);
    assert_int_equal(access(path, F_OK), 0);
}

static void a_commit_is_flushed_when_it_returns(UNUSED void **state)
{
    open_journal();
    for (int i = 0; i < 3; i++) {
        begin();
        insert_order();
        append_event(FIXTURE_NOW_MS);
        commit();
        assert_int_equal(fault_vfs_unflushed(), 0);
    }
}

static void order_ids_have_no_gap_though_orders_are_rolled_back(UNUSED void **state)
{
    open_journal();
    begin();
    assert_int_equal(insert_order(), 1);
    assert_ok(journal_savepoint(fixture.journal, NULL));
    assert_int_equal(insert_order(), 2);
    assert_ok(journal_rollback_to_savepoint(fixture.journal, NULL));
    assert_int_equal(insert_order(), 2);
    commit();
    begin();
    assert_int_equal(insert_order(), 3);
    journal_rollback(fixture.journal);
    fixture_crash(&fixture);
    open_journal();
    begin();
    assert_int_equal(insert_order(), 3);
    commit();
}

static void the_sequence_has_no_gap_though_events_are_rolled_back(UNUSED void **state)
{
    open_journal();
    begin();
    append_event(FIXTURE_NOW_MS);
    assert_ok(journal_savepoint(fixture.journal, NULL));
    append_event(FIXTURE_NOW_MS);
    append_event(FIXTURE_NOW_MS);
    assert_ok(journal_rollback_to_savepoint(fixture.journal, NULL));
    assert_ok(journal_savepoint(fixture.journal, NULL));
    append_event(FIXTURE_NOW_MS);
    assert_ok(journal_release(fixture.journal, NULL));
    assert_int_equal(journal_last_event(fixture.journal)->sequence, 2);
    commit();
    begin();
    append_event(FIXTURE_NOW_MS);
    journal_rollback(fixture.journal);
    begin();
    append_event(FIXTURE_NOW_MS);
    commit();
    assert_int_equal(journal_head(fixture.journal).sequence, 3);
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM events"), 3);
}

static struct chain_report check_whole_chain(void)
{
    struct db *db = NULL;
    struct chain_report report = {0};
    char path[JOURNAL_PATH_SIZE];
    journal_path(fixture.folder.path, path);
    assert_ok(db_open(path, DB_READER, &db, NULL));
    assert_ok(chain_check(db, CHAIN_ALL, &report, NULL));
    db_close(db);
    return report;
}

static void the_chain_goes_on_after_rollbacks_and_restarts(UNUSED void **state)
{
    for (int i = 0; i < 3; i++) {
        open_journal();
        begin();
        append_event(FIXTURE_NOW_MS);
        journal_rollback(fixture.journal);
        begin();
        append_event(FIXTURE_NOW_MS);
        commit();
        struct journal_head head = journal_head(fixture.journal);
        if (i == 1)
            close_journal();
        else
            fixture_crash(&fixture);
        struct chain_report report = check_whole_chain();
        assert_int_equal(report.bad_sequence, 0);
        assert_int_equal(report.last_sequence, i + 1);
        assert_memory_equal(report.head, head.hash, sizeof head.hash);
    }
}

static void the_head_is_that_of_the_last_commit(UNUSED void **state)
{
    open_journal();
    begin();
    append_event(FIXTURE_NOW_MS);
    assert_int_equal(journal_head(fixture.journal).sequence, 0);
    commit();
    struct journal_head head = journal_head(fixture.journal);
    assert_int_equal(head.sequence, 1);
    begin();
    append_event(FIXTURE_NOW_MS);
    journal_rollback(fixture.journal);
    struct journal_head same = journal_head(fixture.journal);
    assert_memory_equal(same.hash, head.hash, sizeof head.hash);
    close_journal();
    open_journal();
    same = journal_head(fixture.journal);
    assert_int_equal(same.sequence, 1);
    assert_memory_equal(same.hash, head.hash, sizeof head.hash);
}

static void event_ids_rise_though_the_clock_steps_back(UNUSED void **state)
{
    for (int i = 0; i < 3; i++) {
        open_journal();
        begin();
        append_event(FIXTURE_NOW_MS);
        fake_clock_advance(&fixture.clock, -3600000);
        append_event(FIXTURE_NOW_MS);
        append_event(FIXTURE_NOW_MS);
        commit();
        close_journal();
    }
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM (SELECT event_id,"
                                           " lag(event_id) OVER (ORDER BY sequence) AS before"
                                           " FROM events) WHERE event_id > before"),
                     8);
}

static void an_event_says_what_it_is_and_where_it_comes_from(UNUSED void **state)
{
    static const char SQL[] =
        "SELECT count(*) FROM events, meta WHERE sequence = 1 AND order_id = 1"
        " AND event_type = 'order.created' AND event_version = 'v1'"
        " AND occurred_at = '2026-01-31T09:05:00.250Z'"
        " AND payload = json_object('event_id', event_id, 'event_type', event_type,"
        " 'event_version', 'v1', 'device_id', device_id, 'journal_id', journal_id,"
        " 'location', location, 'sequence', 1, 'occurred_at', occurred_at,"
        " 'data', json_object('order_id', 1))";
    fixture.options.device_id = "till-7";
    fixture.options.location = "High-Street";
    open_journal();
    begin();
    append_event(FIXTURE_NOW_MS);
    commit();
    assert_int_equal(fixture_ask(&fixture, SQL), 1);
    const struct event *event = journal_last_event(fixture.journal);
    assert_string_equal(event->event_type, "order.created");
    assert_int_equal(event->occurred_at_ms, FIXTURE_NOW_MS);
}

static void an_event_that_does_not_fit_leaves_the_chain_as_it_was(UNUSED void **state)
{
    static char text[1 << 20];
    struct error error = {0};
    open_journal();
    begin();
    memset(text, 'x', sizeof text - 1);
    struct json_writer *data = journal_begin_event(fixture.journal, "stock.adjusted", 0);
    json_put_text(data, "reason", text);
    assert_int_equal(journal_end_event(fixture.journal, &error), RESULT_TOO_LARGE);
    assert_string_not_equal(error.text, "");
    append_event(FIXTURE_NOW_MS);
    commit();
    assert_int_equal(journal_head(fixture.journal).sequence, 1);
}

static void events_can_not_be_changed(UNUSED void **state)
{
    struct db *db = NULL;
    char path[JOURNAL_PATH_SIZE];
    open_journal();
    begin();
    append_event(FIXTURE_NOW_MS);
    commit();
    close_journal();
    journal_path(fixture.folder.path, path);
    assert_ok(db_open(path, DB_WRITER, &db, NULL));
    assert_int_equal(db_exec(db, "UPDATE events SET payload = '{}'", NULL), RESULT_CONFLICT);
    db_close(db);
}

static void the_wal_is_brought_in_once_it_has_grown(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE];
    folder_file(&fixture.folder, "journal.db", path);
    open_journal();
    long before = file_size(path);
    begin();
    append_event(FIXTURE_NOW_MS);
    commit();
    assert_ok(journal_checkpoint_if_due(fixture.journal, NULL));
    assert_int_equal(file_size(path), before);
    for (int i = 0; i < 260; i++) {
        begin();
        for (int j = 0; j < 40; j++)
            append_event(FIXTURE_NOW_MS);
        commit();
    }
    assert_ok(journal_checkpoint_if_due(fixture.journal, NULL));
    assert_true(file_size(path) > 1000 * 1000);
}

static void a_commit_that_cannot_be_written_is_rolled_back(UNUSED void **state)
{
    open_journal();
    begin();
    insert_order();
    append_event(FIXTURE_NOW_MS);
    fault_vfs_fail(FAULT_WRITE, 1, 1, SQLITE_FULL);
    assert_int_equal(journal_commit(fixture.journal, NULL), RESULT_DISK_FULL);
    assert_int_equal(journal_head(fixture.journal).sequence, 0);
    begin();
    assert_int_equal(insert_order(), 1);
    append_event(FIXTURE_NOW_MS);
    commit();
    assert_int_equal(journal_head(fixture.journal).sequence, 1);
}

static void a_commit_that_cannot_be_flushed_says_so(UNUSED void **state)
{
    struct error error = {0};
    open_journal();
    begin();
    append_event(FIXTURE_NOW_MS);
    fault_vfs_fail(FAULT_SYNC, 1, 1, SQLITE_IOERR_FSYNC);
    assert_int_equal(journal_commit(fixture.journal, &error), RESULT_SYNC_FAILED);
    assert_string_not_equal(error.text, "");
    assert_int_equal(journal_head(fixture.journal).sequence, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_journal_makes_up_who_it_is),
        TEST(a_journal_stays_who_it_is),
        TEST(a_new_journal_takes_the_names_it_is_given),
        TEST(a_changed_location_is_kept),
        TEST(another_device_id_is_a_conflict_that_names_both),
        TEST(a_journal_that_is_open_is_locked_for_others),
        TEST(a_refused_open_lets_go_and_leaves_the_clean_stop_as_it_was),
        TEST(a_newer_schema_is_refused_and_nothing_changed),
        TEST(a_database_of_another_program_is_refused),
        TEST(a_file_that_is_no_database_is_refused_as_corrupt),
        TEST(a_folder_that_is_not_there_is_refused),
        TEST(a_stop_is_clean_only_when_the_journal_was_closed),
        TEST(what_was_not_committed_is_gone_after_a_crash),
        TEST(a_journal_that_is_abandoned_writes_nothing_more),
        TEST(readers_find_the_wal_after_a_clean_stop),
        TEST(a_commit_is_flushed_when_it_returns),
        TEST(order_ids_have_no_gap_though_orders_are_rolled_back),
        TEST(the_sequence_has_no_gap_though_events_are_rolled_back),
        TEST(the_chain_goes_on_after_rollbacks_and_restarts),
        TEST(the_head_is_that_of_the_last_commit),
        TEST(event_ids_rise_though_the_clock_steps_back),
        TEST(an_event_says_what_it_is_and_where_it_comes_from),
        TEST(an_event_that_does_not_fit_leaves_the_chain_as_it_was),
        TEST(events_can_not_be_changed),
        TEST(the_wal_is_brought_in_once_it_has_grown),
        TEST(a_commit_that_cannot_be_written_is_rolled_back),
        TEST(a_commit_that_cannot_be_flushed_says_so),
    };
    return RUN_TESTS(argc, argv, tests);
}
