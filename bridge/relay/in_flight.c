#include "bridge/relay/in_flight.h"

#include <stdlib.h>

enum result consignment_init(struct consignment *consignment, size_t capacity, size_t bytes_max)
{
    *consignment = (struct consignment){0};
    enum result result = journal_page_init(&consignment->page, capacity, bytes_max);
    consignment->items = calloc(capacity, sizeof *consignment->items);
    consignment->indexes = calloc(capacity, sizeof *consignment->indexes);
    consignment->outcomes = calloc(capacity, sizeof *consignment->outcomes);
    if (!consignment->items || !consignment->indexes || !consignment->outcomes)
        return RESULT_NO_MEMORY;
    return result;
}

void consignment_done(struct consignment *consignment)
{
    journal_page_done(&consignment->page);
    free(consignment->items);
    free(consignment->indexes);
    free(consignment->outcomes);
    *consignment = (struct consignment){0};
}

void consignment_load(struct consignment *consignment)
{
    for (size_t i = 0; i < consignment->page.count; i++)
        consignment->items[i] = (struct consignment_item){.outcome = DELIVERY_PENDING};
    consignment->settled = 0;
    consignment->batch_count = 0;
}

void consignment_clear(struct consignment *consignment)
{
    consignment->page.count = 0;
    consignment_load(consignment);
}

bool consignment_is_empty(const struct consignment *consignment)
{
    return consignment->settled == consignment->page.count;
}

void consignment_hold(struct consignment *consignment, size_t index)
{
    consignment->items[index].outcome = DELIVERY_HELD;
}

void consignment_release(struct consignment *consignment)
{
    for (size_t i = consignment->settled; i < consignment->page.count; i++)
        if (consignment->items[i].outcome == DELIVERY_HELD)
            consignment->items[i].outcome = DELIVERY_PENDING;
}

void consignment_pack(struct consignment *consignment, struct batch *ret_batch)
{
    const struct journal_page *page = &consignment->page;
    const struct journal_event *last = &page->events[page->count - 1];
    size_t count = 0;
    for (size_t i = consignment->settled; i < page->count; i++) {
        if (consignment->items[i].outcome != DELIVERY_PENDING)
            continue;
        consignment->indexes[count] = i;
        consignment->outcomes[count++] = DELIVERY_PENDING;
    }
    consignment->batch_count = count;
    *ret_batch = (struct batch){.page = page,
                                .indexes = consignment->indexes,
                                .count = count,
                                .through = last->sequence,
                                .through_hash = last->hash,
                                .outcomes = consignment->outcomes};
}

void consignment_note_done(struct consignment *consignment)
{
    for (size_t i = 0; i < consignment->batch_count; i++)
        if (consignment->outcomes[i] == DELIVERY_DONE)
            consignment->items[consignment->indexes[i]].outcome = DELIVERY_DONE;
}

/* An event that is refused holds the later ones of its order. */
static void hold_followers(struct consignment *consignment, size_t index)
{
    const struct journal_event *events = consignment->page.events;
    for (size_t i = index + 1; events[index].order_id != 0 && i < consignment->page.count; i++)
        if (events[i].order_id == events[index].order_id &&
            consignment->items[i].outcome == DELIVERY_PENDING)
            consignment_hold(consignment, i);
}

/* An event that the peer refused, or said no to; true if it will be tried again. */
static bool spend_attempt(struct consignment *consignment, size_t index, enum delivery outcome)
{
    struct consignment_item *item = &consignment->items[index];
    item->attempts++;
    if (outcome == DELIVERY_TRANSIENT && item->attempts < CONSIGNMENT_ATTEMPTS)
        return true;
    item->outcome = DELIVERY_REFUSED;
    item->nacked = outcome == DELIVERY_TRANSIENT;
    hold_followers(consignment, index);
    return false;
}

bool consignment_conclude(struct consignment *consignment, const struct delivery_report *report)
{
    bool again = false;
    consignment_note_done(consignment);
    if (report->refusal.text[0])
        consignment->refusal = report->refusal;
    if (report->unwilling.text[0])
        consignment->unwilling = report->unwilling;
    for (size_t i = 0; i < consignment->batch_count; i++) {
        enum delivery outcome = consignment->outcomes[i];
        if (outcome == DELIVERY_REFUSED || outcome == DELIVERY_TRANSIENT)
            again |= spend_attempt(consignment, consignment->indexes[i], outcome);
    }
    consignment->batch_count = 0;
    return again;
}

size_t consignment_count_ready(const struct consignment *consignment)
{
    size_t next = consignment->settled;
    while (next < consignment->page.count && consignment->items[next].outcome != DELIVERY_PENDING)
        next++;
    return next - consignment->settled;
}

const char *consignment_reason(const struct consignment *consignment, size_t index)
{
    return consignment->items[index].nacked ? consignment->unwilling.text
                                            : consignment->refusal.text;
}
