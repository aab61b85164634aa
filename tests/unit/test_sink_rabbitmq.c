/* The sink over a fake adapter: this program has broker_publish() and its like from below, so that
 * the broker says what a test wants it to, in the order that it wants. */
#include "bridge/relay/sink_rabbitmq.h"

#include <stdio.h>
#include <string.h>

#include "bridge/adapters/topology.h"
#include "tests/support/fake_clock.h"
#include "tests/support/unit.h"

enum { EVENTS = 10, WORDS_MAX = 64 };

struct broker {
    int unused;
};

/* What the broker says of a message. */
enum verdict { ACK, NACK, RETURN };

static struct {
    struct broker_event words[WORDS_MAX]; /* what it says next */
    size_t said, count;
    enum verdict verdicts[EVENTS + 1]; /* by sequence */
    int published[EVENTS + 1];         /* how often, by sequence */
    int64_t sequence_of[WORDS_MAX];    /* by tag */
    uint64_t tags;
    int down_at_publish; /* the n-th publish on this connection fails; 0: none */
    int down_at_wait;
    int waits, connections, declarations;
    bool acknowledges_together; /* one ack for all of a burst */
    bool is_denied, is_silent, is_blocked;
} peer;

static struct broker connection;
static struct fake_clock fake;
static struct sink sink;
static struct journal_event events[EVENTS];
static struct journal_page page;
static size_t indexes[EVENTS];
static enum delivery outcomes[EVENTS];

struct broker *broker_new(UNUSED const struct broker_options *options)
{
    peer.connections++;
    peer.tags = 0;
    peer.said = peer.count = 0;
    return &connection;
}

enum delivery broker_open(UNUSED struct broker *broker, UNUSED struct error *error)
{
    return DELIVERY_DONE;
}

void broker_close(UNUSED struct broker *broker)
{
}

const char *broker_user(UNUSED const struct broker *broker)
{
    return "box-1";
}

void broker_watch(UNUSED struct broker *broker, UNUSED int64_t now_ms)
{
}

void broker_break_off(UNUSED struct broker *broker)
{
}

enum delivery topology_declare(UNUSED struct broker *broker, bool *ret_denied, struct error *error)
{
    peer.declarations++;
    *ret_denied = peer.is_denied;
    if (peer.is_denied)
        error_write(error, "access refused");
    return peer.is_denied ? DELIVERY_DOWN : DELIVERY_DONE;
}

static void say(struct broker_event event)
{
    assert_in_range(peer.count, 0, WORDS_MAX - 1);
    peer.words[peer.count++] = event;
}

static void answer(uint64_t tag, const struct broker_message *message, enum verdict verdict)
{
    struct broker_event word = {.kind = verdict == NACK ? AMQP_NACK : AMQP_ACK, .tag = tag};
    if (verdict == RETURN) {
        struct broker_event returned = {.kind = AMQP_RETURN};
        snprintf(returned.message_id, sizeof returned.message_id, "%s", message->message_id);
        say(returned);
    }
    if (!peer.acknowledges_together) {
        say(word);
        return;
    }
    word.multiple = true;
    if (peer.count > peer.said && peer.words[peer.count - 1].multiple)
        peer.count--;
    say(word);
}

enum delivery broker_publish(UNUSED struct broker *broker, const struct broker_message *message,
                             uint64_t *ret_tag, struct error *error)
{
    int64_t sequence = message->headers[1].number;
    assert_string_equal(message->exchange, TOPOLOGY_EVENTS);
    assert_string_equal(message->headers[1].name, "x-sequence");
    if (peer.down_at_publish == (int)peer.tags + 1) {
        error_write(error, "the line is cut");
        return DELIVERY_DOWN;
    }
    *ret_tag = ++peer.tags;
    peer.sequence_of[*ret_tag] = sequence;
    peer.published[sequence]++;
    if (!peer.is_silent)
        answer(*ret_tag, message, peer.verdicts[sequence]);
    return DELIVERY_DONE;
}

enum delivery broker_wait(UNUSED struct broker *broker, int64_t timeout_ms,
                          struct broker_event *ret_event, struct error *error)
{
    *ret_event = (struct broker_event){.kind = AMQP_NOTHING};
    if (peer.down_at_wait == ++peer.waits) {
        error_write(error, "the line is cut");
        return DELIVERY_DOWN;
    }
    if (peer.is_blocked)
        *ret_event = (struct broker_event){.kind = AMQP_BLOCKED, .reason = "low on memory"};
    else if (peer.said < peer.count && timeout_ms > 0)
        *ret_event = peer.words[peer.said++];
    else
        fake_clock_advance(&fake, timeout_ms);
    return DELIVERY_DONE;
}

enum delivery broker_await_confirm(UNUSED struct broker *broker, UNUSED uint64_t tag,
                                   UNUSED struct error *error)
{
    return DELIVERY_DONE;
}

static int set_up(UNUSED void **state)
{
    static const struct broker_options OPTIONS = {
        .url = "", .deadline_ms = 1000, .clock = &fake.clock};
    memset(&peer, 0, sizeof peer);
    fake_clock_init(&fake, 1700000000000);
    assert_ok(journal_page_init(&page, EVENTS, 1 << 16));
    buf_append_text(&page.bytes, "{}");
    for (size_t i = 0; i < EVENTS; i++) {
        events[i] = (struct journal_event){
            .sequence = (int64_t)i + 1, .order_id = (int64_t)i + 1, .payload_size = 2};
        snprintf(events[i].event_id, sizeof events[i].event_id, "event-%zu", i + 1);
        snprintf(events[i].event_type, sizeof events[i].event_type, "order.created");
        page.events[i] = events[i];
        indexes[i] = i;
    }
    page.count = EVENTS;
    assert_ok(sink_rabbitmq_new(&OPTIONS, &sink));
    return 0;
}

static int tear_down(UNUSED void **state)
{
    sink.ops->free(sink.self);
    journal_page_done(&page);
    return 0;
}

static enum delivery attach(struct error *error)
{
    int64_t cursor = 0;
    const struct journal_info info = {.device_id = "1"};
    return sink.ops->attach(sink.self, NULL, &info, &cursor, error);
}

static struct delivery_report deliver(void)
{
    const struct journal_event *last = &page.events[EVENTS - 1];
    const struct batch batch = {.page = &page,
                                .indexes = indexes,
                                .count = EVENTS,
                                .through = last->sequence,
                                .through_hash = last->hash,
                                .outcomes = outcomes};
    struct delivery_report report;
    for (size_t i = 0; i < EVENTS; i++)
        outcomes[i] = DELIVERY_PENDING;
    sink.ops->deliver(sink.self, &batch, &report);
    return report;
}

/* D, R for returned, T for nacked, H, or '.' for an event that was not heard of. */
static void assert_outcomes(const char *word)
{
    for (size_t i = 0; i < EVENTS; i++) {
        static const char LETTERS[] = {[DELIVERY_PENDING] = '.',
                                       [DELIVERY_DONE] = 'D',
                                       [DELIVERY_TRANSIENT] = 'T',
                                       [DELIVERY_REFUSED] = 'R',
                                       [DELIVERY_HELD] = 'H'};
        if (LETTERS[outcomes[i]] != word[i])
            fail_msg("event %zu is %c, not %c", i + 1, LETTERS[outcomes[i]], word[i]);
    }
}

static void what_is_confirmed_is_done(UNUSED void **state)
{
    for (int together = 0; together <= 1; together++) {
        peer.acknowledges_together = together == 1;
        assert_int_equal(attach(NULL), DELIVERY_DONE);
        assert_int_equal(deliver().verdict, DELIVERY_DONE);
        assert_outcomes("DDDDDDDDDD");
        sink.ops->detach(sink.self);
    }
}

static void confirms_may_come_in_any_order(UNUSED void **state)
{
    peer.is_silent = true;
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    for (uint64_t tag = EVENTS; tag > 0; tag--)
        say((struct broker_event){.kind = tag == 4 ? AMQP_NACK : AMQP_ACK, .tag = tag});
    assert_int_equal(deliver().verdict, DELIVERY_DONE);
    assert_outcomes("DDDTDDDDDD");
}

/* The ack that follows a return is no success. */
static void what_no_queue_takes_is_rejected(UNUSED void **state)
{
    peer.verdicts[3] = RETURN;
    peer.verdicts[6] = NACK;
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    struct delivery_report report = deliver();
    assert_int_equal(report.verdict, DELIVERY_DONE);
    assert_outcomes("DDRDDTDDDD");
    assert_string_equal(report.refusal.text, AMQP_UNROUTABLE);
    assert_string_equal(report.unwilling.text, AMQP_NACKED);
}

static void an_event_goes_out_when_the_one_before_it_of_its_order_was_taken(UNUSED void **state)
{
    page.events[4].order_id = page.events[1].order_id;
    page.events[8].order_id = page.events[2].order_id;
    peer.verdicts[3] = RETURN;
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    assert_int_equal(deliver().verdict, DELIVERY_DONE);
    assert_outcomes("DDRDDDDDHD");
    assert_int_equal(peer.published[5], 1);
    assert_int_equal(peer.published[9], 0);
}

static void a_word_about_another_connection_s_message_is_no_confirm(UNUSED void **state)
{
    peer.is_silent = true;
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    say((struct broker_event){.kind = AMQP_ACK, .tag = 4711, .multiple = true});
    assert_int_equal(deliver().verdict, DELIVERY_DOWN);
    assert_outcomes("..........");
}

static void a_broker_that_is_silent_is_an_outage(UNUSED void **state)
{
    peer.is_silent = true;
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    struct delivery_report report = deliver();
    assert_int_equal(report.verdict, DELIVERY_DOWN);
    assert_string_equal(report.reason.text, AMQP_SILENT);
}

static void a_broker_that_blocks_is_an_outage(UNUSED void **state)
{
    peer.is_blocked = true;
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    struct delivery_report report = deliver();
    assert_int_equal(report.verdict, DELIVERY_DOWN);
    assert_contains(report.reason.text, "low on memory");
    assert_outcomes("..........");
}

/* Every publish and every wait in turn: what was confirmed by then stays, the rest comes again. */
static void a_call_that_fails_costs_no_event(UNUSED void **state)
{
    for (int nth = 1; nth <= 2 * EVENTS; nth++)
        for (int at_wait = 0; at_wait <= 1; at_wait++) {
            memset(&peer, 0, sizeof peer);
            peer.down_at_publish = at_wait ? 0 : nth;
            peer.down_at_wait = at_wait ? nth : 0;
            assert_int_equal(attach(NULL), DELIVERY_DONE);
            bool is_down = deliver().verdict == DELIVERY_DOWN;
            for (size_t i = 0; i < EVENTS; i++)
                assert_true(outcomes[i] == DELIVERY_PENDING || peer.published[i + 1] == 1);
            sink.ops->detach(sink.self);
            peer.down_at_publish = peer.down_at_wait = 0;
            assert_int_equal(attach(NULL), DELIVERY_DONE);
            assert_int_equal(deliver().verdict, DELIVERY_DONE);
            assert_outcomes("DDDDDDDDDD");
            assert_true(is_down || nth > EVENTS || at_wait);
            sink.ops->detach(sink.self);
        }
}

static void a_login_that_may_not_declare_goes_on_without(UNUSED void **state)
{
    struct error error = {0};
    peer.is_denied = true;
    assert_int_equal(attach(&error), DELIVERY_DONE);
    assert_int_equal(peer.connections, 2); /* the refusal closes the channel */
    assert_int_equal(deliver().verdict, DELIVERY_DONE);
    sink.ops->detach(sink.self);
    assert_int_equal(attach(&error), DELIVERY_DONE);
    assert_int_equal(peer.declarations, 1);
}

static bool stop_at_once(UNUSED void *context)
{
    return false;
}

static void a_stop_begins_nothing_more(UNUSED void **state)
{
    const struct journal_event *last = &page.events[EVENTS - 1];
    const struct batch batch = {.page = &page,
                                .indexes = indexes,
                                .count = EVENTS,
                                .through = last->sequence,
                                .through_hash = last->hash,
                                .outcomes = outcomes,
                                .progress = stop_at_once};
    struct delivery_report report;
    memset(outcomes, 0, sizeof outcomes);
    assert_int_equal(attach(NULL), DELIVERY_DONE);
    sink.ops->deliver(sink.self, &batch, &report);
    assert_int_equal(report.verdict, DELIVERY_DONE);
    assert_int_equal(peer.tags, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_confirmed_is_done),
        TEST(confirms_may_come_in_any_order),
        TEST(what_no_queue_takes_is_rejected),
        TEST(an_event_goes_out_when_the_one_before_it_of_its_order_was_taken),
        TEST(a_word_about_another_connection_s_message_is_no_confirm),
        TEST(a_broker_that_is_silent_is_an_outage),
        TEST(a_broker_that_blocks_is_an_outage),
        TEST(a_call_that_fails_costs_no_event),
        TEST(a_login_that_may_not_declare_goes_on_without),
        TEST(a_stop_begins_nothing_more),
    };
    return RUN_TESTS(argc, argv, tests);
}
