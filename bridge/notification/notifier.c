#include "bridge/notification/notifier.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/retry.h"

enum { IDS_MAX = 4096, RECONNECT_BASE_MS = 200, RECONNECT_CAP_MS = 5000 };

/* How a channel works: those that wait for somebody take one message at a time, so that a claim
 * needn't last longer than one try. */
static const struct {
    int threads;
    size_t batch;
} WORK[] = {
    [CHANNEL_LOG] = {1, NOTIFICATION_CLAIM_MAX},
    [CHANNEL_WEBHOOK] = {NOTIFIER_THREADS_MAX, 1},
    [CHANNEL_SMTP] = {NOTIFIER_THREADS_MAX, 1},
};

struct sender {
    struct notifier *notifier;
    enum channel_kind kind;
    struct channel channel;
    pthread_t thread;
    struct pg *pg;
    struct retry reconnect;
    int64_t look_again_ms; /* when there is nothing to do */
    bool is_down;          /* the database; told once */
    struct buf sent;       /* ids that have to be marked: "7,8" */
    struct buf subject, text;
    struct notification batch[NOTIFICATION_CLAIM_MAX];
};

struct notifier {
    struct notifier_options options;
    struct pg_options postgres;
    struct latch break_off; /* ends what waits for the database */
    struct sender *senders[CHANNEL_COUNT * NOTIFIER_THREADS_MAX];
    size_t sender_count;
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t wake;
    uint64_t wakeups;
    int running; /* senders that have not ended */
    bool stopping;
    struct notifier_stats stats;
};

static bool notifier_is_stopping(struct notifier *notifier)
{
    pthread_mutex_lock(&notifier->lock);
    bool stopping = notifier->stopping;
    pthread_mutex_unlock(&notifier->lock);
    return stopping;
}

static uint64_t wakeups_of(struct notifier *notifier)
{
    pthread_mutex_lock(&notifier->lock);
    uint64_t wakeups = notifier->wakeups;
    pthread_mutex_unlock(&notifier->lock);
    return wakeups;
}

/* Until the time is over, the notifier stops, or there has been another wakeup than `seen`. */
static void notifier_wait_for(struct notifier *notifier, int64_t duration_ms, uint64_t seen)
{
    int64_t until_ns = clock_deadline_ns(notifier->options.clock, duration_ms);
    pthread_mutex_lock(&notifier->lock);
    while (!notifier->stopping && notifier->wakeups == seen)
        if (clock_wait(notifier->options.clock, &notifier->wake, &notifier->lock, until_ns))
            break;
    pthread_mutex_unlock(&notifier->lock);
}

static void count(struct sender *sender, int64_t counters[static CHANNEL_COUNT])
{
    pthread_mutex_lock(&sender->notifier->lock);
    counters[sender->kind]++;
    pthread_mutex_unlock(&sender->notifier->lock);
}

static void lose_database(struct sender *sender, const struct error *error)
{
    pg_close(sender->pg);
    sender->pg = NULL;
    if (!sender->is_down)
        LOG(LOG_WARN, "notifier.database", LOG_TEXT("channel", channel_name(sender->kind)),
            LOG_TEXT("state", "down"), LOG_TEXT("reason", error->text));
    sender->is_down = true;
}

static bool connect_database(struct sender *sender)
{
    struct error error = {0};
    if (sender->pg)
        return true;
    if (pg_connect(&sender->notifier->postgres, &sender->pg, &error) != DELIVERY_DONE) {
        lose_database(sender, &error);
        return false;
    }
    retry_reset(&sender->reconnect);
    if (sender->is_down)
        LOG(LOG_INFO, "notifier.database", LOG_TEXT("channel", channel_name(sender->kind)),
            LOG_TEXT("state", "up"));
    sender->is_down = false;
    return true;
}

/* False if the database went away: the ids stay. */
static bool mark_sent(struct sender *sender)
{
    char ids[IDS_MAX];
    struct error error = {0};
    if (sender->sent.size == 0)
        return true;
    snprintf(ids, sizeof ids, "{%s}", buf_text(&sender->sent));
    if (notification_mark_sent(sender->pg, ids, &error) != DELIVERY_DONE) {
        lose_database(sender, &error);
        return false;
    }
    buf_clear(&sender->sent);
    return true;
}

static bool is_final(enum result result)
{
    return result == RESULT_REFUSED || result == RESULT_INVALID;
}

/* The pause before the try that follows the `attempts`-th. */
static int64_t pause_ms(const struct notifier_options *options, int64_t attempts)
{
    struct retry retry;
    int64_t base_ms = options->retry_ms, pause = 0;
    const struct retry_options limits = {.base_ms = base_ms,
                                         .cap_ms = base_ms << NOTIFICATION_TRIES};
    retry_init(&retry, &limits);
    for (int64_t i = 0; i <= attempts; i++)
        pause = retry_next_ms(&retry, options->random);
    return pause;
}

static void tell_failure(const struct sender *sender, const struct notification *notification,
                         bool given_up, const struct error *cause)
{
    LOG(LOG_WARN, given_up ? "notification.failed" : "notification.retried",
        LOG_TEXT("channel", channel_name(sender->kind)), LOG_TEXT("kind", notification->kind),
        LOG_TEXT("event_id", notification->event_id),
        LOG_INT("attempt", notification->attempts + 1), LOG_TEXT("reason", cause->text));
}

/* What a peer said may hold anything; the database takes UTF-8. */
static void make_plain(char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

static void settle_failure(struct sender *sender, const struct notification *notification,
                           enum result result, struct error *cause)
{
    struct notifier *notifier = sender->notifier;
    struct error error = {0};
    bool given_up = false;
    make_plain(cause->text);
    const struct notification_failure failure = {
        .id = notification->id,
        .claim = notification->claim,
        .final = is_final(result),
        .delay_ms = pause_ms(&notifier->options, notification->attempts),
        .reason = cause->text[0] ? cause->text : result_text(result)};
    if (failure.delay_ms < sender->look_again_ms)
        sender->look_again_ms = failure.delay_ms + 1;
    /* Should the database be away, the claim runs out, and the try counts for nothing. */
    if (notification_mark_failed(sender->pg, &failure, &given_up, &error) != DELIVERY_DONE) {
        lose_database(sender, &error);
        return;
    }
    tell_failure(sender, notification, given_up, cause);
    count(sender, given_up ? notifier->stats.given_up : notifier->stats.retried);
}

static enum result notifier_try_once(struct sender *sender, const struct notification *notification,
                                     struct error *error)
{
    char total[NOTIFICATION_AMOUNT_SIZE];
    const struct notification_texts *texts = sender->notifier->options.texts;
    buf_clear(&sender->subject);
    buf_clear(&sender->text);
    enum result result = notification_write(texts, notification, &sender->subject, &sender->text);
    if (result != RESULT_OK)
        return error_set(error, result, "the text can't be written");
    notification_format_amount(&texts->currency, notification->total_minor, total);
    const struct channel_message message = {.notification = notification,
                                            .subject = buf_text(&sender->subject),
                                            .text = buf_text(&sender->text),
                                            .total = total};
    return sender->channel.ops->send(sender->channel.self, &message, error);
}

static void send_one(struct sender *sender, const struct notification *notification)
{
    struct error error = {0};
    enum result result = notifier_try_once(sender, notification, &error);
    if (result != RESULT_OK) {
        settle_failure(sender, notification, result, &error);
        return;
    }
    buf_append_format(&sender->sent, "%s%lld", sender->sent.size > 0 ? "," : "",
                      (long long)notification->id);
    count(sender, sender->notifier->stats.sent);
    LOG(LOG_DEBUG, "notification.sent", LOG_TEXT("channel", channel_name(sender->kind)),
        LOG_TEXT("kind", notification->kind), LOG_TEXT("event_id", notification->event_id),
        LOG_INT("attempt", notification->attempts + 1));
}

/* False if there was nothing to do, or the database went away. */
static bool send_batch(struct sender *sender)
{
    struct error error = {0};
    struct pg_rows *rows = NULL;
    size_t taken = 0;
    int64_t claim_ms = sender->notifier->options.channel->timeout_ms + NOTIFIER_CLAIM_SLACK_MS;
    if (notification_claim(sender->pg, sender->kind, WORK[sender->kind].batch, claim_ms,
                           sender->batch, &taken, &rows, &error) != DELIVERY_DONE) {
        lose_database(sender, &error);
        return false;
    }
    for (size_t i = 0; i < taken && sender->pg; i++)
        send_one(sender, &sender->batch[i]);
    pg_free_rows(rows);
    return taken > 0 && sender->pg && mark_sent(sender);
}

/* Nothing is due; what this sender has put off will be the next. */
static void rest(struct sender *sender, uint64_t seen)
{
    notifier_wait_for(sender->notifier, sender->look_again_ms, seen);
    sender->look_again_ms = NOTIFIER_IDLE_MS;
}

static void *notifier_run(void *context)
{
    struct sender *sender = context;
    struct notifier *notifier = sender->notifier;
    while (!notifier_is_stopping(notifier)) {
        uint64_t seen = wakeups_of(notifier);
        if (!connect_database(sender) || !mark_sent(sender))
            notifier_wait_for(notifier, retry_next_ms(&sender->reconnect, notifier->options.random),
                              seen);
        else if (!send_batch(sender))
            rest(sender, seen);
    }
    pthread_mutex_lock(&notifier->lock);
    notifier->running--;
    pthread_mutex_unlock(&notifier->lock);
    pthread_cond_broadcast(&notifier->wake);
    return NULL;
}

static void sender_free(struct sender *sender)
{
    channel_free(&sender->channel);
    pg_close(sender->pg);
    buf_done(&sender->sent);
    buf_done(&sender->subject);
    buf_done(&sender->text);
    free(sender);
}

static enum result start_sender(struct notifier *notifier, enum channel_kind kind)
{
    static const struct retry_options RECONNECT = {.base_ms = RECONNECT_BASE_MS,
                                                   .cap_ms = RECONNECT_CAP_MS};
    struct sender *sender = calloc(1, sizeof *sender);
    if (!sender)
        return RESULT_NO_MEMORY;
    sender->notifier = notifier;
    sender->kind = kind;
    sender->look_again_ms = NOTIFIER_IDLE_MS;
    retry_init(&sender->reconnect, &RECONNECT);
    buf_init(&sender->sent, IDS_MAX - 3);
    buf_init(&sender->subject, NOTIFICATION_TEXT_MAX);
    buf_init(&sender->text, NOTIFICATION_TEXT_MAX);
    const struct notifier_options *options = &notifier->options;
    enum result result = channel_new(kind, options->channel, options->clock, &sender->channel);
    pthread_mutex_lock(&notifier->lock);
    if (result == RESULT_OK && pthread_create(&sender->thread, NULL, notifier_run, sender) != 0)
        result = RESULT_NO_MEMORY;
    if (result == RESULT_OK) {
        notifier->senders[notifier->sender_count++] = sender;
        notifier->running++;
    }
    pthread_mutex_unlock(&notifier->lock);
    if (result != RESULT_OK)
        sender_free(sender);
    return result;
}

enum result notifier_start(const struct notifier_options *options, struct notifier **ret_notifier,
                           struct error *error)
{
    struct notifier *notifier = calloc(1, sizeof *notifier);
    enum result result = notifier ? RESULT_OK : RESULT_NO_MEMORY;
    if (!notifier)
        return result;
    result = latch_init(&notifier->break_off);
    if (result != RESULT_OK) {
        free(notifier);
        return error_set(error, result, "no descriptor is left");
    }
    notifier->options = *options;
    notifier->postgres = *options->postgres;
    notifier->postgres.break_off = &notifier->break_off;
    notifier->postgres.application_name = "tillbox-notifier";
    pthread_cond_init(&notifier->wake, NULL);
    pthread_mutex_init(&notifier->lock, NULL);
    for (int kind = 0; kind < CHANNEL_COUNT; kind++)
        for (int i = 0; options->channels[kind] && i < WORK[kind].threads; i++)
            if (result == RESULT_OK)
                result = start_sender(notifier, (enum channel_kind)kind);
    if (result != RESULT_OK) {
        notifier_stop(notifier);
        return error_set(error, result, "a sender doesn't start");
    }
    *ret_notifier = notifier;
    return RESULT_OK;
}

void notifier_wake(struct notifier *notifier)
{
    pthread_mutex_lock(&notifier->lock);
    notifier->wakeups++;
    pthread_mutex_unlock(&notifier->lock);
    pthread_cond_broadcast(&notifier->wake);
}

void notifier_stats(struct notifier *notifier, struct notifier_stats *ret_stats)
{
    pthread_mutex_lock(&notifier->lock);
    *ret_stats = notifier->stats;
    pthread_mutex_unlock(&notifier->lock);
}

/* A try comes to its end by itself; what waits for a database that hangs is then broken off. */
static void end_senders(struct notifier *notifier)
{
    int64_t until_ns = clock_deadline_ns(notifier->options.clock,
                                         notifier->options.channel->timeout_ms + NOTIFIER_MARK_MS);
    pthread_mutex_lock(&notifier->lock);
    notifier->stopping = true;
    pthread_cond_broadcast(&notifier->wake);
    while (notifier->running > 0)
        if (clock_wait(notifier->options.clock, &notifier->wake, &notifier->lock, until_ns))
            break;
    pthread_mutex_unlock(&notifier->lock);
    latch_raise(&notifier->break_off);
}

void notifier_stop(struct notifier *notifier)
{
    if (!notifier)
        return;
    end_senders(notifier);
    for (size_t i = 0; i < notifier->sender_count; i++) {
        pthread_join(notifier->senders[i]->thread, NULL);
        sender_free(notifier->senders[i]);
    }
    pthread_cond_destroy(&notifier->wake);
    pthread_mutex_destroy(&notifier->lock);
    latch_done(&notifier->break_off);
    free(notifier);
}
