/* The program's commands and how they end. */
#ifndef TILLBOX_BRIDGE_COMMANDS_H
#define TILLBOX_BRIDGE_COMMANDS_H

#include "bridge/settings.h"

/* code, number, meaning: the list that --help prints */
#define EXIT_TABLE(X)                                                                 \
    X(EXIT_DONE, 0, "done")                                                           \
    X(EXIT_FAILED, 1, "it failed, or something needs a person; the output says what") \
    X(EXIT_USAGE, 2, "wrong arguments or settings")                                   \
    X(EXIT_IN_USE, 3, "another bridge runs on this folder, or the port is in use")

enum exit_code {
#define X(code, number, meaning) code = (number),
    EXIT_TABLE(X)
#undef X
};

typedef enum exit_code command_main(struct settings *settings,
                                    const struct config_sources *sources);

command_main command_run, command_status, command_parked, command_replay, command_reconcile,
    command_migrate, command_topology, command_inventory, command_notification, command_health;

/* The exit code for a failure to start or to run. */
enum exit_code exit_code_of(enum result result);

#endif
