#include "core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const int64_t NS_PER_SECOND = 1000000000;
static const int64_t NS_PER_MS = 1000000;
static const int64_t MS_PER_SECOND = 1000;
static const int64_t FIRST_MS = -62167219200000; /* 0000-01-01T00:00:00.000Z */
static const int64_t LAST_MS = 253402300799999;  /* 9999-12-31T23:59:59.999Z */

static int64_t read_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

static int64_t system_wall_ms(void *context)
{
    (void)context;
    return read_ns(CLOCK_REALTIME) / NS_PER_MS;
}

static int64_t system_monotonic_ns(void *context)
{
    (void)context;
    return read_ns(CLOCK_MONOTONIC);
}

static void system_sleep_ms(void *context, int64_t duration_ms)
{
    (void)context;
    struct timespec left = {.tv_sec = duration_ms / MS_PER_SECOND,
                            .tv_nsec = duration_ms % MS_PER_SECOND * NS_PER_MS};
    nanosleep(&left, NULL);
}

const struct clock clock_system = {
    .wall_ms = system_wall_ms,
    .monotonic_ns = system_monotonic_ns,
    .sleep_ms = system_sleep_ms,
};

int64_t clock_wall_ms(const struct clock *clock)
{
    return clock->wall_ms(clock->context);
}

int64_t clock_monotonic_ns(const struct clock *clock)
{
    return clock->monotonic_ns(clock->context);
}

int64_t clock_monotonic_ms(const struct clock *clock)
{
    return clock_monotonic_ns(clock) / NS_PER_MS;
}

void clock_sleep_ms(const struct clock *clock, int64_t duration_ms)
{
    clock->sleep_ms(clock->context, duration_ms);
}

void clock_format_utc(int64_t wall_ms, char ret_text[static CLOCK_TEXT_SIZE])
{
    if (wall_ms < FIRST_MS)
        wall_ms = FIRST_MS;
    if (wall_ms > LAST_MS)
        wall_ms = LAST_MS;
    int64_t ms = wall_ms % MS_PER_SECOND;
    int64_t seconds = wall_ms / MS_PER_SECOND;
    if (ms < 0) {
        ms += MS_PER_SECOND;
        seconds -= 1;
    }
    time_t when = (time_t)seconds;
    struct tm utc;
    gmtime_r(&when, &utc);
    snprintf(ret_text, CLOCK_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             (unsigned)(utc.tm_year + 1900) % 10000, (unsigned)(utc.tm_mon + 1) % 100,
             (unsigned)utc.tm_mday % 100, (unsigned)utc.tm_hour % 100, (unsigned)utc.tm_min % 100,
             (unsigned)utc.tm_sec % 100, (unsigned)ms % 1000);
}

enum result clock_parse_utc(const char *text, int64_t *ret_wall_ms)
{
    struct tm utc = {0};
    char *end = NULL;
    long ms = 0;
    const char *rest = strptime(text, "%Y-%m-%d", &utc);
    if (!rest)
        return RESULT_MALFORMED;
    if (*rest == 'T') {
        rest = strptime(rest, "T%H:%M:%S", &utc);
        if (rest && *rest == '.') {
            ms = strtol(rest + 1, &end, 10);
            rest = end == rest + 4 && ms >= 0 ? end : NULL;
        }
        if (!rest || *rest++ != 'Z')
            return RESULT_MALFORMED;
    }
    if (*rest != '\0')
        return RESULT_MALFORMED;
    *ret_wall_ms = (int64_t)timegm(&utc) * MS_PER_SECOND + ms;
    return RESULT_OK;
}
