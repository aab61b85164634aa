#include "core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static bool system_wait(void *context, pthread_cond_t *wake, pthread_mutex_t *lock,
                        int64_t until_ns)
{
    (void)context;
    const struct timespec until = {.tv_sec = until_ns / NS_PER_SECOND,
                                   .tv_nsec = until_ns % NS_PER_SECOND};
    if (until_ns == CLOCK_FOREVER_NS)
        return pthread_cond_wait(wake, lock) != 0;
    return pthread_cond_clockwait(wake, lock, CLOCK_MONOTONIC, &until) != 0;
}

const struct clock clock_system = {
    .wall_ms = system_wall_ms,
    .monotonic_ns = system_monotonic_ns,
    .sleep_ms = system_sleep_ms,
    .wait = system_wait,
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

int64_t clock_deadline_ns(const struct clock *clock, int64_t duration_ms)
{
    if (duration_ms == CLOCK_FOREVER)
        return CLOCK_FOREVER_NS;
    return clock_monotonic_ns(clock) + duration_ms * NS_PER_MS;
}

bool clock_wait(const struct clock *clock, pthread_cond_t *wake, pthread_mutex_t *lock,
                int64_t until_ns)
{
    return clock->wait(clock->context, wake, lock, until_ns);
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

/* Whether `text` has digits where the pattern has, and the same characters elsewhere. */
static bool has_shape(const char *text, const char *pattern)
{
    for (; *pattern && *text; pattern++, text++)
        if (*pattern == '0' ? *text < '0' || *text > '9' : *text != *pattern)
            return false;
    return *pattern == *text;
}

enum result clock_parse_utc(const char *text, int64_t *ret_wall_ms)
{
    static const char WHOLE[] = "0000-00-00T00:00:00.000Z";
    char full[CLOCK_TEXT_SIZE] = "0000-01-01T00:00:00.000Z", again[CLOCK_TEXT_SIZE];
    struct tm utc = {0};
    if (!has_shape(text, WHOLE) && !has_shape(text, "0000-00-00T00:00:00Z") &&
        !has_shape(text, "0000-00-00"))
        return RESULT_MALFORMED;
    /* What is given stands before the rest of a whole time, "Z" apart. */
    memcpy(full, text, strcspn(text, "Z"));
    if (!strptime(full, "%Y-%m-%dT%H:%M:%S", &utc))
        return RESULT_MALFORMED;
    int64_t ms = strtol(full + sizeof WHOLE - sizeof "000Z", NULL, 10);
    int64_t wall_ms = (int64_t)timegm(&utc) * MS_PER_SECOND + ms;
    /* A day that its month doesn't have comes back as another. */
    clock_format_utc(wall_ms, again);
    if (strcmp(full, again) != 0)
        return RESULT_MALFORMED;
    *ret_wall_ms = wall_ms;
    return RESULT_OK;
}
