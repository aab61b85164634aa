/* The sinks that the settings name: for `bridge run`, and for commands that send. */
#ifndef TILLBOX_BRIDGE_PEERS_H
#define TILLBOX_BRIDGE_PEERS_H

#include "bridge/adapters/pg.h"
#include "bridge/commands/settings.h"
#include "bridge/relay/sink.h"
#include "bridge/relay/sink_rabbitmq.h"

enum { PEERS_MAX = 2, PEERS_DEADLINE_MS = 15000 };

/* What the sinks point to; must outlive them. */
struct peers {
    struct pg_options postgres;
    struct amqp_options rabbitmq;
};

void peers_init(struct peers *peers, const struct settings *settings);

/* The sinks that are switched on, in a fixed order, at most PEERS_MAX; each is released with its
 * own `free`. `only` picks one by its name; NULL: all. */
MUST_CHECK enum result peers_sinks(const struct peers *peers, const char *only,
                                   struct sink ret_sinks[static PEERS_MAX], size_t *ret_count);

#endif
