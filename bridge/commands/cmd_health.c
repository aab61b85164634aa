/* bridge health: is the bridge, or the service, of this machine well? */
#include "bridge/commands/commands.h"
#include "core/http/health.h"

enum exit_code command_health(struct settings *settings, const struct config_sources *sources)
{
    (void)sources;
    return health_print(&settings->status_listen) == RESULT_OK ? EXIT_DONE : EXIT_FAILED;
}
