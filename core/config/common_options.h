/* The options that both programs have, in the same words and with the same defaults. For the tables
 * of settings.c alone: each row names the member of the program's own `struct settings`. */
#ifndef TILLBOX_CORE_COMMON_OPTIONS_H
#define TILLBOX_CORE_COMMON_OPTIONS_H

#include <stddef.h>

#include "core/config/config.h"

#define AT(member) offsetof(struct settings, member)

/* clang-format off */
#define OPTION_CONFIG(file) \
    {"config", OPTION_TEXT, OPTION_NOT_IN_FILE, AT(config), file, 0, 0, "FILE", \
     "settings file; only a file named here has to exist"}
#define OPTION_DATA_DIR \
    {"data_dir", OPTION_TEXT, OPTION_EVERYWHERE, AT(data_dir), "/var/lib/tillbox", 1, 1000, "DIR", \
     "folder of the journal, on a local disk"}
#define OPTION_BRIDGE_DIR \
    {"bridge_dir", OPTION_TEXT, OPTION_EVERYWHERE, AT(bridge_dir), NULL, 1, 1000, "DIR", \
     "folder of the bridge's files, where it has one of its own (default: data_dir)"}
#define OPTION_INVENTORY_LISTEN \
    {"inventory_listen", OPTION_LISTEN, OPTION_EVERYWHERE, AT(inventory_listen), "127.0.0.1:8082", \
     0, 0, "HOST:PORT", "address of the inventory service"}
#define OPTION_API_TOKEN_FILE \
    {"api_token_file", OPTION_TEXT, OPTION_EVERYWHERE, AT(api_token_file), NULL, 0, 0, "FILE", \
     "file with the bearer token that clients must send; needed on any address but loopback " \
     "(default: the credential api-token)"}
#define OPTION_ALLOW_ANONYMOUS \
    {"allow_anonymous", OPTION_SWITCH, OPTION_EVERYWHERE, AT(allow_anonymous), "false", 0, 0, NULL, \
     "serve on any address without a token; only where something else keeps strangers out"}
#define OPTION_ALLOWED_HOSTS \
    {"allowed_hosts", OPTION_LIST, OPTION_EVERYWHERE, AT(allowed_hosts), NULL, 0, 0, "HOST,…", \
     "further names under which clients may reach it, without ports"}
#define OPTION_CURRENCY \
    {"currency", OPTION_TEXT, OPTION_EVERYWHERE, AT(currency), "EUR", 3, 3, "CODE", \
     "the shop's currency: three letters of ISO 4217"}
#define OPTION_LOG_LEVEL \
    {"log_level", OPTION_TEXT, OPTION_EVERYWHERE, AT(log_level), "info", 0, 0, "LEVEL", \
     "debug, info, warn or error"}
#define OPTION_JSON \
    {"json", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(json), "false", 0, 0, NULL, "answer in JSON"}
#define OPTION_HELP \
    {"help", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(help), "false", 0, 0, NULL, "print this"}
#define OPTION_VERSION \
    {"version", OPTION_SWITCH, OPTION_FLAG_ONLY, AT(version), "false", 0, 0, NULL, \
     "print the version"}
/* clang-format on */

/* Adds a problem unless the code is one of ISO 4217's form. NULL is fine. */
void common_options_check_currency(const struct config_sources *sources, const char *currency,
                                   struct buf *problems);

#endif
