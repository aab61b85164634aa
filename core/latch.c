#include "core/latch.h"

#include <sys/eventfd.h>
#include <unistd.h>

enum result latch_init(struct latch *latch)
{
    atomic_store(&latch->raised, false);
    latch->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return latch->descriptor >= 0 ? RESULT_OK : RESULT_NO_MEMORY;
}

void latch_done(struct latch *latch)
{
    close(latch->descriptor);
}

void latch_raise(struct latch *latch)
{
    atomic_store(&latch->raised, true);
    (void)!eventfd_write(latch->descriptor, 1); /* fails only where it has been raised very often */
}

bool latch_is_raised(const struct latch *latch)
{
    return atomic_load(&latch->raised);
}
