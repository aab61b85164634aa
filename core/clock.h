/* Time, injected: everything that needs a clock takes one, so that a test can turn its hands. */
#ifndef TILLBOX_CORE_CLOCK_H
#define TILLBOX_CORE_CLOCK_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "core/result.h"

struct clock {
    /* Milliseconds since 1970-01-01T00:00:00Z. May jump either way. */
    int64_t (*wall_ms)(void *context);
    /* Nanoseconds since some fixed moment. Never goes back. */
    int64_t (*monotonic_ns)(void *context);
    void (*sleep_ms)(void *context, int64_t duration_ms);
    bool (*wait)(void *context, pthread_cond_t *wake, pthread_mutex_t *lock, int64_t until_ns);
    void *context;
};

/* The machine's own clocks. */
extern const struct clock clock_system;

int64_t clock_wall_ms(const struct clock *clock);
int64_t clock_monotonic_ns(const struct clock *clock);
int64_t clock_monotonic_ms(const struct clock *clock);
void clock_sleep_ms(const struct clock *clock, int64_t duration_ms);

static const int64_t CLOCK_FOREVER_NS = INT64_MAX;
static const int64_t CLOCK_FOREVER = INT64_MAX; /* as a duration: only a signal ends the wait */

/* The moment `duration_ms` from now, for clock_wait(); CLOCK_FOREVER_NS for CLOCK_FOREVER. */
int64_t clock_deadline_ns(const struct clock *clock, int64_t duration_ms);

/* Waits until `wake` is signalled or the monotonic clock shows `until_ns`. The caller holds `lock`,
 * and looks again at what it waits for: a wait may also end without cause. True if the time has
 * come. The only place where a thread waits for another. */
bool clock_wait(const struct clock *clock, pthread_cond_t *wake, pthread_mutex_t *lock,
                int64_t until_ns);

enum { CLOCK_TEXT_SIZE = 32 };

/* Writes `wall_ms` as RFC 3339 in UTC with milliseconds, "2026-01-31T09:05:00.250Z", with its NUL.
 * A moment outside the years 0 to 9999 is clamped to their ends. */
void clock_format_utc(int64_t wall_ms, char ret_text[static CLOCK_TEXT_SIZE]);

/* Reads "2026-01-31T09:05:00Z", with or without milliseconds, or "2026-01-31" for its first moment,
 * in UTC. RESULT_MALFORMED for anything else. */
MUST_CHECK enum result clock_parse_utc(const char *text, int64_t *ret_wall_ms);

#endif
