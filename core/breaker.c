#include "core/breaker.h"

#include <assert.h>

enum breaker_event { EVENT_TRIPPED, EVENT_COOLED_DOWN, EVENT_RECOVERED, EVENT_FAILED_AGAIN };

/* The diagram of breaker.h as a table: event, from, to. */
static const struct {
    enum breaker_state from, to;
} MOVES[] = {
    [EVENT_TRIPPED] = {BREAKER_CLOSED, BREAKER_OPEN},
    [EVENT_COOLED_DOWN] = {BREAKER_OPEN, BREAKER_HALF_OPEN},
    [EVENT_RECOVERED] = {BREAKER_HALF_OPEN, BREAKER_CLOSED},
    [EVENT_FAILED_AGAIN] = {BREAKER_HALF_OPEN, BREAKER_OPEN},
};

static void move(struct breaker *breaker, enum breaker_event event, int64_t now_ms)
{
    assert(breaker->state == MOVES[event].from);
    breaker->state = MOVES[event].to;
    breaker->generation++;
    breaker->failures = breaker->successes = breaker->admitted = 0;
    if (breaker->state == BREAKER_OPEN)
        breaker->opened_at_ms = now_ms;
}

void breaker_init(struct breaker *breaker, const struct breaker_options *options)
{
    assert(options->trip_after >= 1 && options->close_after >= 1 && options->cool_down_ms >= 0);
    *breaker = (struct breaker){.options = *options};
}

static bool has_cooled_down(const struct breaker *breaker, int64_t now_ms)
{
    return breaker->state == BREAKER_OPEN &&
           now_ms - breaker->opened_at_ms >= breaker->options.cool_down_ms;
}

enum result breaker_admit(struct breaker *breaker, int64_t now_ms, uint64_t *ret_generation)
{
    if (has_cooled_down(breaker, now_ms))
        move(breaker, EVENT_COOLED_DOWN, now_ms);
    if (breaker->state == BREAKER_OPEN)
        return RESULT_BUSY;
    if (breaker->state == BREAKER_HALF_OPEN) {
        if (breaker->admitted >= breaker->options.close_after)
            return RESULT_BUSY;
        breaker->admitted++;
    }
    *ret_generation = breaker->generation;
    return RESULT_OK;
}

static void report_success(struct breaker *breaker, int64_t now_ms)
{
    breaker->failures = 0;
    if (breaker->state == BREAKER_HALF_OPEN && ++breaker->successes >= breaker->options.close_after)
        move(breaker, EVENT_RECOVERED, now_ms);
}

static void report_failure(struct breaker *breaker, int64_t now_ms)
{
    if (breaker->state == BREAKER_HALF_OPEN)
        move(breaker, EVENT_FAILED_AGAIN, now_ms);
    else if (++breaker->failures >= breaker->options.trip_after)
        move(breaker, EVENT_TRIPPED, now_ms);
}

void breaker_report(struct breaker *breaker, uint64_t generation, bool success, int64_t now_ms)
{
    if (generation != breaker->generation || breaker->state == BREAKER_OPEN)
        return;
    if (success)
        report_success(breaker, now_ms);
    else
        report_failure(breaker, now_ms);
}

void breaker_withdraw(struct breaker *breaker, uint64_t generation)
{
    if (generation == breaker->generation && breaker->admitted > 0)
        breaker->admitted--;
}

enum breaker_state breaker_state(const struct breaker *breaker, int64_t now_ms)
{
    return has_cooled_down(breaker, now_ms) ? BREAKER_HALF_OPEN : breaker->state;
}

int64_t breaker_wait_ms(const struct breaker *breaker, int64_t now_ms)
{
    if (breaker->state != BREAKER_OPEN || has_cooled_down(breaker, now_ms))
        return 0;
    return breaker->opened_at_ms + breaker->options.cool_down_ms - now_ms;
}

const char *breaker_state_text(enum breaker_state state)
{
    static const char *const TEXTS[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half-open"};
    return TEXTS[state];
}
