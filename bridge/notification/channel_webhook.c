/* A POST to the receiver's URL, signed so that it can tell who sent it: docs/NOTIFICATIONS.md. */
#include <stdio.h>
#include <stdlib.h>

#include "bridge/notification/channel.h"
#include "core/config/secret.h"
#include "core/http/http_client.h"
#include "core/sha256.h"

enum {
    BODY_MAX = 2 << 20,
    KEY_SIZE = UUID_TEXT_SIZE + 16,
    SIGNATURE_SIZE = 32 + SHA256_TEXT_SIZE,
};

struct webhook {
    const struct channel_options *options;
    const struct clock *clock;
    struct http_client *client;
    struct buf body, signed_bytes;
};

static void write_body(const struct channel_message *message, struct buf *body)
{
    struct json_writer writer;
    const struct notification *notification = message->notification;
    json_writer_init(&writer, body);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "kind", notification->kind);
    json_put_text(&writer, "event_id", notification->event_id);
    json_put_text(&writer, "device_id", notification->device_id);
    json_put_text(&writer, "location", notification->location);
    json_put_int(&writer, "order_id", notification->order_id);
    json_put_int(&writer, "user_id", notification->user_id);
    json_put_raw(&writer, "items", notification->items);
    json_put_int(&writer, "total", notification->total_minor);
    json_put_text(&writer, "total_text", message->total);
    json_put_text(&writer, "occurred_at", notification->occurred_at);
    json_put_text(&writer, "subject", message->subject);
    json_put_text(&writer, "text", message->text);
    json_end_object(&writer);
}

/* t=SECONDS,v1=HEX: the HMAC is over the seconds, a full stop, and the body. */
static enum result sign(struct webhook *webhook, struct error *error,
                        char ret_signature[static SIGNATURE_SIZE])
{
    uint8_t digest[SHA256_SIZE];
    char hex[SHA256_TEXT_SIZE];
    CLEANUP(secret_forget) char *secret = NULL;
    long long seconds = clock_wall_ms(webhook->clock) / 1000;
    struct buf *bytes = &webhook->signed_bytes;
    buf_clear(bytes);
    buf_append_format(bytes, "%lld.", seconds);
    buf_append(bytes, webhook->body.bytes, webhook->body.size);
    if (buf_result(bytes) != RESULT_OK)
        return error_set(error, RESULT_NO_MEMORY, "the body can't be signed");
    enum result result = secret_read(webhook->options->webhook_secret_file, error, &secret);
    if (result != RESULT_OK)
        return result;
    sha256_hmac(secret, bytes->bytes, bytes->size, digest);
    sha256_format(digest, hex);
    snprintf(ret_signature, SIGNATURE_SIZE, "t=%lld,v1=%s", seconds, hex);
    return RESULT_OK;
}

static enum result channel_webhook_judge(int status, struct error *error)
{
    if (status >= 200 && status < 300)
        return RESULT_OK;
    bool passing = status == 408 || status == 425 || status == 429 || status >= 500;
    return error_set(error, passing ? RESULT_BUSY : RESULT_REFUSED, "the receiver answered %d",
                     status);
}

static enum result post(struct webhook *webhook, const char *key, const char *signature,
                        struct error *error)
{
    int status = 0;
    int64_t timeout_ms = webhook->options->timeout_ms;
    const struct http_header headers[] = {{"Content-Type", "application/json"},
                                          {"Idempotency-Key", key},
                                          {"Tillbox-Signature", signature}};
    const struct http_request request = {.url = webhook->options->webhook_url,
                                         .headers = headers,
                                         .header_count = ARRAY_LENGTH(headers),
                                         .body = webhook->body.bytes,
                                         .body_size = webhook->body.size,
                                         .timeout_ms = timeout_ms,
                                         .connect_timeout_ms = timeout_ms};
    /* What the receiver says beside the status is nobody's business. */
    enum result result = http_client_call(webhook->client, &request, &status, NULL, error);
    return result == RESULT_OK ? channel_webhook_judge(status, error) : result;
}

static enum result send_webhook(void *self, const struct channel_message *message,
                                struct error *error)
{
    struct webhook *webhook = self;
    char key[KEY_SIZE], signature[SIGNATURE_SIZE];
    buf_clear(&webhook->body);
    write_body(message, &webhook->body);
    snprintf(key, sizeof key, "%s-%s", message->notification->event_id,
             channel_name(CHANNEL_WEBHOOK));
    enum result result = buf_result(&webhook->body);
    if (result != RESULT_OK)
        return error_set(error, result, "the body can't be built");
    result = sign(webhook, error, signature);
    return result == RESULT_OK ? post(webhook, key, signature, error) : result;
}

static void free_webhook(void *self)
{
    struct webhook *webhook = self;
    http_client_free(webhook->client);
    buf_done(&webhook->body);
    buf_done(&webhook->signed_bytes);
    free(webhook);
}

enum result channel_webhook_new(const struct channel_options *options, const struct clock *clock,
                                struct channel *ret_channel)
{
    static const struct channel_ops OPS = {.send = send_webhook, .free = free_webhook};
    struct webhook *webhook = calloc(1, sizeof *webhook);
    if (!webhook)
        return RESULT_NO_MEMORY;
    webhook->options = options;
    webhook->clock = clock;
    buf_init(&webhook->body, BODY_MAX);
    buf_init(&webhook->signed_bytes, BODY_MAX + SIGNATURE_SIZE);
    enum result result = http_client_new(options->webhook_ca_file, &webhook->client);
    if (result == RESULT_OK)
        *ret_channel = (struct channel){.ops = &OPS, .self = webhook};
    else
        free_webhook(webhook);
    return result;
}
