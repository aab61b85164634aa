#include "appliance/stock_check.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

#define TO MACHINE_NEXT
static const struct machine_state STATES[] = {
    [STOCK_CHECK_IDLE] = {"IDLE", TO(STOCK_CHECK_QUERYING) | TO(STOCK_CHECK_REPORTING) |
                                      TO(STOCK_CHECK_CLOSED)},
    [STOCK_CHECK_QUERYING] = {"QUERYING", TO(STOCK_CHECK_REPORTING)},
    [STOCK_CHECK_REPORTING] = {"REPORTING", TO(STOCK_CHECK_IDLE)},
    [STOCK_CHECK_CLOSED] = {"CLOSED", 0},
};
#undef TO
const struct machine_table STOCK_CHECK_MACHINE = {"stock check", STATES, ARRAY_LENGTH(STATES)};

struct ticket {
    struct command *command; /* NULL: none */
    int64_t due_ms;          /* monotonic */
    uint64_t generation;     /* of the breaker, when it was let through */
};

struct worker {
    struct stock_check *check;
    pthread_t thread;
    struct ticket ticket; /* the sale; only the worker changes it, under the lock */

    /* The step's own: */
    struct inventory_service service;
    struct machine machine;
    size_t line;                      /* of the order: the next to look at */
    enum stock_check_outcome outcome; /* of the lines before */
    struct error error;
};

struct stock_check {
    struct stock_check_options options;
    struct worker workers[STOCK_CHECK_THREADS];
    int thread_count;     /* that haven't been joined; the stopper's own */
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t wake;
    struct ticket queue[STOCK_CHECK_QUEUE_MAX]; /* a ring */
    int first, length;
    struct breaker breaker;
    uint64_t outcomes[STOCK_CHECK_OUTCOMES];
    bool closed;
};

const char *stock_check_outcome_text(enum stock_check_outcome outcome)
{
    static const char *const TEXTS[] = {
        [STOCK_CHECK_ENOUGH] = "enough",   [STOCK_CHECK_SHORT] = "short",
        [STOCK_CHECK_UNKNOWN] = "unknown", [STOCK_CHECK_FAILED] = "failed",
        [STOCK_CHECK_SKIPPED] = "skipped",
    };
    return TEXTS[outcome];
}

/* Each move of the breaker is one line in the log. */
static void log_move(enum breaker_state before, enum breaker_state after, const char *cause)
{
    if (before != after)
        LOG(after == BREAKER_OPEN ? LOG_WARN : LOG_INFO, "inventory.breaker",
            LOG_TEXT("from", breaker_state_text(before)), LOG_TEXT("to", breaker_state_text(after)),
            LOG_TEXT("cause", cause));
}

static enum result admit(struct stock_check *check, int64_t now_ms, uint64_t *ret_generation)
{
    enum breaker_state before = check->breaker.state;
    enum result result = breaker_admit(&check->breaker, now_ms, ret_generation);
    log_move(before, check->breaker.state, "cooled down");
    return result;
}

static bool has_key_of(const struct ticket *ticket, const struct command *command)
{
    return ticket->command && ticket->command->has_key &&
           memcmp(ticket->command->key, command->key, JOURNAL_KEY_SIZE) == 0;
}

static bool stock_check_is_in_flight(const struct stock_check *check, const struct command *command)
{
    if (!command->has_key)
        return false;
    for (int i = 0; i < check->options.worker_count; i++)
        if (has_key_of(&check->workers[i].ticket, command))
            return true;
    for (int i = 0; i < check->length; i++)
        if (has_key_of(&check->queue[(check->first + i) % STOCK_CHECK_QUEUE_MAX], command))
            return true;
    return false;
}

enum result stock_check_submit(struct stock_check *check, struct command *command)
{
    int64_t now_ms = clock_monotonic_ms(check->options.clock);
    struct ticket ticket = {.command = command, .due_ms = now_ms + check->options.timeout_ms};
    enum result result = RESULT_OK;
    command->input.order.stock_checked = ORDER_STOCK_LOCAL;
    pthread_mutex_lock(&check->lock);
    if (stock_check_is_in_flight(check, command))
        result = RESULT_CONFLICT;
    else if (check->closed || check->length == STOCK_CHECK_QUEUE_MAX ||
             admit(check, now_ms, &ticket.generation) != RESULT_OK)
        result = RESULT_BUSY;
    if (result == RESULT_OK)
        check->queue[(check->first + check->length++) % STOCK_CHECK_QUEUE_MAX] = ticket;
    else if (result == RESULT_BUSY)
        check->outcomes[STOCK_CHECK_SKIPPED]++;
    pthread_mutex_unlock(&check->lock);
    if (result == RESULT_OK)
        pthread_cond_signal(&check->wake);
    return result;
}

/* An order may name a product more than once: it is asked for once, at its first line, for the sum.
 */
static bool is_first_of_product(const struct order *order, size_t index, int64_t *ret_quantity)
{
    int64_t product_id = order->lines[index].product_id, sum = 0;
    for (size_t i = 0; i < order->line_count; i++) {
        if (order->lines[i].product_id != product_id)
            continue;
        if (i < index)
            return false;
        sum += order->lines[i].quantity;
    }
    *ret_quantity = sum;
    return true;
}

static enum stock_check_outcome stock_check_compare(struct command *command, int64_t product_id,
                                                    int64_t requested, int64_t stock)
{
    if (stock >= requested)
        return STOCK_CHECK_ENOUGH;
    command->shortage = (struct stock_shortage){
        .product_id = product_id, .requested = requested, .available = stock > 0 ? stock : 0};
    return STOCK_CHECK_SHORT;
}

/* Goes on to the next product that is to be asked for. False when there is none left. */
static bool next_product(struct worker *worker, int64_t *ret_product_id, int64_t *ret_requested)
{
    const struct order *order = &worker->ticket.command->input.order;
    while (worker->line < order->line_count) {
        size_t index = worker->line++;
        *ret_product_id = order->lines[index].product_id;
        if (is_first_of_product(order, index, ret_requested))
            return true;
    }
    return false;
}

static enum stock_check_outcome query_product(struct worker *worker, int64_t product_id,
                                              int64_t requested)
{
    int64_t stock = 0;
    const struct inventory_service *service = &worker->service;
    enum result result = service->ops->find_stock(service->self, product_id, worker->ticket.due_ms,
                                                  &stock, &worker->error);
    if (result == RESULT_NOT_FOUND)
        return STOCK_CHECK_UNKNOWN;
    if (result != RESULT_OK)
        return STOCK_CHECK_FAILED;
    return stock_check_compare(worker->ticket.command, product_id, requested, stock);
}

/* Is it still worth asking? Not when its time has passed in the queue, or the breaker has moved
 * since. */
static bool is_stale(const struct stock_check *check, const struct ticket *ticket, int64_t now_ms)
{
    return ticket->generation != check->breaker.generation || now_ms >= ticket->due_ms;
}

static enum stock_check_state dequeue_sale(struct worker *worker, int64_t now_ms)
{
    struct stock_check *check = worker->check;
    enum stock_check_state next = STOCK_CHECK_IDLE;
    pthread_mutex_lock(&check->lock);
    if (check->length > 0) {
        worker->ticket = check->queue[check->first];
        check->first = (check->first + 1) % STOCK_CHECK_QUEUE_MAX;
        check->length--;
        bool stale = is_stale(check, &worker->ticket, now_ms);
        worker->outcome = stale ? STOCK_CHECK_SKIPPED : STOCK_CHECK_ENOUGH;
        next = stale ? STOCK_CHECK_REPORTING : STOCK_CHECK_QUERYING;
    } else if (check->closed) {
        next = STOCK_CHECK_CLOSED;
    }
    pthread_mutex_unlock(&check->lock);
    worker->line = 0;
    worker->error = (struct error){0};
    return next;
}

/* To the breaker and the statistics; then the sale goes on. */
static void report_sale(struct worker *worker, int64_t now_ms)
{
    struct stock_check *check = worker->check;
    struct command *command = worker->ticket.command;
    if (worker->outcome == STOCK_CHECK_ENOUGH)
        command->input.order.stock_checked = ORDER_STOCK_REMOTE;
    if (worker->outcome == STOCK_CHECK_FAILED)
        LOG(LOG_DEBUG, "inventory.failed", LOG_TEXT("error", worker->error.text));
    pthread_mutex_lock(&check->lock);
    enum breaker_state before = check->breaker.state;
    if (worker->outcome == STOCK_CHECK_SKIPPED)
        breaker_withdraw(&check->breaker, worker->ticket.generation);
    else
        breaker_report(&check->breaker, worker->ticket.generation,
                       worker->outcome != STOCK_CHECK_FAILED, now_ms);
    log_move(before, check->breaker.state, worker->error.text[0] ? worker->error.text : "answered");
    check->outcomes[worker->outcome]++;
    worker->ticket.command = NULL;
    pthread_mutex_unlock(&check->lock);
    check->options.on_checked(check->options.context, command);
}

static enum stock_check_state worker_state(const struct worker *worker)
{
    return (enum stock_check_state)worker->machine.state;
}

static int64_t step_worker(struct worker *worker, int64_t now_ms)
{
    int64_t product_id = 0, requested = 0;
    enum stock_check_outcome outcome = STOCK_CHECK_ENOUGH;
    enum stock_check_state state = worker_state(worker), next = state;
    switch (state) {
    case STOCK_CHECK_IDLE:
        next = dequeue_sale(worker, now_ms);
        break;
    case STOCK_CHECK_QUERYING:
        if (next_product(worker, &product_id, &requested))
            outcome = query_product(worker, product_id, requested);
        else
            next = STOCK_CHECK_REPORTING;
        /* A product that the service doesn't know (its event is still on the way there) leaves the
         * others to be asked for: one of them may be short. */
        if (outcome == STOCK_CHECK_SHORT || outcome == STOCK_CHECK_FAILED)
            next = STOCK_CHECK_REPORTING;
        if (outcome != STOCK_CHECK_ENOUGH)
            worker->outcome = outcome;
        break;
    case STOCK_CHECK_REPORTING:
        report_sale(worker, now_ms);
        next = STOCK_CHECK_IDLE;
        break;
    case STOCK_CHECK_CLOSED:
        break;
    }
    machine_move(&worker->machine, (int)next);
    bool idles = next == state && (state == STOCK_CHECK_IDLE || state == STOCK_CHECK_CLOSED);
    return idles ? CLOCK_FOREVER : 0;
}

int64_t stock_check_step(struct stock_check *check, int worker, int64_t now_ms)
{
    return step_worker(&check->workers[worker], now_ms);
}

const struct machine *stock_check_machine(const struct stock_check *check, int worker)
{
    return &check->workers[worker].machine;
}

static void wait_for_sale(struct stock_check *check, int64_t wait_ms)
{
    int64_t until_ns = clock_deadline_ns(check->options.clock, wait_ms);
    bool is_late = false;
    if (wait_ms <= 0)
        return;
    pthread_mutex_lock(&check->lock);
    while (check->length == 0 && !check->closed && !is_late)
        is_late = clock_wait(check->options.clock, &check->wake, &check->lock, until_ns);
    pthread_mutex_unlock(&check->lock);
}

static void *stock_check_run(void *context)
{
    struct worker *worker = context;
    struct stock_check *check = worker->check;
    while (worker_state(worker) != STOCK_CHECK_CLOSED)
        wait_for_sale(check, step_worker(worker, clock_monotonic_ms(check->options.clock)));
    return NULL;
}

static void free_services(const struct stock_check_options *options)
{
    for (int i = 0; i < options->worker_count; i++)
        options->services[i].ops->free(options->services[i].self);
}

enum result stock_check_new(const struct stock_check_options *options,
                            struct stock_check **ret_check, struct error *error)
{
    const struct breaker_options breaker = {
        .trip_after = options->trip_after, .close_after = 1, .cool_down_ms = options->cool_down_ms};
    struct stock_check *check = calloc(1, sizeof *check);
    assert(options->worker_count >= 1 && options->worker_count <= STOCK_CHECK_THREADS);
    if (!check) {
        free_services(options);
        return error_set(error, RESULT_NO_MEMORY, "no memory for the stock check");
    }
    check->options = *options;
    breaker_init(&check->breaker, &breaker);
    pthread_mutex_init(&check->lock, NULL);
    pthread_cond_init(&check->wake, NULL);
    for (int i = 0; i < options->worker_count; i++) {
        check->workers[i] = (struct worker){.check = check, .service = options->services[i]};
        machine_init(&check->workers[i].machine, &STOCK_CHECK_MACHINE);
    }
    *ret_check = check;
    return RESULT_OK;
}

enum result stock_check_start(const struct stock_check_options *options,
                              struct stock_check **ret_check, struct error *error)
{
    struct stock_check *check = NULL;
    enum result result = stock_check_new(options, &check, error);
    if (result != RESULT_OK)
        return result;
    for (; check->thread_count < options->worker_count; check->thread_count++) {
        struct worker *worker = &check->workers[check->thread_count];
        if (pthread_create(&worker->thread, NULL, stock_check_run, worker) != 0) {
            stock_check_free(check);
            return error_set(error, RESULT_NO_MEMORY, "a thread of the stock check doesn't start");
        }
    }
    *ret_check = check;
    return RESULT_OK;
}

void stock_check_stop(struct stock_check *check)
{
    pthread_mutex_lock(&check->lock);
    check->closed = true;
    pthread_mutex_unlock(&check->lock);
    pthread_cond_broadcast(&check->wake);
    while (check->thread_count > 0)
        pthread_join(check->workers[--check->thread_count].thread, NULL);
}

void stock_check_free(struct stock_check *check)
{
    if (!check)
        return;
    stock_check_stop(check);
    free_services(&check->options);
    pthread_cond_destroy(&check->wake);
    pthread_mutex_destroy(&check->lock);
    free(check);
}

void stock_check_stats(struct stock_check *check, struct stock_check_stats *ret_stats)
{
    pthread_mutex_lock(&check->lock);
    memcpy(ret_stats->outcomes, check->outcomes, sizeof check->outcomes);
    ret_stats->breaker = breaker_state(&check->breaker, clock_monotonic_ms(check->options.clock));
    ret_stats->waiting = check->length;
    for (int i = 0; i < check->options.worker_count; i++)
        ret_stats->waiting += check->workers[i].ticket.command != NULL;
    pthread_mutex_unlock(&check->lock);
}
