#include "bridge/inventory/stock_worker.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/log.h"

struct stock_desk {
    struct pg_options postgres;
    pthread_t thread;
    struct latch stopping;

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t wake;
    struct stock_request *queue[STOCK_DESK_QUEUE_MAX]; /* a ring */
    size_t first, count;
    struct breaker breaker;

    struct pg *pg; /* the thread's own */
};

static int64_t now_ms(const struct stock_desk *desk)
{
    return clock_monotonic_ms(desk->postgres.clock);
}

static void lose(struct stock_desk *desk, const struct error *error)
{
    LOG(LOG_WARN, "stock_desk.database", LOG_TEXT("error", error->text));
    pg_close(desk->pg);
    desk->pg = NULL;
}

static bool connect(struct stock_desk *desk)
{
    struct error error = {0};
    if (desk->pg && pg_is_alive(desk->pg))
        return true;
    pg_close(desk->pg);
    desk->pg = NULL;
    if (pg_connect(&desk->postgres, &desk->pg, &error) == DELIVERY_DONE)
        return true;
    lose(desk, &error);
    return false;
}

/* True if the database was there. */
static bool ask(struct stock_desk *desk, struct stock_request *request)
{
    struct error error = {0};
    if (!connect(desk)) {
        stock_request_refuse(request);
        return false;
    }
    bool there = stock_request_answer(request, desk->pg, &error) == DELIVERY_DONE;
    if (!there)
        lose(desk, &error);
    return there;
}

static void answer(struct stock_desk *desk, struct stock_request *request)
{
    uint64_t generation = 0;
    pthread_mutex_lock(&desk->lock);
    enum result admitted = breaker_admit(&desk->breaker, now_ms(desk), &generation);
    pthread_mutex_unlock(&desk->lock);
    if (admitted != RESULT_OK || latch_is_raised(&desk->stopping)) {
        stock_request_refuse(request);
    } else {
        bool there = ask(desk, request);
        pthread_mutex_lock(&desk->lock);
        breaker_report(&desk->breaker, generation, there, now_ms(desk));
        pthread_mutex_unlock(&desk->lock);
    }
    http_exchange_resume(request->exchange);
}

/* NULL when it is time to stop and nothing waits. */
static struct stock_request *next_request(struct stock_desk *desk)
{
    struct stock_request *request = NULL;
    pthread_mutex_lock(&desk->lock);
    while (desk->count == 0 && !latch_is_raised(&desk->stopping))
        clock_wait(desk->postgres.clock, &desk->wake, &desk->lock, CLOCK_FOREVER_NS);
    if (desk->count > 0) {
        request = desk->queue[desk->first];
        desk->first = (desk->first + 1) % STOCK_DESK_QUEUE_MAX;
        desk->count--;
    }
    pthread_mutex_unlock(&desk->lock);
    return request;
}

static void *run(void *context)
{
    struct stock_desk *desk = context;
    struct stock_request *request;
    while ((request = next_request(desk)) != NULL)
        answer(desk, request);
    pg_close(desk->pg);
    return NULL;
}

enum result stock_desk_submit(struct stock_desk *desk, struct stock_request *request)
{
    enum result result = RESULT_BUSY;
    pthread_mutex_lock(&desk->lock);
    if (desk->count < STOCK_DESK_QUEUE_MAX && !latch_is_raised(&desk->stopping)) {
        desk->queue[(desk->first + desk->count++) % STOCK_DESK_QUEUE_MAX] = request;
        result = RESULT_OK;
    }
    pthread_mutex_unlock(&desk->lock);
    pthread_cond_signal(&desk->wake);
    return result;
}

enum breaker_state stock_desk_breaker(struct stock_desk *desk)
{
    pthread_mutex_lock(&desk->lock);
    enum breaker_state state = breaker_state(&desk->breaker, now_ms(desk));
    pthread_mutex_unlock(&desk->lock);
    return state;
}

void stock_desk_free(struct stock_desk *desk)
{
    if (!desk)
        return;
    pthread_cond_destroy(&desk->wake);
    pthread_mutex_destroy(&desk->lock);
    latch_done(&desk->stopping);
    free(desk);
}

enum result stock_desk_start(const struct pg_options *postgres, struct stock_desk **ret_desk,
                             struct error *error)
{
    static const struct breaker_options BREAKER = {.trip_after = STOCK_DESK_TRIP_AFTER,
                                                   .close_after = 1,
                                                   .cool_down_ms = STOCK_DESK_COOL_DOWN_MS};
    struct stock_desk *desk = calloc(1, sizeof *desk);
    if (!desk || latch_init(&desk->stopping) != RESULT_OK) {
        free(desk);
        return RESULT_NO_MEMORY;
    }
    desk->postgres = *postgres;
    desk->postgres.deadline_ms = STOCK_DESK_DEADLINE_MS;
    desk->postgres.break_off = &desk->stopping;
    breaker_init(&desk->breaker, &BREAKER);
    pthread_mutex_init(&desk->lock, NULL);
    pthread_cond_init(&desk->wake, NULL);
    if (pthread_create(&desk->thread, NULL, run, desk) != 0) {
        stock_desk_free(desk);
        return error_set(error, RESULT_NO_MEMORY, "the stock desk's thread doesn't start");
    }
    *ret_desk = desk;
    return RESULT_OK;
}

void stock_desk_stop(struct stock_desk *desk)
{
    if (!desk)
        return;
    pthread_mutex_lock(&desk->lock);
    latch_raise(&desk->stopping);
    pthread_mutex_unlock(&desk->lock);
    pthread_cond_broadcast(&desk->wake);
    pthread_join(desk->thread, NULL);
}
