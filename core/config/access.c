#include "core/config/access.h"

#include <string.h>

#include "core/config/secret.h"
#include "core/log.h"

void access_load_token(const struct config_sources *sources, const char *path, struct buf *problems,
                       char **ret_token)
{
    const struct secret_source source = {"api_token_file", path, "api-token", 0};
    secret_load(&source, sources, problems, ret_token);
    secret_warn_file(path);
    if (*ret_token && strlen(*ret_token) < ACCESS_TOKEN_MIN)
        config_add_problem(sources, "api_token_file", problems,
                           "the token has fewer than %d characters", ACCESS_TOKEN_MIN);
}

void access_check_reach(const struct config_sources *sources, const char *name,
                        const struct listen_address *address, bool has_token, bool allow_anonymous,
                        struct buf *problems)
{
    if (listen_address_is_loopback(address) || has_token)
        return;
    if (!allow_anonymous)
        config_add_problem(sources, name, problems,
                           "%s is not a loopback address, so api_token_file must be set (or "
                           "allow_anonymous, if something else keeps strangers out)",
                           address->host);
    else
        LOG(LOG_WARN, "settings.anonymous", LOG_TEXT("option", name),
            LOG_TEXT("detail", "anyone who reaches this address can change what it serves"));
}
