#include "core/journal/journal_reader.h"

#include <stdio.h>
#include <string.h>

#include "core/db.h"
#include "core/journal/event.h"
#include "tests/support/appliance_fixture.h"
#include "tests/support/journal_audit.h"
#include "tests/support/unit.h"

enum { PAGE_EVENTS = 100, PAGE_BYTES = 1 << 20 };

static struct fixture fixture;
static struct journal_reader *reader;
static struct journal_page page;

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    reader = NULL;
    assert_ok(journal_page_init(&page, PAGE_EVENTS, PAGE_BYTES));
    return 0;
}

static int tear_down(UNUSED void **state)
{
    journal_reader_close(reader);
    journal_page_done(&page);
    fixture_done(&fixture);
    return 0;
}

/* A journal with product.created, two of order.created and one order.cancelled, a second apart. */
static void sell(void)
{
    assert_ok(fixture_start(&fixture, NULL));
    assert_int_equal(request_do_once(request_product(&fixture, "bread", 50, 250)), 201);
    for (int i = 0; i < 2; i++) {
        fake_clock_advance(&fixture.clock, 1000);
        assert_int_equal(request_do_once(request_order(&fixture, 7, 1, 1)), 201);
    }
    fake_clock_advance(&fixture.clock, 1000);
    assert_int_equal(request_do_once(request_cancel(&fixture, 2)), 200);
}

static void open_reader(void)
{
    assert_ok(journal_reader_open(fixture.folder.path, &reader, NULL));
}

static void read_page(int64_t after, int64_t through)
{
    assert_ok(journal_reader_page(reader, after, through, &page, NULL));
}

/* The page holds the events from `first` to `last`. */
static void assert_page(int64_t first, int64_t last)
{
    assert_int_equal(page.count, last - first + 1);
    for (size_t i = 0; i < page.count; i++)
        assert_int_equal(page.events[i].sequence, first + (int64_t)i);
}

/* Runs SQL on the journal with nobody else about. */
static void change_journal(const char *sql)
{
    struct db *db = NULL;
    char path[JOURNAL_PATH_SIZE];
    journal_path(fixture.folder.path, path);
    assert_ok(db_open(path, DB_WRITER, &db, NULL));
    assert_ok(db_exec(db, sql, NULL));
    db_close(db);
}

static void assert_does_not_open(enum result expected, const char *part)
{
    struct error error = {0};
    assert_int_equal(journal_reader_open(fixture.folder.path, &reader, &error), expected);
    assert_null(reader);
    assert_contains(error.text, part);
}

static void there_may_be_no_journal_yet(UNUSED void **state)
{
    assert_does_not_open(RESULT_NOT_FOUND, "no journal");
    change_journal("CREATE TABLE early (x)");
    assert_does_not_open(RESULT_NOT_FOUND, "being created");
}

static void a_journal_of_another_version_is_not_read(UNUSED void **state)
{
    assert_ok(fixture_start(&fixture, NULL));
    assert_ok(fixture_stop(&fixture, NULL));
    change_journal("PRAGMA user_version = 99");
    assert_does_not_open(RESULT_UNSUPPORTED, "99");
}

static void a_file_that_is_no_journal_is_told(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE], noise[4096];
    memset(noise, 'x', sizeof noise);
    folder_file(&fixture.folder, "journal.db", path);
    file_write(path, noise, sizeof noise);
    assert_does_not_open(RESULT_CORRUPT, "database");
}

static void the_journal_says_whose_it_is(UNUSED void **state)
{
    struct journal_info info;
    sell();
    open_reader();
    const struct journal_identity *identity = journal_identity(fixture.journal);
    assert_ok(journal_reader_info(reader, &info, NULL));
    assert_string_equal(info.journal_id, identity->journal_id);
    assert_string_equal(info.device_id, identity->device_id);
    assert_string_equal(info.location, identity->location);
    assert_int_equal(info.anchor_sequence, 0);
}

static int64_t head(void)
{
    int64_t sequence = -1;
    assert_ok(journal_reader_head(reader, &sequence, NULL));
    return sequence;
}

static void the_head_is_the_last_event_and_moves_with_each_commit(UNUSED void **state)
{
    assert_ok(fixture_start(&fixture, NULL));
    open_reader();
    assert_int_equal(head(), 0);
    assert_int_equal(request_do_once(request_product(&fixture, "bread", 50, 250)), 201);
    assert_int_equal(head(), 1);
    assert_int_equal(request_do_once(request_order(&fixture, 7, 1, 1)), 201);
    assert_int_equal(head(), 2);
}

static void an_emptied_journal_s_head_is_its_anchor(UNUSED void **state)
{
    struct journal_info info;
    sell();
    assert_ok(fixture_stop(&fixture, NULL));
    change_journal("UPDATE meta SET chain_anchor_sequence = 4, chain_anchor_hash ="
                   " (SELECT hash FROM events WHERE sequence = 4); DELETE FROM events");
    open_reader();
    assert_int_equal(head(), 4);
    assert_ok(journal_reader_info(reader, &info, NULL));
    assert_int_equal(info.anchor_sequence, 4);
    read_page(0, INT64_MAX);
    assert_int_equal(page.count, 0);
}

static void an_event_comes_with_all_that_its_journey_needs(UNUSED void **state)
{
    static const char *const TYPES[] = {"product.created", "order.created", "order.created",
                                        "order.cancelled"};
    static const int64_t ORDERS[] = {0, 1, 2, 2};
    sell();
    open_reader();
    read_page(0, INT64_MAX);
    assert_page(1, 4);
    for (size_t i = 0; i < page.count; i++) {
        const struct journal_event *event = &page.events[i];
        char member[64];
        assert_string_equal(event->event_type, TYPES[i]);
        assert_int_equal(event->order_id, ORDERS[i]);
        assert_int_equal(event->occurred_at_ms, FIXTURE_NOW_MS + 1000 * (int64_t)i);
        snprintf(member, sizeof member, "\"event_id\":\"%s\"", event->event_id);
        assert_contains(journal_page_payload(&page, i), member);
    }
}

static void a_payload_is_the_journal_s_byte_for_byte(UNUSED void **state)
{
    sell();
    open_reader();
    read_page(0, INT64_MAX);
    for (size_t i = 0; i < page.count; i++) {
        const struct journal_event *event = &page.events[i];
        const char *payload = journal_page_payload(&page, i);
        assert_int_equal(strlen(payload), event->payload_size);
        assert_int_equal(journal_ask(fixture.folder.path,
                                     "SELECT payload = '%s' FROM events WHERE sequence = %d",
                                     payload, (int)event->sequence),
                         1);
    }
}

static void the_hashes_of_a_page_are_the_chain_s(UNUSED void **state)
{
    uint8_t hash[SHA256_SIZE] = {0};
    struct sha256 *hasher = NULL;
    sell();
    open_reader();
    read_page(0, INT64_MAX);
    assert_ok(sha256_new(&hasher));
    for (size_t i = 0; i < page.count; i++) {
        event_chain(hasher, hash, journal_page_payload(&page, i), page.events[i].payload_size);
        assert_memory_equal(page.events[i].hash, hash, sizeof hash);
    }
    sha256_free(hasher);
}

static void a_page_holds_what_was_asked_for(UNUSED void **state)
{
    sell();
    open_reader();
    read_page(1, 3);
    assert_page(2, 3);
    read_page(3, INT64_MAX);
    assert_page(4, 4);
    read_page(4, INT64_MAX);
    assert_int_equal(page.count, 0);
    read_page(2, 2);
    assert_int_equal(page.count, 0);
    read_page(0, 1);
    assert_page(1, 1);
}

static void a_page_holds_no_more_events_than_it_has_room_for(UNUSED void **state)
{
    sell();
    open_reader();
    journal_page_done(&page);
    assert_ok(journal_page_init(&page, 3, PAGE_BYTES));
    read_page(0, INT64_MAX);
    assert_page(1, 3);
    read_page(3, INT64_MAX);
    assert_page(4, 4);
}

/* However small its limit is: else the event at the front would never be read. */
static void a_page_ends_when_its_bytes_are_full_and_holds_an_event_at_least(UNUSED void **state)
{
    sell();
    open_reader();
    journal_page_done(&page);
    assert_ok(journal_page_init(&page, PAGE_EVENTS, 1));
    read_page(0, INT64_MAX);
    assert_page(1, 1);
    read_page(1, INT64_MAX);
    assert_page(2, 2);
}

static void a_hash_is_found_at_an_event_and_at_the_anchor(UNUSED void **state)
{
    static const uint8_t NONE[SHA256_SIZE];
    uint8_t hash[SHA256_SIZE] = {7}, before[SHA256_SIZE];
    memcpy(before, hash, sizeof hash);
    sell();
    open_reader();
    assert_int_equal(journal_reader_hash(reader, 5, hash, NULL), RESULT_NOT_FOUND);
    assert_int_equal(journal_reader_hash(reader, -1, hash, NULL), RESULT_NOT_FOUND);
    assert_memory_equal(hash, before, sizeof hash);
    assert_ok(journal_reader_hash(reader, 0, hash, NULL));
    assert_memory_equal(hash, NONE, sizeof hash);
    read_page(2, 3);
    assert_ok(journal_reader_hash(reader, 3, hash, NULL));
    assert_memory_equal(hash, page.events[0].hash, sizeof hash);
}

static void the_oldest_event_after_a_cursor_has_its_time(UNUSED void **state)
{
    int64_t at_ms = -1;
    sell();
    open_reader();
    assert_ok(journal_reader_oldest(reader, 0, &at_ms, NULL));
    assert_int_equal(at_ms / 1000, FIXTURE_NOW_MS / 1000);
    assert_ok(journal_reader_oldest(reader, 2, &at_ms, NULL));
    assert_int_equal(at_ms / 1000, FIXTURE_NOW_MS / 1000 + 2);
    assert_int_equal(journal_reader_oldest(reader, 4, &at_ms, NULL), RESULT_NOT_FOUND);
    assert_int_equal(at_ms / 1000, FIXTURE_NOW_MS / 1000 + 2);
}

/* A reader that kept its transaction would keep the WAL from being used again. */
static void a_read_holds_nothing_open(UNUSED void **state)
{
    struct journal_info info;
    uint8_t hash[SHA256_SIZE];
    struct db *db = NULL;
    int64_t number = -1;
    char path[JOURNAL_PATH_SIZE];
    sell();
    open_reader();
    assert_ok(journal_reader_info(reader, &info, NULL));
    assert_ok(journal_reader_hash(reader, 1, hash, NULL));
    assert_ok(journal_reader_oldest(reader, 0, &number, NULL));
    head();
    read_page(0, 2);
    journal_page_done(&page);
    assert_ok(journal_page_init(&page, 1, PAGE_BYTES));
    read_page(0, INT64_MAX);
    assert_ok(fixture_stop(&fixture, NULL));
    journal_path(fixture.folder.path, path);
    assert_ok(db_open(path, DB_WRITER, &db, NULL));
    assert_ok(db_exec(db, "CREATE TABLE later (x)", NULL));
    assert_ok(db_query_int(db, "PRAGMA wal_checkpoint(TRUNCATE)", &number, NULL));
    assert_int_equal(number, 0); /* not kept from it by anyone */
    db_close(db);
}

static void a_file_that_was_put_in_the_journal_s_place_is_noticed(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE], aside[FOLDER_PATH_SIZE];
    folder_file(&fixture.folder, "journal.db", path);
    folder_file(&fixture.folder, "aside.db", aside);
    sell();
    assert_ok(fixture_stop(&fixture, NULL));
    open_reader();
    assert_true(journal_reader_is_current(reader));
    assert_int_equal(rename(path, aside), 0);
    assert_false(journal_reader_is_current(reader));
    file_write(path, "another", 7);
    assert_false(journal_reader_is_current(reader));
    assert_int_equal(rename(aside, path), 0);
    assert_true(journal_reader_is_current(reader));
}

static void past_an_event_comes_the_next_that_can_be_read(UNUSED void **state)
{
    int64_t sequence = 0;
    sell();
    open_reader();
    assert_ok(journal_reader_skip(reader, 1, &sequence, NULL));
    assert_int_equal(sequence, 2);
    assert_int_equal(journal_reader_skip(reader, 4, &sequence, NULL), RESULT_NOT_FOUND);
    assert_ok(fixture_stop(&fixture, NULL));
}

static void no_reader_may_be_closed(UNUSED void **state)
{
    journal_reader_close(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(there_may_be_no_journal_yet),
        TEST(a_journal_of_another_version_is_not_read),
        TEST(a_file_that_is_no_journal_is_told),
        TEST(the_journal_says_whose_it_is),
        TEST(the_head_is_the_last_event_and_moves_with_each_commit),
        TEST(an_emptied_journal_s_head_is_its_anchor),
        TEST(an_event_comes_with_all_that_its_journey_needs),
        TEST(a_payload_is_the_journal_s_byte_for_byte),
        TEST(the_hashes_of_a_page_are_the_chain_s),
        TEST(a_page_holds_what_was_asked_for),
        TEST(a_page_holds_no_more_events_than_it_has_room_for),
        TEST(a_page_ends_when_its_bytes_are_full_and_holds_an_event_at_least),
        TEST(a_hash_is_found_at_an_event_and_at_the_anchor),
        TEST(the_oldest_event_after_a_cursor_has_its_time),
        TEST(a_read_holds_nothing_open),
        TEST(a_file_that_was_put_in_the_journal_s_place_is_noticed),
        TEST(past_an_event_comes_the_next_that_can_be_read),
        TEST(no_reader_may_be_closed),
    };
    return RUN_TESTS(argc, argv, tests);
}
