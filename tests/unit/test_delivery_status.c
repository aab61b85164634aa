#include "core/journal/delivery_status.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/db.h"
#include "core/utf8.h"
#include "tests/support/appliance_fixture.h"
#include "tests/support/ledger_file.h"
#include "tests/support/unit.h"

enum { EVENTS = 6, TEXT_MAX = 65536 };

static struct fixture fixture;
static struct delivery_status delivery_status;
static struct buf text;

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    buf_init(&text, TEXT_MAX);
    delivery_status = (struct delivery_status){.head = -1};
    return 0;
}

static int tear_down(UNUSED void **state)
{
    buf_done(&text);
    fixture_done(&fixture);
    return 0;
}

/* A product and five orders, a second apart. */
static void sell(void)
{
    assert_ok(fixture_start(&fixture, NULL));
    assert_int_equal(request_do_once(request_product(&fixture, "bread", 50, 250)), 201);
    for (int i = 1; i < EVENTS; i++) {
        fake_clock_advance(&fixture.clock, 1000);
        assert_int_equal(request_do_once(request_order(&fixture, 7, 1, 1)), 201);
    }
    assert_ok(fixture_stop(&fixture, NULL));
}

/* `values` are start_sequence, cursor and delivered. The cursor was moved along this journal. */
static void add_sink(const char *name, const char *values)
{
    char sql[1024];
    snprintf(sql, sizeof sql,
             "INSERT INTO sinks (name, journal_id, cursor_hash, state, breaker, start_sequence,"
             " cursor, delivered) VALUES ('%s', '', zeroblob(32), 'running', 'closed', %s);"
             "ATTACH '%s/journal.db' AS journal;"
             "UPDATE sinks SET journal_id = (SELECT journal_id FROM journal.meta);"
             "UPDATE sinks SET cursor_hash = hash FROM journal.events WHERE sequence = cursor",
             name, values, fixture.folder.path);
    ledger_file_exec(&fixture.folder, sql);
}

static void park(const char *sink, int sequence, const char *state)
{
    char sql[1024];
    snprintf(sql, sizeof sql,
             "INSERT INTO parked (sink, sequence, event_id, event_type, state, reason, attempts,"
             " dead_lettered, parked_at_ms) VALUES ('%s', %d, 'e', 't', '%s', 'r', 1, 0, 0)",
             sink, sequence, state);
    ledger_file_exec(&fixture.folder, sql);
}

static const struct delivery_status_sink *read_first_sink(void)
{
    struct error error = {0};
    if (delivery_status_read(fixture.folder.path, fixture.folder.path, &delivery_status, &error) !=
        RESULT_OK)
        fail_msg("%s", error.text);
    return &delivery_status.sinks[0];
}

static void without_a_journal_there_is_nothing_to_account_for(UNUSED void **state)
{
    struct error error = {0};
    assert_int_equal(
        delivery_status_read(fixture.folder.path, fixture.folder.path, &delivery_status, &error),
        RESULT_NOT_FOUND);
    assert_int_equal(delivery_status.head, -1);
    assert_contains(error.text, "journal");
}

static void where_no_bridge_has_been_no_sink_has_accounts(UNUSED void **state)
{
    sell();
    read_first_sink();
    assert_int_equal(delivery_status.head, EVENTS);
    assert_int_equal(delivery_status.sink_count, 0);
    assert_false(delivery_status.bridge_running);
    assert_int_equal(delivery_status_watermark(&delivery_status), 0);
    ledger_file_exec(&fixture.folder, "CREATE TABLE early (x)");
    read_first_sink();
    assert_int_equal(delivery_status.sink_count, 0);
}

static void every_event_is_delivered_parked_or_pending(UNUSED void **state)
{
    sell();
    ledger_file_create(&fixture.folder);
    add_sink("postgres", "0, 5, 2");
    park("postgres", 2, "refused");
    park("postgres", 3, "held");
    park("postgres", 4, "delivered");
    park("postgres", 6, "refused"); /* beyond the cursor: pending again */
    const struct delivery_status_sink *sink = read_first_sink();
    assert_int_equal(delivery_status.head, EVENTS);
    assert_int_equal(delivery_status.sink_count, 1);
    assert_string_equal(sink->name, "postgres");
    assert_string_equal(sink->state, "running");
    assert_string_equal(sink->breaker, "closed");
    assert_int_equal(sink->cursor, 5);
    assert_int_equal(sink->delivered, 2);
    assert_int_equal(sink->parked, 2);
    assert_int_equal(sink->settled, 1);
    assert_int_equal(sink->pending, 1);
    assert_int_equal(sink->unaccounted, 0);
    assert_int_equal(sink->first_parked, 2);
}

static int64_t unaccounted_of(const char *values)
{
    ledger_file_exec(&fixture.folder, "DELETE FROM sinks");
    add_sink("postgres", values);
    return read_first_sink()->unaccounted;
}

static void an_event_that_slipped_past_or_was_counted_twice_shows(UNUSED void **state)
{
    sell();
    ledger_file_create(&fixture.folder);
    assert_int_equal(unaccounted_of("0, 6, 6"), 0);
    assert_int_equal(unaccounted_of("0, 6, 5"), 1);
    assert_int_equal(unaccounted_of("0, 6, 7"), -1);
    assert_int_equal(unaccounted_of("0, 3, 3"), 0);
    assert_int_equal(unaccounted_of("0, 3, 1"), 2);
    assert_int_equal(unaccounted_of("0, 0, 0"), 0);
}

static void what_was_before_a_sink_began_is_none_of_its_business(UNUSED void **state)
{
    sell();
    ledger_file_create(&fixture.folder);
    assert_int_equal(unaccounted_of("4, 6, 2"), 0);
    assert_int_equal(unaccounted_of("4, 4, 0"), 0);
    assert_int_equal(unaccounted_of("4, 6, 6"), -4);
}

static void a_journal_that_ends_before_a_cursor_shows(UNUSED void **state)
{
    sell();
    ledger_file_create(&fixture.folder);
    add_sink("rabbitmq", "0, 9, 9");
    const struct delivery_status_sink *sink = read_first_sink();
    assert_int_equal(sink->pending, 0);
    assert_int_not_equal(sink->unaccounted, 0);
}

static void the_oldest_pending_event_has_its_time(UNUSED void **state)
{
    sell();
    ledger_file_create(&fixture.folder);
    add_sink("postgres", "0, 2, 2");
    const struct delivery_status_sink *sink = read_first_sink();
    assert_int_equal(sink->oldest_pending_ms / 1000, FIXTURE_NOW_MS / 1000 + 2);
    ledger_file_exec(&fixture.folder, "UPDATE sinks SET cursor = 6, delivered = 6");
    assert_int_equal(read_first_sink()->oldest_pending_ms, 0);
}

static void a_long_error_is_cut_between_characters(UNUSED void **state)
{
    sell();
    ledger_file_create(&fixture.folder);
    add_sink("postgres", "0, 0, 0");
    ledger_file_exec(&fixture.folder,
                     "UPDATE sinks SET last_error_at_ms = 7, last_delivered_at_ms = 5,"
                     " last_error = replace(hex(zeroblob(300)), '00', char(8364))");
    const struct delivery_status_sink *sink = read_first_sink();
    assert_int_equal(sink->last_error_at_ms, 7);
    assert_int_equal(sink->last_delivered_at_ms, 5);
    size_t size = strlen(sink->last_error);
    assert_int_equal(size % strlen("\xE2\x82\xAC"), 0);
    assert_in_range(size, DELIVERY_STATUS_TEXT_SIZE - 4, DELIVERY_STATUS_TEXT_SIZE - 1);
}

static void the_watermark_is_what_every_sink_is_done_with(UNUSED void **state)
{
    sell();
    ledger_file_create(&fixture.folder);
    add_sink("postgres", "0, 5, 5");
    add_sink("rabbitmq", "0, 6, 6");
    read_first_sink();
    assert_int_equal(delivery_status.sink_count, 2);
    assert_int_equal(delivery_status_watermark(&delivery_status), 5);
    park("rabbitmq", 3, "delivered");
    park("rabbitmq", 4, "held");
    read_first_sink();
    assert_int_equal(delivery_status_watermark(&delivery_status), 3);
    ledger_file_exec(&fixture.folder, "UPDATE parked SET state = 'discarded'");
    read_first_sink();
    assert_int_equal(delivery_status_watermark(&delivery_status), 5);
}

static void a_cursor_along_another_journal_gives_no_watermark(UNUSED void **state)
{
    sell();
    ledger_file_create(&fixture.folder);
    add_sink("postgres", "0, 5, 5");
    add_sink("rabbitmq", "0, 6, 6");
    ledger_file_exec(&fixture.folder,
                     "UPDATE sinks SET cursor_hash = randomblob(32) WHERE name = 'rabbitmq'");
    read_first_sink();
    assert_int_equal(delivery_status_watermark(&delivery_status), 0);
    ledger_file_exec(&fixture.folder,
                     "UPDATE sinks SET cursor_hash = zeroblob(32), cursor = 0, delivered = 0;"
                     "UPDATE sinks SET journal_id = 'another' WHERE name = 'postgres'");
    read_first_sink();
    assert_false(delivery_status.sinks[0].fits_journal);
    assert_true(delivery_status.sinks[1].fits_journal);
}

static void the_accounts_as_json(UNUSED void **state)
{
    static const char EXPECTED[] =
        "{\"bridge_running\":false,\"backlog\":4,\"unaccounted_events\":3,\"sinks\":["
        "{\"name\":\"postgres\",\"state\":\"running\",\"breaker\":\"closed\",\"cursor\":2,"
        "\"delivered\":1,\"pending\":4,\"oldest_pending_age_s\":58,\"parked\":0,\"settled\":0,"
        "\"unaccounted\":1,\"last_delivered_at\":null,\"last_error_at\":null,\"last_error\":\"\"},"
        "{\"name\":\"rabbitmq\",\"state\":\"down\",\"breaker\":\"half-open\",\"cursor\":6,"
        "\"delivered\":8,\"pending\":0,\"oldest_pending_age_s\":0,\"parked\":0,\"settled\":0,"
        "\"unaccounted\":-2,\"last_delivered_at\":\"1970-01-01T00:00:01.500Z\","
        "\"last_error_at\":\"1970-01-01T00:00:02.000Z\",\"last_error\":\"\\\"no\\\"\"}]}";
    struct json_writer writer;
    sell();
    ledger_file_create(&fixture.folder);
    add_sink("postgres", "0, 2, 1");
    add_sink("rabbitmq", "0, 6, 8");
    ledger_file_exec(
        &fixture.folder,
        "UPDATE sinks SET state = 'down', breaker = 'half-open', last_error = '\"no\"',"
        " last_error_at_ms = 2000, last_delivered_at_ms = 1500 WHERE name = 'rabbitmq'");
    read_first_sink();
    json_writer_init(&writer, &text);
    json_begin_object(&writer, NULL);
    delivery_status_write(&delivery_status, FIXTURE_NOW_MS + 60000, &writer);
    json_end_object(&writer);
    assert_string_equal(buf_text(&text), EXPECTED);
}

static void an_event_of_the_future_waits_for_no_time(UNUSED void **state)
{
    struct json_writer writer;
    sell();
    ledger_file_create(&fixture.folder);
    add_sink("postgres", "0, 0, 0");
    read_first_sink();
    json_writer_init(&writer, &text);
    json_begin_object(&writer, NULL);
    delivery_status_write(&delivery_status, FIXTURE_NOW_MS - 60000, &writer);
    json_end_object(&writer);
    assert_contains(buf_text(&text), "\"oldest_pending_age_s\":0,");
}

static void the_accounts_as_metrics(UNUSED void **state)
{
    static const char *const LINES[] = {
        "\ntillbox_backlog_events{sink=\"postgres\"} 4\n",
        "\ntillbox_oldest_pending_seconds{sink=\"postgres\"} 58\n",
        "\ntillbox_parked_events{sink=\"postgres\"} 1\n",
        "\ntillbox_unaccounted_events{sink=\"postgres\"} 0\n",
        "\ntillbox_sink_cursor{sink=\"postgres\"} 2\n",
        "\ntillbox_breaker_state{sink=\"postgres\"} 0\n",
        "\ntillbox_sink_stopped{sink=\"postgres\"} 0\n",
        "\ntillbox_breaker_state{sink=\"rabbitmq\"} 1\n",
        "\ntillbox_sink_stopped{sink=\"rabbitmq\"} 1\n",
        "\ntillbox_bridge_running 0\n",
    };
    sell();
    ledger_file_create(&fixture.folder);
    add_sink("postgres", "0, 2, 1");
    add_sink("rabbitmq", "0, 6, 6");
    park("postgres", 1, "refused");
    ledger_file_exec(
        &fixture.folder,
        "UPDATE sinks SET state = 'stopped', breaker = 'open' WHERE name = 'rabbitmq'");
    read_first_sink();
    delivery_status_write_metrics(&delivery_status, FIXTURE_NOW_MS + 60000, &text);
    for (size_t i = 0; i < ARRAY_LENGTH(LINES); i++)
        assert_contains(buf_text(&text), LINES[i]);
}

static void one_bridge_at_a_time_holds_the_lock(UNUSED void **state)
{
    int lock = -1, second = 77;
    struct error error = {0};
    sell();
    assert_ok(delivery_status_lock_bridge(fixture.folder.path, &lock, NULL));
    read_first_sink();
    assert_true(delivery_status.bridge_running);
    assert_int_equal(delivery_status_lock_bridge(fixture.folder.path, &second, &error),
                     RESULT_LOCKED);
    assert_contains(error.text, fixture.folder.path);
    assert_int_equal(second, 77);
    close(lock);
    read_first_sink();
    assert_false(delivery_status.bridge_running);
    assert_ok(delivery_status_lock_bridge(fixture.folder.path, &lock, NULL));
    close(lock);
}

static void a_lock_needs_its_folder(UNUSED void **state)
{
    int lock = 77;
    char path[FOLDER_PATH_SIZE];
    folder_file(&fixture.folder, "nothing", path);
    assert_int_equal(delivery_status_lock_bridge(path, &lock, NULL), RESULT_DENIED);
    assert_int_equal(lock, 77);
}

static void a_bridge_in_the_midst_of_writing_keeps_nobody_out(UNUSED void **state)
{
    sell();
    ledger_file_create(&fixture.folder);
    add_sink("postgres", "0, 2, 2");
    struct db *db = ledger_file_open(&fixture.folder);
    assert_ok(db_exec(db, "BEGIN IMMEDIATE; UPDATE sinks SET cursor = 4, delivered = 4", NULL));
    assert_int_equal(read_first_sink()->cursor, 2);
    assert_ok(db_exec(db, "COMMIT", NULL));
    assert_int_equal(read_first_sink()->cursor, 4);
    db_close(db);
}

/* Ends as a killed bridge does when its changes have begun to reach the file. */
static void write_half(void)
{
    struct db *db = ledger_file_open(&fixture.folder);
    if (db_exec(db,
                "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE;"
                "UPDATE sinks SET cursor = 4, delivered = 4;"
                "CREATE TABLE filler AS WITH RECURSIVE n (i) AS"
                " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
                " SELECT i, hex(zeroblob(200)) FROM n",
                NULL) != RESULT_OK)
        _exit(1);
    _exit(0);
}

static void what_a_killed_bridge_left_half_written_keeps_nobody_out(UNUSED void **state)
{
    int status = -1;
    char path[FOLDER_PATH_SIZE];
    sell();
    ledger_file_create(&fixture.folder);
    add_sink("postgres", "0, 2, 2");
    pid_t child = fork();
    if (child == 0)
        write_half();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    folder_file(&fixture.folder, "bridge.db-journal", path);
    assert_true(file_size(path) > 0);
    const struct delivery_status_sink *sink = read_first_sink();
    assert_int_equal(sink->cursor, 2);
    assert_int_equal(sink->unaccounted, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_journal_there_is_nothing_to_account_for),
        TEST(where_no_bridge_has_been_no_sink_has_accounts),
        TEST(every_event_is_delivered_parked_or_pending),
        TEST(an_event_that_slipped_past_or_was_counted_twice_shows),
        TEST(what_was_before_a_sink_began_is_none_of_its_business),
        TEST(a_journal_that_ends_before_a_cursor_shows),
        TEST(the_oldest_pending_event_has_its_time),
        TEST(a_long_error_is_cut_between_characters),
        TEST(the_watermark_is_what_every_sink_is_done_with),
        TEST(a_cursor_along_another_journal_gives_no_watermark),
        TEST(the_accounts_as_json),
        TEST(an_event_of_the_future_waits_for_no_time),
        TEST(the_accounts_as_metrics),
        TEST(one_bridge_at_a_time_holds_the_lock),
        TEST(a_lock_needs_its_folder),
        TEST(a_bridge_in_the_midst_of_writing_keeps_nobody_out),
        TEST(what_a_killed_bridge_left_half_written_keeps_nobody_out),
    };
    return RUN_TESTS(argc, argv, tests);
}
