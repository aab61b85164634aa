/* Where a peer may be: its hosts, and each host's addresses, to be tried one after the other.
 *
 * Libraries give a silent address all the time there is, so that the next one is never tried. Here
 * each place gets its share of what is left of one deadline. */
#ifndef TILLBOX_BRIDGE_ADDRESSES_H
#define TILLBOX_BRIDGE_ADDRESSES_H

#include <stddef.h>
#include <stdint.h>

#include "core/result.h"

enum { PLACES_MAX = 32, PLACE_HOST_SIZE = 256, PLACE_ADDRESS_SIZE = 64, PLACE_PORT_SIZE = 8 };

struct place {
    size_t number;                    /* of its host in the list, from 0 */
    char host[PLACE_HOST_SIZE];       /* as it was written */
    char address[PLACE_ADDRESS_SIZE]; /* numeric; "" for a socket's folder */
    char port[PLACE_PORT_SIZE];
};

struct places {
    struct place items[PLACES_MAX];
    size_t count;
};

/* Adds the addresses of a host; what is more than there is room for is left out. RESULT_UNREACHABLE
 * if the name isn't known. Looking a name up may take long, and can't be cancelled. */
MUST_CHECK enum result places_add(struct places *places, size_t number, const char *host,
                                  const char *port, struct error *error);

/* As it is, without looking anything up. */
void places_add_as_is(struct places *places, size_t number, const char *host, const char *address,
                      const char *port);

/* The n-th item, from 0, of a list separated by commas; "" if there is none. A list of one is the
 * same for all. */
void places_copy_item(const char *list, size_t n, char *ret_item, size_t size);
size_t places_count_items(const char *list);

/* What the place `index` gets of the time that is left, in ms. */
int64_t places_share_ms(const struct places *places, size_t index, int64_t left_ms);

/* "db1.example (10.0.0.1): " in front of the cause, where there is more than one place. */
void places_name_cause(const struct places *places, size_t index, struct error *error);

#endif
