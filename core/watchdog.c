#include "core/watchdog.h"

#include <assert.h>

#include "core/log.h"
#include "core/sd_notify.h"

enum { ROUNDS_A_PERIOD = 4, PATIENCE_PARTS = 2 };

void watchdog_init(struct watchdog *watchdog, const struct clock *clock)
{
    *watchdog = (struct watchdog){.clock = clock,
                                  .period_ms = sd_notify_watchdog_ms(),
                                  .round_began_ms = clock_monotonic_ms(clock)};
}

void watchdog_add(struct watchdog *watchdog, const char *name, bool (*has_moved)(void *context),
                  void *context)
{
    assert(watchdog->count < WATCHDOG_PARTS_MAX);
    watchdog->parts[watchdog->count++] =
        (struct watchdog_part){.name = name, .has_moved = has_moved, .context = context};
}

static bool all_have_moved(struct watchdog *watchdog)
{
    bool all = true;
    for (int i = 0; i < watchdog->count; i++) {
        struct watchdog_part *part = &watchdog->parts[i];
        part->seen = part->seen || part->has_moved(part->context);
        all = all && part->seen;
    }
    return all;
}

static void tell_stuck(struct watchdog *watchdog)
{
    for (int i = 0; i < watchdog->count; i++)
        if (!watchdog->parts[i].seen)
            LOG(LOG_ERROR, "watchdog.stuck", LOG_TEXT("part", watchdog->parts[i].name));
    watchdog->told = true;
}

static void begin_round(struct watchdog *watchdog, int64_t now_ms)
{
    watchdog->round_began_ms = now_ms;
    watchdog->told = false;
    for (int i = 0; i < watchdog->count; i++)
        watchdog->parts[i].seen = false;
}

void watchdog_tick(struct watchdog *watchdog)
{
    if (watchdog->period_ms == 0)
        return;
    int64_t now_ms = clock_monotonic_ms(watchdog->clock);
    int64_t age_ms = now_ms - watchdog->round_began_ms;
    bool moved = all_have_moved(watchdog);
    if (moved && age_ms >= watchdog->period_ms / ROUNDS_A_PERIOD) {
        sd_notify_alive();
        begin_round(watchdog, now_ms);
    } else if (!moved && !watchdog->told && age_ms >= watchdog->period_ms / PATIENCE_PARTS) {
        tell_stuck(watchdog);
    }
}
