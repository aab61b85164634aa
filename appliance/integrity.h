/* Is the journal sound? After a stop that wasn't clean, the end of the chain is checked before the
 * first sale, and the whole file beside the sales, on a connection of its own.
 *
 *     INTEGRITY_TRUSTED   the last stop was clean: nothing to check
 *     INTEGRITY_CHECKING ──▶ INTEGRITY_SOUND
 *             └────────────▶ INTEGRITY_DAMAGED   an alarm; sales go on
 */
#ifndef TILLBOX_APPLIANCE_INTEGRITY_H
#define TILLBOX_APPLIANCE_INTEGRITY_H

#include "core/result.h"

enum integrity_state {
    INTEGRITY_TRUSTED,
    INTEGRITY_CHECKING,
    INTEGRITY_SOUND,
    INTEGRITY_DAMAGED,
};

enum { INTEGRITY_DETAIL_SIZE = 256, INTEGRITY_TAIL = 1000 };

struct integrity;

/* Checks the tail now if `stopped_cleanly` is false, and starts the rest in the background. Fails
 * only if the check can't be made; damage is a state. */
MUST_CHECK enum result integrity_start(const char *data_dir, bool stopped_cleanly,
                                       struct integrity **ret_integrity, struct error *error);

/* Ends a check that is still under way. */
void integrity_stop(struct integrity *integrity);

/* The state and, for INTEGRITY_DAMAGED, what is damaged. From any thread. */
enum integrity_state integrity_state(struct integrity *integrity,
                                     char ret_detail[static INTEGRITY_DETAIL_SIZE]);
const char *integrity_state_text(enum integrity_state state);

#endif
