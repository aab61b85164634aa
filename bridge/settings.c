#include "bridge/settings.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct settings, member)

enum { PASSWORD_MAX = 512 };

static const struct option OPTIONS[] = {
    {"config", OPTION_TEXT, OPTION_NOT_IN_FILE, AT(config), "/etc/tillbox/bridge.conf", 0, 0,
     "FILE", "settings file; only a file named here has to exist"},
    {"data_dir", OPTION_TEXT, OPTION_EVERYWHERE, AT(data_dir), "/var/lib/tillbox", 1, 1000, "DIR",
     "folder of the journal"},
    {"bridge_dir", OPTION_TEXT, OPTION_EVERYWHERE, AT(bridge_dir), NULL, 1, 1000, "DIR",
     "folder of bridge.db, if not the journal's: then the bridge needs no right to write there"},
    {"postgres_url", OPTION_TEXT, OPTION_EVERYWHERE, AT(postgres_url), NULL, 0, 0, "URL",
     "head office's database, postgresql://…; without it the sink is off"},
    {"postgres_password_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(postgres_password_file), NULL, 0,
     0, "FILE", "file with the database's password, in place of the URL's"},
    {"amqp_url", OPTION_TEXT, OPTION_EVERYWHERE, AT(amqp_url), NULL, 0, 0, "URL",
     "head office's broker, amqp:// or amqps://; without it the sink is off"},
    {"amqp_password_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(amqp_password_file), NULL, 0, 0,
     "FILE", "file with the broker's password, in place of the URL's"},
    {"amqp_ca_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(amqp_ca_file), NULL, 0, 0, "FILE",
     "certificate authority that the broker's certificate must come from (amqps)"},
    {"status_listen", OPTION_LISTEN, OPTION_EVERYWHERE, AT(status_listen), "127.0.0.1:8083", 0, 0,
     "HOST:PORT", "address of /status, /healthz and /metrics"},
    {"allowed_hosts", OPTION_LIST, OPTION_EVERYWHERE, AT(allowed_hosts), NULL, 0, 0, "HOST,…",
     "further names under which the status may be asked for, without ports"},
    {"log_level", OPTION_TEXT, OPTION_EVERYWHERE, AT(log_level), "info", 0, 0, "LEVEL",
     "debug, info, warn or error"},
    {"sink", OPTION_TEXT, OPTION_FLAG_ONLY, AT(sink), NULL, 0, 0, "SINK",
     "only postgres or only rabbitmq (replay, parked)"},
    {"id", OPTION_TEXT, OPTION_FLAG_ONLY, AT(id), NULL, 36, 36, "UUID",
     "only the event with this id (replay, parked)"},
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
     "move what is in order.failed back to order.events (replay)"},
    {"limit", OPTION_INTEGER, OPTION_FLAG_ONLY, AT(limit), NULL, 1, INT64_MAX, "N",
     "at most so many events (replay)"},
    {"rate", OPTION_INTEGER, OPTION_FLAG_ONLY, AT(rate), NULL, 1, 1000000, "N",
     "at most so many events a second (replay)"},
    {"dry_run", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(dry_run), "false", 0, 0, NULL,
     "say what would be sent, send nothing (replay)"},
    {"reason", OPTION_TEXT, OPTION_FLAG_ONLY, AT(reason), NULL, 1, 200, "TEXT",
     "why an event is given up; it is written down (parked discard)"},
    {"repair", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(repair), "false", 0, 0, NULL,
     "send what is missing (reconcile)"},
    {"json", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(json), "false", 0, 0, NULL,
     "answer in JSON (status, parked, replay, reconcile)"},
    {"help", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(help), "false", 0, 0, NULL, "print this"},
    {"version", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(version), "false", 0, 0, NULL,
     "print the version"},
};

const struct option_set SETTINGS = {"bridge", OPTIONS, ARRAY_LENGTH(OPTIONS)};

static void load_password(const struct config_sources *sources, const char *option,
                          const char *path, char **password, struct buf *problems)
{
    struct error error = {0};
    bool exposed = false;
    if (path &&
        config_read_secret_file(path, PASSWORD_MAX, &error, password, &exposed) != RESULT_OK)
        config_add_problem(sources, option, problems, "%s", error.text);
}

static void forget_password(char **password)
{
    if (*password)
        explicit_bzero(*password, strlen(*password));
    free(*password);
    *password = NULL;
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
    load_password(sources, "postgres_password_file", settings->postgres_password_file,
                  &settings->postgres_password, problems);
    load_password(sources, "amqp_password_file", settings->amqp_password_file,
                  &settings->amqp_password, problems);
    settings->level = LOG_INFO;
    if (settings->log_level && log_level_parse(settings->log_level, &settings->level) != RESULT_OK)
        config_add_problem(sources, "log_level", problems,
                           "\"%s\" is none of debug, info, warn, error", settings->log_level);
    return config_verdict(problems);
}

void settings_free(struct settings *settings)
{
    forget_password(&settings->postgres_password);
    forget_password(&settings->amqp_password);
    config_free_settings(&SETTINGS, settings);
}
