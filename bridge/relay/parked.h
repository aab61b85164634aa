/* Events that were set aside at a sink: what the peer refused, and what waits behind it. */
#ifndef TILLBOX_BRIDGE_PARKED_H
#define TILLBOX_BRIDGE_PARKED_H

#include "core/journal/journal_reader.h"

enum { DELIVERY_STATE_TEXT_SIZE = 256 };

/*      PARKED_REFUSED, PARKED_HELD ──▶ PARKED_DELIVERED   by a replay
 *                               └────▶ PARKED_DISCARDED   by a person */
enum parked_state { PARKED_REFUSED, PARKED_HELD, PARKED_DELIVERED, PARKED_DISCARDED };

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
    char reason[DELIVERY_STATE_TEXT_SIZE];
    char settled_reason[DELIVERY_STATE_TEXT_SIZE];
};

const char *parked_state_text(enum parked_state state);

/* Which rows of bridge.db are meant. */
struct parked_filter {
    const char *sink;     /* NULL: every sink */
    const char *event_id; /* NULL: any */
    const char *event_type;
    int64_t order_id; /* 0: any */
    int64_t after;    /* sequences above this one */
    bool only_open;
};

#endif
