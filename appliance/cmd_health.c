/* appliance health: is the appliance of this machine well? */
#include "appliance/commands.h"
#include "core/http/health.h"

enum exit_code command_health(struct settings *settings, const struct config_sources *sources)
{
    (void)sources;
    return health_print(&settings->orders_listen) == RESULT_OK ? EXIT_DONE : EXIT_FAILED;
}
