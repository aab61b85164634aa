#include "core/http/request_body.h"

#include <stdio.h>
#include <string.h>

#include "core/utf8.h"
#include "tests/support/unit.h"

static struct json *document;
static struct field_errors errors;
static struct request_body form;

static int set_up(UNUSED void **state)
{
    document = NULL;
    field_errors_init(&errors);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    json_free(document);
    field_errors_done(&errors);
    return 0;
}

static void open_form(const char *text, const char *prefix)
{
    json_free(document);
    document = NULL;
    field_errors_done(&errors);
    field_errors_init(&errors);
    assert_ok(json_parse(text, strlen(text), &document, NULL));
    request_body_open(&form, document, prefix, &errors);
}

/* "field: detail|" for every error so far. */
static void assert_errors(const char *expected)
{
    struct buf list, told;
    struct json *array = NULL;
    buf_init(&list, 10000);
    buf_init(&told, 10000);
    buf_append_format(&list, "[%s]", buf_text(&errors.json));
    assert_ok(json_parse(buf_text(&list), list.size, &array, NULL));
    for (const struct json *item = json_first(array); item; item = json_next(item))
        buf_append_format(&told, "%s: %s|", json_text(json_member(item, "field")),
                          json_text(json_member(item, "detail")));
    assert_string_equal(buf_text(&told), expected);
    json_free(array);
    buf_done(&list);
    buf_done(&told);
}

static void a_right_form_sets_every_variable_and_adds_no_error(UNUSED void **state)
{
    int64_t stock = 0;
    const char *name = NULL, *sku = NULL;
    open_form("{\"name\":\"iPhone\",\"stock\":50,\"sku\":null,\"items\":[1,2]}", "");
    assert_true(request_body_text(&form, "name", FORM_REQUIRED, 1, 20, &name));
    assert_true(request_body_integer(&form, "stock", FORM_REQUIRED, 0, 100, &stock));
    sku = "set before";
    assert_true(request_body_text_or_null(&form, "sku", 1, 10, &sku));
    const struct json *items = request_body_array(&form, "items", FORM_REQUIRED, 1, 2);
    request_body_close(&form);
    assert_string_equal(name, "iPhone");
    assert_int_equal(stock, 50);
    assert_null(sku);
    assert_ptr_equal(items, json_member(document, "items"));
    assert_int_equal(errors.count, 0);
    assert_errors("");
}

static void a_missing_member_is_an_error_only_if_it_is_required(UNUSED void **state)
{
    int64_t number = 7;
    const char *text = "kept";
    open_form("{}", "");
    assert_false(request_body_integer(&form, "a", FORM_OPTIONAL, 0, 9, &number));
    assert_false(request_body_text(&form, "b", FORM_OPTIONAL, 0, 9, &text));
    assert_false(request_body_text_or_null(&form, "c", 0, 9, &text));
    assert_null(request_body_array(&form, "d", FORM_OPTIONAL, 0, 9));
    assert_errors("");
    assert_false(request_body_integer(&form, "e", FORM_REQUIRED, 0, 9, &number));
    assert_false(request_body_text(&form, "f", FORM_REQUIRED, 0, 9, &text));
    assert_null(request_body_array(&form, "g", FORM_REQUIRED, 0, 9));
    assert_errors("e: is required|f: is required|g: is required|");
    assert_int_equal(number, 7);
    assert_string_equal(text, "kept");
}

static void a_member_of_another_kind_is_an_error_that_names_both(UNUSED void **state)
{
    int64_t number = 7;
    const char *text = "kept";
    open_form("{\"a\":\"1\",\"b\":1,\"c\":{},\"d\":true,\"e\":null}", "");
    assert_false(request_body_integer(&form, "a", FORM_OPTIONAL, 0, 9, &number));
    assert_false(request_body_text(&form, "b", FORM_REQUIRED, 0, 9, &text));
    assert_null(request_body_array(&form, "c", FORM_REQUIRED, 0, 9));
    assert_false(request_body_text_or_null(&form, "d", 0, 9, &text));
    assert_false(request_body_text(&form, "e", FORM_OPTIONAL, 0, 9, &text));
    assert_errors("a: must be a number, is a string|b: must be a string, is a number|"
                  "c: must be an array, is an object|d: must be a string, is a boolean|"
                  "e: must be a string, is null|");
    assert_int_equal(number, 7);
    assert_string_equal(text, "kept");
}

static bool takes_integer(const char *json)
{
    int64_t number = 7;
    char text[64];
    snprintf(text, sizeof text, "{\"n\":%s}", json);
    open_form(text, "");
    bool taken = request_body_integer(&form, "n", FORM_REQUIRED, -3, 100, &number);
    assert_errors(taken ? "" : "n: must be an integer from -3 to 100|");
    assert_true(taken || number == 7);
    return taken;
}

static void an_integer_lies_within_its_bounds(UNUSED void **state)
{
    assert_true(takes_integer("-3"));
    assert_true(takes_integer("100"));
    assert_true(takes_integer("1e1"));
    assert_false(takes_integer("-4"));
    assert_false(takes_integer("101"));
    assert_false(takes_integer("1.5"));
    assert_false(takes_integer("9007199254740993"));
    assert_false(takes_integer("1e400"));
}

/* How many errors the text gives where 2 to 4 characters are wanted. */
static int text_errors(const char *json)
{
    const char *text = NULL;
    char object[128];
    snprintf(object, sizeof object, "{\"t\":\"%s\"}", json);
    open_form(object, "");
    bool taken = request_body_text(&form, "t", FORM_REQUIRED, 2, 4, &text);
    assert_int_equal(taken, text != NULL);
    assert_int_equal(taken, errors.count == 0);
    return errors.count;
}

static void a_text_is_measured_in_characters_not_bytes(UNUSED void **state)
{
    assert_int_equal(text_errors("ab"), 0);
    assert_int_equal(text_errors("\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC"), 0);
    assert_int_equal(text_errors("\\ud83d\\ude00\\ud83d\\ude00"), 0);
    assert_int_equal(text_errors("\xE2\x82\xAC"), 1);
    assert_errors("t: must have 2 to 4 characters, has 1|");
    assert_int_equal(text_errors("abcde"), 1);
    assert_errors("t: must have 2 to 4 characters, has 5|");
    assert_int_equal(text_errors(""), 1);
}

static void a_text_has_no_control_characters(UNUSED void **state)
{
    static const char *const BAD[] = {"a\\u0001b", "a\\n", "\\tb", "ab\\u007f", "a\\u001fb"};
    for (size_t i = 0; i < ARRAY_LENGTH(BAD); i++) {
        assert_int_equal(text_errors(BAD[i]), 1);
        assert_errors("t: must not have control characters|");
    }
    assert_int_equal(text_errors(" ~"), 0);
}

/* U+0085 and U+009B are control characters too (Unicode's category Cc); a terminal may obey them.
 */
static void a_text_has_no_control_characters_above_ascii_either(UNUSED void **state)
{
    assert_int_equal(text_errors("a\\u0085b"), 1);
    assert_int_equal(text_errors("a\\u009bb"), 1);
    assert_int_equal(text_errors("a\\u00a0b"), 0);
}

static void a_text_or_null_is_checked_like_a_text(UNUSED void **state)
{
    const char *text = NULL;
    open_form("{\"a\":\"abc\",\"b\":\"abcd\",\"c\":\"\\n\"}", "");
    assert_true(request_body_text_or_null(&form, "a", 1, 3, &text));
    assert_string_equal(text, "abc");
    assert_false(request_body_text_or_null(&form, "b", 1, 3, &text));
    assert_false(request_body_text_or_null(&form, "c", 1, 3, &text));
    assert_string_equal(text, "abc");
    assert_int_equal(errors.count, 2);
}

static void an_array_has_as_many_elements_as_wanted(UNUSED void **state)
{
    open_form("{\"a\":[],\"b\":[1],\"c\":[1,2,3],\"d\":[1,2,3,4]}", "");
    assert_null(request_body_array(&form, "a", FORM_REQUIRED, 1, 3));
    assert_non_null(request_body_array(&form, "b", FORM_REQUIRED, 1, 3));
    assert_non_null(request_body_array(&form, "c", FORM_REQUIRED, 1, 3));
    assert_null(request_body_array(&form, "d", FORM_OPTIONAL, 1, 3));
    assert_errors("a: must have 1 to 3 elements, has 0|d: must have 1 to 3 elements, has 4|");
}

static void a_member_that_nobody_asked_for_is_an_error_at_the_close(UNUSED void **state)
{
    int64_t number = 0;
    const char *text = NULL;
    open_form("{\"n\":1,\"N\":1,\"extra\":null,\"t\":null,\"w\":7}", "");
    assert_true(request_body_integer(&form, "n", FORM_REQUIRED, 0, 9, &number));
    assert_true(request_body_text_or_null(&form, "t", 0, 9, &text));
    assert_false(request_body_text(&form, "w", FORM_OPTIONAL, 0, 9, &text));
    assert_int_equal(errors.count, 1);
    request_body_close(&form);
    assert_errors("w: must be a string, is a number|N: is not a known field|"
                  "extra: is not a known field|");
}

static void every_error_bears_the_forms_prefix(UNUSED void **state)
{
    int64_t number = 0;
    open_form("{\"x\":1}", "items[3].");
    assert_false(request_body_integer(&form, "quantity", FORM_REQUIRED, 1, 9, &number));
    request_body_close(&form);
    assert_errors("items[3].quantity: is required|items[3].x: is not a known field|");
}

static void a_value_that_is_no_object_is_one_error_and_every_call_does_nothing(UNUSED void **state)
{
    int64_t number = 7;
    const char *text = "kept";
    open_form("[1]", "");
    assert_false(request_body_integer(&form, "a", FORM_REQUIRED, 0, 9, &number));
    assert_false(request_body_text(&form, "b", FORM_REQUIRED, 0, 9, &text));
    assert_false(request_body_text_or_null(&form, "c", 0, 9, &text));
    assert_null(request_body_array(&form, "d", FORM_REQUIRED, 0, 9));
    request_body_close(&form);
    assert_errors(": must be an object, is an array|");
    open_form("7", "items[0].");
    request_body_close(&form);
    assert_errors("items[0]: must be an object, is a number|");
}

static void as_many_members_may_be_asked_for_as_the_limit_says(UNUSED void **state)
{
    static const char *const NAMES[FORM_MEMBERS_MAX] = {"a", "b", "c", "d", "e", "f",
                                                        "g", "h", "i", "j", "k", "l"};
    int64_t number = 0;
    open_form("{\"a\":0,\"h\":7}", "");
    for (int i = 0; i < FORM_MEMBERS_MAX; i++)
        request_body_integer(&form, NAMES[i], FORM_OPTIONAL, 0, 9, &number);
    request_body_close(&form);
    assert_errors("");
    assert_int_equal(number, 7);
}

static void a_long_unknown_name_is_told_in_whole_characters(UNUSED void **state)
{
    char name[80] = "", text[100];
    memset(name, 'x', 63);
    strcat(name, "\xC3\xA4");
    snprintf(text, sizeof text, "{\"%s\":1}", name);
    open_form(text, "");
    request_body_close(&form);
    assert_contains(buf_text(&errors.json), "xxx");
    assert_true(utf8_length(buf_text(&errors.json), errors.json.size) > 0);
}

static void a_text_of_nothing_but_spaces_is_blank(UNUSED void **state)
{
    open_form("{\"a\":1}", "x.");
    request_body_refuse_blank(&form, "a", NULL);
    request_body_refuse_blank(&form, "a", " a ");
    request_body_refuse_blank(&form, "a", "\u3000\u00E9");
    assert_int_equal(errors.count, 0);
    request_body_refuse_blank(&form, "a", "");
    request_body_refuse_blank(&form, "a", " \u00A0\u2003");
    assert_int_equal(errors.count, 2);
    assert_contains(buf_text(&errors.json), "\"x.a\"");
}

static void a_member_that_is_refused_is_told_why_and_once(UNUSED void **state)
{
    open_form("{\"a\":1}", "");
    request_body_refuse_member(&form, "b", "no");
    request_body_refuse_member(&form, "a", "goes elsewhere");
    request_body_close(&form);
    assert_int_equal(errors.count, 1);
    assert_contains(buf_text(&errors.json), "goes elsewhere");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_right_form_sets_every_variable_and_adds_no_error),
        TEST(a_missing_member_is_an_error_only_if_it_is_required),
        TEST(a_member_of_another_kind_is_an_error_that_names_both),
        TEST(an_integer_lies_within_its_bounds),
        TEST(a_text_is_measured_in_characters_not_bytes),
        TEST(a_text_has_no_control_characters),
        TEST(a_text_has_no_control_characters_above_ascii_either),
        TEST(a_text_or_null_is_checked_like_a_text),
        TEST(an_array_has_as_many_elements_as_wanted),
        TEST(a_member_that_nobody_asked_for_is_an_error_at_the_close),
        TEST(every_error_bears_the_forms_prefix),
        TEST(a_value_that_is_no_object_is_one_error_and_every_call_does_nothing),
        TEST(as_many_members_may_be_asked_for_as_the_limit_says),
        TEST(a_long_unknown_name_is_told_in_whole_characters),
        TEST(a_text_of_nothing_but_spaces_is_blank),
        TEST(a_member_that_is_refused_is_told_why_and_once),
    };
    return RUN_TESTS(argc, argv, tests);
}
