#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bridge/commands.h"

extern char **environ;

struct command_entry {
    const char *name;
    command_main *main;
    const char *help;
};

static enum exit_code command_settings(struct settings *settings,
                                       const struct config_sources *sources)
{
    (void)settings;
    (void)sources;
    config_print_sample(&SETTINGS, stdout);
    return EXIT_DONE;
}

static const struct command_entry COMMANDS[] = {
    {"run", command_run, "bring every event to head office"},
    {"status", command_status, "say where every event is; exit 1 if something needs a person"},
    {"parked", command_parked, "list, show or discard what head office refused"},
    {"replay", command_replay, "send parked events again, or a range, or what is in order.failed"},
    {"reconcile", command_reconcile, "compare the journal with head office; name what is missing"},
    {"migrate", command_migrate, "bring head office's database up to date"},
    {"inventory", command_inventory, "keep head office's stock: take events, serve it over HTTP"},
    {"notification", command_notification,
     "tell customers about their orders; or list messages, retry failed ones"},
    {"topology", command_topology, "declare exchanges and queues on head office's broker"},
    {"health", command_health, "ask what listens on status_listen whether it is well"},
    {"settings", command_settings, "print a settings file with every default"},
    {"version", NULL, "print the version"},
};

/* What follows the program's name, which is another one where it is installed. */
static const char *const EXAMPLES[] = {
    "run --data-dir ./var --postgres-url postgresql://…  --amqp-url amqp://…",
    "status --data-dir ./var --json",
    "parked list --data-dir ./var",
    "parked discard --id 0190…  --reason \"paid twice, refunded by hand\"",
    "replay --sink rabbitmq --dry-run",
    "replay --from 1 --to 5000 --rate 500",
    "notification list --failed",
};

static void print_help(FILE *stream)
{
    const char *name = program_invocation_short_name;
    fprintf(stream, "Usage: %s COMMAND [OPTION…]\n\n", name);
    fprintf(stream, "Brings every sale of the box to head office, once.\n\nCommands:\n");
    for (size_t i = 0; i < ARRAY_LENGTH(COMMANDS); i++)
        fprintf(stream, "  %-9s %s\n", COMMANDS[i].name, COMMANDS[i].help);
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

static const struct command_entry *find_command(const struct config_sources *sources,
                                                struct buf *problems)
{
    if (sources->operand_count == 0) {
        buf_append_text(problems, "which command?\n");
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(COMMANDS); i++)
        if (strcmp(COMMANDS[i].name, sources->operands[0]) == 0) {
            bool has_words =
                COMMANDS[i].main == command_parked || COMMANDS[i].main == command_notification;
            size_t words = has_words ? 2 : 1;
            if (sources->operand_count > words)
                buf_append_format(problems, "%s: \"%s\" is one argument too many\n",
                                  COMMANDS[i].name, sources->operands[words]);
            return &COMMANDS[i];
        }
    buf_append_format(problems, "\"%s\" is no command\n", sources->operands[0]);
    return NULL;
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
    const struct command_entry *command = find_command(&sources, problems);
    if (!command || config_verdict(problems) != RESULT_OK) {
        fprintf(stderr, "%s\n%s --help lists commands and options.\n", buf_text(problems),
                program_invocation_short_name);
        return EXIT_USAGE;
    }
    if (!command->main)
        return print_version();
    log_start("bridge", settings->level);
    return command->main(settings, &sources);
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
