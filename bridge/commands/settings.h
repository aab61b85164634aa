/* The bridge's settings: one table gives file key, flag, variable, default and help. */
#ifndef TILLBOX_BRIDGE_SETTINGS_H
#define TILLBOX_BRIDGE_SETTINGS_H

#include "core/config/config.h"
#include "core/log.h"

struct settings {
    char *config;
    char *data_dir;
    char *bridge_dir;
    char *postgres_url;
    char *postgres_password_file;
    char *amqp_url;
    char *amqp_password_file;
    char *amqp_ca_file;
    char *amqp_user_prefix;
    struct listen_address status_listen;
    struct listen_address inventory_listen;
    char *api_token_file;
    bool allow_anonymous;
    struct string_list allowed_hosts;
    struct string_list notification_channels;
    int64_t notification_timeout_ms;
    int64_t notification_retry_ms;
    char *templates_dir;
    char *currency;
    int64_t currency_digits;
    char *webhook_url;
    char *webhook_secret_file;
    char *webhook_ca_file;
    char *smtp_url;
    bool smtp_allow_plain;
    char *smtp_user;
    char *smtp_password_file;
    char *smtp_ca_file;
    char *mail_from;
    char *mail_default_to;
    char *log_level;

    /* Of single commands: */
    char *sink;
    char *id;
    int64_t order;
    char *type;
    char *since;
    char *until;
    int64_t from;
    int64_t to;
    int64_t limit;
    int64_t rate;
    char *reason;
    bool queue; /* as dead_letters */
    bool dead_letters;
    bool dry_run;
    bool repair;
    bool failed;
    bool json;
    bool help;
    bool version;

    /* Derived: */
    char *postgres_password_path; /* the file with the password; NULL: the URL's, if any */
    char *amqp_password_path;     /* the same */
    char *webhook_secret_path;    /* of notifications, and … */
    char *smtp_password_path;     /* … NULL where there is none */
    char *api_token;              /* of the services that check it; NULL: none is asked for */
    enum log_level level;
};

extern const struct option_set SETTINGS;

/* Reads flags, variables, file and secrets. As config_load(). */
MUST_CHECK enum result settings_load(int argc, char *const argv[], char *const environment[],
                                     struct settings *settings, struct config_sources *sources,
                                     struct buf *problems);
/* Logs what a person should change, though it works. */
void settings_warn(const struct settings *settings);

void settings_free(struct settings *settings);

#endif
