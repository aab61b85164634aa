#include "core/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST_CAPACITY = 256 };

void buf_init(struct buf *buf, size_t limit)
{
    *buf = (struct buf){.limit = limit};
}

void buf_done(struct buf *buf)
{
    free(buf->bytes);
    *buf = (struct buf){0};
}

void buf_clear(struct buf *buf)
{
    buf->size = 0;
    buf->state = RESULT_OK;
    if (buf->bytes)
        buf->bytes[0] = '\0';
}

void buf_truncate(struct buf *buf, size_t size)
{
    if (size > buf->size)
        return;
    buf->size = size;
    buf->state = RESULT_OK;
    if (buf->bytes)
        buf->bytes[size] = '\0';
}

static enum result grow_to(struct buf *buf, size_t wanted)
{
    size_t capacity = buf->capacity ? buf->capacity : SMALLEST_CAPACITY;
    while (capacity < wanted)
        capacity *= 2;
    char *bytes = realloc(buf->bytes, capacity);
    if (!bytes)
        return RESULT_NO_MEMORY;
    buf->bytes = bytes;
    buf->capacity = capacity;
    return RESULT_OK;
}

/* Makes room for `more` bytes and the final NUL. */
static bool reserve(struct buf *buf, size_t more)
{
    if (buf->state == RESULT_OK && more > buf->limit - buf->size)
        buf->state = RESULT_TOO_LARGE;
    if (buf->state == RESULT_OK && buf->size + more + 1 > buf->capacity)
        buf->state = grow_to(buf, buf->size + more + 1);
    return buf->state == RESULT_OK;
}

void buf_append(struct buf *buf, const void *bytes, size_t size)
{
    if (size == 0 || !reserve(buf, size))
        return;
    memcpy(buf->bytes + buf->size, bytes, size);
    buf->size += size;
    buf->bytes[buf->size] = '\0';
}

void buf_append_text(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_append_int(struct buf *buf, int64_t value)
{
    char digits[20];
    char *end = digits + sizeof digits, *start = end;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        *--start = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        *--start = '-';
    buf_append(buf, start, (size_t)(end - start));
}

void buf_append_format(struct buf *buf, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size > 0 && reserve(buf, (size_t)size)) {
        vsnprintf(buf->bytes + buf->size, (size_t)size + 1, format, again);
        buf->size += (size_t)size;
    }
    va_end(again);
}

const char *buf_text(const struct buf *buf)
{
    return buf->bytes ? buf->bytes : "";
}

enum result buf_result(const struct buf *buf)
{
    return buf->state;
}

void buf_drop_front(struct buf *buf, size_t size)
{
    assert(size <= buf->size);
    if (size == 0)
        return;
    memmove(buf->bytes, buf->bytes + size, buf->size - size);
    buf->size -= size;
    buf->bytes[buf->size] = '\0';
}
