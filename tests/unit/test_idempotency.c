#include "tests/support/unit.h"

#include "appliance/committer.h"

#include <string.h>

#include "tests/support/appliance_fixture.h"

static struct fixture fixture;

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    assert_ok(fixture_start(&fixture, NULL));
    assert_int_equal(request_do_once(request_product(&fixture, "iPhone", 50, 999)), 201);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    fixture_done(&fixture);
    return 0;
}

static struct request *keyed(struct request *request, const char *key, const char *body)
{
    request_set_key(request, key, body);
    return request;
}

static struct request *keyed_order(const char *key, int64_t quantity)
{
    return keyed(request_order(&fixture, 1, 1, quantity), key, "one phone");
}

static int64_t count_orders(void)
{
    return fixture_ask(&fixture, "SELECT count(*) FROM orders");
}

static int64_t count_keys(void)
{
    return fixture_ask(&fixture, "SELECT count(*) FROM idempotency_keys");
}

static void assert_same_answer(struct request *first, struct request *second)
{
    assert_int_equal(second->reply.status, first->reply.status);
    assert_string_equal(second->reply.location, first->reply.location);
    assert_string_equal(second->reply.content_type, first->reply.content_type);
    assert_int_equal(second->reply.body.size, first->reply.body.size);
    assert_string_equal(buf_text(&second->reply.body), buf_text(&first->reply.body));
}

/* Does both, the second after whatever `between` does, and frees them. */
static void assert_answered_again(struct request *first, struct request *second,
                                  void (*between)(void))
{
    request_do(first);
    int64_t sequence = journal_head(fixture.journal).sequence;
    if (between)
        between();
    request_do(second);
    assert_same_answer(first, second);
    assert_false(second->command.has_event);
    if (!between)
        assert_int_equal(journal_head(fixture.journal).sequence, sequence);
    request_free(first);
    request_free(second);
}

static void sell_out(void)
{
    assert_int_equal(request_do_once(request_order(&fixture, 2, 1, 49)), 201);
}

static void fill_up(void)
{
    assert_int_equal(request_do_once(request_adjustment(&fixture, 1, 100)), 200);
}

static void restart(void)
{
    fixture_crash(&fixture);
    assert_ok(fixture_start(&fixture, NULL));
}

static void the_same_request_gets_the_same_answer_byte_for_byte(UNUSED void **state)
{
    assert_answered_again(keyed_order("key", 1), keyed_order("key", 1), NULL);
    assert_int_equal(count_orders(), 1);
    assert_int_equal(fixture_ask(&fixture, "SELECT stock FROM products"), 49);
    fixture_audit(&fixture);
}

static void the_answer_stays_though_the_stock_has_gone(UNUSED void **state)
{
    assert_answered_again(keyed_order("key", 1), keyed_order("key", 1), sell_out);
    assert_int_equal(count_orders(), 2);
}

static void the_answer_outlives_a_crash(UNUSED void **state)
{
    assert_answered_again(keyed_order("key", 1), keyed_order("key", 1), restart);
    assert_int_equal(count_orders(), 1);
}

static void a_refusal_is_kept_as_well(UNUSED void **state)
{
    assert_answered_again(keyed_order("key", 51), keyed_order("key", 51), fill_up);
    assert_answered_again(keyed(request_cancel(&fixture, 7), "other", "cancel 7"),
                          keyed(request_cancel(&fixture, 7), "other", "cancel 7"), NULL);
    assert_int_equal(count_orders(), 0);
    assert_int_equal(count_keys(), 2);
}

static void every_kind_of_command_is_done_once_under_its_key(UNUSED void **state)
{
    sell_out();
    assert_answered_again(keyed(request_cancel(&fixture, 1), "a", "cancel"),
                          keyed(request_cancel(&fixture, 1), "a", "cancel"), NULL);
    assert_answered_again(keyed(request_product(&fixture, "second", 1, 1), "b", "product"),
                          keyed(request_product(&fixture, "second", 1, 1), "b", "product"), NULL);
    assert_answered_again(keyed(request_adjustment(&fixture, 1, -1), "c", "adjust"),
                          keyed(request_adjustment(&fixture, 1, -1), "c", "adjust"), NULL);
    assert_int_equal(fixture_ask(&fixture, "SELECT stock FROM products WHERE product_id = 1"), 49);
    assert_int_equal(fixture_ask(&fixture, "SELECT count(*) FROM products"), 2);
    fixture_audit(&fixture);
}

static void a_key_belongs_to_one_request(UNUSED void **state)
{
    struct request *other = keyed(request_order(&fixture, 1, 1, 2), "key", "two phones");
    assert_int_equal(request_do_once(keyed_order("key", 1)), 201);
    assert_int_equal(request_do(other), 422);
    assert_contains(buf_text(&other->reply.body), "key-reused");
    assert_string_equal(other->reply.content_type, "application/problem+json");
    assert_string_equal(other->reply.location, "");
    request_free(other);
    assert_int_equal(count_orders(), 1);
    assert_answered_again(keyed_order("key", 1), keyed_order("key", 1), NULL);
}

static void other_keys_are_other_requests(UNUSED void **state)
{
    assert_int_equal(request_do_once(keyed_order("key 1", 1)), 201);
    assert_int_equal(request_do_once(keyed_order("key 2", 1)), 201);
    assert_int_equal(request_do_once(request_order(&fixture, 1, 1, 1)), 201);
    assert_int_equal(count_orders(), 3);
    assert_int_equal(count_keys(), 2);
}

static void the_same_key_in_one_batch_is_in_flight(UNUSED void **state)
{
    struct request *first = keyed_order("key", 1), *same = keyed_order("key", 1);
    struct request *other = keyed(request_order(&fixture, 1, 1, 2), "key", "two phones");
    fixture_hold(&fixture);
    assert_ok(request_submit(first));
    assert_ok(request_submit(same));
    assert_ok(request_submit(other));
    fixture_release(&fixture);
    assert_int_equal(request_wait(first), 201);
    assert_int_equal(request_wait(same), 409);
    assert_contains(buf_text(&same->reply.body), "in-flight");
    assert_true(same->reply.retry_after_s > 0);
    assert_int_equal(request_wait(other), 409);
    assert_int_equal(count_orders(), 1);
    request_free(other);
    request_free(same);
    same = keyed_order("key", 1);
    assert_int_equal(request_do(same), 201);
    assert_same_answer(first, same);
    request_free(same);
    request_free(first);
}

static void a_key_of_an_earlier_batch_is_answered_among_others(UNUSED void **state)
{
    struct request *again = keyed_order("key", 1), *order = request_order(&fixture, 1, 1, 1);
    struct request *twice = keyed_order("key", 1);
    assert_int_equal(request_do_once(keyed_order("key", 1)), 201);
    fixture_hold(&fixture);
    assert_ok(request_submit(again));
    assert_ok(request_submit(order));
    assert_ok(request_submit(twice));
    fixture_release(&fixture);
    assert_int_equal(request_wait(again), 201);
    assert_int_equal(request_wait(order), 201);
    assert_int_equal(request_wait(twice), 201);
    assert_same_answer(again, twice);
    assert_int_equal(order->command.input.order.order_id, 2);
    request_free(again);
    request_free(order);
    request_free(twice);
}

/* Any command gives the committer the occasion to sweep. */
static void let_it_sweep(int64_t later_ms)
{
    fake_clock_advance(&fixture.clock, later_ms);
    assert_int_equal(request_do_once(request_cancel(&fixture, 77)), 404);
    assert_int_equal(request_do_once(request_cancel(&fixture, 77)), 404);
}

static void a_key_is_forgotten_when_its_time_is_over(UNUSED void **state)
{
    assert_int_equal(request_do_once(keyed_order("key", 1)), 201);
    let_it_sweep(FIXTURE_ANSWERS_KEPT_MS + 1);
    assert_int_equal(count_keys(), 0);
    assert_int_equal(request_do_once(keyed_order("key", 1)), 201);
    assert_int_equal(count_orders(), 2);
}

static void a_key_is_remembered_for_its_whole_time(UNUSED void **state)
{
    assert_int_equal(request_do_once(keyed_order("old", 1)), 201);
    fake_clock_advance(&fixture.clock, FIXTURE_ANSWERS_KEPT_MS / 2);
    assert_int_equal(request_do_once(keyed_order("young", 1)), 201);
    let_it_sweep(FIXTURE_ANSWERS_KEPT_MS / 2);
    assert_int_equal(count_keys(), 2);
    let_it_sweep(20000);
    assert_int_equal(count_keys(), 1);
    assert_int_equal(request_do_once(keyed_order("young", 1)), 201);
    assert_int_equal(count_orders(), 2);
}

/* A box boots with a clock that is behind, sells, and the clock is set right. */
static void a_clock_that_leaps_forward_makes_no_key_old(UNUSED void **state)
{
    assert_int_equal(request_do_once(keyed_order("key", 1)), 201);
    atomic_fetch_add(&fixture.clock.wall_ms, 2 * FIXTURE_ANSWERS_KEPT_MS);
    let_it_sweep(20000);
    assert_int_equal(request_do_once(keyed_order("key", 1)), 201);
    assert_int_equal(count_orders(), 1);
}

/* … or with a clock that is ahead: its keys must not keep the others for ever. */
static void keys_from_the_future_do_not_stop_the_sweep(UNUSED void **state)
{
    atomic_fetch_add(&fixture.clock.wall_ms, INT64_C(1000) * FIXTURE_ANSWERS_KEPT_MS);
    assert_int_equal(request_do_once(keyed_order("ahead", 1)), 201);
    atomic_fetch_sub(&fixture.clock.wall_ms, INT64_C(1000) * FIXTURE_ANSWERS_KEPT_MS);
    assert_int_equal(request_do_once(keyed_order("key", 1)), 201);
    assert_int_equal(count_keys(), 2);
    let_it_sweep(FIXTURE_ANSWERS_KEPT_MS + 20000);
    assert_int_equal(count_keys(), 1);
}

static void many_old_keys_are_swept_a_share_at_a_time(UNUSED void **state)
{
    enum { KEYS = JOURNAL_KEYS_SWEPT + 100 };
    static struct request *requests[KEYS];
    fixture_hold(&fixture);
    for (int i = 0; i < KEYS; i++) {
        requests[i] = request_cancel(&fixture, 77);
        requests[i]->command.has_key = true;
        memcpy(requests[i]->command.key, &i, sizeof i);
        assert_ok(request_submit(requests[i]));
    }
    fixture_release(&fixture);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(request_wait(requests[i]), 404);
        request_free(requests[i]);
    }
    assert_int_equal(count_keys(), KEYS);
    fake_clock_advance(&fixture.clock, FIXTURE_ANSWERS_KEPT_MS + 1);
    /* The first is answered before the share is swept, the second after. */
    assert_int_equal(request_do_once(request_cancel(&fixture, 77)), 404);
    assert_int_equal(request_do_once(request_cancel(&fixture, 77)), 404);
    assert_in_range(count_keys(), 0, KEYS - JOURNAL_KEYS_SWEPT);
    assert_int_equal(request_do_once(request_cancel(&fixture, 77)), 404);
    assert_int_equal(count_keys(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(the_same_request_gets_the_same_answer_byte_for_byte),
        TEST(the_answer_stays_though_the_stock_has_gone),
        TEST(the_answer_outlives_a_crash),
        TEST(a_refusal_is_kept_as_well),
        TEST(every_kind_of_command_is_done_once_under_its_key),
        TEST(a_key_belongs_to_one_request),
        TEST(other_keys_are_other_requests),
        TEST(the_same_key_in_one_batch_is_in_flight),
        TEST(a_key_of_an_earlier_batch_is_answered_among_others),
        TEST(a_key_is_forgotten_when_its_time_is_over),
        TEST(a_key_is_remembered_for_its_whole_time),
        TEST(a_clock_that_leaps_forward_makes_no_key_old),
        TEST(keys_from_the_future_do_not_stop_the_sweep),
        TEST(many_old_keys_are_swept_a_share_at_a_time),
    };
    return RUN_TESTS(argc, argv, tests);
}
