#include "tests/support/unit.h"

#include "tests/support/appliance_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/json.h"
#include "core/log.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/journal_audit.h"
#include "tests/support/machine_check.h"

enum { PATIENCE_S = 60 };

static const uint8_t RANDOM[] = {0x3D, 0x91, 0x0C, 0xE2, 0x57, 0xA8, 0x44, 0x1B, 0xF6, 0x6F, 0x82};

void fixture_init(struct fixture *fixture)
{
    *fixture = (struct fixture){0};
    log_start("test", LOG_ERROR + 1);
    fault_vfs_install();
    folder_make(&fixture->folder);
    fake_clock_init(&fixture->clock, FIXTURE_NOW_MS);
    fake_random_init(&fixture->random, RANDOM, sizeof RANDOM);
    fixture->options = (struct journal_options){.data_dir = fixture->folder.path,
                                                .clock = &fixture->clock.clock,
                                                .random = &fixture->random.source};
    pthread_mutex_init(&fixture->lock, NULL);
    pthread_cond_init(&fixture->changed, NULL);
}

static void let_go(struct fixture *fixture)
{
    if (fixture->committer) {
        committer_stop(fixture->committer);
        machine_check_note(committer_machine(fixture->committer));
    }
    committer_free(fixture->committer);
    disk_free(fixture->disk);
    fixture->committer = NULL;
    fixture->disk = NULL;
}

void fixture_done(struct fixture *fixture)
{
    fixture_release(fixture);
    fixture_crash(fixture);
    folder_remove(&fixture->folder);
    pthread_mutex_destroy(&fixture->lock);
    pthread_cond_destroy(&fixture->changed);
}

enum result fixture_open(struct fixture *fixture, struct error *error)
{
    enum result result =
        disk_new(fixture->folder.path, fixture->reserve_bytes, &fixture->disk, error);
    if (result == RESULT_OK)
        result = journal_open(&fixture->options, &fixture->journal, error);
    if (result != RESULT_OK)
        let_go(fixture);
    return result;
}

static void on_fatal(void *context)
{
    struct fixture *fixture = context;
    atomic_fetch_add(&fixture->fatal_calls, 1);
}

static void on_commit(void *context)
{
    struct fixture *fixture = context;
    atomic_fetch_add(&fixture->commit_calls, 1);
}

enum result fixture_start(struct fixture *fixture, struct error *error)
{
    enum result result = fixture_open(fixture, error);
    if (result != RESULT_OK)
        return result;
    const struct committer_options options = {
        .journal = fixture->journal,
        .disk = fixture->disk,
        .clock = &fixture->clock.clock,
        .answers_kept_ms = FIXTURE_ANSWERS_KEPT_MS,
        .on_commit = on_commit,
        .on_fatal = on_fatal,
        .context = fixture,
    };
    result = fixture->is_stepped ? committer_new(&options, &fixture->committer, error)
                                 : committer_start(&options, &fixture->committer, error);
    if (result != RESULT_OK)
        fixture_crash(fixture);
    return result;
}

enum result fixture_stop(struct fixture *fixture, struct error *error)
{
    struct journal *journal = fixture->journal;
    let_go(fixture);
    fixture->journal = NULL;
    return journal_close(journal, error);
}

void fixture_crash(struct fixture *fixture)
{
    let_go(fixture);
    journal_abandon(fixture->journal);
    fixture->journal = NULL;
}

int64_t fixture_ask(const struct fixture *fixture, const char *sql)
{
    return journal_ask(fixture->folder.path, "%s", sql);
}

void fixture_audit(const struct fixture *fixture)
{
    struct error error = {0};
    enum result result = journal_audit(fixture->folder.path, &error);
    assert_string_equal(error.text, "");
    assert_ok(result);
}

/* In the committer's thread, which must not touch the request once it counts as answered. */
static void on_done(struct command *command)
{
    struct request *request = command->context;
    struct fixture *fixture = request->fixture;
    if (request->on_answer)
        request->on_answer(request);
    pthread_mutex_lock(&fixture->lock);
    request->rank = ++fixture->answers;
    request->is_answered = true;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
}

static struct request *request_new(struct fixture *fixture, enum command_kind kind)
{
    struct request *request = calloc(1, sizeof *request);
    assert_non_null(request);
    request->fixture = fixture;
    http_reply_init(&request->reply);
    command_init(&request->command, kind, &request->reply);
    request->command.done = on_done;
    request->command.context = request;
    return request;
}

void request_free(struct request *request)
{
    if (!request)
        return;
    command_done(&request->command);
    http_reply_done(&request->reply);
    free(request);
}

struct request *request_product(struct fixture *fixture, const char *name, int64_t stock,
                                int64_t price_minor)
{
    struct request *request = request_new(fixture, COMMAND_CREATE_PRODUCT);
    struct product *product = &request->command.input.product;
    *product = (struct product){.stock = stock, .price_minor = price_minor};
    snprintf(product->name, sizeof product->name, "%s", name);
    return request;
}

struct request *request_order(struct fixture *fixture, int64_t user_id, int64_t product_id,
                              int64_t quantity)
{
    struct request *request = request_new(fixture, COMMAND_CREATE_ORDER);
    struct order *order = &request->command.input.order;
    assert_ok(order_init(order, 1));
    order->user_id = user_id;
    order->lines[0] = (struct order_line){.product_id = product_id, .quantity = quantity};
    return request;
}

struct request *request_cancel(struct fixture *fixture, int64_t order_id)
{
    struct request *request = request_new(fixture, COMMAND_CANCEL_ORDER);
    request->command.input.order_id = order_id;
    return request;
}

struct request *request_adjustment(struct fixture *fixture, int64_t product_id, int64_t delta)
{
    struct request *request = request_new(fixture, COMMAND_ADJUST_STOCK);
    struct stock_adjustment *adjustment = &request->command.input.adjustment;
    *adjustment =
        (struct stock_adjustment){.product_id = product_id, .delta = delta, .reason = "counted"};
    return request;
}

struct request *request_large_order(struct fixture *fixture)
{
    struct request *request = request_order(fixture, 1, 1, 1);
    struct order *order = &request->command.input.order;
    order_done(order);
    assert_ok(order_init(order, ORDER_LINES_MAX));
    order->user_id = 1;
    for (int i = 0; i < ORDER_LINES_MAX; i++)
        order->lines[i] = (struct order_line){.product_id = 1, .quantity = 1};
    return request;
}

void request_set_key(struct request *request, const char *key, const char *body)
{
    struct command *command = &request->command;
    memset(command->key, 0, sizeof command->key);
    memset(command->request_hash, 0, sizeof command->request_hash);
    memcpy(command->key, key, strnlen(key, sizeof command->key));
    memcpy(command->request_hash, body, strnlen(body, sizeof command->request_hash));
    command->has_key = true;
}

enum result request_submit(struct request *request)
{
    struct committer *committer = request->fixture->committer;
    request->is_answered = false;
    request->rank = 0;
    return committer ? committer_submit(committer, &request->command) : RESULT_CLOSED;
}

int request_wait(struct request *request)
{
    struct fixture *fixture = request->fixture;
    struct timespec deadline;
    int waited = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&fixture->lock);
    while (!request->is_answered && waited == 0)
        waited = pthread_cond_timedwait(&fixture->changed, &fixture->lock, &deadline);
    pthread_mutex_unlock(&fixture->lock);
    assert_int_equal(waited, 0);
    return request->reply.status;
}

int request_do(struct request *request)
{
    return request_submit(request) == RESULT_OK ? request_wait(request) : 503;
}

int request_do_once(struct request *request)
{
    int status = request_do(request);
    request_free(request);
    return status;
}

static void stand_in_the_way(struct request *gate)
{
    struct fixture *fixture = gate->fixture;
    pthread_mutex_lock(&fixture->lock);
    gate->is_answered = true;
    pthread_cond_broadcast(&fixture->changed);
    while (fixture->holds)
        pthread_cond_wait(&fixture->changed, &fixture->lock);
    pthread_mutex_unlock(&fixture->lock);
}

/* A cancellation of no order changes nothing, and its answer keeps the committer waiting. */
void fixture_hold(struct fixture *fixture)
{
    struct request *gate = request_cancel(fixture, JSON_INTEGER_MAX);
    gate->on_answer = stand_in_the_way;
    fixture->holds = true;
    if (request_submit(gate) == RESULT_OK) {
        fixture->gate = gate;
        request_wait(gate);
    } else {
        request_free(gate);
    }
}

void fixture_release(struct fixture *fixture)
{
    struct request *gate = fixture->gate;
    if (!gate)
        return;
    pthread_mutex_lock(&fixture->lock);
    fixture->holds = false;
    pthread_cond_broadcast(&fixture->changed);
    while (gate->rank == 0)
        pthread_cond_wait(&fixture->changed, &fixture->lock);
    pthread_mutex_unlock(&fixture->lock);
    request_free(gate);
    fixture->gate = NULL;
}
