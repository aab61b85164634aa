/* A day in the life of a box, short enough to be told again for each fault that can befall it: a
 * product, three orders in one batch, a cancellation, an order under a key, the same once more. */
#ifndef TILLBOX_TESTS_SUPPORT_FAULT_STORY_H
#define TILLBOX_TESTS_SUPPORT_FAULT_STORY_H

#include "tests/support/appliance_fixture.h"

enum { STORY_ORDERS = 3, STORY_STOCK = 50 };

struct story {
    struct fixture *fixture;
    struct request *product;
    struct request *orders[STORY_ORDERS];
    struct request *cancel;
    struct request *keyed;
    struct request *again;
    void (*pause)(bool paused); /* around what the test itself allocates; NULL: not wanted */
};

/* Writes down who will ask for what; nothing happens yet. */
void story_begin(struct story *story, struct fixture *fixture);

/* After the fixture is done; a second time it does nothing. */
void story_end(struct story *story);

/* Starts the box, lets it happen and stops the box, or what is left of it. Whatever fails ends it
 * early or doesn't matter. */
void story_tell(struct story *story);

/* The same with a box that has been started. */
void story_go_on(struct story *story);

/* Reads the journal of `box`, which is closed and may be a copy: what was answered 2xx is there,
 * once; what was answered otherwise isn't, or, where `is_doubtful` says that its fate is open, is
 * there at most once. The box can be started again, does what is asked for again under the key
 * once, and its journal agrees with itself. Fails the test if anything is otherwise. */
void story_check(const struct story *story, struct fixture *box, bool is_doubtful);

#endif
