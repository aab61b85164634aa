/* core/machine: a table of states.
 *
 *   CLOSED -> OPEN, GONE
 *   OPEN -> CLOSED
 *   GONE
 */
#include "core/machine.h"

#include "tests/support/machine_check.h"
#include "tests/support/unit.h"

enum door { CLOSED, OPEN, GONE };

static const struct machine_state STATES[] = {
    [CLOSED] = {"CLOSED", MACHINE_NEXT(OPEN) | MACHINE_NEXT(GONE)},
    [OPEN] = {"OPEN", MACHINE_NEXT(CLOSED)},
    [GONE] = {"GONE", 0},
};
static const struct machine_table DOOR = {"door", STATES, ARRAY_LENGTH(STATES)};

static void it_begins_in_its_first_state_and_moves_as_the_table_allows(UNUSED void **state)
{
    struct machine door;
    machine_init(&door, &DOOR);
    assert_string_equal(machine_state_name(&door), "CLOSED");
    machine_move(&door, OPEN);
    machine_move(&door, CLOSED);
    machine_move(&door, GONE);
    assert_string_equal(machine_state_name(&door), "GONE");
    machine_check_note(&door);
}

static void staying_is_no_move(UNUSED void **state)
{
    struct machine door;
    machine_init(&door, &DOOR);
    machine_move(&door, CLOSED);
    assert_int_equal(door.taken[CLOSED], 0);
}

static void a_move_that_the_table_lacks_ends_the_program(UNUSED void **state)
{
    struct machine door;
    machine_init(&door, &DOOR);
    machine_move(&door, OPEN);
    assert_aborts(machine_move(&door, GONE));
    assert_aborts(machine_move(&door, GONE + 1));
}

static void the_diagram_is_the_table(UNUSED void **state)
{
    assert_diagram("tests/unit/test_machine.c", &DOOR);
}

static void every_transition_was_taken(UNUSED void **state)
{
    assert_every_transition_taken(&DOOR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_in_its_first_state_and_moves_as_the_table_allows),
        cmocka_unit_test(staying_is_no_move),
        cmocka_unit_test(a_move_that_the_table_lacks_ends_the_program),
        cmocka_unit_test(the_diagram_is_the_table),
        cmocka_unit_test(every_transition_was_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
