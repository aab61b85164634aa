#include "tests/support/unit.h"

#include "core/config/program.h"

static enum exit_code nothing(UNUSED struct settings *settings,
                              UNUSED const struct config_sources *sources)
{
    return EXIT_DONE;
}

static const struct option_set OPTIONS = {"planted", NULL, 0};
static const struct program_command COMMANDS[] = {
    {"plain", NULL, false, nothing, "takes no word", NULL},
    {"copy", "FILE", true, nothing, "needs a word", NULL},
    {"parked", "list|show", false, nothing, "may take a word", NULL},
    {"version", NULL, false, NULL, "prints the version", NULL},
};
static const struct program PROGRAM = {
    .options = &OPTIONS, .commands = COMMANDS, .command_count = ARRAY_LENGTH(COMMANDS)};
static struct buf problems;

static int set_up(UNUSED void **state)
{
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    buf_done(&problems);
    return 0;
}

/* The name of the command that these words choose, or NULL. */
static const char *choose(const struct program *program, const char *first, const char *second,
                          enum exit_code *ret_code)
{
    struct config_sources sources = {.operands = {first, second, second}};
    sources.operand_count = first ? 1 : 0;
    sources.operand_count += second ? 1 : 0;
    const struct program_request request = {&sources, &problems, false, false};
    const struct program_command *command = program_choose(program, &request, ret_code);
    return command ? command->name : NULL;
}

static void a_command_is_chosen_by_its_name(UNUSED void **state)
{
    enum exit_code code;
    assert_string_equal(choose(&PROGRAM, "plain", NULL, &code), "plain");
    assert_string_equal(choose(&PROGRAM, "copy", "file", &code), "copy");
    assert_string_equal(choose(&PROGRAM, "parked", NULL, &code), "parked");
    assert_string_equal(choose(&PROGRAM, "parked", "show", &code), "parked");
}

static void without_a_word_the_fallback_runs_if_there_is_one(UNUSED void **state)
{
    enum exit_code code;
    struct program program = PROGRAM;
    program.fallback = "plain";
    assert_string_equal(choose(&program, NULL, NULL, &code), "plain");
    assert_null(choose(&PROGRAM, NULL, NULL, &code));
    assert_int_equal(code, EXIT_USAGE);
    assert_string_equal(buf_text(&problems), "which command?\n");
}

static void a_wrong_word_is_a_problem_that_names_it(UNUSED void **state)
{
    static const struct {
        const char *first, *second, *problem;
    } CASES[] = {
        {"sell", NULL, "\"sell\" is no command\n"},
        {"", NULL, "\"\" is no command\n"},
        {"plain", "more", "plain: \"more\" is one argument too many\n"},
        {"copy", NULL, "copy: FILE is missing\n"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        enum exit_code code;
        buf_clear(&problems);
        assert_null(choose(&PROGRAM, CASES[i].first, CASES[i].second, &code));
        assert_int_equal(code, EXIT_USAGE);
        assert_string_equal(buf_text(&problems), CASES[i].problem);
    }
}

static void a_problem_of_the_settings_stops_a_right_command(UNUSED void **state)
{
    enum exit_code code;
    buf_append_text(&problems, "--data-dir: none\n");
    assert_null(choose(&PROGRAM, "plain", NULL, &code));
    assert_int_equal(code, EXIT_USAGE);
}

static void what_only_prints_ends_well(UNUSED void **state)
{
    enum exit_code code;
    assert_null(choose(&PROGRAM, "version", NULL, &code));
    assert_int_equal(code, EXIT_DONE);
}

static void the_word_after_a_command_has_a_fallback(UNUSED void **state)
{
    struct config_sources sources = {.operands = {"parked", "show", NULL}, .operand_count = 2};
    assert_string_equal(program_operand(&sources, "list"), "show");
    sources.operand_count = 1;
    assert_string_equal(program_operand(&sources, "list"), "list");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_command_is_chosen_by_its_name),
        TEST(without_a_word_the_fallback_runs_if_there_is_one),
        TEST(a_wrong_word_is_a_problem_that_names_it),
        TEST(a_problem_of_the_settings_stops_a_right_command),
        TEST(what_only_prints_ends_well),
        TEST(the_word_after_a_command_has_a_fallback),
    };
    return RUN_TESTS(argc, argv, tests);
}
