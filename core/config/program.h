/* A program with commands: what its words mean, what --help prints, how it ends.
 *
 * A program's main() fills a `struct program_request` from its settings; program_choose() answers
 * --help, --version and mistakes by itself, or names the command to run. */
#ifndef TILLBOX_CORE_PROGRAM_H
#define TILLBOX_CORE_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "core/config/config.h"
#include "core/log.h"

/* EXIT_FAILED and above may mean more to one program than to the other: its table says what. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_IN_USE = 3,
    EXIT_DAMAGED = 4,
    EXIT_DISK = 5,
};

struct exit_meaning {
    enum exit_code code;
    const char *text;
};

struct settings; /* each program has its own */

typedef enum exit_code command_main(struct settings *settings,
                                    const struct config_sources *sources);

struct program_command {
    const char *name;
    const char *operand; /* what --help calls the word after the name; NULL: it takes none */
    bool needs_operand;
    command_main *main; /* NULL: prints the version */
    const char *help;
    const char *options; /* names of the options that it reads, with a space between; NULL: those
                            that no command names */
};

/* What program_main() reads of a program's own settings. */
struct program_flags {
    bool help;
    bool version;
    enum log_level level;
};

/* All of it lives as long as the program. */
struct program {
    const char *name; /* in the log */
    enum result (*load)(int argc, char *const argv[], char *const environment[],
                        struct settings *settings, struct config_sources *sources,
                        struct buf *problems);
    void (*read_flags)(const struct settings *settings, struct program_flags *ret_flags);
    void (*free)(struct settings *settings);
    const struct option_set *options;
    const char *summary;
    const char *fallback; /* the command where none is named; NULL: one must be */
    const struct program_command *commands;
    size_t command_count;
    const struct exit_meaning *exits;
    size_t exit_count;
    const char *const *examples; /* what follows the program's name */
    size_t example_count;
};

/* What the settings say, after config_load(). */
struct program_request {
    const struct config_sources *sources;
    struct buf *problems; /* those of the settings; those of the words are added */
    bool help;
    bool version;
};

/* The whole of a program: loads `settings` (all zero at first), runs the command, frees what was
 * loaded, and gives main()'s result. */
int program_main(const struct program *program, int argc, char *argv[], struct settings *settings);

/* The command that prints a settings file with every default. */
command_main program_print_config;

/* The command to run. NULL if there is none: the answer has been printed, and `*ret_code` is the
 * program's. */
const struct program_command *program_choose(const struct program *program,
                                             const struct program_request *request,
                                             enum exit_code *ret_code);

/* Brings out what has been printed: an answer that couldn't be written is no success. */
enum exit_code program_finish(enum exit_code code);

/* The word after the command's name, or the fallback. */
const char *program_operand(const struct config_sources *sources, const char *fallback);

/* The level that the option "log_level" names. LOG_INFO if it names none, and a problem if there is
 * no such level. */
enum log_level program_log_level(const char *name, const struct config_sources *sources,
                                 struct buf *problems);

#endif
