/* Where the bridge is, as of a moment ago, for the threads that sell: it is read from the bridge's
 * own files, by a thread of its own. The bridge faces the network with head office's passwords, so
 * its folder is a stranger's: whatever lies there (a pipe, a lock, a database that never ends) may
 * hold up this thread and nothing else. */
#ifndef TILLBOX_APPLIANCE_ACCOUNTS_H
#define TILLBOX_APPLIANCE_ACCOUNTS_H

#include "core/clock.h"
#include "core/journal/delivery_status.h"
#include "core/journal/parked_list.h"

enum {
    ACCOUNTS_READ_EVERY_MS = 1000,
    ACCOUNTS_FIRST_MS = 500, /* a start waits so long for the first reading … */
    ACCOUNTS_STOP_MS = 500,  /* … and a stop for the one under way */
    ACCOUNTS_STALE_MS = 10000,
};

struct accounts;

struct accounts_options {
    const char *data_dir, *bridge_dir; /* must outlive the accounts */
    const struct clock *clock;
};

MUST_CHECK enum result accounts_start(const struct accounts_options *options,
                                      struct accounts **ret_accounts, struct error *error);

/* A thread that is held up is left behind, with what it needs: the process had better end. NULL is
 * fine. */
void accounts_stop(struct accounts *accounts);

/* What the last reading gave; RESULT_TIMED_OUT if that is too long ago. From any thread. */
MUST_CHECK enum result accounts_get(struct accounts *accounts,
                                    struct delivery_status *ret_delivery_status,
                                    struct error *error);
MUST_CHECK enum result accounts_get_parked(struct accounts *accounts, struct parked_list *ret_list,
                                           struct error *error);

#endif
