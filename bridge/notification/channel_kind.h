/* The ways to a receiver, and their names in settings, rows and the log. */
#ifndef TILLBOX_BRIDGE_CHANNEL_KIND_H
#define TILLBOX_BRIDGE_CHANNEL_KIND_H

#include <stdbool.h>

#define NOTIFICATION_CHANNELS(X)  \
    X(CHANNEL_LOG, "log")         \
    X(CHANNEL_WEBHOOK, "webhook") \
    X(CHANNEL_SMTP, "smtp")

enum channel_kind {
#define X(channel, name) channel,
    NOTIFICATION_CHANNELS(X)
#undef X
        CHANNEL_COUNT
};

const char *channel_name(enum channel_kind channel);

/* False if there is no such channel. */
bool channel_find(const char *name, enum channel_kind *ret_channel);

#endif
