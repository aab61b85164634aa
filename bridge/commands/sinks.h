/* The sinks that the settings name: for `bridge run`, and for commands that send. */
#ifndef TILLBOX_BRIDGE_SINKS_H
#define TILLBOX_BRIDGE_SINKS_H

#include "bridge/adapters/pg.h"
#include "bridge/commands/settings.h"
#include "bridge/relay/sink.h"
#include "bridge/relay/sink_rabbitmq.h"

enum { SINKS_MAX = 2, SINKS_DEADLINE_MS = 15000 };

/* What the sinks point to; must outlive them. */
struct sinks {
    struct pg_options postgres;
    struct broker_options rabbitmq;
};

void sinks_init(struct sinks *peers, const struct settings *settings);

/* The sinks that are switched on, in a fixed order, at most SINKS_MAX; each is released with its
 * own `free`. `only` picks one by its name; NULL: all. */
MUST_CHECK enum result sinks_new(const struct sinks *peers, const char *only,
                                 struct sink ret_sinks[static SINKS_MAX], size_t *ret_count);

#endif
