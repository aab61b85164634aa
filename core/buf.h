/* A growable byte buffer with a hard limit.
 *
 * Appending never fails in the middle of an expression: the first failure (no memory, over the
 * limit) is remembered, later appends do nothing, and buf_result() tells at the end. The bytes are
 * always followed by a NUL that isn't counted, so text can be read as a C string. */
#ifndef TILLBOX_CORE_BUF_H
#define TILLBOX_CORE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "core/result.h"

struct buf {
    char *bytes;     /* owned; NULL until something is appended: use buf_text() to read */
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* most bytes it may hold */
    enum result state;
};

void buf_init(struct buf *buf, size_t limit);
void buf_done(struct buf *buf);

/* Forgets the content and a remembered failure, keeps the memory. */
void buf_clear(struct buf *buf);

void buf_append(struct buf *buf, const void *bytes, size_t size);
void buf_append_text(struct buf *buf, const char *text);
void buf_append_int(struct buf *buf, int64_t value);
void buf_append_format(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* Drops what was appended after the first `size` bytes, and forgets a failure since. */
void buf_truncate(struct buf *buf, size_t size);

/* Drops the first `size` bytes; what follows them moves to the front. */
void buf_drop_front(struct buf *buf, size_t size);

/* The content as a NUL-terminated string; "" when empty. Valid until the next append. */
const char *buf_text(const struct buf *buf);

/* RESULT_OK, or why an append was refused: RESULT_NO_MEMORY, RESULT_TOO_LARGE. */
MUST_CHECK enum result buf_result(const struct buf *buf);

#endif
