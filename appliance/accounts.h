/* The bridge's accounts as of a moment ago, for the HTTP threads: reading them can wait for the
 * bridge's locks, and a sale must not. */
#ifndef TILLBOX_APPLIANCE_ACCOUNTS_H
#define TILLBOX_APPLIANCE_ACCOUNTS_H

#include "core/journal/delivery_status.h"
#include "core/journal/parked_list.h"

struct accounts;

MUST_CHECK enum result accounts_new(struct accounts **ret_accounts);
void accounts_free(struct accounts *accounts);

/* Reads them anew; about once a second, from one thread. */
void accounts_refresh(struct accounts *accounts, const char *data_dir, const char *bridge_dir);

/* What the last reading gave. From any thread. */
MUST_CHECK enum result accounts_get(struct accounts *accounts,
                                    struct delivery_status *ret_accounting, struct error *error);
MUST_CHECK enum result accounts_get_parked(struct accounts *accounts, struct parked_list *ret_list,
                                           struct error *error);

#endif
