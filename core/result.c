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

enum result error_set(struct error *error, enum result result, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return result;
}

enum result error_set_errno(struct error *error, enum result result, const char *format, ...)
{
    int saved = errno;
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
        size_t used = strlen(error->text);
        char reason[128];
        snprintf(error->text + used, sizeof error->text - used, ": %s",
                 strerror_r(saved, reason, sizeof reason));
    }
    return result;
}
