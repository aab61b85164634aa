#include <string.h>

#include "core/json.h"
#include "tests/support/unit.h"

static struct buf buf;
static struct json_writer writer;

static int set_up(UNUSED void **state)
{
    buf_init(&buf, 10000);
    json_writer_init(&writer, &buf);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    buf_done(&buf);
    return 0;
}

static void assert_written(const char *expected)
{
    assert_ok(buf_result(&buf));
    assert_string_equal(buf_text(&buf), expected);
}

static void write_sample(void)
{
    json_begin_object(&writer, NULL);
    json_put_int(&writer, "id", 7);
    json_begin_array(&writer, "items");
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "name", "x");
    json_end_object(&writer);
    json_begin_object(&writer, NULL);
    json_end_object(&writer);
    json_put_int(&writer, NULL, -1);
    json_put_bool(&writer, NULL, true);
    json_end_array(&writer);
    json_begin_array(&writer, "empty");
    json_end_array(&writer);
    json_put_null(&writer, "none");
    json_put_bool(&writer, "paid", false);
    json_put_raw(&writer, "raw", "{\"a\":[1]}");
    json_end_object(&writer);
}

static const char SAMPLE[] = "{\"id\":7,\"items\":[{\"name\":\"x\"},{},-1,true],\"empty\":[],"
                             "\"none\":null,\"paid\":false,\"raw\":{\"a\":[1]}}";

static void members_stand_in_the_order_of_the_calls_without_white_space(UNUSED void **state)
{
    write_sample();
    assert_written(SAMPLE);
}

static void the_same_calls_give_the_same_bytes(UNUSED void **state)
{
    write_sample();
    buf_clear(&buf);
    json_writer_init(&writer, &buf);
    write_sample();
    assert_written(SAMPLE);
}

static void the_outermost_value_may_be_of_any_kind(UNUSED void **state)
{
    json_put_text(&writer, NULL, "");
    assert_written("\"\"");
}

static void integers_are_written_in_full(UNUSED void **state)
{
    json_begin_array(&writer, NULL);
    json_put_int(&writer, NULL, 0);
    json_put_int(&writer, NULL, INT64_MAX);
    json_put_int(&writer, NULL, INT64_MIN);
    json_end_array(&writer);
    assert_written("[0,9223372036854775807,-9223372036854775808]");
}

static void only_what_must_be_escaped_is(UNUSED void **state)
{
    json_put_text(&writer, NULL, "a\"b\\c/d ~\x7F\xC3\xA4\xF0\x9F\x98\x80");
    assert_written("\"a\\\"b\\\\c/d ~\x7F\xC3\xA4\xF0\x9F\x98\x80\"");
}

static void every_control_character_is_written_as_four_digits(UNUSED void **state)
{
    json_put_text(&writer, NULL, "\x01\b\t\n\f\r\x1Fz");
    assert_written("\"\\u0001\\u0008\\u0009\\u000a\\u000c\\u000d\\u001fz\"");
}

static void what_is_not_utf_8_becomes_the_replacement_character(UNUSED void **state)
{
    json_put_text(&writer, NULL, "a\xff\xc3\xa9\xc0\x80z\xe2\x82");
    assert_written("\"a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void names_are_escaped_like_text(UNUSED void **state)
{
    json_begin_object(&writer, NULL);
    json_put_int(&writer, "a\"\n", 1);
    json_put_int(&writer, "", 2);
    json_end_object(&writer);
    assert_written("{\"a\\\"\\u000a\":1,\"\":2}");
}

static void what_was_written_reads_back_as_it_was(UNUSED void **state)
{
    char text[0x80] = {0};
    struct json *document = NULL;
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = (char)(i + 1);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, text, text);
    json_end_object(&writer);
    assert_ok(json_parse(buf_text(&buf), buf.size, &document, NULL));
    assert_string_equal(json_text(json_member(document, text)), text);
    json_free(document);
}

static void a_text_that_outgrows_the_buffer_is_reported_by_it(UNUSED void **state)
{
    buf_done(&buf);
    buf_init(&buf, strlen(SAMPLE));
    write_sample();
    assert_written(SAMPLE);
    buf_done(&buf);
    buf_init(&buf, strlen(SAMPLE) - 1);
    json_writer_init(&writer, &buf);
    write_sample();
    assert_int_equal(buf_result(&buf), RESULT_TOO_LARGE);
}

static void a_time_is_text_and_no_time_is_null(UNUSED void **state)
{
    json_begin_array(&writer, NULL);
    json_put_time(&writer, NULL, 0);
    json_put_time_or_null(&writer, NULL, 0);
    json_put_time_or_null(&writer, NULL, 1);
    json_end_array(&writer);
    assert_written("[\"1970-01-01T00:00:00.000Z\",null,\"1970-01-01T00:00:00.001Z\"]");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(members_stand_in_the_order_of_the_calls_without_white_space),
        TEST(the_same_calls_give_the_same_bytes),
        TEST(the_outermost_value_may_be_of_any_kind),
        TEST(integers_are_written_in_full),
        TEST(only_what_must_be_escaped_is),
        TEST(every_control_character_is_written_as_four_digits),
        TEST(what_is_not_utf_8_becomes_the_replacement_character),
        TEST(names_are_escaped_like_text),
        TEST(what_was_written_reads_back_as_it_was),
        TEST(a_text_that_outgrows_the_buffer_is_reported_by_it),
        TEST(a_time_is_text_and_no_time_is_null),
    };
    return RUN_TESTS(argc, argv, tests);
}
