#include "bridge/adapters/topology.h"

struct binding {
    const char *queue;
    const char *exchange;
    const char *key;
};

static const struct {
    const char *name, *type;
} EXCHANGES[] = {{TOPOLOGY_EVENTS, "topic"}, {TOPOLOGY_DEAD_LETTERS, "direct"}};

/* The dead letters come first: the others' arguments refer to them. They have nowhere to go, so a
 * look at them that gives them back must never count as one too many. */
static const struct {
    const char *name;
    bool dead_letters;
    int delivery_limit;
} QUEUES[] = {{TOPOLOGY_FAILED, false, TOPOLOGY_NO_DELIVERY_LIMIT},
              {TOPOLOGY_INVENTORY, true, TOPOLOGY_DELIVERY_LIMIT},
              {TOPOLOGY_NOTIFICATION, true, TOPOLOGY_DELIVERY_LIMIT}};

static const struct binding BINDINGS[] = {
    {TOPOLOGY_FAILED, TOPOLOGY_DEAD_LETTERS, TOPOLOGY_FAILED},
    {TOPOLOGY_INVENTORY, TOPOLOGY_EVENTS, "order.created"},
    {TOPOLOGY_INVENTORY, TOPOLOGY_EVENTS, "order.cancelled"},
    {TOPOLOGY_INVENTORY, TOPOLOGY_EVENTS, "product.created"},
    {TOPOLOGY_INVENTORY, TOPOLOGY_EVENTS, "product.updated"},
    {TOPOLOGY_INVENTORY, TOPOLOGY_EVENTS, "stock.adjusted"},
    {TOPOLOGY_NOTIFICATION, TOPOLOGY_EVENTS, "order.created"},
    {TOPOLOGY_NOTIFICATION, TOPOLOGY_EVENTS, "order.cancelled"},
};

enum delivery topology_declare(struct broker *broker, bool *ret_denied, struct error *error)
{
    enum delivery done = DELIVERY_DONE;
    *ret_denied = false;
    for (size_t i = 0; i < ARRAY_LENGTH(EXCHANGES) && done == DELIVERY_DONE; i++)
        done = broker_declare_exchange(broker, EXCHANGES[i].name, EXCHANGES[i].type, ret_denied,
                                       error);
    for (size_t i = 0; i < ARRAY_LENGTH(QUEUES) && done == DELIVERY_DONE; i++)
        done = broker_declare_quorum_queue(
            broker, QUEUES[i].name, QUEUES[i].dead_letters ? TOPOLOGY_DEAD_LETTERS : NULL,
            TOPOLOGY_FAILED, QUEUES[i].delivery_limit, ret_denied, error);
    for (size_t i = 0; i < ARRAY_LENGTH(BINDINGS) && done == DELIVERY_DONE; i++)
        done = broker_bind(broker, BINDINGS[i].queue, BINDINGS[i].exchange, BINDINGS[i].key,
                           ret_denied, error);
    return done;
}
