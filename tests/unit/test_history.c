#include "appliance/history.h"

#include "tests/support/appliance_fixture.h"
#include "tests/support/unit.h"

enum { TEXT_MAX = 16384 };

static const int64_t SPAN_MS = HISTORY_SPAN_S * 1000;
static struct fixture fixture;
static struct history *history;
static struct buf text;
static struct json *written;

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    buf_init(&text, TEXT_MAX);
    assert_ok(fixture_start(&fixture, NULL));
    assert_int_equal(request_do_once(request_product(&fixture, "bread", 500, 250)), 201);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    json_free(written);
    written = NULL;
    history_free(history);
    history = NULL;
    buf_done(&text);
    fixture_done(&fixture);
    return 0;
}

static int64_t now_ms(void)
{
    return clock_wall_ms(&fixture.clock.clock);
}

static void open_history(void)
{
    assert_ok(history_new(fixture.folder.path, now_ms(), &history, NULL));
}

static void add(int64_t sales, int64_t cancellations, int64_t backlog)
{
    const struct history_totals totals = {sales, cancellations, backlog};
    history_add(history, now_ms(), &totals);
}

static void write_history(void)
{
    struct json_writer writer;
    buf_clear(&text);
    json_writer_init(&writer, &text);
    json_begin_object(&writer, NULL);
    history_write(history, now_ms(), &writer);
    json_end_object(&writer);
    json_free(written);
    assert_ok(json_parse(buf_text(&text), text.size, &written, NULL));
}

/* The count `back` spans before the present one; -1 for null. */
static int64_t count(const char *name, int back)
{
    int64_t number = -1;
    const struct json *value = json_first(json_member(written, name));
    for (int i = 0; i < HISTORY_SPANS - 1 - back; i++)
        value = json_next(value);
    if (json_kind(value) == JSON_NUMBER)
        assert_ok(json_integer(value, &number));
    return number;
}

static int64_t length(const char *name)
{
    int64_t values = 0;
    for (const struct json *value = json_first(json_member(written, name)); value;
         value = json_next(value))
        values++;
    return values;
}

static void counts_go_into_the_span_they_belong_to(UNUSED void **state)
{
    open_history();
    add(3, 1, 7);
    fake_clock_advance(&fixture.clock, SPAN_MS);
    add(5, 1, 2);
    add(9, 2, 1);
    write_history();
    assert_int_equal(count("sales", 1), 3);
    assert_int_equal(count("sales", 0), 6);
    assert_int_equal(count("cancellations", 1), 1);
    assert_int_equal(count("cancellations", 0), 1);
    assert_int_equal(count("backlog", 1), 7);
    assert_int_equal(count("backlog", 0), 2);
}

static void every_array_has_a_value_for_each_span(UNUSED void **state)
{
    open_history();
    write_history();
    assert_int_equal(length("sales"), HISTORY_SPANS);
    assert_int_equal(length("cancellations"), HISTORY_SPANS);
    assert_int_equal(length("backlog"), HISTORY_SPANS);
    assert_int_equal(count("sales", 40), 0);
    assert_int_equal(count("backlog", 40), -1);
}

static void what_is_too_old_is_forgotten(UNUSED void **state)
{
    open_history();
    add(3, 0, 1);
    fake_clock_advance(&fixture.clock, SPAN_MS * HISTORY_SPANS);
    add(4, 0, -1);
    write_history();
    assert_int_equal(count("sales", 0), 1);
    for (int back = 1; back < HISTORY_SPANS; back++)
        assert_int_equal(count("sales", back), 0);
    assert_int_equal(count("backlog", 0), -1);
}

static void a_clock_that_is_set_back_does_no_harm(UNUSED void **state)
{
    open_history();
    add(3, 0, 1);
    fake_clock_advance(&fixture.clock, -2 * SPAN_MS);
    add(5, 0, 1);
    write_history();
    assert_int_equal(count("sales", 0), 2);
    assert_int_equal(length("sales"), HISTORY_SPANS);
}

static void sales_of_before_the_start_come_from_the_journal(UNUSED void **state)
{
    for (int i = 0; i < 4; i++)
        assert_int_equal(request_do_once(request_order(&fixture, 1, 1, 1)), 201);
    assert_int_equal(request_do_once(request_cancel(&fixture, 2)), 200);
    fake_clock_advance(&fixture.clock, 3 * SPAN_MS);
    assert_int_equal(request_do_once(request_order(&fixture, 1, 1, 1)), 201);
    open_history();
    write_history();
    assert_int_equal(count("sales", 3), 4);
    assert_int_equal(count("sales", 0), 1);
    assert_int_equal(count("cancellations", 3), 1);
    assert_int_equal(count("backlog", 0), -1);
    add(2, 0, 0);
    write_history();
    assert_int_equal(count("sales", 0), 3);
}

static void without_a_journal_there_is_no_history(UNUSED void **state)
{
    assert_int_not_equal(history_new("/nowhere", now_ms(), &history, NULL), RESULT_OK);
    assert_null(history);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(counts_go_into_the_span_they_belong_to),
        TEST(every_array_has_a_value_for_each_span),
        TEST(what_is_too_old_is_forgotten),
        TEST(a_clock_that_is_set_back_does_no_harm),
        TEST(sales_of_before_the_start_come_from_the_journal),
        TEST(without_a_journal_there_is_no_history),
    };
    return RUN_TESTS(argc, argv, tests);
}
