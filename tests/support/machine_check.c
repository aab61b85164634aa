#include "tests/support/machine_check.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/unit.h"

enum { TABLES_MAX = 4, LINE_BYTES = 512 };

static struct machine seen[TABLES_MAX];

static struct machine *seen_of(const struct machine_table *table)
{
    for (size_t i = 0; i < TABLES_MAX; i++) {
        if (!seen[i].table)
            machine_init(&seen[i], table);
        if (seen[i].table == table)
            return &seen[i];
    }
    fail_msg("more than %d machines in one test program", TABLES_MAX);
    return NULL;
}

static char *read_text(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *from = fopen(path, "r"), *into = open_memstream(&text, &size);
    char line[LINE_BYTES];
    assert_non_null(from);
    assert_non_null(into);
    while (fgets(line, sizeof line, from))
        fputs(line, into);
    fclose(from);
    fclose(into);
    return text;
}

void assert_diagram(const char *header, const struct machine_table *table)
{
    char *text = NULL, *comment = NULL;
    size_t size = 0;
    char *source = read_text(header);
    FILE *lines = open_memstream(&text, &size);
    assert_non_null(lines);
    machine_print(table, lines);
    fclose(lines);
    FILE *commented = open_memstream(&comment, &size);
    assert_non_null(commented);
    char *rest = text;
    for (char *line = strtok_r(rest, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        fprintf(commented, " * %s\n", line);
    fclose(commented);
    if (!strstr(source, comment))
        fail_msg("%s lacks the diagram of %s:\n%s", header, table->name, comment);
    free(comment);
    free(text);
    free(source);
}

void machine_check_note(const struct machine *machine)
{
    struct machine *all = seen_of(machine->table);
    for (int i = 0; i < machine->table->count; i++)
        all->taken[i] |= machine->taken[i];
}

void assert_every_transition_taken(const struct machine_table *table)
{
    const struct machine *all = seen_of(table);
    int missing = 0;
    for (int from = 0; from < table->count; from++)
        for (int to = 0; to < table->count; to++)
            if (table->states[from].next & ~all->taken[from] & MACHINE_NEXT(to)) {
                print_error("%s: no test goes from %s to %s\n", table->name,
                            table->states[from].name, table->states[to].name);
                missing++;
            }
    assert_int_equal(missing, 0);
}
