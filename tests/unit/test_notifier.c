#include "bridge/notification/notifier.h"

#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "tests/support/fake_channel.h"
#include "tests/support/fake_notification_store.h"
#include "tests/support/fake_random.h"
#include "tests/support/machine_check.h"
#include "tests/support/unit.h"

enum {
    MESSAGES = 5,
    STEPS_MAX = 3000,
    FAIL_AT_MAX = 7,
    TIMEOUT_MS = 2000,
    CLAIM_MS = TIMEOUT_MS + NOTIFIER_CLAIM_SLACK_MS,
    RETRY_MS = 400,
    LATER_MS = 7 * CLAIM_MS,
    OPEN_FOR_EVER = 1 << 30,
};

static struct fake_clock hands;
static struct fake_random dice;
static struct fake_channel receiver;
static struct fake_notification_store table;
static struct notification_texts texts;
static struct notifier *notifier;
static struct notifier_sender *sender; /* the first */
static FILE *logged;
static size_t driven;       /* so many senders take part */
static bool is_answer_lost; /* the receiver's */
static const struct latch *cancel_of_stores;
static int opens; /* so many channels and stores may be opened yet */

static enum result open_channel(UNUSED void *self, UNUSED enum channel_kind kind,
                                struct channel *ret_channel)
{
    if (opens-- <= 0)
        return RESULT_NO_MEMORY;
    fake_channel_open(&receiver, ret_channel);
    return RESULT_OK;
}

static enum result open_store(UNUSED void *self, const struct latch *cancel,
                              struct notification_store *ret_store)
{
    if (opens-- <= 0)
        return RESULT_NO_MEMORY;
    cancel_of_stores = cancel;
    fake_store_open(&table, ret_store);
    return RESULT_OK;
}

/* What a sender knows to be sent is marked before it claims anything else. */
static void expect_marked(enum fake_store_call call, UNUSED void *context)
{
    for (int64_t id = 1; call == FAKE_STORE_CLAIM && id <= table.row_count; id++)
        if (driven == 1 && !is_answer_lost && receiver.received[id] > 0)
            assert_int_equal(table.rows[id].status, FAKE_ROW_SENT);
}

static void begin_anew(void)
{
    fake_channel_init(&receiver, &hands);
    fake_store_init(&table, &hands);
    table.on_call = expect_marked;
    is_answer_lost = false;
    driven = 1;
    opens = OPEN_FOR_EVER;
}

static int set_up(UNUSED void **state)
{
    static const char RANDOM[] = "fifteen of these";
    fake_clock_init(&hands, 1800000000000);
    fake_random_init(&dice, RANDOM, sizeof RANDOM - 1);
    assert_ok(notification_texts_load(&texts, NULL, NULL));
    logged = tmpfile();
    assert_non_null(logged);
    log_set_output(fileno(logged));
    begin_anew();
    return 0;
}

static void end(void)
{
    for (size_t i = 0; notifier && notifier_sender(notifier, i); i++)
        machine_check_note(notifier_machine(notifier_sender(notifier, i)));
    notifier_stop(notifier);
    notifier = NULL;
    assert_int_equal(receiver.open, 0);
    assert_int_equal(table.open, 0);
    assert_int_equal(table.connected, 0);
}

static int tear_down(UNUSED void **state)
{
    end();
    notification_texts_done(&texts);
    log_set_output(STDERR_FILENO);
    fclose(logged);
    return 0;
}

static struct notifier_options options_for(const bool *channels)
{
    return (struct notifier_options){
        .peers = {.open_channel = open_channel, .open_store = open_store},
        .timeout_ms = TIMEOUT_MS,
        .retry_ms = RETRY_MS,
        .texts = &texts,
        .channels = channels,
        .clock = &hands.clock,
        .random = &dice.source};
}

static void begin(enum channel_kind kind, int messages)
{
    bool channels[CHANNEL_COUNT] = {false};
    channels[kind] = true;
    const struct notifier_options options = options_for(channels);
    assert_ok(notifier_new(&options, &notifier, NULL));
    sender = notifier_sender(notifier, 0);
    for (int i = 0; i < messages; i++)
        fake_store_add(&table, kind);
}

static struct notifier_stats stats(void)
{
    struct notifier_stats now;
    notifier_stats(notifier, &now);
    return now;
}

static int state_of(const struct notifier_sender *of)
{
    return notifier_machine(of)->state;
}

static int64_t step(struct notifier_sender *of)
{
    int64_t wait_ms = notifier_step(of);
    assert_true(wait_ms >= 0);
    fake_clock_advance(&hands, wait_ms);
    return wait_ms;
}

static void run_to(struct notifier_sender *of, enum notifier_state state)
{
    for (int steps = 0; state_of(of) != (int)state; steps++) {
        assert_in_range(steps, 0, STEPS_MAX);
        step(of);
    }
}

static bool is_settled(void)
{
    for (int64_t id = 1; id <= table.row_count; id++)
        if (table.rows[id].status != FAKE_ROW_SENT && table.rows[id].status != FAKE_ROW_FAILED)
            return false;
    return true;
}

/* Until every message is sent or has failed, and the senders look for more. */
static void run_until_settled(void)
{
    for (int steps = 0; !is_settled(); steps++) {
        assert_in_range(steps, 0, STEPS_MAX);
        for (size_t i = 0; i < driven; i++)
            step(notifier_sender(notifier, i));
    }
    for (size_t i = 0; i < driven; i++)
        run_to(notifier_sender(notifier, i), NOTIFIER_CLAIMING);
}

static void assert_sent(int64_t id, int most_often)
{
    assert_in_range(receiver.received[id], 1, most_often);
    assert_int_equal(table.rows[id].status, FAKE_ROW_SENT);
    assert_int_equal(table.rows[id].marked_sent, 1);
}

static void assert_all_sent(int most_often)
{
    for (int64_t id = 1; id <= table.row_count; id++)
        assert_sent(id, most_often);
}

static int count_in_log(const char *part)
{
    char line[LOG_LINE_MAX + 1];
    int count = 0;
    rewind(logged);
    while (fgets(line, sizeof line, logged))
        count += strstr(line, part) != NULL;
    return count;
}

static void every_message_is_sent_and_marked_once(UNUSED void **state)
{
    for (enum channel_kind kind = CHANNEL_LOG; kind < CHANNEL_COUNT; kind++) {
        begin(kind, MESSAGES);
        run_until_settled();
        assert_all_sent(1);
        for (int i = 0; i < receiver.arrivals; i++)
            assert_int_equal(receiver.order_of_arrival[i], i + 1);
        assert_int_equal(stats().sent[kind], MESSAGES);
        assert_string_equal(receiver.subject, "Your order 5");
        assert_string_equal(receiver.total, "999");
        end();
        begin_anew();
    }
}

static void senders_share_the_work(UNUSED void **state)
{
    begin(CHANNEL_WEBHOOK, MESSAGES);
    driven = NOTIFIER_THREADS_MAX;
    run_until_settled();
    assert_all_sent(1);
    assert_int_equal(stats().sent[CHANNEL_WEBHOOK], MESSAGES);
}

/* The log takes messages at once; those that wait for a receiver have two threads, and claim one
 * message at a time. */
static void a_channel_claims_what_it_can_send_in_one_try(UNUSED void **state)
{
    begin(CHANNEL_LOG, MESSAGES);
    assert_null(notifier_sender(notifier, 1));
    run_until_settled();
    assert_int_equal(table.calls[FAKE_STORE_MARK_SENT], 1);
    end();
    begin_anew();
    begin(CHANNEL_WEBHOOK, MESSAGES);
    assert_null(notifier_sender(notifier, NOTIFIER_THREADS_MAX));
    run_to(sender, NOTIFIER_SENDING);
    assert_int_equal(table.rows[1].status, FAKE_ROW_SENDING);
    assert_int_equal(table.rows[2].status, FAKE_ROW_PENDING);
    run_until_settled();
    assert_int_equal(table.calls[FAKE_STORE_MARK_SENT], MESSAGES);
}

static void when_nothing_is_due_it_looks_once_a_second(UNUSED void **state)
{
    begin(CHANNEL_LOG, 0);
    run_to(sender, NOTIFIER_CLAIMING);
    assert_int_equal(step(sender), NOTIFIER_IDLE_MS);
    assert_int_equal(state_of(sender), NOTIFIER_CLAIMING);
    fake_store_add(&table, CHANNEL_LOG);
    run_until_settled();
    assert_all_sent(1);
}

static void what_fails_in_passing_is_sent_after_a_pause(UNUSED void **state)
{
    static const enum result PASSING[] = {RESULT_UNREACHABLE, RESULT_TIMED_OUT, RESULT_BUSY,
                                          RESULT_NO_MEMORY, RESULT_IO};
    for (size_t i = 0; i < ARRAY_LENGTH(PASSING); i++) {
        begin(CHANNEL_WEBHOOK, 1);
        fake_channel_play(&receiver, 1, 2, (struct fake_channel_outcome){.result = PASSING[i]});
        run_to(sender, NOTIFIER_FAILING);
        int64_t now_ms = clock_monotonic_ms(&hands.clock);
        step(sender);
        int64_t pause_ms = table.rows[1].due_ms - now_ms;
        assert_in_range(pause_ms, 0, RETRY_MS);
        assert_string_equal(table.rows[1].reason, result_text(PASSING[i]));
        run_to(sender, NOTIFIER_CLAIMING);
        assert_int_equal(step(sender), pause_ms + 1);
        run_until_settled();
        assert_sent(1, 1);
        assert_int_equal(receiver.calls, 3);
        assert_int_equal(stats().retried[CHANNEL_WEBHOOK], 2);
        end();
        begin_anew();
    }
}

static void three_tries_are_all_that_a_message_has(UNUSED void **state)
{
    begin(CHANNEL_WEBHOOK, 1);
    fake_channel_play(&receiver, 1, FAKE_CHANNEL_CALLS_MAX,
                      (struct fake_channel_outcome){RESULT_UNREACHABLE, "no\xC3\xA9\n way", 0, 0});
    run_until_settled();
    fake_clock_advance(&hands, LATER_MS);
    for (int i = 0; i < MESSAGES; i++)
        step(sender);
    assert_int_equal(receiver.calls, NOTIFICATION_TRIES);
    assert_int_equal(table.rows[1].status, FAKE_ROW_FAILED);
    assert_int_equal(table.rows[1].marked_failed, NOTIFICATION_TRIES);
    assert_string_equal(table.rows[1].reason, "no??? way");
    assert_int_equal(stats().retried[CHANNEL_WEBHOOK], NOTIFICATION_TRIES - 1);
    assert_int_equal(stats().given_up[CHANNEL_WEBHOOK], 1);
    assert_int_equal(count_in_log("notification.failed"), 1);
    assert_int_equal(count_in_log("notification.retried"), NOTIFICATION_TRIES - 1);
}

static void what_a_receiver_will_never_take_has_one_try(UNUSED void **state)
{
    begin(CHANNEL_LOG, 3);
    fake_channel_play(&receiver, 1, 1, (struct fake_channel_outcome){.result = RESULT_REFUSED});
    fake_channel_play(&receiver, 2, 1, (struct fake_channel_outcome){.result = RESULT_INVALID});
    run_until_settled();
    assert_int_equal(receiver.calls, 3);
    assert_int_equal(table.rows[1].status, FAKE_ROW_FAILED);
    assert_int_equal(table.rows[2].status, FAKE_ROW_FAILED);
    assert_sent(3, 1);
    assert_int_equal(stats().given_up[CHANNEL_LOG], 2);
}

static void a_message_without_a_text_fails_and_is_not_sent(UNUSED void **state)
{
    begin(CHANNEL_LOG, 2);
    table.rows[1].notification.items = "[7]";
    run_until_settled();
    assert_int_equal(receiver.received[1], 0);
    assert_string_equal(table.rows[1].reason, "the text can't be written");
    assert_int_equal(table.rows[1].status, FAKE_ROW_FAILED);
    assert_sent(2, 1);
}

static void without_a_database_it_tries_again_ever_less_often(UNUSED void **state)
{
    int64_t longest_ms = 0;
    begin(CHANNEL_LOG, 1);
    fake_store_fail(&table, FAKE_STORE_CONNECT,
                    (struct fake_store_fault){1, FAKE_STORE_FOR_EVER, DELIVERY_DOWN, 0, false});
    for (int i = 0; i < 20; i++) {
        int64_t wait_ms = step(sender);
        assert_in_range(wait_ms, 0, i < 5 ? 200 << i : 5000);
        longest_ms = wait_ms > longest_ms ? wait_ms : longest_ms;
    }
    assert_true(longest_ms > 1000);
    assert_int_equal(state_of(sender), NOTIFIER_CONNECTING);
    fake_store_fail(&table, FAKE_STORE_CONNECT, (struct fake_store_fault){0});
    run_until_settled();
    assert_all_sent(1);
    assert_int_equal(count_in_log("\"state\":\"down\",\"reason\":\"so says the test\""), 1);
    assert_int_equal(count_in_log("\"state\":\"up\""), 1);
}

/* Each call of a story fails in turn, for one time or more, with its work done or not. The receiver
 * gets a message twice only where its own answer was lost. */
static void a_call_that_fails_at_any_moment_loses_no_message(UNUSED void **state)
{
    for (enum channel_kind kind = CHANNEL_LOG; kind <= CHANNEL_WEBHOOK; kind++)
        for (int call = 0; call < FAKE_STORE_CALLS; call++)
            for (int nth = 1; nth <= FAIL_AT_MAX; nth++)
                for (int times = 1; times <= 4; times += 3)
                    for (int lost = 0; lost <= 1; lost++) {
                        begin(kind, MESSAGES);
                        fake_channel_play(&receiver, 2, 1,
                                          (struct fake_channel_outcome){.result = RESULT_BUSY});
                        fake_store_fail(
                            &table, (enum fake_store_call)call,
                            (struct fake_store_fault){nth, times, DELIVERY_DOWN, 0, lost != 0});
                        run_until_settled();
                        assert_all_sent(1);
                        end();
                        begin_anew();
                    }
}

static void a_receiver_whose_answer_is_lost_at_any_moment_gets_it_again(UNUSED void **state)
{
    for (enum channel_kind kind = CHANNEL_LOG; kind <= CHANNEL_WEBHOOK; kind++)
        for (int nth = 1; nth <= MESSAGES; nth++)
            for (int lost = 0; lost <= 1; lost++) {
                begin(kind, MESSAGES);
                is_answer_lost = lost != 0;
                fake_channel_play(
                    &receiver, nth, 1,
                    (struct fake_channel_outcome){RESULT_TIMED_OUT, "late", 0, lost != 0});
                run_until_settled();
                assert_all_sent(1 + lost);
                assert_int_equal(receiver.calls, MESSAGES + 1);
                assert_int_equal(receiver.arrivals, MESSAGES + lost);
                end();
                begin_anew();
            }
}

static void a_try_that_could_not_be_recorded_counts_for_nothing(UNUSED void **state)
{
    begin(CHANNEL_WEBHOOK, 1);
    fake_channel_play(&receiver, 1, 2, (struct fake_channel_outcome){.result = RESULT_UNREACHABLE});
    fake_store_fail(&table, FAKE_STORE_MARK_FAILED,
                    (struct fake_store_fault){1, 2, DELIVERY_DOWN, 0, false});
    run_until_settled();
    assert_sent(1, 1);
    assert_int_equal(table.rows[1].marked_failed, 0);
    assert_int_equal(table.rows[1].notification.attempts, 1); /* the one that was sent */
    assert_int_equal(stats().retried[CHANNEL_WEBHOOK], 0);
}

static void what_was_sent_is_marked_when_the_database_is_back(UNUSED void **state)
{
    begin(CHANNEL_WEBHOOK, 2);
    run_to(sender, NOTIFIER_SENDING);
    run_to(sender, NOTIFIER_CLAIMING);
    assert_sent(1, 1);
    run_to(sender, NOTIFIER_MARKING);
    fake_store_fail(&table, FAKE_STORE_MARK_SENT,
                    (struct fake_store_fault){1, 2, DELIVERY_DOWN, 0, false});
    fake_store_fail(&table, FAKE_STORE_CONNECT,
                    (struct fake_store_fault){1, 3, DELIVERY_DOWN, 0, false});
    fake_store_add(&table, CHANNEL_WEBHOOK);
    assert_int_equal(step(sender), NOTIFIER_IDLE_MS);
    assert_int_equal(state_of(sender), NOTIFIER_CONNECTING);
    int claims = table.calls[FAKE_STORE_CLAIM];
    while (table.rows[2].status != FAKE_ROW_SENT)
        step(sender);
    assert_int_equal(table.calls[FAKE_STORE_CLAIM], claims);
    assert_int_equal(table.calls[FAKE_STORE_MARK_SENT], 3);
    assert_int_equal(receiver.arrivals, 2);
    run_until_settled();
    assert_all_sent(1);
}

/* A try that takes longer than its claim. */
static void a_claim_that_ran_out_is_not_marked_failed_by_its_old_sender(UNUSED void **state)
{
    begin(CHANNEL_WEBHOOK, 1);
    driven = 2;
    struct notifier_sender *other = notifier_sender(notifier, 1);
    fake_channel_play(&receiver, 1, 1,
                      (struct fake_channel_outcome){RESULT_REFUSED, "no", CLAIM_MS, false});
    run_to(sender, NOTIFIER_FAILING);
    run_to(other, NOTIFIER_SENDING);
    step(sender);
    assert_int_equal(table.rows[1].status, FAKE_ROW_SENDING);
    assert_int_equal(table.rows[1].marked_failed, 0);
    assert_int_equal(table.rows[1].notification.attempts, 0);
    run_until_settled();
    assert_sent(1, 1);
}

static void what_was_sent_is_marked_though_another_has_claimed_it(UNUSED void **state)
{
    begin(CHANNEL_WEBHOOK, 1);
    driven = 2;
    struct notifier_sender *other = notifier_sender(notifier, 1);
    fake_channel_play(&receiver, 1, 1, (struct fake_channel_outcome){.late_ms = CLAIM_MS});
    run_to(sender, NOTIFIER_SENDING);
    run_to(sender, NOTIFIER_MARKING);
    run_to(other, NOTIFIER_SENDING);
    run_to(sender, NOTIFIER_CLAIMING);
    assert_sent(1, 1);
    run_until_settled();
    assert_sent(1, 2); /* the other had it, and couldn't know */
}

/* A database that answers late is one that answers. */
static void calls_that_are_late_do_no_harm(UNUSED void **state)
{
    for (int call = 0; call < FAKE_STORE_CALLS; call++) {
        begin(CHANNEL_LOG, MESSAGES);
        fake_channel_play(&receiver, 2, 1, (struct fake_channel_outcome){.result = RESULT_BUSY});
        fake_store_fail(&table, (enum fake_store_call)call,
                        (struct fake_store_fault){1, 3, DELIVERY_DONE, TIMEOUT_MS, false});
        run_until_settled();
        assert_all_sent(1);
        end();
        begin_anew();
    }
}

static void a_notifier_that_can_t_be_made_leaves_nothing(UNUSED void **state)
{
    static const bool ALL[CHANNEL_COUNT] = {true, true, true};
    const struct notifier_options options = options_for(ALL);
    struct error error;
    for (int i = 0; i < 2 * (1 + 2 * NOTIFIER_THREADS_MAX); i++) {
        opens = i;
        assert_int_equal(notifier_new(&options, &notifier, &error), RESULT_NO_MEMORY);
        assert_string_equal(error.text, "a sender can't be made");
        assert_null(notifier);
        assert_int_equal(receiver.open, 0);
        assert_int_equal(table.open, 0);
    }
    notifier_stop(NULL);
}

/* From here on with threads: one sender, and the test looks at the fakes when it has ended. */
static struct {
    int call; /* of enum fake_store_call; FAKE_STORE_CALLS: a try */
    bool is_open;
    sem_t entered;
} gate;

/* Holds up the sender in this call until the notifier cancels what waits, as a stop does in the
 * end. */
static void pass_gate(int call)
{
    if (call != gate.call || gate.is_open)
        return;
    struct pollfd cancelled = {.fd = cancel_of_stores->descriptor, .events = POLLIN};
    gate.is_open = true;
    sem_post(&gate.entered);
    assert_int_equal(poll(&cancelled, 1, -1), 1);
}

static void pass_store_gate(enum fake_store_call call, UNUSED void *context)
{
    pass_gate((int)call);
}

static void pass_channel_gate(UNUSED void *context)
{
    pass_gate(FAKE_STORE_CALLS);
}

static void start(const struct clock *clock)
{
    static const bool LOG_ALONE[CHANNEL_COUNT] = {[CHANNEL_LOG] = true};
    struct notifier_options options = options_for(LOG_ALONE);
    options.clock = clock;
    assert_ok(notifier_start(&options, &notifier, NULL));
}

static void stop(void)
{
    notifier_stop(notifier);
    notifier = NULL;
}

static void stop_within(int call, enum delivery verdict)
{
    for (int i = 0; i < MESSAGES; i++)
        fake_store_add(&table, CHANNEL_LOG);
    table.on_call = pass_store_gate;
    receiver.on_send = pass_channel_gate;
    fake_channel_play(&receiver, 1, 1, (struct fake_channel_outcome){.result = RESULT_BUSY});
    if (call < FAKE_STORE_CALLS && verdict != DELIVERY_DONE)
        fake_store_fail(&table, (enum fake_store_call)call,
                        (struct fake_store_fault){1, FAKE_STORE_FOR_EVER, verdict, 0, false});
    gate.call = call;
    gate.is_open = false;
    sem_init(&gate.entered, 0, 0);
    start(&hands.clock);
    while (sem_wait(&gate.entered) != 0)
        continue;
    stop();
    sem_destroy(&gate.entered);
}

static int count_rows(enum fake_row_status status)
{
    int count = 0;
    for (int64_t id = 1; id <= table.row_count; id++)
        count += table.rows[id].status == status;
    return count;
}

/* In whichever state the stop finds it. The first message fails, and has tries left. */
static void a_stop_lets_it_send_and_mark_what_is_claimed(UNUSED void **state)
{
    static const struct {
        int call;
        int sent, pending; /* of MESSAGES */
    } STOPS[] = {
        {FAKE_STORE_CONNECT, 0, MESSAGES},         {FAKE_STORE_CLAIM, MESSAGES - 1, 1},
        {FAKE_STORE_MARK_FAILED, MESSAGES - 1, 1}, {FAKE_STORE_CALLS, MESSAGES - 1, 1},
        {FAKE_STORE_MARK_SENT, MESSAGES - 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(STOPS); i++) {
        stop_within(STOPS[i].call, DELIVERY_DONE);
        assert_int_equal(count_rows(FAKE_ROW_SENT), STOPS[i].sent);
        assert_int_equal(count_rows(FAKE_ROW_PENDING), STOPS[i].pending);
        assert_int_equal(receiver.arrivals, STOPS[i].sent);
        end();
        begin_anew();
    }
}

static void a_stop_waits_for_no_database_that_is_away(UNUSED void **state)
{
    static const struct {
        int call;
        int arrivals;
    } STOPS[] = {{FAKE_STORE_CONNECT, 0},
                 {FAKE_STORE_CLAIM, 0},
                 {FAKE_STORE_MARK_FAILED, 0},
                 {FAKE_STORE_MARK_SENT, MESSAGES - 1}};
    for (size_t i = 0; i < ARRAY_LENGTH(STOPS); i++) {
        stop_within(STOPS[i].call, DELIVERY_DOWN);
        assert_int_equal(count_rows(FAKE_ROW_SENT), 0);
        assert_int_equal(receiver.arrivals, STOPS[i].arrivals);
        assert_int_equal(table.calls[STOPS[i].call], 1);
        end();
        begin_anew();
    }
}

/* Time stands still for it: what waits is ended by a signal or not at all. */
static bool wait_for_signal(UNUSED void *context, pthread_cond_t *wake, pthread_mutex_t *lock,
                            UNUSED int64_t until_ns)
{
    pthread_cond_wait(wake, lock);
    return false;
}

static void count_call(enum fake_store_call call, UNUSED void *context)
{
    if ((int)call == gate.call)
        sem_post(&gate.entered);
}

static void a_wakeup_or_a_stop_ends_every_wait(UNUSED void **state)
{
    static const enum fake_store_call CALLS[] = {FAKE_STORE_CLAIM, FAKE_STORE_CONNECT};
    struct clock standing = hands.clock;
    standing.wait = wait_for_signal;
    for (size_t i = 0; i < ARRAY_LENGTH(CALLS); i++) {
        gate.call = (int)CALLS[i];
        sem_init(&gate.entered, 0, 0);
        table.on_call = count_call;
        if (CALLS[i] == FAKE_STORE_CONNECT)
            fake_store_fail(
                &table, FAKE_STORE_CONNECT,
                (struct fake_store_fault){1, FAKE_STORE_FOR_EVER, DELIVERY_DOWN, 0, false});
        start(&standing);
        for (int rounds = 0; rounds < 3; rounds++) {
            while (sem_wait(&gate.entered) != 0)
                continue;
            notifier_wake(notifier);
        }
        stop();
        assert_in_range(table.calls[CALLS[i]], 3, 4);
        sem_destroy(&gate.entered);
        end();
        begin_anew();
    }
}

static void threads_send_everything(UNUSED void **state)
{
    for (int i = 0; i < MESSAGES; i++)
        fake_store_add(&table, CHANNEL_LOG);
    fake_channel_play(&receiver, 2, 1, (struct fake_channel_outcome){.result = RESULT_BUSY});
    start(&hands.clock);
    while (stats().sent[CHANNEL_LOG] < MESSAGES)
        clock_sleep_ms(&clock_system, 1);
    stop();
    assert_all_sent(1);
}

static void the_header_s_diagram_is_the_table(UNUSED void **state)
{
    assert_diagram("bridge/notification/notifier.h", &NOTIFIER_MACHINE);
}

static void every_transition_was_taken(UNUSED void **state)
{
    assert_every_transition_taken(&NOTIFIER_MACHINE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(every_message_is_sent_and_marked_once),
        TEST(senders_share_the_work),
        TEST(a_channel_claims_what_it_can_send_in_one_try),
        TEST(when_nothing_is_due_it_looks_once_a_second),
        TEST(what_fails_in_passing_is_sent_after_a_pause),
        TEST(three_tries_are_all_that_a_message_has),
        TEST(what_a_receiver_will_never_take_has_one_try),
        TEST(a_message_without_a_text_fails_and_is_not_sent),
        TEST(without_a_database_it_tries_again_ever_less_often),
        TEST(a_call_that_fails_at_any_moment_loses_no_message),
        TEST(a_receiver_whose_answer_is_lost_at_any_moment_gets_it_again),
        TEST(a_try_that_could_not_be_recorded_counts_for_nothing),
        TEST(what_was_sent_is_marked_when_the_database_is_back),
        TEST(a_claim_that_ran_out_is_not_marked_failed_by_its_old_sender),
        TEST(what_was_sent_is_marked_though_another_has_claimed_it),
        TEST(calls_that_are_late_do_no_harm),
        TEST(a_notifier_that_can_t_be_made_leaves_nothing),
        TEST(a_stop_lets_it_send_and_mark_what_is_claimed),
        TEST(a_stop_waits_for_no_database_that_is_away),
        TEST(a_wakeup_or_a_stop_ends_every_wait),
        TEST(threads_send_everything),
        cmocka_unit_test(the_header_s_diagram_is_the_table),
        cmocka_unit_test(every_transition_was_taken),
    };
    return RUN_TESTS(argc, argv, tests);
}
