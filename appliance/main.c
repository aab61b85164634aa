#include <stdio.h>

#include "appliance/commands.h"

extern char **environ;

static enum exit_code main_command_settings(struct settings *settings,
                                            const struct config_sources *sources)
{
    (void)settings;
    (void)sources;
    config_print_sample(&SETTINGS, stdout);
    return EXIT_DONE;
}

static const struct program_command COMMANDS[] = {
    {"serve", NULL, false, command_serve, "take orders (the default)"},
    {"check", NULL, false, command_check,
     "examine journal, disk, permissions, clock and libraries"},
    {"verify", NULL, false, command_verify, "walk the hash chain and name the first bad event"},
    {"backup", "FILE", true, command_backup,
     "copy the journal into a new file, also while it is in use"},
    {"health", NULL, false, command_health, "ask the running appliance whether it is well"},
    {"settings", NULL, false, main_command_settings, "print a settings file with every default"},
    {"version", NULL, false, NULL, "print the version"},
};

static const struct exit_meaning EXITS[] = {
    {EXIT_DONE, "done"},
    {EXIT_FAILED, "it failed; the error says why"},
    {EXIT_USAGE, "wrong arguments or settings"},
    {EXIT_IN_USE, "another process has the journal or the port"},
    {EXIT_DAMAGED, "the journal is damaged"},
    {EXIT_DISK, "the disk refused to flush: find out why before selling on"},
};

static const char *const EXAMPLES[] = {
    "serve --data-dir ./var",
    "serve --orders-listen 0.0.0.0:8081 --api-token-file token",
    "verify --data-dir ./var --json",
    "backup --data-dir ./var journal-copy.db",
};

static const struct program PROGRAM = {
    .options = &SETTINGS,
    .summary = "The box in the shop: takes orders and keeps stock over HTTP, on a journal.",
    .fallback = "serve",
    .commands = COMMANDS,
    .command_count = ARRAY_LENGTH(COMMANDS),
    .exits = EXITS,
    .exit_count = ARRAY_LENGTH(EXITS),
    .examples = EXAMPLES,
    .example_count = ARRAY_LENGTH(EXAMPLES),
};

static enum exit_code main_run(int argc, char **argv, struct settings *settings,
                               struct buf *problems)
{
    struct config_sources sources = {0};
    if (settings_load(argc, argv, environ, settings, &sources, problems) == RESULT_NO_MEMORY)
        return EXIT_FAILED;
    const struct program_request request = {&sources, problems, settings->help, settings->version};
    enum exit_code code;
    const struct program_command *command = program_choose(&PROGRAM, &request, &code);
    if (!command)
        return code;
    log_start("appliance", settings->level);
    return command->main(settings, &sources);
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    struct buf problems;
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    enum exit_code code = main_run(argc, argv, &settings, &problems);
    buf_done(&problems);
    settings_free(&settings);
    return (int)program_finish(code);
}
