/* The notification service's part in consuming: for each order event, what is to be sent is written
 * down, once an event and channel. Events of other kinds mean nothing to it and are passed over. */
#ifndef TILLBOX_BRIDGE_NOTIFICATION_INTAKE_H
#define TILLBOX_BRIDGE_NOTIFICATION_INTAKE_H

#include <pthread.h>
#include <stdatomic.h>

#include "bridge/consumer/consumer.h"
#include "bridge/notification/notifier.h"

struct notification_intake {
    const struct clock *clock;
    _Atomic(struct notifier *) notifier; /* is woken; NULL: not yet there */
    const char *channels;                /* a JSON array of their names */
    struct buf events;                   /* of a batch, as a JSON array */
    int64_t counted_ms;
    pthread_mutex_t lock; /* what follows */
    struct notification_counts counts;
    bool counted; /* the counts are of the last seconds */
};

void notification_intake_init(struct notification_intake *intake, const struct clock *clock,
                              const char *channels);
void notification_intake_done(struct notification_intake *intake);

/* False while they aren't known. From any thread. */
bool notification_intake_counts(struct notification_intake *intake,
                                struct notification_counts *ret_counts);

/* For consumer_options; `self` points to a struct notification_intake. */
extern const struct consumer_ops NOTIFICATION_OPS;

#endif
