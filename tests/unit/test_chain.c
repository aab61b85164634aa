#include "core/journal/chain.h"

#include <stdio.h>
#include <string.h>

#include "core/journal/event.h"
#include "core/migrate.h"
#include "tests/support/folder.h"
#include "tests/support/unit.h"

extern const struct migration SCHEMA_JOURNAL[];
extern const size_t SCHEMA_JOURNAL_count;

static const char JOURNAL_ID[] = "018f0000-0000-7000-8000-000000000000";

/* A journal, and the end of the chain as the tests have written it. */
static struct folder folder;
static struct db *db;
static struct sha256 *hasher;
static uint8_t head[SHA256_SIZE];
static struct chain_report report;
static struct error error;

static void run(const char *sql)
{
    if (db_exec(db, sql, &error) != RESULT_OK)
        fail_msg("%s: %s", sql, error.text);
}

static int set_up(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE];
    folder_make(&folder);
    folder_file(&folder, "journal.db", path);
    assert_ok(db_open(path, DB_WRITER, &db, &error));
    assert_ok(migrate_up(db, 1, SCHEMA_JOURNAL, SCHEMA_JOURNAL_count, &error));
    assert_ok(sha256_new(&hasher));
    memset(head, 0, sizeof head);
    memset(&report, 0xA5, sizeof report);
    run("DROP TRIGGER events_are_never_changed;"
        "INSERT INTO meta VALUES (1, '018f0000-0000-7000-8000-000000000000', 'till-1', 'shop', 0,"
        " 1, 0, zeroblob(32))");
    return 0;
}

static int tear_down(UNUSED void **state)
{
    sha256_free(hasher);
    db_close(db);
    folder_remove(&folder);
    return 0;
}

/* Appends an event as a journal would, the hash included. */
static void append_payload(int64_t sequence, const char *payload)
{
    static const char SQL[] = "INSERT INTO events (sequence, payload, hash) VALUES (?1, ?2, ?3)";
    struct statement *insert = NULL;
    event_chain(hasher, head, payload, strlen(payload));
    assert_ok(statement_prepare(db, SQL, &insert, &error));
    statement_bind_int(insert, 1, sequence);
    statement_bind_text(insert, 2, payload, strlen(payload));
    statement_bind_blob(insert, 3, head, sizeof head);
    assert_ok(statement_run(insert, &error));
    statement_free(insert);
}

static void append(int64_t sequence)
{
    char payload[200];
    snprintf(payload, sizeof payload,
             "{\"event_id\":\"%d\",\"journal_id\":\"%s\",\"sequence\":%d,\"data\":{}}",
             (int)sequence, JOURNAL_ID, (int)sequence);
    append_payload(sequence, payload);
}

static void append_many(int64_t first, int64_t last)
{
    run("BEGIN");
    for (int64_t sequence = first; sequence <= last; sequence++)
        append(sequence);
    run("COMMIT");
}

static void check(int64_t tail)
{
    if (chain_check(db, tail, &report, &error) != RESULT_OK)
        fail_msg("%s", error.text);
}

static void assert_good(int64_t first, int64_t last)
{
    assert_int_equal(report.bad_sequence, 0);
    assert_string_equal(report.reason, "");
    assert_int_equal(report.first_sequence, first);
    assert_int_equal(report.last_sequence, last);
    assert_int_equal(report.checked, first ? last - first + 1 : 0);
}

static void assert_bad(int64_t sequence, const char *reason)
{
    assert_int_equal(report.bad_sequence, sequence);
    assert_string_equal(report.reason, reason);
    assert_int_equal(report.last_sequence, sequence - 1);
}

#define MISSING "the event is missing"
#define WRONG_HASH "the hash doesn't follow from the event and the hash before it"

static void a_whole_chain_is_good_up_to_its_head(UNUSED void **state)
{
    append_many(1, 5);
    check(CHAIN_ALL);
    assert_good(1, 5);
    assert_memory_equal(report.head, head, SHA256_SIZE);
}

static void an_empty_journal_is_good(UNUSED void **state)
{
    static const uint8_t ZEROS[SHA256_SIZE];
    check(CHAIN_ALL);
    assert_good(0, 0);
    assert_memory_equal(report.head, ZEROS, SHA256_SIZE);
    check(10);
    assert_good(0, 0);
}

static void a_chain_of_many_pages_is_checked_to_its_end(UNUSED void **state)
{
    append_many(1, 2500);
    check(CHAIN_ALL);
    assert_good(1, 2500);
    run("UPDATE events SET hash = zeroblob(32) WHERE sequence = 2499");
    check(CHAIN_ALL);
    assert_bad(2499, WRONG_HASH);
    assert_int_equal(report.checked, 2498);
}

static void a_gap_is_found_wherever_it_is(UNUSED void **state)
{
    append_many(1, 9);
    run("DELETE FROM events WHERE sequence IN (5, 6)");
    check(CHAIN_ALL);
    assert_bad(5, MISSING);
    assert_int_equal(report.first_sequence, 1);
    assert_int_equal(report.checked, 4);
    run("DELETE FROM events WHERE sequence = 1");
    check(CHAIN_ALL);
    assert_bad(1, MISSING);
    assert_int_equal(report.checked, 0);
    assert_int_equal(report.first_sequence, 0);
}

static void a_gap_between_pages_is_found(UNUSED void **state)
{
    append_many(1, 1500);
    run("DELETE FROM events WHERE sequence = 1001");
    check(CHAIN_ALL);
    assert_bad(1001, MISSING);
}

static void a_changed_payload_is_found(UNUSED void **state)
{
    append_many(1, 5);
    run("UPDATE events SET payload = replace(payload, '{}', '{ }') WHERE sequence = 3");
    check(CHAIN_ALL);
    assert_bad(3, WRONG_HASH);
    assert_int_equal(report.checked, 2);
}

/* A bad sector doesn't ask SQLite; hence a table without the columns that are read out of the JSON.
 */
static void a_payload_that_is_no_json_any_more_is_found(UNUSED void **state)
{
    append_many(1, 5);
    run("CREATE TABLE plain AS SELECT sequence, payload, hash FROM events; DROP TABLE events;"
        "ALTER TABLE plain RENAME TO events;"
        "UPDATE events SET payload = replace(payload, '{}', '{{') WHERE sequence = 3");
    check(CHAIN_ALL);
    assert_bad(3, WRONG_HASH);
}

static void a_changed_hash_is_found(UNUSED void **state)
{
    append_many(1, 5);
    run("UPDATE events SET hash = zeroblob(32) WHERE sequence = 5");
    check(CHAIN_ALL);
    assert_bad(5, WRONG_HASH);
    run("UPDATE events SET hash = CAST(substr(hash, 1, 31) || x'00' AS BLOB) WHERE sequence = 4");
    check(CHAIN_ALL);
    assert_bad(4, WRONG_HASH);
}

static void a_hash_of_another_length_is_found(UNUSED void **state)
{
    append_many(1, 5);
    run("PRAGMA ignore_check_constraints = ON;"
        "UPDATE events SET hash = CAST(hash || x'00' AS BLOB) WHERE sequence = 4");
    check(CHAIN_ALL);
    assert_bad(4, WRONG_HASH);
    run("UPDATE events SET hash = x'' WHERE sequence = 3");
    check(CHAIN_ALL);
    assert_bad(3, WRONG_HASH);
}

static void two_events_that_changed_places_are_found(UNUSED void **state)
{
    append_many(1, 5);
    run("UPDATE events SET sequence = 99 WHERE sequence = 2;"
        "UPDATE events SET sequence = 2 WHERE sequence = 3;"
        "UPDATE events SET sequence = 3 WHERE sequence = 99");
    check(CHAIN_ALL);
    assert_bad(2, WRONG_HASH);
}

static void a_payload_with_another_sequence_is_found(UNUSED void **state)
{
    char payload[200];
    append_many(1, 2);
    snprintf(payload, sizeof payload, "{\"journal_id\":\"%s\",\"sequence\":4}", JOURNAL_ID);
    append_payload(3, payload);
    check(CHAIN_ALL);
    assert_bad(3, "the payload carries another sequence");
}

static void a_payload_of_another_journal_is_found(UNUSED void **state)
{
    append_many(1, 2);
    append_payload(3, "{\"journal_id\":\"018f0000-0000-7000-8000-00000000000f\",\"sequence\":3}");
    check(CHAIN_ALL);
    assert_bad(3, "the payload belongs to another journal");
    run("DELETE FROM events WHERE sequence = 3; UPDATE meta SET journal_id = 'x'");
    check(CHAIN_ALL);
    assert_bad(1, "the payload belongs to another journal");
}

static void a_payload_of_no_journal_is_found(UNUSED void **state)
{
    append_many(1, 2);
    append_payload(3, "{\"sequence\":3}");
    check(CHAIN_ALL);
    assert_bad(3, "the payload belongs to another journal");
}

static void a_tail_is_checked_from_where_it_begins(UNUSED void **state)
{
    append_many(1, 9);
    run("UPDATE events SET payload = payload || ' ' WHERE sequence = 3");
    check(6);
    assert_good(4, 9);
    assert_memory_equal(report.head, head, SHA256_SIZE);
    check(1);
    assert_good(9, 9);
    check(7);
    assert_bad(3, WRONG_HASH);
    assert_int_equal(report.checked, 0);
}

static void a_tail_longer_than_the_journal_is_the_whole_of_it(UNUSED void **state)
{
    append_many(1, 3);
    check(3);
    assert_good(1, 3);
    check(4);
    assert_good(1, 3);
    check(INT64_MAX);
    assert_good(1, 3);
}

static void a_tail_hangs_on_the_hash_before_it(UNUSED void **state)
{
    append_many(1, 9);
    run("UPDATE events SET hash = zeroblob(32) WHERE sequence = 5");
    check(4);
    assert_bad(6, WRONG_HASH);
    check(3);
    assert_good(7, 9);
}

static void a_tail_that_would_begin_in_a_gap_still_finds_it(UNUSED void **state)
{
    append_many(1, 9);
    run("DELETE FROM events WHERE sequence = 5");
    check(4);
    assert_bad(5, MISSING);
}

/* Removes the events up to `sequence`, as retention does. */
static void move_anchor(int sequence)
{
    char sql[300];
    snprintf(sql, sizeof sql,
             "UPDATE meta SET chain_anchor_sequence = %d,"
             " chain_anchor_hash = (SELECT hash FROM events WHERE sequence = %d);"
             "DELETE FROM events WHERE sequence <= %d",
             sequence, sequence, sequence);
    run(sql);
}

static void a_check_begins_after_the_anchor(UNUSED void **state)
{
    append_many(1, 9);
    move_anchor(4);
    check(CHAIN_ALL);
    assert_good(5, 9);
    assert_memory_equal(report.head, head, SHA256_SIZE);
    check(100);
    assert_good(5, 9);
    check(5);
    assert_good(5, 9);
    check(2);
    assert_good(8, 9);
}

static void a_journal_with_nothing_after_its_anchor_is_good(UNUSED void **state)
{
    append_many(1, 4);
    move_anchor(4);
    check(CHAIN_ALL);
    assert_good(0, 4);
    assert_memory_equal(report.head, head, SHA256_SIZE);
}

static void events_that_are_still_there_before_the_anchor_are_not_checked(UNUSED void **state)
{
    append_many(1, 9);
    run("UPDATE meta SET chain_anchor_sequence = 4,"
        " chain_anchor_hash = (SELECT hash FROM events WHERE sequence = 4);"
        "DELETE FROM events WHERE sequence = 2");
    check(CHAIN_ALL);
    assert_good(5, 9);
    check(6);
    assert_good(5, 9);
}

static void a_wrong_anchor_is_found(UNUSED void **state)
{
    append_many(1, 9);
    move_anchor(4);
    run("UPDATE meta SET chain_anchor_hash = zeroblob(32)");
    check(CHAIN_ALL);
    assert_bad(5, WRONG_HASH);
    run("DELETE FROM events WHERE sequence = 5");
    check(CHAIN_ALL);
    assert_bad(5, MISSING);
}

static void a_journal_that_does_not_say_where_it_starts_is_damaged(UNUSED void **state)
{
    struct chain_report untouched = report;
    append_many(1, 3);
    run("PRAGMA ignore_check_constraints = ON; UPDATE meta SET chain_anchor_hash = x'00'");
    assert_int_equal(chain_check(db, CHAIN_ALL, &report, &error), RESULT_CORRUPT);
    assert_contains(error.text, "doesn't say where its chain starts");
    run("DELETE FROM meta");
    assert_int_equal(chain_check(db, CHAIN_ALL, &report, NULL), RESULT_CORRUPT);
    assert_memory_equal(&report, &untouched, sizeof report);
}

static void a_file_that_is_no_journal_cannot_be_read(UNUSED void **state)
{
    struct chain_report untouched = report;
    run("DROP TABLE events");
    assert_int_equal(chain_check(db, CHAIN_ALL, &report, &error), RESULT_INTERNAL);
    assert_contains(error.text, "no such table");
    assert_memory_equal(&report, &untouched, sizeof report);
}

static void a_check_runs_beside_a_writer_and_sees_what_it_has_committed(UNUSED void **state)
{
    struct db *reader = NULL;
    char path[FOLDER_PATH_SIZE];
    append_many(1, 5);
    folder_file(&folder, "journal.db", path);
    assert_ok(db_open(path, DB_READER, &reader, &error));
    run("BEGIN");
    append(6);
    enum result result = chain_check(reader, CHAIN_ALL, &report, &error);
    run("COMMIT");
    assert_ok(result);
    assert_good(1, 5);
    result = chain_check(reader, CHAIN_ALL, &report, &error);
    db_close(reader);
    assert_ok(result);
    assert_good(1, 6);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_whole_chain_is_good_up_to_its_head),
        TEST(an_empty_journal_is_good),
        TEST(a_chain_of_many_pages_is_checked_to_its_end),
        TEST(a_gap_is_found_wherever_it_is),
        TEST(a_gap_between_pages_is_found),
        TEST(a_changed_payload_is_found),
        TEST(a_payload_that_is_no_json_any_more_is_found),
        TEST(a_changed_hash_is_found),
        TEST(a_hash_of_another_length_is_found),
        TEST(two_events_that_changed_places_are_found),
        TEST(a_payload_with_another_sequence_is_found),
        TEST(a_payload_of_another_journal_is_found),
        TEST(a_payload_of_no_journal_is_found),
        TEST(a_tail_is_checked_from_where_it_begins),
        TEST(a_tail_longer_than_the_journal_is_the_whole_of_it),
        TEST(a_tail_hangs_on_the_hash_before_it),
        TEST(a_tail_that_would_begin_in_a_gap_still_finds_it),
        TEST(a_check_begins_after_the_anchor),
        TEST(a_journal_with_nothing_after_its_anchor_is_good),
        TEST(events_that_are_still_there_before_the_anchor_are_not_checked),
        TEST(a_wrong_anchor_is_found),
        TEST(a_journal_that_does_not_say_where_it_starts_is_damaged),
        TEST(a_file_that_is_no_journal_cannot_be_read),
        TEST(a_check_runs_beside_a_writer_and_sees_what_it_has_committed),
    };
    return RUN_TESTS(argc, argv, tests);
}
