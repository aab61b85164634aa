/* State machines that are a table: the states, and which may follow which.
 *
 * A long-lived loop is an enum of states, one table, and a step function that does one step and
 * says how long to wait. Only machine_move() changes the state, and it asserts that the table
 * allows it; the diagram in the loop's header is the table, printed (tests hold it to that). */
#ifndef TILLBOX_CORE_MACHINE_H
#define TILLBOX_CORE_MACHINE_H

#include <stdint.h>
#include <stdio.h>

enum { MACHINE_STATES_MAX = 16 };

/* `next` has a bit for each state that may follow. A state that follows itself needs no bit:
 * staying is no move. */
struct machine_state {
    const char *name;
    uint32_t next;
};

#define MACHINE_NEXT(state) (UINT32_C(1) << (state))

struct machine_table {
    const char *name;
    const struct machine_state *states; /* indexed by the loop's enum; 0 is where it begins */
    int count;                          /* at most MACHINE_STATES_MAX */
};

struct machine {
    const struct machine_table *table;
    int state;
    uint32_t taken[MACHINE_STATES_MAX]; /* the moves that were made, as in `next` */
};

void machine_init(struct machine *machine, const struct machine_table *table);

/* Asserts that the table allows it. Moving to the state that it is in does nothing. */
void machine_move(struct machine *machine, int next);

const char *machine_state_name(const struct machine *machine);

/* One line a state, "  IDLE -> BUSY, ENDED"; a last state has nothing after its name. */
void machine_print(const struct machine_table *table, FILE *stream);

#endif
