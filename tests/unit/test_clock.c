#include "core/clock.h"

#include <time.h>

#include "tests/support/fake_clock.h"
#include "tests/support/unit.h"

static void assert_formats(int64_t wall_ms, const char *expected)
{
    char text[CLOCK_TEXT_SIZE];
    clock_format_utc(wall_ms, text);
    assert_string_equal(text, expected);
}

static void a_moment_is_written_in_utc_with_milliseconds(UNUSED void **state)
{
    assert_formats(0, "1970-01-01T00:00:00.000Z");
    assert_formats(1, "1970-01-01T00:00:00.001Z");
    assert_formats(1769850300250, "2026-01-31T09:05:00.250Z");
    assert_formats(1709251199999, "2024-02-29T23:59:59.999Z");
    assert_formats(951868800000, "2000-03-01T00:00:00.000Z");
}

static void a_moment_before_1970_counts_its_milliseconds_forward(UNUSED void **state)
{
    assert_formats(-1, "1969-12-31T23:59:59.999Z");
    assert_formats(-1000, "1969-12-31T23:59:59.000Z");
    assert_formats(-1001, "1969-12-31T23:59:58.999Z");
}

static void a_moment_outside_four_digit_years_is_clamped_to_their_ends(UNUSED void **state)
{
    assert_formats(-62167219200000, "0000-01-01T00:00:00.000Z");
    assert_formats(-62167219200001, "0000-01-01T00:00:00.000Z");
    assert_formats(INT64_MIN, "0000-01-01T00:00:00.000Z");
    assert_formats(253402300799999, "9999-12-31T23:59:59.999Z");
    assert_formats(253402300800000, "9999-12-31T23:59:59.999Z");
    assert_formats(INT64_MAX, "9999-12-31T23:59:59.999Z");
}

static void assert_parses(const char *text, int64_t expected_ms)
{
    int64_t wall_ms = 0;
    if (clock_parse_utc(text, &wall_ms) != RESULT_OK)
        fail_msg("\"%s\" was refused", text);
    assert_int_equal(wall_ms, expected_ms);
}

static void a_moment_is_read_with_or_without_milliseconds(UNUSED void **state)
{
    assert_parses("2026-01-31T09:05:00.250Z", 1769850300250);
    assert_parses("2026-01-31T09:05:00Z", 1769850300000);
    assert_parses("1970-01-01T00:00:00.001Z", 1);
    assert_parses("2024-02-29T23:59:59.999Z", 1709251199999);
    assert_parses("1969-12-31T23:59:59.999Z", -1);
}

static void a_day_is_read_as_its_first_moment(UNUSED void **state)
{
    assert_parses("1970-01-01", 0);
    assert_parses("2000-03-01", 951868800000);
}

static void reading_takes_back_what_writing_gave(UNUSED void **state)
{
    for (int64_t wall_ms = -62167219200000; wall_ms <= 253402300799999; wall_ms += 123456789012) {
        char text[CLOCK_TEXT_SIZE];
        clock_format_utc(wall_ms, text);
        assert_parses(text, wall_ms);
    }
}

static void assert_no_moments(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t wall_ms = 7;
        if (clock_parse_utc(texts[i], &wall_ms) != RESULT_MALFORMED)
            fail_msg("\"%s\" was taken", texts[i]);
        assert_int_equal(wall_ms, 7);
    }
}

static void a_text_that_is_no_moment_is_refused(UNUSED void **state)
{
    static const char *const BAD[] = {
        "",
        "now",
        "2026",
        "2026-01",
        "2026-01-31T",
        "2026-01-31T09:05Z",
        "2026-01-31T09:05:00",
        "2026-01-31T09:05:00z",
        "2026-01-31T09:05:00+01:00",
        "2026-01-31T09:05:00.Z",
        "2026-01-31T09:05:00.25Z",
        "2026-01-31T09:05:00.2500Z",
        "2026-01-31T09:05:00,250Z",
        "2026-01-31T09:05:00.-12Z",
        "2026-01-31T09:05:00.250",
        "2026-01-31T24:00:00Z",
        "2026-01-31T09:60:00Z",
        "2026-01-31t09:05:00Z",
        "2026-01-31 09:05:00Z",
        "2026-01-31Z",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "2026-01-32",
        "20260131",
        "2026-01-31x",
        "2026-01-31T09:05:00Zx",
    };
    assert_no_moments(BAD, ARRAY_LENGTH(BAD));
}

static void a_day_that_its_month_does_not_have_is_refused(UNUSED void **state)
{
    static const char *const BAD[] = {"2026-02-29", "2026-02-31", "2026-04-31T00:00:00Z"};
    assert_no_moments(BAD, ARRAY_LENGTH(BAD));
}

static void a_moment_of_another_shape_is_refused(UNUSED void **state)
{
    static const char *const BAD[] = {
        " 2026-01-31",
        "2026-1-31",
        "2026-01- 1",
        "26-01-31",
        "2026-01-31T9:05:00Z",
        "2026-01-31T 9:05:00Z",
        "2026-01-31T09:05:60Z",
        "2026-01-31T09:05:00. 25Z",
        "2026-01-31T09:05:00.+25Z",
    };
    assert_no_moments(BAD, ARRAY_LENGTH(BAD));
}

static void the_system_clock_tells_the_machines_time(UNUSED void **state)
{
    int64_t before_ms = (int64_t)time(NULL) * 1000;
    int64_t now_ms = clock_wall_ms(&clock_system);
    assert_true(now_ms >= before_ms && now_ms < before_ms + 60000);
}

static void the_monotonic_clock_never_goes_back(UNUSED void **state)
{
    int64_t last_ns = clock_monotonic_ns(&clock_system);
    for (int i = 0; i < 10000; i++) {
        int64_t now_ns = clock_monotonic_ns(&clock_system);
        assert_true(now_ns >= last_ns);
        last_ns = now_ns;
    }
    int64_t now_ms = clock_monotonic_ms(&clock_system);
    assert_true(now_ms >= last_ns / 1000000 && now_ms < last_ns / 1000000 + 60000);
}

static void sleeping_takes_at_least_the_time_asked_for(UNUSED void **state)
{
    int64_t before_ns = clock_monotonic_ns(&clock_system);
    clock_sleep_ms(&clock_system, 3);
    assert_true(clock_monotonic_ns(&clock_system) - before_ns >= 3000000);
    clock_sleep_ms(&clock_system, 0);
}

static void a_clock_that_is_handed_in_is_the_one_that_is_asked(UNUSED void **state)
{
    struct fake_clock fake;
    fake_clock_init(&fake, 5000);
    assert_int_equal(clock_wall_ms(&fake.clock), 5000);
    assert_int_equal(clock_monotonic_ms(&fake.clock), 1);
    clock_sleep_ms(&fake.clock, 250);
    assert_int_equal(clock_wall_ms(&fake.clock), 5250);
    assert_int_equal(clock_monotonic_ns(&fake.clock), 251000000);
    assert_int_equal(clock_monotonic_ms(&fake.clock), 251);
}

static void a_deadline_is_so_long_from_now_or_never(UNUSED void **state)
{
    struct fake_clock fake;
    fake_clock_init(&fake, 5000);
    assert_int_equal(clock_deadline_ns(&fake.clock, 0), 1000000);
    assert_int_equal(clock_deadline_ns(&fake.clock, 250), 251000000);
    assert_int_equal(clock_deadline_ns(&fake.clock, CLOCK_FOREVER), CLOCK_FOREVER_NS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_moment_is_written_in_utc_with_milliseconds),
        cmocka_unit_test(a_moment_before_1970_counts_its_milliseconds_forward),
        cmocka_unit_test(a_moment_outside_four_digit_years_is_clamped_to_their_ends),
        cmocka_unit_test(a_moment_is_read_with_or_without_milliseconds),
        cmocka_unit_test(a_day_is_read_as_its_first_moment),
        cmocka_unit_test(reading_takes_back_what_writing_gave),
        cmocka_unit_test(a_text_that_is_no_moment_is_refused),
        cmocka_unit_test(a_day_that_its_month_does_not_have_is_refused),
        cmocka_unit_test(a_moment_of_another_shape_is_refused),
        cmocka_unit_test(the_system_clock_tells_the_machines_time),
        cmocka_unit_test(the_monotonic_clock_never_goes_back),
        cmocka_unit_test(sleeping_takes_at_least_the_time_asked_for),
        cmocka_unit_test(a_clock_that_is_handed_in_is_the_one_that_is_asked),
        cmocka_unit_test(a_deadline_is_so_long_from_now_or_never),
    };
    return RUN_TESTS(argc, argv, tests);
}
