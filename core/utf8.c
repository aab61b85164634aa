#include "core/utf8.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* RFC 3629 section 4: what the lead byte allows for the length and for the second byte. */
struct lead {
    unsigned char first, last;
    unsigned char length;
    unsigned char second_low, second_high;
};

static const struct lead LEADS[] = {
    {0x00, 0x7F, 1, 0x00, 0x00}, {0xC2, 0xDF, 2, 0x80, 0xBF}, {0xE0, 0xE0, 3, 0xA0, 0xBF},
    {0xE1, 0xEC, 3, 0x80, 0xBF}, {0xED, 0xED, 3, 0x80, 0x9F}, {0xEE, 0xEF, 3, 0x80, 0xBF},
    {0xF0, 0xF0, 4, 0x90, 0xBF}, {0xF1, 0xF3, 4, 0x80, 0xBF}, {0xF4, 0xF4, 4, 0x80, 0x8F},
};

static const struct lead *lead_of(unsigned char byte)
{
    for (size_t i = 0; i < sizeof LEADS / sizeof LEADS[0]; i++)
        if (byte >= LEADS[i].first && byte <= LEADS[i].last)
            return &LEADS[i];
    return NULL;
}

size_t utf8_sequence_length(const char *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes;
    const struct lead *lead = size > 0 ? lead_of(at[0]) : NULL;
    if (!lead || lead->length > size)
        return 0;
    if (lead->length > 1 && (at[1] < lead->second_low || at[1] > lead->second_high))
        return 0;
    for (size_t i = 2; i < lead->length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return lead->length;
}

long utf8_length(const char *bytes, size_t size)
{
    long count = 0;
    for (size_t at = 0; at < size; count++) {
        size_t length = utf8_sequence_length(bytes + at, size - at);
        if (length == 0)
            return -1;
        at += length;
    }
    return count;
}

void utf8_trim_cut(char *text)
{
    size_t size = strlen(text), at = size;
    while (at > 0 && size - at < 4 && ((unsigned char)text[at - 1] & 0xC0) == 0x80)
        at--;
    if (at > 0 && (unsigned char)text[at - 1] >= 0x80 &&
        utf8_sequence_length(text + at - 1, size - at + 1) == 0)
        text[at - 1] = '\0';
}

/* U+0080 to U+009F begin with this byte. */
static bool utf8_is_control(const char *bytes, size_t size)
{
    unsigned char first = (unsigned char)bytes[0];
    if (size == 1)
        return first < ' ' || first == 0x7f;
    return size == 2 && first == 0xc2 && (unsigned char)bytes[1] < 0xa0;
}

void utf8_print(FILE *stream, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        size_t size = utf8_sequence_length(text, left);
        bool is_plain = size > 0 && !utf8_is_control(text, size);
        size_t step = size > 0 ? size : 1;
        for (size_t i = 0; i < step && !is_plain; i++)
            fprintf(stream, "\\x%02x", (unsigned)(unsigned char)text[i]);
        if (is_plain)
            fprintf(stream, "%.*s", (int)step, text);
        text += step;
        left -= step;
    }
}

void utf8_print_line(FILE *stream, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    utf8_print(stream, text ? text : "out of memory");
    fputc('\n', stream);
    free(text);
}
