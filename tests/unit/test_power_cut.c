/* The power goes hundreds of times while orders come in, and each time what the disk then holds is
 * opened by the real code: whoever had been told "created" or "cancelled" finds it so, once. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/db.h"
#include "tests/support/appliance_fixture.h"
#include "tests/support/fault_image.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/journal_audit.h"

enum { REQUESTS_MAX = 2000, BURST_MAX = 6, STOCK = 100000, WAL_FRAME = 4096 + 24 };

static struct fixture fixture;
static struct request *requests[REQUESTS_MAX];
static int request_count;
static uint64_t burst_luck;

/* What had been answered so far; touched in the committer's thread alone while it runs. An order's
 * user is its number in `requests`, so that it can be told from all others. */
static bool is_created[REQUESTS_MAX], is_cancelled[REQUESTS_MAX]; /* by user, by order id */
static int keyed_answers;

/* The cuts: one in `cut_every` changes, on average; 0 for none. */
static struct fixture copy;
static uint64_t cut_luck;
static unsigned cut_every;
static int cuts;
static struct error first_problem;

static void note_answer(struct request *request)
{
    const struct command *command = &request->command;
    if (request->reply.status >= 300)
        error_set(&first_problem, RESULT_INTERNAL, "an answer %d", request->reply.status);
    else if (command->kind == COMMAND_CANCEL_ORDER)
        is_cancelled[command->input.order_id] = true;
    else if (command->kind == COMMAND_CREATE_ORDER)
        is_created[command->input.order.user_id] = true;
    keyed_answers += command->has_key;
}

static void count_number(void *context, const char *text)
{
    int *counts = context;
    counts[strtol(text, NULL, 10)]++;
}

/* How often each number comes in a column. */
static enum result count_numbers(struct db *db, const char *sql, int *ret_counts,
                                 struct error *error)
{
    memset(ret_counts, 0, REQUESTS_MAX * sizeof *ret_counts);
    return db_query_text(db, sql, count_number, ret_counts, error);
}

static enum result check_answers(struct db *db, struct error *error)
{
    static int created[REQUESTS_MAX], cancelled[REQUESTS_MAX];
    enum result result = count_numbers(db, "SELECT user_id FROM orders", created, error);
    if (result == RESULT_OK)
        result = count_numbers(db, "SELECT order_id FROM orders WHERE status = 'cancelled'",
                               cancelled, error);
    for (int i = 0; i < REQUESTS_MAX && result == RESULT_OK; i++) {
        if (created[i] > 1 || (is_created[i] && created[i] == 0))
            result = error_set(error, RESULT_CORRUPT, "order %d is there %d times", i, created[i]);
        else if (is_cancelled[i] && cancelled[i] == 0)
            result = error_set(error, RESULT_CORRUPT, "order id %d isn't cancelled any more", i);
    }
    return result;
}

static enum result check_keys(struct db *db, struct error *error)
{
    int64_t keys = 0;
    enum result result = db_query_int(db, "SELECT count(*) FROM idempotency_keys", &keys, error);
    if (result == RESULT_OK && keys < keyed_answers)
        result = error_set(error, RESULT_CORRUPT, "%lld keys of %d are left", (long long)keys,
                           keyed_answers);
    return result;
}

/* Opens what is left as the next start would. */
static enum result check_copy(struct error *error)
{
    struct db *db = NULL;
    char path[JOURNAL_PATH_SIZE];
    journal_path(copy.folder.path, path);
    enum result result = fixture_open(&copy, error);
    if (result == RESULT_OK)
        result = fixture_stop(&copy, error);
    if (result == RESULT_OK)
        result = journal_audit(copy.folder.path, error);
    if (result == RESULT_OK)
        result = db_open(path, DB_READER, &db, error);
    if (result == RESULT_OK)
        result = check_answers(db, error);
    if (result == RESULT_OK)
        result = check_keys(db, error);
    db_close(db);
    return result;
}

static void empty_copy(void)
{
    static const char *const NAMES[] = {"journal.db", "journal.db-wal", "journal.db-shm",
                                        "journal.db-journal", "journal.lock"};
    char path[FOLDER_PATH_SIZE];
    for (size_t i = 0; i < ARRAY_LENGTH(NAMES); i++) {
        folder_file(&copy.folder, NAMES[i], path);
        unlink(path);
    }
}

/* In whichever thread is about to change a file. */
static void maybe_cut_power(UNUSED void *context)
{
    struct error problem = {0};
    if (cut_every == 0 || fault_random(&cut_luck) % cut_every != 0 || first_problem.text[0])
        return;
    cuts++;
    uint64_t seed = cut_luck;
    fault_vfs_cut_power(copy.folder.path, seed);
    enum result result = check_copy(&problem);
    if (result != RESULT_OK)
        error_set(&first_problem, result, "cut %d, seed %llx: %s", cuts, (unsigned long long)seed,
                  problem.text[0] ? problem.text : result_text(result));
    empty_copy();
}

static struct request *submit(struct request *request)
{
    assert_in_range(request_count, 0, REQUESTS_MAX - 1);
    requests[request_count++] = request;
    request->on_answer = note_answer;
    assert_ok(request_submit(request));
    return request;
}

static void submit_order(void)
{
    char key[16];
    struct request *order = request_order(&fixture, request_count, 1, 1);
    if (request_count % 3 == 0) {
        snprintf(key, sizeof key, "key %d", request_count);
        request_set_key(order, key, "body");
    }
    submit(order);
}

/* Bursts of orders and cancellations; the next one comes while the one before is being flushed. */
static void sell(int bursts)
{
    int answered = request_count;
    for (int i = 0; i < bursts; i++) {
        int first = request_count;
        int size = 1 + (int)(fault_random(&burst_luck) % BURST_MAX);
        for (int j = 0; j < size; j++)
            submit_order();
        for (; answered < first; answered++)
            request_wait(requests[answered]);
        const struct command *past = answered ? &requests[answered - 1]->command : NULL;
        if (past && past->kind == COMMAND_CREATE_ORDER)
            submit(request_cancel(&fixture, past->input.order.order_id));
    }
    for (; answered < request_count; answered++)
        request_wait(requests[answered]);
    assert_string_equal(first_problem.text, "");
}

static int set_up(UNUSED void **state)
{
    fixture_init(&fixture);
    fixture_init(&copy);
    request_count = keyed_answers = cuts = 0;
    memset(is_created, 0, sizeof is_created);
    memset(is_cancelled, 0, sizeof is_cancelled);
    first_problem = (struct error){0};
    fault_vfs_watch(fixture.folder.path, true);
    fault_vfs_hook(maybe_cut_power, NULL);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    cut_every = 0;
    fixture_done(&fixture);
    fixture_done(&copy);
    fault_vfs_hook(NULL, NULL);
    for (int i = 0; i < request_count; i++)
        request_free(requests[i]);
    return 0;
}

static void start(void)
{
    assert_ok(fixture_start(&fixture, NULL));
    submit(request_product(&fixture, "iPhone", STOCK, 999));
    assert_int_equal(request_wait(requests[request_count - 1]), 201);
}

static void the_power_may_go_at_any_moment_of_the_first_start(UNUSED void **state)
{
    cut_every = 1;
    for (int i = 0; i < 3; i++) {
        assert_ok(fixture_open(&fixture, NULL));
        assert_ok(fixture_stop(&fixture, NULL));
        assert_string_equal(first_problem.text, "");
        fixture_done(&fixture);
        fixture_init(&fixture);
        fault_vfs_watch(fixture.folder.path, true);
    }
    assert_true(cuts > 100);
}

static void no_answer_is_lost_when_the_power_goes(UNUSED void **state)
{
    start();
    cut_every = 3;
    sell(80);
    assert_true(cuts > 200);
}

static long wal_pages(void)
{
    char path[FOLDER_PATH_SIZE];
    folder_file(&fixture.folder, "journal.db-wal", path);
    return file_size(path) / WAL_FRAME;
}

static void no_answer_is_lost_when_the_power_goes_during_a_checkpoint(UNUSED void **state)
{
    start();
    while (wal_pages() < 960)
        sell(4);
    cut_every = 5;
    sell(40);
    assert_true(cuts > 50);
    assert_in_range(wal_pages(), 960, 1100);
}

static void what_is_asked_for_again_after_the_power_went_is_not_done_twice(UNUSED void **state)
{
    start();
    sell(20);
    fault_vfs_cut_power(copy.folder.path, cut_luck);
    int64_t orders = fixture_ask(&fixture, "SELECT count(*) FROM orders");
    fixture_crash(&fixture);
    fault_vfs_watch(copy.folder.path, true);
    assert_ok(fixture_start(&copy, NULL));
    for (int i = 0; i < request_count; i++) {
        struct request *request = requests[i];
        if (!request->command.has_key)
            continue;
        request->fixture = &copy;
        assert_int_equal(request_do(request), 201);
        assert_false(request->command.has_event);
    }
    assert_int_equal(fixture_ask(&copy, "SELECT count(*) FROM orders"), orders);
    fixture_audit(&copy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(the_power_may_go_at_any_moment_of_the_first_start),
        TEST(no_answer_is_lost_when_the_power_goes),
        TEST(no_answer_is_lost_when_the_power_goes_during_a_checkpoint),
        TEST(what_is_asked_for_again_after_the_power_went_is_not_done_twice),
    };
    return RUN_TESTS(argc, argv, tests);
}
