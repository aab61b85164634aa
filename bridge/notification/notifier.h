/* Sends what the database says is to be sent: threads of its own for each channel, so that a
 * receiver that hangs holds up nobody but itself. Any number of notifiers, in any number of
 * processes, share one database.
 *
 * A sender takes a message for a limited time, tries it once, and writes down how it went; a
 * failure is tried again after a pause with full jitter, NOTIFICATION_TRIES times in all. A message
 * that was sent and could not be marked, since the database went away, is marked when it is back,
 * before anything else is sent. */
#ifndef TILLBOX_BRIDGE_NOTIFIER_H
#define TILLBOX_BRIDGE_NOTIFIER_H

#include "bridge/notification/channel.h"
#include "bridge/notification/notification_text.h"
#include "core/random.h"

enum {
    /* Of a channel. Each has a connection to the database, and a login has 20 for all replicas. */
    NOTIFIER_THREADS_MAX = 2,
    NOTIFIER_IDLE_MS = 1000,        /* how soon is seen what became due without a wakeup */
    NOTIFIER_MARK_MS = 1000,        /* a stop waits so much longer than a try takes */
    NOTIFIER_CLAIM_SLACK_MS = 5000, /* a claim lasts this much longer than a try */
};

struct notifier;

struct notifier_options {
    const struct channel_options *channel;
    int64_t retry_ms; /* the first pause after a failure */
    const struct pg_options *postgres;
    const struct notification_texts *texts;
    const bool *channels; /* CHANNEL_COUNT of them: which ones send */
    const struct clock *clock;
    const struct random_source *random;
};

/* Since the start. */
struct notifier_stats {
    int64_t sent[CHANNEL_COUNT];
    int64_t retried[CHANNEL_COUNT]; /* attempts that failed, and will be made again */
    int64_t given_up[CHANNEL_COUNT];
};

/* What the options point to must outlive it, but for `postgres`, of which only the texts must. */
MUST_CHECK enum result notifier_start(const struct notifier_options *options,
                                      struct notifier **ret_notifier, struct error *error);

/* There is something to send. From any thread. */
void notifier_wake(struct notifier *notifier);

void notifier_stats(struct notifier *notifier, struct notifier_stats *ret_stats);

/* Lets the tries under way come to their end, and frees it. NULL is fine. */
void notifier_stop(struct notifier *notifier);

#endif
