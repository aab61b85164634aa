#include "tests/support/unit.h"

#include "appliance/committer.h"

#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/appliance_fixture.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/journal_audit.h"

enum { CROWD = 256, STOCK = 1000000, RESERVE_BYTES = 1 << 20 };

static struct fixture fixture;
static struct request *crowd[CROWD];

static void start(int64_t reserve_bytes)
{
    fixture.reserve_bytes = reserve_bytes;
    assert_ok(fixture_start(&fixture, NULL));
    disk_check(fixture.disk);
    assert_int_equal(request_do_once(request_product(&fixture, "iPhone", STOCK, 999)), 201);
}

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    fault_vfs_watch(fixture.folder.path, true);
    start(0);
    return 0;
}

static int set_up_with_reserve(UNUSED void **state)
{
    fixture_init(&fixture);
    fault_vfs_watch(fixture.folder.path, true);
    start(RESERVE_BYTES);
    return 0;
}

static void forget_crowd(void)
{
    for (int i = 0; i < CROWD; i++)
        request_free(crowd[i]);
    memset(crowd, 0, sizeof crowd);
}

static int tear_down(UNUSED void **state)
{
    fault_vfs_heal();
    fixture_done(&fixture);
    forget_crowd();
    return 0;
}

static struct committer_stats stats(void)
{
    struct committer_stats now;
    committer_stats(fixture.committer, &now);
    return now;
}

static int sell(void)
{
    return request_do_once(request_order(&fixture, 1, 1, 1));
}

static int create_product(void)
{
    return request_do_once(request_product(&fixture, "second", 1, 1));
}

static int64_t count_orders(void)
{
    return fixture_ask(&fixture, "SELECT count(*) FROM orders");
}

/* Orders in one batch, while the `nth` call and `times` - 1 more fail. */
static void sell_together(int count, enum fault_call call, int64_t nth, int64_t times, int code)
{
    fixture_hold(&fixture);
    for (int i = 0; i < count; i++) {
        crowd[i] = request_order(&fixture, i + 1, 1, 1);
        assert_ok(request_submit(crowd[i]));
    }
    fault_vfs_fail(call, nth, times, code);
    fixture_release(&fixture);
}

static void assert_statuses(int count, int status)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(request_wait(crowd[i]), status);
        assert_int_equal(crowd[i]->command.has_event, status < 300);
        assert_int_equal(crowd[i]->reply.location[0] != '\0', status < 300);
    }
}

static void a_batch_that_cannot_be_written_fails_whole(UNUSED void **state)
{
    sell_together(20, FAULT_WRITE, 3, 1, SQLITE_IOERR_WRITE);
    assert_statuses(20, 500);
    assert_int_equal(fault_vfs_hits(), 1);
    assert_int_equal(stats().failed, 20);
    assert_false(stats().healthy);
    assert_int_equal(count_orders(), 0);
    assert_int_equal(atomic_load(&fixture.fatal_calls), 0);
    fixture_audit(&fixture);
}

static void the_batch_after_a_failed_one_goes_on_without_a_gap(UNUSED void **state)
{
    assert_int_equal(sell(), 201);
    sell_together(5, FAULT_WRITE, 1, 1, SQLITE_IOERR_WRITE);
    assert_statuses(5, 500);
    assert_int_equal(sell(), 201);
    assert_true(stats().healthy);
    assert_int_equal(count_orders(), 2);
    fixture_audit(&fixture);
    assert_ok(fixture_stop(&fixture, NULL));
    fixture_audit(&fixture);
}

static void an_answer_of_a_failed_batch_is_not_kept_under_its_key(UNUSED void **state)
{
    struct request *order = request_order(&fixture, 1, 1, 1);
    request_set_key(order, "key", "body");
    fault_vfs_fail(FAULT_WRITE, 1, 1, SQLITE_IOERR_WRITE);
    assert_int_equal(request_do(order), 500);
    assert_int_equal(request_do(order), 201);
    assert_int_equal(request_do(order), 201);
    request_free(order);
    assert_int_equal(count_orders(), 1);
    fixture_audit(&fixture);
}

static bool has_ballast(void)
{
    char path[FOLDER_PATH_SIZE];
    folder_file(&fixture.folder, "ballast", path);
    return access(path, F_OK) == 0;
}

static void a_full_disk_gives_the_reserve_back_and_the_sale_succeeds(UNUSED void **state)
{
    assert_true(has_ballast());
    sell_together(3, FAULT_WRITE, 2, 1, SQLITE_FULL);
    assert_statuses(3, 201);
    assert_int_equal(fault_vfs_hits(), 1);
    assert_false(has_ballast());
    assert_int_equal(disk_stage(fixture.disk), DISK_LOW);
    assert_int_equal(count_orders(), 3);
    fixture_audit(&fixture);
}

static void when_the_reserve_is_used_up_a_full_disk_is_said_so(UNUSED void **state)
{
    sell_together(3, FAULT_WRITE, 1, FAULT_FOR_EVER, SQLITE_FULL);
    assert_statuses(3, 507);
    assert_true(crowd[0]->reply.retry_after_s > 0);
    assert_contains(buf_text(&crowd[0]->reply.body), "disk-full");
    assert_false(has_ballast());
    assert_false(stats().healthy);
    fault_vfs_heal();
    assert_int_equal(count_orders(), 0);
    fixture_audit(&fixture);
}

static void the_disk_is_full_when_a_write_fails_with_no_reserve_left(UNUSED void **state)
{
    fault_vfs_fail(FAULT_WRITE, 1, FAULT_FOR_EVER, SQLITE_FULL);
    assert_int_equal(sell(), 507);
    assert_int_equal(disk_stage(fixture.disk), DISK_FULL);
}

static void sales_go_on_by_themselves_when_there_is_room_again(UNUSED void **state)
{
    sell_together(3, FAULT_WRITE, 1, FAULT_FOR_EVER, SQLITE_FULL);
    assert_statuses(3, 507);
    assert_int_equal(sell(), 507);
    fault_vfs_heal();
    assert_int_equal(sell(), 201);
    assert_int_equal(disk_stage(fixture.disk), DISK_LOW);
    assert_int_equal(create_product(), 507);
    disk_check(fixture.disk);
    assert_int_equal(disk_stage(fixture.disk), DISK_OK);
    assert_int_equal(create_product(), 201);
    assert_int_equal(count_orders(), 1);
    fixture_audit(&fixture);
}

static void without_a_reserve_one_success_is_all_it_takes(UNUSED void **state)
{
    fault_vfs_fail(FAULT_WRITE, 1, FAULT_FOR_EVER, SQLITE_FULL);
    assert_int_equal(sell(), 507);
    assert_int_equal(disk_stage(fixture.disk), DISK_FULL);
    fault_vfs_heal();
    assert_int_equal(sell(), 201);
    assert_int_equal(disk_stage(fixture.disk), DISK_OK);
}

static void what_writes_nothing_is_no_sign_of_room(UNUSED void **state)
{
    fault_vfs_fail(FAULT_WRITE, 1, FAULT_FOR_EVER, SQLITE_FULL);
    assert_int_equal(sell(), 507);
    assert_int_equal(request_do_once(request_cancel(&fixture, 77)), 404);
    assert_int_equal(disk_stage(fixture.disk), DISK_FULL);
    assert_false(stats().healthy);
}

static void on_a_full_disk_every_change_is_tried(UNUSED void **state)
{
    fault_vfs_fail(FAULT_WRITE, 1, FAULT_FOR_EVER, SQLITE_FULL);
    assert_int_equal(create_product(), 507);
    assert_int_equal(disk_stage(fixture.disk), DISK_FULL);
    fault_vfs_heal();
    assert_int_equal(create_product(), 201);
}

static void on_a_low_disk_only_sales_go_on(UNUSED void **state)
{
    assert_true(disk_release_reserve(fixture.disk));
    assert_int_equal(disk_stage(fixture.disk), DISK_LOW);
    assert_int_equal(sell(), 201);
    assert_int_equal(create_product(), 507);
    assert_int_equal(request_do_once(request_adjustment(&fixture, 1, 1)), 507);
    assert_int_equal(request_do_once(request_cancel(&fixture, 1)), 200);
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM products"), 1);
    fixture_audit(&fixture);
}

static void what_a_low_disk_refused_can_be_tried_again_under_its_key(UNUSED void **state)
{
    struct request *before = request_adjustment(&fixture, 1, 1);
    struct request *during = request_adjustment(&fixture, 1, 1);
    request_set_key(before, "before", "body");
    request_set_key(during, "during", "body");
    assert_int_equal(request_do(before), 200);
    assert_true(disk_release_reserve(fixture.disk));
    assert_int_equal(request_do(before), 200);
    assert_int_equal(request_do(during), 507);
    disk_check(fixture.disk);
    assert_int_equal(request_do(during), 200);
    assert_int_equal(fixture_ask(&fixture, "SELECT stock FROM products"), STOCK + 2);
    request_free(before);
    request_free(during);
}

static void wait_until_fatal(void)
{
    for (int i = 0; i < 10000 && atomic_load(&fixture.fatal_calls) == 0; i++)
        clock_sleep_ms(&clock_system, 1);
    assert_int_equal(atomic_load(&fixture.fatal_calls), 1);
}

static void a_failed_flush_is_final(UNUSED void **state)
{
    assert_int_equal(sell(), 201);
    sell_together(5, FAULT_SYNC, 1, 1, SQLITE_IOERR_FSYNC);
    assert_statuses(5, 500);
    wait_until_fatal();
    assert_false(stats().healthy);
    assert_int_equal(sell(), 503);
    committer_stop(fixture.committer);
    assert_int_equal(atomic_load(&fixture.fatal_calls), 1);
    assert_int_equal(fault_vfs_hits(), 1);
}

static void nobody_in_the_queue_is_served_after_a_failed_flush(UNUSED void **state)
{
    fixture_hold(&fixture);
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = request_order(&fixture, i + 1, 1, 1);
        assert_ok(request_submit(crowd[i]));
    }
    struct request *late = request_order(&fixture, 7, 1, 1);
    assert_ok(request_submit(late));
    fault_vfs_fail(FAULT_SYNC, 1, 1, SQLITE_IOERR_FSYNC);
    fixture_release(&fixture);
    assert_statuses(CROWD, 500);
    assert_int_equal(request_wait(late), 500);
    request_free(late);
    committer_stop(fixture.committer);
    assert_int_equal(atomic_load(&fixture.fatal_calls), 1);
    assert_int_equal(fault_vfs_hits(), 1);
}

static void nothing_is_written_after_a_failed_flush(UNUSED void **state)
{
    sell_together(5, FAULT_SYNC, 1, 1, SQLITE_IOERR_FSYNC);
    assert_statuses(5, 500);
    int64_t written = fault_vfs_count(FAULT_WRITE), flushed = fault_vfs_count(FAULT_SYNC);
    assert_true(sell() >= 500);
    committer_stop(fixture.committer);
    assert_int_equal(fault_vfs_count(FAULT_WRITE), written);
    assert_int_equal(fault_vfs_count(FAULT_SYNC), flushed);
}

static enum fault_call checkpoint_call;
static int checkpoint_code;

/* In the last answer of the batch: what the committer does next is the checkpoint. */
static void fail_checkpoint(UNUSED struct request *request)
{
    fault_vfs_fail(checkpoint_call, 1, 1, checkpoint_code);
}

static void sell_until_checkpoint(enum fault_call call, int code)
{
    checkpoint_call = call;
    checkpoint_code = code;
    fixture_hold(&fixture);
    for (int i = 0; i < REQUEST_LARGE_ORDERS; i++)
        crowd[i] = request_large_order(&fixture);
    crowd[REQUEST_LARGE_ORDERS - 1]->on_answer = fail_checkpoint;
    for (int i = 0; i < REQUEST_LARGE_ORDERS; i++)
        assert_ok(request_submit(crowd[i]));
    fixture_release(&fixture);
    assert_statuses(REQUEST_LARGE_ORDERS, 201);
}

static void a_checkpoint_that_fails_harms_no_sale(UNUSED void **state)
{
    sell_until_checkpoint(FAULT_WRITE, SQLITE_FULL);
    assert_int_equal(sell(), 201);
    assert_int_equal(fault_vfs_hits(), 1);
    assert_true(stats().healthy);
    assert_int_equal(disk_stage(fixture.disk), DISK_OK);
    assert_int_equal(atomic_load(&fixture.fatal_calls), 0);
    fixture_audit(&fixture);
}

static void a_checkpoint_that_cannot_be_flushed_is_final(UNUSED void **state)
{
    sell_until_checkpoint(FAULT_SYNC, SQLITE_IOERR_FSYNC);
    wait_until_fatal();
    assert_int_equal(fault_vfs_hits(), 1);
    assert_int_equal(sell(), 503);
    assert_int_equal(count_orders(), REQUEST_LARGE_ORDERS);
    fixture_audit(&fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_WITH_RESERVE(name) \
    cmocka_unit_test_setup_teardown(name, set_up_with_reserve, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_batch_that_cannot_be_written_fails_whole),
        TEST(the_batch_after_a_failed_one_goes_on_without_a_gap),
        TEST(an_answer_of_a_failed_batch_is_not_kept_under_its_key),
        TEST_WITH_RESERVE(a_full_disk_gives_the_reserve_back_and_the_sale_succeeds),
        TEST_WITH_RESERVE(when_the_reserve_is_used_up_a_full_disk_is_said_so),
        TEST_WITH_RESERVE(the_disk_is_full_when_a_write_fails_with_no_reserve_left),
        TEST_WITH_RESERVE(sales_go_on_by_themselves_when_there_is_room_again),
        TEST(without_a_reserve_one_success_is_all_it_takes),
        TEST(what_writes_nothing_is_no_sign_of_room),
        TEST(on_a_full_disk_every_change_is_tried),
        TEST_WITH_RESERVE(on_a_low_disk_only_sales_go_on),
        TEST_WITH_RESERVE(what_a_low_disk_refused_can_be_tried_again_under_its_key),
        TEST(a_failed_flush_is_final),
        TEST(nobody_in_the_queue_is_served_after_a_failed_flush),
        TEST(nothing_is_written_after_a_failed_flush),
        TEST(a_checkpoint_that_fails_harms_no_sale),
        TEST(a_checkpoint_that_cannot_be_flushed_is_final),
    };
    return RUN_TESTS(argc, argv, tests);
}
