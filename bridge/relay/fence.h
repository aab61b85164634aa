/* What one sink finds out concerns all of them: a box that was cloned, restored or mixed up must
 * send nothing more to anyone. Thread-safe. */
#ifndef TILLBOX_BRIDGE_HALT_H
#define TILLBOX_BRIDGE_HALT_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/result.h"

struct halt {
    atomic_bool raised;
    atomic_int
        doubts; /* sinks that had stopped when the bridge last ended, and haven't asked again */
    pthread_mutex_t lock;
    struct error reason;
};

void halt_init(struct halt *halt);
void halt_done(struct halt *halt);

/* The first reason stays. */
void halt_raise(struct halt *halt, const struct error *reason);
bool halt_is_raised(struct halt *halt);
void halt_read_reason(struct halt *halt, struct error *ret_reason);

/* A sink that had stopped is asking again; as long as it hasn't had its answer, no sink sends. */
void halt_add_doubt(struct halt *halt);
void halt_clear_doubt(struct halt *halt);
bool halt_is_in_doubt(struct halt *halt);

#endif
