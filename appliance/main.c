#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/commands.h"

extern char **environ;

struct command_entry {
    const char *name;
    const char *operand; /* what --help calls it; NULL: the command takes none */
    command_main *main;
    const char *help;
};

static enum exit_code command_settings(struct settings *settings,
                                       const struct config_sources *sources, const char *operand)
{
    (void)settings;
    (void)sources;
    (void)operand;
    config_print_sample(&SETTINGS, stdout);
    return EXIT_DONE;
}

static const struct command_entry COMMANDS[] = {
    {"serve", NULL, command_serve, "take orders (the default)"},
    {"check", NULL, command_check, "examine journal, disk, permissions, clock and libraries"},
    {"verify", NULL, command_verify, "walk the hash chain and name the first bad event"},
    {"backup", "FILE", command_backup, "copy the journal into a new file, also while it is in use"},
    {"health", NULL, command_health, "ask the running appliance whether it is well"},
    {"settings", NULL, command_settings, "print a settings file with every default"},
    {"version", NULL, NULL, "print the version"},
};

/* What follows the program's name, which is another one where it is installed. */
static const char *const EXAMPLES[] = {
    "serve --data-dir ./var",
    "serve --orders-listen 0.0.0.0:8081 --api-token-file token",
    "verify --data-dir ./var --json",
    "backup --data-dir ./var journal-copy.db",
};

static void print_help(FILE *stream)
{
    const char *name = program_invocation_short_name;
    fprintf(stream, "Usage: %s [COMMAND] [OPTION…]\n\n", name);
    fprintf(stream, "The box in the shop: takes orders and keeps stock over HTTP, on a journal.\n\n"
                    "Commands:\n");
    for (size_t i = 0; i < ARRAY_LENGTH(COMMANDS); i++)
        fprintf(stream, "  %-8s %-5s %s\n", COMMANDS[i].name,
                COMMANDS[i].operand ? COMMANDS[i].operand : "", COMMANDS[i].help);
    fprintf(stream, "\nOptions (flag, then variable, then settings file, then default):\n");
    config_print_options(&SETTINGS, stream);
    fprintf(stream, "\nExit codes:\n");
#define X(code, number, meaning) fprintf(stream, "  %d  %s\n", number, meaning);
    EXIT_TABLE(X)
#undef X
    fprintf(stream, "\nExamples:\n");
    for (size_t i = 0; i < ARRAY_LENGTH(EXAMPLES); i++)
        fprintf(stream, "  %s %s\n", name, EXAMPLES[i]);
}

static const struct command_entry *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(COMMANDS); i++)
        if (strcmp(COMMANDS[i].name, name) == 0)
            return &COMMANDS[i];
    return NULL;
}

/* Adds to the problems what is wrong with the words that are no options. */
static const struct command_entry *choose_command(const struct config_sources *sources,
                                                  struct buf *problems)
{
    const char *name = sources->operand_count > 0 ? sources->operands[0] : "serve";
    const struct command_entry *command = find_command(name);
    if (!command) {
        buf_append_format(problems, "\"%s\" is no command\n", name);
        return NULL;
    }
    size_t wanted = command->operand ? 2 : 1;
    if (sources->operand_count > wanted)
        buf_append_format(problems, "%s: \"%s\" is one argument too many\n", name,
                          sources->operands[wanted]);
    if (command->operand && sources->operand_count < wanted)
        buf_append_format(problems, "%s: %s is missing\n", name, command->operand);
    return command;
}

static enum exit_code refuse(const struct buf *problems)
{
    fprintf(stderr, "%s\n%s --help lists commands and options.\n", buf_text(problems),
            program_invocation_short_name);
    return EXIT_USAGE;
}

static enum exit_code print_version(void)
{
    printf("%s %s\n", program_invocation_short_name, TILLBOX_VERSION);
    return EXIT_DONE;
}

static enum exit_code run(int argc, char **argv, struct settings *settings, struct buf *problems)
{
    struct config_sources sources = {0};
    enum result result = settings_load(argc, argv, environ, settings, &sources, problems);
    if (settings->help) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (settings->version)
        return print_version();
    if (result == RESULT_NO_MEMORY)
        return EXIT_FAILED;
    const struct command_entry *command = choose_command(&sources, problems);
    if (!command || config_verdict(problems) != RESULT_OK)
        return refuse(problems);
    if (!command->main)
        return print_version();
    log_start("appliance", settings->level);
    return command->main(settings, &sources,
                         sources.operand_count > 1 ? sources.operands[1] : NULL);
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    struct buf problems;
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    enum exit_code code = run(argc, argv, &settings, &problems);
    buf_done(&problems);
    settings_free(&settings);
    return (int)code;
}
