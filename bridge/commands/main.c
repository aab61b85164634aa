#include "bridge/commands/commands.h"

static const struct program_command COMMANDS[] = {
    {"run", NULL, false, command_run, "bring every event to head office"},
    {"status", NULL, false, command_status,
     "say where every event is; exit 1 if something needs a person"},
    {"parked", "list|show|discard", false, command_parked, "what head office refused"},
    {"replay", NULL, false, command_replay,
     "send parked events again, or a range, or what is in order.failed"},
    {"reconcile", NULL, false, command_reconcile,
     "compare the journal with head office; name what is missing"},
    {"migrate", NULL, false, command_migrate, "bring head office's database up to date"},
    {"inventory", NULL, false, command_inventory,
     "keep head office's stock: take events, serve it over HTTP"},
    {"notification", "run|list|retry", false, command_notification,
     "tell customers about their orders; list messages; retry failed ones"},
    {"topology", NULL, false, command_topology,
     "declare exchanges and queues on head office's broker"},
    {"health", NULL, false, command_health, "ask what listens on status_listen whether it is well"},
    {"print-config", NULL, false, program_print_config, "print a settings file with every default"},
    {"version", NULL, false, NULL, "print the version"},
};

static const struct exit_meaning EXITS[] = {
    {EXIT_DONE, "done"},
    {EXIT_FAILED, "it failed, or something needs a person; the output says what"},
    {EXIT_USAGE, "wrong arguments or settings"},
    {EXIT_IN_USE, "another bridge runs on this folder, or the port is in use"},
};

static const char *const EXAMPLES[] = {
    "run --data-dir ./var --postgres-url postgresql://…  --amqp-url amqp://…",
    "status --data-dir ./var --json",
    "parked list --data-dir ./var",
    "parked discard --id 0190…  --reason \"paid twice, refunded by hand\"",
    "replay --sink rabbitmq --dry-run",
    "replay --from 1 --to 5000 --rate 500",
    "notification list --failed",
};

static void bridge_read_flags(const struct settings *settings, struct program_flags *ret_flags)
{
    *ret_flags = (struct program_flags){settings->help, settings->version, settings->level};
}

static const struct program PROGRAM = {
    .name = "bridge",
    .load = settings_load,
    .read_flags = bridge_read_flags,
    .free = settings_free,
    .options = &SETTINGS,
    .summary = "Brings every sale of the box to head office, once.",
    .commands = COMMANDS,
    .command_count = ARRAY_LENGTH(COMMANDS),
    .exits = EXITS,
    .exit_count = ARRAY_LENGTH(EXITS),
    .examples = EXAMPLES,
    .example_count = ARRAY_LENGTH(EXAMPLES),
};

int main(int argc, char *argv[])
{
    struct settings settings = {0};
    return program_main(&PROGRAM, argc, argv, &settings);
}
