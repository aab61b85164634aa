/* One field line of an HTTP message. Whose texts they are, its user says. */
#ifndef TILLBOX_CORE_HTTP_HEADER_H
#define TILLBOX_CORE_HTTP_HEADER_H

struct http_header {
    const char *name, *value;
};

#endif
