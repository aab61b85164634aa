/* bridge topology: declares exchanges and queues on head office's broker. */
#include <stdio.h>

#include "bridge/adapters/topology.h"
#include "bridge/commands/commands.h"
#include "core/utf8.h"

enum { DEADLINE_MS = 15000 };

enum exit_code command_topology(struct settings *settings, const struct config_sources *sources)
{
    (void)sources;
    struct error error = {0};
    struct broker *broker = NULL;
    bool denied = false;
    const struct broker_options options = {.url = settings->amqp_url,
                                           .password_file = settings->amqp_password_path,
                                           .ca_file = settings->amqp_ca_file,
                                           .deadline_ms = DEADLINE_MS,
                                           .clock = &clock_system};
    if (!settings->amqp_url) {
        fprintf(stderr, "topology: amqp_url isn't set\n");
        return EXIT_USAGE;
    }
    enum delivery done = broker_connect(&options, &broker, &error);
    if (done == DELIVERY_DONE)
        done = topology_declare(broker, &denied, &error);
    broker_close(broker);
    if (done != DELIVERY_DONE) {
        utf8_print_line(stderr, "topology: %s", error.text);
        return EXIT_FAILED;
    }
    printf("%s, %s, %s, %s and %s are there\n", TOPOLOGY_EVENTS, TOPOLOGY_DEAD_LETTERS,
           TOPOLOGY_FAILED, TOPOLOGY_INVENTORY, TOPOLOGY_NOTIFICATION);
    return EXIT_DONE;
}
