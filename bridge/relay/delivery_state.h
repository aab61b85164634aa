/* The bridge's own file, bridge.db: how far each sink has come, and which events a peer refused.
 *
 * Written by `bridge run` and by the commands, at the same time; every call is a transaction of its
 * own. Thread-safe. */
#ifndef TILLBOX_BRIDGE_LEDGER_H
#define TILLBOX_BRIDGE_LEDGER_H

#include <stdint.h>

#include "core/breaker.h"
#include "core/clock.h"
#include "core/journal/journal_reader.h"
#include "core/result.h"

struct ledger;

enum { LEDGER_TEXT_SIZE = 256 };

/*      SINK_STARTING ──▶ SINK_RUNNING ◀──▶ SINK_DOWN
 *             └───────────────┴────────────────┴──▶ SINK_STOPPED   a person is needed */
enum sink_state { SINK_STARTING, SINK_RUNNING, SINK_DOWN, SINK_STOPPED };

/*      PARKED_REFUSED, PARKED_HELD ──▶ PARKED_DELIVERED   by a replay
 *                               └────▶ PARKED_DISCARDED   by a person */
enum parked_state { PARKED_REFUSED, PARKED_HELD, PARKED_DELIVERED, PARKED_DISCARDED };

struct ledger_sink {
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
    char last_error[LEDGER_TEXT_SIZE];
};

/* The type of an event that can't be read: nothing is known of it, and its id is made up. */
#define PARKED_UNREADABLE "unreadable"

struct parked {
    char sink[16];
    int64_t sequence;
    char event_id[UUID_TEXT_SIZE];
    char event_type[JOURNAL_READER_TYPE_SIZE];
    int64_t order_id; /* 0: of no order */
    enum parked_state state;
    int attempts;
    bool dead_lettered;
    int64_t parked_at_ms;
    int64_t settled_at_ms; /* 0: open */
    char reason[LEDGER_TEXT_SIZE];
    char settled_reason[LEDGER_TEXT_SIZE];
};

const char *sink_state_text(enum sink_state state);
const char *parked_state_text(enum parked_state state);

MUST_CHECK enum result ledger_open(const char *bridge_dir, const struct clock *clock,
                                   struct ledger **ret_ledger, struct error *error);
void ledger_close(struct ledger *ledger);

/* Finds the sink's row or creates it, with its cursor at `start_sequence`. RESULT_CONFLICT if the
 * row belongs to another journal. */
MUST_CHECK enum result ledger_attach(struct ledger *ledger, const char *sink,
                                     const char *journal_id, int64_t start_sequence,
                                     const uint8_t hash[static SHA256_SIZE], struct error *error);
MUST_CHECK enum result ledger_find_sink(struct ledger *ledger, const char *sink,
                                        struct ledger_sink *ret_sink, struct error *error);

/* A place in the journal: a sequence, and the chain's hash there. */
struct ledger_place {
    int64_t sequence;
    const uint8_t *hash; /* SHA256_SIZE bytes */
};

/* Moves the cursor to `cursor`, counts `delivered` events, and adds the parked rows, in order of
 * their sequence, all at once. Rows that are there stay as they are. RESULT_CONFLICT, and nothing
 * is changed, if a row that is PARKED_HELD has nothing to be held behind: a replay was faster. */
MUST_CHECK enum result ledger_settle(struct ledger *ledger, const char *sink,
                                     const struct ledger_place *cursor, int64_t delivered,
                                     const struct parked *parked, size_t count,
                                     struct error *error);

/* Adds parked rows, as ledger_settle(), and moves nothing. */
MUST_CHECK enum result ledger_park(struct ledger *ledger, const char *sink,
                                   const struct parked *parked, size_t count, struct error *error);

/* The peer has more or less than the cursor says: starts again at `cursor`. What a replay had
 * delivered beyond it is pending again. If the peer has lost what was delivered in its turn, it may
 * have lost what replays delivered before it too: such rows are open again. */
MUST_CHECK enum result ledger_rewind(struct ledger *ledger, const char *sink,
                                     const struct ledger_place *cursor, struct error *error);

/* How the sink is; `reason` may be NULL: then the last error stays. */
MUST_CHECK enum result ledger_note_state(struct ledger *ledger, const char *sink,
                                         enum sink_state state, enum breaker_state breaker,
                                         const char *reason, struct error *error);

/* Calls `each` for every parked event that `filter` lets through, in order of sequence. */
struct parked_filter {
    const char *sink;     /* NULL: every sink */
    const char *event_id; /* NULL: any */
    const char *event_type;
    int64_t order_id; /* 0: any */
    int64_t after;    /* sequences above this one */
    bool only_open;
};

MUST_CHECK enum result ledger_each_parked(struct ledger *ledger, const struct parked_filter *filter,
                                          void (*each)(void *context, const struct parked *parked),
                                          void *context, struct error *error);

/* The first refused event, of any sink, that isn't in order.failed yet. RESULT_NOT_FOUND if there
 * is none. */
MUST_CHECK enum result ledger_find_dead_letter(struct ledger *ledger, struct parked *ret_parked,
                                               struct error *error);

/* Might ledger_is_blocked() say yes to any event after `after`? */
MUST_CHECK enum result ledger_has_parked(struct ledger *ledger, const char *sink, int64_t after,
                                         bool *ret_any, struct error *error);

/* Has the event a row already, or is an earlier one of its order (0: of none) open? */
MUST_CHECK enum result ledger_is_blocked(struct ledger *ledger, const char *sink, int64_t sequence,
                                         int64_t order_id, bool *ret_blocked, struct error *error);

/* Is the event parked or discarded, and not replayed since? */
MUST_CHECK enum result ledger_is_parked(struct ledger *ledger, const char *sink, int64_t sequence,
                                        bool *ret_parked, struct error *error);

/* Is an earlier event of the order open? */
MUST_CHECK enum result ledger_has_open_before(struct ledger *ledger, const char *sink,
                                              int64_t sequence, int64_t order_id, bool *ret_open,
                                              struct error *error);

/* Ends an open row; `state` is PARKED_DELIVERED or PARKED_DISCARDED. RESULT_NOT_FOUND if no open
 * row is there. */
MUST_CHECK enum result ledger_settle_parked(struct ledger *ledger, const char *sink,
                                            int64_t sequence, enum parked_state state,
                                            const char *reason, struct error *error);
MUST_CHECK enum result ledger_note_dead_lettered(struct ledger *ledger, const char *sink,
                                                 int64_t sequence, struct error *error);

#endif
