/* What the API reads, over a connection of its own that can't write. One per thread. */
#ifndef TILLBOX_APPLIANCE_QUERIES_H
#define TILLBOX_APPLIANCE_QUERIES_H

#include "appliance/journal.h"
#include "appliance/order.h"
#include "appliance/product.h"
#include "core/json.h"

struct queries;

enum { QUERIES_PAGE_MAX = 500, QUERIES_PAGE_DEFAULT = 50, QUERIES_PAGE_BYTES = 1 << 20 };

enum order_filter { ORDERS_ALL, ORDERS_CREATED, ORDERS_CANCELLED };

struct page {
    int64_t after; /* ids above this one */
    int64_t limit; /* 1 to QUERIES_PAGE_MAX; fewer come when they fill QUERIES_PAGE_BYTES */
};

/* From the newest to the oldest. */
struct page_back {
    int64_t before; /* ids below this one */
    int64_t limit;  /* as above */
};

MUST_CHECK enum result queries_open(const char *data_dir, struct queries **ret_queries,
                                    struct error *error);
void queries_close(struct queries *queries);

/* Each writes one object or, for a page, an array and the member `next_after` or `next_before`
 * (null at the end). RESULT_NOT_FOUND if there is none. */
MUST_CHECK enum result queries_order(struct queries *queries, int64_t order_id,
                                     struct json_writer *writer, struct error *error);
MUST_CHECK enum result queries_orders(struct queries *queries, enum order_filter filter,
                                      const struct page *page, struct json_writer *writer,
                                      struct error *error);
MUST_CHECK enum result queries_latest_orders(struct queries *queries, const struct page_back *page,
                                             struct json_writer *writer, struct error *error);
MUST_CHECK enum result queries_product(struct queries *queries, int64_t product_id,
                                       struct json_writer *writer, struct error *error);
MUST_CHECK enum result queries_products(struct queries *queries, const struct page *page,
                                        struct json_writer *writer, struct error *error);

/* Has an answer been given under this Idempotency-Key? */
MUST_CHECK enum result queries_has_answer(struct queries *queries,
                                          const uint8_t key[static JOURNAL_KEY_SIZE],
                                          bool *ret_found, struct error *error);

#endif
