#include "core/breaker.h"

#include "tests/support/unit.h"

static const int64_t NOW_MS = 5000; /* of a clock that began long ago */

static struct breaker breaker_of(int trip_after, int close_after, int64_t cool_down_ms)
{
    struct breaker breaker;
    breaker_init(&breaker, &(struct breaker_options){.trip_after = trip_after,
                                                     .close_after = close_after,
                                                     .cool_down_ms = cool_down_ms});
    return breaker;
}

static uint64_t admit(struct breaker *breaker, int64_t now_ms)
{
    uint64_t generation = 0;
    assert_ok(breaker_admit(breaker, now_ms, &generation));
    return generation;
}

static void assert_refuses(struct breaker *breaker, int64_t now_ms)
{
    uint64_t generation = 77;
    assert_int_equal(breaker_admit(breaker, now_ms, &generation), RESULT_BUSY);
    assert_int_equal(generation, 77);
}

/* A call that is admitted and ends at once. */
static void call(struct breaker *breaker, bool success, int64_t now_ms)
{
    uint64_t generation = admit(breaker, now_ms);
    breaker_report(breaker, generation, success, now_ms);
}

static void trip(struct breaker *breaker, int64_t now_ms)
{
    for (int i = 0; i < breaker->options.trip_after; i++)
        call(breaker, false, now_ms);
    assert_int_equal(breaker->state, BREAKER_OPEN);
}

static void a_new_breaker_is_closed_and_lets_everything_through(UNUSED void **state)
{
    struct breaker breaker = breaker_of(3, 1, 100);
    assert_int_equal(breaker_state(&breaker, NOW_MS), BREAKER_CLOSED);
    assert_int_equal(breaker_wait_ms(&breaker, NOW_MS), 0);
    for (int i = 0; i < 100; i++)
        admit(&breaker, NOW_MS);
}

static void it_opens_after_so_many_failures_in_a_row(UNUSED void **state)
{
    struct breaker breaker = breaker_of(3, 1, 100);
    call(&breaker, false, NOW_MS);
    call(&breaker, false, NOW_MS);
    assert_int_equal(breaker_state(&breaker, NOW_MS), BREAKER_CLOSED);
    call(&breaker, false, NOW_MS);
    assert_int_equal(breaker_state(&breaker, NOW_MS), BREAKER_OPEN);
    assert_refuses(&breaker, NOW_MS);
}

static void a_success_in_between_starts_the_count_anew(UNUSED void **state)
{
    struct breaker breaker = breaker_of(2, 1, 100);
    for (int i = 0; i < 10; i++) {
        call(&breaker, false, NOW_MS);
        call(&breaker, true, NOW_MS);
    }
    assert_int_equal(breaker_state(&breaker, NOW_MS), BREAKER_CLOSED);
    call(&breaker, false, NOW_MS);
    call(&breaker, false, NOW_MS);
    assert_int_equal(breaker_state(&breaker, NOW_MS), BREAKER_OPEN);
}

static void it_stays_open_for_the_cool_down_and_not_longer(UNUSED void **state)
{
    struct breaker breaker = breaker_of(1, 1, 100);
    trip(&breaker, NOW_MS);
    assert_int_equal(breaker_wait_ms(&breaker, NOW_MS), 100);
    assert_int_equal(breaker_wait_ms(&breaker, NOW_MS + 60), 40);
    assert_refuses(&breaker, NOW_MS + 99);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 99), BREAKER_OPEN);
    assert_int_equal(breaker_wait_ms(&breaker, NOW_MS + 99), 1);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 100), BREAKER_HALF_OPEN);
    assert_int_equal(breaker_wait_ms(&breaker, NOW_MS + 100), 0);
    admit(&breaker, NOW_MS + 100);
    assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
}

static void asking_for_the_state_changes_nothing(UNUSED void **state)
{
    struct breaker breaker = breaker_of(1, 1, 100);
    trip(&breaker, NOW_MS);
    uint64_t generation = breaker.generation;
    assert_int_equal(breaker_state(&breaker, NOW_MS + 1000), BREAKER_HALF_OPEN);
    assert_int_equal(breaker.state, BREAKER_OPEN);
    assert_int_equal(breaker.generation, generation);
}

static void half_open_lets_as_many_through_as_must_succeed(UNUSED void **state)
{
    struct breaker breaker = breaker_of(1, 2, 100);
    trip(&breaker, NOW_MS);
    uint64_t first = admit(&breaker, NOW_MS + 100), second = admit(&breaker, NOW_MS + 100);
    assert_int_equal(first, second);
    assert_refuses(&breaker, NOW_MS + 100);
    breaker_report(&breaker, first, true, NOW_MS + 110);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 110), BREAKER_HALF_OPEN);
    breaker_report(&breaker, second, true, NOW_MS + 110);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 110), BREAKER_CLOSED);
    admit(&breaker, NOW_MS + 110);
}

static void any_failure_while_half_open_opens_it_again(UNUSED void **state)
{
    struct breaker breaker = breaker_of(5, 3, 100);
    trip(&breaker, NOW_MS);
    call(&breaker, true, NOW_MS + 100);
    call(&breaker, false, NOW_MS + 150);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 150), BREAKER_OPEN);
    assert_refuses(&breaker, NOW_MS + 249);
    admit(&breaker, NOW_MS + 250);
}

static void the_way_back_starts_from_nothing_each_time(UNUSED void **state)
{
    struct breaker breaker = breaker_of(1, 2, 100);
    trip(&breaker, NOW_MS);
    call(&breaker, true, NOW_MS + 100);
    call(&breaker, false, NOW_MS + 100);
    call(&breaker, true, NOW_MS + 200);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 200), BREAKER_HALF_OPEN);
    call(&breaker, true, NOW_MS + 200);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 200), BREAKER_CLOSED);
}

static void once_closed_it_takes_all_failures_to_open_it(UNUSED void **state)
{
    struct breaker breaker = breaker_of(3, 1, 100);
    trip(&breaker, NOW_MS);
    call(&breaker, true, NOW_MS + 100);
    call(&breaker, false, NOW_MS + 100);
    call(&breaker, false, NOW_MS + 100);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 100), BREAKER_CLOSED);
    call(&breaker, false, NOW_MS + 100);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 100), BREAKER_OPEN);
}

static void late_results_of_an_earlier_generation_count_for_nothing(UNUSED void **state)
{
    struct breaker breaker = breaker_of(1, 1, 100);
    uint64_t closed = admit(&breaker, NOW_MS);
    trip(&breaker, NOW_MS);
    breaker_report(&breaker, closed, true, NOW_MS + 10);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 10), BREAKER_OPEN);
    uint64_t half_open = admit(&breaker, NOW_MS + 100);
    breaker_report(&breaker, closed, false, NOW_MS + 100);
    breaker_report(&breaker, closed, true, NOW_MS + 100);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 100), BREAKER_HALF_OPEN);
    breaker_report(&breaker, half_open, true, NOW_MS + 100);
    breaker_report(&breaker, half_open, false, NOW_MS + 100);
    assert_int_equal(breaker_state(&breaker, NOW_MS + 100), BREAKER_CLOSED);
}

static void a_failure_that_comes_late_doesn_t_prolong_the_cool_down(UNUSED void **state)
{
    struct breaker breaker = breaker_of(1, 1, 100);
    uint64_t first = admit(&breaker, NOW_MS), second = admit(&breaker, NOW_MS);
    breaker_report(&breaker, first, false, NOW_MS);
    breaker_report(&breaker, second, false, NOW_MS + 90);
    breaker_report(&breaker, breaker.generation, false, NOW_MS + 90);
    admit(&breaker, NOW_MS + 100);
}

static void without_a_cool_down_the_next_call_may_try(UNUSED void **state)
{
    struct breaker breaker = breaker_of(1, 1, 0);
    trip(&breaker, NOW_MS);
    assert_int_equal(breaker_wait_ms(&breaker, NOW_MS), 0);
    call(&breaker, true, NOW_MS);
    assert_int_equal(breaker_state(&breaker, NOW_MS), BREAKER_CLOSED);
}

static void a_state_has_a_word(UNUSED void **state)
{
    assert_string_equal(breaker_state_text(BREAKER_CLOSED), "closed");
    assert_string_equal(breaker_state_text(BREAKER_OPEN), "open");
    assert_string_equal(breaker_state_text(BREAKER_HALF_OPEN), "half-open");
}

/* Every sequence of so many acts, for every small choice of options: after each act the header's
 * promises hold. */
enum { ACTS = 7, COOL_DOWN_MS = 2 };
enum act { ACT_ADMIT, ACT_SUCCESS, ACT_FAILURE, ACT_LATE_SUCCESS, ACT_LATE_FAILURE, ACT_TICK };
enum { ACT_COUNT = ACT_TICK + 1 };

/* A breaker, and what an onlooker has written down. */
struct trial {
    struct breaker breaker;
    int64_t now_ms;
    uint64_t generation; /* of the last call that was admitted */
    bool under_way;      /* … whose result may come yet */
    int failures;        /* in a row, reported in this generation */
    int successes;       /* reported in this generation */
    int admitted;        /* in this generation */
    int64_t opened_at_ms;
};

static void begin_generation(struct trial *trial)
{
    trial->failures = trial->successes = trial->admitted = 0;
    trial->opened_at_ms = trial->now_ms;
}

static void try_admit(struct trial *trial)
{
    struct breaker *breaker = &trial->breaker;
    enum breaker_state before = breaker_state(breaker, trial->now_ms);
    bool cooled_down = breaker->state == BREAKER_OPEN && before == BREAKER_HALF_OPEN;
    if (cooled_down) {
        assert_in_range(trial->now_ms - trial->opened_at_ms, COOL_DOWN_MS, INT32_MAX);
        begin_generation(trial);
    }
    bool expected = before == BREAKER_CLOSED ||
                    (before == BREAKER_HALF_OPEN && trial->admitted < breaker->options.close_after);
    bool admitted = breaker_admit(breaker, trial->now_ms, &trial->generation) == RESULT_OK;
    assert_int_equal(admitted, expected);
    assert_int_equal(breaker->state, before);
    trial->admitted += admitted;
    trial->under_way = trial->under_way || admitted;
}

static enum breaker_state state_after(struct trial *trial, bool success)
{
    const struct breaker_options *options = &trial->breaker.options;
    trial->failures = success ? 0 : trial->failures + 1;
    trial->successes += success;
    if (trial->breaker.state == BREAKER_CLOSED)
        return trial->failures >= options->trip_after ? BREAKER_OPEN : BREAKER_CLOSED;
    if (!success)
        return BREAKER_OPEN;
    return trial->successes >= options->close_after ? BREAKER_CLOSED : BREAKER_HALF_OPEN;
}

static void try_report(struct trial *trial, bool success)
{
    struct breaker *breaker = &trial->breaker;
    enum breaker_state before = breaker->state, expected = before;
    if (!trial->under_way)
        return;
    if (trial->generation == breaker->generation)
        expected = state_after(trial, success);
    breaker_report(breaker, trial->generation, success, trial->now_ms);
    assert_int_equal(breaker->state, expected);
    if (breaker->state != before)
        begin_generation(trial);
    trial->under_way = false;
}

static void try_late_report(struct trial *trial, bool success)
{
    struct breaker before = trial->breaker;
    breaker_report(&trial->breaker, before.generation - 1, success, trial->now_ms);
    assert_memory_equal(&trial->breaker, &before, sizeof before);
}

static void do_act(struct trial *trial, enum act act)
{
    enum breaker_state before = trial->breaker.state;
    uint64_t generation = trial->breaker.generation;
    switch (act) {
    case ACT_ADMIT:
        try_admit(trial);
        break;
    case ACT_SUCCESS:
    case ACT_FAILURE:
        try_report(trial, act == ACT_SUCCESS);
        break;
    case ACT_LATE_SUCCESS:
    case ACT_LATE_FAILURE:
        try_late_report(trial, act == ACT_LATE_SUCCESS);
        break;
    case ACT_TICK:
        trial->now_ms++;
        break;
    }
    assert_int_equal(trial->breaker.generation, generation + (trial->breaker.state != before));
}

static void run_trial(int trip_after, int close_after, int number)
{
    struct trial trial = {.breaker = breaker_of(trip_after, close_after, COOL_DOWN_MS),
                          .now_ms = NOW_MS};
    for (int i = 0; i < ACTS; i++, number /= ACT_COUNT)
        do_act(&trial, (enum act)(number % ACT_COUNT));
}

static void every_short_life_keeps_the_rules(UNUSED void **state)
{
    int lives = 1;
    for (int i = 0; i < ACTS; i++)
        lives *= ACT_COUNT;
    for (int trip_after = 1; trip_after <= 2; trip_after++)
        for (int close_after = 1; close_after <= 2; close_after++)
            for (int number = 0; number < lives; number++)
                run_trial(trip_after, close_after, number);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_breaker_is_closed_and_lets_everything_through),
        cmocka_unit_test(it_opens_after_so_many_failures_in_a_row),
        cmocka_unit_test(a_success_in_between_starts_the_count_anew),
        cmocka_unit_test(it_stays_open_for_the_cool_down_and_not_longer),
        cmocka_unit_test(asking_for_the_state_changes_nothing),
        cmocka_unit_test(half_open_lets_as_many_through_as_must_succeed),
        cmocka_unit_test(any_failure_while_half_open_opens_it_again),
        cmocka_unit_test(the_way_back_starts_from_nothing_each_time),
        cmocka_unit_test(once_closed_it_takes_all_failures_to_open_it),
        cmocka_unit_test(late_results_of_an_earlier_generation_count_for_nothing),
        cmocka_unit_test(a_failure_that_comes_late_doesn_t_prolong_the_cool_down),
        cmocka_unit_test(without_a_cool_down_the_next_call_may_try),
        cmocka_unit_test(a_state_has_a_word),
        cmocka_unit_test(every_short_life_keeps_the_rules),
    };
    return RUN_TESTS(argc, argv, tests);
}
