/* A change that a client asks for, from the request to its answer.
 *
 * The HTTP side fills in the input, the committer executes it in a transaction, and the reply goes
 * out once that transaction is durable. */
#ifndef TILLBOX_APPLIANCE_COMMAND_H
#define TILLBOX_APPLIANCE_COMMAND_H

#include "appliance/journal.h"
#include "appliance/order.h"
#include "appliance/product.h"
#include "core/http/http_reply.h"
#include "core/journal/event.h"

enum { COMMAND_REASON_SIZE = 4 * 200 + 1 };

enum command_kind {
    COMMAND_CREATE_ORDER,
    COMMAND_CANCEL_ORDER,
    COMMAND_CREATE_PRODUCT,
    COMMAND_UPDATE_PRODUCT,
    COMMAND_ADJUST_STOCK,
};

/* What PATCH /products/{id} changes: a member that is false stays as it is. */
struct product_change {
    int64_t product_id;
    bool has_name, has_price, has_sku;
    struct product to;
};

struct stock_adjustment {
    int64_t product_id;
    int64_t delta;
    char reason[COMMAND_REASON_SIZE];
};

/* What the inventory service has too little of. */
struct stock_shortage {
    int64_t product_id; /* 0: of nothing */
    int64_t requested;
    int64_t available;
};

struct command {
    enum command_kind kind;
    union {
        struct order order; /* COMMAND_CREATE_ORDER: owns its lines */
        int64_t order_id;   /* COMMAND_CANCEL_ORDER */
        struct product product;
        struct product_change change;
        struct stock_adjustment adjustment;
    } input;
    bool order_is_list; /* the order came as `items`: errors name items[i] */

    struct stock_shortage shortage; /* COMMAND_CREATE_ORDER */

    bool has_key; /* came with an Idempotency-Key */
    uint8_t key[JOURNAL_KEY_SIZE];
    uint8_t request_hash[SHA256_SIZE];

    bool keeps_answer; /* its answer has been stored under the key, in this transaction */

    struct http_reply *reply; /* of whoever submitted it */
    bool has_event;           /* the command appended … */
    struct event event;       /* … this */

    /* Called by the committer, once, when the reply is final. May free the command. */
    void (*done)(struct command *command);
    void *context;
    struct command *next; /* the committer's */
};

void command_init(struct command *command, enum command_kind kind, struct http_reply *reply);
void command_done(struct command *command);

/* True for what goes on when the disk is nearly full: sales and cancellations. */
bool command_is_sale(const struct command *command);

/* Executes inside the journal's transaction and savepoint, and fills in the reply.
 * RESULT_OK: done, keep what was written. RESULT_REFUSED: a rule forbids it, the reply says why,
 * and what was written must go. Anything else: the journal failed, with `error`; there is no reply.
 */
MUST_CHECK enum result command_execute(struct command *command, struct journal *journal,
                                       int64_t now_ms, struct error *error);

#endif
