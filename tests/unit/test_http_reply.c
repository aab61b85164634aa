#include "core/http/http_reply.h"

#include <string.h>

#include "core/json.h"
#include "core/utf8.h"
#include "tests/support/unit.h"

static struct http_reply reply;
static struct field_errors errors;

static int set_up(UNUSED void **state)
{
    http_reply_init(&reply);
    field_errors_init(&errors);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    http_reply_done(&reply);
    field_errors_done(&errors);
    return 0;
}

static void assert_body(const char *expected)
{
    assert_ok(buf_result(&reply.body));
    assert_string_equal(buf_text(&reply.body), expected);
}

static void assert_body_is_json(void)
{
    struct error error = {0};
    assert_ok(buf_result(&reply.body));
    if (json_check_syntax(buf_text(&reply.body), reply.body.size, &error) != RESULT_OK)
        fail_msg("the body is no JSON: %s", error.text);
}

static void a_new_reply_is_an_empty_200_of_json(UNUSED void **state)
{
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.content_type, "application/json");
    assert_body("");
    assert_string_equal(reply.location, "");
    assert_null(reply.allow);
    assert_null(reply.authenticate);
    assert_int_equal(reply.retry_after_s, 0);
    assert_false(reply.close);
}

static void a_body_may_be_as_large_as_the_limit(UNUSED void **state)
{
    static char megabyte[1 << 20];
    for (int i = 0; i < 8; i++)
        buf_append(&reply.body, megabyte, sizeof megabyte);
    assert_ok(buf_result(&reply.body));
    buf_append(&reply.body, "x", 1);
    assert_int_equal(buf_result(&reply.body), RESULT_TOO_LARGE);
}

static void a_problem_has_type_title_status_and_detail(UNUSED void **state)
{
    reply_problem(&reply, PROBLEM_NOT_FOUND, "there is no order %d", 7);
    assert_int_equal(reply.status, 404);
    assert_string_equal(reply.content_type, "application/problem+json");
    assert_body("{\"type\":\"urn:tillbox:problem:not-found\",\"title\":\"There is no such thing\","
                "\"status\":404,\"detail\":\"there is no order 7\"}");
}

static void every_problem_has_its_own_type_and_an_errors_status(UNUSED void **state)
{
    static const struct {
        enum problem problem;
        int status;
        const char *type;
    } CASES[] = {
#define X(word, status, type, title) {word, status, "\"urn:tillbox:problem:" type "\""},
        PROBLEM_TABLE(X)
#undef X
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        reply_problem(&reply, CASES[i].problem, "x");
        assert_int_equal(reply.status, CASES[i].status);
        assert_in_range(reply.status, 400, 599);
        assert_contains(buf_text(&reply.body), CASES[i].type);
        assert_body_is_json();
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(CASES[i].type, CASES[j].type);
    }
}

static void a_problem_replaces_what_the_reply_was(UNUSED void **state)
{
    reply.status = 201;
    buf_append_text(&reply.body, "{\"half\":");
    reply_problem(&reply, PROBLEM_BUSY, "later");
    reply_problem(&reply, PROBLEM_INTERNAL, "x");
    assert_int_equal(reply.status, 500);
    assert_body("{\"type\":\"urn:tillbox:problem:internal\",\"title\":\"Something is wrong with "
                "the box\",\"status\":500,\"detail\":\"x\"}");
}

static void a_detail_is_escaped(UNUSED void **state)
{
    reply_problem(&reply, PROBLEM_MALFORMED, "%s", "say \"\n\"");
    assert_contains(buf_text(&reply.body), "\"detail\":\"say \\\"\\u000a\\\"\"");
}

static void a_long_detail_is_cut_between_characters(UNUSED void **state)
{
    char detail[1001] = "";
    for (int i = 0; i < 333; i++)
        strcat(detail, "\xE2\x82\xAC");
    reply_problem(&reply, PROBLEM_MALFORMED, "%s", detail);
    assert_true(reply.body.size > 400);
    assert_body_is_json();
}

static void wrong_fields_are_told_together(UNUSED void **state)
{
    field_errors_add(&errors, "user_id", "is required");
    field_errors_add(&errors, "items[2].quantity", "must be %d to %d", 1, 9);
    assert_int_equal(errors.count, 2);
    reply_invalid(&reply, &errors);
    assert_int_equal(reply.status, 422);
    assert_string_equal(reply.content_type, "application/problem+json");
    assert_body("{\"type\":\"urn:tillbox:problem:invalid\",\"title\":\"The request is not valid\","
                "\"status\":422,\"detail\":\"2 fields are wrong\",\"errors\":["
                "{\"field\":\"user_id\",\"detail\":\"is required\"},"
                "{\"field\":\"items[2].quantity\",\"detail\":\"must be 1 to 9\"}]}");
}

static void one_wrong_field_is_told_in_the_singular(UNUSED void **state)
{
    field_errors_add(&errors, "a\"b", "is not a known field");
    reply_invalid(&reply, &errors);
    assert_contains(buf_text(&reply.body), "\"detail\":\"1 field is wrong\",\"errors\":["
                                           "{\"field\":\"a\\\"b\",");
    assert_body_is_json();
}

static int count_told(void)
{
    struct json *document = NULL;
    int count = 0;
    assert_ok(json_parse(buf_text(&reply.body), reply.body.size, &document, NULL));
    const struct json *first = json_first(json_member(document, "errors"));
    for (const struct json *item = first; item; item = json_next(item))
        count++;
    json_free(document);
    return count;
}

static void fields_past_the_limit_are_counted_but_not_told(UNUSED void **state)
{
    for (int i = 0; i < FIELD_ERRORS_MAX; i++)
        field_errors_add(&errors, "a", "is wrong");
    reply_invalid(&reply, &errors);
    assert_int_equal(count_told(), FIELD_ERRORS_MAX);
    field_errors_add(&errors, "b", "is wrong");
    reply_invalid(&reply, &errors);
    assert_int_equal(errors.count, FIELD_ERRORS_MAX + 1);
    assert_int_equal(count_told(), FIELD_ERRORS_MAX);
    assert_contains(buf_text(&reply.body), "51 fields are wrong");
}

static void errors_that_outgrow_their_buffer_still_make_an_answer(UNUSED void **state)
{
    char quotes[1001];
    memset(quotes, '"', sizeof quotes - 1);
    quotes[sizeof quotes - 1] = '\0';
    for (int i = 0; i < FIELD_ERRORS_MAX; i++)
        field_errors_add(&errors, quotes, "%s", quotes);
    reply_invalid(&reply, &errors);
    assert_int_equal(reply.status, 422);
    assert_contains(buf_text(&reply.body), "50 fields are wrong");
    assert_in_range(count_told(), 1, FIELD_ERRORS_MAX - 1);
    assert_body_is_json();
}

static void a_field_that_fits_is_told_after_one_that_does_not(UNUSED void **state)
{
    static char name[FIELD_ERRORS_SIZE_MAX + 1];
    memset(name, 'x', sizeof name - 1);
    field_errors_add(&errors, name, "is wrong");
    field_errors_add(&errors, "a", "is wrong");
    reply_invalid(&reply, &errors);
    assert_int_equal(count_told(), 1);
    assert_contains(buf_text(&reply.body), "[{\"field\":\"a\"");
    assert_contains(buf_text(&reply.body), "2 fields are wrong");
}

static void a_lack_of_stock_is_told_in_numbers(UNUSED void **state)
{
    reply_insufficient_stock(&reply, 3, 10, 4);
    assert_int_equal(reply.status, 409);
    assert_body("{\"type\":\"urn:tillbox:problem:insufficient-stock\",\"title\":\"There is not "
                "enough in stock\",\"status\":409,\"detail\":\"product 3: 10 requested, 4 "
                "available\",\"product_id\":3,\"requested\":10,\"available\":4}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_reply_is_an_empty_200_of_json),
        TEST(a_body_may_be_as_large_as_the_limit),
        TEST(a_problem_has_type_title_status_and_detail),
        TEST(every_problem_has_its_own_type_and_an_errors_status),
        TEST(a_problem_replaces_what_the_reply_was),
        TEST(a_detail_is_escaped),
        TEST(a_long_detail_is_cut_between_characters),
        TEST(wrong_fields_are_told_together),
        TEST(one_wrong_field_is_told_in_the_singular),
        TEST(fields_past_the_limit_are_counted_but_not_told),
        TEST(errors_that_outgrow_their_buffer_still_make_an_answer),
        TEST(a_field_that_fits_is_told_after_one_that_does_not),
        TEST(a_lack_of_stock_is_told_in_numbers),
    };
    return RUN_TESTS(argc, argv, tests);
}
