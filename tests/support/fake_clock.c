#include "tests/support/fake_clock.h"

static int64_t fake_wall_ms(void *context)
{
    struct fake_clock *fake = context;
    return atomic_load(&fake->wall_ms);
}

static int64_t fake_monotonic_ns(void *context)
{
    struct fake_clock *fake = context;
    return atomic_load(&fake->monotonic_ms) * 1000000;
}

static void fake_sleep_ms(void *context, int64_t duration_ms)
{
    fake_clock_advance(context, duration_ms);
}

/* Whoever waits for a time gets there at once; whoever waits for a signal gets the signal. */
static bool fake_wait(void *context, pthread_cond_t *wake, pthread_mutex_t *lock, int64_t until_ns)
{
    if (until_ns == CLOCK_FOREVER_NS)
        return pthread_cond_wait(wake, lock) != 0;
    int64_t left_ms = (until_ns - fake_monotonic_ns(context)) / 1000000;
    if (left_ms > 0)
        fake_clock_advance(context, left_ms);
    return true;
}

void fake_clock_init(struct fake_clock *fake, int64_t wall_ms)
{
    fake->clock = (struct clock){.wall_ms = fake_wall_ms,
                                 .monotonic_ns = fake_monotonic_ns,
                                 .sleep_ms = fake_sleep_ms,
                                 .wait = fake_wait,
                                 .context = fake};
    atomic_init(&fake->wall_ms, wall_ms);
    atomic_init(&fake->monotonic_ms, 1);
}

void fake_clock_advance(struct fake_clock *fake, int64_t duration_ms)
{
    atomic_fetch_add(&fake->wall_ms, duration_ms);
    atomic_fetch_add(&fake->monotonic_ms, duration_ms);
}
