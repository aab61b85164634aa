/* What the parts of core/config share. Only core/config*.c includes this. */
#ifndef TILLBOX_CORE_CONFIG_INTERNAL_H
#define TILLBOX_CORE_CONFIG_INTERNAL_H

#include <sys/types.h>

#include "core/config/config.h"

enum { CONFIG_LABEL_SIZE = CONFIG_NAME_MAX + 16 };

/* An option's name as its flag ("--data-dir") or its variable ("TILLBOX_DATA_DIR"). */
struct config_label {
    char text[CONFIG_LABEL_SIZE];
};
struct config_label config_flag_label(const struct option *option);
struct config_label config_variable_label(const struct option *option);

/* Foreign text made fit for a message: cut after 60 bytes, control characters and malformed UTF-8
 * replaced by "?". */
struct config_excerpt {
    char text[64];
};
struct config_excerpt config_excerpt(const char *text);

/* The option's member of the settings struct. */
void *config_member(const struct option *option, void *settings);

/* Puts the value of `text` into the option's member of `settings` and releases the former one,
 * which stays on failure. RESULT_INVALID with its cause, RESULT_NO_MEMORY. */
MUST_CHECK enum result config_assign_value(const struct option *option, const char *text,
                                           void *settings, struct error *error);

/* Releases the option's member of `settings` and makes it "none". */
void config_clear_value(const struct option *option, void *settings);

struct config_loading {
    const struct option_set *set;
    void *settings;
    struct config_sources *sources;
    struct buf *problems;
    const char *flags[CONFIG_OPTIONS_MAX]; /* the value each flag was given, NULL if it wasn't */
};

/* Assigns, remembers the origin, turns a bad value into a problem. RESULT_OK, RESULT_NO_MEMORY. */
MUST_CHECK enum result config_apply(struct config_loading *loading, size_t index,
                                    enum config_origin origin, const char *text);

/* Where the option is in the set; set->count if it isn't. */
size_t config_index_of(const struct option_set *set, const char *name);

/* The option whose name is the nearest to a mistyped one, NULL if none is near. Upper case and
 * "-" for "_" don't count as differences. */
const struct option *config_nearest_option(const struct option_set *set, const char *typed,
                                           enum option_scope widest);

/* Sorts `argv` into `loading->flags` and the operands; what is neither becomes a problem. */
void config_take_arguments(struct config_loading *loading, int argc, char *const argv[]);

/* Applies every key of the file. RESULT_OK even if it had problems, RESULT_NO_MEMORY. */
MUST_CHECK enum result config_apply_file(struct config_loading *loading, const char *path,
                                         bool may_be_absent);

/* Reads a file's first `capacity` bytes. RESULT_NOT_FOUND, RESULT_DENIED, RESULT_IO. */
MUST_CHECK enum result config_read_bytes(const char *path, size_t capacity, struct error *error,
                                         char *ret_bytes, size_t *ret_size, mode_t *ret_mode);

#endif
