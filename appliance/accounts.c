#include "appliance/accounts.h"

#include <pthread.h>
#include <stdlib.h>

struct accounts {
    pthread_mutex_t lock;
    struct accounting accounting;
    enum result result;
    struct error error;
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

void accounts_refresh(struct accounts *accounts, const char *data_dir, const char *bridge_dir)
{
    struct accounting accounting = {0};
    struct error error = {0};
    enum result result = accounting_read(data_dir, bridge_dir, &accounting, &error);
    pthread_mutex_lock(&accounts->lock);
    accounts->accounting = accounting;
    accounts->result = result;
    accounts->error = error;
    pthread_mutex_unlock(&accounts->lock);
}

enum result accounts_get(struct accounts *accounts, struct accounting *ret_accounting,
                         struct error *error)
{
    pthread_mutex_lock(&accounts->lock);
    enum result result = accounts->result;
    if (result == RESULT_OK)
        *ret_accounting = accounts->accounting;
    else
        error_write(error, "%s", accounts->error.text);
    pthread_mutex_unlock(&accounts->lock);
    return result;
}
