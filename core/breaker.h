/* A circuit breaker, with the semantics of sony/gobreaker. Pure: the caller passes the time.
 *
 *                 `trip_after` failures in a row
 *     BREAKER_CLOSED ─────────────────────────▶ BREAKER_OPEN ◀───────────┐
 *          ▲                                        │ cool_down_ms       │ any failure
 *          │ `close_after` successes in a row       ▼                    │
 *          └────────────────────────────────── BREAKER_HALF_OPEN ────────┘
 *
 * Every move begins a new generation. A call remembers the generation it was admitted in, and what
 * it reports after the breaker has moved on is discarded: it says nothing about the peer of now.
 * While half-open at most `close_after` calls are under way. Times are of a monotonic clock. */
#ifndef TILLBOX_CORE_BREAKER_H
#define TILLBOX_CORE_BREAKER_H

#include <stdint.h>

#include "core/result.h"

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker_options {
    int trip_after;       /* ≥ 1 */
    int close_after;      /* ≥ 1 */
    int64_t cool_down_ms; /* ≥ 0 */
};

struct breaker {
    struct breaker_options options;
    enum breaker_state state;
    uint64_t generation;
    int failures;  /* in a row, while closed */
    int successes; /* in a row, while half-open */
    int admitted;  /* calls let through in this generation, while half-open */
    int64_t opened_at_ms;
};

void breaker_init(struct breaker *breaker, const struct breaker_options *options);

/* May a call be made now? RESULT_OK with the generation to report under; RESULT_BUSY while open, or
 * half-open with enough calls under way. */
MUST_CHECK enum result breaker_admit(struct breaker *breaker, int64_t now_ms,
                                     uint64_t *ret_generation);

/* How the call went. */
void breaker_report(struct breaker *breaker, uint64_t generation, bool success, int64_t now_ms);

/* The call ended without telling anything about the peer: it gives its place back. */
void breaker_withdraw(struct breaker *breaker, uint64_t generation);

/* The state at this moment: an open breaker whose cool-down is over counts as half-open. */
enum breaker_state breaker_state(const struct breaker *breaker, int64_t now_ms);

/* How long until a call may be admitted again; 0 if one may now. */
int64_t breaker_wait_ms(const struct breaker *breaker, int64_t now_ms);

const char *breaker_state_text(enum breaker_state state);

#endif
