/* UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef TILLBOX_CORE_UTF8_H
#define TILLBOX_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "core/attributes.h"

enum { UTF8_SEQUENCE_MAX = 4 };

/* The length (1 to 4) of the well-formed sequence at `bytes`, 0 if there is none in `size` bytes.
 */
size_t utf8_sequence_length(const char *bytes, size_t size);

/* The number of code points, or -1 if the text isn't well-formed. */
long utf8_length(const char *bytes, size_t size);

/* Writes a stranger's text to a terminal or a log for people: control characters (C0, C1, DEL) and
 * bytes that aren't UTF-8 appear as \\xNN, so that they can't move the cursor or hide a line. */
void utf8_print(FILE *stream, const char *text);

/* As printf(), by utf8_print(), and a newline, which is the line's only one. */
void utf8_print_line(FILE *stream, const char *format, ...) PRINTF_LIKE(2, 3);

/* Removes what a cut has left of a character at the end of a text that was well-formed before. */
void utf8_trim_cut(char *text);

#endif
