#include "core/journal/wakeup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The appliance is another user, of the same group. */
enum { SOCKET_MODE = 0660 };

struct wakeup {
    int descriptor;
    struct sockaddr_un address;
};

static enum result address_in(const char *bridge_dir, struct sockaddr_un *ret_address,
                              struct error *error)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int size =
        snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "%s/bridge.sock", bridge_dir);
    if (size < 0 || (size_t)size >= sizeof ret_address->sun_path)
        return error_set(error, RESULT_TOO_LARGE,
                         "the name of bridge_dir is too long for a socket");
    return RESULT_OK;
}

enum result wakeup_new(const char *bridge_dir, struct wakeup **ret_nudger, struct error *error)
{
    struct wakeup *wakeup = calloc(1, sizeof *wakeup);
    if (!wakeup)
        return RESULT_NO_MEMORY;
    enum result result = address_in(bridge_dir, &wakeup->address, error);
    if (result == RESULT_OK) {
        wakeup->descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (wakeup->descriptor < 0)
            result = error_set_errno(error, RESULT_IO, "can't make a socket");
    }
    if (result != RESULT_OK) {
        free(wakeup);
        return result;
    }
    *ret_nudger = wakeup;
    return RESULT_OK;
}

void wakeup_free(struct wakeup *wakeup)
{
    if (!wakeup)
        return;
    close(wakeup->descriptor);
    free(wakeup);
}

void wakeup_send(struct wakeup *wakeup)
{
    (void)!sendto(wakeup->descriptor, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL,
                  (const struct sockaddr *)&wakeup->address, sizeof wakeup->address);
}

enum result wakeup_listen(const char *bridge_dir, int *ret_descriptor, struct error *error)
{
    struct sockaddr_un address;
    enum result result = address_in(bridge_dir, &address, error);
    if (result != RESULT_OK)
        return result;
    unlink(address.sun_path);
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0 ||
        bind(descriptor, (const struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(address.sun_path, SOCKET_MODE) != 0) {
        error_write_errno(error, "can't listen on %s", address.sun_path);
        if (descriptor >= 0)
            close(descriptor);
        return RESULT_IO;
    }
    *ret_descriptor = descriptor;
    return RESULT_OK;
}

bool wakeup_drain(int descriptor)
{
    char byte;
    bool any = false;
    while (recv(descriptor, &byte, sizeof byte, MSG_DONTWAIT) > 0)
        any = true;
    return any;
}
