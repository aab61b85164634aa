#include "core/config/program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HELP_COMMAND "help"

/* It is another one where the program is installed. */
static const char *own_name(void)
{
    return program_invocation_short_name;
}

static void print_commands(const struct program *program, FILE *stream)
{
    size_t width = 0;
    for (size_t i = 0; i < program->command_count; i++)
        if (strlen(program->commands[i].name) > width)
            width = strlen(program->commands[i].name);
    for (size_t i = 0; i < program->command_count; i++) {
        const struct program_command *command = &program->commands[i];
        fprintf(stream, "  %-*s  ", (int)width, command->name);
        if (command->operand)
            fprintf(stream, command->needs_operand ? "%s: " : "[%s]: ", command->operand);
        fprintf(stream, "%s\n", command->help);
    }
}

static void print_exits(const struct program *program, FILE *stream)
{
    fprintf(stream, "\nExit codes:\n");
    for (size_t i = 0; i < program->exit_count; i++)
        fprintf(stream, "  %d  %s\n", (int)program->exits[i].code, program->exits[i].text);
}

/* Those of one command; NULL: all. */
static void print_examples(const struct program *program, const char *command, FILE *stream)
{
    size_t size = command ? strlen(command) : 0;
    bool any = false;
    for (size_t i = 0; i < program->example_count; i++) {
        const char *example = program->examples[i];
        if (command && (strncmp(example, command, size) != 0 || example[size] != ' '))
            continue;
        fprintf(stream, any ? "  %s %s\n" : "\nExamples:\n  %s %s\n", own_name(), example);
        any = true;
    }
}

static void print_help(const struct program *program, bool with_options, FILE *stream)
{
    fprintf(stream, "Usage: %s %s [OPTION…]\n\n%s\n\nCommands:\n", own_name(),
            program->fallback ? "[COMMAND]" : "COMMAND", program->summary);
    print_commands(program, stream);
    if (with_options) {
        fprintf(stream, "\nOptions (flag, then variable, then settings file, then default):\n");
        config_print_options(program->options, NULL, NULL, stream);
    } else {
        fprintf(stream, "\n%s COMMAND --help lists a command's options, %s help all of them.\n",
                own_name(), own_name());
    }
    print_exits(program, stream);
    print_examples(program, NULL, stream);
}

static bool has_word(const char *words, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = words; at && (at = strstr(at, word)) != NULL; at += size)
        if ((at == words || at[-1] == ' ') && (at[size] == ' ' || at[size] == '\0'))
            return true;
    return false;
}

/* What --help of one command lists: its own options, and those that belong to none in particular.
 */
struct command_options {
    const struct program *program;
    const struct program_command *command;
};

static bool is_of_command(const void *context, const char *name)
{
    const struct command_options *wanted = context;
    if (has_word(wanted->command->options, name))
        return true;
    for (size_t i = 0; i < wanted->program->command_count; i++)
        if (has_word(wanted->program->commands[i].options, name))
            return false;
    return true;
}

static void print_command_help(const struct program *program, const struct program_command *command,
                               FILE *stream)
{
    const struct command_options wanted = {program, command};
    fprintf(stream, "Usage: %s %s", own_name(), command->name);
    if (command->operand)
        fprintf(stream, command->needs_operand ? " %s" : " [%s]", command->operand);
    fprintf(
        stream,
        " [OPTION…]\n\n%s\n\nOptions (flag, then variable, then settings file, then default):\n",
        command->help);
    config_print_options(program->options, is_of_command, &wanted, stream);
    print_exits(program, stream);
    print_examples(program, command->name, stream);
}

static const struct program_command *find_command(const struct program *program, const char *name)
{
    for (size_t i = 0; i < program->command_count; i++)
        if (strcmp(program->commands[i].name, name) == 0)
            return &program->commands[i];
    return NULL;
}

static void check_operands(const struct program_command *command,
                           const struct config_sources *sources, struct buf *problems)
{
    size_t most = command->operand ? 2 : 1;
    if (sources->operand_count > most)
        buf_append_format(problems, "%s: \"%s\" is one argument too many\n", command->name,
                          sources->operands[most]);
    if (command->needs_operand && sources->operand_count < most)
        buf_append_format(problems, "%s: %s is missing\n", command->name, command->operand);
}

/* Adds to the problems what is wrong with the words that are no options. */
static const struct program_command *named_command(const struct program *program,
                                                   const struct config_sources *sources,
                                                   struct buf *problems)
{
    const char *name = sources->operand_count > 0 ? sources->operands[0] : program->fallback;
    if (!name) {
        buf_append_text(problems, "which command?\n");
        return NULL;
    }
    const struct program_command *command = find_command(program, name);
    if (command)
        check_operands(command, sources, problems);
    else
        buf_append_format(problems, "\"%s\" is no command\n", name);
    return command;
}

static enum exit_code program_refuse(const struct buf *problems)
{
    fprintf(stderr, "%s\n%s help lists commands and options.\n", buf_text(problems), own_name());
    return EXIT_USAGE;
}

static enum exit_code print_version(void)
{
    printf("%s %s\n", own_name(), TILLBOX_VERSION);
    return EXIT_DONE;
}

/* `COMMAND --help`, `help COMMAND`, `help`, or `--help` alone. */
static void answer_help(const struct program *program, const struct config_sources *sources)
{
    const char *name = sources->operand_count > 0 ? sources->operands[0] : NULL;
    bool asks_help = name && strcmp(name, HELP_COMMAND) == 0;
    if (asks_help)
        name = sources->operand_count > 1 ? sources->operands[1] : NULL;
    const struct program_command *command = name ? find_command(program, name) : NULL;
    if (command)
        print_command_help(program, command, stdout);
    else
        print_help(program, asks_help, stdout);
}

const struct program_command *program_choose(const struct program *program,
                                             const struct program_request *request,
                                             enum exit_code *ret_code)
{
    const struct config_sources *sources = request->sources;
    *ret_code = EXIT_DONE;
    if (request->help ||
        (sources->operand_count > 0 && strcmp(sources->operands[0], HELP_COMMAND) == 0)) {
        answer_help(program, sources);
        return NULL;
    }
    const struct program_command *command = NULL;
    if (!request->version)
        command = named_command(program, sources, request->problems);
    if (!request->version && (!command || config_verdict(request->problems) != RESULT_OK)) {
        *ret_code = program_refuse(request->problems);
        return NULL;
    }
    if (command && command->main)
        return command;
    *ret_code = print_version();
    return NULL;
}

enum exit_code program_finish(enum exit_code code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "%s: the answer can't be written: %m\n", own_name());
    return code == EXIT_DONE ? EXIT_FAILED : code;
}

const char *program_operand(const struct config_sources *sources, const char *fallback)
{
    return sources->operand_count > 1 ? sources->operands[1] : fallback;
}

enum log_level program_log_level(const char *name, const struct config_sources *sources,
                                 struct buf *problems)
{
    enum log_level level = LOG_INFO;
    if (name && log_level_parse(name, &level) != RESULT_OK)
        config_add_problem(sources, "log_level", problems,
                           "\"%s\" is none of debug, info, warn, error", name);
    return level;
}

enum exit_code program_print_config(struct settings *settings, const struct config_sources *sources)
{
    (void)settings;
    config_print_sample(sources->set, stdout);
    return EXIT_DONE;
}

static enum exit_code run_command(const struct program *program, int argc, char *argv[],
                                  struct settings *settings, struct buf *problems)
{
    struct config_sources sources = {0};
    struct program_flags flags = {0};
    enum exit_code code = EXIT_FAILED;
    if (program->load(argc, argv, environ, settings, &sources, problems) == RESULT_NO_MEMORY)
        return EXIT_FAILED;
    program->read_flags(settings, &flags);
    const struct program_request request = {&sources, problems, flags.help, flags.version};
    const struct program_command *command = program_choose(program, &request, &code);
    if (!command)
        return code;
    log_start(program->name, flags.level);
    return command->main(settings, &sources);
}

int program_main(const struct program *program, int argc, char *argv[], struct settings *settings)
{
    struct buf problems;
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    enum exit_code code = run_command(program, argc, argv, settings, &problems);
    buf_done(&problems);
    program->free(settings);
    return (int)program_finish(code);
}
