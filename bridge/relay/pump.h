/* Moves events from the journal to one sink: read a page, deliver it, settle the cursor.
 *
 * An outage spends no attempt of an event: it waits in the journal. What the peer refuses is
 * parked, with the later events of the same order behind it, and the rest flows on. */
#ifndef TILLBOX_BRIDGE_PUMP_H
#define TILLBOX_BRIDGE_PUMP_H

#include "bridge/relay/delivery_state.h"
#include "bridge/relay/fence.h"
#include "bridge/relay/sink.h"
#include "core/random.h"

enum {
    PUMP_POLL_MS = 200,  /* how often the journal is looked at without a wakeup */
    PUMP_SETTLE_MS = 50, /* how often the cursor moves during a delivery */
    PUMP_RETRY_BASE_MS = 100,
    PUMP_RETRY_CAP_MS = 3000, /* after an outage of any length the next try is at most this far */
    PUMP_DEAD_LETTER_RETRY_MS = 5000,
    PUMP_TRIP_AFTER = 5,
    PUMP_COOL_DOWN_MS = 2000,
    PUMP_STEP_MAX_MS = 900000, /* a whole page over a slow line that moves */
};

struct pump;

struct pump_options {
    const char *data_dir;
    struct delivery_state *deliveries;
    struct fence *fence; /* shared by all pumps of the box */
    struct sink sink;    /* the pump owns it from here on */
    bool unverified;     /* it had stopped when the bridge last ended */
    const struct clock *clock;
    const struct random_source *random;
};

MUST_CHECK enum result pump_start(const struct pump_options *options, struct pump **ret_pump,
                                  struct error *error);

/* There is something new in the journal. From any thread. */
void pump_wake(struct pump *pump);

/* Breaks off what hangs; about once a second, from any thread. */
void pump_watch(struct pump *pump);

/* Does the thread still go round? Waiting for a peer counts, up to PUMP_STEP_MAX_MS a step; so does
 * a sink that has stopped. From any thread. */
bool pump_has_moved(struct pump *pump);

/* Asks the thread to end: it begins nothing more, and writes down what has been confirmed. */
void pump_ask_to_stop(struct pump *pump);

/* Breaks off the call under way, after pump_ask_to_stop(). */
void pump_break_off(struct pump *pump);

/* Waits until `until_ms` of the monotonic clock. False if the thread hasn't ended: it sits in a
 * call that can't be broken off, such as the lookup of a name. */
MUST_CHECK bool pump_join(struct pump *pump, int64_t until_ms);

/* Only after the thread has ended. Frees the sink too. */
void pump_free(struct pump *pump);

#endif
