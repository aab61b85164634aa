/* Where a request ends and whom it is for, as its headers say: a request that can be read in two
 * ways could hide another from whoever stands in front (RFC 9112, section 11.2). */
#ifndef TILLBOX_CORE_HTTP_SERVER_FRAMING_H
#define TILLBOX_CORE_HTTP_SERVER_FRAMING_H

#include <stdbool.h>

struct MHD_Connection;

struct http_framing {
    const char *length, *encoding; /* the first of each; NULL: none */
    int hosts, lengths, encodings;
    bool expects; /* the client waits for a word before it sends the body */
    bool malformed;
    unsigned seen;        /* headers that may come once, as bits */
    const char *repeated; /* what is wrong with one that came again */
};

/* Adds what the connection's headers say. Texts live as long as the request. */
void http_framing_read(struct MHD_Connection *connection, struct http_framing *framing);

/* What is wrong with it, as static text; NULL if nothing is. */
const char *http_framing_fault(const struct http_framing *framing);

#endif
