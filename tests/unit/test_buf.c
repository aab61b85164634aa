#include "core/buf.h"

#include <string.h>

#include "tests/support/unit.h"

static struct buf buf;

static int tear_down(UNUSED void **state)
{
    buf_done(&buf);
    return 0;
}

static void assert_holds(const char *text)
{
    assert_ok(buf_result(&buf));
    assert_string_equal(buf_text(&buf), text);
    assert_int_equal(buf.size, strlen(text));
}

static void an_empty_buffer_reads_as_an_empty_string(UNUSED void **state)
{
    buf_init(&buf, 10);
    assert_holds("");
    assert_null(buf.bytes);
    buf_append(&buf, NULL, 0);
    buf_append_text(&buf, "");
    buf_append_format(&buf, "%s", "");
    assert_holds("");
    buf_clear(&buf);
    assert_holds("");
}

static void appended_pieces_stand_one_after_the_other(UNUSED void **state)
{
    buf_init(&buf, 100);
    buf_append(&buf, "abcdef", 3);
    buf_append_text(&buf, "-");
    buf_append_int(&buf, 42);
    buf_append_format(&buf, "[%s|%02d]", "x", 7);
    assert_holds("abc-42[x|07]");
}

static void a_nul_byte_is_content_like_any_other(UNUSED void **state)
{
    buf_init(&buf, 100);
    buf_append(&buf, "a\0b", 3);
    assert_int_equal(buf.size, 3);
    assert_memory_equal(buf_text(&buf), "a\0b", 4);
}

static void every_integer_is_written_in_full(UNUSED void **state)
{
    static const struct {
        int64_t value;
        const char *text;
    } CASES[] = {
        {0, "0"},
        {9, "9"},
        {-1, "-1"},
        {10, "10"},
        {-10, "-10"},
        {INT64_MAX, "9223372036854775807"},
        {INT64_MIN, "-9223372036854775808"},
    };
    buf_init(&buf, 100);
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        buf_clear(&buf);
        buf_append_int(&buf, CASES[i].value);
        assert_holds(CASES[i].text);
    }
}

static void it_grows_and_keeps_what_it_holds(UNUSED void **state)
{
    buf_init(&buf, 100000);
    for (int i = 0; i < 10000; i++)
        buf_append_format(&buf, "%04d,", i);
    assert_ok(buf_result(&buf));
    assert_int_equal(buf.size, 50000);
    assert_memory_equal(buf_text(&buf), "0000,0001,", 10);
    assert_string_equal(buf_text(&buf) + 49990, "9998,9999,");
}

static void there_is_always_room_for_the_final_nul(UNUSED void **state)
{
    buf_init(&buf, 5000);
    for (int i = 0; i < 5000; i++) {
        buf_append(&buf, "x", 1);
        assert_true(buf.capacity > buf.size);
        assert_int_equal(buf_text(&buf)[buf.size], '\0');
    }
    assert_ok(buf_result(&buf));
}

static void it_takes_exactly_as_much_as_its_limit(UNUSED void **state)
{
    buf_init(&buf, 5);
    buf_append_text(&buf, "12345");
    assert_holds("12345");
    buf_append_text(&buf, "");
    assert_holds("12345");
    buf_append_text(&buf, "6");
    assert_int_equal(buf_result(&buf), RESULT_TOO_LARGE);
    assert_string_equal(buf_text(&buf), "12345");
}

static void after_a_refusal_it_takes_nothing_more(UNUSED void **state)
{
    buf_init(&buf, 5);
    buf_append_text(&buf, "123");
    buf_append_text(&buf, "456");
    buf_append_text(&buf, "4");
    buf_append_int(&buf, 4);
    buf_append_format(&buf, "%d", 4);
    assert_int_equal(buf_result(&buf), RESULT_TOO_LARGE);
    assert_string_equal(buf_text(&buf), "123");
    assert_int_equal(buf.size, 3);
}

static void each_way_of_appending_minds_the_limit(UNUSED void **state)
{
    buf_init(&buf, 3);
    buf_append_int(&buf, 1234);
    assert_int_equal(buf_result(&buf), RESULT_TOO_LARGE);
    buf_clear(&buf);
    buf_append_format(&buf, "%d", 1234);
    assert_int_equal(buf_result(&buf), RESULT_TOO_LARGE);
    buf_clear(&buf);
    buf_append(&buf, "1234", 4);
    assert_int_equal(buf_result(&buf), RESULT_TOO_LARGE);
    assert_string_equal(buf_text(&buf), "");
}

static void a_limit_of_nothing_takes_nothing(UNUSED void **state)
{
    buf_init(&buf, 0);
    buf_append_text(&buf, "");
    assert_holds("");
    buf_append_text(&buf, "1");
    assert_int_equal(buf_result(&buf), RESULT_TOO_LARGE);
}

static void clearing_forgets_the_content_and_the_failure_but_keeps_the_memory(UNUSED void **state)
{
    buf_init(&buf, 5);
    buf_append_text(&buf, "12345");
    buf_append_text(&buf, "6");
    const char *memory = buf.bytes;
    buf_clear(&buf);
    assert_holds("");
    buf_append_text(&buf, "54321");
    assert_holds("54321");
    assert_ptr_equal(buf.bytes, memory);
}

static void truncating_drops_what_came_later_and_a_failure(UNUSED void **state)
{
    buf_init(&buf, 5);
    buf_append_text(&buf, "12345");
    buf_truncate(&buf, 3);
    assert_holds("123");
    buf_append_text(&buf, "456");
    buf_truncate(&buf, 3);
    assert_holds("123");
    buf_append_text(&buf, "45");
    assert_holds("12345");
    buf_truncate(&buf, 0);
    assert_holds("");
}

static void truncating_to_more_than_there_is_changes_nothing(UNUSED void **state)
{
    buf_init(&buf, 5);
    buf_truncate(&buf, 0);
    assert_holds("");
    buf_append_text(&buf, "123");
    buf_truncate(&buf, 4);
    assert_holds("123");
}

static void more_than_the_machine_has_is_refused_as_no_memory(UNUSED void **state)
{
    buf_init(&buf, SIZE_MAX);
    buf_append_text(&buf, "kept");
    buf_append(&buf, "", (size_t)1 << 60);
    assert_int_equal(buf_result(&buf), RESULT_NO_MEMORY);
    assert_string_equal(buf_text(&buf), "kept");
}

static void a_buffer_may_be_done_with_twice(UNUSED void **state)
{
    buf_init(&buf, 5);
    buf_append_text(&buf, "x");
    buf_done(&buf);
    buf_done(&buf);
    assert_string_equal(buf_text(&buf), "");
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_buffer_reads_as_an_empty_string),
        TEST(appended_pieces_stand_one_after_the_other),
        TEST(a_nul_byte_is_content_like_any_other),
        TEST(every_integer_is_written_in_full),
        TEST(it_grows_and_keeps_what_it_holds),
        TEST(there_is_always_room_for_the_final_nul),
        TEST(it_takes_exactly_as_much_as_its_limit),
        TEST(after_a_refusal_it_takes_nothing_more),
        TEST(each_way_of_appending_minds_the_limit),
        TEST(a_limit_of_nothing_takes_nothing),
        TEST(clearing_forgets_the_content_and_the_failure_but_keeps_the_memory),
        TEST(truncating_drops_what_came_later_and_a_failure),
        TEST(truncating_to_more_than_there_is_changes_nothing),
        TEST(more_than_the_machine_has_is_refused_as_no_memory),
        TEST(a_buffer_may_be_done_with_twice),
    };
    return RUN_TESTS(argc, argv, tests);
}
