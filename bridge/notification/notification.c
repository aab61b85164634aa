#include "bridge/notification/notification.h"

#include <stdio.h>
#include <string.h>

#include "bridge/adapters/pg.h"

enum { NUMBER_SIZE = 24 };

#define TIME(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

/* Rows that others hold are passed over: any number of senders share the work. A message waits for
 * the earlier ones of its order. */
static const char CLAIM[] =
    "WITH due AS (SELECT id FROM notifications n WHERE channel = $1"
    "  AND status IN ('pending', 'sending') AND due_at <= now()"
    "  AND NOT EXISTS (SELECT FROM notifications e WHERE e.channel = n.channel"
    "    AND e.device_id = n.device_id AND e.order_id = n.order_id AND e.id < n.id"
    "    AND e.status IN ('pending', 'sending'))"
    "  ORDER BY due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED),"
    "taken AS (UPDATE notifications n SET status = 'sending', claim = n.claim + 1,"
    "  due_at = now() + $3::bigint * interval '1 millisecond'"
    "  FROM due WHERE n.id = due.id RETURNING n.*) "
    "SELECT id, claim, attempts, event_id, kind, device_id, location, order_id, user_id, total,"
    "  items, " TIME(
        "occurred_at") ", CASE WHEN channel = 'smtp' THEN"
                       "    (SELECT c.email FROM contacts c WHERE c.user_id = taken.user_id) END"
                       "  FROM taken ORDER BY id";

static const char MARK_SENT[] =
    "UPDATE notifications SET status = 'sent', attempts = attempts + 1, sent_at = now(),"
    " last_error = NULL WHERE id = ANY ($1::bigint[]) AND status <> 'sent'";

static const char MARK_FAILED[] =
    "UPDATE notifications SET attempts = attempts + 1, last_error = $3,"
    " status = CASE WHEN $4 OR attempts + 1 >= $5 THEN 'failed' ELSE 'pending' END,"
    " due_at = now() + $6::bigint * interval '1 millisecond'"
    " WHERE id = $1 AND claim = $2 AND status = 'sending' RETURNING status = 'failed'";

static const char COUNT[] =
    "SELECT channel, count(*), 0, extract(epoch FROM now() - min(created_at))::bigint"
    "  FROM notifications WHERE status IN ('pending', 'sending') GROUP BY channel "
    "UNION ALL SELECT channel, 0, count(*), 0 FROM notifications WHERE status = 'failed'"
    "  GROUP BY channel";

static const char LIST[] = "SELECT " TIME(
    "created_at") ", event_id, channel, kind, status, attempts, device_id, order_id,"
                  " " TIME("sent_at") ", last_error FROM notifications"
                                      " WHERE ($1::uuid IS NULL OR event_id = $1::uuid) AND (NOT "
                                      "$2::boolean OR status = 'failed')"
                                      " ORDER BY id DESC LIMIT $3";

static const char RETRY[] =
    "UPDATE notifications SET status = 'pending', attempts = 0, due_at = now()"
    " WHERE status = 'failed' AND ($1::uuid IS NULL OR event_id = $1::uuid) RETURNING id";

static const char *number(char ret_text[static NUMBER_SIZE], int64_t value)
{
    snprintf(ret_text, NUMBER_SIZE, "%lld", (long long)value);
    return ret_text;
}

static struct notification read_row(const struct pg_rows *rows, size_t row)
{
    return (struct notification){
        .id = pg_int(rows, row, 0),
        .claim = pg_int(rows, row, 1),
        .attempts = pg_int(rows, row, 2),
        .event_id = pg_text(rows, row, 3),
        .kind = pg_text(rows, row, 4),
        .device_id = pg_text(rows, row, 5),
        .location = pg_text(rows, row, 6),
        .order_id = pg_int(rows, row, 7),
        .user_id = pg_int(rows, row, 8),
        .total_minor = pg_int(rows, row, 9),
        .items = pg_text(rows, row, 10),
        .occurred_at = pg_text(rows, row, 11),
        .email = pg_text(rows, row, 12),
    };
}

enum delivery notification_claim(
    struct pg *pg, enum channel_kind channel, size_t max, int64_t claim_ms,
    struct notification ret_notifications[static NOTIFICATION_CLAIM_MAX], size_t *ret_count,
    struct pg_rows **ret_rows, struct error *error)
{
    char limit[NUMBER_SIZE], duration[NUMBER_SIZE];
    struct pg_rows *rows = NULL;
    max = max < NOTIFICATION_CLAIM_MAX ? max : NOTIFICATION_CLAIM_MAX;
    const char *const values[] = {channel_name(channel), number(limit, (int64_t)max),
                                  number(duration, claim_ms)};
    enum delivery done = pg_run(pg, CLAIM, ARRAY_LENGTH(values), values, &rows, error);
    if (done != DELIVERY_DONE)
        return done;
    for (size_t row = 0; row < pg_row_count(rows); row++)
        ret_notifications[row] = read_row(rows, row);
    *ret_count = pg_row_count(rows);
    *ret_rows = rows;
    return DELIVERY_DONE;
}

enum delivery notification_mark_sent(struct pg *pg, const char *ids, struct error *error)
{
    const char *const values[] = {ids};
    return pg_run(pg, MARK_SENT, ARRAY_LENGTH(values), values, NULL, error);
}

enum delivery notification_mark_failed(struct pg *pg, const struct notification_failure *failure,
                                       bool *ret_given_up, struct error *error)
{
    char id[NUMBER_SIZE], claim[NUMBER_SIZE], tries[NUMBER_SIZE], delay[NUMBER_SIZE];
    struct pg_rows *rows = NULL;
    const char *const values[] = {number(id, failure->id),
                                  number(claim, failure->claim),
                                  failure->reason,
                                  failure->final ? "true" : "false",
                                  number(tries, NOTIFICATION_TRIES),
                                  number(delay, failure->delay_ms)};
    enum delivery done = pg_run(pg, MARK_FAILED, ARRAY_LENGTH(values), values, &rows, error);
    if (done == DELIVERY_DONE)
        *ret_given_up = pg_row_count(rows) > 0 && strcmp(pg_text(rows, 0, 0), "t") == 0;
    pg_free_rows(rows);
    return done;
}

enum delivery notification_count(struct pg *pg, struct notification_counts *ret_counts,
                                 struct error *error)
{
    struct pg_rows *rows = NULL;
    struct notification_counts counts = {0};
    enum channel_kind channel = CHANNEL_LOG;
    enum delivery done = pg_run(pg, COUNT, 0, NULL, &rows, error);
    if (done != DELIVERY_DONE)
        return done;
    for (size_t row = 0; row < pg_row_count(rows); row++) {
        if (!channel_find(pg_text(rows, row, 0), &channel))
            continue;
        counts.waiting[channel] += pg_int(rows, row, 1);
        counts.failed[channel] += pg_int(rows, row, 2);
        counts.oldest_s[channel] += pg_int(rows, row, 3);
    }
    pg_free_rows(rows);
    *ret_counts = counts;
    return DELIVERY_DONE;
}

enum delivery notification_list(struct pg *pg, const struct notification_filter *filter,
                                struct pg_rows **ret_rows, struct error *error)
{
    char limit[NUMBER_SIZE];
    int64_t most = filter->limit > 0 && filter->limit < NOTIFICATION_LIST_MAX
                       ? filter->limit
                       : NOTIFICATION_LIST_MAX;
    const char *const values[] = {filter->event_id, filter->only_failed ? "true" : "false",
                                  number(limit, most)};
    return pg_run(pg, LIST, ARRAY_LENGTH(values), values, ret_rows, error);
}

enum delivery notification_retry(struct pg *pg, const char *event_id, int64_t *ret_count,
                                 struct error *error)
{
    struct pg_rows *rows = NULL;
    const char *const values[] = {event_id};
    enum delivery done = pg_run(pg, RETRY, ARRAY_LENGTH(values), values, &rows, error);
    if (done == DELIVERY_DONE)
        *ret_count = (int64_t)pg_row_count(rows);
    pg_free_rows(rows);
    return done;
}
