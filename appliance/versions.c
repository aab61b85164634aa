#include "appliance/versions.h"

#include <stdlib.h>
#include <string.h>

#include "core/db.h"
#include "core/http/http_server.h"
#include "core/json.h"
#include "core/sha256.h"

/* "3.40.1" as 3040001. */
static long number_of(const char *version)
{
    char *rest = NULL;
    long major = strtol(version, &rest, 10);
    long minor = *rest == '.' ? strtol(rest + 1, &rest, 10) : 0;
    long patch = *rest == '.' ? strtol(rest + 1, &rest, 10) : 0;
    return major * 1000000 + minor * 1000 + patch;
}

struct defect {
    const char *library;
    long first, last; /* versions that have it */
    const char *text;
};

static const struct defect DEFECTS[] = {
    {"sqlite", 3007000, 3051002,
     "two connections that write or checkpoint can damage a WAL file (fixed in 3.51.3): "
     "one connection does both here"},
    {"libmicrohttpd", 0, 9075,
     "takes Transfer-Encoding together with Content-Length, and its epoll loop stalls at multiples "
     "of 128 connections: such requests are refused, and poll is used"},
    {"cjson", 1000000, 1007017,
     "takes numbers, control characters and encodings that JSON doesn't have: the text is checked "
     "first, and cJSON_Utils isn't used"},
};

static const char *defect_of(const char *library, const char *version)
{
    long number = number_of(version);
    for (size_t i = 0; i < ARRAY_LENGTH(DEFECTS); i++)
        if (strcmp(DEFECTS[i].library, library) == 0 && number >= DEFECTS[i].first &&
            number <= DEFECTS[i].last)
            return DEFECTS[i].text;
    return NULL;
}

size_t versions_list(struct library *ret_libraries, size_t count)
{
    const struct library all[] = {
        {"sqlite", db_library_version(), NULL},
        {"libmicrohttpd", http_library_version(), NULL},
        {"cjson", json_library_version(), NULL},
        {"libcrypto", sha256_library_version(), NULL},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(all) && i < count; i++) {
        ret_libraries[i] = all[i];
        ret_libraries[i].defect = defect_of(all[i].name, all[i].version);
    }
    return ARRAY_LENGTH(all);
}
