#include "tests/support/unit.h"

#include "appliance/integrity.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/db.h"
#include "tests/support/appliance_fixture.h"

enum { PATIENCE_MS = 20000, PAGE = 4096 };

static struct fixture fixture;
static struct integrity *integrity;
static char detail[INTEGRITY_DETAIL_SIZE];

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    integrity = NULL;
    return 0;
}

static void stop(void)
{
    integrity_stop(integrity);
    integrity = NULL;
}

static int tear_down(UNUSED void **state)
{
    stop();
    fixture_done(&fixture);
    return 0;
}

/* Appends events to the journal, which stays open until they are there. */
static void append_events(int count)
{
    assert_ok(fixture_open(&fixture, NULL));
    assert_ok(journal_begin(fixture.journal, NULL));
    for (int i = 0; i < count; i++) {
        struct json_writer *data =
            journal_begin_event(fixture.journal, EVENT_ORDER_CREATED, FIXTURE_NOW_MS);
        json_put_int(data, "order_id", i + 1);
        assert_ok(journal_end_event(fixture.journal, NULL));
    }
    assert_ok(journal_commit(fixture.journal, NULL));
    assert_ok(fixture_stop(&fixture, NULL));
}

static void tamper(const char *sql)
{
    struct db *db = NULL;
    char path[JOURNAL_PATH_SIZE];
    journal_path(fixture.folder.path, path);
    assert_ok(db_open(path, DB_WRITER, &db, NULL));
    assert_ok(db_exec(db, "DROP TRIGGER IF EXISTS events_are_never_changed", NULL));
    assert_ok(db_exec(db, sql, NULL));
    assert_ok(db_checkpoint(db, NULL));
    db_close(db);
}

static enum integrity_state state_now(void)
{
    return integrity_state(integrity, detail);
}

static void start(bool stopped_cleanly)
{
    assert_ok(integrity_start(fixture.folder.path, stopped_cleanly, &integrity, NULL));
}

static enum integrity_state state_at_the_end(void)
{
    for (int i = 0; i < PATIENCE_MS && state_now() == INTEGRITY_CHECKING; i++)
        clock_sleep_ms(&clock_system, 1);
    return state_now();
}

static void a_clean_stop_is_trusted(UNUSED void **state)
{
    append_events(3);
    tamper("DELETE FROM events WHERE sequence = 2");
    start(true);
    assert_int_equal(state_now(), INTEGRITY_TRUSTED);
    assert_string_equal(detail, "");
}

static void a_sound_journal_is_found_sound_after_an_unclean_stop(UNUSED void **state)
{
    append_events(3);
    start(false);
    assert_int_equal(state_at_the_end(), INTEGRITY_SOUND);
    assert_string_equal(detail, "");
}

static void a_journal_without_events_is_sound(UNUSED void **state)
{
    append_events(0);
    start(false);
    assert_int_equal(state_at_the_end(), INTEGRITY_SOUND);
}

/* The tail has been checked when integrity_start() returns: no sale can come before. */
static void assert_damaged_at_once(const char *expected)
{
    start(false);
    assert_int_equal(state_now(), INTEGRITY_DAMAGED);
    assert_contains(detail, expected);
    stop();
}

static void a_missing_event_is_damage_at_once(UNUSED void **state)
{
    append_events(10);
    tamper("DELETE FROM events WHERE sequence = 7");
    assert_damaged_at_once("event 7: the event is missing");
}

static void a_changed_event_is_damage_at_once(UNUSED void **state)
{
    append_events(10);
    tamper("UPDATE events SET payload = replace(payload, '\"order_id\":4', '\"order_id\":5')"
           " WHERE sequence = 4");
    assert_damaged_at_once("event 4: the hash");
}

static void damage_stays_though_the_file_is_fine_otherwise(UNUSED void **state)
{
    append_events(3);
    tamper("DELETE FROM events WHERE sequence = 2");
    start(false);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(state_now(), INTEGRITY_DAMAGED);
        clock_sleep_ms(&clock_system, 1);
    }
    assert_contains(detail, "event 2");
}

static void only_the_tail_is_checked_before_the_first_sale(UNUSED void **state)
{
    append_events(INTEGRITY_TAIL + 2);
    tamper("UPDATE events SET hash = zeroblob(32) WHERE sequence = 1");
    start(false);
    assert_int_equal(state_at_the_end(), INTEGRITY_SOUND);
    stop();
    tamper("UPDATE events SET hash = zeroblob(32) WHERE sequence = 3");
    assert_damaged_at_once("event 3");
}

/* Overwrites the second half of the file's `page`-th page. */
static void overwrite_page(int page)
{
    char path[FOLDER_PATH_SIZE], garbage[PAGE / 2];
    memset(garbage, 0xA5, sizeof garbage);
    folder_file(&fixture.folder, "journal.db", path);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(file >= 0);
    off_t offset = (off_t)(page - 1) * PAGE + PAGE / 2;
    assert_int_equal(pwrite(file, garbage, sizeof garbage, offset), sizeof garbage);
    close(file);
}

static void a_damaged_page_outside_the_tail_is_found_beside_the_sales(UNUSED void **state)
{
    append_events(INTEGRITY_TAIL + 500);
    tamper("CREATE TABLE victim (text); INSERT INTO victim WITH RECURSIVE n(i) AS"
           " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT hex(i) FROM n");
    int64_t root =
        fixture_ask(&fixture, "SELECT rootpage FROM sqlite_schema WHERE name = 'victim'");
    overwrite_page((int)root);
    start(false);
    assert_int_equal(state_at_the_end(), INTEGRITY_DAMAGED);
    assert_string_not_equal(detail, "");
}

static void a_check_that_is_under_way_can_be_ended(UNUSED void **state)
{
    for (int i = 0; i < 5; i++) {
        append_events(300);
        start(false);
        stop();
    }
}

static void a_check_steps_aside_for_a_large_wal_and_can_be_ended_then(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE];
    append_events(5000);
    folder_file(&fixture.folder, "journal.db-wal", path);
    assert_int_equal(truncate(path, 300L << 20), 0);
    start(false);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(state_now(), INTEGRITY_CHECKING);
        clock_sleep_ms(&clock_system, 1);
    }
    int64_t before_ms = clock_monotonic_ms(&clock_system);
    stop();
    assert_in_range(clock_monotonic_ms(&clock_system) - before_ms, 0, 5000);
}

static void a_journal_that_cannot_be_read_is_an_error(UNUSED void **state)
{
    struct error error = {0};
    assert_int_not_equal(integrity_start(fixture.folder.path, false, &integrity, &error),
                         RESULT_OK);
    assert_null(integrity);
    assert_string_not_equal(error.text, "");
}

static void a_state_has_a_word(UNUSED void **state)
{
    assert_string_equal(integrity_state_text(INTEGRITY_TRUSTED), "trusted");
    assert_string_equal(integrity_state_text(INTEGRITY_CHECKING), "checking");
    assert_string_equal(integrity_state_text(INTEGRITY_SOUND), "sound");
    assert_string_equal(integrity_state_text(INTEGRITY_DAMAGED), "damaged");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_clean_stop_is_trusted),
        TEST(a_sound_journal_is_found_sound_after_an_unclean_stop),
        TEST(a_journal_without_events_is_sound),
        TEST(a_missing_event_is_damage_at_once),
        TEST(a_changed_event_is_damage_at_once),
        TEST(damage_stays_though_the_file_is_fine_otherwise),
        TEST(only_the_tail_is_checked_before_the_first_sale),
        TEST(a_damaged_page_outside_the_tail_is_found_beside_the_sales),
        TEST(a_check_that_is_under_way_can_be_ended),
        TEST(a_check_steps_aside_for_a_large_wal_and_can_be_ended_then),
        TEST(a_journal_that_cannot_be_read_is_an_error),
        TEST(a_state_has_a_word),
    };
    return RUN_TESTS(argc, argv, tests);
}
