#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/utf8.h"
#include "tests/support/unit.h"

static struct json *document;
static struct error error;

static int set_up(UNUSED void **state)
{
    document = NULL;
    error = (struct error){0};
    return 0;
}

static int tear_down(UNUSED void **state)
{
    json_free(document);
    return 0;
}

/* Parses a copy that has no byte to spare, so that a sanitizer sees any read beyond it. */
static enum result parse_bytes(const char *text, size_t size)
{
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    json_free(document);
    document = NULL;
    enum result result = json_parse(copy, size, &document, &error);
    enum result syntax = json_check_syntax(copy, size, NULL);
    free(copy);
    assert_true(result == RESULT_OK ? syntax == RESULT_OK : document == NULL);
    return result;
}

static enum result parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void assert_takes_all(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (parse(texts[i]) != RESULT_OK)
            fail_msg("%s was refused: %s", texts[i], error.text);
}

struct bad_text {
    const char *text;
    const char *cause;
};

static void assert_refuses_all(const struct bad_text *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        error.text[0] = '\0';
        if (parse(cases[i].text) != RESULT_MALFORMED)
            fail_msg("%s was taken", cases[i].text);
        assert_string_equal(error.text, cases[i].cause);
    }
}

#define ASSERT_TAKES(...)                                \
    assert_takes_all((const char *const[]){__VA_ARGS__}, \
                     ARRAY_LENGTH(((const char *const[]){__VA_ARGS__})))

static void every_kind_of_value_may_stand_alone(UNUSED void **state)
{
    static const struct {
        const char *text;
        enum json_kind kind;
        const char *name;
    } CASES[] = {
        {"null", JSON_NULL, "null"},          {"true", JSON_BOOLEAN, "a boolean"},
        {"false", JSON_BOOLEAN, "a boolean"}, {"7", JSON_NUMBER, "a number"},
        {"\"x\"", JSON_STRING, "a string"},   {"[]", JSON_ARRAY, "an array"},
        {"{}", JSON_OBJECT, "an object"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        assert_ok(parse(CASES[i].text));
        assert_int_equal(json_kind(document), CASES[i].kind);
        assert_string_equal(json_kind_text(CASES[i].kind), CASES[i].name);
    }
}

static void white_space_may_stand_around_every_token(UNUSED void **state)
{
    ASSERT_TAKES(" 1", "1 ", "\t\r\n 1 \t\r\n", " [ ] ", " { } ", "[ 1 , 2 ]",
                 "\n{\t\"a\"\r:\n1 ,\t\"b\" : [ ] }\n");
}

static void only_four_characters_are_white_space(UNUSED void **state)
{
    static const struct bad_text CASES[] = {
        {"\f1", "a value is missing at byte 0"},
        {"1\v", "something follows the value at byte 1"},
        {"[\xC2\xA0]", "a value is missing at byte 1"},
        {"\xEF\xBB\xBF{}", "a value is missing at byte 0"},
        {"[1,\f2]", "a value is missing at byte 3"},
    };
    assert_refuses_all(CASES, ARRAY_LENGTH(CASES));
}

static void a_text_is_exactly_one_value(UNUSED void **state)
{
    static const struct bad_text CASES[] = {
        {"", "a value is missing at byte 0"},
        {"  ", "a value is missing at byte 2"},
        {"1 2", "something follows the value at byte 2"},
        {"{}{}", "something follows the value at byte 2"},
        {"[]]", "something follows the value at byte 2"},
        {"nullx", "something follows the value at byte 4"},
        {"tru", "a value is missing at byte 0"},
        {"True", "a value is missing at byte 0"},
        {"nul", "a value is missing at byte 0"},
        {"NaN", "a value is missing at byte 0"},
        {"Infinity", "a value is missing at byte 0"},
        {"undefined", "a value is missing at byte 0"},
        {"'a'", "a value is missing at byte 0"},
        {"/**/1", "a value is missing at byte 0"},
        {"1//", "something follows the value at byte 1"},
    };
    assert_refuses_all(CASES, ARRAY_LENGTH(CASES));
}

static void objects_and_arrays_follow_the_grammar(UNUSED void **state)
{
    static const struct bad_text CASES[] = {
        {"[", "a value is missing at byte 1"},
        {"[1", "a comma or a closing bracket is missing at byte 2"},
        {"[1,", "a value is missing at byte 3"},
        {"[1,]", "a value is missing at byte 3"},
        {"[,1]", "a value is missing at byte 1"},
        {"[1 2]", "a comma or a closing bracket is missing at byte 3"},
        {"[1}", "a comma or a closing bracket is missing at byte 2"},
        {"[1,,2]", "a value is missing at byte 3"},
        {"{", "a string is missing at byte 1"},
        {"{1:2}", "a string is missing at byte 1"},
        {"{a:1}", "a string is missing at byte 1"},
        {"{\"a\"}", "a colon is missing at byte 4"},
        {"{\"a\" 1}", "a colon is missing at byte 5"},
        {"{\"a\":}", "a value is missing at byte 5"},
        {"{\"a\":1,}", "a string is missing at byte 7"},
        {"{\"a\":1 \"b\":2}", "a comma or a closing bracket is missing at byte 7"},
        {"{\"a\":1]", "a comma or a closing bracket is missing at byte 6"},
        {"{\"a\"::1}", "a value is missing at byte 5"},
        {"}", "a value is missing at byte 0"},
    };
    assert_refuses_all(CASES, ARRAY_LENGTH(CASES));
    ASSERT_TAKES("[]", "[[]]", "[1,\"a\",null,true,{}]", "{\"\":0}", "{\"a\":{\"a\":[{\"a\":1}]}}");
}

static void numbers_follow_the_grammar(UNUSED void **state)
{
    ASSERT_TAKES("0", "-0", "10", "-1", "0.5", "-0.50", "1.0", "1e5", "1E5", "1e+5", "1e-05", "0e0",
                 "123.456E-7", "[0,-0]", "9223372036854775808");
    static const struct bad_text CASES[] = {
        {"-", "a digit is missing at byte 1"},
        {"--1", "a digit is missing at byte 1"},
        {"+1", "a value is missing at byte 0"},
        {".5", "a value is missing at byte 0"},
        {"-.5", "a digit is missing at byte 1"},
        {"1.", "a digit is missing at byte 2"},
        {"1.e5", "a digit is missing at byte 2"},
        {"1e", "a digit is missing at byte 2"},
        {"1e+", "a digit is missing at byte 3"},
        {"1e+-5", "a digit is missing at byte 3"},
        {"1e5.5", "something follows the value at byte 3"},
        {"0x10", "something follows the value at byte 1"},
        {"1_000", "something follows the value at byte 1"},
        {"1,5", "something follows the value at byte 1"},
        {"-Infinity", "a digit is missing at byte 1"},
        {"1f", "something follows the value at byte 1"},
    };
    assert_refuses_all(CASES, ARRAY_LENGTH(CASES));
}

static void a_number_may_not_start_with_0(UNUSED void **state)
{
    static const struct bad_text CASES[] = {
        {"01", "a number may not start with 0 at byte 1"},
        {"00", "a number may not start with 0 at byte 1"},
        {"-012", "a number may not start with 0 at byte 2"},
        {"[1,007]", "a number may not start with 0 at byte 4"},
    };
    assert_refuses_all(CASES, ARRAY_LENGTH(CASES));
}

static void a_number_may_have_more_digits_than_a_double_keeps(UNUSED void **state)
{
    int64_t number = 0;
    char text[100] = "{\"n\":1.";
    memset(text + strlen(text), '0', 80);
    strcat(text, "}");
    assert_ok(parse(text));
    assert_ok(json_integer(json_member(document, "n"), &number));
    assert_int_equal(number, 1);
}

static void strings_follow_the_grammar(UNUSED void **state)
{
    static const struct bad_text CASES[] = {
        {"\"", "a string isn't closed at byte 1"},
        {"\"abc", "a string isn't closed at byte 4"},
        {"\"\\", "an unknown escape at byte 2"},
        {"\"\\\"", "a string isn't closed at byte 3"},
        {"\"\\x41\"", "an unknown escape at byte 2"},
        {"\"\\a\"", "an unknown escape at byte 2"},
        {"\"\\'\"", "an unknown escape at byte 2"},
        {"\"\\U0041\"", "an unknown escape at byte 2"},
        {"\"\\u\"", "four hexadecimal digits are missing at byte 3"},
        {"\"\\u004\"", "four hexadecimal digits are missing at byte 6"},
        {"\"\\u004g\"", "four hexadecimal digits are missing at byte 6"},
        {"\"\\u+041\"", "four hexadecimal digits are missing at byte 3"},
        {"\"\\u0041", "a string isn't closed at byte 7"},
        {"{\"a:1}", "a string isn't closed at byte 6"},
    };
    assert_refuses_all(CASES, ARRAY_LENGTH(CASES));
}

static void a_control_character_in_a_string_must_be_escaped(UNUSED void **state)
{
    for (char byte = 1; byte < 0x20; byte++) {
        char text[] = {'"', 'a', byte, '"', '\0'};
        assert_int_equal(parse(text), RESULT_MALFORMED);
        assert_string_equal(error.text, "a control character in a string at byte 2");
    }
    ASSERT_TAKES("\"\\u0001\\u001f\"", "\"\x7F\"");
}

static void a_nul_is_refused_written_or_escaped(UNUSED void **state)
{
    static const struct {
        const char *text;
        size_t size;
    } CASES[] = {{"\0", 1},         {"1\0", 2},       {"\"a\0b\"", 5}, {"\"\\u0000\"", 8},
                 {"{\"\0\":1}", 7}, {"[1\0,2]", 6},   {"[\0]", 3},     {"\"\\\0\"", 4},
                 {"tru\0", 4},      {"\"\\u00\0", 6}, {"-\0", 2},      {"[1]\0 ", 5}};
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++)
        if (parse_bytes(CASES[i].text, CASES[i].size) != RESULT_MALFORMED)
            fail_msg("number %zu was taken", i);
}

static void half_a_surrogate_pair_is_refused(UNUSED void **state)
{
    static const struct bad_text CASES[] = {
        {"\"\\ud800\"", "half a surrogate pair at byte 7"},
        {"\"\\udbff\"", "half a surrogate pair at byte 7"},
        {"\"\\udc00\"", "half a surrogate pair at byte 7"},
        {"\"\\uDFFF\"", "half a surrogate pair at byte 7"},
        {"\"\\ud83dx\"", "half a surrogate pair at byte 7"},
        {"\"\\ud83d\\n\"", "half a surrogate pair at byte 8"},
        {"\"\\ud83d\\ud83d\"", "half a surrogate pair at byte 13"},
        {"\"\\ud83d\\u0041\"", "half a surrogate pair at byte 13"},
        {"\"\\ud83d\\ue000\"", "half a surrogate pair at byte 13"},
        {"\"\\ude00\\ud83d\"", "half a surrogate pair at byte 7"},
    };
    assert_refuses_all(CASES, ARRAY_LENGTH(CASES));
    ASSERT_TAKES("\"\\ud83d\\ude00\"", "\"\\uD800\\uDC00\"", "\"\\udbff\\udfff\"", "\"\\ue000\"",
                 "\"\\ud7ff\"");
}

static void text_must_be_well_formed_utf8(UNUSED void **state)
{
    static const struct bad_text CASES[] = {
        {"\"\x80\"", "invalid UTF-8 at byte 1"},
        {"\"a\xC3\"", "invalid UTF-8 at byte 2"},
        {"\"\xC0\xAF\"", "invalid UTF-8 at byte 1"},
        {"\"\xED\xA0\x80\"", "invalid UTF-8 at byte 1"},
        {"\"\xF4\x90\x80\x80\"", "invalid UTF-8 at byte 1"},
        {"\"\xFF\"", "invalid UTF-8 at byte 1"},
        {"{\"\xC3\":1}", "invalid UTF-8 at byte 2"},
        {"\"\xE2\x82", "invalid UTF-8 at byte 1"},
        {"\xC3\xA4", "a value is missing at byte 0"},
    };
    assert_refuses_all(CASES, ARRAY_LENGTH(CASES));
    ASSERT_TAKES("\"K\xC3\xA4se \xE2\x82\xAC \xF0\x9F\x98\x80\"", "{\"\xC3\xA4\":1}");
}

static void escapes_are_read_as_what_they_stand_for(UNUSED void **state)
{
    assert_ok(parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t \\u00e4\\u20AC\\uD83D\\uDE00\\u007f\""));
    assert_string_equal(json_text(document),
                        "\"\\/\b\f\n\r\t \xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\x7F");
    assert_ok(parse("{\"\\u0061\\n\":\"\"}"));
    assert_string_equal(json_text(json_member(document, "a\n")), "");
}

/* `levels` brackets, opened and closed; every other one an object if `mixed`. */
static enum result parse_nested(int levels, bool mixed)
{
    char text[200] = "";
    for (int i = 0; i < levels; i++)
        strcat(text, mixed && i % 2 ? "{\"a\":" : "[");
    strcat(text, "1");
    for (int i = levels - 1; i >= 0; i--)
        strcat(text, mixed && i % 2 ? "}" : "]");
    return parse(text);
}

static void nesting_ends_at_16(UNUSED void **state)
{
    assert_int_equal(JSON_DEPTH_MAX, 16);
    assert_ok(parse_nested(16, false));
    assert_ok(parse_nested(16, true));
    assert_int_equal(parse_nested(17, false), RESULT_MALFORMED);
    assert_string_equal(error.text, "nested too deep at byte 17");
    assert_int_equal(parse_nested(17, true), RESULT_MALFORMED);
}

static void what_is_closed_does_not_count_as_depth(UNUSED void **state)
{
    char text[200] = "[0";
    for (int i = 0; i < 50; i++)
        strcat(text, ",[]");
    strcat(text, "]");
    assert_ok(parse(text));
}

static void a_hundred_thousand_open_brackets_are_refused(UNUSED void **state)
{
    static char text[100001];
    memset(text, '[', sizeof text - 1);
    assert_int_equal(parse(text), RESULT_MALFORMED);
}

static void an_object_may_not_repeat_a_name(UNUSED void **state)
{
    static const char *const BAD[] = {
        "{\"a\":1,\"a\":2}", "{\"a\":1,\"b\":2,\"a\":1}",        "{\"a\":1,\"\\u0061\":2}",
        "{\"\":1,\"\":2}",   "[{},{\"x\":[{\"a\":1,\"a\":2}]}]",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(BAD); i++) {
        if (parse(BAD[i]) != RESULT_MALFORMED)
            fail_msg("%s was taken", BAD[i]);
        assert_contains(error.text, "appears twice");
        assert_ok(json_check_syntax(BAD[i], strlen(BAD[i]), NULL));
    }
    ASSERT_TAKES("{\"a\":1,\"A\":2}", "[{\"a\":1},{\"a\":2}]", "{\"a\":{\"a\":1}}");
}

static void the_cause_names_a_repeated_name_in_whole_characters(UNUSED void **state)
{
    char name[80] = "", text[200];
    memset(name, 'x', 63);
    strcat(name, "\xC3\xA4");
    snprintf(text, sizeof text, "{\"%s\":1,\"%s\":2}", name, name);
    assert_int_equal(parse(text), RESULT_MALFORMED);
    assert_contains(error.text, "the name \"xxx");
    assert_true(utf8_length(error.text, strlen(error.text)) > 0);
}

static enum result parse_members(int count)
{
    char text[1000] = "{";
    for (int i = 0; i < count; i++)
        sprintf(text + strlen(text), "%s\"m%d\":%d", i ? "," : "", i, i);
    strcat(text, "}");
    return parse(text);
}

static void an_object_has_at_most_64_members(UNUSED void **state)
{
    assert_int_equal(JSON_MEMBERS_MAX, 64);
    assert_ok(parse_members(64));
    assert_int_equal(parse_members(65), RESULT_MALFORMED);
    assert_string_equal(error.text, "an object has more than 64 members");
}

static void an_array_may_have_more_than_64_elements(UNUSED void **state)
{
    char text[400] = "[0";
    for (int i = 1; i < 100; i++)
        strcat(text, ",1");
    strcat(text, "]");
    assert_ok(parse(text));
    int count = 0;
    for (const struct json *child = json_first(document); child; child = json_next(child))
        count++;
    assert_int_equal(count, 100);
}

static void a_refusal_leaves_the_output_alone_and_may_go_unexplained(UNUSED void **state)
{
    struct json *untouched = NULL;
    assert_int_equal(json_parse("[", 1, &untouched, NULL), RESULT_MALFORMED);
    assert_int_equal(json_parse("{\"a\":1,\"a\":2}", 13, &untouched, NULL), RESULT_MALFORMED);
    assert_null(untouched);
    json_free(NULL);
}

static void a_member_is_found_by_its_exact_name(UNUSED void **state)
{
    assert_ok(parse("{\"name\":\"x\",\"Name\":\"y\",\"\":\"z\",\"o\":{\"inner\":1}}"));
    assert_string_equal(json_text(json_member(document, "name")), "x");
    assert_string_equal(json_text(json_member(document, "Name")), "y");
    assert_string_equal(json_text(json_member(document, "")), "z");
    assert_null(json_member(document, "NAME"));
    assert_null(json_member(document, "nam"));
    assert_null(json_member(document, "inner"));
}

static void children_come_in_order_with_their_names(UNUSED void **state)
{
    static const char *const NAMES[] = {"b", "a", "c"};
    assert_ok(parse("{\"b\":1,\"a\":2,\"c\":3}"));
    assert_null(json_name(document));
    const struct json *child = json_first(document);
    for (int i = 0; i < 3; i++, child = json_next(child)) {
        int64_t number = 0;
        assert_string_equal(json_name(child), NAMES[i]);
        assert_ok(json_integer(child, &number));
        assert_int_equal(number, i + 1);
    }
    assert_null(child);
}

static void elements_have_no_names(UNUSED void **state)
{
    assert_ok(parse("[true,\"x\"]"));
    const struct json *first = json_first(document);
    assert_int_equal(json_kind(first), JSON_BOOLEAN);
    assert_null(json_name(first));
    assert_string_equal(json_text(json_next(first)), "x");
    assert_null(json_next(json_next(first)));
    assert_ok(parse("[]"));
    assert_null(json_first(document));
    assert_ok(parse("{}"));
    assert_null(json_first(document));
}

/* Also where a double has no room for what makes it a fraction. */
static void what_is_no_integer_in_its_text_is_none(UNUSED void **state)
{
    static const char *const FRACTIONS[] = {"0.99999999999999999999",
                                            "1.00000000000000000001",
                                            "4503599627370496.00000000001",
                                            "10000000000000000000001e-20",
                                            "-0.99999999999999999999",
                                            "1e-999999999999",
                                            "0.1e0"};
    static const char *const INTEGERS[] = {
        "1.0", "10e-1", "0.1e1", "1.000000000000000000000", "100e-2", "0.0e-999999999999"};
    int64_t number = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(FRACTIONS); i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"a\\\"1.5\":[7,{\"n\":%s}],\"m\":3}", FRACTIONS[i]);
        assert_ok(parse(text));
        const struct json *first = json_first(json_first(document));
        assert_ok(json_integer(first, &number));
        assert_int_equal(number, 7);
        if (json_integer(json_first(json_next(first)), &number) != RESULT_INVALID)
            fail_msg("%s is taken for %lld", FRACTIONS[i], (long long)number);
        assert_ok(json_integer(json_member(document, "m"), &number));
        assert_int_equal(number, 3);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(INTEGERS); i++) {
        assert_ok(parse(INTEGERS[i]));
        assert_ok(json_integer(document, &number));
    }
}

static void integral_numbers_within_2_to_the_53_are_integers(UNUSED void **state)
{
    static const struct {
        const char *text;
        int64_t number;
    } CASES[] = {
        {"0", 0},
        {"-0", 0},
        {"50", 50},
        {"-1", -1},
        {"1.0", 1},
        {"1e2", 100},
        {"1.5e1", 15},
        {"9007199254740991", 9007199254740991},
        {"-9007199254740991", -9007199254740991},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        int64_t number = 12345;
        assert_ok(parse(CASES[i].text));
        assert_ok(json_integer(document, &number));
        assert_int_equal(number, CASES[i].number);
    }
}

static void every_other_value_is_no_integer(UNUSED void **state)
{
    static const char *const BAD[] = {
        "0.5",
        "-1.25",
        "1e-1",
        "9007199254740992",
        "-9007199254740992",
        "9223372036854775807",
        "1e16",
        "1e308",
        "1e400",
        "-1e400",
        "\"1\"",
        "true",
        "null",
        "[1]",
        "{}",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(BAD); i++) {
        int64_t number = 12345;
        assert_ok(parse(BAD[i]));
        if (json_integer(document, &number) != RESULT_INVALID)
            fail_msg("%s was taken", BAD[i]);
        assert_int_equal(number, 12345);
    }
}

static void the_library_tells_its_version(UNUSED void **state)
{
    int major = 0, minor = 0;
    assert_int_equal(sscanf(json_library_version(), "%d.%d", &major, &minor), 2);
    assert_int_equal(major, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(every_kind_of_value_may_stand_alone),
        TEST(white_space_may_stand_around_every_token),
        TEST(only_four_characters_are_white_space),
        TEST(a_text_is_exactly_one_value),
        TEST(objects_and_arrays_follow_the_grammar),
        TEST(numbers_follow_the_grammar),
        TEST(a_number_may_not_start_with_0),
        TEST(a_number_may_have_more_digits_than_a_double_keeps),
        TEST(strings_follow_the_grammar),
        TEST(a_control_character_in_a_string_must_be_escaped),
        TEST(a_nul_is_refused_written_or_escaped),
        TEST(half_a_surrogate_pair_is_refused),
        TEST(text_must_be_well_formed_utf8),
        TEST(escapes_are_read_as_what_they_stand_for),
        TEST(nesting_ends_at_16),
        TEST(what_is_closed_does_not_count_as_depth),
        TEST(a_hundred_thousand_open_brackets_are_refused),
        TEST(an_object_may_not_repeat_a_name),
        TEST(the_cause_names_a_repeated_name_in_whole_characters),
        TEST(an_object_has_at_most_64_members),
        TEST(an_array_may_have_more_than_64_elements),
        TEST(a_refusal_leaves_the_output_alone_and_may_go_unexplained),
        TEST(a_member_is_found_by_its_exact_name),
        TEST(children_come_in_order_with_their_names),
        TEST(elements_have_no_names),
        TEST(what_is_no_integer_in_its_text_is_none),
        TEST(integral_numbers_within_2_to_the_53_are_integers),
        TEST(every_other_value_is_no_integer),
        TEST(the_library_tells_its_version),
    };
    return RUN_TESTS(argc, argv, tests);
}
