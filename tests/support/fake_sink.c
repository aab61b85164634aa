#include "tests/support/fake_sink.h"

#include "tests/support/unit.h"

/* The fault that this call meets, or NULL. */
static const struct fake_sink_fault *count_call(struct fake_sink *fake, enum fake_sink_call call)
{
    const struct fake_sink_fault *fault = &fake->faults[call];
    int number = ++fake->calls[call];
    return fault->times > 0 && number >= fault->nth && number - fault->nth < fault->times ? fault
                                                                                          : NULL;
}

static enum delivery fault_of(struct error *error, enum delivery verdict)
{
    error_write(error, "so says the test");
    return verdict;
}

static enum delivery fake_attach(void *self, UNUSED struct journal_reader *journal,
                                 UNUSED const struct journal_info *info, int64_t *cursor,
                                 struct error *error)
{
    struct fake_sink *fake = self;
    assert_false(fake->is_attached);
    const struct fake_sink_fault *fault = count_call(fake, FAKE_SINK_ATTACH);
    if (fault)
        return fault_of(error, fault->verdict);
    fake->is_attached = true;
    if (fake->peer_cursor >= 0)
        *cursor = fake->peer_cursor;
    return DELIVERY_DONE;
}

static void fake_detach(void *self)
{
    struct fake_sink *fake = self;
    fake->is_attached = false;
}

static enum delivery fake_audit(void *self, struct journal_reader *journal, int64_t after,
                                int64_t through,
                                void (*missing)(void *context, const struct journal_event *event),
                                void *context, struct error *error)
{
    struct fake_sink *fake = self;
    struct journal_page page;
    const struct fake_sink_fault *fault = count_call(fake, FAKE_SINK_AUDIT);
    if (fault)
        return fault_of(error, fault->verdict);
    assert_ok(journal_page_init(&page, FAKE_SINK_EVENTS_MAX, 1 << 20));
    assert_ok(journal_reader_page(journal, after, through, &page, error));
    for (size_t i = 0; i < page.count; i++)
        if (fake->taken[page.events[i].sequence] == 0)
            missing(context, &page.events[i]);
    journal_page_done(&page);
    return DELIVERY_DONE;
}

static void take(struct fake_sink *fake, int64_t sequence)
{
    assert_true(sequence > 0 && sequence < FAKE_SINK_EVENTS_MAX);
    if (fake->taken[sequence]++ == 0)
        fake->order_of_arrival[fake->arrivals++] = sequence;
}

static void fake_deliver(void *self, const struct batch *batch, struct delivery_report *ret_report)
{
    struct fake_sink *fake = self;
    assert_true(fake->is_attached);
    if (fake->on_deliver)
        fake->on_deliver(fake->context);
    const struct fake_sink_fault *fault = count_call(fake, FAKE_SINK_DELIVER);
    size_t end = fault && !fault->is_answer_lost && fault->events_done < batch->count
                     ? fault->events_done
                     : batch->count;
    for (size_t i = 0; i < end; i++) {
        int64_t sequence = batch->page->events[batch->indexes[i]].sequence;
        enum delivery answer = fake->answers[sequence];
        if (fake->answer_to_all != DELIVERY_PENDING)
            answer = fake->answer_to_all;
        fake->offered[sequence]++;
        if (answer == DELIVERY_PENDING)
            take(fake, sequence);
        if (!fault || !fault->is_answer_lost)
            batch->outcomes[i] = answer == DELIVERY_PENDING ? DELIVERY_DONE : answer;
    }
    if (batch->progress)
        (void)batch->progress(batch->context);
    error_write(&ret_report->refusal, "rejected by the test");
    error_write(&ret_report->unwilling, "nacked by the test");
    ret_report->verdict = fault ? fault_of(&ret_report->reason, fault->verdict) : DELIVERY_DONE;
}

static enum delivery fake_dead_letter(void *self, UNUSED const char *payload, UNUSED size_t size,
                                      const struct journal_event *event, UNUSED const char *reason,
                                      UNUSED int attempts, struct error *error)
{
    struct fake_sink *fake = self;
    assert_true(fake->is_attached);
    const struct fake_sink_fault *fault = count_call(fake, FAKE_SINK_DEAD_LETTER);
    if (fault)
        return fault_of(error, fault->verdict);
    fake->dead_lettered[event->sequence]++;
    return DELIVERY_DONE;
}

static enum delivery fake_idle(void *self, struct error *error)
{
    struct fake_sink *fake = self;
    assert_true(fake->is_attached);
    const struct fake_sink_fault *fault = count_call(fake, FAKE_SINK_IDLE);
    return fault ? fault_of(error, fault->verdict) : DELIVERY_DONE;
}

static void fake_break_off(UNUSED void *self)
{
}

static void fake_free(UNUSED void *self)
{
}

void fake_sink_init(struct fake_sink *fake, size_t page_events)
{
    static const struct sink_ops OPS = {
        .name = "fake",
        .attach = fake_attach,
        .detach = fake_detach,
        .audit = fake_audit,
        .deliver = fake_deliver,
        .resend = fake_deliver,
        .dead_letter = fake_dead_letter,
        .idle = fake_idle,
        .break_off = fake_break_off,
        .free = fake_free,
    };
    *fake = (struct fake_sink){.peer_cursor = -1};
    fake->sink = (struct sink){.ops = &OPS, .self = fake, .page_events = page_events};
}

void fake_sink_fail(struct fake_sink *fake, enum fake_sink_call call, struct fake_sink_fault fault)
{
    fake->calls[call] = 0;
    fake->faults[call] = fault;
}
