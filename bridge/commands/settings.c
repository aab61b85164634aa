#include "bridge/commands/settings.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/config/common_options.h"
#include "core/config/program.h"
#include "core/config/secret.h"

static const struct option OPTIONS[] = {
    OPTION_CONFIG("/etc/tillbox/bridge.conf"),
    OPTION_DATA_DIR,
    OPTION_BRIDGE_DIR,
    {"postgres_url", OPTION_TEXT, OPTION_EVERYWHERE, AT(postgres_url), NULL, 0, 0, "URL",
     "head office's database, postgresql://…; without it the sink is off"},
    {"postgres_password_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(postgres_password_file), NULL, 0,
     0, "FILE", "file with the database's password (default: the credential postgres-password)"},
    {"amqp_url", OPTION_TEXT, OPTION_EVERYWHERE, AT(amqp_url), NULL, 0, 0, "URL",
     "head office's broker, amqp:// or amqps://; without it the sink is off"},
    {"amqp_password_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(amqp_password_file), NULL, 0, 0,
     "FILE",
     "file with the broker's password, in place of the URL's (default: the credential "
     "amqp-password)"},
    {"amqp_ca_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(amqp_ca_file), NULL, 0, 0, "FILE",
     "certificate authority that the broker's certificate must come from (amqps)"},
    {"amqp_user_prefix", OPTION_TEXT, OPTION_EVERYWHERE, AT(amqp_user_prefix), NULL, 1, 64,
     "PREFIX",
     "where each box has a broker login of its own, named this and its device_id, as box-: an "
     "event "
     "that another login sent is refused (inventory, notification)"},
    {"status_listen", OPTION_LISTEN, OPTION_EVERYWHERE, AT(status_listen), "127.0.0.1:8083", 0, 0,
     "HOST:PORT", "address of /status, /healthz and /metrics"},
    OPTION_ALLOWED_HOSTS,
    OPTION_INVENTORY_LISTEN,
    OPTION_API_TOKEN_FILE,
    OPTION_ALLOW_ANONYMOUS,
    {"notification_channels", OPTION_LIST, OPTION_EVERYWHERE, AT(notification_channels), "log", 0,
     0, "NAME,…", "log, webhook, smtp: how customers are told (notification)"},
    {"notification_timeout_ms", OPTION_INTEGER, OPTION_EVERYWHERE, AT(notification_timeout_ms),
     "5000", 100, 60000, "MS", "how long one try may take (notification)"},
    {"notification_retry_ms", OPTION_INTEGER, OPTION_EVERYWHERE, AT(notification_retry_ms), "3000",
     1, 3600000, "MS", "longest pause before the second try; it doubles after that (notification)"},
    {"templates_dir", OPTION_TEXT, OPTION_EVERYWHERE, AT(templates_dir), NULL, 0, 0, "DIR",
     "folder of order_confirmation.txt and cancellation_alert.txt; else built-in texts"},
    OPTION_CURRENCY,
    {"currency_digits", OPTION_INTEGER, OPTION_EVERYWHERE, AT(currency_digits), "2", 0, 4, "N",
     "digits of its minor unit: 2 makes 1250 read 12.50 (notification)"},
    {"webhook_url", OPTION_TEXT, OPTION_EVERYWHERE, AT(webhook_url), NULL, 0, 0, "URL",
     "receiver of the channel webhook"},
    {"webhook_secret_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(webhook_secret_file), NULL, 0, 0,
     "FILE", "file with the secret that its requests are signed with"},
    {"webhook_ca_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(webhook_ca_file), NULL, 0, 0, "FILE",
     "certificate authority that its certificate must come from; else one the system trusts"},
    {"smtp_url", OPTION_TEXT, OPTION_EVERYWHERE, AT(smtp_url), NULL, 0, 0, "URL",
     "mail server of the channel smtp: smtp://host:587 (STARTTLS) or smtps://host:465"},
    {"smtp_allow_plain", OPTION_SWITCH, OPTION_EVERYWHERE, AT(smtp_allow_plain), "false", 0, 0,
     NULL, "send without TLS too, where smtp://'s server has none; for one on the same machine"},
    {"smtp_user", OPTION_TEXT, OPTION_EVERYWHERE, AT(smtp_user), NULL, 0, 0, "NAME",
     "log-in of the mail server"},
    {"smtp_password_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(smtp_password_file), NULL, 0, 0,
     "FILE", "file with its password"},
    {"smtp_ca_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(smtp_ca_file), NULL, 0, 0, "FILE",
     "certificate authority that its certificate must come from; else one the system trusts"},
    {"mail_from", OPTION_TEXT, OPTION_EVERYWHERE, AT(mail_from), NULL, 0, 0, "ADDRESS",
     "sender of the mails"},
    {"mail_default_to", OPTION_TEXT, OPTION_EVERYWHERE, AT(mail_default_to), NULL, 0, 0, "ADDRESS",
     "who gets the mails for users that have no contact; else those fail"},
    OPTION_LOG_LEVEL,
    {"sink", OPTION_TEXT, OPTION_FLAG_ONLY, AT(sink), NULL, 0, 0, "SINK",
     "only postgres or only rabbitmq (replay, parked)"},
    {"id", OPTION_TEXT, OPTION_FLAG_ONLY, AT(id), NULL, 36, 36, "UUID",
     "only the event with this id (replay, parked, notification)"},
    {"order", OPTION_INTEGER, OPTION_FLAG_ONLY, AT(order), NULL, 1, INT64_MAX, "N",
     "only events of this order (replay, parked)"},
    {"type", OPTION_TEXT, OPTION_FLAG_ONLY, AT(type), NULL, 1, 31, "TYPE",
     "only events of this type (replay, parked)"},
    {"since", OPTION_TEXT, OPTION_FLAG_ONLY, AT(since), NULL, 0, 0, "TIME",
     "only events from this time on, as 2026-01-31T09:05:00Z or 2026-01-31 (replay)"},
    {"until", OPTION_TEXT, OPTION_FLAG_ONLY, AT(until), NULL, 0, 0, "TIME",
     "only events up to this time (replay)"},
    {"from", OPTION_INTEGER, OPTION_FLAG_ONLY, AT(from), NULL, 1, INT64_MAX, "SEQ",
     "send healthy events again from this sequence on (replay)"},
    {"to", OPTION_INTEGER, OPTION_FLAG_ONLY, AT(to), NULL, 1, INT64_MAX, "SEQ",
     "… up to and with this one (replay)"},
    {"queue", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(queue), "false", 0, 0, NULL,
     "the older name of --dead-letters (replay)"},
    {"dead_letters", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(dead_letters), "false", 0, 0, NULL,
     "move what is in order.failed back to order.events (replay)"},
    {"limit", OPTION_INTEGER, OPTION_FLAG_ONLY, AT(limit), NULL, 1, INT64_MAX, "N",
     "at most so many (replay, notification list)"},
    {"rate", OPTION_INTEGER, OPTION_FLAG_ONLY, AT(rate), NULL, 1, 1000000, "N",
     "at most so many events a second (replay)"},
    {"dry_run", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(dry_run), "false", 0, 0, NULL,
     "say what would be sent, send nothing (replay)"},
    {"reason", OPTION_TEXT, OPTION_FLAG_ONLY, AT(reason), NULL, 1, 200, "TEXT",
     "why an event is given up; it is written down (parked discard)"},
    {"repair", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(repair), "false", 0, 0, NULL,
     "send what is missing (reconcile)"},
    {"failed", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(failed), "false", 0, 0, NULL,
     "only what failed (notification list)"},
    OPTION_JSON,
    OPTION_HELP,
    OPTION_VERSION,
};

const struct option_set SETTINGS = {"bridge", OPTIONS, ARRAY_LENGTH(OPTIONS)};

static void load_secrets(struct settings *settings, const struct config_sources *sources,
                         struct buf *problems)
{
    const struct secret_source postgres = {
        "postgres_password_file", settings->postgres_password_file, "postgres-password", 0};
    const struct secret_source broker = {"amqp_password_file", settings->amqp_password_file,
                                         "amqp-password", 0};
    secret_find(&postgres, sources, problems, &settings->postgres_password_path);
    secret_find(&broker, sources, problems, &settings->amqp_password_path);
    secret_check_url("postgres_url", settings->postgres_url, postgres.option, sources, problems);
    secret_check_url("amqp_url", settings->amqp_url, broker.option, sources, problems);
}

enum result settings_load(int argc, char *const argv[], char *const environment[],
                          struct settings *settings, struct config_sources *sources,
                          struct buf *problems)
{
    enum result result =
        config_load(&SETTINGS, argc, argv, environment, settings, sources, problems);
    if (result == RESULT_NO_MEMORY)
        return result;
    if (!settings->bridge_dir && settings->data_dir)
        settings->bridge_dir = strdup(settings->data_dir);
    if (!settings->bridge_dir)
        return RESULT_NO_MEMORY;
    settings->dead_letters |= settings->queue;
    common_options_check_currency(sources, settings->currency, problems);
    load_secrets(settings, sources, problems);
    settings->level = program_log_level(settings->log_level, sources, problems);
    return config_verdict(problems);
}

void settings_warn(const struct settings *settings)
{
    secret_warn_file(settings->postgres_password_file);
    secret_warn_file(settings->amqp_password_file);
    secret_warn_url("postgres_url", settings->postgres_url, "postgres_password_file");
    secret_warn_url("amqp_url", settings->amqp_url, "amqp_password_file");
}

void settings_free(struct settings *settings)
{
    secret_forget(&settings->api_token);
    free(settings->postgres_password_path);
    free(settings->amqp_password_path);
    free(settings->webhook_secret_path);
    free(settings->smtp_password_path);
    config_free_settings(&SETTINGS, settings);
}
