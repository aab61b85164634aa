/* The bridge's own file, bridge.db: how far each sink has come, and which events a peer refused.
 *
 * Written by `bridge run` and by the commands, at the same time; every call is a transaction of its
 * own. Thread-safe. */
#ifndef TILLBOX_BRIDGE_DELIVERY_STATE_H
#define TILLBOX_BRIDGE_DELIVERY_STATE_H

#include <stdint.h>

#include "bridge/relay/parked.h"
#include "core/breaker.h"
#include "core/clock.h"
#include "core/journal/journal_reader.h"
#include "core/result.h"

struct delivery_state;

/*      SINK_STARTING ──▶ SINK_RUNNING ◀──▶ SINK_DOWN
 *             └───────────────┴────────────────┴──▶ SINK_STOPPED   a person is needed */
enum sink_state { SINK_STARTING, SINK_RUNNING, SINK_DOWN, SINK_STOPPED };

struct delivery_state_sink {
    char name[16];
    char journal_id[UUID_TEXT_SIZE];
    int64_t start_sequence;
    int64_t cursor;
    uint8_t cursor_hash[SHA256_SIZE]; /* the journal's chain there: is it the same journal? */
    int64_t delivered;
    int64_t parked;      /* rows at or before the cursor, in any state */
    int64_t parked_open; /* of these, refused or held */
    enum sink_state state;
    enum breaker_state breaker;
    int64_t last_delivered_at_ms; /* 0: never */
    int64_t last_error_at_ms;     /* 0: never */
    char last_error[DELIVERY_STATE_TEXT_SIZE];
};

const char *sink_state_text(enum sink_state state);

MUST_CHECK enum result delivery_state_open(const char *bridge_dir, const struct clock *clock,
                                           struct delivery_state **ret_deliveries,
                                           struct error *error);
void delivery_state_close(struct delivery_state *deliveries);

/* Finds the sink's row or creates it, with its cursor at `start_sequence`. RESULT_CONFLICT if the
 * row belongs to another journal. */
MUST_CHECK enum result delivery_state_attach(struct delivery_state *deliveries, const char *sink,
                                             const char *journal_id, int64_t start_sequence,
                                             const uint8_t hash[static SHA256_SIZE],
                                             struct error *error);
MUST_CHECK enum result delivery_state_find_sink(struct delivery_state *deliveries, const char *sink,
                                                struct delivery_state_sink *ret_sink,
                                                struct error *error);

/* A place in the journal: a sequence, and the chain's hash there. */
struct delivery_state_place {
    int64_t sequence;
    const uint8_t *hash; /* SHA256_SIZE bytes */
};

/* Moves the cursor to `cursor`, counts `delivered` events, and adds the parked rows, in order of
 * their sequence, all at once. Rows that are there stay as they are. RESULT_CONFLICT, and nothing
 * is changed, if a row that is PARKED_HELD has nothing to be held behind: a replay was faster. */
MUST_CHECK enum result delivery_state_settle(struct delivery_state *deliveries, const char *sink,
                                             const struct delivery_state_place *cursor,
                                             int64_t delivered, const struct parked *parked,
                                             size_t count, struct error *error);

/* Adds parked rows, as delivery_state_settle(), and moves nothing. */
MUST_CHECK enum result delivery_state_park(struct delivery_state *deliveries, const char *sink,
                                           const struct parked *parked, size_t count,
                                           struct error *error);

/* The peer has more or less than the cursor says: starts again at `cursor`. What a replay had
 * delivered beyond it is pending again. If the peer has lost what was delivered in its turn, it may
 * have lost what replays delivered before it too: such rows are open again. */
MUST_CHECK enum result delivery_state_rewind(struct delivery_state *deliveries, const char *sink,
                                             const struct delivery_state_place *cursor,
                                             struct error *error);

/* How the sink is; `reason` may be NULL: then the last error stays. */
MUST_CHECK enum result delivery_state_note_state(struct delivery_state *deliveries,
                                                 const char *sink, enum sink_state state,
                                                 enum breaker_state breaker, const char *reason,
                                                 struct error *error);

/* Calls `each` for every parked event that `filter` lets through, in order of sequence. */
MUST_CHECK enum result delivery_state_each_parked(
    struct delivery_state *deliveries, const struct parked_filter *filter,
    void (*each)(void *context, const struct parked *parked), void *context, struct error *error);

/* The first refused event, of any sink, that isn't in order.failed yet. RESULT_NOT_FOUND if there
 * is none. */
MUST_CHECK enum result delivery_state_find_dead_letter(struct delivery_state *deliveries,
                                                       struct parked *ret_parked,
                                                       struct error *error);

/* Might delivery_state_is_blocked() say yes to any event after `after`? */
MUST_CHECK enum result delivery_state_has_parked(struct delivery_state *deliveries,
                                                 const char *sink, int64_t after, bool *ret_any,
                                                 struct error *error);

/* Has the event a row already, or is an earlier one of its order (0: of none) open? */
MUST_CHECK enum result delivery_state_is_blocked(struct delivery_state *deliveries,
                                                 const char *sink, int64_t sequence,
                                                 int64_t order_id, bool *ret_blocked,
                                                 struct error *error);

/* Is the event parked or discarded, and not replayed since? */
MUST_CHECK enum result delivery_state_is_parked(struct delivery_state *deliveries, const char *sink,
                                                int64_t sequence, bool *ret_parked,
                                                struct error *error);

/* Is an earlier event of the order open? */
MUST_CHECK enum result delivery_state_has_open_before(struct delivery_state *deliveries,
                                                      const char *sink, int64_t sequence,
                                                      int64_t order_id, bool *ret_open,
                                                      struct error *error);

/* Ends an open row; `state` is PARKED_DELIVERED or PARKED_DISCARDED. RESULT_NOT_FOUND if no open
 * row is there. */
MUST_CHECK enum result delivery_state_settle_parked(struct delivery_state *deliveries,
                                                    const char *sink, int64_t sequence,
                                                    enum parked_state state, const char *reason,
                                                    struct error *error);
MUST_CHECK enum result delivery_state_note_dead_lettered(struct delivery_state *deliveries,
                                                         const char *sink, int64_t sequence,
                                                         struct error *error);

#endif
