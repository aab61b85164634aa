#include "tests/support/unit.h"

#include "appliance/queries.h"

#include <stdio.h>

#include "core/db.h"
#include "tests/support/appliance_fixture.h"

enum { ANSWER_MAX = 4 << 20, ORDERS = 7 };

static struct fixture fixture;
static struct queries *queries;
static struct buf answer;
static struct json_writer writer;
static struct json *document;

/* Orders 1 to 7 of users 1 to 7, of which 2 and 5 are cancelled, and two products. */
static int set_up(UNUSED void **state)
{
    static const int64_t CANCELLED[] = {2, 5};
    fixture_init(&fixture);
    assert_ok(fixture_start(&fixture, NULL));
    assert_int_equal(request_do_once(request_product(&fixture, "iPhone", 50, 999)), 201);
    assert_int_equal(request_do_once(request_product(&fixture, "second", 1, 1)), 201);
    for (int i = 1; i <= ORDERS; i++)
        assert_int_equal(request_do_once(request_order(&fixture, i, 1, 1)), 201);
    for (size_t i = 0; i < ARRAY_LENGTH(CANCELLED); i++)
        assert_int_equal(request_do_once(request_cancel(&fixture, CANCELLED[i])), 200);
    assert_ok(queries_open(fixture.folder.path, &queries, NULL));
    buf_init(&answer, ANSWER_MAX);
    json_writer_init(&writer, &answer);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    queries_close(queries);
    queries = NULL;
    json_free(document);
    document = NULL;
    buf_done(&answer);
    fixture_done(&fixture);
    return 0;
}

static void begin_answer(void)
{
    buf_clear(&answer);
    json_writer_init(&writer, &answer);
}

static void parse_answer(void)
{
    struct error error = {0};
    json_free(document);
    document = NULL;
    assert_ok(buf_result(&answer));
    enum result result = json_parse(answer.bytes, answer.size, &document, &error);
    assert_string_equal(error.text, "");
    assert_ok(result);
}

static int64_t number_of(const struct json *object, const char *name)
{
    int64_t number = 0;
    assert_non_null(json_member(object, name));
    assert_ok(json_integer(json_member(object, name), &number));
    return number;
}

/* The ids of the page and where the next one starts, as "1 2 3 | 3". */
static const char *summary(const char *list, const char *id)
{
    static char text[4096];
    size_t length = 0;
    parse_answer();
    const struct json *items = json_member(document, list);
    assert_non_null(items);
    for (const struct json *item = json_first(items); item; item = json_next(item))
        length += (size_t)snprintf(text + length, sizeof text - length, "%lld ",
                                   (long long)number_of(item, id));
    const struct json *next = json_member(document, "next_after");
    assert_non_null(next);
    if (json_kind(next) == JSON_NULL)
        snprintf(text + length, sizeof text - length, "| null");
    else
        snprintf(text + length, sizeof text - length, "| %lld",
                 (long long)number_of(document, "next_after"));
    return text;
}

static const char *page_of_orders(enum order_filter filter, int64_t after, int64_t limit)
{
    const struct page page = {after, limit};
    begin_answer();
    assert_ok(queries_orders(queries, filter, &page, &writer, NULL));
    return summary("orders", "id");
}

static const char *page_of_products(int64_t after, int64_t limit)
{
    const struct page page = {after, limit};
    begin_answer();
    assert_ok(queries_products(queries, &page, &writer, NULL));
    return summary("products", "product_id");
}

static void an_order_reads_as_it_was_answered(UNUSED void **state)
{
    assert_ok(queries_order(queries, 1, &writer, NULL));
    assert_string_equal(buf_text(&answer),
                        "{\"id\":1,\"user_id\":1,\"product_id\":1,\"quantity\":1,"
                        "\"status\":\"created\",\"items\":[{\"product_id\":1,\"quantity\":1,"
                        "\"unit_price\":999}],\"total\":999,"
                        "\"created_at\":\"2026-01-31T09:05:00.250Z\"}");
    begin_answer();
    assert_ok(queries_order(queries, 2, &writer, NULL));
    assert_contains(buf_text(&answer), "\"status\":\"cancelled\"");
    assert_contains(buf_text(&answer), "\"cancelled_at\":\"2026-01-31T09:05:00.250Z\"}");
}

static void a_product_reads_as_it_was_answered(UNUSED void **state)
{
    assert_ok(queries_product(queries, 2, &writer, NULL));
    assert_string_equal(buf_text(&answer),
                        "{\"product_id\":2,\"product_name\":\"second\",\"stock\":1,\"price\":1,"
                        "\"sku\":null,\"updated_at\":\"2026-01-31T09:05:00.250Z\"}");
}

static void what_is_not_there_is_not_found_and_writes_nothing(UNUSED void **state)
{
    assert_int_equal(queries_order(queries, ORDERS + 1, &writer, NULL), RESULT_NOT_FOUND);
    assert_int_equal(queries_order(queries, 0, &writer, NULL), RESULT_NOT_FOUND);
    assert_int_equal(queries_product(queries, 3, &writer, NULL), RESULT_NOT_FOUND);
    assert_int_equal(answer.size, 0);
    assert_ok(queries_order(queries, ORDERS, &writer, NULL));
}

static void a_page_holds_up_to_its_limit_and_says_where_the_next_starts(UNUSED void **state)
{
    assert_string_equal(page_of_orders(ORDERS_ALL, 0, 3), "1 2 3 | 3");
    assert_string_equal(page_of_orders(ORDERS_ALL, 3, 3), "4 5 6 | 6");
    assert_string_equal(page_of_orders(ORDERS_ALL, 6, 3), "7 | null");
    assert_string_equal(page_of_orders(ORDERS_ALL, 0, 1), "1 | 1");
    assert_string_equal(page_of_products(0, 1), "1 | 1");
    assert_string_equal(page_of_products(1, 1), "2 | null");
}

static void a_page_that_ends_with_the_last_row_has_no_next(UNUSED void **state)
{
    assert_string_equal(page_of_orders(ORDERS_ALL, 0, ORDERS), "1 2 3 4 5 6 7 | null");
    assert_string_equal(page_of_orders(ORDERS_ALL, 0, ORDERS - 1), "1 2 3 4 5 6 | 6");
    assert_string_equal(page_of_orders(ORDERS_ALL, 0, QUERIES_PAGE_MAX), "1 2 3 4 5 6 7 | null");
    assert_string_equal(page_of_products(0, 2), "1 2 | null");
}

static void after_the_last_row_a_page_is_empty(UNUSED void **state)
{
    assert_string_equal(page_of_orders(ORDERS_ALL, ORDERS, 3), "| null");
    assert_string_equal(page_of_orders(ORDERS_ALL, JSON_INTEGER_MAX, 3), "| null");
    assert_string_equal(page_of_products(2, 3), "| null");
}

static void a_filter_takes_only_orders_of_its_status(UNUSED void **state)
{
    assert_string_equal(page_of_orders(ORDERS_CREATED, 0, 3), "1 3 4 | 4");
    assert_string_equal(page_of_orders(ORDERS_CREATED, 4, 3), "6 7 | null");
    assert_string_equal(page_of_orders(ORDERS_CANCELLED, 0, 1), "2 | 2");
    assert_string_equal(page_of_orders(ORDERS_CANCELLED, 2, 1), "5 | null");
    assert_string_equal(page_of_orders(ORDERS_CANCELLED, 5, 1), "| null");
}

static void a_reader_sees_every_commit(UNUSED void **state)
{
    assert_int_equal(request_do_once(request_order(&fixture, 8, 1, 1)), 201);
    assert_string_equal(page_of_orders(ORDERS_ALL, ORDERS, 3), "8 | null");
    assert_int_equal(request_do_once(request_cancel(&fixture, 8)), 200);
    assert_string_equal(page_of_orders(ORDERS_CANCELLED, ORDERS, 3), "8 | null");
}

static void a_finished_query_does_not_hold_the_writer_up(UNUSED void **state)
{
    assert_string_equal(page_of_orders(ORDERS_ALL, 0, 1), "1 | 1");
    assert_ok(fixture_stop(&fixture, NULL));
    assert_ok(fixture_start(&fixture, NULL));
    assert_int_equal(request_do_once(request_order(&fixture, 8, 1, 1)), 201);
    assert_string_equal(page_of_orders(ORDERS_ALL, ORDERS, 1), "8 | null");
}

static void submit_wide_order(int64_t user_id)
{
    struct request *request = request_order(&fixture, user_id, 1, 1);
    struct order *order = &request->command.input.order;
    order_done(order);
    assert_ok(order_init(order, ORDER_LINES_MAX));
    order->user_id = user_id;
    for (size_t i = 0; i < order->line_count; i++)
        order->lines[i] = (struct order_line){.product_id = 1, .quantity = 1};
    assert_int_equal(request_do_once(request), 201);
}

static void a_page_of_large_orders_ends_early_and_the_next_goes_on(UNUSED void **state)
{
    enum { WIDE = 30, WIDE_BYTES_MAX = 100000 };
    struct page page = {ORDERS, QUERIES_PAGE_MAX};
    int64_t id = ORDERS, pages = 0;
    assert_int_equal(request_do_once(request_adjustment(&fixture, 1, 1000000)), 200);
    for (int i = 0; i < WIDE; i++)
        submit_wide_order(100 + i);
    for (bool more = true; more; pages++) {
        begin_answer();
        assert_ok(queries_orders(queries, ORDERS_ALL, &page, &writer, NULL));
        assert_in_range(answer.size, 1, QUERIES_PAGE_BYTES + WIDE_BYTES_MAX);
        parse_answer();
        const struct json *item = json_first(json_member(document, "orders"));
        for (; item; item = json_next(item))
            assert_int_equal(number_of(item, "id"), ++id);
        more = json_kind(json_member(document, "next_after")) != JSON_NULL;
        page.after = more ? number_of(document, "next_after") : 0;
        assert_int_equal(page.after, more ? id : 0);
    }
    assert_int_equal(id, ORDERS + WIDE);
    assert_int_equal(pages, 2);
}

static void a_reader_can_not_write(UNUSED void **state)
{
    struct db *db = NULL;
    char path[FOLDER_PATH_SIZE];
    folder_file(&fixture.folder, "journal.db", path);
    assert_ok(db_open(path, DB_READER, &db, NULL));
    assert_int_equal(db_exec(db, "DELETE FROM orders", NULL), RESULT_DENIED);
    db_close(db);
}

static void a_damaged_order_is_an_error_with_its_cause(UNUSED void **state)
{
    struct db *db = NULL;
    struct error error = {0};
    char path[FOLDER_PATH_SIZE];
    const struct page page = {0, 10};
    assert_ok(fixture_stop(&fixture, NULL));
    folder_file(&fixture.folder, "journal.db", path);
    assert_ok(db_open(path, DB_WRITER, &db, NULL));
    assert_ok(db_exec(db, "UPDATE orders SET items = '[{]' WHERE order_id = 3", NULL));
    db_close(db);
    assert_int_equal(queries_order(queries, 3, &writer, &error), RESULT_CORRUPT);
    assert_contains(error.text, "order 3");
    begin_answer();
    assert_int_equal(queries_orders(queries, ORDERS_ALL, &page, &writer, &error), RESULT_CORRUPT);
    begin_answer();
    assert_ok(queries_order(queries, 1, &writer, &error));
}

static void a_folder_without_a_journal_is_an_error(UNUSED void **state)
{
    struct error error = {0};
    struct queries *none = NULL;
    assert_int_equal(queries_open("/nowhere/at/all", &none, &error), RESULT_NOT_FOUND);
    assert_null(none);
    assert_string_not_equal(error.text, "");
    queries_close(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(an_order_reads_as_it_was_answered),
        TEST(a_product_reads_as_it_was_answered),
        TEST(what_is_not_there_is_not_found_and_writes_nothing),
        TEST(a_page_holds_up_to_its_limit_and_says_where_the_next_starts),
        TEST(a_page_that_ends_with_the_last_row_has_no_next),
        TEST(after_the_last_row_a_page_is_empty),
        TEST(a_filter_takes_only_orders_of_its_status),
        TEST(a_reader_sees_every_commit),
        TEST(a_finished_query_does_not_hold_the_writer_up),
        TEST(a_page_of_large_orders_ends_early_and_the_next_goes_on),
        TEST(a_reader_can_not_write),
        TEST(a_damaged_order_is_an_error_with_its_cause),
        TEST(a_folder_without_a_journal_is_an_error),
    };
    return RUN_TESTS(argc, argv, tests);
}
