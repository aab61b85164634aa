#include "tests/support/unit.h"

#include "appliance/stock.h"

static const int64_t UNTOUCHED = -77;

static void assert_moves(int64_t stock, int64_t delta, int64_t expected)
{
    int64_t moved = UNTOUCHED;
    assert_ok(stock_move(stock, delta, &moved));
    assert_int_equal(moved, expected);
}

static void assert_refused(int64_t stock, int64_t delta, enum result expected)
{
    int64_t moved = UNTOUCHED;
    assert_int_equal(stock_move(stock, delta, &moved), expected);
    assert_int_equal(moved, UNTOUCHED);
}

static void stock_movements_both_ways(UNUSED void **state)
{
    assert_moves(50, -1, 49);
    assert_moves(49, 1, 50);
    assert_moves(7, 0, 7);
}

static void stock_can_be_used_up_but_never_goes_below_zero(UNUSED void **state)
{
    assert_moves(5, -5, 0);
    assert_moves(0, 0, 0);
    assert_refused(5, -6, RESULT_CONFLICT);
    assert_refused(0, -1, RESULT_CONFLICT);
    assert_refused(STOCK_MAX, -(int64_t)STOCK_MAX - 1, RESULT_CONFLICT);
}

static void stock_can_be_filled_up_but_never_goes_above_its_bound(UNUSED void **state)
{
    assert_moves(0, STOCK_MAX, STOCK_MAX);
    assert_moves(STOCK_MAX, -STOCK_MAX, 0);
    assert_moves(STOCK_MAX, 0, STOCK_MAX);
    assert_refused(STOCK_MAX, 1, RESULT_TOO_LARGE);
    assert_refused(1, STOCK_MAX, RESULT_TOO_LARGE);
}

static void a_delta_of_any_size_is_refused_for_the_right_reason(UNUSED void **state)
{
    assert_refused(0, INT64_MAX, RESULT_TOO_LARGE);
    assert_refused(STOCK_MAX, INT64_MAX, RESULT_TOO_LARGE);
    assert_refused(0, INT64_MIN, RESULT_CONFLICT);
    assert_refused(STOCK_MAX, INT64_MIN, RESULT_CONFLICT);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stock_movements_both_ways),
        cmocka_unit_test(stock_can_be_used_up_but_never_goes_below_zero),
        cmocka_unit_test(stock_can_be_filled_up_but_never_goes_above_its_bound),
        cmocka_unit_test(a_delta_of_any_size_is_refused_for_the_right_reason),
    };
    return RUN_TESTS(argc, argv, tests);
}
