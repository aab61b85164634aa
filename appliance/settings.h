/* The appliance's settings: one table gives file key, flag, variable, default and help. */
#ifndef TILLBOX_APPLIANCE_SETTINGS_H
#define TILLBOX_APPLIANCE_SETTINGS_H

#include "core/config/config.h"
#include "core/log.h"

struct settings {
    char *config;
    char *data_dir;
    char *bridge_dir;
    char *device_id;
    char *location;
    struct listen_address orders_listen;
    struct listen_address inventory_listen;
    char *inventory_url;
    int64_t inventory_timeout_ms;
    int64_t inventory_breaker_threshold;
    int64_t inventory_breaker_reset_ms;
    char *inventory_token_file;
    char *inventory_ca_file;
    char *api_token_file;
    bool allow_anonymous;
    struct string_list allowed_hosts;
    int64_t idempotency_hours;
    int64_t retention_days;
    int64_t disk_reserve_mb;
    char *shop_name; /* NULL: the location's name serves */
    char *currency;  /* three upper-case letters */
    char *locale;    /* a language tag; NULL: the browser's */
    int64_t low_stock;
    char *log_level;
    bool json;
    bool help;
    bool version;

    /* Derived: */
    char *api_token;       /* NULL: none is asked for */
    char *inventory_token; /* NULL: none is sent */
    enum log_level level;
};

/* The table, for --help and for tests. */
extern const struct option_set SETTINGS;

/* Reads flags, variables and file, and checks what only the program can. As config_load(). */
MUST_CHECK enum result settings_load(int argc, char *const argv[], char *const environment[],
                                     struct settings *settings, struct config_sources *sources,
                                     struct buf *problems);
void settings_free(struct settings *settings);

/* The checks that only a serving appliance must pass: who may reach it, and with what token. */
MUST_CHECK enum result settings_check_serving(struct settings *settings,
                                              const struct config_sources *sources,
                                              struct buf *problems);

#endif
