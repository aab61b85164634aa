/* Sends what the database says is to be sent: threads of its own for each channel, so that a
 * receiver that hangs holds up nobody but itself. Any number of notifiers, in any number of
 * processes, share one database.
 *
 * A sender claims messages for a limited time, tries each once, and records how it went. A failure
 * is tried again after a pause with full jitter, NOTIFICATION_TRIES times in all.
 *
 *   CONNECTING -> MARKING
 *   MARKING -> CONNECTING, CLAIMING
 *   CLAIMING -> CONNECTING, SENDING
 *   SENDING -> MARKING, FAILING
 *   FAILING -> CONNECTING, SENDING
 *
 * A message that was sent while the database went away is marked when it is back, before anything
 * else is claimed: every way to CLAIMING goes by MARKING. */
#ifndef TILLBOX_BRIDGE_NOTIFIER_H
#define TILLBOX_BRIDGE_NOTIFIER_H

#include "bridge/notification/channel.h"
#include "bridge/notification/notification_store.h"
#include "bridge/notification/notification_text.h"
#include "core/machine.h"
#include "core/random.h"

enum {
    /* Of a channel. Each has a connection to the database, and a login has 20 for all replicas. */
    NOTIFIER_THREADS_MAX = 2,
    NOTIFIER_IDLE_MS = 1000,        /* how soon is seen what became due without a wakeup */
    NOTIFIER_MARK_MS = 1000,        /* a stop waits so much longer than a try takes */
    NOTIFIER_CLAIM_SLACK_MS = 5000, /* a claim lasts this much longer than a try */
};

enum notifier_state {
    NOTIFIER_CONNECTING, /* to the database */
    NOTIFIER_MARKING,    /* what was sent */
    NOTIFIER_CLAIMING,   /* messages that are due; waits here while there are none */
    NOTIFIER_SENDING,    /* the next of those that are claimed */
    NOTIFIER_FAILING,    /* … which failed: recorded, with the time of the next try */
};

extern const struct machine_table NOTIFIER_MACHINE;

struct notifier;
struct notifier_sender;

/* Gives each sender a channel and a store of its own. Once `cancel` is raised, a store ends what
 * waits. */
struct notifier_peers {
    enum result (*open_channel)(void *self, enum channel_kind kind, struct channel *ret_channel);
    enum result (*open_store)(void *self, const struct latch *cancel,
                              struct notification_store *ret_store);
    void *self;
};

struct notifier_options {
    struct notifier_peers peers;
    int64_t timeout_ms; /* of one try */
    int64_t retry_ms;   /* the first pause after a failure */
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

/* A notifier whose senders have no threads yet. What the options point to must outlive it, but for
 * the peers' `self` and `channels`, which only this call uses. */
MUST_CHECK enum result notifier_new(const struct notifier_options *options,
                                    struct notifier **ret_notifier, struct error *error);

/* The senders, from 0; NULL where there are no more. */
struct notifier_sender *notifier_sender(struct notifier *notifier, size_t index);

/* One step: at most one call to the database or the receiver. Gives the milliseconds to wait before
 * the next one, which only a wakeup or the end may cut short. */
int64_t notifier_step(struct notifier_sender *sender);

/* The state, and the transitions so far. */
const struct machine *notifier_machine(const struct notifier_sender *sender);

/* Makes a notifier, and a thread for each sender that drives it. */
MUST_CHECK enum result notifier_start(const struct notifier_options *options,
                                      struct notifier **ret_notifier, struct error *error);

/* There is something to send. From any thread. */
void notifier_wake(struct notifier *notifier);

void notifier_stats(struct notifier *notifier, struct notifier_stats *ret_stats);

/* Lets the senders send and mark what they have claimed, and frees the notifier. NULL is fine. */
void notifier_stop(struct notifier *notifier);

#endif
