/* Checking the journal's hash chain (core/journal/event.h). */
#ifndef TILLBOX_CORE_CHAIN_H
#define TILLBOX_CORE_CHAIN_H

#include <stdint.h>

#include "core/db.h"
#include "core/sha256.h"

struct chain_report {
    int64_t first_sequence; /* the first event that was checked; 0 if there was none */
    int64_t last_sequence;  /* the last good one */
    int64_t checked;
    int64_t bad_sequence; /* the first that is wrong or missing; 0: all are good */
    char reason[128];     /* why, if one is bad */
    uint8_t head[SHA256_SIZE];
};

enum { CHAIN_ALL = 0 };

/* Checks the last `tail` events of the journal, or CHAIN_ALL from the anchor on: that sequences
 * have no gap, that each hash follows from the one before, and that the payload carries its own
 * sequence and the journal's id. Reads in short transactions, so it may run beside a writer.
 * RESULT_OK when the journal could be read: the report tells what was found. */
MUST_CHECK enum result chain_check(struct db *journal, int64_t tail,
                                   struct chain_report *ret_report, struct error *error);

#endif
