#include "bridge/relay/pump.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "appliance/journal_files.h"
#include "tests/support/appliance_fixture.h"
#include "tests/support/fake_sink.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/machine_check.h"
#include "tests/support/unit.h"

enum {
    PAGE_EVENTS = 4,
    STEPS_MAX = 3000,
    EVENTS = 11, /* of sell(): a product, seven orders, three cancellations */
    FAIL_AT_MAX = 4,
};

static struct fixture fixture;
static struct folder bridge_folder;
static struct delivery_state *deliveries;
static struct fence fence;
static struct fake_sink peer;
static struct pump *pump;

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    folder_make(&bridge_folder);
    fault_vfs_watch(bridge_folder.path, false);
    assert_ok(delivery_state_open(bridge_folder.path, &fixture.clock.clock, &deliveries, NULL));
    fence_init(&fence);
    fake_sink_init(&peer, PAGE_EVENTS);
    pump = NULL;
    return 0;
}

static void end_pump(void)
{
    if (!pump)
        return;
    machine_check_note(pump_machine(pump));
    pump_free(pump);
    pump = NULL;
}

static int tear_down(UNUSED void **state)
{
    end_pump();
    fault_vfs_heal();
    delivery_state_close(deliveries);
    fault_vfs_watch(NULL, false);
    fence_done(&fence);
    folder_remove(&bridge_folder);
    fixture_done(&fixture);
    return 0;
}

/* Sequences 1 … EVENTS: product 1; orders 1 to 7 are 2 to 8; orders 1 to 3 are cancelled by 9 to
 * 11. */
static void sell(void)
{
    assert_ok(fixture_start(&fixture, NULL));
    assert_int_equal(request_do_once(request_product(&fixture, "bread", 50, 250)), 201);
    for (int i = 0; i < 7; i++)
        assert_int_equal(request_do_once(request_order(&fixture, 7, 1, 1)), 201);
    for (int64_t order = 1; order <= 3; order++)
        assert_int_equal(request_do_once(request_cancel(&fixture, order)), 200);
}

static void begin(bool unverified)
{
    const struct pump_options options = {.data_dir = fixture.folder.path,
                                         .deliveries = deliveries,
                                         .fence = &fence,
                                         .sink = peer.sink,
                                         .unverified = unverified,
                                         .clock = &fixture.clock.clock,
                                         .random = &fixture.random.source};
    peer.is_attached = false;
    assert_ok(pump_new(&options, &pump, NULL));
}

/* As when bridge.db was lost. */
static void forget_deliveries(void)
{
    char path[FOLDER_PATH_SIZE];
    delivery_state_close(deliveries);
    folder_file(&bridge_folder, "bridge.db", path);
    unlink(path);
    assert_ok(delivery_state_open(bridge_folder.path, &fixture.clock.clock, &deliveries, NULL));
}

static int state_of(void)
{
    return pump_machine(pump)->state;
}

static int64_t step(void)
{
    int64_t wait_ms = pump_step(pump);
    if (wait_ms > 0)
        fake_clock_advance(&fixture.clock, wait_ms);
    return wait_ms;
}

/* Until the state comes; fails where it doesn't. */
static void run_to(enum pump_state state)
{
    for (int steps = 0; state_of() != (int)state; steps++) {
        assert_in_range(steps, 0, STEPS_MAX);
        step();
    }
}

/* Until there is nothing to do: the wait that a wakeup would end. */
static void run_until_idle(void)
{
    int rounds = 0;
    for (int steps = 0; rounds < 2; steps++) {
        bool was_idle = state_of() == PUMP_IDLE;
        assert_in_range(steps, 0, STEPS_MAX);
        rounds = was_idle && step() == PUMP_POLL_MS ? rounds + 1 : was_idle ? 0 : rounds;
        if (!was_idle)
            step();
    }
}

static struct delivery_state_sink row(void)
{
    struct delivery_state_sink sink;
    assert_ok(delivery_state_find_sink(deliveries, "fake", &sink, NULL));
    return sink;
}

/* Each event has arrived, in the order of each order's events, and is counted once. */
static void assert_all_arrived(int most_often)
{
    for (int sequence = 1; sequence <= EVENTS; sequence++)
        assert_in_range(peer.taken[sequence], 1, most_often);
    assert_int_equal(row().cursor, EVENTS);
    assert_int_equal(row().delivered, EVENTS);
    assert_int_equal(row().parked, 0);
}

static void every_event_arrives_once_and_the_cursor_follows(UNUSED void **state)
{
    sell();
    begin(false);
    run_until_idle();
    assert_all_arrived(1);
    for (size_t i = 0; i < peer.arrivals; i++)
        assert_int_equal(peer.order_of_arrival[i], i + 1);
    assert_int_equal(row().state, SINK_RUNNING);
    assert_int_equal(request_do_once(request_order(&fixture, 7, 1, 1)), 201);
    run_until_idle();
    assert_int_equal(peer.taken[EVENTS + 1], 1);
}

static void a_journal_that_is_not_there_yet_is_waited_for(UNUSED void **state)
{
    begin(false);
    assert_int_equal(step(), PUMP_POLL_MS);
    assert_int_equal(state_of(), PUMP_OPENING);
    sell();
    run_until_idle();
    assert_all_arrived(1);
}

/* Whichever call fails, however often: an outage spends no attempt, and all arrive. */
static void a_call_that_fails_at_any_moment_costs_nothing(UNUSED void **state)
{
    static const enum fake_sink_call CALLS[] = {FAKE_SINK_ATTACH, FAKE_SINK_DELIVER,
                                                FAKE_SINK_IDLE};
    sell();
    for (size_t call = 0; call < ARRAY_LENGTH(CALLS); call++)
        for (int nth = 1; nth <= FAIL_AT_MAX; nth++)
            for (int times = 1; times <= 7; times += 3)
                for (size_t done = 0; done < PAGE_EVENTS; done++) {
                    forget_deliveries();
                    fake_sink_init(&peer, PAGE_EVENTS);
                    fake_sink_fail(
                        &peer, CALLS[call],
                        (struct fake_sink_fault){nth, times, DELIVERY_DOWN, done, false});
                    begin(false);
                    run_until_idle();
                    assert_all_arrived(1);
                    end_pump();
                }
}

static void what_arrived_though_the_answer_was_lost_is_sent_again(UNUSED void **state)
{
    sell();
    fake_sink_fail(&peer, FAKE_SINK_DELIVER,
                   (struct fake_sink_fault){2, 1, DELIVERY_DOWN, 0, true});
    begin(false);
    run_until_idle();
    assert_all_arrived(2);
    assert_int_equal(peer.taken[1], 1);
    assert_int_equal(peer.taken[PAGE_EVENTS + 1], 2);
}

static void an_outage_is_written_down_with_its_reason(UNUSED void **state)
{
    sell();
    fake_sink_fail(&peer, FAKE_SINK_ATTACH,
                   (struct fake_sink_fault){1, FAKE_SINK_FOR_EVER, DELIVERY_DOWN, 0, false});
    begin(false);
    for (int i = 0; i < 3 * PUMP_TRIP_AFTER; i++)
        step();
    assert_int_equal(row().state, SINK_DOWN);
    assert_int_equal(row().breaker, BREAKER_OPEN);
    assert_string_equal(row().last_error, "so says the test");
    assert_int_equal(row().parked, 0);
    fake_sink_fail(&peer, FAKE_SINK_ATTACH, (struct fake_sink_fault){0});
    run_until_idle();
    assert_all_arrived(1);
    assert_int_equal(row().breaker, BREAKER_CLOSED);
}

/* An order that is rejected holds its cancellation, and no other order. */
static void what_the_peer_rejects_is_parked_and_dead_lettered(UNUSED void **state)
{
    sell();
    peer.answers[3] = DELIVERY_REFUSED;
    begin(false);
    run_until_idle();
    assert_int_equal(row().cursor, EVENTS);
    assert_int_equal(row().delivered, EVENTS - 2);
    assert_int_equal(row().parked_open, 2);
    assert_int_equal(peer.taken[10], 0);
    assert_int_equal(peer.dead_lettered[3], 1);
    assert_int_equal(peer.dead_lettered[10], 0);
}

/* A whole night in which the broker nacks, or returns, whatever comes. */
static void what_hits_every_event_alike_is_an_outage(UNUSED void **state)
{
    static const enum delivery ANSWERS[] = {DELIVERY_TRANSIENT, DELIVERY_REFUSED};
    sell();
    for (size_t i = 0; i < ARRAY_LENGTH(ANSWERS); i++) {
        forget_deliveries();
        fake_sink_init(&peer, PAGE_EVENTS);
        peer.answer_to_all = ANSWERS[i];
        begin(false);
        for (int steps = 0; steps < STEPS_MAX; steps++)
            step();
        assert_int_equal(row().parked, 0);
        assert_int_equal(row().state, SINK_DOWN);
        assert_int_not_equal(row().breaker, BREAKER_CLOSED);
        assert_non_null(strstr(row().last_error, "by the test"));
        assert_in_range(peer.offered[2], 1, STEPS_MAX / 4); /* a probe now and then, not a page */
        peer.answer_to_all = DELIVERY_PENDING;
        int64_t healed_ms = clock_monotonic_ms(&fixture.clock.clock);
        while (peer.arrivals == 0)
            step();
        assert_in_range(clock_monotonic_ms(&fixture.clock.clock) - healed_ms, 0, 5000);
        run_until_idle();
        assert_all_arrived(1);
        end_pump();
    }
}

/* It may be the event, and it may be the peer: that shows when the next one gets through. */
static void an_event_that_waits_alone_is_parked_when_the_next_gets_through(UNUSED void **state)
{
    sell();
    begin(false);
    run_until_idle();
    peer.answers[EVENTS + 1] = DELIVERY_REFUSED;
    assert_int_equal(request_do_once(request_order(&fixture, 7, 1, 1)), 201);
    for (int steps = 0; steps < 200; steps++)
        step();
    assert_int_equal(row().parked, 0);
    assert_int_equal(row().state, SINK_DOWN);
    assert_int_equal(request_do_once(request_order(&fixture, 7, 1, 1)), 201);
    run_until_idle();
    assert_int_equal(peer.taken[EVENTS + 2], 1);
    assert_int_equal(row().parked_open, 1);
    assert_int_equal(row().state, SINK_RUNNING);
    assert_int_equal(row().cursor, EVENTS + 2);
}

static void what_is_nacked_has_three_tries(UNUSED void **state)
{
    sell();
    peer.answers[3] = DELIVERY_TRANSIENT;
    begin(false);
    run_to(PUMP_ADVANCING);
    assert_true(step() >= 0);
    assert_int_equal(row().cursor, 2);
    peer.answers[3] = DELIVERY_PENDING;
    run_until_idle();
    assert_all_arrived(1);
}

static void a_dead_letter_that_fails_is_sent_again(UNUSED void **state)
{
    sell();
    peer.answers[3] = DELIVERY_REFUSED;
    fake_sink_fail(&peer, FAKE_SINK_DEAD_LETTER,
                   (struct fake_sink_fault){1, 2, DELIVERY_DOWN, 0, false});
    begin(false);
    run_until_idle();
    assert_int_equal(peer.dead_lettered[3], 1);
    assert_int_equal(peer.calls[FAKE_SINK_DEAD_LETTER], 3);
}

static void a_dead_letter_that_nobody_takes_is_tried_now_and_then(UNUSED void **state)
{
    sell();
    peer.answers[3] = DELIVERY_REFUSED;
    fake_sink_fail(&peer, FAKE_SINK_DEAD_LETTER,
                   (struct fake_sink_fault){1, 1, DELIVERY_REFUSED, 0, false});
    begin(false);
    run_until_idle();
    assert_int_equal(peer.calls[FAKE_SINK_DEAD_LETTER], 1);
    fake_clock_advance(&fixture.clock, PUMP_DEAD_LETTER_RETRY_MS);
    run_until_idle();
    assert_int_equal(peer.dead_lettered[3], 1);
}

/* Every one of the first writes and flushes of bridge.db, once and for a while. */
static void bridge_db_that_can_t_be_written_costs_no_event(UNUSED void **state)
{
    static const enum fault_call CALLS[] = {FAULT_WRITE, FAULT_SYNC};
    sell();
    for (size_t call = 0; call < ARRAY_LENGTH(CALLS); call++)
        for (int nth = 1; nth <= 24; nth++) {
            fake_sink_init(&peer, PAGE_EVENTS);
            peer.answers[3] = nth % 2 ? DELIVERY_REFUSED : DELIVERY_PENDING;
            begin(false);
            fault_vfs_fail(CALLS[call], nth, 1 + nth % 3, SQLITE_IOERR);
            run_until_idle();
            fault_vfs_heal();
            run_until_idle();
            assert_int_equal(row().cursor, EVENTS);
            end_pump();
            forget_deliveries();
        }
}

static void a_peer_that_has_less_gets_the_rest_again(UNUSED void **state)
{
    sell();
    begin(false);
    run_until_idle();
    end_pump();
    peer.peer_cursor = 5;
    begin(false);
    run_until_idle();
    assert_int_equal(peer.taken[5], 1);
    assert_int_equal(peer.taken[6], 2);
    assert_int_equal(row().cursor, EVENTS);
}

/* bridge.db was lost: the peer says how far it is, and is asked whether it has all of that. */
static void what_the_peer_has_not_got_is_parked_again(UNUSED void **state)
{
    sell();
    for (int sequence = 1; sequence <= 8; sequence++)
        peer.taken[sequence] = sequence != 3;
    peer.peer_cursor = 10;
    peer.taken[9] = 1;
    begin(false);
    run_until_idle();
    assert_int_equal(row().parked_open, 2);
    assert_int_equal(peer.taken[3], 0);
    assert_int_equal(peer.taken[10], 0); /* behind 3 */
    assert_int_equal(peer.taken[11], 1);
}

static void an_audit_that_fails_is_an_outage(UNUSED void **state)
{
    sell();
    peer.peer_cursor = 2;
    peer.taken[1] = peer.taken[2] = 1;
    fake_sink_fail(&peer, FAKE_SINK_AUDIT, (struct fake_sink_fault){1, 2, DELIVERY_DOWN, 0, false});
    begin(false);
    run_until_idle();
    assert_int_equal(peer.calls[FAKE_SINK_AUDIT], 3);
    assert_int_equal(row().cursor, EVENTS);
    assert_int_equal(row().parked, 0);
}

static void a_peer_that_knows_another_box_stops_every_sink(UNUSED void **state)
{
    sell();
    fake_sink_fail(&peer, FAKE_SINK_ATTACH,
                   (struct fake_sink_fault){1, 1, DELIVERY_STOP, 0, false});
    begin(false);
    run_to(PUMP_FENCED);
    assert_true(fence_is_raised(&fence));
    assert_int_equal(row().state, SINK_STOPPED);
    assert_int_equal(pump_step(pump), 0);
    assert_int_equal(state_of(), PUMP_FENCED);
}

static void a_delivery_that_finds_another_box_stops_every_sink(UNUSED void **state)
{
    sell();
    fake_sink_fail(&peer, FAKE_SINK_DELIVER,
                   (struct fake_sink_fault){2, 1, DELIVERY_STOP, 2, false});
    begin(false);
    run_to(PUMP_FENCED);
    assert_true(fence_is_raised(&fence));
    assert_int_equal(row().cursor, PAGE_EVENTS + 2); /* what was taken is written down */
}

/* Wherever it is, a pump follows another's fence. */
static void a_fence_that_another_sink_raised_stops_this_one(UNUSED void **state)
{
    static const enum pump_state STATES[] = {PUMP_CONNECTING, PUMP_VERIFYING, PUMP_READING,
                                             PUMP_DELIVERING, PUMP_IDLE};
    const struct error reason = {"a box that was cloned"};
    sell();
    for (size_t i = 0; i < ARRAY_LENGTH(STATES); i++) {
        fence_done(&fence);
        fence_init(&fence);
        begin(false);
        assert_int_equal(request_do_once(request_order(&fixture, 7, 1, 1)), 201);
        run_to(STATES[i]);
        fence_raise(&fence, &reason);
        step();
        assert_int_equal(state_of(), PUMP_FENCED);
        assert_string_equal(row().last_error, reason.text);
        end_pump();
    }
}

static void a_sink_that_had_stopped_is_asked_before_any_other_sends(UNUSED void **state)
{
    sell();
    fence_add_unverified(&fence); /* another sink's */
    begin(false);
    run_to(PUMP_VERIFYING);
    assert_int_equal(step(), PUMP_POLL_MS);
    assert_int_equal(state_of(), PUMP_VERIFYING);
    assert_int_equal(peer.arrivals, 0);
    fence_clear_unverified(&fence);
    run_until_idle();
    assert_all_arrived(1);
    end_pump();
    fence_add_unverified(&fence); /* its own */
    begin(true);
    run_until_idle();
    assert_false(fence_is_unverified(&fence));
}

static void a_sink_that_had_stopped_stays_so_until_it_has_been_asked(UNUSED void **state)
{
    sell();
    fake_sink_fail(&peer, FAKE_SINK_ATTACH,
                   (struct fake_sink_fault){1, FAKE_SINK_FOR_EVER, DELIVERY_DOWN, 0, false});
    begin(true);
    for (int i = 0; i < 5; i++)
        step();
    assert_int_equal(row().state, SINK_STOPPED);
}

/* The file at the journal's path becomes another one, with the same content. */
static void replace_journal(void)
{
    char path[JOURNAL_PATH_SIZE], other[JOURNAL_PATH_SIZE + 8], bytes[4096];
    if (fixture.journal)
        assert_ok(fixture_stop(&fixture, NULL));
    journal_path(fixture.folder.path, path);
    snprintf(other, sizeof other, "%s.new", path);
    FILE *from = fopen(path, "r"), *into = fopen(other, "w");
    assert_non_null(from);
    assert_non_null(into);
    for (size_t size; (size = fread(bytes, 1, sizeof bytes, from)) > 0;)
        assert_int_equal(fwrite(bytes, 1, size, into), size);
    fclose(from);
    assert_int_equal(fclose(into), 0);
    assert_int_equal(rename(other, path), 0);
}

static void a_journal_that_was_replaced_is_looked_at_anew(UNUSED void **state)
{
    static const enum pump_state STATES[] = {PUMP_CONNECTING, PUMP_VERIFYING, PUMP_READING,
                                             PUMP_DELIVERING, PUMP_IDLE};
    sell();
    for (size_t i = 0; i < ARRAY_LENGTH(STATES); i++) {
        forget_deliveries();
        fake_sink_init(&peer, PAGE_EVENTS);
        begin(false);
        run_to(STATES[i]);
        replace_journal();
        run_until_idle();
        assert_int_equal(row().cursor, EVENTS);
        end_pump();
    }
}

static void change_bridge_db(const char *sql)
{
    char path[FOLDER_PATH_SIZE];
    sqlite3 *db = NULL;
    folder_file(&bridge_folder, "bridge.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_journal_from_a_backup_stops_every_sink(UNUSED void **state)
{
    sell();
    begin(false);
    run_until_idle();
    end_pump();
    delivery_state_close(deliveries);
    change_bridge_db("UPDATE sinks SET cursor_hash = zeroblob(32)");
    assert_ok(delivery_state_open(bridge_folder.path, &fixture.clock.clock, &deliveries, NULL));
    begin(false);
    run_to(PUMP_FENCED);
    assert_true(fence_is_raised(&fence));
    assert_non_null(strstr(row().last_error, "restored from a backup"));
}

/* Between the look at what is parked and the note of what is held, an operator's replay delivers
 * what an event would have been held behind. */
static void replay_meanwhile(void *context)
{
    (void)context;
    enum result result =
        delivery_state_settle_parked(deliveries, "fake", 3, PARKED_DELIVERED, "replayed", NULL);
    assert_true(result == RESULT_OK || result == RESULT_NOT_FOUND);
}

static void what_was_held_behind_an_event_that_is_replayed_meanwhile_is_sent(UNUSED void **state)
{
    sell();
    peer.answers[3] = DELIVERY_REFUSED;
    begin(false);
    run_to(PUMP_IDLE);
    end_pump();
    /* The cancellation, sequence 10, is held behind 3 at once when the page is read again. */
    assert_int_equal(row().parked_open, 2);
    peer.on_deliver = replay_meanwhile;
    begin(false);
    run_until_idle();
    assert_int_equal(row().cursor, EVENTS);
}

static void the_diagram_is_the_table(UNUSED void **state)
{
    assert_diagram("bridge/relay/pump.h", &PUMP_MACHINE);
}

static void every_transition_was_taken(UNUSED void **state)
{
    assert_every_transition_taken(&PUMP_MACHINE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(every_event_arrives_once_and_the_cursor_follows),
        TEST(a_journal_that_is_not_there_yet_is_waited_for),
        TEST(a_call_that_fails_at_any_moment_costs_nothing),
        TEST(what_arrived_though_the_answer_was_lost_is_sent_again),
        TEST(an_outage_is_written_down_with_its_reason),
        TEST(what_the_peer_rejects_is_parked_and_dead_lettered),
        TEST(what_hits_every_event_alike_is_an_outage),
        TEST(an_event_that_waits_alone_is_parked_when_the_next_gets_through),
        TEST(what_is_nacked_has_three_tries),
        TEST(a_dead_letter_that_fails_is_sent_again),
        TEST(a_dead_letter_that_nobody_takes_is_tried_now_and_then),
        TEST(bridge_db_that_can_t_be_written_costs_no_event),
        TEST(a_peer_that_has_less_gets_the_rest_again),
        TEST(what_the_peer_has_not_got_is_parked_again),
        TEST(an_audit_that_fails_is_an_outage),
        TEST(a_peer_that_knows_another_box_stops_every_sink),
        TEST(a_delivery_that_finds_another_box_stops_every_sink),
        TEST(a_fence_that_another_sink_raised_stops_this_one),
        TEST(a_sink_that_had_stopped_is_asked_before_any_other_sends),
        TEST(a_sink_that_had_stopped_stays_so_until_it_has_been_asked),
        TEST(a_journal_that_was_replaced_is_looked_at_anew),
        TEST(a_journal_from_a_backup_stops_every_sink),
        TEST(what_was_held_behind_an_event_that_is_replayed_meanwhile_is_sent),
        TEST(the_diagram_is_the_table),
        TEST(every_transition_was_taken),
    };
    return RUN_TESTS(argc, argv, tests);
}
