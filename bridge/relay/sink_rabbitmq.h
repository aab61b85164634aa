/* The sink for head office's broker: every event at least once, in sequence per order, confirmed.
 */
#ifndef TILLBOX_BRIDGE_SINK_RABBITMQ_H
#define TILLBOX_BRIDGE_SINK_RABBITMQ_H

#include "bridge/adapters/broker.h"
#include "bridge/relay/sink.h"

enum {
    SINK_RABBITMQ_PAGE = 4000,
    SINK_RABBITMQ_WINDOW = 1000, /* messages that wait for their confirm */
};

/* `options` and what it points to must outlive the sink. */
MUST_CHECK enum result sink_rabbitmq_new(const struct broker_options *options,
                                         struct sink *ret_sink);

#endif
