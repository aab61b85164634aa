/* The events that head office refused, as a person wants to see them: read from bridge.db without
 * writing to it, whether or not the bridge runs. */
#ifndef TILLBOX_CORE_PARKED_LIST_H
#define TILLBOX_CORE_PARKED_LIST_H

#include <stdint.h>

#include "core/json.h"
#include "core/uuid.h"

enum { PARKED_LIST_MAX = 50, PARKED_LIST_WORD_SIZE = 32, PARKED_LIST_REASON_SIZE = 256 };

struct parked_entry {
    char sink[PARKED_LIST_WORD_SIZE];
    char event_type[PARKED_LIST_WORD_SIZE];
    char state[PARKED_LIST_WORD_SIZE]; /* refused, held */
    char event_id[UUID_TEXT_SIZE];
    char reason[PARKED_LIST_REASON_SIZE];
    int64_t sequence;
    int64_t order_id; /* 0: of no order */
    int64_t attempts;
    int64_t parked_at_ms;
};

/* The first PARKED_LIST_MAX that are open: those refused before those held behind them, each in
 * order of sequence. */
struct parked_list {
    struct parked_entry entries[PARKED_LIST_MAX];
    size_t count;
};

/* An empty list where there has been no bridge. */
MUST_CHECK enum result parked_list_read(const char *bridge_dir, struct parked_list *ret_list,
                                        struct error *error);

/* Writes the array `parked` into an object that is open. */
void parked_list_write(const struct parked_list *list, struct json_writer *writer);

#endif
