/* Where a sender gets its messages from, and records how each of them went. A store belongs to one
 * thread.
 *
 * Every call but the last two gives DELIVERY_DONE, or the store is of no more use until it is
 * closed and connected again; whether the call did its work is then unknown. */
#ifndef TILLBOX_BRIDGE_NOTIFICATION_STORE_H
#define TILLBOX_BRIDGE_NOTIFICATION_STORE_H

#include "bridge/notification/notification.h"
#include "core/latch.h"

struct pg_options;

struct notification_store_ops {
    enum delivery (*connect)(void *self, struct error *error);

    /* As notification_claim(); the texts live until the next claim, or the close. */
    enum delivery (*claim)(void *self, enum channel_kind channel, size_t max, int64_t claim_ms,
                           struct notification ret_notifications[static NOTIFICATION_CLAIM_MAX],
                           size_t *ret_count, struct error *error);

    /* At most NOTIFICATION_CLAIM_MAX of them. Being marked twice does no harm. */
    enum delivery (*mark_sent)(void *self, const int64_t *ids, size_t count, struct error *error);

    /* As notification_mark_failed(). */
    enum delivery (*mark_failed)(void *self, const struct notification_failure *failure,
                                 bool *ret_given_up, struct error *error);

    void (*close)(void *self); /* does nothing where there is no connection */
    void (*free)(void *self);
};

struct notification_store {
    const struct notification_store_ops *ops;
    void *self;
};

/* Head office's database. The options are copied; their texts, and `cancel`, which ends every wait
 * once it is raised, must outlive the store. */
MUST_CHECK enum result notification_store_new(const struct pg_options *postgres,
                                              const struct latch *cancel,
                                              struct notification_store *ret_store);

#endif
