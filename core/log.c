#include "core/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/utf8.h"

enum { DEVICE_MAX = 64 };

/* The one global of the tree besides the signal flag: the log belongs to the process. */
static struct {
    pthread_mutex_t lock;
    const char *program;
    char device_id[DEVICE_MAX + 1];
    enum log_level level;
    int descriptor;
    uint64_t dropped;
    uint64_t dropped_reported;
} the_log = {.lock = PTHREAD_MUTEX_INITIALIZER,
             .program = "",
             .level = LOG_INFO,
             .descriptor = STDERR_FILENO};

static const char *const LEVEL_NAMES[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};

/* A line under construction. What doesn't fit is cut back to the last whole field. */
struct line {
    char bytes[LOG_LINE_MAX];
    size_t size;
    bool full;
};

/* Room that always stays free for the closing brace and the newline. */
enum { TAIL = 2 };

static void line_put(struct line *line, const char *bytes, size_t size)
{
    if (line->full || size > sizeof line->bytes - TAIL - line->size) {
        line->full = true;
        return;
    }
    memcpy(line->bytes + line->size, bytes, size);
    line->size += size;
}

static void line_put_text(struct line *line, const char *text)
{
    line_put(line, text, strlen(text));
}

static void line_put_control(struct line *line, char byte)
{
    char escape[8];
    snprintf(escape, sizeof escape, "\\u%04x", (unsigned char)byte);
    line_put_text(line, escape);
}

static void line_put_string(struct line *line, const char *text)
{
    size_t left = strlen(text);
    line_put(line, "\"", 1);
    while (left > 0 && !line->full) {
        size_t length = utf8_sequence_length(text, left);
        if (length == 0)
            line_put_text(line, "\xEF\xBF\xBD");
        else if (*text == '"' || *text == '\\')
            line_put(line, (const char[]){'\\', *text}, 2);
        else if ((unsigned char)*text < 0x20 || *text == 0x7F)
            line_put_control(line, *text);
        else
            line_put(line, text, length);
        size_t step = length ? length : 1;
        text += step;
        left -= step;
    }
    line_put(line, "\"", 1);
}

static void line_put_name(struct line *line, const char *name)
{
    line_put(line, line->size == 1 ? "" : ",", line->size == 1 ? 0 : 1);
    line_put_string(line, name);
    line_put(line, ":", 1);
}

static void line_put_field(struct line *line, const struct log_field *field)
{
    size_t before = line->size;
    line_put_name(line, field->name);
    if (field->kind == LOG_FIELD_INT) {
        char digits[24];
        snprintf(digits, sizeof digits, "%lld", (long long)field->number);
        line_put_text(line, digits);
    } else {
        line_put_string(line, field->text ? field->text : "");
    }
    if (line->full) {
        line->size = before;
        line->full = false;
    }
}

static void line_build(struct line *line, enum log_level level, const char *event,
                       const struct log_field *fields)
{
    char now[CLOCK_TEXT_SIZE];
    clock_format_utc(clock_wall_ms(&clock_system), now);
    line->size = 0;
    line->full = false;
    line_put(line, "{", 1);
    line_put_field(line, &LOG_TEXT("time", now));
    line_put_field(line, &LOG_TEXT("level", LEVEL_NAMES[level]));
    line_put_field(line, &LOG_TEXT("program", the_log.program));
    line_put_field(line, &LOG_TEXT("event", event));
    if (the_log.device_id[0])
        line_put_field(line, &LOG_TEXT("device_id", the_log.device_id));
    for (; fields->kind != LOG_FIELD_END; fields++)
        line_put_field(line, fields);
    memcpy(line->bytes + line->size, "}\n", TAIL);
    line->size += TAIL;
}

/* A pipe or socket that polls writable takes a line of at most PIPE_BUF bytes without blocking. */
static bool write_line(const struct line *line)
{
    struct pollfd output = {.fd = the_log.descriptor, .events = POLLOUT};
    if (poll(&output, 1, 0) != 1 || !(output.revents & POLLOUT))
        return false;
    ssize_t written;
    do
        written = write(the_log.descriptor, line->bytes, line->size);
    while (written < 0 && errno == EINTR);
    return written == (ssize_t)line->size;
}

static void report_dropped(void)
{
    struct line line;
    uint64_t missing = the_log.dropped - the_log.dropped_reported;
    const struct log_field fields[] = {LOG_INT("lines", (int64_t)missing), LOG_LAST};
    line_build(&line, LOG_WARN, "log.dropped", fields);
    if (write_line(&line))
        the_log.dropped_reported = the_log.dropped;
}

enum result log_level_parse(const char *text, enum log_level *ret_level)
{
    for (size_t i = 0; i < ARRAY_LENGTH(LEVEL_NAMES); i++) {
        if (strcmp(text, LEVEL_NAMES[i]) == 0) {
            *ret_level = (enum log_level)i;
            return RESULT_OK;
        }
    }
    return RESULT_INVALID;
}

void log_start(const char *program, enum log_level level)
{
    the_log.program = program;
    the_log.level = level;
}

void log_set_device(const char *device_id)
{
    pthread_mutex_lock(&the_log.lock);
    snprintf(the_log.device_id, sizeof the_log.device_id, "%s", device_id);
    pthread_mutex_unlock(&the_log.lock);
}

bool log_wants(enum log_level level)
{
    return level >= the_log.level;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    struct line line;
    pthread_mutex_lock(&the_log.lock);
    if (the_log.dropped > the_log.dropped_reported)
        report_dropped();
    line_build(&line, level, event, fields);
    if (!write_line(&line))
        the_log.dropped++;
    pthread_mutex_unlock(&the_log.lock);
}

void log_set_output(int descriptor)
{
    the_log.descriptor = descriptor;
}

uint64_t log_dropped(void)
{
    pthread_mutex_lock(&the_log.lock);
    uint64_t dropped = the_log.dropped;
    pthread_mutex_unlock(&the_log.lock);
    return dropped;
}
