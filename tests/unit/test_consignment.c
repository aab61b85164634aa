#include "bridge/relay/in_flight.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/unit.h"

enum { EVENTS = 6, BYTES = 4096 };

static const struct delivery_report REPORT = {
    .verdict = DELIVERY_DONE, .refusal = {"no queue"}, .unwilling = {"a queue is full"}};

/* A page of events with the sequences 1, 2, 3 …, of these orders. */
static void load(struct consignment *consignment, const int64_t orders[], size_t count)
{
    assert_ok(consignment_init(consignment, EVENTS, BYTES));
    for (size_t i = 0; i < count; i++)
        consignment->page.events[i] =
            (struct journal_event){.sequence = (int64_t)i + 1, .order_id = orders[i]};
    consignment->page.count = count;
    consignment_load(consignment);
}

/* Sends what is pending; `word` tells how it goes, a letter an event of the page: D, R, T, H, or
 * '.' for one that isn't dealt with. What isn't in the batch must be '-'. */
static bool send(struct consignment *consignment, const char *word)
{
    struct batch batch;
    size_t next = 0;
    consignment_pack(consignment, &batch);
    for (size_t i = 0; i < consignment->page.count; i++) {
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
    return consignment_conclude(consignment, &REPORT);
}

/* What has become of the events: D, R, H, or '.' for pending. */
static void assert_state(const struct consignment *consignment, const char *word)
{
    for (size_t i = 0; i < consignment->page.count; i++) {
        enum delivery outcome = consignment->items[i].outcome;
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
    struct consignment consignment;
    load(&consignment, (int64_t[]){1, 2, 3, 4}, 4);
    assert_true(send(&consignment, "DTDT"));
    assert_int_equal(consignment_count_ready(&consignment), 1);
    assert_true(send(&consignment, "-T-D"));
    assert_false(send(&consignment, "-D--"));
    assert_state(&consignment, "DDDD");
    assert_int_equal(consignment_count_ready(&consignment), 4);
    consignment_done(&consignment);
}

static void all_that_is_nacked_three_times_is_refused_together(void **state)
{
    (void)state;
    struct consignment consignment;
    load(&consignment, (int64_t[]){1, 2, 3, 4}, 4);
    assert_true(send(&consignment, "TDTT"));
    assert_true(send(&consignment, "T-TT"));
    assert_false(send(&consignment, "T-TT"));
    assert_state(&consignment, "RDRR");
    for (size_t i = 0; i < 4; i += 2)
        assert_int_equal(consignment.items[i].attempts, CONSIGNMENT_ATTEMPTS);
    consignment_done(&consignment);
}

static void an_event_that_comes_later_has_attempts_of_its_own(void **state)
{
    (void)state;
    struct consignment consignment;
    load(&consignment, (int64_t[]){1, 2}, 2);
    assert_true(send(&consignment, "T."));
    assert_true(send(&consignment, "TT"));
    assert_true(send(&consignment, "TT"));
    assert_state(&consignment, "R.");
    assert_false(send(&consignment, "-D"));
    assert_state(&consignment, "RD");
    consignment_done(&consignment);
}

static void later_events_of_an_order_wait_and_are_held_when_it_is_refused(void **state)
{
    (void)state;
    struct consignment consignment;
    load(&consignment, (int64_t[]){7, 8, 7, 0, 7}, 5);
    assert_true(send(&consignment, "TDHDH"));
    assert_state(&consignment, ".D.D.");
    assert_true(send(&consignment, "T-H-H"));
    assert_false(send(&consignment, "T-H-H"));
    assert_state(&consignment, "RDHDH");
    consignment_done(&consignment);
}

static void events_of_no_order_hold_nothing_up(void **state)
{
    (void)state;
    struct consignment consignment;
    load(&consignment, (int64_t[]){0, 0, 0}, 3);
    assert_false(send(&consignment, "R.."));
    assert_state(&consignment, "R..");
    assert_false(send(&consignment, "-DD"));
    consignment_done(&consignment);
}

static void each_event_has_the_reason_of_its_own_refusal(void **state)
{
    (void)state;
    struct consignment consignment;
    load(&consignment, (int64_t[]){1, 2}, 2);
    assert_true(send(&consignment, "RT"));
    assert_true(send(&consignment, "-T"));
    assert_false(send(&consignment, "-T"));
    assert_state(&consignment, "RR");
    assert_string_equal(consignment_reason(&consignment, 0), "no queue");
    assert_string_equal(consignment_reason(&consignment, 1), "a queue is full");
    consignment_done(&consignment);
}

static void what_is_settled_is_not_looked_at_again(void **state)
{
    (void)state;
    struct consignment consignment;
    load(&consignment, (int64_t[]){1, 2, 3}, 3);
    assert_true(send(&consignment, "DTD"));
    consignment.settled = 1;
    assert_int_equal(consignment_count_ready(&consignment), 0);
    assert_false(consignment_is_empty(&consignment));
    assert_false(send(&consignment, "-D-"));
    assert_int_equal(consignment_count_ready(&consignment), 2);
    consignment.settled = 3;
    assert_true(consignment_is_empty(&consignment));
    consignment_done(&consignment);
}

static void what_is_released_is_sent_after_all(void **state)
{
    (void)state;
    struct consignment consignment;
    load(&consignment, (int64_t[]){1, 1}, 2);
    consignment_hold(&consignment, 1);
    assert_false(send(&consignment, "D-"));
    consignment_release(&consignment);
    assert_false(send(&consignment, "-D"));
    assert_state(&consignment, "DD");
    consignment_done(&consignment);
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
