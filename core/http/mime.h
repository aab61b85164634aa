/* Pieces of an Internet message (RFC 5322). */
#ifndef TILLBOX_CORE_MIME_H
#define TILLBOX_CORE_MIME_H

#include <stdint.h>

#include "core/buf.h"

enum { MIME_ADDRESS_MAX = 254 };

/* Appends "Name: text" and CRLF. Text that isn't plain ASCII becomes encoded words (RFC 2047, "B"),
 * folded where a line would be too long; a line end in it can't begin another header. */
void mime_append_header(struct buf *out, const char *name, const char *text);

/* Appends the moment as RFC 5322, section 3.3 has it, in UTC. */
void mime_append_date(struct buf *out, int64_t wall_ms);

/* Appends the bytes as base64 in lines of 76 characters, each with CRLF (RFC 2045, section 6.8). */
void mime_append_base64(struct buf *out, const char *bytes, size_t size);

/* Is it one address, user@host, of visible ASCII without the characters that would end it? */
bool mime_is_address(const char *text);

#endif
