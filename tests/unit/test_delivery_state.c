#include "bridge/relay/delivery_state.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/fake_clock.h"
#include "tests/support/folder.h"
#include "tests/support/unit.h"

#define SINK "rabbitmq"

static const char JOURNAL_ID[] = "01900000-0000-7000-8000-000000000001";
static const uint8_t HASH[SHA256_SIZE] = {7};

static struct folder folder;
static struct fake_clock fake;
static struct delivery_state *deliveries;

static int set_up(UNUSED void **state)
{
    folder_make(&folder);
    fake_clock_init(&fake, 1700000000000);
    assert_ok(delivery_state_open(folder.path, &fake.clock, &deliveries, NULL));
    assert_ok(delivery_state_attach(deliveries, SINK, JOURNAL_ID, 0, HASH, NULL));
    return 0;
}

static int tear_down(UNUSED void **state)
{
    delivery_state_close(deliveries);
    folder_remove(&folder);
    return 0;
}

static struct parked row_of(int64_t sequence, int64_t order_id, enum parked_state parked_state)
{
    struct parked row = {.sequence = sequence, .order_id = order_id, .state = parked_state};
    snprintf(row.event_id, sizeof row.event_id, "01900000-0000-7000-8000-%012d", (int)sequence);
    snprintf(row.event_type, sizeof row.event_type, "order.created");
    snprintf(row.reason, sizeof row.reason, "for a test");
    return row;
}

static enum result settle(int64_t cursor, int64_t delivered, const struct parked *rows,
                          size_t count)
{
    const struct delivery_state_place place = {cursor, HASH};
    return delivery_state_settle(deliveries, SINK, &place, delivered, rows, count, NULL);
}

static struct delivery_state_sink read_sink(void)
{
    struct delivery_state_sink sink;
    assert_ok(delivery_state_find_sink(deliveries, SINK, &sink, NULL));
    return sink;
}

static void cursor_count_and_parked_rows_move_together(UNUSED void **state)
{
    const struct parked rows[] = {row_of(3, 7, PARKED_REFUSED), row_of(5, 7, PARKED_HELD)};
    assert_ok(settle(5, 3, rows, 2));
    struct delivery_state_sink sink = read_sink();
    assert_int_equal(sink.cursor, 5);
    assert_int_equal(sink.delivered, 3);
    assert_int_equal(sink.parked_open, 2);
}

static void an_event_is_not_held_behind_one_that_was_replayed_meanwhile(UNUSED void **state)
{
    const struct parked refused = row_of(3, 7, PARKED_REFUSED), held = row_of(5, 7, PARKED_HELD);
    assert_ok(settle(3, 2, &refused, 1));
    assert_ok(
        delivery_state_settle_parked(deliveries, SINK, 3, PARKED_DELIVERED, "replayed", NULL));
    assert_int_equal(settle(5, 1, &held, 1), RESULT_CONFLICT);
    assert_int_equal(delivery_state_park(deliveries, SINK, &held, 1, NULL), RESULT_CONFLICT);
    assert_int_equal(read_sink().cursor, 3);
    assert_int_equal(read_sink().parked_open, 0);
}

static void a_held_event_that_was_replayed_before_its_turn_stays_replayed(UNUSED void **state)
{
    const struct parked refused = row_of(3, 7, PARKED_REFUSED), held = row_of(5, 7, PARKED_HELD);
    bool blocked = false;
    assert_ok(settle(3, 2, &refused, 1));
    assert_ok(delivery_state_park(deliveries, SINK, &held, 1, NULL));
    assert_ok(
        delivery_state_settle_parked(deliveries, SINK, 3, PARKED_DELIVERED, "replayed", NULL));
    assert_ok(
        delivery_state_settle_parked(deliveries, SINK, 5, PARKED_DELIVERED, "replayed", NULL));
    assert_ok(delivery_state_is_blocked(deliveries, SINK, 5, 7, &blocked, NULL));
    assert_true(blocked); /* it would be counted twice if it were sent in its turn as well */
    assert_ok(settle(5, 1, &held, 1));
    assert_int_equal(read_sink().parked, 2);
    assert_int_equal(read_sink().parked_open, 0);
}

static void dead_letters_are_found_in_order_and_once(UNUSED void **state)
{
    const struct parked rows[] = {row_of(3, 7, PARKED_REFUSED), row_of(4, 7, PARKED_HELD),
                                  row_of(6, 8, PARKED_REFUSED)};
    struct parked found;
    assert_ok(settle(6, 3, rows, 3));
    for (int64_t sequence = 3; sequence <= 6; sequence += 3) {
        assert_ok(delivery_state_find_dead_letter(deliveries, &found, NULL));
        assert_int_equal(found.sequence, sequence);
        assert_ok(delivery_state_note_dead_lettered(deliveries, found.sink, found.sequence, NULL));
    }
    assert_int_equal(delivery_state_find_dead_letter(deliveries, &found, NULL), RESULT_NOT_FOUND);
}

static void what_is_parked_and_what_is_blocked_are_two_questions(UNUSED void **state)
{
    const struct parked refused = row_of(3, 7, PARKED_REFUSED);
    bool any = true, parked = false, blocked = false;
    assert_ok(delivery_state_has_parked(deliveries, SINK, 0, &any, NULL));
    assert_false(any);
    assert_ok(settle(3, 2, &refused, 1));
    assert_ok(delivery_state_has_parked(deliveries, SINK, 3, &any, NULL));
    assert_true(any);
    assert_ok(delivery_state_is_parked(deliveries, SINK, 3, &parked, NULL));
    assert_true(parked);
    assert_ok(delivery_state_is_parked(deliveries, SINK, 4, &parked, NULL));
    assert_false(parked);
    assert_ok(delivery_state_is_blocked(deliveries, SINK, 4, 7, &blocked, NULL));
    assert_true(blocked);
    assert_ok(delivery_state_is_blocked(deliveries, SINK, 4, 0, &blocked, NULL));
    assert_false(blocked);
}

static void take_first(void *context, const struct parked *row)
{
    struct parked *first = context;
    if (first->sequence == 0)
        *first = *row;
}

static enum parked_state state_of(int64_t sequence)
{
    struct parked first = {0};
    const struct parked_filter filter = {.sink = SINK, .after = sequence - 1};
    assert_ok(delivery_state_each_parked(deliveries, &filter, take_first, &first, NULL));
    assert_int_equal(first.sequence, sequence);
    return first.state;
}

static enum result rewind_to(int64_t sequence)
{
    const struct delivery_state_place place = {sequence, HASH};
    return delivery_state_rewind(deliveries, SINK, &place, NULL);
}

static void a_peer_that_lost_events_may_have_lost_replays_too(UNUSED void **state)
{
    const struct parked refused = row_of(3, 7, PARKED_REFUSED);
    assert_ok(settle(6, 5, &refused, 1));
    assert_ok(
        delivery_state_settle_parked(deliveries, SINK, 3, PARKED_DELIVERED, "replayed", NULL));
    assert_ok(rewind_to(4));
    assert_int_equal(state_of(3), PARKED_REFUSED);
    assert_int_equal(read_sink().delivered, 3);
}

static void a_peer_that_only_lacks_what_is_parked_has_lost_nothing(UNUSED void **state)
{
    const struct parked rows[] = {row_of(3, 7, PARKED_REFUSED), row_of(5, 8, PARKED_REFUSED),
                                  row_of(6, 8, PARKED_HELD)};
    assert_ok(settle(6, 3, rows, 3));
    assert_ok(
        delivery_state_settle_parked(deliveries, SINK, 3, PARKED_DELIVERED, "replayed", NULL));
    assert_ok(rewind_to(4));
    assert_int_equal(state_of(3), PARKED_DELIVERED);
    assert_int_equal(state_of(5), PARKED_REFUSED);
}

static void another_journal_s_row_is_refused(UNUSED void **state)
{
    assert_int_equal(delivery_state_attach(deliveries, SINK, "01900000-0000-7000-8000-000000000002",
                                           0, HASH, NULL),
                     RESULT_CONFLICT);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        TEST(cursor_count_and_parked_rows_move_together),
        TEST(an_event_is_not_held_behind_one_that_was_replayed_meanwhile),
        TEST(a_held_event_that_was_replayed_before_its_turn_stays_replayed),
        TEST(dead_letters_are_found_in_order_and_once),
        TEST(what_is_parked_and_what_is_blocked_are_two_questions),
        TEST(a_peer_that_lost_events_may_have_lost_replays_too),
        TEST(a_peer_that_only_lacks_what_is_parked_has_lost_nothing),
        TEST(another_journal_s_row_is_refused),
    };
    return RUN_TESTS(argc, argv, tests);
}
