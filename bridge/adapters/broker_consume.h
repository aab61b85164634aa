/* RabbitMQ, the part that takes messages off queues. */
#ifndef TILLBOX_BRIDGE_BROKER_CONSUME_H
#define TILLBOX_BRIDGE_BROKER_CONSUME_H

#include "bridge/adapters/broker.h"

/* A message off a queue. What is neither acknowledged nor given back returns to the queue
 * when the connection closes. */
struct broker_delivery;

/* `*ret_delivery` is NULL if the queue is empty; otherwise the caller frees it. */
enum delivery broker_get(struct broker *broker, const char *queue,
                         struct broker_delivery **ret_delivery, struct error *error) MUST_CHECK;
void broker_delivery_free(struct broker_delivery *delivery);

/* From now on the broker sends what is in the queue, at most `prefetch` messages that aren't
 * acknowledged. */
enum delivery broker_consume(struct broker *broker, const char *queue, int prefetch,
                             struct error *error) MUST_CHECK;

/* The next message, waited for up to `timeout_ms`; `*ret_delivery` is NULL if none came. Of one
 * that is larger than `size_max` only the properties are kept. Also sends and checks heartbeats.
 * DELIVERY_DOWN if the connection or the queue is gone. */
enum delivery broker_next(struct broker *broker, int64_t timeout_ms, size_t size_max,
                          struct broker_delivery **ret_delivery, struct error *error) MUST_CHECK;

/* Acknowledges this one and all before it. */
enum delivery broker_acknowledge_through(struct broker *broker,
                                         const struct broker_delivery *delivery,
                                         struct error *error) MUST_CHECK;

/* Ends broker_consume(); when it returns, the broker has read every acknowledgement. */
enum delivery broker_cancel(struct broker *broker, struct error *error) MUST_CHECK;

/* The message's own id, type, app_id and user_id; "" if it has none. Only the last is vouched for
 * by the broker. */
const char *broker_delivery_id(const struct broker_delivery *delivery);
const char *broker_delivery_type(const struct broker_delivery *delivery);
const char *broker_delivery_app_id(const struct broker_delivery *delivery);
const char *broker_delivery_user_id(const struct broker_delivery *delivery);
const char *broker_delivery_body(const struct broker_delivery *delivery, size_t *ret_size);
bool broker_delivery_is_too_large(const struct broker_delivery *delivery);

/* Publishes it to the dead letters and waits for the confirm: body and properties as they are, but
 * for the expiry, and with the headers x-reason, x-attempts (1), x-original-routing-key and
 * x-refused-by. Not over the connection that consumes. Verdicts as broker_forward(). */
struct broker_refusal {
    const char *exchange, *key;
    const char *reason;
    const char *queue; /* where it came from */
    bool without_user; /* leave the user_id out */
};
enum delivery broker_dead_letter(struct broker *broker, const struct broker_delivery *delivery,
                                 const struct broker_refusal *refusal,
                                 struct error *error) MUST_CHECK;

/* Publishes it again, with all its properties, and waits for the confirm. Nothing else may be on
 * its way. DELIVERY_REFUSED: unroutable; DELIVERY_TRANSIENT: nacked; DELIVERY_DOWN with
 * broker_user_is_refused(): the message is another login's. */
enum delivery broker_forward(struct broker *broker, const struct broker_delivery *delivery,
                             const char *exchange, const char *key, struct error *error) MUST_CHECK;
enum delivery broker_acknowledge(struct broker *broker, const struct broker_delivery *delivery,
                                 struct error *error) MUST_CHECK;
/* Hands it to the queue's own dead letters, without a reason. */
enum delivery broker_reject(struct broker *broker, const struct broker_delivery *delivery,
                            struct error *error) MUST_CHECK;

#endif
