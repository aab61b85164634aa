/* The grammar of RFC 8259, to the letter. cJSON takes "01", raw control characters and invalid
 * UTF-8; this check, in front of it, doesn't. */
#include <string.h>

#include "core/json.h"
#include "core/utf8.h"

enum { EXPONENT_MAX = 1000000 };

struct scan {
    const char *text;
    size_t size;
    size_t at;
    int depth;
    struct error *error;
};

static enum result scan_value(struct scan *scan);

static enum result json_syntax_fail(struct scan *scan, const char *what)
{
    return error_set(scan->error, RESULT_MALFORMED, "%s at byte %zu", what, scan->at);
}

/* The byte at hand, NUL at the end: a NUL in the text fits nowhere in the grammar. */
static char peek(const struct scan *scan)
{
    return scan->at < scan->size ? scan->text[scan->at] : '\0';
}

static bool json_syntax_take(struct scan *scan, char wanted)
{
    if (scan->at >= scan->size || scan->text[scan->at] != wanted)
        return false;
    scan->at++;
    return true;
}

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->size && strchr(" \t\r\n", scan->text[scan->at]) &&
           scan->text[scan->at] != '\0')
        scan->at++;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool take_digits(struct scan *scan)
{
    size_t before = scan->at;
    while (is_digit(peek(scan)))
        scan->at++;
    return scan->at > before;
}

static enum result scan_number(struct scan *scan)
{
    json_syntax_take(scan, '-');
    if (!json_syntax_take(scan, '0') && !take_digits(scan))
        return json_syntax_fail(scan, "a digit is missing");
    if (is_digit(peek(scan)))
        return json_syntax_fail(scan, "a number may not start with 0");
    if (json_syntax_take(scan, '.') && !take_digits(scan))
        return json_syntax_fail(scan, "a digit is missing");
    if (json_syntax_take(scan, 'e') || json_syntax_take(scan, 'E')) {
        if (!json_syntax_take(scan, '+'))
            json_syntax_take(scan, '-');
        if (!take_digits(scan))
            return json_syntax_fail(scan, "a digit is missing");
    }
    return RESULT_OK;
}

static bool take_hex4(struct scan *scan, unsigned *ret_unit)
{
    unsigned unit = 0;
    for (int i = 0; i < 4; i++, scan->at++) {
        char byte = peek(scan);
        if (is_digit(byte))
            unit = unit << 4 | (unsigned)(byte - '0');
        else if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
            unit = unit << 4 | (unsigned)((byte | 0x20) - 'a' + 10);
        else
            return false;
    }
    *ret_unit = unit;
    return true;
}

static enum result scan_unicode_escape(struct scan *scan)
{
    unsigned unit = 0, low = 0;
    if (!take_hex4(scan, &unit))
        return json_syntax_fail(scan, "four hexadecimal digits are missing");
    if (unit == 0)
        return json_syntax_fail(scan, "the NUL character is not allowed");
    bool high_surrogate = unit >= 0xD800 && unit <= 0xDBFF;
    bool paired = high_surrogate && json_syntax_take(scan, '\\') && json_syntax_take(scan, 'u') &&
                  take_hex4(scan, &low) && low >= 0xDC00 && low <= 0xDFFF;
    if ((high_surrogate || (unit >= 0xDC00 && unit <= 0xDFFF)) && !paired)
        return json_syntax_fail(scan, "half a surrogate pair");
    return RESULT_OK;
}

static enum result scan_escape(struct scan *scan)
{
    if (json_syntax_take(scan, 'u'))
        return scan_unicode_escape(scan);
    if (peek(scan) == '\0' || !strchr("\"\\/bfnrt", peek(scan)))
        return json_syntax_fail(scan, "an unknown escape");
    scan->at++;
    return RESULT_OK;
}

static enum result scan_string(struct scan *scan)
{
    if (!json_syntax_take(scan, '"'))
        return json_syntax_fail(scan, "a string is missing");
    while (scan->at < scan->size) {
        if (json_syntax_take(scan, '"'))
            return RESULT_OK;
        if (json_syntax_take(scan, '\\')) {
            enum result result = scan_escape(scan);
            if (result != RESULT_OK)
                return result;
            continue;
        }
        if ((unsigned char)peek(scan) < 0x20)
            return json_syntax_fail(scan, "a control character in a string");
        size_t length = utf8_sequence_length(scan->text + scan->at, scan->size - scan->at);
        if (length == 0)
            return json_syntax_fail(scan, "invalid UTF-8");
        scan->at += length;
    }
    return json_syntax_fail(scan, "a string isn't closed");
}

static enum result scan_member(struct scan *scan)
{
    skip_space(scan);
    enum result result = scan_string(scan);
    if (result != RESULT_OK)
        return result;
    skip_space(scan);
    if (!json_syntax_take(scan, ':'))
        return json_syntax_fail(scan, "a colon is missing");
    return scan_value(scan);
}

/* After the opening bracket: elements between commas, up to `close`. */
static enum result scan_elements(struct scan *scan, char close,
                                 enum result (*scan_element)(struct scan *))
{
    if (++scan->depth > JSON_DEPTH_MAX)
        return json_syntax_fail(scan, "nested too deep");
    skip_space(scan);
    bool closed = json_syntax_take(scan, close);
    while (!closed) {
        enum result result = scan_element(scan);
        if (result != RESULT_OK)
            return result;
        skip_space(scan);
        closed = json_syntax_take(scan, close);
        if (!closed && !json_syntax_take(scan, ','))
            return json_syntax_fail(scan, "a comma or a closing bracket is missing");
    }
    scan->depth--;
    return RESULT_OK;
}

static enum result scan_word(struct scan *scan)
{
    static const char *const WORDS[] = {"true", "false", "null"};
    for (size_t i = 0; i < ARRAY_LENGTH(WORDS); i++) {
        size_t length = strlen(WORDS[i]);
        if (scan->size - scan->at >= length &&
            memcmp(scan->text + scan->at, WORDS[i], length) == 0) {
            scan->at += length;
            return RESULT_OK;
        }
    }
    return json_syntax_fail(scan, "a value is missing");
}

static enum result scan_value(struct scan *scan)
{
    skip_space(scan);
    if (json_syntax_take(scan, '{'))
        return scan_elements(scan, '}', scan_member);
    if (json_syntax_take(scan, '['))
        return scan_elements(scan, ']', scan_value);
    if (peek(scan) == '"')
        return scan_string(scan);
    if (peek(scan) == '-' || is_digit(peek(scan)))
        return scan_number(scan);
    return scan_word(scan);
}

enum result json_check_syntax(const char *text, size_t size, struct error *error)
{
    struct scan scan = {.text = text, .size = size, .error = error};
    enum result result = scan_value(&scan);
    if (result != RESULT_OK)
        return result;
    skip_space(&scan);
    return scan.at == size ? RESULT_OK : json_syntax_fail(&scan, "something follows the value");
}

/* The digits of a number, as if it had no point, and how many of them stand before it. */
struct decimal {
    const char *text;
    size_t size;
    long before_point;
};

static struct decimal read_decimal(const char *text, size_t size)
{
    size_t mantissa = 0, point = 0, sign = size > 0 && text[0] == '-';
    while (mantissa < size && text[mantissa] != 'e' && text[mantissa] != 'E')
        mantissa++;
    for (point = sign; point < mantissa && text[point] != '.';)
        point++;
    long exponent = 0;
    for (size_t i = mantissa + 1; i < size; i++)
        if (is_digit(text[i]) && exponent < EXPONENT_MAX)
            exponent = exponent * 10 + (text[i] - '0');
    if (mantissa + 1 < size && text[mantissa + 1] == '-')
        exponent = -exponent;
    return (struct decimal){text + sign, mantissa - sign, (long)(point - sign) + exponent};
}

bool json_number_is_integral(const char *text, size_t size)
{
    struct decimal decimal = read_decimal(text, size);
    long digit = 0;
    for (size_t i = 0; i < decimal.size; i++) {
        if (decimal.text[i] == '.')
            continue;
        if (decimal.text[i] != '0' && digit >= decimal.before_point)
            return false;
        digit++;
    }
    return true;
}

/* Behind a string that begins at `at`. */
static size_t skip_string(const char *text, size_t size, size_t at)
{
    for (at++; at < size && text[at] != '"'; at++)
        at += text[at] == '\\';
    return at + 1;
}

bool json_next_number(const char *text, size_t size, size_t *at, size_t *ret_size)
{
    while (*at < size && text[*at] != '-' && !is_digit(text[*at]))
        *at = text[*at] == '"' ? skip_string(text, size, *at) : *at + 1;
    if (*at >= size)
        return false;
    size_t length = 0;
    while (*at + length < size && strchr("+-.eE0123456789", text[*at + length]) &&
           text[*at + length] != '\0')
        length++;
    *ret_size = length;
    return true;
}
