#include "bridge/commands/sinks.h"

#include <string.h>

#include "bridge/relay/sink_postgres.h"

void sinks_init(struct sinks *peers, const struct settings *settings)
{
    *peers = (struct sinks){
        .postgres = {.url = settings->postgres_url,
                     .password_file = settings->postgres_password_path,
                     .application_name = "tillbox-bridge",
                     .deadline_ms = SINKS_DEADLINE_MS,
                     .clock = &clock_system},
        .rabbitmq = {.url = settings->amqp_url,
                     .password_file = settings->amqp_password_path,
                     .ca_file = settings->amqp_ca_file,
                     .deadline_ms = SINKS_DEADLINE_MS,
                     .clock = &clock_system},
    };
}

static bool sinks_is_wanted(const char *url, const char *name, const char *only)
{
    return url && (!only || strcmp(only, name) == 0);
}

enum result sinks_new(const struct sinks *peers, const char *only,
                      struct sink ret_sinks[static SINKS_MAX], size_t *ret_count)
{
    size_t count = 0;
    enum result result = RESULT_OK;
    if (sinks_is_wanted(peers->postgres.url, "postgres", only)) {
        result = sink_postgres_new(&peers->postgres, &random_system, &ret_sinks[count]);
        count += result == RESULT_OK;
    }
    if (result == RESULT_OK && sinks_is_wanted(peers->rabbitmq.url, "rabbitmq", only)) {
        result = sink_rabbitmq_new(&peers->rabbitmq, &ret_sinks[count]);
        count += result == RESULT_OK;
    }
    for (size_t i = 0; i < count && result != RESULT_OK; i++)
        ret_sinks[i].ops->free(ret_sinks[i].self);
    *ret_count = count;
    return result;
}
