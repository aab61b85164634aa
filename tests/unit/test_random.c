#include "core/random.h"

#include <string.h>

#include "tests/support/fake_random.h"
#include "tests/support/unit.h"

static void the_kernels_bytes_differ_from_draw_to_draw(UNUSED void **state)
{
    uint8_t first[32] = {0}, second[32] = {0};
    random_fill(&random_system, first, sizeof first);
    random_fill(&random_system, second, sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
}

static void a_long_fill_reaches_the_last_byte_and_not_beyond(UNUSED void **state)
{
    static uint8_t bytes[100001];
    bytes[100000] = 0xA5;
    random_fill(&random_system, bytes, 100000);
    assert_int_equal(bytes[100000], 0xA5);
    static const uint8_t NOTHING[32];
    assert_memory_not_equal(bytes + 100000 - sizeof NOTHING, NOTHING, sizeof NOTHING);
}

static void filling_nothing_changes_nothing(UNUSED void **state)
{
    uint8_t byte = 0xA5;
    random_fill(&random_system, &byte, 0);
    assert_int_equal(byte, 0xA5);
}

/* What random_below() makes of these draws; all must be used up. */
static uint64_t below(uint64_t bound, const uint64_t *draws, size_t count)
{
    struct fake_random fake;
    fake_random_init(&fake, draws, count * sizeof *draws);
    uint64_t value = random_below(&fake.source, bound);
    assert_int_equal(fake.drawn, count * sizeof *draws);
    return value;
}

#define BELOW(bound, ...) \
    below(bound, (const uint64_t[]){__VA_ARGS__}, ARRAY_LENGTH(((const uint64_t[]){__VA_ARGS__})))

static void a_draw_is_brought_below_the_bound(UNUSED void **state)
{
    assert_int_equal(BELOW(1, 7), 0);
    assert_int_equal(BELOW(10, 127), 7);
    assert_int_equal(BELOW(10, UINT64_MAX), 5);
    assert_int_equal(BELOW(UINT64_MAX, 12345), 12345);
}

/* 2^64 mod 3 is 1 and 2^64 mod 10 is 6: one and six draws too many for the small results. */
static void a_draw_that_would_make_small_results_likelier_is_made_again(UNUSED void **state)
{
    assert_int_equal(BELOW(3, 0, 5), 2);
    assert_int_equal(BELOW(3, 1), 1);
    assert_int_equal(BELOW(10, 5, 0, 3, 6), 6);
    assert_int_equal(BELOW((UINT64_C(1) << 63) + 1, (UINT64_C(1) << 63) - 2, UINT64_C(1) << 63),
                     UINT64_C(1) << 63);
}

static void a_power_of_two_takes_every_draw(UNUSED void **state)
{
    assert_int_equal(BELOW(8, 0), 0);
    assert_int_equal(BELOW(UINT64_C(1) << 63, 0), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernels_bytes_differ_from_draw_to_draw),
        cmocka_unit_test(a_long_fill_reaches_the_last_byte_and_not_beyond),
        cmocka_unit_test(filling_nothing_changes_nothing),
        cmocka_unit_test(a_draw_is_brought_below_the_bound),
        cmocka_unit_test(a_draw_that_would_make_small_results_likelier_is_made_again),
        cmocka_unit_test(a_power_of_two_takes_every_draw),
    };
    return RUN_TESTS(argc, argv, tests);
}
