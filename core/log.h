/* Structured log: one JSON object a line on standard error.
 *
 *   LOG(LOG_INFO, "order.created", LOG_INT("sequence", 7), LOG_TEXT("event_id", id));
 *   {"time":"2026-01-31T09:05:00.250Z","level":"info","program":"appliance","event":"order.created",
 *    "sequence":7,"event_id":"…"}
 *
 * Writing never blocks and never fails: when whoever reads the log doesn't keep up, lines are
 * dropped, counted, and the count is logged when there is room again. Text is escaped; invalid
 * UTF-8 becomes U+FFFD; a line is at most LOG_LINE_MAX bytes, fields that don't fit are left out.
 * Never log personal data or secrets. Thread-safe. */
#ifndef TILLBOX_CORE_LOG_H
#define TILLBOX_CORE_LOG_H

#include <stdint.h>

#include "core/clock.h"
#include "core/result.h"

enum { LOG_LINE_MAX = 4096 };

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_field_kind { LOG_FIELD_END, LOG_FIELD_TEXT, LOG_FIELD_INT };

struct log_field {
    enum log_field_kind kind;
    const char *name;
    const char *text;
    int64_t number;
};

#define LOG_TEXT(field, value)                                   \
    (struct log_field)                                           \
    {                                                            \
        .kind = LOG_FIELD_TEXT, .name = (field), .text = (value) \
    }
#define LOG_INT(field, value)                                     \
    (struct log_field)                                            \
    {                                                             \
        .kind = LOG_FIELD_INT, .name = (field), .number = (value) \
    }
#define LOG_LAST              \
    (struct log_field)        \
    {                         \
        .kind = LOG_FIELD_END \
    }

/* LOG(level, "event.name", fields…); the arguments are evaluated only if the level is logged. */
#define LOG(level, ...)                                    \
    do {                                                   \
        if (log_wants(level))                              \
            LOG_WITH_FIELDS(level, __VA_ARGS__, LOG_LAST); \
    } while (0)
#define LOG_WITH_FIELDS(level, event, ...) \
    log_write(level, event, (const struct log_field[]){__VA_ARGS__})

/* "debug", "info", "warn", "error"; RESULT_INVALID for anything else. */
MUST_CHECK enum result log_level_parse(const char *text, enum log_level *ret_level);

/* Before the first thread starts. `program` must outlive the process's logging. */
void log_start(const char *program, enum log_level level);

/* Adds "device_id" to every later line; copied. */
void log_set_device(const char *device_id);

bool log_wants(enum log_level level);

/* `fields` ends with LOG_LAST. */
void log_write(enum log_level level, const char *event, const struct log_field *fields);

/* Where the lines go: a file descriptor, 2 unless told. For tests. */
void log_set_output(int descriptor);

/* Lines dropped so far because the reader didn't keep up. */
uint64_t log_dropped(void);

#endif
