#include "core/machine.h"

#include <assert.h>

void machine_init(struct machine *machine, const struct machine_table *table)
{
    assert(table->count <= MACHINE_STATES_MAX);
    *machine = (struct machine){.table = table};
}

void machine_move(struct machine *machine, int next)
{
    assert(next >= 0 && next < machine->table->count);
    if (next == machine->state)
        return;
    assert(machine->table->states[machine->state].next & MACHINE_NEXT(next));
    machine->taken[machine->state] |= MACHINE_NEXT(next);
    machine->state = next;
}

const char *machine_state_name(const struct machine *machine)
{
    return machine->table->states[machine->state].name;
}

void machine_print(const struct machine_table *table, FILE *stream)
{
    for (int from = 0; from < table->count; from++) {
        const char *separator = " -> ";
        fprintf(stream, "  %s", table->states[from].name);
        for (int to = 0; to < table->count; to++) {
            if (!(table->states[from].next & MACHINE_NEXT(to)))
                continue;
            fprintf(stream, "%s%s", separator, table->states[to].name);
            separator = ", ";
        }
        fputc('\n', stream);
    }
}
