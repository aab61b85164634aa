#include "tests/support/unit.h"

#include "appliance/command.h"

#include <stdio.h>
#include <string.h>

#include "appliance/stock.h"
#include "core/db.h"
#include "tests/support/appliance_fixture.h"

static struct fixture fixture;
static struct error cause;

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    cause = (struct error){0};
    assert_ok(fixture_open(&fixture, NULL));
    return 0;
}

static int tear_down(UNUSED void **state)
{
    fixture_done(&fixture);
    return 0;
}

/* Executes in a transaction of its own, and undoes what is refused or fails. */
static enum result execute(struct request *request)
{
    struct journal *journal = fixture.journal;
    assert_ok(journal_begin(journal, NULL));
    assert_ok(journal_savepoint(journal, NULL));
    enum result result = command_execute(&request->command, journal, FIXTURE_NOW_MS, &cause);
    if (result == RESULT_OK)
        assert_ok(journal_release(journal, NULL));
    else
        assert_ok(journal_rollback_to_savepoint(journal, NULL));
    assert_ok(journal_commit(journal, NULL));
    return result;
}

static const char *body_of(const struct request *request)
{
    return buf_text(&request->reply.body);
}

static void assert_done(struct request *request, int status, const char *body)
{
    assert_ok(execute(request));
    assert_int_equal(request->reply.status, status);
    assert_string_equal(request->reply.content_type, "application/json");
    assert_string_equal(body_of(request), body);
    assert_true(request->command.has_event);
    request_free(request);
}

static void assert_refused(struct request *request, int status, const char *part)
{
    assert_int_equal(execute(request), RESULT_REFUSED);
    assert_int_equal(request->reply.status, status);
    assert_string_equal(request->reply.content_type, "application/problem+json");
    assert_contains(body_of(request), part);
    assert_false(request->command.has_event);
    assert_string_equal(request->reply.location, "");
    request_free(request);
}

static void do_once(struct request *request)
{
    assert_ok(execute(request));
    request_free(request);
}

static void create_product(int64_t stock, int64_t price_minor)
{
    do_once(request_product(&fixture, "iPhone", stock, price_minor));
}

static int64_t stock_of(int64_t product_id)
{
    int64_t stock = -1, price_minor = 0;
    assert_ok(journal_find_stock(fixture.journal, product_id, &stock, &price_minor, NULL));
    return stock;
}

/* Whether event `sequence` is of this type and carries exactly these bytes as its data. */
static void assert_event(int64_t sequence, const char *type, const char *data)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM events WHERE sequence = %lld AND event_type = '%s'"
             " AND payload ->> '$.data' = '%s'",
             (long long)sequence, type, data);
    assert_int_equal(fixture_ask(&fixture, sql), 1);
}

static void assert_nothing_happened_since(int64_t sequence)
{
    assert_int_equal(journal_head(fixture.journal).sequence, sequence);
    fixture_audit(&fixture);
}

static struct request *order_of_lines(int64_t user_id, const struct order_line *lines, size_t count)
{
    struct request *request = request_order(&fixture, user_id, 1, 1);
    struct order *order = &request->command.input.order;
    order_done(order);
    assert_ok(order_init(order, count));
    order->user_id = user_id;
    memcpy(order->lines, lines, count * sizeof *lines);
    request->command.order_is_list = true;
    return request;
}

#define LINES(...)                            \
    (const struct order_line[]){__VA_ARGS__}, \
        ARRAY_LENGTH(((const struct order_line[]){__VA_ARGS__}))

static void an_order_sells_at_the_present_price_and_takes_stock(UNUSED void **state)
{
    create_product(50, 99900);
    struct request *request = request_order(&fixture, 5, 1, 2);
    assert_ok(execute(request));
    assert_int_equal(request->reply.status, 201);
    assert_string_equal(request->reply.location, "/orders/1");
    assert_string_equal(
        body_of(request),
        "{\"id\":1,\"user_id\":5,\"product_id\":1,\"quantity\":2,\"status\":\"created\",\"items\":"
        "[{\"product_id\":1,\"quantity\":2,\"unit_price\":99900}],\"total\":199800,"
        "\"created_at\":\"2026-01-31T09:05:00.250Z\"}");
    request_free(request);
    assert_int_equal(stock_of(1), 48);
    assert_event(2, "order.created",
                 "{\"order_id\":1,\"user_id\":5,\"status\":\"created\",\"items\":"
                 "[{\"product_id\":1,\"quantity\":2,\"unit_price\":99900}],\"total\":199800}");
    fixture_audit(&fixture);
}

static void a_command_tells_which_event_it_appended(UNUSED void **state)
{
    create_product(50, 0);
    struct request *request = request_order(&fixture, 5, 1, 1);
    assert_ok(execute(request));
    assert_true(request->command.has_event);
    assert_int_equal(request->command.event.sequence, 2);
    assert_string_equal(request->command.event.event_type, EVENT_ORDER_CREATED);
    request_free(request);
}

static void an_order_of_several_lines_takes_from_each_product(UNUSED void **state)
{
    create_product(10, 100);
    create_product(10, 1);
    do_once(order_of_lines(5, LINES({1, 2, 0}, {2, 3, 0}, {1, 4, 0})));
    assert_int_equal(stock_of(1), 4);
    assert_int_equal(stock_of(2), 7);
    assert_int_equal(fixture_ask(&fixture, "SELECT total FROM orders"), 603);
    fixture_audit(&fixture);
}

static void an_order_may_have_a_thousand_lines(UNUSED void **state)
{
    static struct order_line lines[ORDER_LINES_MAX];
    create_product(STOCK_MAX, 1);
    for (int i = 0; i < ORDER_LINES_MAX; i++)
        lines[i] = (struct order_line){.product_id = 1, .quantity = 1000000};
    do_once(order_of_lines(5, lines, ORDER_LINES_MAX));
    assert_int_equal(stock_of(1), 0);
    do_once(request_cancel(&fixture, 1));
    assert_int_equal(stock_of(1), STOCK_MAX);
    fixture_audit(&fixture);
}

static void a_product_that_is_not_there_is_named_by_its_field(UNUSED void **state)
{
    create_product(10, 100);
    assert_refused(request_order(&fixture, 5, 2, 1), 422, "\"field\":\"product_id\"");
    assert_refused(order_of_lines(5, LINES({1, 2, 0}, {2, 3, 0})), 422,
                   "\"field\":\"items[1].product_id\"");
    assert_int_equal(stock_of(1), 10);
    assert_nothing_happened_since(1);
}

static void an_order_for_more_than_there_is_says_what_is_available(UNUSED void **state)
{
    create_product(10, 100);
    assert_refused(request_order(&fixture, 5, 1, 11), 409,
                   "\"product_id\":1,\"requested\":11,\"available\":10}");
    assert_refused(order_of_lines(5, LINES({1, 6, 0}, {1, 5, 0})), 409,
                   "\"requested\":5,\"available\":4}");
    assert_int_equal(stock_of(1), 10);
    assert_nothing_happened_since(1);
    do_once(request_order(&fixture, 5, 1, 10));
    assert_refused(request_order(&fixture, 5, 1, 1), 409, "\"available\":0}");
}

static void a_total_that_is_too_large_is_invalid(UNUSED void **state)
{
    create_product(STOCK_MAX, PRODUCT_PRICE_MAX_MINOR);
    assert_refused(request_order(&fixture, 5, 1, ORDER_QUANTITY_MAX), 422,
                   "\"field\":\"quantity\"");
    assert_refused(order_of_lines(5, LINES({1, ORDER_QUANTITY_MAX, 0}, {1, 1, 0})), 422,
                   "\"field\":\"items\"");
    assert_int_equal(stock_of(1), STOCK_MAX);
    assert_nothing_happened_since(1);
}

static void a_cancellation_gives_the_stock_back_once(UNUSED void **state)
{
    create_product(50, 99900);
    do_once(request_order(&fixture, 5, 1, 2));
    assert_done(request_cancel(&fixture, 1), 200,
                "{\"id\":1,\"user_id\":5,\"product_id\":1,\"quantity\":2,\"status\":\"cancelled\","
                "\"items\":[{\"product_id\":1,\"quantity\":2,\"unit_price\":99900}],"
                "\"total\":199800,\"created_at\":\"2026-01-31T09:05:00.250Z\","
                "\"cancelled_at\":\"2026-01-31T09:05:00.250Z\"}");
    assert_int_equal(stock_of(1), 50);
    assert_event(3, "order.cancelled",
                 "{\"order_id\":1,\"user_id\":5,\"status\":\"cancelled\",\"items\":"
                 "[{\"product_id\":1,\"quantity\":2,\"unit_price\":99900}],\"total\":199800}");
    assert_refused(request_cancel(&fixture, 1), 409, "already-cancelled");
    assert_int_equal(stock_of(1), 50);
    assert_nothing_happened_since(3);
}

static void an_order_that_is_not_there_can_not_be_cancelled(UNUSED void **state)
{
    assert_refused(request_cancel(&fixture, 1), 404, "there is no order 1");
    assert_nothing_happened_since(0);
}

static void a_cancellation_that_does_not_fit_into_stock_is_refused(UNUSED void **state)
{
    create_product(STOCK_MAX, 1);
    do_once(request_order(&fixture, 5, 1, 2));
    do_once(request_adjustment(&fixture, 1, 1));
    assert_refused(request_cancel(&fixture, 1), 409, "can't hold 2 more");
    assert_int_equal(stock_of(1), STOCK_MAX - 1);
    assert_nothing_happened_since(3);
}

static void a_new_product_is_answered_whole(UNUSED void **state)
{
    struct request *request = request_product(&fixture, "iPhone", 50, 99900);
    strcpy(request->command.input.product.sku, "T-1");
    assert_ok(execute(request));
    assert_int_equal(request->reply.status, 201);
    assert_string_equal(request->reply.location, "/products/1");
    assert_string_equal(body_of(request),
                        "{\"product_id\":1,\"product_name\":\"iPhone\",\"stock\":50,"
                        "\"price\":99900,\"sku\":\"T-1\","
                        "\"updated_at\":\"2026-01-31T09:05:00.250Z\"}");
    request_free(request);
    assert_event(1, "product.created",
                 "{\"product_id\":1,\"product_name\":\"iPhone\",\"stock\":50,\"price\":99900,"
                 "\"sku\":\"T-1\"}");
}

static struct request *request_change(const struct product_change *change)
{
    struct request *request = request_adjustment(&fixture, 0, 0);
    command_init(&request->command, COMMAND_UPDATE_PRODUCT, &request->reply);
    request->command.input.change = *change;
    return request;
}

static void a_sku_that_is_taken_is_a_conflict(UNUSED void **state)
{
    for (int i = 0; i < 2; i++) {
        struct request *request = request_product(&fixture, "iPhone", 50, 99900);
        strcpy(request->command.input.product.sku, "T-1");
        if (i == 0)
            do_once(request);
        else
            assert_refused(request, 409, "another product has this sku");
    }
    create_product(1, 1);
    const struct product_change change = {2, .has_sku = true, .to.sku = "T-1"};
    assert_refused(request_change(&change), 409, "another product has this sku");
    assert_nothing_happened_since(2);
}

static void a_change_touches_only_what_it_names(UNUSED void **state)
{
    struct product_change change = {.product_id = 1,
                                    .to = {.name = "Phone", .price_minor = 5, .sku = "T-1"}};
    create_product(50, 99900);
    change.has_sku = true;
    assert_done(request_change(&change), 200,
                "{\"product_id\":1,\"product_name\":\"iPhone\",\"stock\":50,\"price\":99900,"
                "\"sku\":\"T-1\",\"updated_at\":\"2026-01-31T09:05:00.250Z\"}");
    change.has_sku = false;
    change.has_name = change.has_price = true;
    do_once(request_change(&change));
    assert_event(3, "product.updated",
                 "{\"product_id\":1,\"product_name\":\"Phone\",\"stock\":50,\"price\":5,"
                 "\"sku\":\"T-1\"}");
    change = (struct product_change){.product_id = 1, .has_sku = true};
    do_once(request_change(&change));
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM products WHERE sku IS NULL"), 1);
    change.product_id = 2;
    assert_refused(request_change(&change), 404, "there is no product 2");
}

static void an_order_keeps_the_price_it_was_sold_at(UNUSED void **state)
{
    const struct product_change change = {1, .has_price = true, .to.price_minor = 1};
    create_product(50, 99900);
    do_once(request_order(&fixture, 5, 1, 1));
    do_once(request_change(&change));
    do_once(request_cancel(&fixture, 1));
    assert_int_equal(fixture_ask(&fixture, "SELECT total FROM orders"), 99900);
    fixture_audit(&fixture);
}

static void stock_is_adjusted_with_its_reason(UNUSED void **state)
{
    create_product(50, 1);
    assert_done(request_adjustment(&fixture, 1, -50), 200,
                "{\"product_id\":1,\"product_name\":\"iPhone\",\"stock\":0,\"price\":1,"
                "\"sku\":null,\"updated_at\":\"2026-01-31T09:05:00.250Z\"}");
    assert_event(2, "stock.adjusted",
                 "{\"product_id\":1,\"delta\":-50,\"reason\":\"counted\",\"stock\":0}");
    fixture_audit(&fixture);
}

static void stock_is_adjusted_within_its_bounds(UNUSED void **state)
{
    create_product(50, 1);
    assert_refused(request_adjustment(&fixture, 1, -51), 409, "\"requested\":51,\"available\":50}");
    assert_refused(request_adjustment(&fixture, 1, STOCK_MAX), 409, "at most 1000000000");
    assert_refused(request_adjustment(&fixture, 2, 1), 404, "there is no product 2");
    assert_int_equal(stock_of(1), 50);
    assert_nothing_happened_since(1);
}

static void only_orders_and_cancellations_are_sales(UNUSED void **state)
{
    struct command command;
    static const enum command_kind KINDS[] = {COMMAND_CREATE_ORDER, COMMAND_CANCEL_ORDER,
                                              COMMAND_CREATE_PRODUCT, COMMAND_UPDATE_PRODUCT,
                                              COMMAND_ADJUST_STOCK};
    for (size_t i = 0; i < ARRAY_LENGTH(KINDS); i++) {
        command_init(&command, KINDS[i], NULL);
        assert_int_equal(command_is_sale(&command), i < 2);
        command_done(&command);
    }
}

static void run_sql(const char *sql)
{
    struct db *db = NULL;
    char path[JOURNAL_PATH_SIZE];
    journal_path(fixture.folder.path, path);
    fixture_crash(&fixture);
    assert_ok(db_open(path, DB_WRITER, &db, NULL));
    assert_ok(db_exec(db, sql, NULL));
    db_close(db);
    assert_ok(fixture_open(&fixture, NULL));
}

static void assert_cancel_finds_damage(void)
{
    struct request *request = request_cancel(&fixture, 1);
    assert_int_equal(execute(request), RESULT_CORRUPT);
    assert_string_not_equal(cause.text, "");
    request_free(request);
}

static void an_order_whose_items_are_damaged_fails_with_the_cause(UNUSED void **state)
{
    create_product(50, 1);
    do_once(request_order(&fixture, 5, 1, 1));
    run_sql("UPDATE orders SET items = '[{]'");
    assert_cancel_finds_damage();
}

static void an_order_whose_product_is_lost_fails_with_the_cause(UNUSED void **state)
{
    create_product(50, 1);
    do_once(request_order(&fixture, 5, 1, 1));
    run_sql("DELETE FROM products");
    assert_cancel_finds_damage();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(an_order_sells_at_the_present_price_and_takes_stock),
        TEST(a_command_tells_which_event_it_appended),
        TEST(an_order_of_several_lines_takes_from_each_product),
        TEST(an_order_may_have_a_thousand_lines),
        TEST(a_product_that_is_not_there_is_named_by_its_field),
        TEST(an_order_for_more_than_there_is_says_what_is_available),
        TEST(a_total_that_is_too_large_is_invalid),
        TEST(a_cancellation_gives_the_stock_back_once),
        TEST(an_order_that_is_not_there_can_not_be_cancelled),
        TEST(a_cancellation_that_does_not_fit_into_stock_is_refused),
        TEST(a_new_product_is_answered_whole),
        TEST(a_sku_that_is_taken_is_a_conflict),
        TEST(a_change_touches_only_what_it_names),
        TEST(an_order_keeps_the_price_it_was_sold_at),
        TEST(stock_is_adjusted_with_its_reason),
        TEST(stock_is_adjusted_within_its_bounds),
        TEST(only_orders_and_cancellations_are_sales),
        TEST(an_order_whose_items_are_damaged_fails_with_the_cause),
        TEST(an_order_whose_product_is_lost_fails_with_the_cause),
    };
    return RUN_TESTS(argc, argv, tests);
}
