#include "bridge/relay/in_flight.h"

#include <stdlib.h>

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
    for (size_t i = 0; i < in_flight->page.count; i++)
        in_flight->items[i] = (struct in_flight_item){.outcome = DELIVERY_PENDING};
    in_flight->settled = 0;
    in_flight->batch_count = 0;
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

void in_flight_pack(struct in_flight *in_flight, struct batch *ret_batch)
{
    const struct journal_page *page = &in_flight->page;
    const struct journal_event *last = &page->events[page->count - 1];
    size_t count = 0;
    for (size_t i = in_flight->settled; i < page->count; i++) {
        if (in_flight->items[i].outcome != DELIVERY_PENDING)
            continue;
        in_flight->indexes[count] = i;
        in_flight->outcomes[count++] = DELIVERY_PENDING;
    }
    in_flight->batch_count = count;
    *ret_batch = (struct batch){.page = page,
                                .indexes = in_flight->indexes,
                                .count = count,
                                .through = last->sequence,
                                .through_hash = last->hash,
                                .outcomes = in_flight->outcomes};
}

void in_flight_note_done(struct in_flight *in_flight)
{
    for (size_t i = 0; i < in_flight->batch_count; i++)
        if (in_flight->outcomes[i] == DELIVERY_DONE)
            in_flight->items[in_flight->indexes[i]].outcome = DELIVERY_DONE;
}

/* An event that is refused holds the later ones of its order. */
static void hold_followers(struct in_flight *in_flight, size_t index)
{
    const struct journal_event *events = in_flight->page.events;
    for (size_t i = index + 1; events[index].order_id != 0 && i < in_flight->page.count; i++)
        if (events[i].order_id == events[index].order_id &&
            in_flight->items[i].outcome == DELIVERY_PENDING)
            in_flight_hold(in_flight, i);
}

/* An event that the peer refused, or said no to; true if it will be tried again. */
static bool spend_attempt(struct in_flight *in_flight, size_t index, enum delivery outcome)
{
    struct in_flight_item *item = &in_flight->items[index];
    item->attempts++;
    if (outcome == DELIVERY_TRANSIENT && item->attempts < IN_FLIGHT_ATTEMPTS)
        return true;
    item->outcome = DELIVERY_REFUSED;
    item->nacked = outcome == DELIVERY_TRANSIENT;
    hold_followers(in_flight, index);
    return false;
}

bool in_flight_conclude(struct in_flight *in_flight, const struct delivery_report *report)
{
    bool again = false;
    in_flight_note_done(in_flight);
    if (report->refusal.text[0])
        in_flight->refusal = report->refusal;
    if (report->unwilling.text[0])
        in_flight->unwilling = report->unwilling;
    for (size_t i = 0; i < in_flight->batch_count; i++) {
        enum delivery outcome = in_flight->outcomes[i];
        if (outcome == DELIVERY_REFUSED || outcome == DELIVERY_TRANSIENT)
            again |= spend_attempt(in_flight, in_flight->indexes[i], outcome);
    }
    in_flight->batch_count = 0;
    return again;
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
    return in_flight->items[index].nacked ? in_flight->unwilling.text : in_flight->refusal.text;
}
