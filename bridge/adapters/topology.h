/* The exchanges and queues of the event flow, and their fixed names. */
#ifndef TILLBOX_BRIDGE_TOPOLOGY_H
#define TILLBOX_BRIDGE_TOPOLOGY_H

#include "bridge/adapters/broker.h"

#define TOPOLOGY_EVENTS "order.events"    /* topic exchange: every event, by its type */
#define TOPOLOGY_DEAD_LETTERS "order.dlx" /* direct exchange: what was refused */
#define TOPOLOGY_FAILED "order.failed"    /* its queue and routing key */
#define TOPOLOGY_INVENTORY "inventory.order.queue"
#define TOPOLOGY_NOTIFICATION "notification.order.queue"

/* After so many deliveries without an ack the broker takes a message for poison. Stated for every
 * queue: from RabbitMQ 4.0 on one that doesn't say has a limit of 20, and beyond it what has no
 * dead-letter exchange is dropped. A number, since older brokers don't know -1. */
enum { TOPOLOGY_DELIVERY_LIMIT = 20, TOPOLOGY_NO_DELIVERY_LIMIT = 1000000000 };

/* Declares everything; what is there already stays. `*ret_denied` is set when the broker forbids it
 * to this user: a box's user may only publish, and then head office has declared it. */
enum delivery topology_declare(struct broker *broker, bool *ret_denied,
                               struct error *error) MUST_CHECK;

#endif
