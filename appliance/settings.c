#include "appliance/settings.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/access.h"

#define AT(member) offsetof(struct settings, member)

static const struct option OPTIONS[] = {
    {"config", OPTION_TEXT, OPTION_NOT_IN_FILE, AT(config), "/etc/tillbox/appliance.conf", 0, 0,
     "FILE", "settings file; only a file named here has to exist"},
    {"data_dir", OPTION_TEXT, OPTION_EVERYWHERE, AT(data_dir), "/var/lib/tillbox", 1, 1000, "DIR",
     "folder of the journal, on a local disk"},
    {"device_id", OPTION_TEXT, OPTION_EVERYWHERE, AT(device_id), NULL, 1, 64, "NAME",
     "who this box is to head office; fixed once the journal exists (default: box- and random "
     "digits)"},
    {"location", OPTION_TEXT, OPTION_EVERYWHERE, AT(location), NULL, 1, 64, "NAME",
     "the shop this box stands in (default: the device_id)"},
    {"orders_listen", OPTION_LISTEN, OPTION_EVERYWHERE, AT(orders_listen), "127.0.0.1:8081", 0, 0,
     "HOST:PORT", "address of the order service"},
    {"inventory_listen", OPTION_LISTEN, OPTION_EVERYWHERE, AT(inventory_listen), "127.0.0.1:8082",
     0, 0, "HOST:PORT", "address of the inventory service"},
    {"api_token_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(api_token_file), NULL, 0, 0, "FILE",
     "file with the bearer token that clients must send; needed on any address but loopback"},
    {"allow_anonymous", OPTION_SWITCH, OPTION_EVERYWHERE, AT(allow_anonymous), "false", 0, 0, NULL,
     "serve on any address without a token; only where something else keeps strangers out"},
    {"allowed_hosts", OPTION_LIST, OPTION_EVERYWHERE, AT(allowed_hosts), NULL, 0, 0, "HOST,…",
     "further names under which clients may reach the box, without ports"},
    {"idempotency_hours", OPTION_INTEGER, OPTION_EVERYWHERE, AT(idempotency_hours), "72", 1, 8760,
     "N", "how long an Idempotency-Key is remembered, at least"},
    {"retention_days", OPTION_INTEGER, OPTION_EVERYWHERE, AT(retention_days), "90", 0, 36500, "N",
     "events that head office has are removed from the journal after so many days; 0: never"},
    {"disk_reserve_mb", OPTION_INTEGER, OPTION_EVERYWHERE, AT(disk_reserve_mb), "64", 0, 65536,
     "MB", "disk space kept back for sales; at most 1/16 of the volume"},
    {"log_level", OPTION_TEXT, OPTION_EVERYWHERE, AT(log_level), "info", 0, 0, "LEVEL",
     "debug, info, warn or error"},
    {"json", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(json), "false", 0, 0, NULL,
     "answer in JSON (check, verify)"},
    {"help", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(help), "false", 0, 0, NULL, "print this"},
    {"version", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(version), "false", 0, 0, NULL,
     "print the version"},
};

const struct option_set SETTINGS = {"appliance", OPTIONS, ARRAY_LENGTH(OPTIONS)};

/* Device and location travel in every event and name queues and rows: keep them plain. */
static bool is_plain_name(const char *text)
{
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("-_.", *text))
            return false;
    return true;
}

static void check_name(const struct config_sources *sources, const char *option, const char *value,
                       struct buf *problems)
{
    if (value && !is_plain_name(value))
        config_add_problem(sources, option, problems,
                           "only letters, digits, \"-\", \"_\" and \".\" are allowed");
}

enum result settings_load(int argc, char *const argv[], char *const environment[],
                          struct settings *settings, struct config_sources *sources,
                          struct buf *problems)
{
    enum result result =
        config_load(&SETTINGS, argc, argv, environment, settings, sources, problems);
    if (result == RESULT_NO_MEMORY)
        return result;
    check_name(sources, "device_id", settings->device_id, problems);
    check_name(sources, "location", settings->location, problems);
    settings->level = LOG_INFO;
    if (settings->log_level && log_level_parse(settings->log_level, &settings->level) != RESULT_OK)
        config_add_problem(sources, "log_level", problems,
                           "\"%s\" is none of debug, info, warn, error", settings->log_level);
    return config_verdict(problems);
}

void settings_free(struct settings *settings)
{
    if (settings->api_token)
        explicit_bzero(settings->api_token, strlen(settings->api_token));
    free(settings->api_token);
    settings->api_token = NULL;
    config_free_settings(&SETTINGS, settings);
}

enum result settings_check_serving(struct settings *settings, const struct config_sources *sources,
                                   struct buf *problems)
{
    bool has_token = settings->api_token_file != NULL;
    access_load_token(sources, settings->api_token_file, problems, &settings->api_token);
    access_check_reach(sources, "orders_listen", &settings->orders_listen, has_token,
                       settings->allow_anonymous, problems);
    access_check_reach(sources, "inventory_listen", &settings->inventory_listen, has_token,
                       settings->allow_anonymous, problems);
    return config_verdict(problems);
}
