/* A word that is given once and stays: "break off". It can be waited for with poll(2) together with
 * a socket. Raising and asking are for any thread. */
#ifndef TILLBOX_CORE_LATCH_H
#define TILLBOX_CORE_LATCH_H

#include <stdatomic.h>

#include "core/result.h"

struct latch {
    atomic_bool raised;
    int descriptor; /* can be read once it is raised */
};

/* RESULT_NO_MEMORY if the process has no descriptor left. */
MUST_CHECK enum result latch_init(struct latch *latch);
void latch_done(struct latch *latch);

void latch_raise(struct latch *latch);
bool latch_is_raised(const struct latch *latch);

#endif
