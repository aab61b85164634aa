/* The bridge's settings: one table gives file key, flag, variable, default and help. */
#ifndef TILLBOX_BRIDGE_SETTINGS_H
#define TILLBOX_BRIDGE_SETTINGS_H

#include "core/config.h"
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
    struct listen_address status_listen;
    struct string_list allowed_hosts;
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
    bool queue;
    bool dry_run;
    bool repair;
    bool json;
    bool help;
    bool version;

    /* Derived: */
    char *postgres_password; /* NULL: the URL's */
    char *amqp_password;     /* the same */
    enum log_level level;
};

extern const struct option_set SETTINGS;

/* Reads flags, variables, file and secrets. As config_load(). */
MUST_CHECK enum result settings_load(int argc, char *const argv[], char *const environment[],
                                     struct settings *settings, struct config_sources *sources,
                                     struct buf *problems);
void settings_free(struct settings *settings);

#endif
