/* A way to a receiver. A channel belongs to one thread. */
#ifndef TILLBOX_BRIDGE_CHANNEL_H
#define TILLBOX_BRIDGE_CHANNEL_H

#include "bridge/notification/notification.h"
#include "core/clock.h"

/* A notification and what it says. Subject and text are UTF-8; the subject has no line ends. */
struct channel_message {
    const struct notification *notification;
    const char *subject, *text;
    const char *total; /* as a person reads it */
};

struct channel_ops {
    /* One try. RESULT_OK: the receiver has taken it. RESULT_REFUSED, RESULT_INVALID: it never will.
     * Anything else may be tried again. The cause holds no personal data. A message may come twice
     * if its sender was killed: what is sent says so by an id that stays the same. */
    enum result (*send)(void *self, const struct channel_message *message, struct error *error);
    void (*free)(void *self);
};

struct channel {
    const struct channel_ops *ops;
    void *self;
};

/* How the receivers are reached. */
struct channel_options {
    const char *webhook_url;
    const char *webhook_secret_file; /* NULL: not signed */
    const char *webhook_ca_file;     /* NULL: the system's */
    const char *smtp_url;
    bool smtp_allow_plain;
    const char *smtp_user;          /* NULL: no login */
    const char *smtp_password_file; /* NULL: none */
    const char *smtp_ca_file;       /* NULL: the system's */
    const char *mail_from;
    const char *mail_default_to; /* for users without an address; NULL: none */
    int64_t timeout_ms;          /* of one try */
};

/* The options and the clock must outlive the channel; channel_free() releases it. */
MUST_CHECK enum result channel_new(enum channel_kind kind, const struct channel_options *options,
                                   const struct clock *clock, struct channel *ret_channel);
void channel_free(struct channel *channel);

/* The kinds: a line in the log; a signed POST; a mail. */
MUST_CHECK enum result channel_log_new(struct channel *ret_channel);
MUST_CHECK enum result channel_webhook_new(const struct channel_options *options,
                                           const struct clock *clock, struct channel *ret_channel);
MUST_CHECK enum result channel_smtp_new(const struct channel_options *options,
                                        const struct clock *clock, struct channel *ret_channel);

#endif
