#include "bridge/relay/in_flight.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/unit.h"

enum { EVENTS = 6, BYTES = 4096 };

static const struct delivery_report REPORT = {
    .verdict = DELIVERY_DONE, .refusal = {"no queue"}, .unwilling = {"a queue is full"}};

/* A page of events with the sequences 1, 2, 3 …, of these orders. */
static void load(struct in_flight *in_flight, const int64_t orders[], size_t count)
{
    assert_ok(in_flight_init(in_flight, EVENTS, BYTES));
    for (size_t i = 0; i < count; i++)
        in_flight->page.events[i] =
            (struct journal_event){.sequence = (int64_t)i + 1, .order_id = orders[i]};
    in_flight->page.count = count;
    in_flight_load(in_flight);
}

/* Sends what is pending; `word` tells how it goes, a letter an event of the page: D, R, T, H, or
 * '.' for one that isn't dealt with. What isn't in the batch must be '-'. */
static bool send(struct in_flight *in_flight, const char *word)
{
    struct batch batch;
    size_t next = 0;
    in_flight_pack(in_flight, &batch);
    for (size_t i = 0; i < in_flight->page.count; i++) {
        if (word[i] == '-')
            continue;
        assert_true(next < batch.count);
        assert_int_equal(batch.indexes[next], i);
        const char *letter = strchr("DRTH", word[i]);
        const enum delivery outcomes[] = {DELIVERY_DONE, DELIVERY_REFUSED, DELIVERY_TRANSIENT,
                                          DELIVERY_HELD};
        batch.outcomes[next++] = letter ? outcomes[letter - "DRTH"] : DELIVERY_PENDING;
    }
    assert_int_equal(next, batch.count);
    return in_flight_conclude(in_flight, &REPORT);
}

/* What has become of the events: D, R, H, or '.' for pending. */
static void assert_state(const struct in_flight *in_flight, const char *word)
{
    for (size_t i = 0; i < in_flight->page.count; i++) {
        enum delivery outcome = in_flight->items[i].outcome;
        char letter = outcome == DELIVERY_DONE      ? 'D'
                      : outcome == DELIVERY_REFUSED ? 'R'
                      : outcome == DELIVERY_HELD    ? 'H'
                                                    : '.';
        if (letter != word[i])
            fail_msg("event %zu is %c, not %c", i, letter, word[i]);
    }
}

static void what_was_taken_is_not_sent_again(void **state)
{
    (void)state;
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2, 3, 4}, 4);
    assert_true(send(&in_flight, "DTDT"));
    assert_int_equal(in_flight_count_ready(&in_flight), 1);
    assert_true(send(&in_flight, "-T-D"));
    assert_false(send(&in_flight, "-D--"));
    assert_state(&in_flight, "DDDD");
    assert_int_equal(in_flight_count_ready(&in_flight), 4);
    in_flight_done(&in_flight);
}

static void all_that_is_nacked_three_times_is_refused_together(void **state)
{
    (void)state;
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2, 3, 4}, 4);
    assert_true(send(&in_flight, "TDTT"));
    assert_true(send(&in_flight, "T-TT"));
    assert_false(send(&in_flight, "T-TT"));
    assert_state(&in_flight, "RDRR");
    for (size_t i = 0; i < 4; i += 2)
        assert_int_equal(in_flight.items[i].attempts, IN_FLIGHT_ATTEMPTS);
    in_flight_done(&in_flight);
}

static void an_event_that_comes_later_has_attempts_of_its_own(void **state)
{
    (void)state;
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2}, 2);
    assert_true(send(&in_flight, "T."));
    assert_true(send(&in_flight, "TT"));
    assert_true(send(&in_flight, "TT"));
    assert_state(&in_flight, "R.");
    assert_false(send(&in_flight, "-D"));
    assert_state(&in_flight, "RD");
    in_flight_done(&in_flight);
}

static void later_events_of_an_order_wait_and_are_held_when_it_is_refused(void **state)
{
    (void)state;
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){7, 8, 7, 0, 7}, 5);
    assert_true(send(&in_flight, "TDHDH"));
    assert_state(&in_flight, ".D.D.");
    assert_true(send(&in_flight, "T-H-H"));
    assert_false(send(&in_flight, "T-H-H"));
    assert_state(&in_flight, "RDHDH");
    in_flight_done(&in_flight);
}

static void events_of_no_order_hold_nothing_up(void **state)
{
    (void)state;
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){0, 0, 0}, 3);
    assert_false(send(&in_flight, "R.."));
    assert_state(&in_flight, "R..");
    assert_false(send(&in_flight, "-DD"));
    in_flight_done(&in_flight);
}

static void each_event_has_the_reason_of_its_own_refusal(void **state)
{
    (void)state;
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2}, 2);
    assert_true(send(&in_flight, "RT"));
    assert_true(send(&in_flight, "-T"));
    assert_false(send(&in_flight, "-T"));
    assert_state(&in_flight, "RR");
    assert_string_equal(in_flight_reason(&in_flight, 0), "no queue");
    assert_string_equal(in_flight_reason(&in_flight, 1), "a queue is full");
    in_flight_done(&in_flight);
}

static void what_is_settled_is_not_looked_at_again(void **state)
{
    (void)state;
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2, 3}, 3);
    assert_true(send(&in_flight, "DTD"));
    in_flight.settled = 1;
    assert_int_equal(in_flight_count_ready(&in_flight), 0);
    assert_false(in_flight_is_empty(&in_flight));
    assert_false(send(&in_flight, "-D-"));
    assert_int_equal(in_flight_count_ready(&in_flight), 2);
    in_flight.settled = 3;
    assert_true(in_flight_is_empty(&in_flight));
    in_flight_done(&in_flight);
}

static void what_is_released_is_sent_after_all(void **state)
{
    (void)state;
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 1}, 2);
    in_flight_hold(&in_flight, 1);
    assert_false(send(&in_flight, "D-"));
    in_flight_release(&in_flight);
    assert_false(send(&in_flight, "-D"));
    assert_state(&in_flight, "DD");
    in_flight_done(&in_flight);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_taken_is_not_sent_again),
        cmocka_unit_test(all_that_is_nacked_three_times_is_refused_together),
        cmocka_unit_test(an_event_that_comes_later_has_attempts_of_its_own),
        cmocka_unit_test(later_events_of_an_order_wait_and_are_held_when_it_is_refused),
        cmocka_unit_test(events_of_no_order_hold_nothing_up),
        cmocka_unit_test(each_event_has_the_reason_of_its_own_refusal),
        cmocka_unit_test(what_is_settled_is_not_looked_at_again),
        cmocka_unit_test(what_is_released_is_sent_after_all),
    };
    return RUN_TESTS(argc, argv, tests);
}
