/* One request for head office's stock: what the HTTP thread has read of it, and how the worker
 * answers it from the database. */
#ifndef TILLBOX_BRIDGE_STOCK_REQUEST_H
#define TILLBOX_BRIDGE_STOCK_REQUEST_H

#include "bridge/adapters/pg.h"
#include "bridge/consumer/envelope.h"
#include "core/http/http_server.h"
#include "core/sha256.h"

enum {
    STOCK_PAGE_MAX = 500,
    STOCK_PAGE_DEFAULT = 50,
    STOCK_NAME_SIZE = ENVELOPE_NAME_MAX + 1,
    STOCK_HASH_SIZE = SHA256_TEXT_SIZE + 2, /* with PostgreSQL's \x */
    STOCK_ASKED_MAX = 8 << 10,              /* bytes of a change as JSON */
    STOCK_RETRY_AFTER_S = 2,
};

enum stock_kind { STOCK_LIST, STOCK_SHOW, STOCK_ADD, STOCK_ADJUST };

struct stock_request {
    enum stock_kind kind;
    struct http_exchange *exchange;
    char location[STOCK_NAME_SIZE];
    int64_t product_id;         /* of the path; 0: none */
    int64_t after, limit;       /* STOCK_LIST */
    struct buf asked;           /* STOCK_ADD, STOCK_ADJUST: the change, as a JSON object */
    bool has_key;               /* an Idempotency-Key was given: */
    char key[STOCK_HASH_SIZE];  /* its hash */
    char hash[STOCK_HASH_SIZE]; /* of the request */
};

/* For http_exchange_keep(). */
void stock_request_free(void *request);

/* Fills in the reply. DELIVERY_DOWN if the database can't be had: then the reply says so. */
enum delivery stock_request_answer(struct stock_request *request, struct pg *pg,
                                   struct error *error) MUST_CHECK;

/* Fills in the reply that says that the database is away. */
void stock_request_refuse(struct stock_request *request);

#endif
