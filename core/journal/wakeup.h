/* "There is something new in the journal": a datagram from the appliance to the bridge.
 *
 * It carries nothing and may get lost; the bridge looks at the journal now and then all the same.
 */
#ifndef TILLBOX_CORE_WAKEUP_H
#define TILLBOX_CORE_WAKEUP_H

#include "core/result.h"

struct wakeup;

/* The sending end, for the bridge's folder. It never waits and never fails: nobody may be
 * listening. */
MUST_CHECK enum result wakeup_new(const char *bridge_dir, struct wakeup **ret_nudger,
                                  struct error *error);
void wakeup_free(struct wakeup *wakeup);
void wakeup_send(struct wakeup *wakeup);

/* The receiving end: a descriptor to poll, released with close(2). Replaces what an earlier bridge
 * left behind; the caller holds the bridge's lock. */
MUST_CHECK enum result wakeup_listen(const char *bridge_dir, int *ret_descriptor,
                                     struct error *error);

/* Takes all wakeups that have come. Was there one? */
bool wakeup_drain(int descriptor);

#endif
