#include "appliance/accounts.h"

#include <pthread.h>
#include <stdlib.h>

struct accounts {
    pthread_mutex_t lock;
    struct delivery_status delivery_status;
    enum result result;
    struct error error;
    struct parked_list parked;
    enum result parked_result;
    struct error parked_error;
};

enum result accounts_new(struct accounts **ret_accounts)
{
    struct accounts *accounts = calloc(1, sizeof *accounts);
    if (!accounts)
        return RESULT_NO_MEMORY;
    pthread_mutex_init(&accounts->lock, NULL);
    *ret_accounts = accounts;
    return RESULT_OK;
}

void accounts_free(struct accounts *accounts)
{
    if (!accounts)
        return;
    pthread_mutex_destroy(&accounts->lock);
    free(accounts);
}

static bool has_parked(const struct delivery_status *delivery_status)
{
    for (size_t i = 0; i < delivery_status->sink_count; i++)
        if (delivery_status->sinks[i].first_parked > 0)
            return true;
    return false;
}

static void refresh_parked(struct accounts *accounts, const char *bridge_dir, bool there_are_some)
{
    struct parked_list list = {0};
    struct error error = {0};
    enum result result = there_are_some ? parked_list_read(bridge_dir, &list, &error) : RESULT_OK;
    if (result == RESULT_BUSY) /* the bridge is writing: the list of a second ago will do */
        return;
    pthread_mutex_lock(&accounts->lock);
    accounts->parked = list;
    accounts->parked_result = result;
    accounts->parked_error = error;
    pthread_mutex_unlock(&accounts->lock);
}

void accounts_refresh(struct accounts *accounts, const char *data_dir, const char *bridge_dir)
{
    struct delivery_status delivery_status = {0};
    struct error error = {0};
    enum result result = delivery_status_read(data_dir, bridge_dir, &delivery_status, &error);
    pthread_mutex_lock(&accounts->lock);
    accounts->delivery_status = delivery_status;
    accounts->result = result;
    accounts->error = error;
    pthread_mutex_unlock(&accounts->lock);
    if (result == RESULT_OK)
        refresh_parked(accounts, bridge_dir, has_parked(&delivery_status));
}

enum result accounts_get(struct accounts *accounts, struct delivery_status *ret_accounting,
                         struct error *error)
{
    pthread_mutex_lock(&accounts->lock);
    enum result result = accounts->result;
    if (result == RESULT_OK)
        *ret_accounting = accounts->delivery_status;
    else
        error_write(error, "%s", accounts->error.text);
    pthread_mutex_unlock(&accounts->lock);
    return result;
}

/* Without accounts nobody knows whether anything is parked. */
enum result accounts_get_parked(struct accounts *accounts, struct parked_list *ret_list,
                                struct error *error)
{
    pthread_mutex_lock(&accounts->lock);
    enum result result = accounts->result == RESULT_OK ? accounts->parked_result : accounts->result;
    if (result == RESULT_OK)
        *ret_list = accounts->parked;
    else
        error_write(error, "%s",
                    accounts->result == RESULT_OK ? accounts->parked_error.text
                                                  : accounts->error.text);
    pthread_mutex_unlock(&accounts->lock);
    return result;
}
