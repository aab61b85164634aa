/* The program's commands. */
#ifndef TILLBOX_BRIDGE_COMMANDS_H
#define TILLBOX_BRIDGE_COMMANDS_H

#include "bridge/commands/settings.h"
#include "core/config/program.h"

command_main command_run, command_status, command_parked, command_replay, command_reconcile,
    command_migrate, command_topology, command_inventory, command_notification, command_health;

/* The exit code for a failure to start or to run. */
enum exit_code exit_code_of(enum result result);

#endif
