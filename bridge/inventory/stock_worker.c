#include "bridge/inventory/stock_worker.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/worker.h"

struct stock_worker {
    struct pg_options postgres;
    struct latch stopping;
    struct worker *worker;
    pthread_mutex_t lock; /* of the breaker */
    struct breaker breaker;
    struct pg *pg; /* the worker's thread's own */
};

static int64_t stock_worker_now_ms(const struct stock_worker *worker)
{
    return clock_monotonic_ms(worker->postgres.clock);
}

static void lose(struct stock_worker *worker, const struct error *error)
{
    LOG(LOG_WARN, "stock_worker.database", LOG_TEXT("error", error->text));
    pg_close(worker->pg);
    worker->pg = NULL;
}

static bool stock_worker_connect(struct stock_worker *worker)
{
    struct error error = {0};
    if (worker->pg && pg_is_alive(worker->pg))
        return true;
    pg_close(worker->pg);
    worker->pg = NULL;
    if (pg_connect(&worker->postgres, &worker->pg, &error) == DELIVERY_DONE)
        return true;
    lose(worker, &error);
    return false;
}

/* True if the database was there. */
static bool stock_worker_ask(struct stock_worker *worker, struct stock_request *request)
{
    struct error error = {0};
    if (!stock_worker_connect(worker)) {
        stock_request_refuse(request);
        return false;
    }
    bool there = stock_request_answer(request, worker->pg, &error) == DELIVERY_DONE;
    if (!there)
        lose(worker, &error);
    return there;
}

static void answer(void *context, UNUSED size_t thread, void *item)
{
    struct stock_worker *worker = context;
    struct stock_request *request = item;
    uint64_t generation = 0;
    pthread_mutex_lock(&worker->lock);
    enum result admitted =
        breaker_admit(&worker->breaker, stock_worker_now_ms(worker), &generation);
    pthread_mutex_unlock(&worker->lock);
    if (admitted != RESULT_OK || latch_is_raised(&worker->stopping)) {
        stock_request_refuse(request);
    } else {
        bool there = stock_worker_ask(worker, request);
        pthread_mutex_lock(&worker->lock);
        breaker_report(&worker->breaker, generation, there, stock_worker_now_ms(worker));
        pthread_mutex_unlock(&worker->lock);
    }
    http_exchange_resume(request->exchange);
}

enum result stock_worker_submit(struct stock_worker *worker, struct stock_request *request)
{
    return worker_submit(worker->worker, request);
}

enum breaker_state stock_worker_breaker(struct stock_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    enum breaker_state state = breaker_state(&worker->breaker, stock_worker_now_ms(worker));
    pthread_mutex_unlock(&worker->lock);
    return state;
}

enum result stock_worker_start(const struct pg_options *postgres, struct stock_worker **ret_worker,
                               struct error *error)
{
    static const struct breaker_options BREAKER = {.trip_after = STOCK_WORKER_TRIP_AFTER,
                                                   .close_after = 1,
                                                   .cool_down_ms = STOCK_WORKER_COOL_DOWN_MS};
    struct stock_worker *worker = calloc(1, sizeof *worker);
    if (!worker || latch_init(&worker->stopping) != RESULT_OK) {
        free(worker);
        return RESULT_NO_MEMORY;
    }
    worker->postgres = *postgres;
    worker->postgres.deadline_ms = STOCK_WORKER_DEADLINE_MS;
    worker->postgres.break_off = &worker->stopping;
    breaker_init(&worker->breaker, &BREAKER);
    pthread_mutex_init(&worker->lock, NULL);
    const struct worker_options options = {.threads = 1,
                                           .queue_max = STOCK_WORKER_QUEUE_MAX,
                                           .work = answer,
                                           .context = worker,
                                           .clock = worker->postgres.clock};
    enum result result = worker_start(&options, &worker->worker, error);
    if (result != RESULT_OK) {
        stock_worker_free(worker);
        return result;
    }
    *ret_worker = worker;
    return RESULT_OK;
}

void stock_worker_stop(struct stock_worker *worker)
{
    if (!worker)
        return;
    latch_raise(&worker->stopping);
    worker_close(worker->worker);
    pg_close(worker->pg);
    worker->pg = NULL;
}

void stock_worker_free(struct stock_worker *worker)
{
    if (!worker)
        return;
    worker_free(worker->worker);
    pthread_mutex_destroy(&worker->lock);
    latch_done(&worker->stopping);
    free(worker);
}
