#include "bridge/notification/channel_kind.h"

#include <string.h>

static const char *const CHANNELS[] = {
#define X(channel, name) [channel] = (name),
    NOTIFICATION_CHANNELS(X)
#undef X
};

const char *channel_name(enum channel_kind channel)
{
    return CHANNELS[channel];
}

bool channel_find(const char *name, enum channel_kind *ret_channel)
{
    for (int i = 0; i < CHANNEL_COUNT; i++)
        if (strcmp(CHANNELS[i], name) == 0) {
            *ret_channel = (enum channel_kind)i;
            return true;
        }
    return false;
}
