/* RabbitMQ, by rabbitmq-c: the only place that knows it. A connection with one channel in confirm
 * mode, for one thread.
 *
 * rabbitmq-c can wait for ever in a publish, when the broker stops reading. So every call that may
 * wait sets a deadline, and broker_watch(), from another thread, shuts the socket down when one has
 * passed: the call then fails, and the caller connects anew. */
#ifndef TILLBOX_BRIDGE_BROKER_H
#define TILLBOX_BRIDGE_BROKER_H

#include <stddef.h>
#include <stdint.h>

#include "bridge/adapters/delivery.h"
#include "core/clock.h"
#include "core/result.h"

struct broker;

enum {
    AMQP_ID_SIZE = 37,
    AMQP_TYPE_SIZE = 64,
    AMQP_NAME_SIZE = 256, /* any short text of AMQP, with a NUL */
    BROKER_HEADERS_MAX = 6,
    AMQP_FOREIGN_HEADERS_MAX = 16 << 10, /* bytes; more don't go along to the dead letters */
};

struct broker_options {
    const char *url;           /* amqp:// or amqps://, with user, password and virtual host */
    const char *password_file; /* read for each connection; NULL: the URL's password */
    const char *ca_file;       /* for amqps; NULL: the system's */
    int64_t deadline_ms;       /* for connecting and for each call */
    const struct clock *clock;
};

/* Not connected yet; NULL without memory. broker_watch() and broker_break_off() work from here on.
 */
struct broker *broker_new(const struct broker_options *options) MUST_CHECK;

/* Once. DELIVERY_DOWN if the broker can't be had now: then there is only broker_close(). */
enum delivery broker_open(struct broker *broker, struct error *error) MUST_CHECK;

/* Both at once. */
enum delivery broker_connect(const struct broker_options *options, struct broker **ret_amqp,
                             struct error *error) MUST_CHECK;

/* Closes without a farewell, which might hang. */
void broker_close(struct broker *broker);

/* The login's name, as in the URL; once it is open. */
const char *broker_user(const struct broker *broker);

/* Has the broker closed the channel since a message bore another login's name? Only a user with the
 * tag `impersonator` may send such ones. */
bool broker_user_is_refused(const struct broker *broker);

/* From any thread. Safe against broker_close() only if the caller keeps the two apart. */
void broker_watch(struct broker *broker, int64_t now_ms);

/* As broker_watch(), at once, whatever the deadline. */
void broker_break_off(struct broker *broker);

/* Declarations. `denied` is set when the broker forbids them to this user: then the channel is gone
 * and the connection must be made anew. */
enum delivery broker_declare_exchange(struct broker *broker, const char *name, const char *type,
                                      bool *denied, struct error *error) MUST_CHECK;
enum delivery broker_declare_quorum_queue(struct broker *broker, const char *name,
                                          const char *dead_letter_exchange,
                                          const char *dead_letter_key, int delivery_limit,
                                          bool *denied, struct error *error) MUST_CHECK;
enum delivery broker_bind(struct broker *broker, const char *queue, const char *exchange,
                          const char *key, bool *denied, struct error *error) MUST_CHECK;

struct broker_header {
    const char *name;
    const char *text; /* NULL: a number */
    int64_t number;
};

struct broker_message {
    const char *exchange;
    const char *routing_key;
    const char *body;
    size_t body_size;
    const char *message_id;
    const char *type;
    const char *app_id;
    const char *user_id; /* the broker vouches for it: it must be the login's name */
    int64_t timestamp_s;
    struct broker_header headers[BROKER_HEADERS_MAX];
    size_t header_count;
};

/* Hands a persistent, mandatory message over. `*ret_tag` is the number under which the broker will
 * confirm it: 1, 2, 3 … of the connection. */
enum delivery broker_publish(struct broker *broker, const struct broker_message *message,
                             uint64_t *ret_tag, struct error *error) MUST_CHECK;

enum broker_event_kind {
    AMQP_NOTHING, /* nothing came in time */
    AMQP_ACK,     /* taken, durably */
    AMQP_NACK,    /* not taken */
    AMQP_RETURN,  /* no queue takes it; its ack follows all the same */
    AMQP_BLOCKED, /* the broker takes nothing for now */
    AMQP_UNBLOCKED,
};

struct broker_event {
    enum broker_event_kind kind;
    uint64_t tag;                  /* AMQP_ACK, AMQP_NACK */
    bool multiple;                 /* … and all before it */
    char message_id[AMQP_ID_SIZE]; /* AMQP_RETURN */
    char reason[64];               /* AMQP_RETURN, AMQP_BLOCKED */
};

/* Waits up to `timeout_ms` for the broker's next word; also sends and checks heartbeats.
 * DELIVERY_DOWN if the connection or the channel is gone. */
enum delivery broker_wait(struct broker *broker, int64_t timeout_ms, struct broker_event *ret_event,
                          struct error *error) MUST_CHECK;

enum delivery broker_queue_length(struct broker *broker, const char *queue, int64_t *ret_length,
                                  struct error *error) MUST_CHECK;

/* Why the broker didn't take a message. */
#define AMQP_UNROUTABLE "unroutable: no queue takes events of this type"
#define AMQP_NACKED "the broker said no (nack); a queue may be full"
#define AMQP_SILENT "the broker doesn't confirm; has each of its queues a leader?"

/* Waits for the confirm of `tag`, the only message on its way. Verdicts as broker_forward(). */
enum delivery broker_await_confirm(struct broker *broker, uint64_t tag,
                                   struct error *error) MUST_CHECK;

#endif
