#include "bridge/relay/in_flight.h"

#include <stdlib.h>
#include <string.h>

enum result in_flight_init(struct in_flight *in_flight, size_t capacity, size_t bytes_max)
{
    *in_flight = (struct in_flight){0};
    enum result result = journal_page_init(&in_flight->page, capacity, bytes_max);
    in_flight->items = calloc(capacity, sizeof *in_flight->items);
    in_flight->indexes = calloc(capacity, sizeof *in_flight->indexes);
    in_flight->outcomes = calloc(capacity, sizeof *in_flight->outcomes);
    if (!in_flight->items || !in_flight->indexes || !in_flight->outcomes)
        return RESULT_NO_MEMORY;
    return result;
}

void in_flight_done(struct in_flight *in_flight)
{
    journal_page_done(&in_flight->page);
    free(in_flight->items);
    free(in_flight->indexes);
    free(in_flight->outcomes);
    *in_flight = (struct in_flight){0};
}

void in_flight_load(struct in_flight *in_flight)
{
    in_flight->item_count = 0;
    in_flight->settled = 0;
    in_flight->batch_count = 0;
    in_flight->probe_from = 0;
    in_flight_extend(in_flight);
}

void in_flight_extend(struct in_flight *in_flight)
{
    while (in_flight->item_count < in_flight->page.count)
        in_flight->items[in_flight->item_count++] =
            (struct in_flight_item){.outcome = DELIVERY_PENDING};
}

void in_flight_make_room(struct in_flight *in_flight)
{
    size_t gone = in_flight->settled;
    in_flight->item_count -= gone;
    memmove(in_flight->items, in_flight->items + gone,
            in_flight->item_count * sizeof *in_flight->items);
    journal_page_drop(&in_flight->page, gone);
    in_flight->settled = 0;
    in_flight->probe_from -= gone < in_flight->probe_from ? gone : in_flight->probe_from;
}

void in_flight_clear(struct in_flight *in_flight)
{
    in_flight->page.count = 0;
    in_flight_load(in_flight);
}

bool in_flight_is_empty(const struct in_flight *in_flight)
{
    return in_flight->settled == in_flight->page.count;
}

void in_flight_hold(struct in_flight *in_flight, size_t index)
{
    in_flight->items[index].outcome = DELIVERY_HELD;
}

void in_flight_release(struct in_flight *in_flight)
{
    for (size_t i = in_flight->settled; i < in_flight->page.count; i++)
        if (in_flight->items[i].outcome == DELIVERY_HELD)
            in_flight->items[i].outcome = DELIVERY_PENDING;
}

static bool in_flight_is_of_order(const struct in_flight *in_flight, size_t i, int64_t order_id)
{
    return order_id != 0 && in_flight->page.events[i].order_id == order_id;
}

static bool is_pending(const struct in_flight *in_flight, size_t i)
{
    return in_flight->items[i].outcome == DELIVERY_PENDING;
}

/* Is an earlier event of its order pending? */
static bool has_to_wait(const struct in_flight *in_flight, size_t i)
{
    int64_t order_id = in_flight->page.events[i].order_id;
    for (size_t earlier = in_flight->settled; earlier < i; earlier++)
        if (is_pending(in_flight, earlier) && in_flight_is_of_order(in_flight, earlier, order_id))
            return true;
    return false;
}

/* The first pending event in [from, to) that doesn't wait for another; `to` if there is none. */
static size_t find_probe(const struct in_flight *in_flight, size_t from, size_t to)
{
    while (from < to && (!is_pending(in_flight, from) || has_to_wait(in_flight, from)))
        from++;
    return from;
}

static void pack_one(struct in_flight *in_flight, size_t i)
{
    in_flight->indexes[in_flight->batch_count] = i;
    in_flight->outcomes[in_flight->batch_count++] = DELIVERY_PENDING;
}

static void pick_probe(struct in_flight *in_flight)
{
    size_t end = in_flight->page.count;
    size_t first = find_probe(in_flight, in_flight->settled, end);
    size_t from = in_flight->probe_from > first ? in_flight->probe_from : first + 1;
    size_t second = find_probe(in_flight, from, end);
    if (second >= end)
        second = find_probe(in_flight, first + 1, end);
    if (first < end)
        pack_one(in_flight, first);
    if (second < end)
        pack_one(in_flight, second);
    in_flight->probe_from = second < end ? second + 1 : 0;
}

/* The last event that no pending one outside the batch comes before. */
static const struct journal_event *last_covered(const struct in_flight *in_flight)
{
    size_t last = in_flight->settled, next = 0;
    for (size_t i = last; i < in_flight->page.count; i++) {
        bool is_packed = next < in_flight->batch_count && in_flight->indexes[next] == i;
        next += is_packed;
        if (is_pending(in_flight, i) && !is_packed)
            break;
        last = i;
    }
    return &in_flight->page.events[last];
}

static void write_batch(struct in_flight *in_flight, struct batch *ret_batch)
{
    const struct journal_event *last = last_covered(in_flight);
    *ret_batch = (struct batch){.page = &in_flight->page,
                                .indexes = in_flight->indexes,
                                .count = in_flight->batch_count,
                                .through = last->sequence,
                                .through_hash = last->hash,
                                .outcomes = in_flight->outcomes};
}

void in_flight_pack(struct in_flight *in_flight, size_t bytes_max, struct batch *ret_batch)
{
    size_t bytes = 0;
    in_flight->batch_count = 0;
    for (size_t i = in_flight->settled; i < in_flight->page.count; i++) {
        if (!is_pending(in_flight, i))
            continue;
        bytes += in_flight->page.events[i].payload_size;
        if (in_flight->batch_count > 0 && bytes > bytes_max)
            break;
        pack_one(in_flight, i);
    }
    write_batch(in_flight, ret_batch);
}

void in_flight_pack_probe(struct in_flight *in_flight, struct batch *ret_batch)
{
    in_flight->batch_count = 0;
    pick_probe(in_flight);
    write_batch(in_flight, ret_batch);
}

void in_flight_note_done(struct in_flight *in_flight)
{
    for (size_t i = 0; i < in_flight->batch_count; i++)
        if (in_flight->outcomes[i] == DELIVERY_DONE)
            in_flight->items[in_flight->indexes[i]].outcome = DELIVERY_DONE;
}

/* An event that is rejected holds the later ones of its order. */
static void hold_followers(struct in_flight *in_flight, size_t index)
{
    int64_t order_id = in_flight->page.events[index].order_id;
    for (size_t i = index + 1; i < in_flight->page.count; i++)
        if (is_pending(in_flight, i) && in_flight_is_of_order(in_flight, i, order_id))
            in_flight_hold(in_flight, i);
}

/* Others got through behind it: it is the event, and not the peer. */
static void count_attempt(struct in_flight *in_flight, size_t index)
{
    struct in_flight_item *item = &in_flight->items[index];
    item->attempts++;
    if (item->said != DELIVERY_REFUSED && item->attempts < IN_FLIGHT_ATTEMPTS)
        return;
    item->outcome = DELIVERY_REFUSED;
    hold_followers(in_flight, index);
}

/* The orders whose events got through. */
struct passed {
    bool any, of_several_orders;
    int64_t order_id; /* of the first */
};

static void add_passed(struct passed *passed, int64_t order_id)
{
    passed->of_several_orders |= order_id == 0 || (passed->any && order_id != passed->order_id);
    if (!passed->any)
        passed->order_id = order_id;
    passed->any = true;
}

static bool has_other(const struct passed *passed, int64_t order_id)
{
    return passed->any && (passed->of_several_orders || passed->order_id != order_id);
}

/* Notes what was said no to, from the batch's end on: what got through behind it counts. */
static enum in_flight_verdict note_tries(struct in_flight *in_flight)
{
    struct passed behind = {0};
    bool any_no = false;
    for (size_t i = in_flight->batch_count; i-- > 0;) {
        size_t index = in_flight->indexes[i];
        struct in_flight_item *item = &in_flight->items[index];
        int64_t order_id = in_flight->page.events[index].order_id;
        enum delivery outcome = in_flight->outcomes[i];
        if (outcome == DELIVERY_DONE)
            add_passed(&behind, order_id);
        if (outcome != DELIVERY_REFUSED && outcome != DELIVERY_TRANSIENT)
            continue;
        any_no = true;
        item->said = outcome;
        item->is_tried = true;
        if (has_other(&behind, order_id))
            count_attempt(in_flight, index);
    }
    if (!any_no)
        return IN_FLIGHT_WELL;
    return behind.any ? IN_FLIGHT_RETRY : IN_FLIGHT_NOTHING;
}

enum in_flight_verdict in_flight_conclude(struct in_flight *in_flight,
                                          const struct delivery_report *report)
{
    if (report->refusal.text[0])
        in_flight->refusal = report->refusal;
    if (report->unwilling.text[0])
        in_flight->unwilling = report->unwilling;
    in_flight_note_done(in_flight);
    enum in_flight_verdict verdict = note_tries(in_flight);
    in_flight->batch_count = 0;
    return verdict;
}

size_t in_flight_count_ready(const struct in_flight *in_flight)
{
    size_t next = in_flight->settled;
    while (next < in_flight->page.count && in_flight->items[next].outcome != DELIVERY_PENDING)
        next++;
    return next - in_flight->settled;
}

const char *in_flight_reason(const struct in_flight *in_flight, size_t index)
{
    return in_flight->items[index].said == DELIVERY_REFUSED ? in_flight->refusal.text
                                                            : in_flight->unwilling.text;
}

const char *in_flight_trouble(const struct in_flight *in_flight)
{
    for (size_t i = in_flight->settled; i < in_flight->page.count; i++)
        if (is_pending(in_flight, i) && in_flight->items[i].is_tried)
            return in_flight_reason(in_flight, i);
    return "";
}
