#include "bridge/adapters/broker.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "bridge/adapters/addresses.h"
#include "bridge/adapters/broker_internal.h"
#include "bridge/adapters/broker_tls.h"
#include "core/config/secret.h"

enum {
    HEARTBEAT_S = 10,
    FRAME_MAX = 131072,
    USER_TIMEOUT_MS = 15000,
    URL_MAX = 1024,
    ACCESS_REFUSED_CODE = 403,
    PRECONDITION_FAILED_CODE = 406,
};

static const int64_t NO_DEADLINE_MS = INT64_MAX;

void broker_begin_call(struct broker *broker)
{
    atomic_store(&broker->deadline_ms,
                 clock_monotonic_ms(broker->options.clock) + broker->options.deadline_ms);
}

void broker_end_call(struct broker *broker)
{
    atomic_store(&broker->deadline_ms, NO_DEADLINE_MS);
}

/* The lock keeps another thread's hands off a number that is closed and given out again. */
static void set_socket(struct broker *broker, int socket)
{
    pthread_mutex_lock(&broker->lock);
    broker->socket = socket;
    pthread_mutex_unlock(&broker->lock);
}

static void shut_socket(struct broker *broker)
{
    pthread_mutex_lock(&broker->lock);
    if (broker->socket >= 0)
        shutdown(broker->socket, SHUT_RDWR);
    pthread_mutex_unlock(&broker->lock);
}

void broker_watch(struct broker *broker, int64_t now_ms)
{
    if (now_ms >= atomic_load(&broker->deadline_ms))
        shut_socket(broker);
}

void broker_break_off(struct broker *broker)
{
    atomic_store(&broker->is_cancelled, true);
    shut_socket(broker);
}

enum delivery broker_fail_status(const char *what, int status, struct error *error)
{
    error_write(error, "%s: %s", what, amqp_error_string2(status));
    return DELIVERY_DOWN;
}

/* What the broker said when it closed the channel or the connection. */
static int close_code(const amqp_rpc_reply_t *reply, char *ret_text, size_t size)
{
    if (reply->reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *closed = reply->reply.decoded;
        snprintf(ret_text, size, "%.*s", (int)closed->reply_text.len,
                 (const char *)closed->reply_text.bytes);
        return closed->reply_code;
    }
    if (reply->reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *closed = reply->reply.decoded;
        snprintf(ret_text, size, "%.*s", (int)closed->reply_text.len,
                 (const char *)closed->reply_text.bytes);
        return closed->reply_code;
    }
    snprintf(ret_text, size, "an unexpected answer");
    return 0;
}

enum delivery broker_check_reply(const char *what, amqp_rpc_reply_t reply, bool *denied,
                                 struct error *error)
{
    char text[256];
    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return DELIVERY_DONE;
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
        return broker_fail_status(what, reply.library_error, error);
    int code = close_code(&reply, text, sizeof text);
    if (denied)
        *denied = code == ACCESS_REFUSED_CODE;
    error_write(error, "%s: %s", what, text);
    return DELIVERY_DOWN;
}

struct timeval broker_timeval_of(int64_t duration_ms)
{
    return (struct timeval){.tv_sec = duration_ms / 1000, .tv_usec = duration_ms % 1000 * 1000};
}

static amqp_socket_t *new_socket(struct broker *broker, const struct amqp_connection_info *peer,
                                 struct error *error)
{
    amqp_socket_t *socket = peer->ssl ? amqp_ssl_socket_new(broker->connection)
                                      : amqp_tcp_socket_new(broker->connection);
    if (!socket) {
        error_write(error, "out of memory");
        return NULL;
    }
    if (!peer->ssl)
        return socket;
    amqp_ssl_socket_set_verify_hostname(socket, 0); /* OpenSSL does, which knows addresses too */
    if (broker_tls_prepare(amqp_ssl_socket_get_context(socket), peer->host, broker->options.ca_file,
                           &broker->tls_error) == RESULT_OK)
        return socket;
    *error = broker->tls_error;
    return NULL;
}

/* The kernel gives up on a peer that acknowledges nothing. */
static void set_socket_options(int socket)
{
    int yes = 1, user_timeout_ms = USER_TIMEOUT_MS;
    setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static amqp_table_entry_t capability(const char *name)
{
    return (amqp_table_entry_t){.key = amqp_cstring_bytes(name),
                                .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
}

static amqp_rpc_reply_t log_in(const struct broker *broker, const struct amqp_connection_info *peer)
{
    amqp_table_entry_t capabilities[] = {
        capability("publisher_confirms"),           capability("basic.nack"),
        capability("connection.blocked"),           capability("consumer_cancel_notify"),
        capability("authentication_failure_close"),
    };
    amqp_table_entry_t properties[] = {
        {.key = amqp_cstring_bytes("capabilities"),
         .value = {.kind = AMQP_FIELD_KIND_TABLE,
                   .value.table = {ARRAY_LENGTH(capabilities), capabilities}}},
        {.key = amqp_cstring_bytes("product"),
         .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("tillbox")}},
    };
    const amqp_table_t table = {ARRAY_LENGTH(properties), properties};
    /* To the letter "amqp://host/" names the virtual host "", which nobody has: "/" is meant. */
    const char *vhost = peer->vhost[0] ? peer->vhost : "/";
    return amqp_login_with_properties(broker->connection, vhost, 0, FRAME_MAX, HEARTBEAT_S, &table,
                                      AMQP_SASL_METHOD_PLAIN, peer->user, peer->password);
}

static enum delivery open_channel(struct broker *broker, const struct amqp_connection_info *peer,
                                  struct error *error)
{
    enum delivery done = broker_check_reply("logging in", log_in(broker, peer), NULL, error);
    if (done != DELIVERY_DONE)
        return done;
    amqp_channel_open(broker->connection, AMQP_CHANNEL);
    done = broker_check_reply("opening a channel", amqp_get_rpc_reply(broker->connection), NULL,
                              error);
    if (done != DELIVERY_DONE)
        return done;
    amqp_confirm_select(broker->connection, AMQP_CHANNEL);
    return broker_check_reply("asking for confirms", amqp_get_rpc_reply(broker->connection), NULL,
                              error);
}

/* Why a certificate was refused says more than that the handshake failed. */
static enum delivery fail_connecting(const struct broker *broker, int status, struct error *error)
{
    if (broker->tls_error.text[0] != '\0')
        error_write(error, "connecting: %s", broker->tls_error.text);
    else if (status == AMQP_STATUS_SSL_CONNECTION_FAILED)
        error_write(error, "connecting: the TLS handshake failed; is this port one for TLS?");
    else
        return broker_fail_status("connecting", status, error);
    return DELIVERY_DOWN;
}

static void broker_close_connection(struct broker *broker)
{
    set_socket(broker, -1);
    if (broker->connection)
        amqp_destroy_connection(broker->connection);
    broker->connection = NULL;
    broker->tls_error.text[0] = '\0';
}

/* `peer->host` is the name that a certificate must bear; `address` is where it is. */
static enum delivery open_connection(struct broker *broker, const struct amqp_connection_info *peer,
                                     const char *address, int64_t timeout_ms, struct error *error)
{
    struct timeval timeout = broker_timeval_of(timeout_ms);
    broker_close_connection(broker);
    broker->connection = amqp_new_connection();
    if (!broker->connection) {
        error_write(error, "out of memory");
        return DELIVERY_DOWN;
    }
    amqp_socket_t *socket = new_socket(broker, peer, error);
    if (!socket)
        return DELIVERY_DOWN;
    amqp_set_handshake_timeout(broker->connection, &timeout);
    amqp_set_rpc_timeout(broker->connection, &timeout);
    int status = amqp_socket_open_noblock(socket, address, peer->port, &timeout);
    if (status != AMQP_STATUS_OK)
        return fail_connecting(broker, status, error);
    set_socket(broker, amqp_get_sockfd(broker->connection));
    set_socket_options(amqp_get_sockfd(broker->connection));
    broker_begin_call(broker);
    enum delivery done = open_channel(broker, peer, error);
    broker_end_call(broker);
    return done;
}

struct broker *broker_new(const struct broker_options *options)
{
    struct broker *broker = calloc(1, sizeof *broker);
    if (!broker)
        return NULL;
    broker->options = *options;
    pthread_mutex_init(&broker->lock, NULL);
    broker->socket = -1;
    broker->next_tag = 1;
    broker_end_call(broker);
    return broker;
}

/* The part of the URL that names hosts: "h1:5672,h2:5672" of
 * amqp://user:password@h1:5672,h2:5672/v.
 */
static void find_hosts(const char *url, size_t *ret_at, size_t *ret_size)
{
    const char *authority = strstr(url, "://");
    const char *begin = authority ? authority + 3 : url;
    size_t size = strcspn(begin, "/?#");
    const char *user = memrchr(begin, '@', size);
    const char *hosts = user ? user + 1 : begin;
    *ret_at = (size_t)(hosts - url);
    *ret_size = (size_t)(begin + size - hosts);
}

/* The URL with only the n-th of its hosts. */
static void pick_host(const char *url, size_t n, char ret_url[static URL_MAX])
{
    char list[URL_MAX], host[URL_MAX];
    size_t at = 0, size = 0;
    find_hosts(url, &at, &size);
    snprintf(list, sizeof list, "%.*s", (int)size, url + at);
    places_copy_item(list, n, host, sizeof host);
    int length = snprintf(ret_url, URL_MAX, "%.*s%s%s", (int)at, url, host, url + at + size);
    assert(length < URL_MAX); /* no longer than the URL itself */
}

static size_t count_hosts(const char *url)
{
    char list[URL_MAX];
    size_t at = 0, size = 0;
    find_hosts(url, &at, &size);
    snprintf(list, sizeof list, "%.*s", (int)size, url + at);
    return places_count_items(list);
}

/* Every address of every host, in the URL's order. */
static enum delivery broker_list_places(const char *url, size_t hosts, struct places *places,
                                        struct error *error)
{
    *places = (struct places){0};
    for (size_t i = 0; i < hosts; i++) {
        char one[URL_MAX];
        struct amqp_connection_info peer;
        pick_host(url, i, one);
        if (amqp_parse_url(one, &peer) != AMQP_STATUS_OK) {
            error_write(error, "amqp_url can't be read");
            return DELIVERY_DOWN;
        }
        (void)!places_add(places, i, peer.host, "", error); /* another may be known */
        explicit_bzero(one, sizeof one);
    }
    return places->count > 0 ? DELIVERY_DONE : DELIVERY_DOWN;
}

static enum delivery open_place(struct broker *broker, const struct place *place, bool is_only,
                                char *password, int64_t timeout_ms, struct error *error)
{
    char url[URL_MAX];
    struct amqp_connection_info peer;
    pick_host(broker->options.url, place->number, url);
    if (amqp_parse_url(url, &peer) != AMQP_STATUS_OK) {
        error_write(error, "amqp_url can't be read");
        return DELIVERY_DOWN;
    }
    if (password)
        peer.password = password;
    /* By its name where that is all the same: TLS sends it along (RFC 6066, 3). */
    enum delivery done =
        open_connection(broker, &peer, is_only ? peer.host : place->address, timeout_ms, error);
    if (done == DELIVERY_DONE)
        snprintf(broker->user, sizeof broker->user, "%s", peer.user);
    explicit_bzero(url, sizeof url);
    return done;
}

enum delivery broker_open(struct broker *broker, struct error *error)
{
    const struct broker_options *options = &broker->options;
    struct places places;
    CLEANUP(secret_forget) char *password = NULL;
    if (options->password_file &&
        secret_read(options->password_file, error, &password) != RESULT_OK)
        return DELIVERY_DOWN;
    if (strlen(options->url) >= URL_MAX) {
        error_write(error, "amqp_url is too long");
        return DELIVERY_DOWN;
    }
    int64_t until_ms = clock_monotonic_ms(options->clock) + options->deadline_ms;
    enum delivery done =
        broker_list_places(options->url, count_hosts(options->url), &places, error);
    if (done != DELIVERY_DONE)
        return done;
    done = DELIVERY_DOWN;
    for (size_t i = 0; i < places.count && done != DELIVERY_DONE; i++) {
        int64_t left_ms = until_ms - clock_monotonic_ms(options->clock);
        if (atomic_load(&broker->is_cancelled))
            break;
        done = open_place(broker, &places.items[i], places.count == 1, password,
                          places_share_ms(&places, i, left_ms), error);
        if (done != DELIVERY_DONE)
            places_name_cause(&places, i, error);
    }
    if (done == DELIVERY_DONE)
        secret_warn_file(options->password_file);
    return done;
}

enum delivery broker_connect(const struct broker_options *options, struct broker **ret_amqp,
                             struct error *error)
{
    struct broker *broker = broker_new(options);
    if (!broker) {
        error_write(error, "out of memory");
        return DELIVERY_DOWN;
    }
    enum delivery done = broker_open(broker, error);
    if (done == DELIVERY_DONE)
        *ret_amqp = broker;
    else
        broker_close(broker);
    return done;
}

const char *broker_user(const struct broker *broker)
{
    return broker->user;
}

bool broker_user_is_refused(const struct broker *broker)
{
    return broker->is_user_refused;
}

void broker_close(struct broker *broker)
{
    if (!broker)
        return;
    broker_break_off(broker);
    broker_close_connection(broker);
    pthread_mutex_destroy(&broker->lock);
    free(broker);
}

enum delivery broker_declare_exchange(struct broker *broker, const char *name, const char *type,
                                      bool *denied, struct error *error)
{
    broker_begin_call(broker);
    amqp_exchange_declare(broker->connection, AMQP_CHANNEL, amqp_cstring_bytes(name),
                          amqp_cstring_bytes(type), 0, 1, 0, 0, amqp_empty_table);
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(broker->connection);
    broker_end_call(broker);
    return broker_check_reply(name, reply, denied, error);
}

amqp_table_entry_t amqp_text_entry(const char *name, const char *text)
{
    return (amqp_table_entry_t){
        .key = amqp_cstring_bytes(name),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(text)}};
}

amqp_table_entry_t amqp_number_entry(const char *name, int64_t number)
{
    return (amqp_table_entry_t){.key = amqp_cstring_bytes(name),
                                .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = number}};
}

enum delivery broker_declare_quorum_queue(struct broker *broker, const char *name,
                                          const char *dead_letter_exchange,
                                          const char *dead_letter_key, int delivery_limit,
                                          bool *denied, struct error *error)
{
    amqp_table_entry_t arguments[6] = {amqp_text_entry("x-queue-type", "quorum"),
                                       amqp_number_entry("x-delivery-limit", delivery_limit)};
    int count = 2;
    if (dead_letter_exchange) {
        arguments[count++] = amqp_text_entry("x-dead-letter-exchange", dead_letter_exchange);
        arguments[count++] = amqp_text_entry("x-dead-letter-routing-key", dead_letter_key);
        arguments[count++] = amqp_text_entry("x-dead-letter-strategy", "at-least-once");
        arguments[count++] = amqp_text_entry("x-overflow", "reject-publish");
    }
    const amqp_table_t table = {count, arguments};
    broker_begin_call(broker);
    amqp_queue_declare(broker->connection, AMQP_CHANNEL, amqp_cstring_bytes(name), 0, 1, 0, 0,
                       table);
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(broker->connection);
    broker_end_call(broker);
    return broker_check_reply(name, reply, denied, error);
}

enum delivery broker_bind(struct broker *broker, const char *queue, const char *exchange,
                          const char *key, bool *denied, struct error *error)
{
    broker_begin_call(broker);
    amqp_queue_bind(broker->connection, AMQP_CHANNEL, amqp_cstring_bytes(queue),
                    amqp_cstring_bytes(exchange), amqp_cstring_bytes(key), amqp_empty_table);
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(broker->connection);
    broker_end_call(broker);
    return broker_check_reply(queue, reply, denied, error);
}

static void fill_properties(const struct broker_message *message, amqp_table_entry_t *headers,
                            amqp_basic_properties_t *ret_properties)
{
    for (size_t i = 0; i < message->header_count; i++)
        headers[i] = message->headers[i].text
                         ? amqp_text_entry(message->headers[i].name, message->headers[i].text)
                         : amqp_number_entry(message->headers[i].name, message->headers[i].number);
    *ret_properties = (amqp_basic_properties_t){
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                  AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_APP_ID_FLAG |
                  AMQP_BASIC_USER_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_HEADERS_FLAG,
        .content_type = amqp_cstring_bytes("application/json"),
        .delivery_mode = AMQP_PERSISTENT,
        .message_id = amqp_cstring_bytes(message->message_id),
        .type = amqp_cstring_bytes(message->type),
        .app_id = amqp_cstring_bytes(message->app_id),
        .user_id = amqp_cstring_bytes(message->user_id),
        .timestamp = (uint64_t)message->timestamp_s,
        .headers = {(int)message->header_count, headers},
    };
}

enum delivery broker_publish(struct broker *broker, const struct broker_message *message,
                             uint64_t *ret_tag, struct error *error)
{
    amqp_table_entry_t headers[BROKER_HEADERS_MAX];
    amqp_basic_properties_t properties;
    assert(message->header_count <= BROKER_HEADERS_MAX);
    fill_properties(message, headers, &properties);
    const amqp_bytes_t body = {message->body_size, (void *)(uintptr_t)message->body};
    broker_begin_call(broker);
    int status =
        amqp_basic_publish(broker->connection, AMQP_CHANNEL, amqp_cstring_bytes(message->exchange),
                           amqp_cstring_bytes(message->routing_key), 1, 0, &properties, body);
    broker_end_call(broker);
    if (status != AMQP_STATUS_OK)
        return broker_fail_status("publishing", status, error);
    *ret_tag = broker->next_tag++;
    return DELIVERY_DONE;
}

void broker_copy_bytes(char *ret_text, size_t size, amqp_bytes_t bytes)
{
    snprintf(ret_text, size, "%.*s", (int)bytes.len, bytes.len ? (const char *)bytes.bytes : "");
}

enum delivery broker_read_closed(struct broker *broker, const amqp_frame_t *frame,
                                 struct error *error)
{
    char text[256];
    const amqp_rpc_reply_t reply = {.reply_type = AMQP_RESPONSE_SERVER_EXCEPTION,
                                    .reply = frame->payload.method};
    int code = close_code(&reply, text, sizeof text);
    /* The code alone may as well be about a size or an expiry. */
    broker->is_user_refused = code == PRECONDITION_FAILED_CODE && strstr(text, "user_id");
    error_write(error, "the broker closed the channel: %s", text);
    return DELIVERY_DOWN;
}

bool broker_is_method(const amqp_frame_t *frame, amqp_method_number_t id)
{
    return frame->frame_type == AMQP_FRAME_METHOD && frame->payload.method.id == id;
}

enum delivery broker_next_frame(struct broker *broker, int64_t timeout_ms, amqp_frame_t *ret_frame,
                                bool *ret_came, struct error *error)
{
    struct timeval timeout = broker_timeval_of(timeout_ms);
    int status;
    do {
        broker_begin_call(broker);
        status = amqp_simple_wait_frame_noblock(broker->connection, ret_frame, &timeout);
        broker_end_call(broker);
        if (status == AMQP_STATUS_OK && (broker_is_method(ret_frame, AMQP_CHANNEL_CLOSE_METHOD) ||
                                         broker_is_method(ret_frame, AMQP_CONNECTION_CLOSE_METHOD)))
            return broker_read_closed(broker, ret_frame, error);
    } while (status == AMQP_STATUS_OK && ret_frame->channel != AMQP_CHANNEL);
    *ret_came = status == AMQP_STATUS_OK;
    if (status == AMQP_STATUS_OK || status == AMQP_STATUS_TIMEOUT)
        return DELIVERY_DONE;
    return broker_fail_status("waiting", status, error);
}

enum delivery broker_rest_frame(struct broker *broker, uint8_t type, amqp_frame_t *ret_frame,
                                struct error *error)
{
    bool came = false;
    enum delivery done =
        broker_next_frame(broker, broker->options.deadline_ms, ret_frame, &came, error);
    if (done == DELIVERY_DONE && (!came || ret_frame->frame_type != type)) {
        error_write(error, "a message doesn't come to its end");
        return DELIVERY_DOWN;
    }
    return done;
}

/* A returned message comes whole; all we need is whose it is. */
static enum delivery read_returned(struct broker *broker, const amqp_basic_return_t *returned,
                                   struct broker_event *ret_event, struct error *error)
{
    amqp_frame_t frame;
    ret_event->kind = AMQP_RETURN;
    broker_copy_bytes(ret_event->reason, sizeof ret_event->reason, returned->reply_text);
    enum delivery done = broker_rest_frame(broker, AMQP_FRAME_HEADER, &frame, error);
    if (done != DELIVERY_DONE)
        return done;
    const amqp_basic_properties_t *properties = frame.payload.properties.decoded;
    if (properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG)
        broker_copy_bytes(ret_event->message_id, sizeof ret_event->message_id,
                          properties->message_id);
    uint64_t size = frame.payload.properties.body_size, came = 0;
    while (came < size && done == DELIVERY_DONE) {
        done = broker_rest_frame(broker, AMQP_FRAME_BODY, &frame, error);
        if (done == DELIVERY_DONE)
            came += frame.payload.body_fragment.len;
    }
    return done;
}

static enum delivery read_method(struct broker *broker, const amqp_frame_t *frame,
                                 struct broker_event *ret_event, struct error *error)
{
    const void *decoded = frame->payload.method.decoded;
    switch (frame->payload.method.id) {
    case AMQP_BASIC_ACK_METHOD: {
        const amqp_basic_ack_t *ack = decoded;
        *ret_event = (struct broker_event){
            .kind = AMQP_ACK, .tag = ack->delivery_tag, .multiple = ack->multiple != 0};
        return DELIVERY_DONE;
    }
    case AMQP_BASIC_NACK_METHOD: {
        const amqp_basic_nack_t *nack = decoded;
        *ret_event = (struct broker_event){
            .kind = AMQP_NACK, .tag = nack->delivery_tag, .multiple = nack->multiple != 0};
        return DELIVERY_DONE;
    }
    case AMQP_BASIC_RETURN_METHOD:
        return read_returned(broker, decoded, ret_event, error);
    case AMQP_CONNECTION_BLOCKED_METHOD: {
        const amqp_connection_blocked_t *blocked = decoded;
        ret_event->kind = AMQP_BLOCKED;
        broker_copy_bytes(ret_event->reason, sizeof ret_event->reason, blocked->reason);
        return DELIVERY_DONE;
    }
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        ret_event->kind = AMQP_UNBLOCKED;
        return DELIVERY_DONE;
    case AMQP_CHANNEL_CLOSE_METHOD:
    case AMQP_CONNECTION_CLOSE_METHOD:
        return broker_read_closed(broker, frame, error);
    default:
        return DELIVERY_DONE;
    }
}

enum delivery broker_wait(struct broker *broker, int64_t timeout_ms, struct broker_event *ret_event,
                          struct error *error)
{
    amqp_frame_t frame;
    struct timeval timeout = broker_timeval_of(timeout_ms);
    *ret_event = (struct broker_event){.kind = AMQP_NOTHING};
    amqp_maybe_release_buffers(broker->connection);
    broker_begin_call(broker); /* sending a heartbeat can hang too */
    int status = amqp_simple_wait_frame_noblock(broker->connection, &frame, &timeout);
    broker_end_call(broker);
    if (status == AMQP_STATUS_TIMEOUT)
        return DELIVERY_DONE;
    if (status != AMQP_STATUS_OK)
        return broker_fail_status("waiting", status, error);
    if (frame.frame_type != AMQP_FRAME_METHOD)
        return DELIVERY_DONE;
    return read_method(broker, &frame, ret_event, error);
}

enum delivery broker_await_confirm(struct broker *broker, uint64_t tag, struct error *error)
{
    struct broker_event event;
    bool returned = false;
    for (;;) {
        enum delivery done = broker_wait(broker, broker->options.deadline_ms, &event, error);
        if (done != DELIVERY_DONE)
            return done;
        if (event.kind == AMQP_NOTHING || event.kind == AMQP_BLOCKED) {
            error_write(error, AMQP_SILENT);
            return DELIVERY_DOWN;
        }
        if (event.kind == AMQP_RETURN)
            returned = true;
        if ((event.kind != AMQP_ACK && event.kind != AMQP_NACK) || event.tag < tag)
            continue;
        if (event.kind == AMQP_ACK && !returned)
            return DELIVERY_DONE;
        error_write(error, "%s", returned ? AMQP_UNROUTABLE : AMQP_NACKED);
        return returned ? DELIVERY_REFUSED : DELIVERY_TRANSIENT;
    }
}

enum delivery broker_queue_length(struct broker *broker, const char *queue, int64_t *ret_length,
                                  struct error *error)
{
    broker_begin_call(broker);
    const amqp_queue_declare_ok_t *found = amqp_queue_declare(
        broker->connection, AMQP_CHANNEL, amqp_cstring_bytes(queue), 1, 0, 0, 0, amqp_empty_table);
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(broker->connection);
    broker_end_call(broker);
    if (found)
        *ret_length = found->message_count;
    return broker_check_reply(queue, reply, NULL, error);
}
