/* What the files of the AMQP adapter share; nobody else includes this. */
#ifndef TILLBOX_BRIDGE_BROKER_INTERNAL_H
#define TILLBOX_BRIDGE_BROKER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/time.h>

/* rabbitmq-c 0.12 gave its headers a folder; later versions warn where the old names are used. */
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif

#include "bridge/adapters/broker.h"

enum { AMQP_CHANNEL = 1, AMQP_PERSISTENT = 2 };

#define AMQP_CONSUMER "tillbox" /* consumer tag; a channel has one */

/* A message off a queue; its texts are copied, for libraries don't end them with a NUL. */
struct broker_delivery {
    uint64_t tag;
    bool is_too_large; /* then it has no body */
    amqp_message_t message;
    char id[AMQP_ID_SIZE];
    char type[AMQP_TYPE_SIZE];
    char app_id[AMQP_NAME_SIZE];
    char user_id[AMQP_NAME_SIZE];
    char routing_key[AMQP_NAME_SIZE];
};

struct broker {
    struct broker_options options;
    amqp_connection_state_t connection;
    pthread_mutex_t lock; /* of the number of the socket */
    int socket;           /* -1 until it is open */
    atomic_bool is_cancelled;
    struct error tls_error; /* what is wrong with the broker's certificate */
    char user[AMQP_NAME_SIZE];
    bool is_user_refused;
    uint64_t next_tag;
    atomic_int_least64_t deadline_ms; /* of the call under way */
};

/* The call that follows may wait: from now on the watchdog counts. */
void broker_begin_call(struct broker *broker);
void broker_end_call(struct broker *broker);

/* Both write the cause and give DELIVERY_DOWN, broker_check_reply DELIVERY_DONE if all is well.
 * `denied` may be NULL; it is set when the broker forbids this to the user. */
enum delivery broker_fail_status(const char *what, int status, struct error *error) MUST_CHECK;
enum delivery broker_check_reply(const char *what, amqp_rpc_reply_t reply, bool *denied,
                                 struct error *error) MUST_CHECK;

/* The broker has closed the channel or the connection: why. */
enum delivery broker_read_closed(struct broker *broker, const amqp_frame_t *frame,
                                 struct error *error) MUST_CHECK;

bool broker_is_method(const amqp_frame_t *frame, amqp_method_number_t id);

/* The next frame of our channel; `*ret_came` is false if none came in time. What is said about the
 * connection as a whole may stand between a message's frames. */
enum delivery broker_next_frame(struct broker *broker, int64_t timeout_ms, amqp_frame_t *ret_frame,
                                bool *ret_came, struct error *error) MUST_CHECK;

/* A frame that must come, as the message has begun. A message is read by its frames:
 * amqp_read_message() fails for headers that amqp_table_clone() can't copy, and leaves the body. */
enum delivery broker_rest_frame(struct broker *broker, uint8_t type, amqp_frame_t *ret_frame,
                                struct error *error) MUST_CHECK;

void broker_copy_bytes(char *ret_text, size_t size, amqp_bytes_t bytes);
struct timeval broker_timeval_of(int64_t duration_ms);

/* A header or argument; both texts must outlive it. */
amqp_table_entry_t amqp_text_entry(const char *name, const char *text);
amqp_table_entry_t amqp_number_entry(const char *name, int64_t number);

#endif
