/* The settings of a program, from one table.
 *
 * Each option of the table can be given three ways; the first that is there wins:
 *
 *   flag       --data-dir DIR, --data-dir=DIR, --allow-anonymous (a switch needs no value)
 *   variable   TILLBOX_DATA_DIR=DIR; an empty variable counts as not set
 *   file       data_dir = DIR, in the file that the option "config" names
 *   default    the table's
 *
 * An empty value in a flag or the file means "none"; only an option without a default takes it.
 * A repeated flag: the last one wins. A repeated key in the file is a problem.
 *
 * The file: one `key = value` (or `key: value`) a line, no sections, no continuation lines, no
 * quoting. Space around key and value is dropped. A comment has a line of its own that starts with
 * # or ;, so both are plain characters inside a value, as in a URL's password. */
#ifndef TILLBOX_CORE_CONFIG_H
#define TILLBOX_CORE_CONFIG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/buf.h"
#include "core/result.h"

enum {
    CONFIG_OPTIONS_MAX = 64,
    CONFIG_OPERANDS_MAX = 16,
    CONFIG_NAME_MAX = 40,            /* characters of an option's name */
    CONFIG_VALUE_MAX = 1024,         /* bytes */
    CONFIG_LIST_MAX = 64,            /* items */
    CONFIG_FILE_MAX = 64 * 1024,     /* bytes */
    CONFIG_PROBLEMS_MAX = 32 * 1024, /* bytes; a sensible limit for the problems' buffer */
};

struct string_list {
    char **items; /* owned, one block together with the texts */
    size_t count;
};

/* A literal IPv4 or IPv6 address (without brackets) or "localhost"; "" if none was given. Port 0
 * asks the kernel for a free one. */
struct listen_address {
    char host[64];
    uint16_t port;
};

/* what the settings' member is */
enum option_kind {
    OPTION_TEXT,    /* char *, owned by the settings, valid UTF-8; NULL if none, never "" */
    OPTION_INTEGER, /* int64_t, decimal; 0 if none */
    OPTION_SWITCH,  /* bool; true, yes, on, 1 or false, no, off, 0 */
    OPTION_LIST,    /* struct string_list, separated by commas, items never empty */
    OPTION_LISTEN,  /* struct listen_address, HOST:PORT or [IPv6]:PORT */
};

enum option_scope { OPTION_EVERYWHERE, OPTION_NOT_IN_FILE, OPTION_FLAG_ONLY };

struct option {
    const char *name; /* lower case with underscores */
    enum option_kind kind;
    enum option_scope scope;
    size_t offset;            /* of the member in the program's settings struct */
    const char *fallback;     /* the default, as text; NULL if there is none */
    int64_t minimum, maximum; /* INTEGER: value; TEXT: bytes, maximum 0 for CONFIG_VALUE_MAX */
    const char *placeholder;  /* "DIR"; NULL for a switch */
    const char *help;
};

struct option_set {
    const char *program;
    const struct option *options;
    size_t count;
};

enum config_origin { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_VARIABLE, CONFIG_FLAG };

/* Where each setting came from, and the arguments that are no options. Owns nothing: it points into
 * the set, argv and the settings, and is good for as long as they are. */
struct config_sources {
    const struct option_set *set;
    const char *file;                          /* the file that was read, or NULL */
    const char *operands[CONFIG_OPERANDS_MAX]; /* in order; "--" ends the options */
    size_t operand_count;
    enum config_origin origins[CONFIG_OPTIONS_MAX]; /* in the order of the table */
    unsigned lines[CONFIG_OPTIONS_MAX];             /* where the file has the key, 0 if it hasn't */
};

/* Fills `settings` (all zero at first) and `sources`, and appends every problem to `problems`
 * (empty at first), one per line, each naming where it is. The file is the one that the set's text
 * option "config" names; it may be absent only if its name is that option's default. `argv[0]` is
 * skipped. `environment` ends with NULL; variables that no option has are ignored.
 *
 * RESULT_OK; RESULT_INVALID if there are problems; RESULT_NO_MEMORY. Whichever it is, `settings`
 * holds the best that could be read (so that --help and a log level still work) and is to be
 * released with config_free_settings(). Sets inih's process-wide options: call it before the first
 * thread starts. */
MUST_CHECK enum result config_load(const struct option_set *set, int argc, char *const argv[],
                                   char *const environment[], void *settings,
                                   struct config_sources *sources, struct buf *problems);

/* Releases what the settings own and forgets it; may be called again. */
void config_free_settings(const struct option_set *set, void *settings);

/* For what only the program can check, such as two settings that contradict each other: appends
 * "--orders-listen: …", naming where the option was given. `name` is in the set. */
void config_add_problem(const struct config_sources *sources, const char *name,
                        struct buf *problems, const char *format, ...) PRINTF_LIKE(4, 5);

/* RESULT_OK if there is no problem, RESULT_INVALID, or RESULT_NO_MEMORY. */
MUST_CHECK enum result config_verdict(const struct buf *problems);

/* `name` is in the set. */
enum config_origin config_origin(const struct config_sources *sources, const char *name);

/* The options for --help, aligned: flag, help, default and variable. `is_wanted` picks; NULL: all.
 */
void config_print_options(const struct option_set *set,
                          bool (*is_wanted)(const void *context, const char *name),
                          const void *context, FILE *stream);

/* A file with every key commented out and at its default. */
void config_print_sample(const struct option_set *set, FILE *stream);

/* True for 127.0.0.0/8, ::1, IPv4-mapped 127.0.0.0/8 and "localhost". */
bool listen_address_is_loopback(const struct listen_address *address);

/* Reads a secret of at most `size_max` bytes: one line, of which the line end is dropped. The
 * caller frees `*ret_secret`. `*ret_exposed` tells that group or others may read the file: worth a
 * warning, no error, since container runtimes mount secrets that way.
 * RESULT_NOT_FOUND, RESULT_DENIED, RESULT_IO, RESULT_TOO_LARGE, RESULT_INVALID (empty, more than a
 * line, a NUL byte), RESULT_NO_MEMORY. The cause never holds any of the secret. */
MUST_CHECK enum result config_read_secret_file(const char *path, size_t size_max,
                                               struct error *error, char **ret_secret,
                                               bool *ret_exposed);

#endif
