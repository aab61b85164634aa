/* The program's commands and how they end. */
#ifndef TILLBOX_APPLIANCE_COMMANDS_H
#define TILLBOX_APPLIANCE_COMMANDS_H

#include "appliance/settings.h"

/* code, number, meaning: the list that --help prints */
#define EXIT_TABLE(X)                                                \
    X(EXIT_DONE, 0, "done")                                          \
    X(EXIT_FAILED, 1, "it failed; the error says why")               \
    X(EXIT_USAGE, 2, "wrong arguments or settings")                  \
    X(EXIT_IN_USE, 3, "another process has the journal or the port") \
    X(EXIT_DAMAGED, 4, "the journal is damaged")                     \
    X(EXIT_DISK, 5, "the disk refused to flush: find out why before selling on")

enum exit_code {
#define X(code, number, meaning) code = (number),
    EXIT_TABLE(X)
#undef X
};

/* `operand` is NULL for a command that takes none. */
typedef enum exit_code command_main(struct settings *settings, const struct config_sources *sources,
                                    const char *operand);

command_main command_serve, command_check, command_verify, command_backup, command_health;

/* The exit code for a failure. */
enum exit_code exit_code_of(enum result result);

#endif
