#include "core/config/secret.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"

enum { PATH_SIZE = 4096 };

/* The kernel writes no core file and lets no process of the same user look in; root's tools, which
 * may look in, leave out what is no code (core(5), coredump_filter). */
static void guard_memory(void)
{
    /* First, since /proc/self belongs to root once the process isn't dumpable (proc(5)). */
    int filter = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
    if (filter >= 0) {
        (void)!write(filter, "0x10", 4); /* headers of mapped files, and nothing of their data */
        close(filter);
    }
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* The credential's path; NULL if the service wasn't given it. */
static const char *find_credential(const char *name, char path[static PATH_SIZE])
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (!folder || !name)
        return NULL;
    snprintf(path, PATH_SIZE, "%s/tillbox_%s", folder, name);
    return access(path, F_OK) == 0 ? path : NULL;
}

enum result secret_read(const char *path, struct error *error, char **ret_secret)
{
    bool exposed = false;
    guard_memory();
    return config_read_secret_file(path, SECRET_MAX, error, ret_secret, &exposed);
}

/* The path of the file that was read; NULL: there is none. */
static const char *secret_own_load(const struct secret_source *source,
                                   const struct config_sources *sources, struct buf *problems,
                                   char found[static PATH_SIZE], char **ret_secret)
{
    struct error error = {0};
    const char *path = source->path ? source->path : find_credential(source->credential, found);
    if (path && secret_read(path, &error, ret_secret) != RESULT_OK)
        config_add_problem(sources, source->option, problems, "%s", error.text);
    return path;
}

void secret_load(const struct secret_source *source, const struct config_sources *sources,
                 struct buf *problems, char **ret_secret)
{
    char found[PATH_SIZE];
    (void)secret_own_load(source, sources, problems, found, ret_secret);
}

void secret_find(const struct secret_source *source, const struct config_sources *sources,
                 struct buf *problems, char **ret_path)
{
    char found[PATH_SIZE];
    CLEANUP(secret_forget) char *secret = NULL;
    const char *path = secret_own_load(source, sources, problems, found, &secret);
    if (secret && strlen(secret) < source->length_min)
        config_add_problem(sources, source->option, problems,
                           "the secret has fewer than %zu characters", source->length_min);
    if (path && !(*ret_path = strdup(path)))
        config_add_problem(sources, source->option, problems, "out of memory");
}

void secret_forget(char **secret)
{
    if (*secret)
        explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

bool secret_is_in_url(const char *url)
{
    const char *authority = strstr(url, "://");
    if (!authority)
        return strstr(url, "password") != NULL; /* libpq's "host=… password=…" */
    authority += 3;
    size_t length = strcspn(authority, "/?");
    const char *colon = memchr(authority, ':', length);
    const char *at = memchr(authority, '@', length);
    if (strstr(authority + length, "password="))
        return true;
    if (at)
        return colon && colon + 1 < at;
    /* No port: a password that has a "/" which isn't percent-encoded. */
    const char *last = memrchr(authority, ':', length);
    return last && *authority != '[' &&
           strspn(last + 1, "0123456789") < (size_t)(authority + length - last - 1);
}

void secret_check_url(const char *option, const char *url, const char *instead,
                      const struct config_sources *sources, struct buf *problems)
{
    if (!url || !secret_is_in_url(url))
        return;
    guard_memory();
    if (config_origin(sources, option) == CONFIG_FLAG)
        config_add_problem(sources, option, problems,
                           "every user of this machine can read a password on the command line; "
                           "use %s",
                           instead);
}

/* The service manager opens them to the service alone, by ways that look like a group's right. */
static bool is_credential(const char *path)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

void secret_warn_file(const char *path)
{
    struct stat status;
    if (path && !is_credential(path) && stat(path, &status) == 0 &&
        (status.st_mode & (S_IRGRP | S_IROTH)) != 0)
        LOG(LOG_WARN, "settings.exposed", LOG_TEXT("file", path),
            LOG_TEXT("detail", "group or others may read this secret"));
}

void secret_warn_url(const char *option, const char *url, const char *instead)
{
    if (url && secret_is_in_url(url))
        LOG(LOG_WARN, "settings.exposed", LOG_TEXT("option", option), LOG_TEXT("instead", instead),
            LOG_TEXT("detail", "a password is part of this URL; keep it in a file"));
}
