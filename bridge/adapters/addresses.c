#include "bridge/adapters/addresses.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void places_add_as_is(struct places *places, size_t number, const char *host, const char *address,
                      const char *port)
{
    if (places->count == PLACES_MAX)
        return;
    struct place *place = &places->items[places->count++];
    place->number = number;
    snprintf(place->host, sizeof place->host, "%s", host);
    snprintf(place->address, sizeof place->address, "%s", address);
    snprintf(place->port, sizeof place->port, "%s", port);
}

enum result places_add(struct places *places, size_t number, const char *host, const char *port,
                       struct error *error)
{
    const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host, NULL, &wanted, &found);
    if (code != 0)
        return error_set(error, RESULT_UNREACHABLE, "looking up %s: %s", host, gai_strerror(code));
    for (const struct addrinfo *one = found; one; one = one->ai_next) {
        char address[PLACE_ADDRESS_SIZE];
        if (getnameinfo(one->ai_addr, one->ai_addrlen, address, sizeof address, NULL, 0,
                        NI_NUMERICHOST) == 0)
            places_add_as_is(places, number, host, address, port);
    }
    freeaddrinfo(found);
    return RESULT_OK;
}

size_t places_count_items(const char *list)
{
    size_t count = 1;
    for (; *list; list++)
        count += *list == ',';
    return count;
}

void places_copy_item(const char *list, size_t n, char *ret_item, size_t size)
{
    if (places_count_items(list) == 1)
        n = 0;
    for (; n > 0 && *list; n--) {
        list += strcspn(list, ",");
        list += *list == ',';
    }
    snprintf(ret_item, size, "%.*s", n > 0 ? 0 : (int)strcspn(list, ","), list);
}

int64_t places_share_ms(const struct places *places, size_t index, int64_t left_ms)
{
    int64_t share_ms = left_ms / (int64_t)(places->count - index);
    return share_ms > 0 ? share_ms : 1;
}

void places_name_cause(const struct places *places, size_t index, struct error *error)
{
    const struct place *place = &places->items[index];
    struct error cause = *error;
    if (places->count < 2)
        return;
    error_write(error, "%s%s%s%s: %s", place->host, place->address[0] ? " (" : "", place->address,
                place->address[0] ? ")" : "", cause.text);
}
