#include "tests/support/unit.h"

#include "tests/support/fault_story.h"

#include "tests/support/journal_audit.h"

enum { KEYED_USER = STORY_ORDERS + 1 };

static struct request *keyed_order(struct fixture *fixture)
{
    struct request *request = request_order(fixture, KEYED_USER, 1, 5);
    request_set_key(request, "key", "five phones");
    return request;
}

void story_begin(struct story *story, struct fixture *fixture)
{
    *story = (struct story){
        .fixture = fixture,
        .product = request_product(fixture, "iPhone", STORY_STOCK, 999),
        .cancel = request_cancel(fixture, 1),
        .keyed = keyed_order(fixture),
        .again = keyed_order(fixture),
    };
    for (int i = 0; i < STORY_ORDERS; i++)
        story->orders[i] = request_order(fixture, i + 1, 1, i + 1);
}

void story_end(struct story *story)
{
    request_free(story->product);
    for (int i = 0; i < STORY_ORDERS; i++)
        request_free(story->orders[i]);
    request_free(story->cancel);
    request_free(story->keyed);
    request_free(story->again);
    *story = (struct story){0};
}

/* A request that is refused at the door is answered by it. */
static void submit(struct request *request)
{
    if (request_submit(request) == RESULT_OK)
        return;
    request->reply.status = 503;
    request->is_answered = true;
}

static void order_together(struct story *story)
{
    if (story->pause)
        story->pause(true);
    fixture_hold(story->fixture);
    if (story->pause)
        story->pause(false);
    for (int i = 0; i < STORY_ORDERS; i++)
        submit(story->orders[i]);
    fixture_release(story->fixture);
    for (int i = 0; i < STORY_ORDERS; i++)
        request_wait(story->orders[i]);
}

static void do_one(struct request *request)
{
    submit(request);
    request_wait(request);
}

void story_tell(struct story *story)
{
    struct error error = {0};
    if (fixture_start(story->fixture, &error) == RESULT_OK)
        story_go_on(story);
}

void story_go_on(struct story *story)
{
    struct fixture *fixture = story->fixture;
    struct error error = {0};
    do_one(story->product);
    order_together(story);
    do_one(story->cancel);
    do_one(story->keyed);
    do_one(story->again);
    committer_stop(fixture->committer);
    if (atomic_load(&fixture->fatal_calls) > 0 || fixture_stop(fixture, &error) != RESULT_OK)
        fixture_crash(fixture);
}

static bool is_done(const struct request *request)
{
    return request->is_answered && request->reply.status < 300;
}

static void assert_fate(const struct request *request, int64_t found, bool is_doubtful)
{
    if (is_done(request))
        assert_int_equal(found, 1);
    else
        assert_in_range(found, 0, is_doubtful);
}

static int64_t count_orders_of(const struct fixture *box, int64_t user_id)
{
    return journal_ask(box->folder.path, "SELECT count(*) FROM orders WHERE user_id = %lld",
                       (long long)user_id);
}

static void check_answers(const struct story *story, const struct fixture *box, bool is_doubtful)
{
    assert_fate(story->product, fixture_ask(box, "SELECT count(*) FROM products"), is_doubtful);
    for (int i = 0; i < STORY_ORDERS; i++)
        assert_fate(story->orders[i], count_orders_of(box, i + 1), is_doubtful);
    assert_fate(story->cancel,
                fixture_ask(box, "SELECT count(*) FROM orders WHERE status = 'cancelled'"),
                is_doubtful);
    const struct request *keyed = is_done(story->keyed) ? story->keyed : story->again;
    assert_fate(keyed, count_orders_of(box, KEYED_USER), is_doubtful);
    if (is_done(story->keyed) && is_done(story->again))
        assert_string_equal(buf_text(&story->again->reply.body),
                            buf_text(&story->keyed->reply.body));
}

/* The answer that is kept under the key, NULL if none was given: an error of the box isn't. */
static const struct request *kept_answer(const struct story *story)
{
    if (story->keyed->is_answered && story->keyed->reply.status < 500)
        return story->keyed;
    return story->again->is_answered && story->again->reply.status < 500 ? story->again : NULL;
}

/* Whoever got no answer, or a bad one, asks again under the same key. */
static void ask_again(const struct story *story, struct fixture *box)
{
    const struct request *kept = kept_answer(story);
    struct request *keyed = keyed_order(box);
    if (fixture_ask(box, "SELECT count(*) FROM products") == 0)
        assert_int_equal(request_do_once(request_product(box, "iPhone", STORY_STOCK, 999)), 201);
    assert_int_equal(request_do(keyed), kept ? kept->reply.status : 201);
    assert_int_equal(count_orders_of(box, KEYED_USER), is_done(keyed));
    if (kept)
        assert_string_equal(buf_text(&keyed->reply.body), buf_text(&kept->reply.body));
    request_free(keyed);
}

void story_check(const struct story *story, struct fixture *box, bool is_doubtful)
{
    assert_ok(fixture_start(box, NULL));
    fixture_audit(box);
    check_answers(story, box, is_doubtful);
    ask_again(story, box);
    assert_ok(fixture_stop(box, NULL));
    fixture_audit(box);
}
