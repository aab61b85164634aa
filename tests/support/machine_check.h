/* What tests ask of a state machine: its header's diagram is its table, and they took every
 * transition. */
#ifndef TILLBOX_TESTS_SUPPORT_MACHINE_CHECK_H
#define TILLBOX_TESTS_SUPPORT_MACHINE_CHECK_H

#include "core/machine.h"

/* Fails unless the header has the table's lines, as machine_print() writes them, each after " * ".
 */
void assert_diagram(const char *header, const struct machine_table *table);

/* Adds the transitions that a machine has taken to those of this program's tests; call it before
 * the machine is freed. */
void machine_check_note(const struct machine *machine);

/* Fails, naming them, if there are transitions of the table that no noted machine took. Belongs in
 * a program's last test. */
void assert_every_transition_taken(const struct machine_table *table);

#endif
