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
static enum in_flight_verdict send(struct in_flight *in_flight, const char *word)
{
    struct batch batch;
    size_t next = 0;
    in_flight_pack(in_flight, SIZE_MAX, &batch);
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

static void what_was_taken_is_not_sent_again(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2, 3, 4}, 4);
    assert_int_equal(send(&in_flight, "DTDT"), IN_FLIGHT_RETRY);
    assert_int_equal(in_flight_count_ready(&in_flight), 1);
    assert_int_equal(send(&in_flight, "-T-D"), IN_FLIGHT_RETRY);
    assert_int_equal(send(&in_flight, "-D--"), IN_FLIGHT_WELL);
    assert_state(&in_flight, "DDDD");
    assert_int_equal(in_flight_count_ready(&in_flight), 4);
    in_flight_done(&in_flight);
}

static void a_nack_counts_once_another_got_through_after_it(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2, 3, 4}, 4);
    assert_int_equal(send(&in_flight, "T..D"), IN_FLIGHT_RETRY);
    assert_int_equal(in_flight.items[0].attempts, 1);
    assert_int_equal(send(&in_flight, "TT.-"), IN_FLIGHT_NOTHING);
    assert_int_equal(in_flight.items[0].attempts, 1);
    assert_int_equal(send(&in_flight, "TTD-"), IN_FLIGHT_RETRY);
    assert_state(&in_flight, "..DD");
    assert_int_equal(in_flight.items[0].attempts, 2);
    assert_int_equal(send(&in_flight, "TD--"), IN_FLIGHT_RETRY);
    assert_state(&in_flight, "RDDD");
    assert_int_equal(in_flight.items[0].attempts, IN_FLIGHT_ATTEMPTS);
    in_flight_done(&in_flight);
}

static void what_hits_all_alike_spends_no_attempt(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2, 3}, 3);
    for (int i = 0; i < 10; i++)
        assert_int_equal(send(&in_flight, i % 2 ? "TRT" : "RTR"), IN_FLIGHT_NOTHING);
    assert_state(&in_flight, "...");
    for (int i = 0; i < 3; i++)
        assert_int_equal(in_flight.items[i].attempts, 0);
    assert_int_equal(send(&in_flight, "DDD"), IN_FLIGHT_WELL);
    in_flight_done(&in_flight);
}

/* What went before may have found the peer well, and this one not. */
static void what_got_through_before_it_says_nothing_of_an_event(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2}, 2);
    assert_int_equal(send(&in_flight, "DR"), IN_FLIGHT_RETRY);
    assert_state(&in_flight, "D.");
    in_flight_done(&in_flight);
}

static void an_event_that_waits_alone_is_judged_when_the_next_gets_through(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2, 2}, 1);
    assert_int_equal(send(&in_flight, "R"), IN_FLIGHT_NOTHING);
    assert_string_equal(in_flight_trouble(&in_flight), "no queue");
    in_flight.page.events[1] = (struct journal_event){.sequence = 2, .order_id = 1};
    in_flight.page.events[2] = (struct journal_event){.sequence = 3, .order_id = 2};
    in_flight.page.count = 3;
    in_flight_extend(&in_flight);
    assert_int_equal(send(&in_flight, "RHD"), IN_FLIGHT_RETRY);
    assert_state(&in_flight, "RHD");
    assert_string_equal(in_flight_trouble(&in_flight), "");
    in_flight_done(&in_flight);
}

static void an_event_of_its_own_order_is_no_evidence(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 1}, 2);
    assert_int_equal(send(&in_flight, "RD"), IN_FLIGHT_RETRY);
    assert_state(&in_flight, ".D");
    in_flight_done(&in_flight);
}

static void later_events_of_an_order_wait_and_are_held_when_it_is_rejected(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){7, 8, 7, 0, 7}, 5);
    assert_int_equal(send(&in_flight, "THHHH"), IN_FLIGHT_NOTHING);
    assert_state(&in_flight, ".....");
    assert_int_equal(send(&in_flight, "RDHDH"), IN_FLIGHT_RETRY);
    assert_state(&in_flight, "RDHDH");
    in_flight_done(&in_flight);
}

static void events_of_no_order_hold_nothing_up(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){0, 0, 0}, 3);
    assert_int_equal(send(&in_flight, "R.D"), IN_FLIGHT_RETRY);
    assert_state(&in_flight, "R.D");
    assert_int_equal(send(&in_flight, "-D-"), IN_FLIGHT_WELL);
    in_flight_done(&in_flight);
}

static void each_event_has_the_reason_of_its_own_refusal(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2, 3}, 3);
    assert_int_equal(send(&in_flight, "RTD"), IN_FLIGHT_RETRY);
    assert_state(&in_flight, "R.D");
    assert_string_equal(in_flight_reason(&in_flight, 0), "no queue");
    assert_string_equal(in_flight_reason(&in_flight, 1), "a queue is full");
    in_flight_done(&in_flight);
}

static void assert_probe(struct in_flight *in_flight, size_t first, size_t second, int64_t through)
{
    struct batch batch;
    in_flight_pack_probe(in_flight, &batch);
    assert_int_equal(batch.count, 2);
    assert_int_equal(batch.indexes[0], first);
    assert_int_equal(batch.indexes[1], second);
    assert_int_equal(batch.through, through);
}

/* Two are enough to find out whether the peer takes anything, and another second one each time. */
static void a_probe_is_the_first_and_one_of_another_order(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 1, 2, 3, 2, 4}, 6);
    assert_probe(&in_flight, 0, 2, 1);
    assert_probe(&in_flight, 0, 3, 1);
    assert_probe(&in_flight, 0, 5, 1);
    assert_probe(&in_flight, 0, 2, 1);
    in_flight_done(&in_flight);
}

static void a_batch_has_as_many_bytes_as_it_may_and_at_least_one_event(UNUSED void **state)
{
    struct in_flight in_flight;
    struct batch batch;
    load(&in_flight, (int64_t[]){1, 2, 3}, 3);
    for (size_t i = 0; i < 3; i++)
        in_flight.page.events[i].payload_size = 100;
    in_flight_pack(&in_flight, 250, &batch);
    assert_int_equal(batch.count, 2);
    assert_int_equal(batch.through, 2);
    in_flight_pack(&in_flight, 50, &batch);
    assert_int_equal(batch.count, 1);
    assert_int_equal(batch.through, 1);
    in_flight_done(&in_flight);
}

static void what_was_written_down_makes_room_for_more(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2, 3}, 3);
    assert_int_equal(send(&in_flight, "DTD"), IN_FLIGHT_RETRY);
    in_flight.settled = 1;
    in_flight_make_room(&in_flight);
    assert_int_equal(in_flight.page.count, 2);
    assert_int_equal(in_flight.page.events[0].sequence, 2);
    in_flight.page.events[2] = (struct journal_event){.sequence = 4, .order_id = 4};
    in_flight.page.count = 3;
    in_flight_extend(&in_flight);
    assert_state(&in_flight, ".D.");
    assert_int_equal(in_flight.items[0].attempts, 1);
    assert_int_equal(send(&in_flight, "D-D"), IN_FLIGHT_WELL);
    in_flight_done(&in_flight);
}

static void what_is_settled_is_not_looked_at_again(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 2, 3}, 3);
    assert_int_equal(send(&in_flight, "DTD"), IN_FLIGHT_RETRY);
    in_flight.settled = 1;
    assert_int_equal(in_flight_count_ready(&in_flight), 0);
    assert_false(in_flight_is_empty(&in_flight));
    assert_int_equal(send(&in_flight, "-D-"), IN_FLIGHT_WELL);
    assert_int_equal(in_flight_count_ready(&in_flight), 2);
    in_flight.settled = 3;
    assert_true(in_flight_is_empty(&in_flight));
    in_flight_done(&in_flight);
}

static void what_is_released_is_sent_after_all(UNUSED void **state)
{
    struct in_flight in_flight;
    load(&in_flight, (int64_t[]){1, 1}, 2);
    in_flight_hold(&in_flight, 1);
    assert_int_equal(send(&in_flight, "D-"), IN_FLIGHT_WELL);
    in_flight_release(&in_flight);
    assert_int_equal(send(&in_flight, "-D"), IN_FLIGHT_WELL);
    assert_state(&in_flight, "DD");
    in_flight_done(&in_flight);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_taken_is_not_sent_again),
        cmocka_unit_test(a_nack_counts_once_another_got_through_after_it),
        cmocka_unit_test(what_hits_all_alike_spends_no_attempt),
        cmocka_unit_test(what_got_through_before_it_says_nothing_of_an_event),
        cmocka_unit_test(an_event_that_waits_alone_is_judged_when_the_next_gets_through),
        cmocka_unit_test(an_event_of_its_own_order_is_no_evidence),
        cmocka_unit_test(later_events_of_an_order_wait_and_are_held_when_it_is_rejected),
        cmocka_unit_test(events_of_no_order_hold_nothing_up),
        cmocka_unit_test(each_event_has_the_reason_of_its_own_refusal),
        cmocka_unit_test(a_probe_is_the_first_and_one_of_another_order),
        cmocka_unit_test(a_batch_has_as_many_bytes_as_it_may_and_at_least_one_event),
        cmocka_unit_test(what_was_written_down_makes_room_for_more),
        cmocka_unit_test(what_is_settled_is_not_looked_at_again),
        cmocka_unit_test(what_is_released_is_sent_after_all),
    };
    return RUN_TESTS(argc, argv, tests);
}
