#include "bridge/commands/run_service.h"

#include <stdio.h>

#include "bridge/commands/sinks.h"
#include "core/config/access.h"

static enum result check_service(const struct service *service, const char *listen_option,
                                 struct settings *settings, const struct config_sources *sources,
                                 struct buf *problems)
{
    if (!settings->postgres_url)
        config_add_problem(sources, "postgres_url", problems, "isn't set");
    if (!settings->amqp_url)
        config_add_problem(sources, "amqp_url", problems, "isn't set");
    access_load_token(sources, settings->api_token_file, problems, &settings->api_token);
    access_check_reach(sources, listen_option, service->listen,
                       settings->api_token_file || settings->api_token, settings->allow_anonymous,
                       problems);
    return config_verdict(problems);
}

enum exit_code run_service(const struct service *service, const char *listen_option,
                           struct settings *settings, const struct config_sources *sources)
{
    struct buf problems;
    struct sinks peers;
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    settings_warn(settings);
    enum result result = check_service(service, listen_option, settings, sources, &problems);
    if (result != RESULT_OK)
        fprintf(stderr, "%s", buf_text(&problems));
    buf_done(&problems);
    if (result != RESULT_OK)
        return EXIT_USAGE;
    sinks_init(&peers, settings);
    peers.postgres.application_name = service->consumes->name;
    struct service running = *service;
    running.postgres = &peers.postgres;
    running.rabbitmq = &peers.rabbitmq;
    running.allowed_hosts = &settings->allowed_hosts;
    running.api_token = settings->api_token;
    running.amqp_user_prefix = settings->amqp_user_prefix;
    return exit_code_of(service_run(&running));
}
