#include "bridge/relay/fence.h"

void halt_init(struct halt *halt)
{
    *halt = (struct halt){0};
    pthread_mutex_init(&halt->lock, NULL);
}

void halt_done(struct halt *halt)
{
    pthread_mutex_destroy(&halt->lock);
}

void halt_raise(struct halt *halt, const struct error *reason)
{
    pthread_mutex_lock(&halt->lock);
    if (!atomic_load(&halt->raised))
        halt->reason = *reason;
    atomic_store(&halt->raised, true);
    pthread_mutex_unlock(&halt->lock);
}

bool halt_is_raised(struct halt *halt)
{
    return atomic_load(&halt->raised);
}

void halt_read_reason(struct halt *halt, struct error *ret_reason)
{
    pthread_mutex_lock(&halt->lock);
    *ret_reason = halt->reason;
    pthread_mutex_unlock(&halt->lock);
}

void halt_add_doubt(struct halt *halt)
{
    atomic_fetch_add(&halt->doubts, 1);
}

void halt_clear_doubt(struct halt *halt)
{
    atomic_fetch_sub(&halt->doubts, 1);
}

bool halt_is_in_doubt(struct halt *halt)
{
    return atomic_load(&halt->doubts) > 0;
}
