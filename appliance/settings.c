#include "appliance/settings.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/config/access.h"
#include "core/config/common_options.h"
#include "core/config/program.h"
#include "core/config/secret.h"
#include "core/http/http_client.h"

static const struct option OPTIONS[] = {
    OPTION_CONFIG("/etc/tillbox/appliance.conf"),
    OPTION_DATA_DIR,
    OPTION_BRIDGE_DIR,
    {"device_id", OPTION_TEXT, OPTION_EVERYWHERE, AT(device_id), NULL, 1, 64, "NAME",
     "who this box is to head office; fixed once the journal exists (default: box- and random "
     "digits)"},
    {"location", OPTION_TEXT, OPTION_EVERYWHERE, AT(location), NULL, 1, 64, "NAME",
     "the shop this box stands in (default: the device_id)"},
    {"orders_listen", OPTION_LISTEN, OPTION_EVERYWHERE, AT(orders_listen), "127.0.0.1:8081", 0, 0,
     "HOST:PORT", "address of the order service"},
    OPTION_INVENTORY_LISTEN,
    {"inventory_url", OPTION_TEXT, OPTION_EVERYWHERE, AT(inventory_url), NULL, 0, 0, "URL",
     "inventory service to ask before a sale, as http://inventory:8082/locations/shop-1; without "
     "it "
     "the box's own stock decides"},
    {"inventory_timeout_ms", OPTION_INTEGER, OPTION_EVERYWHERE, AT(inventory_timeout_ms), "800", 50,
     4000, "MS", "what that may cost a sale, all tries together; then it is sold from own stock"},
    {"inventory_breaker_threshold", OPTION_INTEGER, OPTION_EVERYWHERE,
     AT(inventory_breaker_threshold), "3", 1, 1000, "N",
     "after so many sales in a row that got no answer, it isn't asked for a while"},
    {"inventory_breaker_reset_ms", OPTION_INTEGER, OPTION_EVERYWHERE,
     AT(inventory_breaker_reset_ms), "5000", 100, 3600000, "MS",
     "… of this length; then one sale tries it"},
    {"inventory_token_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(inventory_token_file), NULL, 0, 0,
     "FILE", "file with the bearer token for it"},
    {"inventory_ca_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(inventory_ca_file), NULL, 0, 0, "FILE",
     "certificate authority that its certificate must come from; else one the system trusts"},
    OPTION_API_TOKEN_FILE,
    OPTION_ALLOW_ANONYMOUS,
    OPTION_ALLOWED_HOSTS,
    {"idempotency_hours", OPTION_INTEGER, OPTION_EVERYWHERE, AT(idempotency_hours), "72", 1, 8760,
     "N", "how long an Idempotency-Key is remembered, at least"},
    {"retention_days", OPTION_INTEGER, OPTION_EVERYWHERE, AT(retention_days), "90", 0, 36500, "N",
     "events that head office has are removed from the journal after so many days; 0: never"},
    {"disk_reserve_mb", OPTION_INTEGER, OPTION_EVERYWHERE, AT(disk_reserve_mb), "64", 0, 65536,
     "MB", "disk space kept back for sales; at most 1/16 of the volume"},
    {"shop_name", OPTION_TEXT, OPTION_EVERYWHERE, AT(shop_name), NULL, 1, 100, "TEXT",
     "the shop's name on the till page and on receipts (default: the location)"},
    OPTION_CURRENCY,
    {"locale", OPTION_TEXT, OPTION_EVERYWHERE, AT(locale), NULL, 2, 35, "TAG",
     "language and formats of the till page, such as de-AT (default: the browser's)"},
    {"low_stock", OPTION_INTEGER, OPTION_EVERYWHERE, AT(low_stock), "5", 0, 1000000000, "N",
     "the till page marks products of which so many or fewer are left"},
    OPTION_LOG_LEVEL,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_VERSION,
};

const struct option_set SETTINGS = {"appliance", OPTIONS, ARRAY_LENGTH(OPTIONS)};

/* Device and location travel in every event and name queues and rows: keep them plain. */
static bool settings_is_plain_name(const char *text)
{
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("-_.", *text))
            return false;
    return true;
}

static void check_name(const struct config_sources *sources, const char *option, const char *value,
                       struct buf *problems)
{
    if (value && !settings_is_plain_name(value))
        config_add_problem(sources, option, problems,
                           "only letters, digits, \"-\", \"_\" and \".\" are allowed");
}

/* As BCP 47 has it: subtags of 1 to 8 letters and digits, the first of 2 or 3 letters. */
static bool is_language_tag(const char *tag)
{
    size_t length = 0;
    for (const char *c = tag; *c; c++) {
        length = *c == '-' ? 0 : length + 1;
        if (!isalnum((unsigned char)*c) && *c != '-')
            return false;
        if (length > 8 || (*c == '-' && (c[1] == '-' || c[1] == '\0')))
            return false;
    }
    size_t language = strcspn(tag, "-");
    return language >= 2 && language <= 3 && strcspn(tag, "0123456789") >= language;
}

static void check_locale(const struct config_sources *sources, const char *locale,
                         struct buf *problems)
{
    if (locale && !is_language_tag(locale))
        config_add_problem(sources, "locale", problems, "\"%s\" is no language tag such as de-AT",
                           locale);
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
    check_name(sources, "device_id", settings->device_id, problems);
    check_name(sources, "location", settings->location, problems);
    common_options_check_currency(sources, settings->currency, problems);
    check_locale(sources, settings->locale, problems);
    settings->level = program_log_level(settings->log_level, sources, problems);
    return config_verdict(problems);
}

void settings_free(struct settings *settings)
{
    secret_forget(&settings->api_token);
    secret_forget(&settings->inventory_token);
    config_free_settings(&SETTINGS, settings);
}

static void load_inventory_token(struct settings *settings, const struct config_sources *sources,
                                 struct buf *problems)
{
    const struct secret_source source = {"inventory_token_file", settings->inventory_token_file,
                                         "inventory-token", 0};
    secret_load(&source, sources, problems, &settings->inventory_token);
    secret_warn_file(settings->inventory_token_file);
}

static void check_inventory(struct settings *settings, const struct config_sources *sources,
                            struct buf *problems)
{
    struct error error = {0};
    char *url = settings->inventory_url;
    if (!url)
        return;
    if (http_client_check_url(url, false, &error) != RESULT_OK)
        config_add_problem(sources, "inventory_url", problems, "%s", error.text);
    for (size_t length = strlen(url); length > 0 && url[length - 1] == '/'; length--)
        url[length - 1] = '\0';
    if (settings->inventory_ca_file && access(settings->inventory_ca_file, R_OK) != 0)
        config_add_problem(sources, "inventory_ca_file", problems, "can't be read");
}

enum result settings_check_serving(struct settings *settings, const struct config_sources *sources,
                                   struct buf *problems)
{
    access_load_token(sources, settings->api_token_file, problems, &settings->api_token);
    bool has_token = settings->api_token_file || settings->api_token;
    load_inventory_token(settings, sources, problems);
    check_inventory(settings, sources, problems);
    access_check_reach(sources, "orders_listen", &settings->orders_listen, has_token,
                       settings->allow_anonymous, problems);
    access_check_reach(sources, "inventory_listen", &settings->inventory_listen, has_token,
                       settings->allow_anonymous, problems);
    return config_verdict(problems);
}
