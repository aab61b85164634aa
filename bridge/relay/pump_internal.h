/* What the files of the pump share, and nobody else. */
#ifndef TILLBOX_BRIDGE_PUMP_INTERNAL_H
#define TILLBOX_BRIDGE_PUMP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "bridge/relay/in_flight.h"
#include "bridge/relay/pump.h"
#include "core/breaker.h"
#include "core/retry.h"

struct pump {
    struct pump_options options;
    pthread_t thread;
    bool joined;
    atomic_bool stopping;
    pthread_mutex_t lock; /* of `woken` and `ended`, and of waiting */
    pthread_cond_t wake;
    bool woken;
    bool ended; /* the thread has nothing more to do */

    atomic_int_least64_t moved_ms; /* when the thread was last seen between two steps */

    /* The thread's own: */
    struct journal_reader *journal;
    struct journal_info info;
    bool attached;
    bool unverified;
    int64_t cursor;
    struct breaker breaker;
    uint64_t generation; /* of the breaker, for the step under way */
    struct retry retry;
    enum sink_state noted_state;
    enum breaker_state noted_breaker;
    struct in_flight in_flight; /* after the cursor */
    struct parked *parked;      /* rows to write, as many as the page has events */
    int64_t settled_at_ms;
    int64_t damage_told; /* the log has named what is unreadable up to here */
    int64_t dead_letters_due_ms;
};

/* What a step of the pump ends with. */
enum step {
    STEP_ON,   /* there may be more to do at once */
    STEP_IDLE, /* nothing to do until a wakeup */
    STEP_WAIT, /* the peer is down or said no: wait before the next try */
    STEP_STOP, /* a person is needed */
};

const char *pump_name(const struct pump *pump);
int64_t pump_now_ms(const struct pump *pump);

/* Writes the state down when it changes, and every error. */
void pump_note(struct pump *pump, enum sink_state state, const char *reason);

/* Nobody sends anything more until a person has looked. */
enum step pump_stop_all(struct pump *pump, const struct error *error);

/* Our own files can't be read or written: that is no outage of the peer, and may pass. */
enum step pump_wait_for_files(struct pump *pump, const struct error *error);
enum step pump_go_down(struct pump *pump, const struct error *error);

/* Waits as long as after such a step; true if it is time to stop. */
bool pump_wait_after(struct pump *pump, enum step step);

/* Journal and peer are there, and fit each other and bridge.db: STEP_ON. */
enum step pump_meet(struct pump *pump);

/* Delivers what is pending of the in_flight, which isn't empty, and settles. */
enum step pump_deliver(struct pump *pump);

/* There is nothing to deliver: dead letters, and a look at the connection. */
enum step pump_rest(struct pump *pump);

void pump_fill_parked(const struct journal_event *event, enum parked_state state,
                      const char *reason, int attempts, struct parked *ret_parked);

#endif
