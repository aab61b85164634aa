#include "tests/support/unit.h"

#include "appliance/committer.h"

#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

#include "core/db.h"
#include "tests/support/appliance_fixture.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/journal_audit.h"
#include "tests/support/machine_check.h"

enum { CROWD = COMMITTER_QUEUE_MAX + 1, STOCK = 100000 };

static struct fixture fixture;
static struct request *crowd[CROWD];

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    fault_vfs_watch(fixture.folder.path, true);
    assert_ok(fixture_start(&fixture, NULL));
    assert_int_equal(request_do_once(request_product(&fixture, "iPhone", STOCK, 999)), 201);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    fixture_done(&fixture);
    for (int i = 0; i < CROWD; i++) {
        request_free(crowd[i]);
        crowd[i] = NULL;
    }
    return 0;
}

static struct committer_stats stats(void)
{
    struct committer_stats now;
    committer_stats(fixture.committer, &now);
    return now;
}

/* Orders of users 1, 2, 3 …; all of them are in the queue when this returns. */
static void submit_orders(int count)
{
    for (int i = 0; i < count; i++) {
        crowd[i] = request_order(&fixture, i + 1, 1, 1);
        assert_ok(request_submit(crowd[i]));
    }
}

static void assert_answers(int count, int status)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(request_wait(crowd[i]), status);
}

/* Whether the commit that the answer speaks of is on the disk, and others can read it. */
static void expect_durable(struct request *request)
{
    int64_t found =
        journal_ask(fixture.folder.path, "SELECT count(*) FROM orders WHERE order_id = %lld",
                    (long long)request->command.input.order.order_id);
    if (fault_vfs_unflushed_wal() != 0 || fault_vfs_unflushed() != 0 || found != 1)
        request->reply.status = 599;
}

static void one_command_alone_is_a_batch(UNUSED void **state)
{
    struct committer_stats before = stats();
    assert_int_equal(request_do_once(request_order(&fixture, 1, 1, 1)), 201);
    assert_int_equal(stats().batches - before.batches, 1);
    fixture_audit(&fixture);
}

static void an_answer_goes_out_after_its_commit_was_flushed(UNUSED void **state)
{
    for (int i = 0; i < 5; i++) {
        struct request *request = request_order(&fixture, 1, 1, 1);
        request->on_answer = expect_durable;
        assert_int_equal(request_do_once(request), 201);
    }
    fixture_hold(&fixture);
    for (int i = 0; i < 40; i++) {
        crowd[i] = request_order(&fixture, 1, 1, 1);
        crowd[i]->on_answer = expect_durable;
        assert_ok(request_submit(crowd[i]));
    }
    fixture_release(&fixture);
    assert_answers(40, 201);
}

static void what_has_queued_is_committed_together(UNUSED void **state)
{
    static const int SIZES[] = {1, 2, 17, COMMITTER_BATCH_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(SIZES); i++) {
        fixture_hold(&fixture);
        struct committer_stats before = stats();
        int64_t flushes = fault_vfs_count(FAULT_SYNC);
        submit_orders(SIZES[i]);
        fixture_release(&fixture);
        assert_answers(SIZES[i], 201);
        assert_int_equal(stats().batches - before.batches, 1);
        assert_int_equal(fault_vfs_count(FAULT_SYNC) - flushes, 1);
        for (int j = 0; j < SIZES[i]; j++)
            request_free(crowd[j]);
        memset(crowd, 0, sizeof crowd);
    }
    fixture_audit(&fixture);
}

static void a_batch_has_a_limit(UNUSED void **state)
{
    fixture_hold(&fixture);
    struct committer_stats before = stats();
    submit_orders(COMMITTER_BATCH_MAX + 1);
    fixture_release(&fixture);
    assert_answers(COMMITTER_BATCH_MAX + 1, 201);
    assert_int_equal(stats().batches - before.batches, 2);
}

static void commands_are_done_in_the_order_they_came(UNUSED void **state)
{
    fixture_hold(&fixture);
    submit_orders(300);
    fixture_release(&fixture);
    assert_answers(300, 201);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(crowd[i]->command.input.order.order_id, i + 1);
        assert_int_equal(crowd[i]->rank, crowd[0]->rank + i);
    }
}

static void a_refused_command_does_not_spoil_its_batch(UNUSED void **state)
{
    static const int STATUSES[] = {201, 409, 404, 422, 201, 200, 409, 201};
    crowd[0] = request_order(&fixture, 1, 1, 1);
    crowd[1] = request_order(&fixture, 2, 1, STOCK);
    crowd[2] = request_cancel(&fixture, 77);
    crowd[3] = request_order(&fixture, 3, 2, 1);
    crowd[4] = request_order(&fixture, 4, 1, 1);
    crowd[5] = request_cancel(&fixture, 2);
    crowd[6] = request_cancel(&fixture, 2);
    crowd[7] = request_order(&fixture, 5, 1, 1);
    fixture_hold(&fixture);
    for (size_t i = 0; i < ARRAY_LENGTH(STATUSES); i++)
        assert_ok(request_submit(crowd[i]));
    fixture_release(&fixture);
    for (size_t i = 0; i < ARRAY_LENGTH(STATUSES); i++)
        assert_int_equal(request_wait(crowd[i]), STATUSES[i]);
    assert_int_equal(crowd[7]->command.input.order.order_id, 3);
    assert_int_equal(fixture_ask(&fixture, "SELECT stock FROM products"), STOCK - 2);
    fixture_audit(&fixture);
}

/* Damages an order while nothing runs. */
static void damage_first_order(void)
{
    struct db *db = NULL;
    char path[JOURNAL_PATH_SIZE];
    assert_ok(fixture_stop(&fixture, NULL));
    journal_path(fixture.folder.path, path);
    assert_ok(db_open(path, DB_WRITER, &db, NULL));
    assert_ok(db_exec(db, "UPDATE orders SET items = '[{]' WHERE order_id = 1", NULL));
    db_close(db);
    assert_ok(fixture_start(&fixture, NULL));
}

static void a_command_that_fails_does_not_spoil_its_batch(UNUSED void **state)
{
    assert_int_equal(request_do_once(request_order(&fixture, 1, 1, 1)), 201);
    damage_first_order();
    crowd[0] = request_order(&fixture, 2, 1, 1);
    crowd[1] = request_cancel(&fixture, 1);
    crowd[2] = request_order(&fixture, 3, 1, 1);
    fixture_hold(&fixture);
    for (int i = 0; i < 3; i++)
        assert_ok(request_submit(crowd[i]));
    fixture_release(&fixture);
    assert_int_equal(request_wait(crowd[0]), 201);
    assert_int_equal(request_wait(crowd[1]), 500);
    assert_int_equal(request_wait(crowd[2]), 201);
    assert_int_equal(crowd[2]->command.input.order.order_id, 3);
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM events"), 4);
}

static void a_full_queue_is_busy(UNUSED void **state)
{
    fixture_hold(&fixture);
    submit_orders(COMMITTER_QUEUE_MAX);
    crowd[COMMITTER_QUEUE_MAX] = request_order(&fixture, 7, 1, 1);
    assert_int_equal(request_submit(crowd[COMMITTER_QUEUE_MAX]), RESULT_BUSY);
    assert_int_equal(stats().queued, COMMITTER_QUEUE_MAX);
    assert_int_equal(stats().queued_most, COMMITTER_QUEUE_MAX);
    fixture_release(&fixture);
    assert_answers(COMMITTER_QUEUE_MAX, 201);
    assert_false(crowd[COMMITTER_QUEUE_MAX]->is_answered);
    assert_int_equal(stats().queued, 0);
    assert_int_equal(request_do(crowd[COMMITTER_QUEUE_MAX]), 201);
    fixture_audit(&fixture);
}

static void *stop(void *unused)
{
    committer_stop(fixture.committer);
    return unused;
}

/* Submits cancellations of nothing until they are refused; returns how many were taken. */
static int submit_until_closed(int count)
{
    for (;; count++) {
        crowd[count] = request_cancel(&fixture, 999999);
        if (request_submit(crowd[count]) == RESULT_CLOSED)
            return count;
        clock_sleep_ms(&clock_system, 1);
    }
}

static void stopping_works_off_what_has_queued_and_takes_nothing_more(UNUSED void **state)
{
    enum { QUEUED = 2 * COMMITTER_BATCH_MAX + 1 };
    pthread_t thread;
    fixture_hold(&fixture);
    submit_orders(QUEUED);
    assert_int_equal(pthread_create(&thread, NULL, stop, NULL), 0);
    int taken = submit_until_closed(QUEUED);
    fixture_release(&fixture);
    pthread_join(thread, NULL);
    for (int i = 0; i < taken; i++) {
        assert_true(crowd[i]->is_answered);
        assert_int_equal(crowd[i]->reply.status, i < QUEUED ? 201 : 404);
    }
    committer_stop(fixture.committer);
    assert_int_equal(request_submit(crowd[taken]), RESULT_CLOSED);
    assert_false(crowd[taken]->is_answered);
    assert_int_equal(atomic_load(&fixture.fatal_calls), 0);
    fixture_audit(&fixture);
}

/* Asked once a millisecond. */
static bool moves(int asked_times)
{
    for (; asked_times > 0; asked_times--) {
        if (committer_has_moved(fixture.committer))
            return true;
        clock_sleep_ms(&clock_system, 1);
    }
    return false;
}

static void a_committer_that_idles_moves_and_one_that_hangs_does_not(UNUSED void **state)
{
    assert_true(moves(5000));
    assert_true(moves(5000));
    fixture_hold(&fixture);
    (void)committer_has_moved(fixture.committer); /* up to here it did */
    assert_false(moves(50));
    fixture_release(&fixture);
    assert_true(moves(5000));
}

static void nothing_is_no_committer(UNUSED void **state)
{
    committer_free(NULL);
}

static void a_restart_goes_on_where_the_last_run_stopped(UNUSED void **state)
{
    for (int i = 1; i <= 3; i++) {
        crowd[0] = request_order(&fixture, i, 1, 1);
        assert_int_equal(request_do(crowd[0]), 201);
        assert_int_equal(crowd[0]->command.input.order.order_id, i);
        request_free(crowd[0]);
        crowd[0] = NULL;
        assert_ok(fixture_stop(&fixture, NULL));
        assert_ok(fixture_start(&fixture, NULL));
    }
    fixture_audit(&fixture);
}

static void every_command_is_counted_by_how_it_ended(UNUSED void **state)
{
    struct request *keyed = request_order(&fixture, 1, 1, 1);
    request_set_key(keyed, "key", "body");
    assert_int_equal(request_do_once(request_product(&fixture, "second", 1, 1)), 201);
    assert_int_equal(request_do_once(request_adjustment(&fixture, 2, 1)), 200);
    assert_int_equal(request_do(keyed), 201);
    assert_int_equal(request_do(keyed), 201);
    request_free(keyed);
    assert_int_equal(request_do_once(request_cancel(&fixture, 1)), 200);
    assert_int_equal(request_do_once(request_cancel(&fixture, 1)), 409);
    struct committer_stats now = stats();
    assert_int_equal(now.events[COMMAND_CREATE_PRODUCT], 2);
    assert_int_equal(now.events[COMMAND_UPDATE_PRODUCT], 0);
    assert_int_equal(now.events[COMMAND_ADJUST_STOCK], 1);
    assert_int_equal(now.events[COMMAND_CREATE_ORDER], 1);
    assert_int_equal(now.events[COMMAND_CANCEL_ORDER], 1);
    assert_int_equal(now.replayed, 1);
    assert_int_equal(now.refused, 1);
    assert_int_equal(now.failed, 0);
    assert_int_equal(now.batches, 7);
    assert_true(now.healthy);
}

static void every_batch_with_events_is_told_of_once(UNUSED void **state)
{
    fixture_hold(&fixture);
    int before = atomic_load(&fixture.commit_calls);
    submit_orders(20);
    fixture_release(&fixture);
    assert_answers(20, 201);
    assert_int_equal(request_do_once(request_cancel(&fixture, 999999)), 404);
    assert_int_equal(atomic_load(&fixture.commit_calls) - before, 1);
    assert_int_equal(request_do_once(request_order(&fixture, 1, 1, 1)), 201);
    committer_stop(fixture.committer);
    assert_int_equal(atomic_load(&fixture.commit_calls) - before, 2);
}

static void move_clock(UNUSED void *context)
{
    fake_clock_advance(&fixture.clock, 2);
}

static void commits_are_counted_by_how_long_they_took(UNUSED void **state)
{
    uint64_t counted = 0;
    struct committer_stats before = stats();
    fault_vfs_hook(move_clock, NULL);
    assert_int_equal(request_do_once(request_order(&fixture, 1, 1, 1)), 201);
    fault_vfs_hook(NULL, NULL);
    struct committer_stats now = stats();
    uint64_t took_us = now.commit_us - before.commit_us;
    assert_true(took_us >= 2000);
    for (int i = 0; i < COMMITTER_BUCKETS; i++) {
        bool fits = (uint64_t)committer_bucket_us(i) >= took_us &&
                    (i == 0 || (uint64_t)committer_bucket_us(i - 1) < took_us);
        assert_int_equal(now.commit_buckets[i] - before.commit_buckets[i], fits);
        counted += now.commit_buckets[i];
    }
    assert_int_equal(counted, now.batches);
}

static void buckets_rise_and_the_last_takes_everything(UNUSED void **state)
{
    for (int i = 1; i < COMMITTER_BUCKETS; i++)
        assert_true(committer_bucket_us(i) > committer_bucket_us(i - 1));
    assert_int_equal(committer_bucket_us(COMMITTER_BUCKETS - 1), INT64_MAX);
}

enum { TILLS = 4, SALES = 100 };

/* Sells, and cancels every third sale, as fast as the answers come. */
static void *run_till(void *context)
{
    int64_t user_id = *(const int64_t *)context;
    intptr_t wrong = 0;
    for (int i = 0; i < SALES; i++) {
        struct request *order = request_order(&fixture, user_id, 1, 1);
        wrong += request_do(order) != 201;
        if (i % 3 == 0)
            wrong += request_do_once(
                         request_cancel(&fixture, order->command.input.order.order_id)) != 200;
        request_free(order);
    }
    return (void *)wrong;
}

static void many_tills_sell_at_once(UNUSED void **state)
{
    pthread_t threads[TILLS];
    int64_t user_ids[TILLS];
    for (int i = 0; i < TILLS; i++) {
        user_ids[i] = i + 1;
        assert_int_equal(pthread_create(&threads[i], NULL, run_till, &user_ids[i]), 0);
    }
    for (int i = 0; i < TILLS; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM orders"), TILLS * SALES);
    assert_int_equal(fixture_ask(&fixture, "SELECT stock FROM products"),
                     STOCK - TILLS * SALES + TILLS * (SALES / 3 + 1));
    fixture_audit(&fixture);
}

/* From here on the committer has no thread. */

enum { STEPS_MAX = 1000, RESERVE_BYTES = 1 << 20 };

static int state_of(void)
{
    return committer_machine(fixture.committer)->state;
}

static int64_t step(void)
{
    return committer_step(fixture.committer, clock_monotonic_ms(&fixture.clock.clock));
}

/* Until the state comes; fails where it doesn't. */
static void step_to(enum committer_state state)
{
    for (int steps = 0; state_of() != (int)state; steps++) {
        assert_in_range(steps, 0, STEPS_MAX);
        assert_int_equal(step(), 0);
    }
}

/* Until only another call would make work. */
static void step_on(void)
{
    for (int steps = 0; step() != CLOCK_FOREVER; steps++)
        assert_in_range(steps, 0, STEPS_MAX);
}

static int step_through(struct request *request)
{
    assert_ok(request_submit(request));
    step_on();
    assert_true(request->is_answered);
    int status = request->reply.status;
    request_free(request);
    return status;
}

static void start_stepped(void)
{
    fixture.is_stepped = true;
    assert_ok(fixture_start(&fixture, NULL));
    disk_check(fixture.disk);
}

static int set_up_stepped(UNUSED void **state)
{
    fixture_init(&fixture);
    fault_vfs_watch(fixture.folder.path, true);
    start_stepped();
    assert_int_equal(step_through(request_product(&fixture, "iPhone", STOCK, 999)), 201);
    return 0;
}

static int tear_down_stepped(void **state)
{
    fault_vfs_heal();
    return tear_down(state);
}

static void start_anew(void)
{
    void *unused = NULL;
    tear_down_stepped(&unused);
    set_up_stepped(&unused);
}

static void without_a_thread_an_answer_comes_in_the_step_after_the_flush(UNUSED void **state)
{
    static const int STATES[] = {COMMITTER_IDLE, COMMITTER_EXECUTING, COMMITTER_COMMITTING,
                                 COMMITTER_ANSWERING};
    crowd[0] = request_order(&fixture, 1, 1, 1);
    assert_int_equal(step(), CLOCK_FOREVER);
    assert_ok(request_submit(crowd[0]));
    for (size_t i = 0; i < ARRAY_LENGTH(STATES); i++) {
        bool is_durable = STATES[i] == COMMITTER_ANSWERING;
        assert_int_equal(state_of(), STATES[i]);
        assert_false(crowd[0]->is_answered);
        assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM orders"), is_durable);
        assert_int_equal(step(), 0);
    }
    assert_true(crowd[0]->is_answered);
    assert_int_equal(crowd[0]->reply.status, 201);
    assert_int_equal(fault_vfs_unflushed_wal(), 0);
    step_on();
    assert_int_equal(state_of(), COMMITTER_IDLE);
}

static void without_a_thread_what_is_still_queued_at_the_end_is_dropped(UNUSED void **state)
{
    submit_orders(3);
    step_to(COMMITTER_COMMITTING);
    fixture_crash(&fixture);
    assert_false(crowd[0]->is_answered);
    start_stepped();
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM orders"), 0);
    fixture_audit(&fixture);
}

static void a_wakeup_is_a_round_and_no_work(UNUSED void **state)
{
    assert_true(committer_has_moved(fixture.committer));
    assert_false(committer_has_moved(fixture.committer));
    assert_int_equal(step(), CLOCK_FOREVER);
    assert_true(committer_has_moved(fixture.committer));
    assert_int_equal(state_of(), COMMITTER_IDLE);
}

static void what_the_disk_refused_at_the_commit_is_executed_again(UNUSED void **state)
{
    fixture.reserve_bytes = RESERVE_BYTES;
    assert_ok(fixture_stop(&fixture, NULL));
    start_stepped();
    submit_orders(3);
    step_to(COMMITTER_COMMITTING);
    fault_vfs_fail(FAULT_WRITE, 1, 1, SQLITE_FULL);
    assert_int_equal(step(), 0);
    assert_int_equal(state_of(), COMMITTER_EXECUTING);
    assert_false(crowd[0]->is_answered);
    step_on();
    assert_answers(3, 201);
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM orders"), 3);
    fixture_audit(&fixture);
}

static void a_batch_that_cannot_be_executed_is_not_committed(UNUSED void **state)
{
    assert_ok(fixture_stop(&fixture, NULL));
    start_stepped(); /* with nothing of the tables in memory */
    submit_orders(3);
    step_to(COMMITTER_EXECUTING);
    fault_vfs_fail(FAULT_READ, 1, 1, SQLITE_IOERR_READ);
    assert_int_equal(step(), 0);
    assert_int_equal(state_of(), COMMITTER_ANSWERING);
    step_on();
    assert_answers(3, 500);
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM orders"), 0);
    fixture_audit(&fixture);
}

/* Gives the committer something to do in every state: a batch that makes a checkpoint due, a key
 * that has expired, old events. */
static void make_work(void)
{
    struct request *keyed = request_order(&fixture, 1, 1, 1);
    request_set_key(keyed, "key", "body");
    assert_int_equal(step_through(keyed), 201);
    fake_clock_advance(&fixture.clock, 2 * FIXTURE_ANSWERS_KEPT_MS);
    for (int i = 0; i < REQUEST_LARGE_ORDERS; i++) {
        crowd[i] = request_large_order(&fixture);
        assert_ok(request_submit(crowd[i]));
    }
    committer_prune_events(fixture.committer, INT64_MAX, FIXTURE_NOW_MS + 1);
}

static void all_work_is_done_before_it_idles(UNUSED void **state)
{
    make_work();
    step_to(COMMITTER_PRUNING);
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM idempotency_keys"), 0);
    step_on();
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM events"), REQUEST_LARGE_ORDERS);
    committer_prune_events(fixture.committer, INT64_MAX, INT64_MAX);
    assert_int_equal(step(), 0);
    assert_int_equal(state_of(), COMMITTER_PRUNING);
    step_on();
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM events"), 1);
}

static void a_flush_that_fails_is_final_in_every_state(UNUSED void **state)
{
    static const enum committer_state STATES[] = {COMMITTER_COMMITTING, COMMITTER_CHECKPOINTING,
                                                  COMMITTER_EXPIRING, COMMITTER_PRUNING};
    for (size_t i = 0; i < ARRAY_LENGTH(STATES); i++) {
        make_work();
        step_to(STATES[i]);
        struct request *late = request_cancel(&fixture, 1);
        assert_ok(request_submit(late));
        fault_vfs_fail(FAULT_SYNC, 1, 1, SQLITE_IOERR_FSYNC);
        step_to(COMMITTER_FAILED);
        assert_int_equal(fault_vfs_hits(), 1);
        assert_int_equal(atomic_load(&fixture.fatal_calls), 1);
        assert_int_equal(request_submit(crowd[0]), RESULT_CLOSED);
        int64_t written = fault_vfs_count(FAULT_WRITE), flushed = fault_vfs_count(FAULT_SYNC);
        step_to(COMMITTER_CLOSED);
        assert_int_equal(step(), CLOCK_FOREVER);
        assert_int_equal(late->reply.status, 500);
        assert_int_equal(fault_vfs_count(FAULT_WRITE), written);
        assert_int_equal(fault_vfs_count(FAULT_SYNC), flushed);
        assert_int_equal(atomic_load(&fixture.fatal_calls), 1);
        request_free(late);
        start_anew();
    }
}

static void a_stop_in_any_state_works_off_the_batch_and_prunes_nothing(UNUSED void **state)
{
    for (int i = COMMITTER_IDLE; i <= COMMITTER_PRUNING; i++) {
        make_work();
        struct request *late = request_order(&fixture, 1, 1, 1);
        step_to((enum committer_state)i);
        assert_ok(request_submit(late));
        committer_stop(fixture.committer);
        step_to(COMMITTER_CLOSED);
        assert_answers(REQUEST_LARGE_ORDERS, 201);
        assert_int_equal(request_wait(late), 201);
        assert_int_equal(request_submit(late), RESULT_CLOSED);
        bool is_pruned = i == COMMITTER_PRUNING;
        assert_int_equal(fixture_ask(&fixture, "SELECT min(sequence) = 3 FROM events"), is_pruned);
        request_free(late);
        if (!is_pruned)
            fixture_audit(&fixture);
        start_anew();
    }
}

static void the_diagram_is_the_table(UNUSED void **state)
{
    assert_diagram("appliance/committer.h", &COMMITTER_MACHINE);
}

static void every_transition_was_taken(UNUSED void **state)
{
    assert_every_transition_taken(&COMMITTER_MACHINE);
}

#define STEPPED(name) cmocka_unit_test_setup_teardown(name, set_up_stepped, tear_down_stepped)
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(one_command_alone_is_a_batch),
        TEST(an_answer_goes_out_after_its_commit_was_flushed),
        TEST(what_has_queued_is_committed_together),
        TEST(a_batch_has_a_limit),
        TEST(commands_are_done_in_the_order_they_came),
        TEST(a_refused_command_does_not_spoil_its_batch),
        TEST(a_command_that_fails_does_not_spoil_its_batch),
        TEST(a_full_queue_is_busy),
        TEST(stopping_works_off_what_has_queued_and_takes_nothing_more),
        TEST(a_committer_that_idles_moves_and_one_that_hangs_does_not),
        TEST(nothing_is_no_committer),
        TEST(a_restart_goes_on_where_the_last_run_stopped),
        TEST(every_command_is_counted_by_how_it_ended),
        TEST(every_batch_with_events_is_told_of_once),
        TEST(commits_are_counted_by_how_long_they_took),
        TEST(buckets_rise_and_the_last_takes_everything),
        TEST(many_tills_sell_at_once),
        STEPPED(without_a_thread_an_answer_comes_in_the_step_after_the_flush),
        STEPPED(without_a_thread_what_is_still_queued_at_the_end_is_dropped),
        STEPPED(a_wakeup_is_a_round_and_no_work),
        STEPPED(what_the_disk_refused_at_the_commit_is_executed_again),
        STEPPED(a_batch_that_cannot_be_executed_is_not_committed),
        STEPPED(all_work_is_done_before_it_idles),
        STEPPED(a_flush_that_fails_is_final_in_every_state),
        STEPPED(a_stop_in_any_state_works_off_the_batch_and_prunes_nothing),
        cmocka_unit_test(the_diagram_is_the_table),
        cmocka_unit_test(every_transition_was_taken),
    };
    return RUN_TESTS(argc, argv, tests);
}
