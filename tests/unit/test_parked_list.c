#include "core/journal/parked_list.h"

#include <stdio.h>
#include <string.h>

#include "core/db.h"
#include "core/utf8.h"
#include "tests/support/folder.h"
#include "tests/support/ledger_file.h"
#include "tests/support/unit.h"

enum { TEXT_MAX = 65536 };

static struct folder folder;
static struct parked_list list;

static int set_up(UNUSED void **state)
{
    folder_make(&folder);
    memset(&list, 0xff, sizeof list);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    folder_remove(&folder);
    return 0;
}

static void park(const char *sink, int sequence, const char *state, const char *reason)
{
    char sql[2048];
    snprintf(sql, sizeof sql,
             "INSERT INTO parked (sink, sequence, event_id, event_type, order_id, state, reason,"
             " attempts, dead_lettered, parked_at_ms) VALUES ('%s', %d,"
             " '01a202b0-b39e-7434-8cef-633d721e024c', 'order.created', nullif(%d, 9), '%s', '%s',"
             " 3, 0, 1000)",
             sink, sequence, sequence, state, reason);
    ledger_file_exec(&folder, sql);
}

static void where_no_bridge_has_been_nothing_is_parked(UNUSED void **state)
{
    assert_ok(parked_list_read(folder.path, &list, NULL));
    assert_int_equal(list.count, 0);
    ledger_file_exec(&folder, "CREATE TABLE early (x)");
    assert_ok(parked_list_read(folder.path, &list, NULL));
    assert_int_equal(list.count, 0);
}

static void refused_events_come_before_those_held_behind_them(UNUSED void **state)
{
    ledger_file_create(&folder);
    park("rabbitmq", 3, "held", "behind 2");
    park("rabbitmq", 2, "refused", "unroutable");
    park("postgres", 9, "refused", "data error");
    park("postgres", 1, "delivered", "once");
    park("postgres", 4, "discarded", "once");
    assert_ok(parked_list_read(folder.path, &list, NULL));
    assert_int_equal(list.count, 3);
    assert_int_equal(list.entries[0].sequence, 2);
    assert_string_equal(list.entries[0].sink, "rabbitmq");
    assert_string_equal(list.entries[0].reason, "unroutable");
    assert_int_equal(list.entries[0].order_id, 2);
    assert_int_equal(list.entries[0].attempts, 3);
    assert_int_equal(list.entries[0].parked_at_ms, 1000);
    assert_int_equal(list.entries[1].sequence, 9);
    assert_int_equal(list.entries[1].order_id, 0);
    assert_string_equal(list.entries[2].state, "held");
}

static void the_list_has_an_end(UNUSED void **state)
{
    ledger_file_create(&folder);
    for (int i = 1; i <= PARKED_LIST_MAX + 5; i++)
        park("postgres", i, "refused", "r");
    assert_ok(parked_list_read(folder.path, &list, NULL));
    assert_int_equal(list.count, PARKED_LIST_MAX);
    assert_int_equal(list.entries[PARKED_LIST_MAX - 1].sequence, PARKED_LIST_MAX);
}

static void a_long_reason_is_cut_between_characters(UNUSED void **state)
{
    char reason[601] = "";
    for (int i = 0; i < 300; i++)
        memcpy(reason + 2 * i, "\xC3\xBC", 3);
    ledger_file_create(&folder);
    park("postgres", 1, "refused", reason);
    assert_ok(parked_list_read(folder.path, &list, NULL));
    const char *kept = list.entries[0].reason;
    assert_in_range(strlen(kept), 200, PARKED_LIST_REASON_SIZE - 1);
    assert_true(utf8_length(kept, strlen(kept)) > 0);
}

static void it_is_written_as_json(UNUSED void **state)
{
    struct buf text;
    struct json_writer writer;
    ledger_file_create(&folder);
    park("postgres", 9, "refused", "a \"reason\"");
    assert_ok(parked_list_read(folder.path, &list, NULL));
    buf_init(&text, TEXT_MAX);
    json_writer_init(&writer, &text);
    json_begin_object(&writer, NULL);
    parked_list_write(&list, &writer);
    json_end_object(&writer);
    assert_string_equal(buf_text(&text),
                        "{\"parked\":[{\"sink\":\"postgres\",\"sequence\":9,"
                        "\"event_id\":\"01a202b0-b39e-7434-8cef-633d721e024c\","
                        "\"event_type\":\"order.created\",\"order_id\":null,\"state\":\"refused\","
                        "\"reason\":\"a \\\"reason\\\"\",\"attempts\":3,"
                        "\"parked_at\":\"1970-01-01T00:00:01.000Z\"}]}");
    buf_done(&text);
}

static void a_ledger_that_is_none_is_an_error(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE];
    folder_file(&folder, "bridge.db", path);
    file_write(path, "this is no database, and long enough to tell", 44);
    assert_int_not_equal(parked_list_read(folder.path, &list, NULL), RESULT_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(where_no_bridge_has_been_nothing_is_parked),
        TEST(refused_events_come_before_those_held_behind_them),
        TEST(the_list_has_an_end),
        TEST(a_long_reason_is_cut_between_characters),
        TEST(it_is_written_as_json),
        TEST(a_ledger_that_is_none_is_an_error),
    };
    return RUN_TESTS(argc, argv, tests);
}
