/* What one sink finds out concerns all of them: a box that was cloned, restored or mixed up must
 * send nothing more to anyone. Thread-safe. */
#ifndef TILLBOX_BRIDGE_FENCE_H
#define TILLBOX_BRIDGE_FENCE_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/result.h"

struct fence {
    atomic_bool raised;
    atomic_int
        doubts; /* sinks that had stopped when the bridge last ended, and haven't asked again */
    pthread_mutex_t lock;
    struct error reason;
};

void fence_init(struct fence *fence);
void fence_done(struct fence *fence);

/* The first reason stays. */
void fence_raise(struct fence *fence, const struct error *reason);
bool fence_is_raised(struct fence *fence);
void fence_read_reason(struct fence *fence, struct error *ret_reason);

/* A sink that had stopped is asking again; as long as it hasn't had its answer, no sink sends. */
void fence_add_unverified(struct fence *fence);
void fence_clear_unverified(struct fence *fence);
bool fence_is_unverified(struct fence *fence);

#endif
