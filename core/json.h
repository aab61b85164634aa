/* Reading and writing JSON (RFC 8259).
 *
 * Reading is stricter than cJSON alone: the text must be well-formed UTF-8 and follow the grammar
 * to the letter, nest at most JSON_DEPTH_MAX deep, and an object may not repeat a name nor have
 * more than JSON_MEMBERS_MAX of them. A NUL character is refused, written or escaped.
 *
 * Writing puts members in the order of the calls, without white space: the same calls give the same
 * bytes, which is what the journal's hash chain is computed over. */
#ifndef TILLBOX_CORE_JSON_H
#define TILLBOX_CORE_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/result.h"

enum { JSON_DEPTH_MAX = 16, JSON_MEMBERS_MAX = 64 };

/* The largest integer that every JSON reader keeps exact: 2^53 - 1 (RFC 8259, section 6). */
static const int64_t JSON_INTEGER_MAX = 9007199254740991;

enum json_kind { JSON_NULL, JSON_BOOLEAN, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* A value inside a parsed document; lives as long as the document. */
struct json;

/* RESULT_MALFORMED with the cause and the byte where it stands, RESULT_NO_MEMORY. */
MUST_CHECK enum result json_parse(const char *text, size_t size, struct json **ret_document,
                                  struct error *error);
void json_free(struct json *document);

/* Only the grammar, the depth and the encoding; json_parse begins with it. */
/* Of a number as RFC 8259 writes it, in its text: 1e2 and 1.0 are integral, 1e-1 isn't. */
bool json_number_is_integral(const char *text, size_t size);

/* The next number of a document that is sound, from `*at` on, which is moved to it. */
bool json_next_number(const char *text, size_t size, size_t *at, size_t *ret_size);

MUST_CHECK enum result json_check_syntax(const char *text, size_t size, struct error *error);

enum json_kind json_kind(const struct json *value);

/* "a string", "an object", … for error messages. */
const char *json_kind_text(enum json_kind kind);

/* NULL if there is no such member; names are case-sensitive. */
const struct json *json_member(const struct json *object, const char *name);

/* Children of an object or array in order: NULL at the end. */
const struct json *json_first(const struct json *parent);
const struct json *json_next(const struct json *child);

/* The member's name; NULL for an array's element. */
const char *json_name(const struct json *member);

/* The string's text; only for JSON_STRING. */
const char *json_text(const struct json *string);

/* RESULT_INVALID unless the value is a number, integral and within ±JSON_INTEGER_MAX. */
MUST_CHECK enum result json_integer(const struct json *value, int64_t *ret_number);

/* Writer: `name` is NULL for the elements of an array and for the outermost value. */
struct json_writer {
    struct buf *buf;
    bool needs_comma;
};

void json_writer_init(struct json_writer *writer, struct buf *buf);
void json_begin_object(struct json_writer *writer, const char *name);
void json_end_object(struct json_writer *writer);
void json_begin_array(struct json_writer *writer, const char *name);
void json_end_array(struct json_writer *writer);
void json_put_int(struct json_writer *writer, const char *name, int64_t value);
void json_put_bool(struct json_writer *writer, const char *name, bool value);
void json_put_null(struct json_writer *writer, const char *name);

/* `text` is well-formed UTF-8. */
void json_put_text(struct json_writer *writer, const char *name, const char *text);

/* A moment as clock_format_utc() writes it; json_put_time_or_null puts null for 0. */
void json_put_time(struct json_writer *writer, const char *name, int64_t wall_ms);
void json_put_time_or_null(struct json_writer *writer, const char *name, int64_t wall_ms);

/* Puts `json`, which is a JSON value already, as it is. */
void json_put_raw(struct json_writer *writer, const char *name, const char *json);

/* The version of cJSON in use, "1.7.15". */
const char *json_library_version(void);

#endif
