/* The program's commands. */
#ifndef TILLBOX_APPLIANCE_COMMANDS_H
#define TILLBOX_APPLIANCE_COMMANDS_H

#include "appliance/settings.h"
#include "core/config/program.h"

command_main command_serve, command_check, command_verify, command_backup, command_health;

/* The exit code for a failure. */
enum exit_code exit_code_of(enum result result);

#endif
