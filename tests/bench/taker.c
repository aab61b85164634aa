/* The ceiling that `bridge inventory` is measured against: a bare rabbitmq-c consumer that hands
 * batches of the same size to the same SQL over libpq and acknowledges them, and nothing else. It
 * takes what it needs out of a message by searching for the names: nothing is checked.
 *
 *   taker --url URL --database URL --count COUNT
 *
 * Ends when COUNT messages have been applied and acknowledged, with 1 after a failure, 2 on bad
 * usage. */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <getopt.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "bridge/adapters/topology.h"
#include "bridge/consumer/consumer.h"
#include "core/buf.h"

enum { CHANNEL = 1, FRAME_MAX = 131072, URL_SIZE = 1024, MOVES_MAX = 64 << 20, LINGER_US = 2000 };

static const char MOVE_STOCK[] =
    "SELECT applied, at_location, of_product, now_stock FROM tillbox_move_stock($1::json)";

struct taker {
    const char *url, *database;
    int64_t count;
    amqp_connection_state_t connection;
    PGconn *pg;
    struct buf moves;
    uint64_t last_tag;
    int64_t batch, done;
};

static enum result check_reply(const char *doing, amqp_rpc_reply_t reply, struct error *error)
{
    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return RESULT_OK;
    return error_set(error, RESULT_IO, "%s failed", doing);
}

static enum result open_channel(struct taker *taker, const struct amqp_connection_info *broker,
                                struct error *error)
{
    amqp_connection_state_t connection = taker->connection;
    amqp_rpc_reply_t reply = amqp_login(connection, broker->vhost, 0, FRAME_MAX, 0,
                                        AMQP_SASL_METHOD_PLAIN, broker->user, broker->password);
    enum result result = check_reply("logging in", reply, error);
    if (result != RESULT_OK)
        return result;
    amqp_channel_open(connection, CHANNEL);
    amqp_basic_qos(connection, CHANNEL, 0, CONSUMER_PREFETCH, 0);
    amqp_basic_consume(connection, CHANNEL, amqp_cstring_bytes(TOPOLOGY_INVENTORY),
                       amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    return check_reply("consuming", amqp_get_rpc_reply(connection), error);
}

static enum result open_both(struct taker *taker, struct error *error)
{
    char url[URL_SIZE]; /* parsing writes into it */
    struct amqp_connection_info broker;
    snprintf(url, sizeof url, "%s", taker->url);
    taker->pg = PQconnectdb(taker->database);
    if (PQstatus(taker->pg) != CONNECTION_OK)
        return error_set(error, RESULT_IO, "%s", PQerrorMessage(taker->pg));
    if (amqp_parse_url(url, &broker) != AMQP_STATUS_OK)
        return error_set(error, RESULT_INVALID, "can't read the URL");
    taker->connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(taker->connection);
    if (!socket || amqp_socket_open(socket, broker.host, broker.port) != AMQP_STATUS_OK)
        return error_set(error, RESULT_IO, "can't connect to the broker");
    return open_channel(taker, &broker, error);
}

/* The number that follows the name; 0 if the name isn't there. */
static int64_t number_after(const char *text, const char *name)
{
    const char *found = strstr(text, name);
    return found ? strtoll(found + strlen(name), NULL, 10) : 0;
}

/* A row for each product of the message. */
static void add_moves(struct taker *taker, const amqp_message_t *message, const char *text)
{
    static const char PRODUCT[] = "\"product_id\":";
    for (const char *at = strstr(text, PRODUCT); at; at = strstr(at + 1, PRODUCT))
        buf_append_format(
            &taker->moves,
            "%c{\"number\":%" PRId64 ",\"event_id\":\"%.*s\",\"location\":\"bench\","
            "\"product_id\":%" PRId64 ",\"change\":%" PRId64 ",\"reason\":\"%.*s\","
            "\"device_id\":\"%.*s\",\"journal_id\":\"0190a5d2-0000-7000-8000-000000000000\","
            "\"sequence\":%" PRId64 ",\"occurred_at\":\"2026-01-31T09:05:00.250Z\","
            "\"order_id\":%" PRId64 "}",
            taker->moves.size > 0 ? ',' : '[', taker->batch,
            (int)message->properties.message_id.len,
            (const char *)message->properties.message_id.bytes, number_after(at, PRODUCT),
            -number_after(at, "\"quantity\":"), (int)message->properties.type.len,
            (const char *)message->properties.type.bytes, (int)message->properties.app_id.len,
            (const char *)message->properties.app_id.bytes, number_after(text, "\"sequence\":"),
            number_after(text, "\"order_id\":"));
}

static enum result apply(struct taker *taker, struct error *error)
{
    buf_append(&taker->moves, "]", 1);
    const char *const values[] = {buf_text(&taker->moves)};
    PGresult *done = PQexecParams(taker->pg, MOVE_STOCK, 1, NULL, values, NULL, NULL, 0);
    bool good = PQresultStatus(done) == PGRES_TUPLES_OK;
    PQclear(done);
    buf_clear(&taker->moves);
    if (!good)
        return error_set(error, RESULT_IO, "%s", PQerrorMessage(taker->pg));
    if (amqp_basic_ack(taker->connection, CHANNEL, taker->last_tag, 1) != AMQP_STATUS_OK)
        return error_set(error, RESULT_IO, "can't acknowledge");
    taker->done += taker->batch;
    taker->batch = 0;
    return RESULT_OK;
}

/* Takes one message; `*ret_came` is false if none came for LINGER_US. */
static enum result take(struct taker *taker, bool *ret_came, struct error *error)
{
    amqp_envelope_t envelope;
    const struct timeval linger = {.tv_usec = LINGER_US};
    amqp_maybe_release_buffers(taker->connection);
    amqp_rpc_reply_t reply = amqp_consume_message(taker->connection, &envelope, &linger, 0);
    *ret_came = reply.reply_type == AMQP_RESPONSE_NORMAL;
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
        reply.library_error == AMQP_STATUS_TIMEOUT)
        return RESULT_OK;
    if (!*ret_came)
        return error_set(error, RESULT_IO, "consuming failed");
    amqp_bytes_t body = envelope.message.body;
    char *text = strndup(body.bytes, body.len);
    if (text)
        add_moves(taker, &envelope.message, text);
    free(text);
    taker->last_tag = envelope.delivery_tag;
    taker->batch++;
    amqp_destroy_envelope(&envelope);
    return buf_result(&taker->moves);
}

static enum result take_all(struct taker *taker, struct error *error)
{
    enum result result = RESULT_OK;
    while (taker->done < taker->count && result == RESULT_OK) {
        bool came = false;
        result = take(taker, &came, error);
        bool is_full = taker->batch == CONSUMER_BATCH_EVENTS || (!came && taker->batch > 0);
        if (result == RESULT_OK && is_full)
            result = apply(taker, error);
    }
    return result;
}

static bool parse(int argc, char **argv, struct taker *taker)
{
    static const struct option names[] = {{"url", required_argument, NULL, 'u'},
                                          {"database", required_argument, NULL, 'd'},
                                          {"count", required_argument, NULL, 'c'},
                                          {0}};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'u')
            taker->url = optarg;
        else if (option == 'd')
            taker->database = optarg;
        else if (option == 'c')
            taker->count = strtoll(optarg, NULL, 10);
        else
            return false;
    }
    return optind == argc && taker->url && taker->database && taker->count > 0;
}

int main(int argc, char **argv)
{
    struct taker taker = {0};
    struct error error = {0};
    if (!parse(argc, argv, &taker)) {
        fprintf(stderr, "usage: taker --url URL --database URL --count COUNT\n");
        return 2;
    }
    buf_init(&taker.moves, MOVES_MAX);
    enum result result = open_both(&taker, &error);
    if (result == RESULT_OK)
        result = take_all(&taker, &error);
    if (result != RESULT_OK)
        fprintf(stderr, "taker: %s %s\n", result_text(result), error.text);
    if (taker.connection)
        amqp_destroy_connection(taker.connection);
    PQfinish(taker.pg);
    buf_done(&taker.moves);
    return result == RESULT_OK ? 0 : 1;
}
