/* Messages to customers in head office's database: written down as events are consumed, taken by
 * senders, marked as sent or failed.
 *
 *   pending ──claim──▶ sending ──mark sent──▶ sent
 *      ▲                  │ ╲
 *      └──mark failed─────┘  ╲──mark failed, the last try──▶ failed ──retry──▶ pending
 *
 * A claim ends by itself when its time is over: the message of a sender that was killed is taken by
 * another, and may then arrive twice. */
#ifndef TILLBOX_BRIDGE_NOTIFICATION_H
#define TILLBOX_BRIDGE_NOTIFICATION_H

#include "bridge/adapters/delivery.h"
#include "bridge/notification/channel_kind.h"
#include "core/json.h"
#include "core/uuid.h"

struct pg;
struct pg_rows;

enum { NOTIFICATION_TRIES = 3, NOTIFICATION_CLAIM_MAX = 100, NOTIFICATION_LIST_MAX = 1000 };

#define NOTIFICATION_CONFIRMATION "order_confirmation"
#define NOTIFICATION_CANCELLATION "cancellation_alert"

/* One message to one receiver. Texts live as long as the rows they were read from. */
struct notification {
    int64_t id;
    int64_t claim;
    int64_t attempts; /* that failed so far */
    const char *event_id;
    const char *kind;
    const char *device_id, *location;
    int64_t order_id, user_id, total_minor;
    const char *items;       /* JSON: [{"product_id", "quantity", "unit_price"}, …] */
    const char *occurred_at; /* RFC 3339 in UTC */
    const char *email;       /* of the user; "" if there is no contact. For CHANNEL_SMTP only */
};

/* Claims up to `max` messages of a channel that are due, for `claim_ms`. The rows are freed by the
 * caller, after the last use of the notifications. */
enum delivery notification_claim(
    struct pg *pg, enum channel_kind channel, size_t max, int64_t claim_ms,
    struct notification ret_notifications[static NOTIFICATION_CLAIM_MAX], size_t *ret_count,
    struct pg_rows **ret_rows, struct error *error) MUST_CHECK;

/* They were sent, whoever has claimed them meanwhile. `ids` is a PostgreSQL array, "{7,8}". */
enum delivery notification_mark_sent(struct pg *pg, const char *ids,
                                     struct error *error) MUST_CHECK;

/* An attempt failed. The last of NOTIFICATION_TRIES, or one that is `final`, makes it "failed";
 * others are due again after `delay_ms`. Nothing changes if the claim is another's by now. */
struct notification_failure {
    int64_t id, claim;
    bool final;
    int64_t delay_ms;
    const char *reason;
};
enum delivery notification_mark_failed(struct pg *pg, const struct notification_failure *failure,
                                       bool *ret_given_up, struct error *error) MUST_CHECK;

/* How many there are of each channel. */
struct notification_counts {
    int64_t waiting[CHANNEL_COUNT]; /* pending or being sent */
    int64_t failed[CHANNEL_COUNT];
    int64_t oldest_s[CHANNEL_COUNT]; /* age of the oldest that waits */
};
enum delivery notification_count(struct pg *pg, struct notification_counts *ret_counts,
                                 struct error *error) MUST_CHECK;

/* The newest messages, failed ones alone if `only_failed`, of one event if `event_id` isn't NULL.
 */
struct notification_filter {
    const char *event_id;
    bool only_failed;
    int64_t limit; /* 0: NOTIFICATION_LIST_MAX */
};
enum delivery notification_list(struct pg *pg, const struct notification_filter *filter,
                                struct pg_rows **ret_rows, struct error *error) MUST_CHECK;

/* The columns of notification_list's rows. */
enum notification_column {
    NOTIFICATION_AT, /* created_at */
    NOTIFICATION_EVENT_ID,
    NOTIFICATION_CHANNEL,
    NOTIFICATION_KIND,
    NOTIFICATION_STATUS,
    NOTIFICATION_ATTEMPTS,
    NOTIFICATION_DEVICE_ID,
    NOTIFICATION_ORDER_ID,
    NOTIFICATION_SENT_AT,
    NOTIFICATION_ERROR,
};

/* Makes failed messages pending again, of one event or of all (`event_id` NULL). */
enum delivery notification_retry(struct pg *pg, const char *event_id, int64_t *ret_count,
                                 struct error *error) MUST_CHECK;

#endif
