#include "appliance/accounts.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct accounts {
    struct accounts_options options;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    bool stopping, ended;
    int64_t read_at_ms; /* of the monotonic clock; 0: never */
    struct delivery_status delivery_status;
    enum result result;
    struct error error;
    struct parked_list parked;
    enum result parked_result;
    struct error parked_error;
};

static bool has_parked(const struct delivery_status *delivery_status)
{
    for (size_t i = 0; i < delivery_status->sink_count; i++)
        if (delivery_status->sinks[i].first_parked > 0)
            return true;
    return false;
}

static void read_parked(struct accounts *accounts, bool there_are_some)
{
    struct parked_list list = {0};
    struct error error = {0};
    enum result result =
        there_are_some ? parked_list_read(accounts->options.bridge_dir, &list, &error) : RESULT_OK;
    if (result == RESULT_BUSY) /* the bridge is writing: the list of a second ago will do */
        return;
    pthread_mutex_lock(&accounts->lock);
    accounts->parked = list;
    accounts->parked_result = result;
    accounts->parked_error = error;
    pthread_mutex_unlock(&accounts->lock);
}

static void read_accounts(struct accounts *accounts)
{
    const struct accounts_options *options = &accounts->options;
    struct delivery_status delivery_status = {0};
    struct error error = {0};
    enum result result =
        delivery_status_read(options->data_dir, options->bridge_dir, &delivery_status, &error);
    if (result == RESULT_OK)
        read_parked(accounts, has_parked(&delivery_status));
    pthread_mutex_lock(&accounts->lock);
    accounts->delivery_status = delivery_status;
    accounts->result = result;
    accounts->error = error;
    accounts->read_at_ms = clock_monotonic_ms(options->clock);
    pthread_mutex_unlock(&accounts->lock);
    pthread_cond_broadcast(&accounts->changed);
}

static void *accounts_run(void *context)
{
    struct accounts *accounts = context;
    const struct clock *clock = accounts->options.clock;
    pthread_mutex_lock(&accounts->lock);
    while (!accounts->stopping) {
        pthread_mutex_unlock(&accounts->lock);
        read_accounts(accounts);
        int64_t until_ns = clock_deadline_ns(clock, ACCOUNTS_READ_EVERY_MS);
        bool is_due = false;
        pthread_mutex_lock(&accounts->lock);
        while (!accounts->stopping && !is_due)
            is_due = clock_wait(clock, &accounts->changed, &accounts->lock, until_ns);
    }
    accounts->ended = true;
    pthread_mutex_unlock(&accounts->lock);
    pthread_cond_broadcast(&accounts->changed);
    return NULL;
}

/* Nothing is said of the bridge until it has been read: a start needn't wait for that. */
static void wait_for_first_reading(struct accounts *accounts)
{
    const struct clock *clock = accounts->options.clock;
    int64_t until_ns = clock_deadline_ns(clock, ACCOUNTS_FIRST_MS);
    bool is_late = false;
    pthread_mutex_lock(&accounts->lock);
    while (accounts->read_at_ms == 0 && !is_late)
        is_late = clock_wait(clock, &accounts->changed, &accounts->lock, until_ns);
    pthread_mutex_unlock(&accounts->lock);
}

enum result accounts_start(const struct accounts_options *options, struct accounts **ret_accounts,
                           struct error *error)
{
    struct accounts *accounts = calloc(1, sizeof *accounts);
    if (!accounts)
        return error_set(error, RESULT_NO_MEMORY, "no memory for the bridge's accounts");
    accounts->options = *options;
    pthread_mutex_init(&accounts->lock, NULL);
    pthread_cond_init(&accounts->changed, NULL);
    if (pthread_create(&accounts->thread, NULL, accounts_run, accounts) != 0) {
        free(accounts);
        return error_set(error, RESULT_NO_MEMORY,
                         "the thread that reads of the bridge doesn't start");
    }
    wait_for_first_reading(accounts);
    *ret_accounts = accounts;
    return RESULT_OK;
}

void accounts_stop(struct accounts *accounts)
{
    if (!accounts)
        return;
    const struct clock *clock = accounts->options.clock;
    int64_t until_ns = clock_deadline_ns(clock, ACCOUNTS_STOP_MS);
    bool is_late = false;
    pthread_mutex_lock(&accounts->lock);
    accounts->stopping = true;
    pthread_cond_broadcast(&accounts->changed);
    while (!accounts->ended && !is_late)
        is_late = clock_wait(clock, &accounts->changed, &accounts->lock, until_ns);
    bool ended = accounts->ended;
    pthread_mutex_unlock(&accounts->lock);
    if (!ended)
        return;
    pthread_join(accounts->thread, NULL);
    pthread_cond_destroy(&accounts->changed);
    pthread_mutex_destroy(&accounts->lock);
    free(accounts);
}

/* The caller holds the lock. */
static enum result check_reading(const struct accounts *accounts, struct error *error)
{
    int64_t now_ms = clock_monotonic_ms(accounts->options.clock);
    if (accounts->read_at_ms == 0 || now_ms - accounts->read_at_ms > ACCOUNTS_STALE_MS)
        return error_set(error, RESULT_TIMED_OUT, "the bridge's files in %s can't be read in time",
                         accounts->options.bridge_dir);
    if (accounts->result != RESULT_OK)
        error_write(error, "%s", accounts->error.text);
    return accounts->result;
}

enum result accounts_get(struct accounts *accounts, struct delivery_status *ret_delivery_status,
                         struct error *error)
{
    pthread_mutex_lock(&accounts->lock);
    enum result result = check_reading(accounts, error);
    if (result == RESULT_OK)
        *ret_delivery_status = accounts->delivery_status;
    pthread_mutex_unlock(&accounts->lock);
    return result;
}

/* Without accounts nobody knows whether anything is parked. */
enum result accounts_get_parked(struct accounts *accounts, struct parked_list *ret_list,
                                struct error *error)
{
    pthread_mutex_lock(&accounts->lock);
    enum result result = check_reading(accounts, error);
    if (result == RESULT_OK && accounts->parked_result != RESULT_OK) {
        result = accounts->parked_result;
        error_write(error, "%s", accounts->parked_error.text);
    }
    if (result == RESULT_OK)
        *ret_list = accounts->parked;
    pthread_mutex_unlock(&accounts->lock);
    return result;
}
