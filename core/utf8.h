/* UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef TILLBOX_CORE_UTF8_H
#define TILLBOX_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* The length (1 to 4) of the well-formed sequence at `bytes`, 0 if there is none in `size` bytes.
 */
size_t utf8_sequence_length(const char *bytes, size_t size);

/* The number of code points, or -1 if the text isn't well-formed. */
long utf8_length(const char *bytes, size_t size);

/* Removes what a cut has left of a character at the end of a text that was well-formed before. */
void utf8_trim_cut(char *text);

#endif
