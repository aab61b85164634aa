#include "bridge/relay/fence.h"

void fence_init(struct fence *fence)
{
    *fence = (struct fence){0};
    pthread_mutex_init(&fence->lock, NULL);
}

void fence_done(struct fence *fence)
{
    pthread_mutex_destroy(&fence->lock);
}

void fence_raise(struct fence *fence, const struct error *reason)
{
    pthread_mutex_lock(&fence->lock);
    if (!atomic_load(&fence->raised))
        fence->reason = *reason;
    atomic_store(&fence->raised, true);
    pthread_mutex_unlock(&fence->lock);
}

bool fence_is_raised(struct fence *fence)
{
    return atomic_load(&fence->raised);
}

void fence_read_reason(struct fence *fence, struct error *ret_reason)
{
    pthread_mutex_lock(&fence->lock);
    *ret_reason = fence->reason;
    pthread_mutex_unlock(&fence->lock);
}

void fence_add_unverified(struct fence *fence)
{
    atomic_fetch_add(&fence->doubts, 1);
}

void fence_clear_unverified(struct fence *fence)
{
    atomic_fetch_sub(&fence->doubts, 1);
}

bool fence_is_unverified(struct fence *fence)
{
    return atomic_load(&fence->doubts) > 0;
}
