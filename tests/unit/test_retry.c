#include "core/retry.h"

#include "tests/support/unit.h"

/* Hands out one number again and again. */
struct die {
    struct random_source source;
    uint64_t number;
};

static void roll(void *context, void *ret_bytes, size_t size)
{
    const struct die *die = context;
    assert_int_equal(size, sizeof die->number);
    *(uint64_t *)ret_bytes = die->number;
}

/* What the next wait is when the random number is `number`. */
static int64_t next_ms(struct retry *retry, uint64_t number)
{
    struct die die = {.number = number};
    die.source = (struct random_source){.fill = roll, .context = &die};
    return retry_next_ms(retry, &die.source);
}

/* The longest wait that can be drawn, and no more: the number is the last of a whole round of
 * outcomes, so any other bound than the expected one gives another wait. */
static void assert_longest(struct retry *retry, int64_t longest_ms)
{
    uint64_t outcomes = (uint64_t)longest_ms + 1;
    assert_int_equal(next_ms(retry, 2 * outcomes - 1), longest_ms);
}

static struct retry retry_of(int64_t base_ms, int64_t cap_ms)
{
    struct retry retry;
    retry_init(&retry, &(struct retry_options){.base_ms = base_ms, .cap_ms = cap_ms});
    return retry;
}

static void the_longest_wait_doubles_up_to_the_cap(UNUSED void **state)
{
    struct retry retry = retry_of(100, 3000);
    static const int64_t LONGEST_MS[] = {100, 200, 400, 800, 1600, 3000, 3000, 3000};
    for (size_t i = 0; i < ARRAY_LENGTH(LONGEST_MS); i++)
        assert_longest(&retry, LONGEST_MS[i]);
}

static void every_wait_down_to_none_can_be_drawn(UNUSED void **state)
{
    struct retry retry = retry_of(3, 3);
    for (int64_t wait_ms = 0; wait_ms <= 3; wait_ms++)
        assert_int_equal(next_ms(&retry, 4 + (uint64_t)wait_ms), wait_ms);
}

static void waits_spread_evenly(UNUSED void **state)
{
    struct retry retry = retry_of(9, 9);
    int drawn[10] = {0};
    for (int i = 0; i < 10000; i++) {
        int64_t wait_ms = retry_next_ms(&retry, &random_system);
        assert_in_range(wait_ms, 0, 9);
        drawn[wait_ms]++;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(drawn); i++)
        assert_in_range(drawn[i], 800, 1200); /* ± 6.7 standard deviations */
}

static void a_reset_starts_from_the_base_again(UNUSED void **state)
{
    struct retry retry = retry_of(10, 1000);
    for (int i = 0; i < 50; i++)
        assert_in_range(next_ms(&retry, UINT64_MAX), 0, 1000);
    retry_reset(&retry);
    assert_longest(&retry, 10);
    assert_longest(&retry, 20);
}

static void the_cap_holds_however_often_it_is_tried(UNUSED void **state)
{
    struct retry retry = retry_of(1, 1000);
    for (int i = 0; i < 10; i++)
        assert_longest(&retry, 1 << i);
    for (int i = 0; i < 1000; i++)
        assert_longest(&retry, 1000);
}

static void a_cap_like_the_base_makes_every_wait_alike(UNUSED void **state)
{
    struct retry retry = retry_of(7, 7);
    for (int i = 0; i < 100; i++)
        assert_longest(&retry, 7);
}

static void the_largest_values_overflow_nothing(UNUSED void **state)
{
    struct retry retry = retry_of(1, INT64_MAX);
    for (int i = 0; i < 62; i++)
        assert_longest(&retry, INT64_C(1) << i);
    for (int i = 0; i < 10; i++)
        assert_in_range(next_ms(&retry, UINT64_MAX), 0, INT64_MAX);
    retry = retry_of(INT64_MAX, INT64_MAX);
    for (int i = 0; i < 100; i++)
        assert_int_equal(next_ms(&retry, UINT64_MAX), INT64_MAX);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_wait_doubles_up_to_the_cap),
        cmocka_unit_test(every_wait_down_to_none_can_be_drawn),
        cmocka_unit_test(waits_spread_evenly),
        cmocka_unit_test(a_reset_starts_from_the_base_again),
        cmocka_unit_test(the_cap_holds_however_often_it_is_tried),
        cmocka_unit_test(a_cap_like_the_base_makes_every_wait_alike),
        cmocka_unit_test(the_largest_values_overflow_nothing),
    };
    return RUN_TESTS(argc, argv, tests);
}
