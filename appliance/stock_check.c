#include "appliance/stock_check.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

struct ticket {
    struct command *command; /* NULL: none */
    int64_t due_ms;          /* monotonic */
    uint64_t generation;     /* of the breaker, when it was let through */
};

struct worker {
    struct stock_check *check;
    struct remote_stock *remote;
    pthread_t thread;
    struct ticket ticket; /* under the lock: what it is asking about */
};

struct stock_check {
    struct stock_check_options options;
    struct worker workers[STOCK_CHECK_THREADS];
    int worker_count;     /* that run */
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t wake;
    struct ticket queue[STOCK_CHECK_QUEUE_MAX]; /* a ring */
    int first, length;
    struct breaker breaker;
    uint64_t outcomes[STOCK_CHECK_OUTCOMES];
    bool closed;
    bool stopped; /* the stopper's own */
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

static int64_t now_of(const struct stock_check *check)
{
    return clock_monotonic_ms(check->options.remote.clock);
}

/* Each move of the breaker is one line in the log. */
static void log_move(enum breaker_state before, enum breaker_state after, const char *cause)
{
    if (before != after)
        LOG(after == BREAKER_OPEN ? LOG_WARN : LOG_INFO, "inventory.breaker",
            LOG_TEXT("from", breaker_state_text(before)), LOG_TEXT("to", breaker_state_text(after)),
            LOG_TEXT("cause", cause));
}

static enum result admit(struct stock_check *check, uint64_t *ret_generation)
{
    enum breaker_state before = check->breaker.state;
    enum result result = breaker_admit(&check->breaker, now_of(check), ret_generation);
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
    for (int i = 0; i < check->worker_count; i++)
        if (has_key_of(&check->workers[i].ticket, command))
            return true;
    for (int i = 0; i < check->length; i++)
        if (has_key_of(&check->queue[(check->first + i) % STOCK_CHECK_QUEUE_MAX], command))
            return true;
    return false;
}

enum result stock_check_submit(struct stock_check *check, struct command *command)
{
    struct ticket ticket = {.command = command,
                            .due_ms = now_of(check) + check->options.remote.timeout_ms};
    enum result result = RESULT_OK;
    command->input.order.stock_checked = ORDER_STOCK_LOCAL;
    pthread_mutex_lock(&check->lock);
    if (stock_check_is_in_flight(check, command))
        result = RESULT_CONFLICT;
    else if (check->closed || check->length == STOCK_CHECK_QUEUE_MAX ||
             admit(check, &ticket.generation) != RESULT_OK)
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

/* A product that the service doesn't know (its event is still on the way there) leaves the others
 * to be asked for: one of them may be short. */
static enum stock_check_outcome stock_check_ask(struct remote_stock *remote,
                                                const struct ticket *ticket, struct error *error)
{
    const struct order *order = &ticket->command->input.order;
    enum stock_check_outcome outcome = STOCK_CHECK_ENOUGH;
    for (size_t i = 0; i < order->line_count; i++) {
        int64_t requested = 0, stock = 0, product_id = order->lines[i].product_id;
        if (!is_first_of_product(order, i, &requested))
            continue;
        enum result result = remote_stock_ask(remote, product_id, ticket->due_ms, &stock, error);
        if (result != RESULT_OK && result != RESULT_NOT_FOUND)
            return STOCK_CHECK_FAILED;
        if (result == RESULT_NOT_FOUND)
            outcome = STOCK_CHECK_UNKNOWN;
        else if (stock_check_compare(ticket->command, product_id, requested, stock) ==
                 STOCK_CHECK_SHORT)
            return STOCK_CHECK_SHORT;
    }
    return outcome;
}

/* Is it still worth asking? Not when its time has passed in the queue, or the breaker has moved
 * since. */
static bool is_stale(struct stock_check *check, const struct ticket *ticket)
{
    return ticket->generation != check->breaker.generation || now_of(check) >= ticket->due_ms;
}

/* Waits for a sale. False when there is none left and the check is closed. */
static bool stock_check_take(struct worker *worker, bool *ret_stale)
{
    struct stock_check *check = worker->check;
    pthread_mutex_lock(&check->lock);
    while (check->length == 0 && !check->closed)
        clock_wait(check->options.remote.clock, &check->wake, &check->lock, CLOCK_FOREVER_NS);
    bool found = check->length > 0;
    if (found) {
        worker->ticket = check->queue[check->first];
        check->first = (check->first + 1) % STOCK_CHECK_QUEUE_MAX;
        check->length--;
        *ret_stale = is_stale(check, &worker->ticket);
    }
    pthread_mutex_unlock(&check->lock);
    return found;
}

static void stock_check_settle(struct worker *worker, enum stock_check_outcome outcome,
                               const struct error *error)
{
    struct stock_check *check = worker->check;
    pthread_mutex_lock(&check->lock);
    enum breaker_state before = check->breaker.state;
    if (outcome == STOCK_CHECK_SKIPPED)
        breaker_withdraw(&check->breaker, worker->ticket.generation);
    else
        breaker_report(&check->breaker, worker->ticket.generation, outcome != STOCK_CHECK_FAILED,
                       now_of(check));
    log_move(before, check->breaker.state, error->text[0] ? error->text : "answered");
    check->outcomes[outcome]++;
    worker->ticket.command = NULL;
    pthread_mutex_unlock(&check->lock);
}

static void *stock_check_run(void *context)
{
    struct worker *worker = context;
    struct stock_check *check = worker->check;
    bool stale = false;
    while (stock_check_take(worker, &stale)) {
        struct error error = {0};
        struct command *command = worker->ticket.command;
        enum stock_check_outcome outcome =
            stale ? STOCK_CHECK_SKIPPED : stock_check_ask(worker->remote, &worker->ticket, &error);
        if (outcome == STOCK_CHECK_ENOUGH)
            command->input.order.stock_checked = ORDER_STOCK_REMOTE;
        if (outcome == STOCK_CHECK_FAILED)
            LOG(LOG_DEBUG, "inventory.failed", LOG_TEXT("error", error.text));
        stock_check_settle(worker, outcome, &error);
        check->options.on_checked(check->options.context, command);
    }
    return NULL;
}

static enum result start_worker(struct stock_check *check, struct error *error)
{
    struct worker *worker = &check->workers[check->worker_count];
    worker->check = check;
    enum result result = remote_stock_new(&check->options.remote, &worker->remote);
    if (result == RESULT_OK && pthread_create(&worker->thread, NULL, stock_check_run, worker) != 0)
        result = RESULT_NO_MEMORY;
    if (result != RESULT_OK) {
        remote_stock_free(worker->remote);
        return error_set(error, result, "a thread of the stock check doesn't start");
    }
    check->worker_count++;
    return RESULT_OK;
}

enum result stock_check_start(const struct stock_check_options *options,
                              struct stock_check **ret_check, struct error *error)
{
    const struct breaker_options breaker = {
        .trip_after = options->trip_after, .close_after = 1, .cool_down_ms = options->cool_down_ms};
    struct stock_check *check = calloc(1, sizeof *check);
    if (!check)
        return RESULT_NO_MEMORY;
    check->options = *options;
    breaker_init(&check->breaker, &breaker);
    pthread_mutex_init(&check->lock, NULL);
    pthread_cond_init(&check->wake, NULL);
    enum result result = RESULT_OK;
    while (result == RESULT_OK && check->worker_count < STOCK_CHECK_THREADS)
        result = start_worker(check, error);
    if (result == RESULT_OK)
        *ret_check = check;
    else
        stock_check_free(check);
    return result;
}

void stock_check_stop(struct stock_check *check)
{
    if (check->stopped)
        return;
    pthread_mutex_lock(&check->lock);
    check->closed = true;
    pthread_mutex_unlock(&check->lock);
    pthread_cond_broadcast(&check->wake);
    for (int i = 0; i < check->worker_count; i++)
        pthread_join(check->workers[i].thread, NULL);
    check->stopped = true;
}

void stock_check_free(struct stock_check *check)
{
    if (!check)
        return;
    stock_check_stop(check);
    for (int i = 0; i < check->worker_count; i++)
        remote_stock_free(check->workers[i].remote);
    pthread_cond_destroy(&check->wake);
    pthread_mutex_destroy(&check->lock);
    free(check);
}

void stock_check_stats(struct stock_check *check, struct stock_check_stats *ret_stats)
{
    pthread_mutex_lock(&check->lock);
    memcpy(ret_stats->outcomes, check->outcomes, sizeof check->outcomes);
    ret_stats->breaker = breaker_state(&check->breaker, now_of(check));
    ret_stats->waiting = check->length;
    for (int i = 0; i < check->worker_count; i++)
        ret_stats->waiting += check->workers[i].ticket.command != NULL;
    pthread_mutex_unlock(&check->lock);
}
