/* Moves events from the journal to one sink: read a page, deliver it, advance the cursor.
 *
 * An outage spends no attempt of an event: it waits in the journal. What the peer rejects is
 * parked, with the later events of the same order behind it, and the rest flows on.
 *
 *   OPENING -> CONNECTING, FENCED
 *   CONNECTING -> OPENING, VERIFYING, FENCED
 *   VERIFYING -> OPENING, READING, FENCED
 *   READING -> OPENING, DELIVERING, IDLE, FENCED
 *   DELIVERING -> OPENING, READING, ADVANCING, FENCED
 *   ADVANCING -> CONNECTING, READING, FENCED
 *   IDLE -> OPENING, CONNECTING, READING, FENCED
 *   FENCED
 *
 * Only a whole page that has been written down makes room for the next; what is in flight when the
 * peer goes away stays, and only what is pending of it is sent again. */
#ifndef TILLBOX_BRIDGE_PUMP_H
#define TILLBOX_BRIDGE_PUMP_H

#include "bridge/relay/delivery_state.h"
#include "bridge/relay/fence.h"
#include "bridge/relay/sink.h"
#include "core/machine.h"
#include "core/random.h"

enum {
    PUMP_POLL_MS = 200,   /* how often the journal is looked at without a wakeup */
    PUMP_ADVANCE_MS = 50, /* how often the cursor moves during a delivery */
    PUMP_RETRY_BASE_MS = 100,
    PUMP_RETRY_CAP_MS = 3000, /* after an outage of any length the next try is at most this far */
    PUMP_DEAD_LETTER_RETRY_MS = 5000,
    PUMP_TRIP_AFTER = 5,
    PUMP_COOL_DOWN_MS = 2000,
    PUMP_STEP_MAX_MS = 900000, /* a whole page over a slow line that moves */
};

enum pump_state {
    PUMP_OPENING,    /* the journal isn't open, or not compared with bridge.db */
    PUMP_CONNECTING, /* … the peer isn't connected, or not compared with the journal */
    PUMP_VERIFYING,  /* until every sink that had stopped has been asked again */
    PUMP_READING,    /* the next page, unless one is in flight */
    PUMP_DELIVERING, /* what is pending of the page */
    PUMP_ADVANCING,  /* the cursor, over what has been delivered or parked */
    PUMP_IDLE,       /* nothing to deliver: dead letters, and a look at the connection */
    PUMP_FENCED,     /* going on would do harm: the operator is needed */
};

extern const struct machine_table PUMP_MACHINE;

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

/* Takes the sink, whatever the result. */
MUST_CHECK enum result pump_new(const struct pump_options *options, struct pump **ret_pump,
                                struct error *error);

/* One step: at most one call to the peer. Gives the milliseconds to wait before the next one, which
 * only a wakeup or the end may cut short. Once it is FENCED there is nothing more to do. */
int64_t pump_step(struct pump *pump);

/* The state, and the transitions so far. */
const struct machine *pump_machine(const struct pump *pump);

/* Makes a pump and a thread that drives it. */
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

/* Only after the thread has ended, if there was one. Frees the sink too. */
void pump_free(struct pump *pump);

#endif
