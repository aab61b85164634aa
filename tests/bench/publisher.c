/* The ceiling that the bridge's way to the broker is measured against: a bare rabbitmq-c publisher
 * with the bridge's exchange, routing key, properties, confirms and window, and nothing else. No
 * journal to read, no heartbeat, no watchdog, nothing written down.
 *
 *   publisher --url URL --count COUNT --size BYTES [--window COUNT] [--rate PER_SECOND]
 *
 * COUNT messages with bodies of BYTES; with --rate at most so many a second, else as fast as the
 * window allows. The exchange and its queues must be there (`bridge topology`). Prints one JSON
 * object: how long it took from the first publish to the last confirm, and a message from its
 * publish to its confirm. Exits with 1 after a failure or if a message wasn't confirmed, 2 on bad
 * usage. */
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "bridge/adapters/topology.h"
#include "bridge/relay/sink_rabbitmq.h"
#include "core/attributes.h"
#include "core/clock.h"
#include "core/journal/event.h"
#include "core/result.h"

enum {
    CHANNEL = 1,
    FRAME_MAX = 131072,
    PERSISTENT = 2,
    URL_SIZE = 1024,
    BODY_SIZE_MOST = 1 << 20,
    COUNT_MOST = 10000000,
    LISTEN_EVERY = 64, /* publishes between two looks at what has been confirmed */
    CONFIRM_S = 30,
};

/* As long as the box's own. */
static const char DEVICE_ID[] = "box-0123456789ab";
static const int64_t OCCURRED_AT_S = 1769850300;

struct options {
    const char *url;
    int64_t count;
    int64_t size;
    int64_t window;
    int64_t rate; /* 0: no limit */
};

/* A message on its way: 0 until it is published, then when that was; at last how long it took. */
struct publication {
    int64_t published_at_ns;
    int64_t duration_ns;
    bool confirmed;
};

struct publisher {
    const struct options *options;
    amqp_connection_state_t connection;
    amqp_bytes_t body;
    struct publication *publications; /* tag 1 is the first */
    int64_t published;
    int64_t confirmed;
    int64_t settled; /* so many from the first on are confirmed */
    int64_t started_at_ns;
    int64_t ended_at_ns;
};

static enum result check_reply(const char *doing, amqp_rpc_reply_t reply, struct error *error)
{
    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return RESULT_OK;
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
        return error_set(error, RESULT_IO, "%s: %s", doing,
                         amqp_error_string2(reply.library_error));
    return error_set(error, RESULT_IO, "%s: the broker says no", doing);
}

static enum result channel_open(struct publisher *publisher,
                                const struct amqp_connection_info *broker, struct error *error)
{
    amqp_connection_state_t connection = publisher->connection;
    const char *vhost = broker->vhost[0] != '\0' ? broker->vhost : "/";
    amqp_rpc_reply_t reply = amqp_login(connection, vhost, 0, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN,
                                        broker->user, broker->password);
    enum result result = check_reply("logging in", reply, error);
    if (result != RESULT_OK)
        return result;
    amqp_channel_open(connection, CHANNEL);
    result = check_reply("opening a channel", amqp_get_rpc_reply(connection), error);
    if (result != RESULT_OK)
        return result;
    amqp_confirm_select(connection, CHANNEL);
    return check_reply("asking for confirms", amqp_get_rpc_reply(connection), error);
}

/* What was opened is closed by publisher_done, also after a failure. */
static enum result publisher_connect(struct publisher *publisher, struct error *error)
{
    char url[URL_SIZE]; /* parsing writes into it */
    struct amqp_connection_info broker;
    snprintf(url, sizeof url, "%s", publisher->options->url);
    if (amqp_parse_url(url, &broker) != AMQP_STATUS_OK)
        return error_set(error, RESULT_INVALID, "can't read the URL");
    publisher->connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(publisher->connection);
    if (socket == NULL)
        return error_set(error, RESULT_NO_MEMORY, "can't make a connection");
    int status = amqp_socket_open(socket, broker.host, broker.port);
    if (status != AMQP_STATUS_OK)
        return error_set(error, RESULT_IO, "connecting: %s", amqp_error_string2(status));
    return channel_open(publisher, &broker, error);
}

static amqp_table_entry_t text_header(const char *name, const char *text)
{
    return (amqp_table_entry_t){
        .key = amqp_cstring_bytes(name),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(text)}};
}

static amqp_table_entry_t number_header(const char *name, int64_t number)
{
    return (amqp_table_entry_t){.key = amqp_cstring_bytes(name),
                                .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = number}};
}

static int message_send(const struct publisher *publisher, int64_t sequence)
{
    char event_id[UUID_TEXT_SIZE];
    snprintf(event_id, sizeof event_id, "0190a5d2-0000-7000-8000-%012" PRId64,
             sequence % COUNT_MOST);
    amqp_table_entry_t headers[] = {text_header("x-device-id", DEVICE_ID),
                                    number_header("x-sequence", sequence)};
    const amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                  AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_APP_ID_FLAG |
                  AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_HEADERS_FLAG,
        .content_type = amqp_cstring_bytes("application/json"),
        .delivery_mode = PERSISTENT,
        .message_id = amqp_cstring_bytes(event_id),
        .type = amqp_cstring_bytes(EVENT_ORDER_CREATED),
        .app_id = amqp_cstring_bytes(DEVICE_ID),
        .timestamp = (uint64_t)OCCURRED_AT_S,
        .headers = {ARRAY_LENGTH(headers), headers},
    };
    return amqp_basic_publish(publisher->connection, CHANNEL, amqp_cstring_bytes(TOPOLOGY_EVENTS),
                              amqp_cstring_bytes(EVENT_ORDER_CREATED), 1, 0, &properties,
                              publisher->body);
}

static enum result message_publish(struct publisher *publisher, struct error *error)
{
    struct publication *publication = &publisher->publications[publisher->published];
    publication->published_at_ns = clock_monotonic_ns(&clock_system);
    int status = message_send(publisher, ++publisher->published);
    if (status != AMQP_STATUS_OK)
        return error_set(error, RESULT_IO, "publishing: %s", amqp_error_string2(status));
    return RESULT_OK;
}

static void confirm_one(struct publisher *publisher, int64_t index, int64_t now_ns)
{
    struct publication *publication = &publisher->publications[index];
    if (publication->confirmed)
        return;
    publication->confirmed = true;
    publication->duration_ns = now_ns - publication->published_at_ns;
    publisher->confirmed++;
    while (publisher->settled < publisher->published &&
           publisher->publications[publisher->settled].confirmed)
        publisher->settled++;
}

static void confirm_take(struct publisher *publisher, const amqp_basic_ack_t *ack)
{
    int64_t now_ns = clock_monotonic_ns(&clock_system);
    int64_t tag = (int64_t)ack->delivery_tag;
    int64_t last = tag < publisher->published ? tag : publisher->published;
    for (int64_t i = ack->multiple ? publisher->settled : last - 1; i < last; i++)
        confirm_one(publisher, i, now_ns);
}

/* Takes one frame, for which it waits up to `wait_s`; `*ret_heard` tells whether one came. */
static enum result confirm_await(struct publisher *publisher, int wait_s, bool *ret_heard,
                                 struct error *error)
{
    amqp_frame_t frame;
    const struct timeval wait = {.tv_sec = wait_s};
    amqp_maybe_release_buffers(publisher->connection);
    int status = amqp_simple_wait_frame_noblock(publisher->connection, &frame, &wait);
    *ret_heard = status == AMQP_STATUS_OK;
    if (status == AMQP_STATUS_TIMEOUT)
        return RESULT_OK;
    if (status != AMQP_STATUS_OK)
        return error_set(error, RESULT_IO, "waiting: %s", amqp_error_string2(status));
    if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
        return error_set(error, RESULT_REFUSED, "the broker didn't take a message");
    confirm_take(publisher, frame.payload.method.decoded);
    return RESULT_OK;
}

static enum result confirms_take(struct publisher *publisher, struct error *error)
{
    bool heard = true;
    enum result result = RESULT_OK;
    while (heard && result == RESULT_OK)
        result = confirm_await(publisher, 0, &heard, error);
    return result;
}

static enum result confirm_take_one(struct publisher *publisher, struct error *error)
{
    bool heard = false;
    enum result result = confirm_await(publisher, CONFIRM_S, &heard, error);
    if (result == RESULT_OK && !heard)
        return error_set(error, RESULT_BUSY, "no confirm in %d s", CONFIRM_S);
    return result;
}

static void wait_until_due(const struct publisher *publisher)
{
    if (publisher->options->rate == 0)
        return;
    int64_t due_ms =
        publisher->started_at_ns / 1000000 + publisher->published * 1000 / publisher->options->rate;
    int64_t left_ms = due_ms - clock_monotonic_ms(&clock_system);
    if (left_ms > 0)
        clock_sleep_ms(&clock_system, left_ms);
}

static enum result publish_next(struct publisher *publisher, struct error *error)
{
    wait_until_due(publisher);
    enum result result = message_publish(publisher, error);
    if (result == RESULT_OK && publisher->published % LISTEN_EVERY == 0)
        result = confirms_take(publisher, error);
    return result;
}

static enum result publish_all(struct publisher *publisher, struct error *error)
{
    const struct options *options = publisher->options;
    enum result result = RESULT_OK;
    publisher->started_at_ns = clock_monotonic_ns(&clock_system);
    while (publisher->confirmed < options->count && result == RESULT_OK) {
        int64_t waiting = publisher->published - publisher->confirmed;
        bool may_publish = publisher->published < options->count && waiting < options->window;
        result = may_publish ? publish_next(publisher, error) : confirm_take_one(publisher, error);
    }
    publisher->ended_at_ns = clock_monotonic_ns(&clock_system);
    return result;
}

static int compare_durations(const void *left, const void *right)
{
    int64_t a = ((const struct publication *)left)->duration_ns;
    int64_t b = ((const struct publication *)right)->duration_ns;
    return (a > b) - (a < b);
}

static void durations_print(struct publisher *publisher)
{
    int64_t count = publisher->options->count;
    struct publication *publications = publisher->publications;
    qsort(publications, (size_t)count, sizeof *publications, compare_durations);
    printf("{\"count\": %" PRId64 ", \"duration_us\": %" PRId64 ", \"p50_us\": %" PRId64
           ", \"p99_us\": %" PRId64 "}\n",
           count, (publisher->ended_at_ns - publisher->started_at_ns) / 1000,
           publications[count / 2].duration_ns / 1000,
           publications[count * 99 / 100].duration_ns / 1000);
}

static enum result publisher_init(struct publisher *publisher, const struct options *options)
{
    *publisher = (struct publisher){.options = options};
    publisher->body = amqp_bytes_malloc((size_t)options->size);
    publisher->publications = calloc((size_t)options->count, sizeof *publisher->publications);
    if (publisher->body.bytes == NULL || publisher->publications == NULL)
        return RESULT_NO_MEMORY;
    memset(publisher->body.bytes, 'x', publisher->body.len);
    return RESULT_OK;
}

static void publisher_done(struct publisher *publisher)
{
    if (publisher->connection != NULL)
        amqp_destroy_connection(publisher->connection);
    amqp_bytes_free(publisher->body);
    free(publisher->publications);
}

static enum result publisher_run(const struct options *options, struct error *error)
{
    struct publisher publisher;
    enum result result = publisher_init(&publisher, options);
    if (result == RESULT_OK)
        result = publisher_connect(&publisher, error);
    if (result == RESULT_OK)
        result = publish_all(&publisher, error);
    if (result == RESULT_OK)
        durations_print(&publisher);
    publisher_done(&publisher);
    return result;
}

static bool options_parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"url", required_argument, NULL, 'u'},  {"count", required_argument, NULL, 'c'},
        {"size", required_argument, NULL, 's'}, {"window", required_argument, NULL, 'w'},
        {"rate", required_argument, NULL, 'r'}, {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        int64_t number = optarg != NULL ? strtoll(optarg, NULL, 10) : 0;
        if (option == 'u')
            options->url = optarg;
        else if (option == 'c')
            options->count = number;
        else if (option == 's')
            options->size = number;
        else if (option == 'w')
            options->window = number;
        else if (option == 'r')
            options->rate = number;
        else
            return false;
    }
    return optind == argc && options->url != NULL && options->count > 0 &&
           options->count <= COUNT_MOST && options->size > 0 && options->size <= BODY_SIZE_MOST &&
           options->window > 0 && options->rate >= 0;
}

int main(int argc, char **argv)
{
    struct options options = {.window = SINK_RABBITMQ_WINDOW};
    if (!options_parse(argc, argv, &options)) {
        fprintf(stderr, "usage: publisher --url URL --count COUNT --size BYTES [--window COUNT]"
                        " [--rate PER_SECOND]\n");
        return 2;
    }
    struct error error = {0};
    enum result result = publisher_run(&options, &error);
    if (result != RESULT_OK) {
        fprintf(stderr, "publisher: %s %s\n", result_text(result), error.text);
        return 1;
    }
    return 0;
}
