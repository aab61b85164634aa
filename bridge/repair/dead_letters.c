#include "bridge/repair/dead_letters.h"

#include "bridge/adapters/broker_consume.h"
#include "bridge/adapters/topology.h"

struct drain {
    const struct dead_letters_options *options;
    struct broker *broker;
    struct replay_report *report;
};

/* The rows of one event; at most one on this sink. */
static void dead_letters_keep_row(void *context, const struct parked *parked)
{
    struct parked *row = context;
    *row = *parked;
}

static enum result settle_row(struct delivery_state *deliveries, const char *event_id,
                              struct error *error)
{
    struct parked row = {0};
    const struct parked_filter filter = {
        .sink = "rabbitmq", .event_id = event_id, .only_open = true};
    enum result result =
        delivery_state_each_parked(deliveries, &filter, dead_letters_keep_row, &row, error);
    if (result != RESULT_OK || row.sequence == 0)
        return result;
    result = delivery_state_settle_parked(deliveries, row.sink, row.sequence, PARKED_DELIVERED,
                                          "replayed from order.failed", error);
    return result == RESULT_NOT_FOUND ? RESULT_OK : result;
}

static void report_message(const struct drain *drain, const struct broker_delivery *delivery,
                           const char *reason)
{
    const struct dead_letters_options *options = drain->options;
    if (reason)
        drain->report->failed++;
    else
        drain->report->sent++;
    options->progress(options->context, broker_delivery_id(delivery),
                      broker_delivery_type(delivery), reason);
}

/* The message bears its sender's name, and goes on only under that. It is back in the queue when
 * the connection closes. */
static enum result fail_sending(const struct drain *drain, const struct broker_delivery *delivery,
                                struct error *error)
{
    if (!broker_user_is_refused(drain->broker))
        return RESULT_IO;
    return error_set(error, RESULT_REFUSED,
                     "%s was sent by %s, and the broker lets %s send nothing in another's name; "
                     "that takes a user with the tag impersonator",
                     broker_delivery_id(delivery), broker_delivery_user_id(delivery),
                     broker_user(drain->broker));
}

/* Publishes it again, waits for the confirm, then acknowledges it. What can't be sent stays
 * unacknowledged until the connection closes: a quorum queue gives what is returned first again,
 * and those behind it would never be reached. */
static enum result move_one(struct drain *drain, struct broker_delivery *delivery,
                            struct error *error)
{
    const char *type = broker_delivery_type(delivery);
    if (type[0] == '\0') {
        report_message(drain, delivery, "it doesn't say of what type it is");
        return RESULT_OK;
    }
    enum delivery done = broker_forward(drain->broker, delivery, TOPOLOGY_EVENTS, type, error);
    if (done == DELIVERY_REFUSED || done == DELIVERY_TRANSIENT) {
        report_message(drain, delivery, error->text);
        return RESULT_OK;
    }
    if (done != DELIVERY_DONE)
        return fail_sending(drain, delivery, error);
    enum result result =
        settle_row(drain->options->deliveries, broker_delivery_id(delivery), error);
    if (result == RESULT_OK && broker_acknowledge(drain->broker, delivery, error) != DELIVERY_DONE)
        result = RESULT_IO;
    if (result == RESULT_OK)
        report_message(drain, delivery, NULL);
    return result;
}

static enum result take_one(struct drain *drain, struct error *error)
{
    struct broker_delivery *delivery = NULL;
    enum delivery done = broker_get(drain->broker, TOPOLOGY_FAILED, &delivery, error);
    if (done != DELIVERY_DONE)
        return RESULT_IO;
    if (!delivery)
        return RESULT_NOT_FOUND;
    enum result result = RESULT_OK;
    if (drain->options->dry_run)
        report_message(drain, delivery, NULL); /* it goes back when the connection closes */
    else
        result = move_one(drain, delivery, error);
    broker_delivery_free(delivery);
    return result;
}

static enum result take_all(struct drain *drain, struct error *error)
{
    int64_t length = 0;
    if (broker_queue_length(drain->broker, TOPOLOGY_FAILED, &length, error) != DELIVERY_DONE)
        return RESULT_IO;
    int64_t limit = drain->options->limit;
    if (limit > 0 && limit < length)
        length = limit;
    for (int64_t i = 0; i < length; i++) {
        enum result result = take_one(drain, error);
        if (result == RESULT_NOT_FOUND)
            break; /* somebody else takes from it too */
        if (result != RESULT_OK)
            return result;
        if (drain->options->rate > 0)
            clock_sleep_ms(drain->options->clock, 1000 / drain->options->rate);
    }
    /* Asked once more so that every ack before it has been read when we close. */
    return broker_queue_length(drain->broker, TOPOLOGY_FAILED, &length, error) == DELIVERY_DONE
               ? RESULT_OK
               : RESULT_IO;
}

enum result dead_letters_drain(const struct dead_letters_options *options,
                               struct replay_report *report, struct error *error)
{
    struct drain drain = {.options = options, .report = report};
    if (!options->rabbitmq->url)
        return error_set(error, RESULT_INVALID, "amqp_url isn't set");
    if (broker_connect(options->rabbitmq, &drain.broker, error) != DELIVERY_DONE)
        return RESULT_IO;
    enum result result = take_all(&drain, error);
    broker_close(drain.broker);
    return result;
}
