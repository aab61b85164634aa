#include "core/http/mime.h"

#include <string.h>
#include <time.h>

enum {
    GROUP = 3,       /* bytes that make four characters of base64 */
    LINE_BYTES = 57, /* … which make a line of 76 */
    WORD_BYTES = 42, /* an encoded word has at most 75 characters, ten of them around these */
    PLAIN_MAX = 900, /* a line may have 998 */
    DATE_SIZE = 64,
};

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void append_group(struct buf *out, const unsigned char *bytes, size_t size)
{
    unsigned long group = (unsigned long)bytes[0] << 16;
    if (size > 1)
        group |= (unsigned long)bytes[1] << 8;
    if (size > 2)
        group |= bytes[2];
    const char text[] = {DIGITS[group >> 18 & 63], DIGITS[group >> 12 & 63],
                         size > 1 ? DIGITS[group >> 6 & 63] : '=',
                         size > 2 ? DIGITS[group & 63] : '='};
    buf_append(out, text, sizeof text);
}

static void append_digits(struct buf *out, const char *bytes, size_t size)
{
    for (size_t at = 0; at < size; at += GROUP)
        append_group(out, (const unsigned char *)bytes + at, size - at < GROUP ? size - at : GROUP);
}

void mime_append_base64(struct buf *out, const char *bytes, size_t size)
{
    for (size_t at = 0; at < size; at += LINE_BYTES) {
        append_digits(out, bytes + at, size - at < LINE_BYTES ? size - at : LINE_BYTES);
        buf_append_text(out, "\r\n");
    }
}

static bool is_plain(const char *text)
{
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return length <= PLAIN_MAX && !strstr(text, "=?");
}

/* How many bytes of the text one word takes, without parting a character of UTF-8. */
static size_t word_size(const char *text)
{
    size_t size = strnlen(text, WORD_BYTES);
    while (text[size] && ((unsigned char)text[size] & 0xC0) == 0x80)
        size--;
    return size;
}

void mime_append_header(struct buf *out, const char *name, const char *text)
{
    buf_append_format(out, "%s: ", name);
    if (is_plain(text)) {
        buf_append_text(out, text);
    } else {
        for (const char *rest = text; *rest; rest += word_size(rest)) {
            buf_append_text(out, rest == text ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?");
            append_digits(out, rest, word_size(rest));
            buf_append_text(out, "?=");
        }
    }
    buf_append_text(out, "\r\n");
}

void mime_append_date(struct buf *out, int64_t wall_ms)
{
    char text[DATE_SIZE];
    struct tm utc;
    time_t seconds = (time_t)(wall_ms / 1000);
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S +0000", &utc);
    buf_append_text(out, text);
}

bool mime_is_address(const char *text)
{
    const char *at = strchr(text, '@');
    size_t length = strlen(text);
    if (!at || at == text || at[1] == '\0' || strchr(at + 1, '@') || length > MIME_ADDRESS_MAX)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~' || strchr("<>()[]\\,;:\"", text[i]))
            return false;
    return true;
}
