/* The outcome of every function that can fail.
 *
 * A function that fails returns one of these words and, where a person will want to know more than
 * the word, writes the cause into a `struct error`. It doesn't log: the one place that decides what
 * happens next (main, a command, a handler, a loop) logs it once. Outputs named `ret_…` are left
 * untouched on failure. */
#ifndef TILLBOX_CORE_RESULT_H
#define TILLBOX_CORE_RESULT_H

#include <stdbool.h>

#include "core/attributes.h"

/* code, text, whether the same call may succeed later without anyone changing anything */
#define RESULT_TABLE(X)                                           \
    X(RESULT_OK, "ok", false)                                     \
    X(RESULT_NO_MEMORY, "out of memory", true)                    \
    X(RESULT_MALFORMED, "malformed input", false)                 \
    X(RESULT_INVALID, "invalid value", false)                     \
    X(RESULT_TOO_LARGE, "over a limit", false)                    \
    X(RESULT_NOT_FOUND, "not found", false)                       \
    X(RESULT_CONFLICT, "conflicts with the present state", false) \
    X(RESULT_REFUSED, "refused by a rule", false)                 \
    X(RESULT_BUSY, "busy", true)                                  \
    X(RESULT_CLOSED, "closed", false)                             \
    X(RESULT_LOCKED, "in use by another process", true)           \
    X(RESULT_DENIED, "permission denied", false)                  \
    X(RESULT_DISK_FULL, "no space left on the disk", true)        \
    X(RESULT_IO, "input/output error", false)                     \
    X(RESULT_SYNC_FAILED, "the disk refused to flush", false)     \
    X(RESULT_CORRUPT, "damaged data", false)                      \
    X(RESULT_UNSUPPORTED, "not supported", false)                 \
    X(RESULT_TIMED_OUT, "took too long", true)                    \
    X(RESULT_UNREACHABLE, "can't be reached", true)               \
    X(RESULT_INTERNAL, "internal error", false)

enum result {
#define X(code, text, retry) code,
    RESULT_TABLE(X)
#undef X
};

/* Static text, never NULL. */
const char *result_text(enum result result);

/* True where trying again later, unchanged, is sensible. */
bool result_may_retry(enum result result);

enum { ERROR_TEXT_MAX = 512 };

/* The cause of a failure, in one sentence for a person. Owned by the caller; start it with {0}. */
struct error {
    char text[ERROR_TEXT_MAX];
};

/* Writes the cause, truncated at ERROR_TEXT_MAX. `error` may be NULL. */
void error_write(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

/* As error_write, followed by ": " and the text of `errno`. */
void error_write_errno(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

static inline enum result error_result(enum result result)
{
    return result;
}

/* error_set(error, result, format, …) writes the cause and gives `result`, so that a failing
 * function can end with `return error_set(error, RESULT_IO, "…")`. Macros, so that analysers see
 * what is returned. */
#define error_set(error, result, ...) (error_write((error), __VA_ARGS__), error_result(result))
#define error_set_errno(error, result, ...) \
    (error_write_errno((error), __VA_ARGS__), error_result(result))

#endif
