#include "appliance/stock_check.h"

#include <stdatomic.h>
#include <string.h>

#include "core/log.h"
#include "tests/support/fake_clock.h"
#include "tests/support/machine_check.h"
#include "tests/support/unit.h"

enum {
    WORKERS = 2,
    PRODUCTS = 4,
    TRIP_AFTER = 3,
    TIMEOUT_MS = 800,
    COOL_DOWN_MS = 5000,
    CROWD = STOCK_CHECK_QUEUE_MAX + 1,
    STEPS_MAX = 5000,
};

/* What the service says of a product, and how long it takes. */
struct answer {
    enum result result;
    int64_t stock;
    int64_t takes_ms;
};

struct sale {
    struct command command;
    struct http_reply reply;
    atomic_int checked; /* how often */
    int rank;           /* the how many-th sale that goes on */
};

static struct fake_clock clocks;
static struct stock_check *check;
static struct answer answers[PRODUCTS + 1]; /* by product */
static atomic_int queries[PRODUCTS + 1];
static atomic_int_least64_t queried_due_ms;
static atomic_int checked, freed;
static struct sale crowd[CROWD];

static enum result find_stock(UNUSED void *service, int64_t product_id, int64_t due_ms,
                              int64_t *ret_stock, struct error *error)
{
    const struct answer *answer = &answers[product_id];
    atomic_fetch_add(&queries[product_id], 1);
    if (answer->takes_ms > 0)
        fake_clock_advance(&clocks, answer->takes_ms);
    atomic_store(&queried_due_ms, due_ms);
    if (answer->result != RESULT_OK)
        return error_set(error, answer->result, "planned");
    *ret_stock = answer->stock;
    return RESULT_OK;
}

static void free_service(UNUSED void *service)
{
    atomic_fetch_add(&freed, 1);
}

static const struct inventory_service_ops OPS = {.find_stock = find_stock, .free = free_service};

static void on_checked(UNUSED void *context, struct command *command)
{
    struct sale *sale = command->context;
    sale->rank = atomic_fetch_add(&checked, 1) + 1;
    atomic_fetch_add(&sale->checked, 1);
}

static struct stock_check_options options_of(int worker_count)
{
    struct stock_check_options options = {
        .worker_count = worker_count,
        .timeout_ms = TIMEOUT_MS,
        .trip_after = TRIP_AFTER,
        .cool_down_ms = COOL_DOWN_MS,
        .clock = &clocks.clock,
        .on_checked = on_checked,
    };
    for (int i = 0; i < worker_count; i++)
        options.services[i].ops = &OPS;
    return options;
}

static int set_up(UNUSED void **state)
{
    const struct stock_check_options options = options_of(WORKERS);
    log_start("test", LOG_ERROR + 1);
    fake_clock_init(&clocks, 0);
    for (int i = 0; i <= PRODUCTS; i++) {
        answers[i] = (struct answer){.stock = 50};
        atomic_store(&queries[i], 0);
    }
    atomic_store(&checked, 0);
    atomic_store(&freed, 0);
    assert_ok(stock_check_new(&options, &check, NULL));
    return 0;
}

static void free_sale(struct sale *sale)
{
    if (sale->command.reply) {
        command_done(&sale->command);
        http_reply_done(&sale->reply);
    }
    *sale = (struct sale){0};
}

static int tear_down(UNUSED void **state)
{
    for (int i = 0; i < WORKERS; i++)
        machine_check_note(stock_check_machine(check, i));
    stock_check_free(check);
    check = NULL;
    assert_int_equal(atomic_load(&freed), WORKERS);
    for (int i = 0; i < CROWD; i++)
        free_sale(&crowd[i]);
    return 0;
}

/* A sale of one of each product that is named, 0 ending the list. */
static struct command *make_sale(int index, const int64_t *products)
{
    size_t count = 0;
    struct sale *sale = &crowd[index];
    free_sale(sale);
    while (products[count])
        count++;
    http_reply_init(&sale->reply);
    command_init(&sale->command, COMMAND_CREATE_ORDER, &sale->reply);
    sale->command.context = sale;
    struct order *order = &sale->command.input.order;
    assert_ok(order_init(order, count));
    for (size_t i = 0; i < count; i++)
        order->lines[i] = (struct order_line){.product_id = products[i], .quantity = 1};
    return &sale->command;
}

static enum result submit(int index)
{
    static const int64_t ONE[] = {1, 0};
    return stock_check_submit(check, make_sale(index, ONE));
}

static enum result submit_keyed(int index, const char *key)
{
    static const int64_t ONE[] = {1, 0};
    struct command *command = make_sale(index, ONE);
    command->has_key = true;
    memcpy(command->key, key, strlen(key));
    return stock_check_submit(check, command);
}

static int state_of(int worker)
{
    return stock_check_machine(check, worker)->state;
}

static int64_t step(int worker)
{
    return stock_check_step(check, worker, clock_monotonic_ms(&clocks.clock));
}

static void step_to(int worker, enum stock_check_state state)
{
    for (int steps = 0; state_of(worker) != (int)state; steps++) {
        assert_in_range(steps, 0, STEPS_MAX);
        assert_int_equal(step(worker), 0);
    }
}

static void step_on(int worker)
{
    for (int steps = 0; step(worker) != CLOCK_FOREVER; steps++)
        assert_in_range(steps, 0, STEPS_MAX);
}

static struct stock_check_stats stats(void)
{
    struct stock_check_stats now;
    stock_check_stats(check, &now);
    return now;
}

/* The sale went on, once, with this outcome. */
static void assert_outcome(int index, enum stock_check_outcome outcome)
{
    const struct order *order = &crowd[index].command.input.order;
    assert_int_equal(atomic_load(&crowd[index].checked), 1);
    assert_int_equal(order->stock_checked,
                     outcome == STOCK_CHECK_ENOUGH ? ORDER_STOCK_REMOTE : ORDER_STOCK_LOCAL);
    assert_int_equal(crowd[index].command.shortage.product_id != 0, outcome == STOCK_CHECK_SHORT);
}

/* One sale from its submission on. */
static void sell(enum stock_check_outcome outcome)
{
    uint64_t before = stats().outcomes[outcome];
    assert_ok(submit(0));
    step_on(0);
    assert_outcome(0, outcome);
    assert_int_equal(stats().outcomes[outcome], before + 1);
}

static void trip_breaker(void)
{
    answers[1].result = RESULT_TIMED_OUT;
    for (int i = 0; i < TRIP_AFTER; i++)
        sell(STOCK_CHECK_FAILED);
    assert_int_equal(stats().breaker, BREAKER_OPEN);
}

static void a_sale_waits_until_the_service_has_enough(UNUSED void **state)
{
    assert_int_equal(step(0), CLOCK_FOREVER);
    assert_ok(submit(0));
    assert_int_equal(step(0), 0);
    assert_int_equal(state_of(0), STOCK_CHECK_QUERYING);
    assert_int_equal(step(1), CLOCK_FOREVER);
    assert_int_equal(atomic_load(&queries[1]), 0);
    assert_int_equal(stats().waiting, 1);
    step_to(0, STOCK_CHECK_REPORTING);
    assert_int_equal(atomic_load(&queries[1]), 1);
    assert_int_equal(atomic_load(&queried_due_ms), clock_monotonic_ms(&clocks.clock) + TIMEOUT_MS);
    assert_int_equal(atomic_load(&checked), 0);
    step_on(0);
    assert_outcome(0, STOCK_CHECK_ENOUGH);
    assert_int_equal(stats().outcomes[STOCK_CHECK_ENOUGH], 1);
    assert_int_equal(stats().waiting, 0);
}

static void too_little_is_a_shortage_of_what_there_is(UNUSED void **state)
{
    static const int64_t STOCKS[] = {2, 0, -4};
    static const int64_t THREE[] = {1, 1, 1, 0};
    for (size_t i = 0; i < ARRAY_LENGTH(STOCKS); i++) {
        answers[1].stock = STOCKS[i];
        assert_ok(stock_check_submit(check, make_sale(0, THREE)));
        step_on(0);
        assert_outcome(0, STOCK_CHECK_SHORT);
        const struct stock_shortage *shortage = &crowd[0].command.shortage;
        assert_int_equal(shortage->product_id, 1);
        assert_int_equal(shortage->requested, 3);
        assert_int_equal(shortage->available, STOCKS[i] > 0 ? STOCKS[i] : 0);
    }
    assert_int_equal(stats().breaker, BREAKER_CLOSED);
}

static void each_product_is_asked_for_once_and_in_a_step_of_its_own(UNUSED void **state)
{
    static const int64_t MANY[] = {1, 2, 1, 3, 2, 0};
    assert_ok(stock_check_submit(check, make_sale(0, MANY)));
    step_to(0, STOCK_CHECK_QUERYING);
    for (int64_t product = 1; product <= 3; product++) {
        assert_int_equal(atomic_load(&queries[product]), 0);
        assert_int_equal(step(0), 0);
        assert_int_equal(atomic_load(&queries[product]), 1);
        assert_int_equal(state_of(0), STOCK_CHECK_QUERYING);
    }
    step_on(0);
    assert_outcome(0, STOCK_CHECK_ENOUGH);
    for (int64_t product = 1; product <= 3; product++)
        assert_int_equal(atomic_load(&queries[product]), 1);
}

static void a_product_that_is_unknown_leaves_the_others_to_be_asked_for(UNUSED void **state)
{
    static const int64_t BOTH[] = {1, 2, 0};
    static const struct {
        struct answer second;
        enum stock_check_outcome outcome;
    } CASES[] = {{{.stock = 50}, STOCK_CHECK_UNKNOWN},
                 {{.stock = 0}, STOCK_CHECK_SHORT},
                 {{.result = RESULT_NOT_FOUND}, STOCK_CHECK_UNKNOWN},
                 {{.result = RESULT_MALFORMED}, STOCK_CHECK_FAILED}};
    answers[1].result = RESULT_NOT_FOUND;
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        answers[2] = CASES[i].second;
        assert_ok(stock_check_submit(check, make_sale(0, BOTH)));
        step_on(0);
        assert_outcome(0, CASES[i].outcome);
        assert_int_equal(atomic_load(&queries[2]), i + 1);
    }
    assert_int_equal(stats().outcomes[STOCK_CHECK_UNKNOWN], 2);
}

static void after_a_shortage_or_a_failure_nothing_more_is_asked(UNUSED void **state)
{
    static const int64_t BOTH[] = {1, 2, 0};
    static const struct answer FIRST[] = {{.stock = 0}, {.result = RESULT_UNREACHABLE}};
    for (size_t i = 0; i < ARRAY_LENGTH(FIRST); i++) {
        answers[1] = FIRST[i];
        assert_ok(stock_check_submit(check, make_sale(0, BOTH)));
        step_on(0);
        assert_outcome(0, i == 0 ? STOCK_CHECK_SHORT : STOCK_CHECK_FAILED);
    }
    assert_int_equal(atomic_load(&queries[2]), 0);
}

static void failures_in_a_row_open_the_breaker_and_sales_go_on_at_once(UNUSED void **state)
{
    answers[1].result = RESULT_UNREACHABLE;
    for (int i = 1; i < TRIP_AFTER; i++)
        sell(STOCK_CHECK_FAILED);
    answers[1].result = RESULT_NOT_FOUND; /* it answers: not in a row any more */
    sell(STOCK_CHECK_UNKNOWN);
    trip_breaker();
    int asked = atomic_load(&queries[1]);
    assert_int_equal(submit(0), RESULT_BUSY);
    assert_int_equal(crowd[0].command.input.order.stock_checked, ORDER_STOCK_LOCAL);
    assert_int_equal(step(0), CLOCK_FOREVER);
    assert_int_equal(atomic_load(&queries[1]), asked);
    assert_int_equal(stats().outcomes[STOCK_CHECK_SKIPPED], 1);
    assert_int_equal(atomic_load(&crowd[0].checked), 0); /* it wasn't taken */
}

static void after_the_cool_down_one_sale_and_only_one_tries_the_service(UNUSED void **state)
{
    trip_breaker();
    fake_clock_advance(&clocks, COOL_DOWN_MS - 1);
    assert_int_equal(submit(0), RESULT_BUSY);
    fake_clock_advance(&clocks, 1);
    assert_int_equal(stats().breaker, BREAKER_HALF_OPEN);
    assert_ok(submit(0));
    assert_int_equal(submit(1), RESULT_BUSY);
    step_to(0, STOCK_CHECK_QUERYING);
    assert_int_equal(submit(2), RESULT_BUSY);
    step_on(0);
    assert_outcome(0, STOCK_CHECK_FAILED);
    assert_int_equal(stats().breaker, BREAKER_OPEN);
    assert_int_equal(submit(0), RESULT_BUSY);
    fake_clock_advance(&clocks, COOL_DOWN_MS);
    answers[1].result = RESULT_OK;
    sell(STOCK_CHECK_ENOUGH);
    assert_int_equal(stats().breaker, BREAKER_CLOSED);
    sell(STOCK_CHECK_ENOUGH);
}

static void a_sale_whose_time_has_passed_in_the_queue_asks_nobody(UNUSED void **state)
{
    assert_ok(submit(0));
    fake_clock_advance(&clocks, TIMEOUT_MS);
    assert_int_equal(step(0), 0);
    assert_int_equal(state_of(0), STOCK_CHECK_REPORTING);
    step_on(0);
    assert_outcome(0, STOCK_CHECK_SKIPPED);
    assert_int_equal(atomic_load(&queries[1]), 0);
}

static void a_trial_that_asked_nobody_leaves_its_place_to_the_next(UNUSED void **state)
{
    trip_breaker();
    fake_clock_advance(&clocks, COOL_DOWN_MS);
    assert_ok(submit(0));
    fake_clock_advance(&clocks, TIMEOUT_MS);
    step_on(0);
    assert_outcome(0, STOCK_CHECK_SKIPPED);
    assert_int_equal(stats().breaker, BREAKER_HALF_OPEN);
    answers[1].result = RESULT_OK;
    sell(STOCK_CHECK_ENOUGH);
    assert_int_equal(stats().breaker, BREAKER_CLOSED);
}

static void what_queued_before_the_breaker_opened_asks_nobody(UNUSED void **state)
{
    answers[1].result = RESULT_UNREACHABLE;
    for (int i = 0; i < TRIP_AFTER + 2; i++)
        assert_ok(submit(i));
    step_on(0);
    for (int i = 0; i < TRIP_AFTER + 2; i++)
        assert_outcome(i, i < TRIP_AFTER ? STOCK_CHECK_FAILED : STOCK_CHECK_SKIPPED);
    assert_int_equal(atomic_load(&queries[1]), TRIP_AFTER);
}

static void a_service_that_is_late_is_one_that_failed(UNUSED void **state)
{
    answers[1] = (struct answer){.result = RESULT_TIMED_OUT, .takes_ms = TIMEOUT_MS};
    assert_ok(submit(0));
    assert_ok(submit(1));
    step_on(0);
    assert_outcome(0, STOCK_CHECK_FAILED);
    assert_outcome(1, STOCK_CHECK_SKIPPED); /* its time went by with the first one's */
    assert_int_equal(atomic_load(&queries[1]), 1);
}

/* One that was on its way when the breaker opened says nothing of the service of now. */
static void a_late_answer_is_the_sales_and_not_the_breakers(UNUSED void **state)
{
    static const int64_t OTHER[] = {2, 0};
    assert_ok(stock_check_submit(check, make_sale(1, OTHER)));
    step_to(1, STOCK_CHECK_REPORTING);
    trip_breaker();
    step_on(1);
    assert_outcome(1, STOCK_CHECK_ENOUGH);
    assert_int_equal(stats().breaker, BREAKER_OPEN);
    fake_clock_advance(&clocks, COOL_DOWN_MS);
    assert_int_equal(stats().breaker, BREAKER_HALF_OPEN);
}

static void a_late_failure_does_not_open_a_breaker_that_has_closed_again(UNUSED void **state)
{
    static const int64_t OTHER[] = {2, 0};
    answers[2].result = RESULT_TIMED_OUT;
    assert_ok(stock_check_submit(check, make_sale(1, OTHER)));
    step_to(1, STOCK_CHECK_REPORTING);
    trip_breaker();
    answers[1].result = RESULT_OK;
    fake_clock_advance(&clocks, COOL_DOWN_MS);
    sell(STOCK_CHECK_ENOUGH);
    answers[1].result = RESULT_TIMED_OUT;
    for (int i = 1; i < TRIP_AFTER; i++)
        sell(STOCK_CHECK_FAILED);
    step_on(1);
    assert_outcome(1, STOCK_CHECK_FAILED);
    assert_int_equal(stats().breaker, BREAKER_CLOSED);
}

static void a_full_queue_lets_sales_go_on_at_once_and_in_order(UNUSED void **state)
{
    for (int i = 0; i < STOCK_CHECK_QUEUE_MAX; i++)
        assert_ok(submit(i));
    assert_int_equal(stats().waiting, STOCK_CHECK_QUEUE_MAX);
    assert_int_equal(submit(STOCK_CHECK_QUEUE_MAX), RESULT_BUSY);
    assert_int_equal(stats().outcomes[STOCK_CHECK_SKIPPED], 1);
    assert_int_equal(stats().breaker, BREAKER_CLOSED);
    step_to(0, STOCK_CHECK_QUERYING);
    assert_ok(submit(STOCK_CHECK_QUEUE_MAX));
    step_on(0);
    for (int i = 0; i < CROWD; i++) {
        assert_outcome(i, STOCK_CHECK_ENOUGH);
        assert_int_equal(crowd[i].rank, i + 1);
    }
}

static void the_same_key_conflicts_until_its_sale_goes_on(UNUSED void **state)
{
    assert_ok(submit_keyed(0, "key"));
    assert_int_equal(submit_keyed(1, "key"), RESULT_CONFLICT);
    assert_ok(submit_keyed(2, "other"));
    assert_ok(submit(3));
    step_to(0, STOCK_CHECK_QUERYING);
    assert_int_equal(submit_keyed(1, "key"), RESULT_CONFLICT);
    step_to(0, STOCK_CHECK_REPORTING);
    assert_int_equal(submit_keyed(1, "key"), RESULT_CONFLICT);
    assert_int_equal(step(0), 0);
    assert_outcome(0, STOCK_CHECK_ENOUGH);
    assert_ok(submit_keyed(1, "key"));
    step_on(0);
    for (int i = 0; i < 4; i++)
        assert_outcome(i, STOCK_CHECK_ENOUGH);
}

static void a_stop_in_any_state_lets_every_sale_go_on(UNUSED void **state)
{
    static const enum stock_check_state STATES[] = {STOCK_CHECK_IDLE, STOCK_CHECK_QUERYING,
                                                    STOCK_CHECK_REPORTING};
    void *unused = NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(STATES); i++) {
        for (int j = 0; j < 3; j++)
            assert_ok(submit(j));
        step_to(0, STATES[i]);
        stock_check_stop(check);
        assert_int_equal(submit(3), RESULT_BUSY);
        step_to(0, STOCK_CHECK_CLOSED);
        step_to(1, STOCK_CHECK_CLOSED);
        assert_int_equal(step(0), CLOCK_FOREVER);
        for (int j = 0; j < 3; j++)
            assert_outcome(j, STOCK_CHECK_ENOUGH);
        assert_int_equal(atomic_load(&crowd[3].checked), 0);
        tear_down(&unused);
        set_up(&unused);
    }
}

static void without_threads_what_still_waits_at_the_end_is_dropped(UNUSED void **state)
{
    assert_ok(submit(0));
    assert_ok(submit(1));
    step_to(0, STOCK_CHECK_QUERYING);
    /* tear_down() frees it */
}

static void every_outcome_has_a_name(UNUSED void **state)
{
    for (int i = 0; i < STOCK_CHECK_OUTCOMES; i++)
        assert_non_null(stock_check_outcome_text((enum stock_check_outcome)i));
    stock_check_free(NULL);
}

static void threads_check_many_sales_each_once(UNUSED void **state)
{
    struct stock_check *threaded = NULL;
    struct stock_check_options options = options_of(STOCK_CHECK_THREADS);
    static const int64_t BOTH[] = {3, 4, 0};
    options.clock = &clock_system;
    options.timeout_ms = 60000;
    assert_ok(stock_check_start(&options, &threaded, NULL));
    for (int i = 0; i < STOCK_CHECK_QUEUE_MAX; i++)
        assert_ok(stock_check_submit(threaded, make_sale(i, BOTH)));
    stock_check_stop(threaded);
    for (int i = 0; i < STOCK_CHECK_QUEUE_MAX; i++)
        assert_outcome(i, STOCK_CHECK_ENOUGH);
    assert_int_equal(stock_check_submit(threaded, make_sale(CROWD - 1, BOTH)), RESULT_BUSY);
    for (int i = 0; i < STOCK_CHECK_THREADS; i++)
        machine_check_note(stock_check_machine(threaded, i));
    stock_check_free(threaded);
    assert_int_equal(atomic_load(&freed), STOCK_CHECK_THREADS);
    atomic_store(&freed, 0);
}

static void a_sale_wakes_a_thread_that_idles(UNUSED void **state)
{
    struct stock_check *threaded = NULL;
    struct stock_check_options options = options_of(1);
    static const int64_t ONE[] = {1, 0};
    options.clock = &clock_system;
    options.timeout_ms = 60000;
    assert_ok(stock_check_start(&options, &threaded, NULL));
    for (int i = 0; i < 5; i++) {
        assert_ok(stock_check_submit(threaded, make_sale(i, ONE)));
        for (int tries = 0; tries < 10000 && atomic_load(&crowd[i].checked) == 0; tries++)
            clock_sleep_ms(&clock_system, 1);
        assert_outcome(i, STOCK_CHECK_ENOUGH);
    }
    stock_check_free(threaded); /* which stops it */
    atomic_store(&freed, 0);
}

static void the_diagram_is_the_table(UNUSED void **state)
{
    assert_diagram("appliance/stock_check.h", &STOCK_CHECK_MACHINE);
}

static void every_transition_was_taken(UNUSED void **state)
{
    assert_every_transition_taken(&STOCK_CHECK_MACHINE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sale_waits_until_the_service_has_enough),
        TEST(too_little_is_a_shortage_of_what_there_is),
        TEST(each_product_is_asked_for_once_and_in_a_step_of_its_own),
        TEST(a_product_that_is_unknown_leaves_the_others_to_be_asked_for),
        TEST(after_a_shortage_or_a_failure_nothing_more_is_asked),
        TEST(failures_in_a_row_open_the_breaker_and_sales_go_on_at_once),
        TEST(after_the_cool_down_one_sale_and_only_one_tries_the_service),
        TEST(a_sale_whose_time_has_passed_in_the_queue_asks_nobody),
        TEST(a_trial_that_asked_nobody_leaves_its_place_to_the_next),
        TEST(what_queued_before_the_breaker_opened_asks_nobody),
        TEST(a_service_that_is_late_is_one_that_failed),
        TEST(a_late_answer_is_the_sales_and_not_the_breakers),
        TEST(a_late_failure_does_not_open_a_breaker_that_has_closed_again),
        TEST(a_full_queue_lets_sales_go_on_at_once_and_in_order),
        TEST(the_same_key_conflicts_until_its_sale_goes_on),
        TEST(a_stop_in_any_state_lets_every_sale_go_on),
        TEST(without_threads_what_still_waits_at_the_end_is_dropped),
        TEST(every_outcome_has_a_name),
        TEST(threads_check_many_sales_each_once),
        TEST(a_sale_wakes_a_thread_that_idles),
        cmocka_unit_test(the_diagram_is_the_table),
        cmocka_unit_test(every_transition_was_taken),
    };
    return RUN_TESTS(argc, argv, tests);
}
