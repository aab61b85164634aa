/* Who may reach a program's API: the settings api_token_file and allow_anonymous. */
#ifndef TILLBOX_CORE_ACCESS_H
#define TILLBOX_CORE_ACCESS_H

#include "core/config/config.h"

enum { ACCESS_TOKEN_MIN = 16 };

/* Reads the token of the option api_token_file, or without `path` of the credential api-token, if
 * there is one. Ends with secret_forget(). What is wrong is added to the problems. */
void access_load_token(const struct config_sources *sources, const char *path, struct buf *problems,
                       char **ret_token);

/* Adds a problem if anyone could reach `address`, which the option `name` gave, without a token,
 * and that isn't said to be meant. */
void access_check_reach(const struct config_sources *sources, const char *name,
                        const struct listen_address *address, bool has_token, bool allow_anonymous,
                        struct buf *problems);

#endif
