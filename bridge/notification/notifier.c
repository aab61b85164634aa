#include "bridge/notification/notifier.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/log.h"
#include "core/retry.h"

enum { RECONNECT_BASE_MS = 200, RECONNECT_CAP_MS = 5000 };

#define TO MACHINE_NEXT
static const struct machine_state STATES[] = {
    [NOTIFIER_CONNECTING] = {"CONNECTING", TO(NOTIFIER_MARKING)},
    [NOTIFIER_MARKING] = {"MARKING", TO(NOTIFIER_CONNECTING) | TO(NOTIFIER_CLAIMING)},
    [NOTIFIER_CLAIMING] = {"CLAIMING", TO(NOTIFIER_CONNECTING) | TO(NOTIFIER_SENDING)},
    [NOTIFIER_SENDING] = {"SENDING", TO(NOTIFIER_MARKING) | TO(NOTIFIER_FAILING)},
    [NOTIFIER_FAILING] = {"FAILING", TO(NOTIFIER_CONNECTING) | TO(NOTIFIER_SENDING)},
};
#undef TO
const struct machine_table NOTIFIER_MACHINE = {"notifier", STATES, ARRAY_LENGTH(STATES)};

/* How a channel works: those that wait for a receiver claim one message at a time, so that a claim
 * needn't last longer than one try. */
static const struct {
    size_t threads;
    size_t batch;
} WORK[] = {
    [CHANNEL_LOG] = {1, NOTIFICATION_CLAIM_MAX},
    [CHANNEL_WEBHOOK] = {NOTIFIER_THREADS_MAX, 1},
    [CHANNEL_SMTP] = {NOTIFIER_THREADS_MAX, 1},
};

struct notifier_sender {
    struct notifier *notifier;
    enum channel_kind kind;
    struct channel channel;
    struct notification_store store;
    pthread_t thread;
    bool has_thread;

    /* The thread's own: */
    struct machine machine;
    struct retry reconnect;
    int64_t look_again_ms; /* when there is nothing to do */
    bool is_down;          /* the database; logged once */
    struct notification batch[NOTIFICATION_CLAIM_MAX];
    size_t claimed, next; /* of the batch */
    enum result failed;   /* how the next of the batch has failed, … */
    struct error cause;   /* … and why */
    int64_t sent[NOTIFICATION_CLAIM_MAX];
    size_t sent_count; /* that have to be marked */
    struct buf subject, text;
};

struct notifier {
    struct notifier_options options;
    struct latch cancel; /* ends what waits for the database */
    struct notifier_sender *senders[CHANNEL_COUNT * NOTIFIER_THREADS_MAX];
    size_t sender_count;
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t wake;
    uint64_t wakeups;
    int running; /* threads that have not ended */
    bool stopping;
    struct notifier_stats stats;
};

static enum notifier_state notifier_state(const struct notifier_sender *sender)
{
    return (enum notifier_state)sender->machine.state;
}

static void notifier_move(struct notifier_sender *sender, enum notifier_state next)
{
    machine_move(&sender->machine, (int)next);
}

static void notifier_count(struct notifier_sender *sender, int64_t counters[static CHANNEL_COUNT])
{
    pthread_mutex_lock(&sender->notifier->lock);
    counters[sender->kind]++;
    pthread_mutex_unlock(&sender->notifier->lock);
}

/* An outage is logged once. */
static void close_database(struct notifier_sender *sender, const struct error *error)
{
    sender->store.ops->close(sender->store.self);
    if (!sender->is_down)
        LOG(LOG_WARN, "notifier.database", LOG_TEXT("channel", channel_name(sender->kind)),
            LOG_TEXT("state", "down"), LOG_TEXT("reason", error->text));
    sender->is_down = true;
}

/* Nothing is due; what this sender has put off will be the next. */
static int64_t wait_for_message(struct notifier_sender *sender)
{
    int64_t duration_ms = sender->look_again_ms;
    sender->look_again_ms = NOTIFIER_IDLE_MS;
    return duration_ms;
}

/* The database went away. Claims of what wasn't sent run out by themselves; the ids of what was
 * sent stay. */
static int64_t lose_database(struct notifier_sender *sender, const struct error *error)
{
    close_database(sender, error);
    notifier_move(sender, NOTIFIER_CONNECTING);
    return wait_for_message(sender);
}

static int64_t connect_database(struct notifier_sender *sender)
{
    struct error error = {0};
    if (sender->store.ops->connect(sender->store.self, &error) != DELIVERY_DONE) {
        close_database(sender, &error);
        return retry_next_ms(&sender->reconnect, sender->notifier->options.random);
    }
    retry_reset(&sender->reconnect);
    if (sender->is_down)
        LOG(LOG_INFO, "notifier.database", LOG_TEXT("channel", channel_name(sender->kind)),
            LOG_TEXT("state", "up"));
    sender->is_down = false;
    notifier_move(sender, NOTIFIER_MARKING);
    return 0;
}

static int64_t mark_sent(struct notifier_sender *sender)
{
    struct error error = {0};
    const struct notification_store *store = &sender->store;
    if (sender->sent_count > 0 &&
        store->ops->mark_sent(store->self, sender->sent, sender->sent_count, &error) !=
            DELIVERY_DONE)
        return lose_database(sender, &error);
    sender->sent_count = 0;
    notifier_move(sender, NOTIFIER_CLAIMING);
    return 0;
}

static int64_t claim_batch(struct notifier_sender *sender)
{
    struct error error = {0};
    const struct notification_store *store = &sender->store;
    int64_t claim_ms = sender->notifier->options.timeout_ms + NOTIFIER_CLAIM_SLACK_MS;
    if (store->ops->claim(store->self, sender->kind, WORK[sender->kind].batch, claim_ms,
                          sender->batch, &sender->claimed, &error) != DELIVERY_DONE)
        return lose_database(sender, &error);
    if (sender->claimed == 0)
        return wait_for_message(sender);
    sender->next = 0;
    notifier_move(sender, NOTIFIER_SENDING);
    return 0;
}

static enum result notifier_try_once(struct notifier_sender *sender,
                                     const struct notification *notification, struct error *error)
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

static int64_t send_claimed(struct notifier_sender *sender)
{
    if (sender->next == sender->claimed) {
        notifier_move(sender, NOTIFIER_MARKING);
        return 0;
    }
    const struct notification *notification = &sender->batch[sender->next];
    sender->cause = (struct error){0};
    sender->failed = notifier_try_once(sender, notification, &sender->cause);
    if (sender->failed != RESULT_OK) {
        notifier_move(sender, NOTIFIER_FAILING);
        return 0;
    }
    sender->next++;
    sender->sent[sender->sent_count++] = notification->id;
    notifier_count(sender, sender->notifier->stats.sent);
    LOG(LOG_DEBUG, "notification.sent", LOG_TEXT("channel", channel_name(sender->kind)),
        LOG_TEXT("kind", notification->kind), LOG_TEXT("event_id", notification->event_id),
        LOG_INT("attempt", notification->attempts + 1));
    return 0;
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

/* What a receiver said may hold anything; the database takes UTF-8. */
static void make_plain(char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

static void log_failure(const struct notifier_sender *sender,
                        const struct notification *notification, bool given_up)
{
    LOG(LOG_WARN, given_up ? "notification.failed" : "notification.retried",
        LOG_TEXT("channel", channel_name(sender->kind)), LOG_TEXT("kind", notification->kind),
        LOG_TEXT("event_id", notification->event_id),
        LOG_INT("attempt", notification->attempts + 1), LOG_TEXT("reason", sender->cause.text));
}

/* Should the database be away, the claim runs out, and the try counts for nothing. */
static int64_t record_failure(struct notifier_sender *sender)
{
    struct error error = {0};
    struct notifier *notifier = sender->notifier;
    const struct notification_store *store = &sender->store;
    const struct notification *notification = &sender->batch[sender->next];
    bool given_up = false;
    make_plain(sender->cause.text);
    const struct notification_failure failure = {
        .id = notification->id,
        .claim = notification->claim,
        .final = is_final(sender->failed),
        .delay_ms = pause_ms(&notifier->options, notification->attempts),
        .reason = sender->cause.text[0] ? sender->cause.text : result_text(sender->failed)};
    if (failure.delay_ms < sender->look_again_ms)
        sender->look_again_ms = failure.delay_ms + 1;
    if (store->ops->mark_failed(store->self, &failure, &given_up, &error) != DELIVERY_DONE)
        return lose_database(sender, &error);
    log_failure(sender, notification, given_up);
    notifier_count(sender, given_up ? notifier->stats.given_up : notifier->stats.retried);
    sender->next++;
    notifier_move(sender, NOTIFIER_SENDING);
    return 0;
}

int64_t notifier_step(struct notifier_sender *sender)
{
    switch (notifier_state(sender)) {
    case NOTIFIER_CONNECTING:
        return connect_database(sender);
    case NOTIFIER_MARKING:
        return mark_sent(sender);
    case NOTIFIER_CLAIMING:
        return claim_batch(sender);
    case NOTIFIER_SENDING:
        return send_claimed(sender);
    case NOTIFIER_FAILING:
        return record_failure(sender);
    }
    return 0;
}

const struct machine *notifier_machine(const struct notifier_sender *sender)
{
    return &sender->machine;
}

/* What is claimed is sent and marked, though the notifier stops. */
static bool notifier_goes_on(struct notifier_sender *sender, uint64_t *ret_wakeups)
{
    struct notifier *notifier = sender->notifier;
    enum notifier_state state = notifier_state(sender);
    pthread_mutex_lock(&notifier->lock);
    bool stopping = notifier->stopping;
    *ret_wakeups = notifier->wakeups;
    pthread_mutex_unlock(&notifier->lock);
    return !stopping || (state != NOTIFIER_CONNECTING && state != NOTIFIER_CLAIMING);
}

/* Until the time is over, the notifier stops, or there has been another wakeup than `seen`. */
static void notifier_wait(struct notifier *notifier, int64_t duration_ms, uint64_t seen)
{
    bool is_late = duration_ms <= 0;
    if (is_late)
        return;
    int64_t until_ns = clock_deadline_ns(notifier->options.clock, duration_ms);
    pthread_mutex_lock(&notifier->lock);
    while (!notifier->stopping && notifier->wakeups == seen && !is_late)
        is_late = clock_wait(notifier->options.clock, &notifier->wake, &notifier->lock, until_ns);
    pthread_mutex_unlock(&notifier->lock);
}

static void *notifier_run(void *context)
{
    struct notifier_sender *sender = context;
    struct notifier *notifier = sender->notifier;
    uint64_t wakeups = 0;
    while (notifier_goes_on(sender, &wakeups))
        notifier_wait(notifier, notifier_step(sender), wakeups);
    pthread_mutex_lock(&notifier->lock);
    notifier->running--;
    pthread_mutex_unlock(&notifier->lock);
    pthread_cond_broadcast(&notifier->wake);
    return NULL;
}

static void sender_free(struct notifier_sender *sender)
{
    channel_free(&sender->channel);
    if (sender->store.ops)
        sender->store.ops->free(sender->store.self);
    buf_done(&sender->subject);
    buf_done(&sender->text);
    free(sender);
}

static enum result add_sender(struct notifier *notifier, enum channel_kind kind)
{
    static const struct retry_options RECONNECT = {.base_ms = RECONNECT_BASE_MS,
                                                   .cap_ms = RECONNECT_CAP_MS};
    const struct notifier_peers *peers = &notifier->options.peers;
    struct notifier_sender *sender = calloc(1, sizeof *sender);
    if (!sender)
        return RESULT_NO_MEMORY;
    sender->notifier = notifier;
    sender->kind = kind;
    sender->look_again_ms = NOTIFIER_IDLE_MS;
    machine_init(&sender->machine, &NOTIFIER_MACHINE);
    retry_init(&sender->reconnect, &RECONNECT);
    buf_init(&sender->subject, NOTIFICATION_TEXT_MAX);
    buf_init(&sender->text, NOTIFICATION_TEXT_MAX);
    enum result result = peers->open_channel(peers->self, kind, &sender->channel);
    if (result == RESULT_OK)
        result = peers->open_store(peers->self, &notifier->cancel, &sender->store);
    if (result != RESULT_OK) {
        sender_free(sender);
        return result;
    }
    notifier->senders[notifier->sender_count++] = sender;
    return RESULT_OK;
}

enum result notifier_new(const struct notifier_options *options, struct notifier **ret_notifier,
                         struct error *error)
{
    struct notifier *notifier = calloc(1, sizeof *notifier);
    enum result result = notifier ? RESULT_OK : RESULT_NO_MEMORY;
    if (!notifier)
        return error_set(error, result, "no memory for a notifier");
    result = latch_init(&notifier->cancel);
    if (result != RESULT_OK) {
        free(notifier);
        return error_set(error, result, "no descriptor is left");
    }
    notifier->options = *options;
    pthread_cond_init(&notifier->wake, NULL);
    pthread_mutex_init(&notifier->lock, NULL);
    for (int kind = 0; kind < CHANNEL_COUNT; kind++)
        for (size_t i = 0; options->channels[kind] && i < WORK[kind].threads; i++)
            if (result == RESULT_OK)
                result = add_sender(notifier, (enum channel_kind)kind);
    if (result != RESULT_OK) {
        notifier_stop(notifier);
        return error_set(error, result, "a sender can't be made");
    }
    *ret_notifier = notifier;
    return RESULT_OK;
}

struct notifier_sender *notifier_sender(struct notifier *notifier, size_t index)
{
    return index < notifier->sender_count ? notifier->senders[index] : NULL;
}

static bool start_thread(struct notifier_sender *sender)
{
    struct notifier *notifier = sender->notifier;
    pthread_mutex_lock(&notifier->lock);
    sender->has_thread = pthread_create(&sender->thread, NULL, notifier_run, sender) == 0;
    if (sender->has_thread)
        notifier->running++;
    pthread_mutex_unlock(&notifier->lock);
    return sender->has_thread;
}

enum result notifier_start(const struct notifier_options *options, struct notifier **ret_notifier,
                           struct error *error)
{
    struct notifier *notifier = NULL;
    enum result result = notifier_new(options, &notifier, error);
    if (result != RESULT_OK)
        return result;
    for (size_t i = 0; i < notifier->sender_count; i++)
        if (!start_thread(notifier->senders[i])) {
            notifier_stop(notifier);
            return error_set(error, RESULT_NO_MEMORY, "a sender's thread doesn't start");
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

/* A try comes to its end by itself; what waits for a database that hangs is then cancelled. */
static void end_senders(struct notifier *notifier)
{
    int64_t until_ns =
        clock_deadline_ns(notifier->options.clock, notifier->options.timeout_ms + NOTIFIER_MARK_MS);
    pthread_mutex_lock(&notifier->lock);
    notifier->stopping = true;
    pthread_cond_broadcast(&notifier->wake);
    while (notifier->running > 0)
        if (clock_wait(notifier->options.clock, &notifier->wake, &notifier->lock, until_ns))
            break;
    pthread_mutex_unlock(&notifier->lock);
    latch_raise(&notifier->cancel);
}

void notifier_stop(struct notifier *notifier)
{
    if (!notifier)
        return;
    end_senders(notifier);
    for (size_t i = 0; i < notifier->sender_count; i++) {
        if (notifier->senders[i]->has_thread)
            pthread_join(notifier->senders[i]->thread, NULL);
        sender_free(notifier->senders[i]);
    }
    pthread_cond_destroy(&notifier->wake);
    pthread_mutex_destroy(&notifier->lock);
    latch_done(&notifier->cancel);
    free(notifier);
}
