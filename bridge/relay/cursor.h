/* How far one sink has come in the journal: its cursor, and the events that are parked on the way,
 * as bridge.db has them. Every function is one transaction there; the cursor in memory moves only
 * once that has been committed. */
#ifndef TILLBOX_BRIDGE_CURSOR_H
#define TILLBOX_BRIDGE_CURSOR_H

#include "bridge/relay/delivery_state.h"
#include "bridge/relay/in_flight.h"

struct cursor {
    struct delivery_state *deliveries;
    const char *sink;
    size_t rows_max;     /* as many as a page has events */
    struct parked *rows; /* owned: to be written */
    int64_t sequence;    /* everything up to here is delivered or parked */
};

MUST_CHECK enum result cursor_init(struct cursor *cursor, struct delivery_state *deliveries,
                                   const char *sink, size_t rows_max);
void cursor_done(struct cursor *cursor);

/* Finds or makes the sink's row. RESULT_CONFLICT if the journal isn't the one that the cursor was
 * moved along: one that was restored from a backup gives sequences to new sales that others had. */
MUST_CHECK enum result cursor_attach(struct cursor *cursor, struct journal_reader *journal,
                                     const struct journal_info *info, struct error *error);

/* The peer has more or less than the cursor says: it moves to `sequence`. */
MUST_CHECK enum result cursor_rewind(struct cursor *cursor, struct journal_reader *journal,
                                     int64_t sequence, struct error *error);

/* Holds what is parked already, or is behind a parked event of its order, and writes that down.
 * RESULT_CONFLICT if a replay was faster: then nothing is held behind anything any more. */
MUST_CHECK enum result cursor_hold_blocked(struct cursor *cursor, struct in_flight *in_flight,
                                           struct error *error);

/* Writes down what has become of the page up to the first event that is pending: cursor, count and
 * parked rows move together. RESULT_CONFLICT as above. */
MUST_CHECK enum result cursor_advance(struct cursor *cursor, struct in_flight *in_flight,
                                      struct error *error);

/* Parks the sequences from `from` up to and without `to`, which can't be read. */
MUST_CHECK enum result cursor_park_unreadable(struct cursor *cursor, int64_t from, int64_t to,
                                              struct error *error);

/* Compares what the peer's own cursor has passed, up to and with `through`, with what it has, and
 * parks what it hasn't got: bridge.db, which knew why, was lost. Nothing is called delivered on
 * trust. RESULT_UNREACHABLE if the peer can't be asked. */
MUST_CHECK enum result cursor_audit(struct cursor *cursor, const struct sink *sink,
                                    struct journal_reader *journal, int64_t through,
                                    struct error *error);

#endif
