#include "core/worker.h"

#include <semaphore.h>
#include <stdatomic.h>

#include "tests/support/fake_clock.h"
#include "tests/support/unit.h"

enum { QUEUE_MAX = 3, CROWD = 400, THREADS = 4 };

struct item {
    atomic_int times; /* it was worked on */
    int rank;         /* the how-manieth it was */
};

static struct fake_clock hands;
static struct item items[CROWD];
static atomic_int done, strangers;
static atomic_int each[WORKER_THREADS_MAX]; /* items by thread */
static sem_t begun, gate;
static bool is_held; /* work waits at the gate */
static struct worker *worker;

static void work(void *context, size_t thread, void *item)
{
    struct item *mine = item;
    if (is_held) {
        sem_post(&begun);
        while (sem_wait(&gate) != 0)
            continue;
    }
    if (context != items)
        atomic_fetch_add(&strangers, 1);
    atomic_fetch_add(&each[thread], 1);
    mine->rank = atomic_fetch_add(&done, 1);
    atomic_fetch_add(&mine->times, 1);
}

static int set_up(UNUSED void **state)
{
    for (int i = 0; i < CROWD; i++)
        atomic_store(&items[i].times, 0);
    for (int i = 0; i < WORKER_THREADS_MAX; i++)
        atomic_store(&each[i], 0);
    atomic_store(&done, 0);
    atomic_store(&strangers, 0);
    fake_clock_init(&hands, 1800000000000);
    sem_init(&begun, 0, 0);
    sem_init(&gate, 0, 0);
    is_held = false;
    return 0;
}

static int tear_down(UNUSED void **state)
{
    assert_int_equal(atomic_load(&strangers), 0);
    worker_free(worker);
    worker = NULL;
    sem_destroy(&begun);
    sem_destroy(&gate);
    return 0;
}

static void start(size_t threads, size_t queue_max)
{
    const struct worker_options options = {.threads = threads,
                                           .queue_max = queue_max,
                                           .work = work,
                                           .context = items,
                                           .clock = &hands.clock};
    assert_ok(worker_start(&options, &worker, NULL));
}

/* A worker whose thread is at the gate with item 0, and whose queue is full. */
static void start_held(void)
{
    is_held = true;
    start(1, QUEUE_MAX);
    assert_ok(worker_submit(worker, &items[0]));
    while (sem_wait(&begun) != 0)
        continue;
    for (int i = 1; i <= QUEUE_MAX; i++)
        assert_ok(worker_submit(worker, &items[i]));
}

static void open_gate(int times)
{
    for (int i = 0; i < times; i++)
        sem_post(&gate);
}

static void assert_each_once(int count)
{
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(atomic_load(&items[i].times), i < count ? 1 : 0);
}

static void one_thread_works_in_the_order_of_arrival(UNUSED void **state)
{
    start(1, CROWD);
    for (int i = 0; i < CROWD; i++)
        assert_ok(worker_submit(worker, &items[i]));
    worker_close(worker);
    assert_each_once(CROWD);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(items[i].rank, i);
}

static void several_threads_take_each_item_once(UNUSED void **state)
{
    int sum = 0;
    start(THREADS, QUEUE_MAX);
    for (int i = 0; i < CROWD; i++)
        while (worker_submit(worker, &items[i]) == RESULT_BUSY)
            clock_sleep_ms(&clock_system, 1);
    worker_close(worker);
    assert_each_once(CROWD);
    for (int i = 0; i < THREADS; i++)
        sum += atomic_load(&each[i]);
    assert_int_equal(sum, CROWD);
}

static void threads_work_side_by_side(UNUSED void **state)
{
    is_held = true;
    start(THREADS, QUEUE_MAX);
    for (int i = 0; i < THREADS; i++) {
        assert_ok(worker_submit(worker, &items[i]));
        while (sem_wait(&begun) != 0)
            continue;
    }
    open_gate(THREADS);
    worker_close(worker);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(atomic_load(&each[i]), 1);
}

static void a_full_queue_is_busy_and_has_room_again(UNUSED void **state)
{
    start_held();
    assert_int_equal(worker_submit(worker, &items[QUEUE_MAX + 1]), RESULT_BUSY);
    open_gate(1);
    while (sem_wait(&begun) != 0)
        continue;
    assert_ok(worker_submit(worker, &items[QUEUE_MAX + 1]));
    assert_int_equal(worker_submit(worker, &items[QUEUE_MAX + 2]), RESULT_BUSY);
    open_gate(QUEUE_MAX + 1);
    worker_close(worker);
    assert_each_once(QUEUE_MAX + 2);
}

static void *close_it(void *unused)
{
    worker_close(worker);
    return unused;
}

static void a_close_works_off_what_has_queued_and_accepts_nothing_more(UNUSED void **state)
{
    pthread_t thread;
    start_held();
    assert_int_equal(pthread_create(&thread, NULL, close_it, NULL), 0);
    while (worker_submit(worker, &items[QUEUE_MAX + 1]) != RESULT_CLOSED)
        clock_sleep_ms(&clock_system, 1);
    assert_int_equal(atomic_load(&done), 0);
    open_gate(QUEUE_MAX + 1);
    pthread_join(thread, NULL);
    assert_each_once(QUEUE_MAX + 1);
    worker_close(worker);
    assert_int_equal(worker_submit(worker, &items[QUEUE_MAX + 1]), RESULT_CLOSED);
    assert_each_once(QUEUE_MAX + 1);
}

static void a_worker_with_nothing_to_do_can_be_freed(UNUSED void **state)
{
    start(WORKER_THREADS_MAX, 1);
    worker_free(worker);
    worker = NULL;
    worker_free(NULL);
    assert_each_once(0);
}

static void limits_are_limits(UNUSED void **state)
{
    const struct worker_options many = {
        .threads = WORKER_THREADS_MAX + 1, .queue_max = 1, .work = work, .clock = &hands.clock};
    const struct worker_options none = {
        .threads = 1, .queue_max = 0, .work = work, .clock = &hands.clock};
    const struct worker_options huge = {
        .threads = 1, .queue_max = SIZE_MAX / 2, .work = work, .clock = &hands.clock};
    assert_aborts((void)!worker_start(&many, &worker, NULL));
    assert_aborts((void)!worker_start(&none, &worker, NULL));
    assert_int_equal(worker_start(&huge, &worker, NULL), RESULT_NO_MEMORY);
    start(1, 1);
    assert_aborts((void)!worker_submit(worker, NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(one_thread_works_in_the_order_of_arrival),
        TEST(several_threads_take_each_item_once),
        TEST(threads_work_side_by_side),
        TEST(a_full_queue_is_busy_and_has_room_again),
        TEST(a_close_works_off_what_has_queued_and_accepts_nothing_more),
        TEST(a_worker_with_nothing_to_do_can_be_freed),
        TEST(limits_are_limits),
    };
    return RUN_TESTS(argc, argv, tests);
}
