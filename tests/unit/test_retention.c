/* Old events leave the journal once head office has them: journal_remove_events() and
 * committer_prune_events(). */
#include "tests/support/unit.h"

#include <sqlite3.h>
#include <string.h>

#include "core/db.h"
#include "core/journal/chain.h"
#include "tests/support/appliance_fixture.h"
#include "tests/support/fault_vfs.h"

enum { HOUR_MS = 3600000, PATIENCE_MS = 20000 };

static struct fixture fixture;

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    fault_vfs_watch(fixture.folder.path, false);
    assert_ok(fixture_open(&fixture, NULL));
    return 0;
}

static int tear_down(UNUSED void **state)
{
    fault_vfs_heal();
    fixture_done(&fixture);
    return 0;
}

static void append_events(int count, int64_t at_ms)
{
    assert_ok(journal_begin(fixture.journal, NULL));
    for (int i = 0; i < count; i++) {
        journal_begin_event(fixture.journal, EVENT_STOCK_ADJUSTED, at_ms);
        assert_ok(journal_end_event(fixture.journal, NULL));
    }
    assert_ok(journal_commit(fixture.journal, NULL));
}

static int64_t remove_events(int64_t through, int64_t before_ms)
{
    int64_t removed = -1;
    assert_ok(journal_remove_events(fixture.journal, through, before_ms, &removed, NULL));
    return removed;
}

/* The chain verifies and holds the events from `first` to `last`. */
static void assert_chain(int64_t first, int64_t last)
{
    struct db *db = NULL;
    struct chain_report report;
    char path[JOURNAL_PATH_SIZE];
    journal_path(fixture.folder.path, path);
    assert_ok(db_open(path, DB_READER, &db, NULL));
    assert_ok(chain_check(db, CHAIN_ALL, &report, NULL));
    db_close(db);
    assert_int_equal(report.bad_sequence, 0);
    assert_int_equal(report.first_sequence, first);
    assert_int_equal(report.last_sequence, last);
    assert_int_equal(fixture_ask(&fixture, "SELECT chain_anchor_sequence FROM meta"),
                     first ? first - 1 : last);
}

static void old_events_that_head_office_has_are_removed(UNUSED void **state)
{
    append_events(10, FIXTURE_NOW_MS);
    assert_int_equal(remove_events(4, FIXTURE_NOW_MS + 1), 4);
    assert_chain(5, 10);
    assert_int_equal(remove_events(4, FIXTURE_NOW_MS + 1), 0);
    append_events(1, FIXTURE_NOW_MS);
    assert_chain(5, 11);
    assert_int_equal(remove_events(7, FIXTURE_NOW_MS + 1), 3);
    assert_chain(8, 11);
}

static void young_events_stay(UNUSED void **state)
{
    append_events(3, FIXTURE_NOW_MS);
    append_events(3, FIXTURE_NOW_MS + HOUR_MS);
    assert_int_equal(remove_events(6, FIXTURE_NOW_MS), 0);
    assert_int_equal(remove_events(6, FIXTURE_NOW_MS + HOUR_MS), 3);
    assert_chain(4, 6);
}

static void an_old_event_behind_a_young_one_stays(UNUSED void **state)
{
    append_events(2, FIXTURE_NOW_MS);
    append_events(1, FIXTURE_NOW_MS + HOUR_MS);
    append_events(2, FIXTURE_NOW_MS);
    assert_int_equal(remove_events(5, FIXTURE_NOW_MS + 1), 2);
    assert_chain(3, 5);
}

static void events_are_removed_a_share_at_a_time(UNUSED void **state)
{
    append_events(JOURNAL_EVENTS_REMOVED + 3, FIXTURE_NOW_MS);
    assert_int_equal(remove_events(INT64_MAX, FIXTURE_NOW_MS + 1), JOURNAL_EVENTS_REMOVED);
    assert_chain(JOURNAL_EVENTS_REMOVED + 1, JOURNAL_EVENTS_REMOVED + 3);
    assert_int_equal(remove_events(INT64_MAX, FIXTURE_NOW_MS + 1), 2);
    assert_chain(JOURNAL_EVENTS_REMOVED + 3, JOURNAL_EVENTS_REMOVED + 3);
}

static void where_there_is_nothing_to_remove_nothing_is_written(UNUSED void **state)
{
    append_events(3, FIXTURE_NOW_MS);
    int64_t written = fault_vfs_count(FAULT_WRITE);
    assert_int_equal(remove_events(0, FIXTURE_NOW_MS + 1), 0);
    assert_int_equal(remove_events(3, FIXTURE_NOW_MS), 0);
    assert_int_equal(fault_vfs_count(FAULT_WRITE), written);
}

static void the_last_event_stays_and_the_chain_goes_on_from_it(UNUSED void **state)
{
    append_events(3, FIXTURE_NOW_MS);
    struct journal_head head = journal_head(fixture.journal);
    assert_int_equal(remove_events(3, FIXTURE_NOW_MS + 1), 2);
    assert_ok(fixture_stop(&fixture, NULL));
    assert_ok(fixture_open(&fixture, NULL));
    struct journal_head same = journal_head(fixture.journal);
    assert_int_equal(same.sequence, 3);
    assert_memory_equal(same.hash, head.hash, sizeof head.hash);
    append_events(1, FIXTURE_NOW_MS);
    assert_chain(3, 4);
}

static void event_ids_rise_after_a_removal_though_the_clock_steps_back(UNUSED void **state)
{
    struct uuid before, after;
    append_events(2, FIXTURE_NOW_MS);
    assert_ok(uuid_parse(journal_last_event(fixture.journal)->event_id, &before));
    assert_int_equal(remove_events(2, FIXTURE_NOW_MS + 1), 1);
    assert_ok(fixture_stop(&fixture, NULL));
    fake_clock_advance(&fixture.clock, -HOUR_MS);
    assert_ok(fixture_open(&fixture, NULL));
    append_events(1, FIXTURE_NOW_MS - HOUR_MS);
    assert_ok(uuid_parse(journal_last_event(fixture.journal)->event_id, &after));
    assert_true(memcmp(after.bytes, before.bytes, UUID_SIZE) > 0);
}

static void a_removal_that_fails_leaves_everything_as_it_was(UNUSED void **state)
{
    int64_t removed = -1;
    append_events(10, FIXTURE_NOW_MS);
    fault_vfs_fail(FAULT_WRITE, 1, 1, SQLITE_FULL);
    assert_int_equal(journal_remove_events(fixture.journal, 5, FIXTURE_NOW_MS + 1, &removed, NULL),
                     RESULT_DISK_FULL);
    assert_chain(1, 10);
    append_events(1, FIXTURE_NOW_MS);
    assert_int_equal(remove_events(5, FIXTURE_NOW_MS + 1), 5);
    assert_chain(6, 11);
}

static void restart(void)
{
    fixture_crash(&fixture);
    assert_ok(fixture_start(&fixture, NULL));
}

static void wait_for_events(int64_t wanted)
{
    int64_t left = -1;
    for (int i = 0; i < PATIENCE_MS && left != wanted; i++) {
        clock_sleep_ms(&clock_system, 1);
        left = fixture_ask(&fixture, "SELECT count(*) FROM events");
    }
    assert_int_equal(left, wanted);
}

static void the_committer_removes_events_though_nothing_is_sold(UNUSED void **state)
{
    append_events(3 * JOURNAL_EVENTS_REMOVED + 5, FIXTURE_NOW_MS);
    restart();
    committer_prune_events(fixture.committer, 3 * JOURNAL_EVENTS_REMOVED + 2, FIXTURE_NOW_MS + 1);
    wait_for_events(3);
    committer_prune_events(fixture.committer, INT64_MAX, FIXTURE_NOW_MS);
    assert_int_equal(request_do_once(request_product(&fixture, "iPhone", 9, 1)), 201);
    committer_prune_events(fixture.committer, INT64_MAX, FIXTURE_NOW_MS + 1);
    wait_for_events(1);
    assert_chain(3 * JOURNAL_EVENTS_REMOVED + 6, 3 * JOURNAL_EVENTS_REMOVED + 6);
}

static void sales_go_on_while_events_are_removed(UNUSED void **state)
{
    append_events(4 * JOURNAL_EVENTS_REMOVED, FIXTURE_NOW_MS - 1);
    restart();
    assert_int_equal(request_do_once(request_product(&fixture, "iPhone", 100, 1)), 201);
    committer_prune_events(fixture.committer, INT64_MAX, FIXTURE_NOW_MS);
    for (int i = 1; i <= 50; i++)
        assert_int_equal(request_do_once(request_order(&fixture, i, 1, 1)), 201);
    wait_for_events(51);
    assert_chain(4 * JOURNAL_EVENTS_REMOVED + 1, 4 * JOURNAL_EVENTS_REMOVED + 51);
}

static void a_disk_that_is_full_is_not_tried_in_a_loop(UNUSED void **state)
{
    append_events(2 * JOURNAL_EVENTS_REMOVED, FIXTURE_NOW_MS);
    restart();
    fault_vfs_fail(FAULT_WRITE, 1, FAULT_FOR_EVER, SQLITE_FULL);
    committer_prune_events(fixture.committer, INT64_MAX, FIXTURE_NOW_MS + 1);
    clock_sleep_ms(&clock_system, 200);
    assert_in_range(fault_vfs_hits(), 1, 10);
}

static void a_stop_does_not_wait_for_the_rest_of_the_events(UNUSED void **state)
{
    append_events(10 * JOURNAL_EVENTS_REMOVED, FIXTURE_NOW_MS);
    restart();
    committer_prune_events(fixture.committer, INT64_MAX, FIXTURE_NOW_MS + 1);
    assert_ok(fixture_stop(&fixture, NULL));
    int64_t left = fixture_ask(&fixture, "SELECT count(*) FROM events");
    assert_int_equal(left % JOURNAL_EVENTS_REMOVED, 0);
    assert_chain(left ? 10 * JOURNAL_EVENTS_REMOVED - left + 1 : 0, 10 * JOURNAL_EVENTS_REMOVED);
}

static void a_removal_that_cannot_be_flushed_is_final(UNUSED void **state)
{
    append_events(10, FIXTURE_NOW_MS);
    restart();
    fault_vfs_fail(FAULT_SYNC, 1, 1, SQLITE_IOERR_FSYNC);
    committer_prune_events(fixture.committer, INT64_MAX, FIXTURE_NOW_MS + 1);
    for (int i = 0; i < PATIENCE_MS && atomic_load(&fixture.fatal_calls) == 0; i++)
        clock_sleep_ms(&clock_system, 1);
    assert_int_equal(atomic_load(&fixture.fatal_calls), 1);
    assert_int_equal(request_do_once(request_product(&fixture, "iPhone", 9, 1)), 503);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(old_events_that_head_office_has_are_removed),
        TEST(young_events_stay),
        TEST(an_old_event_behind_a_young_one_stays),
        TEST(events_are_removed_a_share_at_a_time),
        TEST(where_there_is_nothing_to_remove_nothing_is_written),
        TEST(the_last_event_stays_and_the_chain_goes_on_from_it),
        TEST(event_ids_rise_after_a_removal_though_the_clock_steps_back),
        TEST(a_removal_that_fails_leaves_everything_as_it_was),
        TEST(the_committer_removes_events_though_nothing_is_sold),
        TEST(sales_go_on_while_events_are_removed),
        TEST(a_disk_that_is_full_is_not_tried_in_a_loop),
        TEST(a_stop_does_not_wait_for_the_rest_of_the_events),
        TEST(a_removal_that_cannot_be_flushed_is_final),
    };
    return RUN_TESTS(argc, argv, tests);
}
