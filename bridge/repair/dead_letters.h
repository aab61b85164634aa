/* What is in order.failed, moved back to order.events. */
#ifndef TILLBOX_BRIDGE_DEAD_LETTERS_H
#define TILLBOX_BRIDGE_DEAD_LETTERS_H

#include "bridge/adapters/broker.h"
#include "bridge/relay/delivery_state.h"
#include "bridge/repair/replay.h"

struct dead_letters_options {
    const struct broker_options *rabbitmq;
    struct delivery_state *deliveries;
    const struct clock *clock;
    int64_t limit; /* of messages; 0: none */
    int64_t rate;  /* messages a second; 0: as fast as it goes */
    bool dry_run;

    /* Called for every message that was sent, or would be; `reason` is NULL unless it failed. The
     * texts are a stranger's: any bytes but NUL. */
    void (*progress)(void *context, const char *event_id, const char *event_type,
                     const char *reason);
    void *context;
};

/* Moves what is in the queue at the start, at most `limit`: each message is published again as it
 * is, by its own type, confirmed, and only then taken off the queue. What a stop in between leaves
 * twice, the consumers take once. Parked rows of these events on the RabbitMQ sink are settled. */
MUST_CHECK enum result dead_letters_drain(const struct dead_letters_options *options,
                                          struct replay_report *report, struct error *error);

#endif
