#include "core/result.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct result_entry {
    const char *text;
    bool may_retry;
};

static const struct result_entry TABLE[] = {
#define X(code, text, retry) [code] = {text, retry},
    RESULT_TABLE(X)
#undef X
};

static const struct result_entry *entry_of(enum result result)
{
    return (size_t)result < ARRAY_LENGTH(TABLE) ? &TABLE[result] : &TABLE[RESULT_INTERNAL];
}

const char *result_text(enum result result)
{
    return entry_of(result)->text;
}

bool result_may_retry(enum result result)
{
    return entry_of(result)->may_retry;
}

static void write_text(struct error *error, const char *format, va_list arguments)
    PRINTF_LIKE(2, 0);

static void write_text(struct error *error, const char *format, va_list arguments)
{
    vsnprintf(error->text, sizeof error->text, format, arguments);
}

void error_write(struct error *error, const char *format, ...)
{
    va_list arguments;
    if (!error)
        return;
    va_start(arguments, format);
    write_text(error, format, arguments);
    va_end(arguments);
}

void error_write_errno(struct error *error, const char *format, ...)
{
    int cause = errno;
    char reason[128];
    va_list arguments;
    if (!error)
        return;
    va_start(arguments, format);
    write_text(error, format, arguments);
    va_end(arguments);
    size_t used = strlen(error->text);
    snprintf(error->text + used, sizeof error->text - used, ": %s",
             strerror_r(cause, reason, sizeof reason));
}
