/* Runs one of head office's services by the settings. */
#ifndef TILLBOX_BRIDGE_RUN_SERVICE_H
#define TILLBOX_BRIDGE_RUN_SERVICE_H

#include "bridge/commands/commands.h"
#include "bridge/consumer/service.h"

/* Checks the settings that every service needs, and runs it as service_run() does. `listen_option`
 * names the option of service->listen. Problems are printed. */
enum exit_code run_service(const struct service *service, const char *listen_option,
                           struct settings *settings, const struct config_sources *sources);

#endif
