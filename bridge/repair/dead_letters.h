/* What is in order.failed, moved back to order.events. */
#ifndef TILLBOX_BRIDGE_DEAD_LETTERS_H
#define TILLBOX_BRIDGE_DEAD_LETTERS_H

#include "bridge/commands/settings.h"
#include "bridge/relay/delivery_state.h"
#include "bridge/repair/replay.h"

/* Moves what is in the queue at the start, at most --limit: each message is published again as it
 * is, by its own type, confirmed, and only then taken off the queue. What a stop in between leaves
 * twice, the consumers take once. Parked rows of these events on the RabbitMQ sink are settled. */
MUST_CHECK enum result dead_letters_drain(const struct settings *settings,
                                          struct delivery_state *deliveries,
                                          struct replay_report *report, struct error *error);

#endif
