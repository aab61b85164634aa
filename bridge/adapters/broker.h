/* RabbitMQ, by rabbitmq-c: the only place that knows it. A connection with one channel in confirm
 * mode, for one thread.
 *
 * rabbitmq-c can wait for ever in a publish, when the broker stops reading. So every call that may
 * wait sets a deadline, and amqp_watch(), from another thread, shuts the socket down when one has
 * passed: the call then fails, and the caller connects anew. */
#ifndef TILLBOX_BRIDGE_AMQP_H
#define TILLBOX_BRIDGE_AMQP_H

#include <stddef.h>
#include <stdint.h>

#include "bridge/adapters/delivery.h"
#include "core/clock.h"
#include "core/result.h"

struct amqp;

enum {
    AMQP_ID_SIZE = 37,
    AMQP_TYPE_SIZE = 64,
    AMQP_NAME_SIZE = 256, /* any short text of AMQP, with a NUL */
    AMQP_HEADERS_MAX = 6,
    AMQP_FOREIGN_HEADERS_MAX = 16 << 10, /* bytes; more don't go along to the dead letters */
};

struct amqp_options {
    const char *url;           /* amqp:// or amqps://, with user, password and virtual host */
    const char *password_file; /* read for each connection; NULL: the URL's password */
    const char *ca_file;       /* for amqps; NULL: the system's */
    int64_t deadline_ms;       /* for connecting and for each call */
    const struct clock *clock;
};

/* Not connected yet; NULL without memory. amqp_watch() and amqp_break_off() work from here on. */
struct amqp *amqp_new(const struct amqp_options *options) MUST_CHECK;

/* Once. DELIVERY_DOWN if the broker can't be had now: then there is only amqp_close(). */
enum delivery amqp_open(struct amqp *amqp, struct error *error) MUST_CHECK;

/* Both at once. */
enum delivery amqp_connect(const struct amqp_options *options, struct amqp **ret_amqp,
                           struct error *error) MUST_CHECK;

/* Closes without a farewell, which might hang. */
void amqp_close(struct amqp *amqp);

/* The login's name, as in the URL; once it is open. */
const char *amqp_user(const struct amqp *amqp);

/* Has the broker closed the channel since a message bore another login's name? Only a user with the
 * tag `impersonator` may send such ones. */
bool amqp_user_is_refused(const struct amqp *amqp);

/* From any thread. Safe against amqp_close() only if the caller keeps the two apart. */
void amqp_watch(struct amqp *amqp, int64_t now_ms);

/* As amqp_watch(), at once, whatever the deadline. */
void amqp_break_off(struct amqp *amqp);

/* Declarations. `denied` is set when the broker forbids them to this user: then the channel is gone
 * and the connection must be made anew. */
enum delivery amqp_declare_exchange(struct amqp *amqp, const char *name, const char *type,
                                    bool *denied, struct error *error) MUST_CHECK;
enum delivery amqp_declare_quorum_queue(struct amqp *amqp, const char *name,
                                        const char *dead_letter_exchange,
                                        const char *dead_letter_key, int delivery_limit,
                                        bool *denied, struct error *error) MUST_CHECK;
enum delivery amqp_bind(struct amqp *amqp, const char *queue, const char *exchange, const char *key,
                        bool *denied, struct error *error) MUST_CHECK;

struct amqp_header {
    const char *name;
    const char *text; /* NULL: a number */
    int64_t number;
};

struct amqp_message {
    const char *exchange;
    const char *routing_key;
    const char *body;
    size_t body_size;
    const char *message_id;
    const char *type;
    const char *app_id;
    const char *user_id; /* the broker vouches for it: it must be the login's name */
    int64_t timestamp_s;
    struct amqp_header headers[AMQP_HEADERS_MAX];
    size_t header_count;
};

/* Hands a persistent, mandatory message over. `*ret_tag` is the number under which the broker will
 * confirm it: 1, 2, 3 … of the connection. */
enum delivery amqp_publish(struct amqp *amqp, const struct amqp_message *message, uint64_t *ret_tag,
                           struct error *error) MUST_CHECK;

enum amqp_event_kind {
    AMQP_NOTHING, /* nothing came in time */
    AMQP_ACK,     /* taken, durably */
    AMQP_NACK,    /* not taken */
    AMQP_RETURN,  /* no queue takes it; its ack follows all the same */
    AMQP_BLOCKED, /* the broker takes nothing for now */
    AMQP_UNBLOCKED,
};

struct amqp_event {
    enum amqp_event_kind kind;
    uint64_t tag;                  /* AMQP_ACK, AMQP_NACK */
    bool multiple;                 /* … and all before it */
    char message_id[AMQP_ID_SIZE]; /* AMQP_RETURN */
    char reason[64];               /* AMQP_RETURN, AMQP_BLOCKED */
};

/* Waits up to `timeout_ms` for the broker's next word; also sends and checks heartbeats.
 * DELIVERY_DOWN if the connection or the channel is gone. */
enum delivery amqp_wait(struct amqp *amqp, int64_t timeout_ms, struct amqp_event *ret_event,
                        struct error *error) MUST_CHECK;

enum delivery amqp_queue_length(struct amqp *amqp, const char *queue, int64_t *ret_length,
                                struct error *error) MUST_CHECK;

/* Why the broker didn't take a message. */
#define AMQP_UNROUTABLE "unroutable: no queue takes events of this type"
#define AMQP_NACKED "the broker said no (nack); a queue may be full"
#define AMQP_SILENT "the broker doesn't confirm; has each of its queues a leader?"

/* Waits for the confirm of `tag`, the only message on its way. Verdicts as amqp_forward(). */
enum delivery amqp_await_confirm(struct amqp *amqp, uint64_t tag, struct error *error) MUST_CHECK;

#endif
