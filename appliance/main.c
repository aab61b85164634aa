#include "appliance/commands.h"

static const struct program_command COMMANDS[] = {
    {"serve", NULL, false, command_serve, "take orders (the default)",
     "bridge_dir device_id location orders_listen inventory_listen inventory_url "
     "inventory_timeout_ms inventory_breaker_threshold inventory_breaker_reset_ms "
     "inventory_token_file inventory_ca_file api_token_file allow_anonymous allowed_hosts "
     "idempotency_hours retention_days disk_reserve_mb shop_name currency locale low_stock"},
    {"check", NULL, false, command_check, "examine journal, disk, permissions, clock and libraries",
     "json"},
    {"verify", NULL, false, command_verify, "walk the hash chain and name the first bad event",
     "json"},
    {"backup", "FILE", true, command_backup,
     "copy the journal into a new file, also while it is in use", NULL},
    {"health", NULL, false, command_health, "ask the running appliance whether it is well",
     "orders_listen"},
    {"print-config", NULL, false, program_print_config, "print a settings file with every default",
     NULL},
    {"help", NULL, false, NULL, "every command and option", NULL},
    {"version", NULL, false, NULL, "print the version", NULL},
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

static void appliance_read_flags(const struct settings *settings, struct program_flags *ret_flags)
{
    *ret_flags = (struct program_flags){settings->help, settings->version, settings->level};
}

static const struct program PROGRAM = {
    .name = "appliance",
    .load = settings_load,
    .read_flags = appliance_read_flags,
    .free = settings_free,
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

int main(int argc, char *argv[])
{
    struct settings settings = {0};
    return program_main(&PROGRAM, argc, argv, &settings);
}
