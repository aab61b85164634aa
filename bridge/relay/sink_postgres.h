/* The sink for head office's database: every event once, in batches, the box's cursor in the same
 * transaction (schema/central). */
#ifndef TILLBOX_BRIDGE_SINK_POSTGRES_H
#define TILLBOX_BRIDGE_SINK_POSTGRES_H

#include "bridge/adapters/pg.h"
#include "bridge/relay/sink.h"
#include "core/random.h"

enum { SINK_POSTGRES_PAGE = 1000 };

/* `options` and what it points to must outlive the sink. */
MUST_CHECK enum result sink_postgres_new(const struct pg_options *options,
                                         const struct random_source *random, struct sink *ret_sink);

#endif
