#include "tests/support/unit.h"

#include "appliance/order.h"
#include "appliance/product.h"

static void assert_price(const struct order_line *lines, size_t count, enum result expected,
                         int64_t expected_minor)
{
    struct order order;
    assert_ok(order_init(&order, count));
    for (size_t i = 0; i < count; i++)
        order.lines[i] = lines[i];
    assert_int_equal(order_price(&order), expected);
    assert_int_equal(order.total_minor, expected_minor);
    order_done(&order);
}

#define ASSERT_PRICE(expected, expected_minor, ...)                                  \
    assert_price((const struct order_line[]){__VA_ARGS__},                           \
                 ARRAY_LENGTH(((const struct order_line[]){__VA_ARGS__})), expected, \
                 expected_minor)

static void a_new_order_has_room_for_its_lines_and_nothing_else(UNUSED void **state)
{
    struct order order;
    assert_ok(order_init(&order, ORDER_LINES_MAX));
    assert_int_equal(order.line_count, ORDER_LINES_MAX);
    assert_int_equal(order.lines[ORDER_LINES_MAX - 1].quantity, 0);
    assert_int_equal(order.order_id, 0);
    assert_int_equal(order.status, ORDER_CREATED);
    assert_int_equal(order.cancelled_at_ms, 0);
    order_done(&order);
    assert_null(order.lines);
    order_done(&order);
}

static void an_order_without_lines_costs_nothing(UNUSED void **state)
{
    struct order order;
    assert_ok(order_init(&order, 0));
    assert_ok(order_price(&order));
    assert_int_equal(order.total_minor, 0);
    order_done(&order);
}

static void the_total_is_the_sum_of_the_lines(UNUSED void **state)
{
    ASSERT_PRICE(RESULT_OK, 0, {1, 5, 0});
    ASSERT_PRICE(RESULT_OK, 1998, {1, 2, 999});
    ASSERT_PRICE(RESULT_OK, 2003, {1, 2, 999}, {2, 5, 1});
    ASSERT_PRICE(RESULT_OK, 3, {1, 1, 1}, {1, 1, 1}, {1, 1, 1});
}

static void a_total_may_be_the_largest_exact_integer_and_no_more(UNUSED void **state)
{
    ASSERT_PRICE(RESULT_OK, ORDER_TOTAL_MAX_MINOR, {1, 1, ORDER_TOTAL_MAX_MINOR});
    ASSERT_PRICE(RESULT_OK, ORDER_TOTAL_MAX_MINOR, {1, 1, ORDER_TOTAL_MAX_MINOR - 1}, {2, 1, 1});
    ASSERT_PRICE(RESULT_TOO_LARGE, 0, {1, 1, ORDER_TOTAL_MAX_MINOR + 1});
    ASSERT_PRICE(RESULT_TOO_LARGE, 0, {1, 1, ORDER_TOTAL_MAX_MINOR}, {2, 1, 1});
}

static void a_total_that_overflows_is_too_large(UNUSED void **state)
{
    ASSERT_PRICE(RESULT_TOO_LARGE, 0, {1, ORDER_QUANTITY_MAX, PRODUCT_PRICE_MAX_MINOR});
    ASSERT_PRICE(RESULT_TOO_LARGE, 0, {1, 2, INT64_MAX});
    ASSERT_PRICE(RESULT_TOO_LARGE, 0, {1, INT64_MAX, INT64_MAX});
    ASSERT_PRICE(RESULT_TOO_LARGE, 0, {1, 1, 1}, {2, 1, INT64_MAX});
}

static void an_order_is_cancelled_once(UNUSED void **state)
{
    struct order order;
    assert_ok(order_init(&order, 1));
    assert_ok(order_cancel(&order, 7));
    assert_int_equal(order.status, ORDER_CANCELLED);
    assert_int_equal(order.cancelled_at_ms, 7);
    assert_int_equal(order_cancel(&order, 8), RESULT_CONFLICT);
    assert_int_equal(order.status, ORDER_CANCELLED);
    assert_int_equal(order.cancelled_at_ms, 7);
    order_done(&order);
}

static void a_status_has_a_word(UNUSED void **state)
{
    assert_string_equal(order_status_text(ORDER_CREATED), "created");
    assert_string_equal(order_status_text(ORDER_CANCELLED), "cancelled");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_order_has_room_for_its_lines_and_nothing_else),
        cmocka_unit_test(an_order_without_lines_costs_nothing),
        cmocka_unit_test(the_total_is_the_sum_of_the_lines),
        cmocka_unit_test(a_total_may_be_the_largest_exact_integer_and_no_more),
        cmocka_unit_test(a_total_that_overflows_is_too_large),
        cmocka_unit_test(an_order_is_cancelled_once),
        cmocka_unit_test(a_status_has_a_word),
    };
    return RUN_TESTS(argc, argv, tests);
}
