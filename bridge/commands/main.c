#include "bridge/commands/commands.h"

#define SINKS "postgres_url postgres_password_file amqp_url amqp_password_file amqp_ca_file "
#define SERVICE SINKS "amqp_user_prefix allowed_hosts api_token_file allow_anonymous "
#define PICK "sink id order type "

static const struct program_command COMMANDS[] = {
    {"run", NULL, false, command_run, "bring every event to head office",
     SINKS "bridge_dir status_listen allowed_hosts"},
    {"status", NULL, false, command_status,
     "say where every event is; exit 1 if something needs a person", "bridge_dir json"},
    {"parked", "list|show|discard", false, command_parked, "what head office refused",
     PICK "bridge_dir reason json"},
    {"replay", NULL, false, command_replay,
     "send parked events again, or a range, or what is in order.failed",
     SINKS PICK "bridge_dir since until from to queue dead_letters limit rate dry_run json"},
    {"reconcile", NULL, false, command_reconcile,
     "compare the journal with head office; name what is missing", SINKS "bridge_dir repair json"},
    {"migrate", NULL, false, command_migrate, "bring head office's database up to date",
     "postgres_url postgres_password_file"},
    {"inventory", NULL, false, command_inventory,
     "keep head office's stock: take events, serve it over HTTP", SERVICE "inventory_listen"},
    {"notification", "run|list|retry", false, command_notification,
     "tell customers about their orders; list messages; retry failed ones",
     SERVICE "status_listen notification_channels notification_timeout_ms notification_retry_ms "
             "templates_dir currency currency_digits webhook_url webhook_secret_file "
             "webhook_ca_file smtp_url smtp_allow_plain smtp_user smtp_password_file smtp_ca_file "
             "mail_from mail_default_to id failed limit json"},
    {"topology", NULL, false, command_topology,
     "declare exchanges and queues on head office's broker",
     "amqp_url amqp_password_file amqp_ca_file"},
    {"health", NULL, false, command_health, "ask what listens on status_listen whether it is well",
     "status_listen"},
    {"print-config", NULL, false, program_print_config, "print a settings file with every default",
     NULL},
    {"help", NULL, false, NULL, "every command and option", NULL},
    {"version", NULL, false, NULL, "print the version", NULL},
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
    "replay --dead-letters --dry-run",
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
