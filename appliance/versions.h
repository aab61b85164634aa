/* The libraries in use, and what is known to be wrong with some of their versions. */
#ifndef TILLBOX_APPLIANCE_VERSIONS_H
#define TILLBOX_APPLIANCE_VERSIONS_H

#include <stddef.h>

struct library {
    const char *name;
    const char *version; /* of the library that is loaded, not of its headers */
    const char
        *defect; /* a known defect of this version and how Tillbox stays clear of it; or NULL */
};

/* Up to `count` libraries; returns how many there are. */
size_t versions_list(struct library *ret_libraries, size_t count);

#endif
