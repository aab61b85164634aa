#include "bridge/adapters/broker_consume.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/adapters/broker_internal.h"

enum { DELIVERY_POOL_BYTES = 2048, OWN_HEADERS = 4 };

/* What isn't published again: an expiry would let it vanish. */
static const amqp_flags_t UNWANTED = AMQP_BASIC_EXPIRATION_FLAG | AMQP_BASIC_CLUSTER_ID_FLAG;

static enum delivery broker_consume_no_memory(struct error *error)
{
    error_write(error, "out of memory");
    return DELIVERY_DOWN;
}

/* Copies the properties' texts that we look at. */
static void read_texts(struct broker_delivery *delivery)
{
    const amqp_basic_properties_t *properties = &delivery->message.properties;
    if (properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG)
        broker_copy_bytes(delivery->id, sizeof delivery->id, properties->message_id);
    if (properties->_flags & AMQP_BASIC_TYPE_FLAG)
        broker_copy_bytes(delivery->type, sizeof delivery->type, properties->type);
    if (properties->_flags & AMQP_BASIC_APP_ID_FLAG)
        broker_copy_bytes(delivery->app_id, sizeof delivery->app_id, properties->app_id);
    if (properties->_flags & AMQP_BASIC_USER_ID_FLAG)
        broker_copy_bytes(delivery->user_id, sizeof delivery->user_id, properties->user_id);
}

void broker_delivery_free(struct broker_delivery *delivery)
{
    if (!delivery)
        return;
    amqp_destroy_message(&delivery->message);
    free(delivery);
}

enum delivery broker_consume(struct broker *broker, const char *queue, int prefetch,
                             struct error *error)
{
    broker_begin_call(broker);
    amqp_basic_qos(broker->connection, AMQP_CHANNEL, 0, (uint16_t)prefetch, 0);
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(broker->connection);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        amqp_basic_consume(broker->connection, AMQP_CHANNEL, amqp_cstring_bytes(queue),
                           amqp_cstring_bytes(AMQP_CONSUMER), 0, 0, 0, amqp_empty_table);
        reply = amqp_get_rpc_reply(broker->connection);
    }
    broker_end_call(broker);
    return broker_check_reply(queue, reply, NULL, error);
}

enum delivery broker_cancel(struct broker *broker, struct error *error)
{
    broker_begin_call(broker);
    amqp_basic_cancel(broker->connection, AMQP_CHANNEL, amqp_cstring_bytes(AMQP_CONSUMER));
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(broker->connection);
    broker_end_call(broker);
    return broker_check_reply("cancelling", reply, NULL, error);
}

/* A text property that a message may have. */
struct text_property {
    amqp_flags_t flag;
    size_t offset;
};

static const struct text_property TEXTS[] = {
    {AMQP_BASIC_CONTENT_TYPE_FLAG, offsetof(amqp_basic_properties_t, content_type)},
    {AMQP_BASIC_CONTENT_ENCODING_FLAG, offsetof(amqp_basic_properties_t, content_encoding)},
    {AMQP_BASIC_CORRELATION_ID_FLAG, offsetof(amqp_basic_properties_t, correlation_id)},
    {AMQP_BASIC_REPLY_TO_FLAG, offsetof(amqp_basic_properties_t, reply_to)},
    {AMQP_BASIC_MESSAGE_ID_FLAG, offsetof(amqp_basic_properties_t, message_id)},
    {AMQP_BASIC_TYPE_FLAG, offsetof(amqp_basic_properties_t, type)},
    {AMQP_BASIC_APP_ID_FLAG, offsetof(amqp_basic_properties_t, app_id)},
    {AMQP_BASIC_USER_ID_FLAG, offsetof(amqp_basic_properties_t, user_id)},
};

static bool clone_text(amqp_pool_t *pool, amqp_bytes_t *bytes)
{
    amqp_bytes_t copy = amqp_empty_bytes;
    if (bytes->len > 0) {
        amqp_pool_alloc_bytes(pool, bytes->len, &copy);
        if (!copy.bytes)
            return false;
        memcpy(copy.bytes, bytes->bytes, bytes->len);
    }
    *bytes = copy;
    return true;
}

/* By writing and reading them: amqp_table_clone() takes an empty name for a lack of memory. What
 * can't be written could not be published again either, and is left out. */
static bool clone_headers(amqp_pool_t *pool, size_t encoded_size, amqp_table_t *headers)
{
    amqp_table_t copy = amqp_empty_table;
    amqp_bytes_t encoded = amqp_empty_bytes;
    size_t written = 0, read = 0;
    if (headers->num_entries > 0) {
        amqp_pool_alloc_bytes(pool, encoded_size, &encoded);
        if (!encoded.bytes)
            return false;
        if (amqp_encode_table(encoded, headers, &written) == AMQP_STATUS_OK &&
            amqp_decode_table(encoded, pool, &copy, &read) != AMQP_STATUS_OK)
            return false;
    }
    *headers = copy;
    return true;
}

/* Keeps the properties beyond the frame's life, but for those that publish_again() drops. Members
 * whose flag isn't set are undefined. */
static bool clone_properties(struct broker_delivery *delivery, const amqp_frame_t *header,
                             size_t headers_max)
{
    amqp_pool_t *pool = &delivery->message.pool;
    amqp_basic_properties_t *to = &delivery->message.properties;
    *to = *(const amqp_basic_properties_t *)header->payload.properties.decoded;
    to->_flags &= ~UNWANTED;
    for (size_t i = 0; i < ARRAY_LENGTH(TEXTS); i++)
        if ((to->_flags & TEXTS[i].flag) &&
            !clone_text(pool, (amqp_bytes_t *)(void *)((char *)to + TEXTS[i].offset)))
            return false;
    size_t encoded_size = header->payload.properties.raw.len;
    if (!(to->_flags & AMQP_BASIC_HEADERS_FLAG) || encoded_size > headers_max) {
        to->headers = amqp_empty_table;
        return true;
    }
    return clone_headers(pool, encoded_size, &to->headers);
}

static enum delivery read_header(struct broker *broker, struct broker_delivery *delivery,
                                 size_t headers_max, uint64_t *ret_size, struct error *error)
{
    amqp_frame_t frame;
    enum delivery done = broker_rest_frame(broker, AMQP_FRAME_HEADER, &frame, error);
    if (done != DELIVERY_DONE)
        return done;
    init_amqp_pool(&delivery->message.pool, DELIVERY_POOL_BYTES);
    if (!clone_properties(delivery, &frame, headers_max))
        return broker_consume_no_memory(error);
    read_texts(delivery);
    *ret_size = frame.payload.properties.body_size;
    return DELIVERY_DONE;
}

/* amqp_read_message would take a body of any size into memory. */
static enum delivery read_body(struct broker *broker, struct broker_delivery *delivery,
                               uint64_t size, struct error *error)
{
    uint64_t came = 0;
    amqp_bytes_t *body = &delivery->message.body;
    if (!delivery->is_too_large && size > 0) {
        *body = amqp_bytes_malloc(size);
        if (!body->bytes)
            return broker_consume_no_memory(error);
    }
    while (came < size) {
        amqp_frame_t frame;
        enum delivery done = broker_rest_frame(broker, AMQP_FRAME_BODY, &frame, error);
        if (done != DELIVERY_DONE)
            return done;
        amqp_bytes_t part = frame.payload.body_fragment;
        if (part.len > size - came) {
            error_write(error, "a message is longer than it said");
            return DELIVERY_DOWN;
        }
        if (body->bytes)
            memcpy((char *)body->bytes + came, part.bytes, part.len);
        came += part.len;
        amqp_maybe_release_buffers(broker->connection);
    }
    return DELIVERY_DONE;
}

/* What is kept of a message, in bytes. */
struct read_limits {
    size_t body, headers;
};

/* `delivery` has its tag and its routing key. */
static enum delivery read_content(struct broker *broker, const struct read_limits *limits,
                                  struct broker_delivery *delivery, struct error *error)
{
    uint64_t size = 0;
    enum delivery done = read_header(broker, delivery, limits->headers, &size, error);
    if (done != DELIVERY_DONE)
        return done;
    delivery->is_too_large = size > limits->body;
    return read_body(broker, delivery, size, error);
}

static enum delivery read_delivery(struct broker *broker, uint64_t tag, amqp_bytes_t routing_key,
                                   const struct read_limits *limits,
                                   struct broker_delivery **ret_delivery, struct error *error)
{
    struct broker_delivery *delivery = calloc(1, sizeof *delivery);
    if (!delivery)
        return broker_consume_no_memory(error);
    delivery->tag = tag;
    broker_copy_bytes(delivery->routing_key, sizeof delivery->routing_key, routing_key);
    enum delivery done = read_content(broker, limits, delivery, error);
    if (done == DELIVERY_DONE)
        *ret_delivery = delivery;
    else
        broker_delivery_free(delivery);
    return done;
}

enum delivery broker_get(struct broker *broker, const char *queue,
                         struct broker_delivery **ret_delivery, struct error *error)
{
    /* One at a time, and moved as it is; a frame's maximum bounds the headers. */
    static const struct read_limits WHOLE = {.body = SIZE_MAX, .headers = SIZE_MAX};
    broker_begin_call(broker);
    amqp_maybe_release_buffers(broker->connection);
    amqp_rpc_reply_t reply =
        amqp_basic_get(broker->connection, AMQP_CHANNEL, amqp_cstring_bytes(queue), 0);
    broker_end_call(broker);
    enum delivery done = broker_check_reply(queue, reply, NULL, error);
    if (done != DELIVERY_DONE)
        return done;
    if (reply.reply.id == AMQP_BASIC_GET_EMPTY_METHOD) {
        *ret_delivery = NULL;
        return DELIVERY_DONE;
    }
    const amqp_basic_get_ok_t *got = reply.reply.decoded;
    return read_delivery(broker, got->delivery_tag, got->routing_key, &WHOLE, ret_delivery, error);
}

enum delivery broker_next(struct broker *broker, int64_t timeout_ms, size_t size_max,
                          struct broker_delivery **ret_delivery, struct error *error)
{
    amqp_frame_t frame;
    bool came = false;
    amqp_maybe_release_buffers(broker->connection);
    enum delivery done = broker_next_frame(broker, timeout_ms, &frame, &came, error);
    if (done != DELIVERY_DONE)
        return done;
    if (came && broker_is_method(&frame, AMQP_BASIC_CANCEL_METHOD)) {
        error_write(error, "the broker cancelled the consumer: is the queue gone?");
        return DELIVERY_DOWN;
    }
    if (!came || !broker_is_method(&frame, AMQP_BASIC_DELIVER_METHOD)) {
        *ret_delivery = NULL;
        return DELIVERY_DONE;
    }
    const struct read_limits limits = {.body = size_max, .headers = AMQP_FOREIGN_HEADERS_MAX};
    const amqp_basic_deliver_t *deliver = frame.payload.method.decoded;
    return read_delivery(broker, deliver->delivery_tag, deliver->routing_key, &limits, ret_delivery,
                         error);
}

const char *broker_delivery_id(const struct broker_delivery *delivery)
{
    return delivery->id;
}

const char *broker_delivery_type(const struct broker_delivery *delivery)
{
    return delivery->type;
}

const char *broker_delivery_app_id(const struct broker_delivery *delivery)
{
    return delivery->app_id;
}

const char *broker_delivery_user_id(const struct broker_delivery *delivery)
{
    return delivery->user_id;
}

const char *broker_delivery_body(const struct broker_delivery *delivery, size_t *ret_size)
{
    *ret_size = delivery->message.body.len;
    return delivery->message.body.len ? delivery->message.body.bytes : "";
}

bool broker_delivery_is_too_large(const struct broker_delivery *delivery)
{
    return delivery->is_too_large;
}

static enum delivery publish_again(struct broker *broker, const char *exchange, const char *key,
                                   amqp_basic_properties_t properties, amqp_bytes_t body,
                                   struct error *error)
{
    properties._flags &= ~UNWANTED;
    broker_begin_call(broker);
    int status = amqp_basic_publish(broker->connection, AMQP_CHANNEL, amqp_cstring_bytes(exchange),
                                    amqp_cstring_bytes(key), 1, 0, &properties, body);
    broker_end_call(broker);
    if (status != AMQP_STATUS_OK)
        return broker_fail_status("publishing", status, error);
    return broker_await_confirm(broker, broker->next_tag++, error);
}

enum delivery broker_forward(struct broker *broker, const struct broker_delivery *delivery,
                             const char *exchange, const char *key, struct error *error)
{
    return publish_again(broker, exchange, key, delivery->message.properties,
                         delivery->message.body, error);
}

static bool is_own_header(const amqp_table_entry_t *entry, const amqp_table_entry_t *own)
{
    for (size_t i = 0; i < OWN_HEADERS; i++)
        if (entry->key.len == own[i].key.len &&
            memcmp(entry->key.bytes, own[i].key.bytes, entry->key.len) == 0)
            return true;
    return false;
}

enum delivery broker_dead_letter(struct broker *broker, const struct broker_delivery *delivery,
                                 const struct broker_refusal *refusal, struct error *error)
{
    const amqp_table_entry_t own[OWN_HEADERS] = {
        amqp_text_entry("x-reason", refusal->reason),
        amqp_number_entry("x-attempts", 1),
        amqp_text_entry("x-original-routing-key", delivery->routing_key),
        amqp_text_entry("x-refused-by", refusal->queue),
    };
    amqp_basic_properties_t properties = delivery->message.properties;
    const amqp_table_t *foreign = &delivery->message.properties.headers;
    size_t count = OWN_HEADERS, room = count + (size_t)foreign->num_entries;
    amqp_table_entry_t *entries = calloc(room, sizeof *entries);
    if (!entries)
        return broker_consume_no_memory(error);
    memcpy(entries, own, sizeof own);
    for (int i = 0; i < foreign->num_entries; i++)
        if (!is_own_header(&foreign->entries[i], own))
            entries[count++] = foreign->entries[i];
    properties.headers = (amqp_table_t){(int)count, entries};
    properties._flags |= AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
    properties.delivery_mode = AMQP_PERSISTENT;
    if (refusal->without_user)
        properties._flags &= ~(amqp_flags_t)AMQP_BASIC_USER_ID_FLAG;
    enum delivery done = publish_again(broker, refusal->exchange, refusal->key, properties,
                                       delivery->message.body, error);
    free(entries);
    return done;
}

static enum delivery acknowledge(struct broker *broker, uint64_t tag, bool multiple,
                                 struct error *error)
{
    broker_begin_call(broker);
    int status = amqp_basic_ack(broker->connection, AMQP_CHANNEL, tag, multiple);
    broker_end_call(broker);
    return status == AMQP_STATUS_OK ? DELIVERY_DONE
                                    : broker_fail_status("acknowledging", status, error);
}

enum delivery broker_acknowledge(struct broker *broker, const struct broker_delivery *delivery,
                                 struct error *error)
{
    return acknowledge(broker, delivery->tag, false, error);
}

enum delivery broker_acknowledge_through(struct broker *broker,
                                         const struct broker_delivery *delivery,
                                         struct error *error)
{
    return acknowledge(broker, delivery->tag, true, error);
}

static enum delivery broker_consume_refuse(struct broker *broker, uint64_t tag, bool requeue,
                                           const char *what, struct error *error)
{
    broker_begin_call(broker);
    int status = amqp_basic_nack(broker->connection, AMQP_CHANNEL, tag, 0, requeue);
    broker_end_call(broker);
    return status == AMQP_STATUS_OK ? DELIVERY_DONE : broker_fail_status(what, status, error);
}

enum delivery broker_reject(struct broker *broker, const struct broker_delivery *delivery,
                            struct error *error)
{
    return broker_consume_refuse(broker, delivery->tag, false, "rejecting", error);
}
