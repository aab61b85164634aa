#include "tests/support/fake_notification_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/unit.h"

static const char EVENT_ID[] = "018bcfe5-6800-7000-8000-000000000001";

struct fake_store {
    struct fake_notification_store *fake;
    bool is_connected;
    char *event_id; /* of the last claim: gone when its texts are, so that ASan sees later uses */
};

static void drop_texts(struct fake_store *store)
{
    free(store->event_id);
    store->event_id = NULL;
}

/* Begins a call; true if it is to do its work. */
static bool begin_call(struct fake_notification_store *fake, enum fake_store_call call,
                       enum delivery *ret_verdict, struct error *error)
{
    const struct fake_store_fault *fault = &fake->faults[call];
    int number = ++fake->calls[call];
    *ret_verdict = DELIVERY_DONE;
    if (fake->on_call)
        fake->on_call(call, fake->context);
    if (fault->times == 0 || number < fault->nth || number - fault->nth >= fault->times)
        return true;
    fake_clock_advance(fake->clock, fault->late_ms);
    *ret_verdict = fault->verdict;
    if (fault->verdict != DELIVERY_DONE)
        error_write(error, "so says the test");
    return fault->verdict == DELIVERY_DONE || fault->is_answer_lost;
}

static int64_t fake_store_now_ms(const struct fake_notification_store *fake)
{
    return clock_monotonic_ms(&fake->clock->clock);
}

static struct fake_row *row_of(struct fake_notification_store *fake, int64_t id)
{
    assert_in_range(id, 1, fake->row_count);
    return &fake->rows[id];
}

static enum delivery fake_store_connect(void *self, struct error *error)
{
    struct fake_store *store = self;
    enum delivery verdict;
    assert_false(store->is_connected);
    (void)begin_call(store->fake, FAKE_STORE_CONNECT, &verdict, error);
    store->is_connected = verdict == DELIVERY_DONE;
    store->fake->connected += store->is_connected;
    return verdict;
}

static bool is_due(const struct fake_notification_store *fake, const struct fake_row *row)
{
    return (row->status == FAKE_ROW_PENDING || row->status == FAKE_ROW_SENDING) &&
           row->due_ms <= fake_store_now_ms(fake);
}

static enum delivery fake_store_claim(
    void *self, enum channel_kind channel, size_t max, int64_t claim_ms,
    struct notification ret_notifications[static NOTIFICATION_CLAIM_MAX], size_t *ret_count,
    struct error *error)
{
    struct fake_store *store = self;
    struct fake_notification_store *fake = store->fake;
    enum delivery verdict;
    size_t count = 0;
    assert_true(store->is_connected);
    drop_texts(store);
    if (!begin_call(fake, FAKE_STORE_CLAIM, &verdict, error))
        return verdict;
    store->event_id = strdup(EVENT_ID);
    assert_non_null(store->event_id);
    for (int64_t id = 1; id <= fake->row_count && count < max; id++) {
        struct fake_row *row = &fake->rows[id];
        if (row->channel != channel || !is_due(fake, row))
            continue;
        row->status = FAKE_ROW_SENDING;
        row->notification.claim++;
        row->due_ms = fake_store_now_ms(fake) + claim_ms;
        ret_notifications[count] = row->notification;
        ret_notifications[count++].event_id = store->event_id;
    }
    if (verdict == DELIVERY_DONE)
        *ret_count = count;
    return verdict;
}

static enum delivery fake_store_mark_sent(void *self, const int64_t *ids, size_t count,
                                          struct error *error)
{
    struct fake_store *store = self;
    enum delivery verdict;
    assert_true(store->is_connected);
    assert_in_range(count, 1, NOTIFICATION_CLAIM_MAX);
    if (!begin_call(store->fake, FAKE_STORE_MARK_SENT, &verdict, error))
        return verdict;
    for (size_t i = 0; i < count; i++) {
        struct fake_row *row = row_of(store->fake, ids[i]);
        if (row->status == FAKE_ROW_SENT)
            continue;
        row->status = FAKE_ROW_SENT;
        row->notification.attempts++;
        row->marked_sent++;
    }
    return verdict;
}

static enum delivery fake_store_mark_failed(void *self, const struct notification_failure *failure,
                                            bool *ret_given_up, struct error *error)
{
    struct fake_store *store = self;
    struct fake_row *row = row_of(store->fake, failure->id);
    enum delivery verdict;
    assert_true(store->is_connected);
    if (!begin_call(store->fake, FAKE_STORE_MARK_FAILED, &verdict, error))
        return verdict;
    bool is_claimed = row->notification.claim == failure->claim && row->status == FAKE_ROW_SENDING;
    if (is_claimed) {
        row->notification.attempts++;
        row->marked_failed++;
        row->status = failure->final || row->notification.attempts >= NOTIFICATION_TRIES
                          ? FAKE_ROW_FAILED
                          : FAKE_ROW_PENDING;
        row->due_ms = fake_store_now_ms(store->fake) + failure->delay_ms;
        snprintf(row->reason, sizeof row->reason, "%s", failure->reason);
    }
    if (verdict == DELIVERY_DONE)
        *ret_given_up = is_claimed && row->status == FAKE_ROW_FAILED;
    return verdict;
}

static void fake_store_close(void *self)
{
    struct fake_store *store = self;
    drop_texts(store);
    store->fake->connected -= store->is_connected;
    store->is_connected = false;
}

static void fake_store_free(void *self)
{
    struct fake_store *store = self;
    fake_store_close(store);
    store->fake->open--;
    free(store);
}

void fake_store_init(struct fake_notification_store *fake, struct fake_clock *clock)
{
    *fake = (struct fake_notification_store){.clock = clock};
}

void fake_store_open(struct fake_notification_store *fake, struct notification_store *ret_store)
{
    static const struct notification_store_ops OPS = {.connect = fake_store_connect,
                                                      .claim = fake_store_claim,
                                                      .mark_sent = fake_store_mark_sent,
                                                      .mark_failed = fake_store_mark_failed,
                                                      .close = fake_store_close,
                                                      .free = fake_store_free};
    struct fake_store *store = calloc(1, sizeof *store);
    assert_non_null(store);
    store->fake = fake;
    fake->open++;
    *ret_store = (struct notification_store){.ops = &OPS, .self = store};
}

int64_t fake_store_add(struct fake_notification_store *fake, enum channel_kind channel)
{
    assert_in_range(fake->row_count, 0, FAKE_STORE_ROWS_MAX - 2);
    int64_t id = ++fake->row_count;
    fake->rows[id] = (struct fake_row){
        .channel = channel,
        .due_ms = fake_store_now_ms(fake),
        .notification = {.id = id,
                         .kind = NOTIFICATION_CONFIRMATION,
                         .device_id = "till-1",
                         .location = "shop-1",
                         .order_id = id,
                         .user_id = 7,
                         .total_minor = 999,
                         .items = "[{\"product_id\":1,\"quantity\":1,\"unit_price\":999}]",
                         .occurred_at = "2026-01-31T09:05:00.250Z",
                         .email = ""}};
    return id;
}

void fake_store_fail(struct fake_notification_store *fake, enum fake_store_call call,
                     struct fake_store_fault fault)
{
    fake->calls[call] = 0;
    fake->faults[call] = fault;
}
