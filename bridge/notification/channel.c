#include "bridge/notification/channel.h"

#include "core/log.h"

static enum result send_log(void *self, const struct channel_message *message, struct error *error)
{
    (void)self;
    (void)error;
    const struct notification *notification = message->notification;
    LOG(LOG_INFO, "notification", LOG_TEXT("kind", notification->kind),
        LOG_TEXT("event_id", notification->event_id),
        LOG_TEXT("device_id", notification->device_id),
        LOG_TEXT("location", notification->location), LOG_INT("order_id", notification->order_id),
        LOG_TEXT("total", message->total));
    return RESULT_OK;
}

static void free_log(void *self)
{
    (void)self;
}

enum result channel_log_new(struct channel *ret_channel)
{
    static const struct channel_ops OPS = {.send = send_log, .free = free_log};
    *ret_channel = (struct channel){.ops = &OPS};
    return RESULT_OK;
}

enum result channel_new(enum channel_kind kind, const struct channel_options *options,
                        const struct clock *clock, struct channel *ret_channel)
{
    switch (kind) {
    case CHANNEL_WEBHOOK:
        return channel_webhook_new(options, clock, ret_channel);
    case CHANNEL_SMTP:
        return channel_smtp_new(options, clock, ret_channel);
    case CHANNEL_LOG:
    case CHANNEL_COUNT:
        break;
    }
    return channel_log_new(ret_channel);
}

void channel_free(struct channel *channel)
{
    if (channel->ops)
        channel->ops->free(channel->self);
    *channel = (struct channel){0};
}
