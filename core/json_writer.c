#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/utf8.h"

void json_writer_init(struct json_writer *writer, struct buf *buf)
{
    *writer = (struct json_writer){.buf = buf};
}

/* The bytes up to the next that can't stand in a JSON text as they are. */
static size_t plain_length(const char *text)
{
    size_t length = 0;
    for (;;) {
        unsigned char byte = (unsigned char)text[length];
        size_t step = 1;
        if (byte < 0x20 || byte == '"' || byte == '\\')
            return length;
        if (byte >= 0x80)
            step = utf8_sequence_length(text + length, strnlen(text + length, UTF8_SEQUENCE_MAX));
        if (step == 0)
            return length;
        length += step;
    }
}

/* What isn't UTF-8, since a stranger wrote it, becomes U+FFFD: RFC 8259, 8.1 knows UTF-8 alone. */
static void put_string(struct buf *buf, const char *text)
{
    buf_append(buf, "\"", 1);
    for (;;) {
        size_t plain = plain_length(text);
        buf_append(buf, text, plain);
        char special = text[plain];
        if (special == '\0')
            break;
        if (special == '"' || special == '\\')
            buf_append(buf, (const char[]){'\\', special}, 2);
        else if ((unsigned char)special >= 0x80)
            buf_append_text(buf, "\xef\xbf\xbd");
        else
            buf_append_format(buf, "\\u%04x", (unsigned char)special);
        text += plain + 1;
    }
    buf_append(buf, "\"", 1);
}

static void begin_value(struct json_writer *writer, const char *name)
{
    if (writer->needs_comma)
        buf_append(writer->buf, ",", 1);
    writer->needs_comma = true;
    if (name) {
        put_string(writer->buf, name);
        buf_append(writer->buf, ":", 1);
    }
}

static void open_bracket(struct json_writer *writer, const char *name, const char *bracket)
{
    begin_value(writer, name);
    buf_append(writer->buf, bracket, 1);
    writer->needs_comma = false;
}

static void close_bracket(struct json_writer *writer, const char *bracket)
{
    buf_append(writer->buf, bracket, 1);
    writer->needs_comma = true;
}

void json_begin_object(struct json_writer *writer, const char *name)
{
    open_bracket(writer, name, "{");
}

void json_end_object(struct json_writer *writer)
{
    close_bracket(writer, "}");
}

void json_begin_array(struct json_writer *writer, const char *name)
{
    open_bracket(writer, name, "[");
}

void json_end_array(struct json_writer *writer)
{
    close_bracket(writer, "]");
}

void json_put_int(struct json_writer *writer, const char *name, int64_t value)
{
    begin_value(writer, name);
    buf_append_int(writer->buf, value);
}

void json_put_bool(struct json_writer *writer, const char *name, bool value)
{
    json_put_raw(writer, name, value ? "true" : "false");
}

void json_put_null(struct json_writer *writer, const char *name)
{
    json_put_raw(writer, name, "null");
}

void json_put_text(struct json_writer *writer, const char *name, const char *text)
{
    begin_value(writer, name);
    put_string(writer->buf, text);
}

void json_put_time(struct json_writer *writer, const char *name, int64_t wall_ms)
{
    char text[CLOCK_TEXT_SIZE];
    clock_format_utc(wall_ms, text);
    json_put_text(writer, name, text);
}

void json_put_time_or_null(struct json_writer *writer, const char *name, int64_t wall_ms)
{
    if (wall_ms != 0)
        json_put_time(writer, name, wall_ms);
    else
        json_put_null(writer, name);
}

void json_put_raw(struct json_writer *writer, const char *name, const char *json)
{
    begin_value(writer, name);
    buf_append_text(writer->buf, json);
}
