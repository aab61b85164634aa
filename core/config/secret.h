/* Passwords and tokens: where they come from, and where they must not go.
 *
 * They come from a file that a setting names, or from one of the credentials that the service
 * manager hands the service (systemd.exec(5), LoadCredential=tillbox:FOLDER, which names the file
 * NAME in it tillbox_NAME). They are not printed, and from the moment there is one the process's
 * memory is neither dumped nor read by others of its user. */
#ifndef TILLBOX_CORE_SECRET_H
#define TILLBOX_CORE_SECRET_H

#include <stddef.h>

#include "core/config/config.h"

enum { SECRET_MAX = 512 };

/* A place that a secret may come from. */
struct secret_source {
    const char *option;     /* the setting's name, for messages */
    const char *path;       /* the setting's value; NULL: none */
    const char *credential; /* the credential to look for without it; NULL: none */
    size_t length_min;      /* of secret_find(): fewer characters are a problem */
};

/* Reads the secret into `*ret_secret`, which stays as it is if there is none; the caller releases
 * it with secret_forget(). What is wrong goes to `problems`. */
void secret_load(const struct secret_source *source, const struct config_sources *sources,
                 struct buf *problems, char **ret_secret);

/* For a secret that is read again for each use, so that a new one counts without a restart: finds
 * its file, `*ret_path`, which the caller frees and which stays as it is if there is none. What is
 * wrong with the secret now goes to `problems`. */
void secret_find(const struct secret_source *source, const struct config_sources *sources,
                 struct buf *problems, char **ret_path);

/* The secret as the file has it now, to be released with secret_forget(). Errors are those of
 * config_read_secret_file(). */
MUST_CHECK enum result secret_read(const char *path, struct error *error, char **ret_secret);

/* Wipes and frees it, and makes it NULL. */
void secret_forget(char **secret);

/* Does the authority of this URL hold a password, "scheme://user:password@…"? */
bool secret_is_in_url(const char *url);

/* For a setting that is a URL: a password in it is a problem on the command line, where every user
 * can read it. `instead` names the option to use. */
void secret_check_url(const char *option, const char *url, const char *instead,
                      const struct config_sources *sources, struct buf *problems);

/* What is no mistake, but worth a line in the log of a program that runs for long: a file that
 * group or others may read, unless it is a credential, and a password in a URL. */
void secret_warn_file(const char *path);
void secret_warn_url(const char *option, const char *url, const char *instead);

#endif
