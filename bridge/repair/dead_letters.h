/* What is in order.failed, moved back to order.events. */
#ifndef TILLBOX_BRIDGE_FAILED_QUEUE_H
#define TILLBOX_BRIDGE_FAILED_QUEUE_H

#include "bridge/commands/settings.h"
#include "bridge/relay/delivery_state.h"
#include "bridge/repair/replay.h"

/* Moves what is in the queue at the start, at most --limit: each message is published again as it
 * is, by its own type, confirmed, and only then taken off the queue. What a stop in between leaves
 * twice, the consumers take once. Parked rows of these events on the RabbitMQ sink are settled. */
MUST_CHECK enum result failed_queue_drain(const struct settings *settings, struct ledger *ledger,
                                          struct replay_report *report, struct error *error);

#endif
