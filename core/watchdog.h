/* Tells the service manager that the program is alive, but only once every part of it has been seen
 * to move since the last time: a process that still answers its manager and no longer sells is
 * dead.
 *
 * A part is a thread that the program can't do without. It is asked whether it has moved, never
 * whether it has succeeded: waiting for a peer that is down, with a deadline, is moving. The loop
 * that calls watchdog_tick() is a part by itself, as without its calls nothing is said. */
#ifndef TILLBOX_CORE_WATCHDOG_H
#define TILLBOX_CORE_WATCHDOG_H

#include <stdint.h>

#include "core/clock.h"

enum { WATCHDOG_PARTS_MAX = 8 };

struct watchdog_part {
    const char *name; /* for the log; static */
    /* Has it gone round since this was last asked? Also gives one that idles a reason to. */
    bool (*has_moved)(void *context);
    void *context;
    bool seen; /* to move, in this round */
};

/* Owned by one thread. All zero, but for the clock: nobody listens, and ticks do nothing. */
struct watchdog {
    const struct clock *clock;
    int64_t period_ms; /* of the service manager's patience; 0: nobody listens */
    int64_t round_began_ms;
    bool told; /* that this round takes too long */
    struct watchdog_part parts[WATCHDOG_PARTS_MAX];
    int count;
};

/* Finds out whether anybody listens. */
void watchdog_init(struct watchdog *watchdog, const struct clock *clock);

void watchdog_add(struct watchdog *watchdog, const char *name, bool (*has_moved)(void *context),
                  void *context);

/* About once a second. Says "alive" about four times in a period while every part moves; names in
 * the log those that haven't for half a period. */
void watchdog_tick(struct watchdog *watchdog);

#endif
