#include "appliance/queries.h"

#include <stdlib.h>

#include "appliance/journal.h"
#include "appliance/render.h"
#include "appliance/rows.h"

#define QUERY_STATEMENTS(X)                                                                      \
    X(ORDER, "SELECT " ROW_ORDER " FROM orders WHERE order_id = ?1")                             \
    X(ORDERS, "SELECT " ROW_ORDER " FROM orders WHERE order_id > ?1 ORDER BY order_id LIMIT ?2") \
    X(ORDERS_CREATED, "SELECT " ROW_ORDER " FROM orders"                                         \
                      " WHERE order_id > ?1 AND cancelled_at_ms IS NULL"                         \
                      " ORDER BY order_id LIMIT ?2")                                             \
    X(ORDERS_CANCELLED, "SELECT " ROW_ORDER " FROM orders"                                       \
                        " WHERE order_id > ?1 AND cancelled_at_ms IS NOT NULL"                   \
                        " ORDER BY order_id LIMIT ?2")                                           \
    X(ORDERS_LATEST, "SELECT " ROW_ORDER " FROM orders WHERE order_id < ?1"                      \
                     " ORDER BY order_id DESC LIMIT ?2")                                         \
    X(PRODUCT, "SELECT " ROW_PRODUCT " FROM products WHERE product_id = ?1")                     \
    X(PRODUCTS, "SELECT " ROW_PRODUCT " FROM products WHERE product_id > ?1"                     \
                " ORDER BY product_id LIMIT ?2")                                                 \
    X(ANSWER, "SELECT 1 FROM idempotency_keys WHERE key_hash = ?1")

enum query {
#define X(name, sql) QUERY_##name,
    QUERY_STATEMENTS(X)
#undef X
        QUERY_COUNT
};

static const char *const STATEMENTS[] = {
#define X(name, sql) [QUERY_##name] = (sql),
    QUERY_STATEMENTS(X)
#undef X
};

struct queries {
    struct db *db;
    struct statement *statements[QUERY_COUNT];
};

enum result queries_open(const char *data_dir, struct queries **ret_queries, struct error *error)
{
    char path[JOURNAL_PATH_SIZE];
    struct queries *queries = calloc(1, sizeof *queries);
    if (!queries)
        return RESULT_NO_MEMORY;
    journal_path(data_dir, path);
    enum result result = db_open(path, DB_READER, &queries->db, error);
    for (int i = 0; i < QUERY_COUNT && result == RESULT_OK; i++)
        result = statement_prepare(queries->db, STATEMENTS[i], &queries->statements[i], error);
    if (result != RESULT_OK) {
        queries_close(queries);
        return result;
    }
    *ret_queries = queries;
    return RESULT_OK;
}

void queries_close(struct queries *queries)
{
    if (!queries)
        return;
    for (int i = 0; i < QUERY_COUNT; i++)
        statement_free(queries->statements[i]);
    db_close(queries->db);
    free(queries);
}

/* Writes the row at hand and tells its id. */
typedef enum result write_row(struct statement *row, struct json_writer *writer, int64_t *ret_id,
                              struct error *error);

static enum result queries_write_order(struct statement *row, struct json_writer *writer,
                                       int64_t *ret_id, struct error *error)
{
    struct order order;
    enum result result = row_order(row, &order, error);
    if (result != RESULT_OK)
        return result;
    render_order(writer, NULL, &order);
    *ret_id = order.order_id;
    order_done(&order);
    return RESULT_OK;
}

static enum result queries_write_product(struct statement *row, struct json_writer *writer,
                                         int64_t *ret_id, struct error *error)
{
    (void)error;
    struct product product;
    row_product(row, &product);
    render_product(writer, NULL, &product);
    *ret_id = product.product_id;
    return RESULT_OK;
}

static enum result write_one(struct queries *queries, enum query query, int64_t id,
                             write_row *write, struct json_writer *writer, struct error *error)
{
    struct statement *select = queries->statements[query];
    int64_t found = 0;
    statement_bind_int(select, 1, id);
    enum result result = row_find(select, error);
    if (result == RESULT_OK)
        result = write(select, writer, &found, error);
    statement_reset(select);
    return result;
}

/* One row more than the page holds is asked for: it tells whether there is a next page. */
static enum result write_rows(struct statement *select, const struct page *page, write_row *write,
                              struct json_writer *writer, int64_t *ret_next, struct error *error)
{
    int64_t count = 0, last = 0;
    bool row = true;
    statement_bind_int(select, 1, page->after);
    statement_bind_int(select, 2, page->limit + 1);
    for (;;) {
        enum result result = statement_step(select, &row, error);
        if (result != RESULT_OK || !row)
            return result;
        if (count == page->limit || writer->buf->size > QUERIES_PAGE_BYTES) {
            *ret_next = last;
            return RESULT_OK;
        }
        result = write(select, writer, &last, error);
        if (result != RESULT_OK)
            return result;
        count++;
    }
}

static enum result write_page(struct queries *queries, enum query query, const char *name,
                              const char *next_name, const struct page *page, write_row *write,
                              struct json_writer *writer, struct error *error)
{
    struct statement *select = queries->statements[query];
    int64_t next = 0;
    json_begin_object(writer, NULL);
    json_begin_array(writer, name);
    enum result result = write_rows(select, page, write, writer, &next, error);
    statement_reset(select);
    json_end_array(writer);
    if (next > 0)
        json_put_int(writer, next_name, next);
    else
        json_put_null(writer, next_name);
    json_end_object(writer);
    return result;
}

enum result queries_order(struct queries *queries, int64_t order_id, struct json_writer *writer,
                          struct error *error)
{
    return write_one(queries, QUERY_ORDER, order_id, queries_write_order, writer, error);
}

enum result queries_orders(struct queries *queries, enum order_filter filter,
                           const struct page *page, struct json_writer *writer, struct error *error)
{
    static const enum query QUERIES[] = {[ORDERS_ALL] = QUERY_ORDERS,
                                         [ORDERS_CREATED] = QUERY_ORDERS_CREATED,
                                         [ORDERS_CANCELLED] = QUERY_ORDERS_CANCELLED};
    return write_page(queries, QUERIES[filter], "orders", "next_after", page, queries_write_order,
                      writer, error);
}

enum result queries_latest_orders(struct queries *queries, const struct page_back *page,
                                  struct json_writer *writer, struct error *error)
{
    const struct page bounds = {.after = page->before, .limit = page->limit};
    return write_page(queries, QUERY_ORDERS_LATEST, "orders", "next_before", &bounds,
                      queries_write_order, writer, error);
}

enum result queries_product(struct queries *queries, int64_t product_id, struct json_writer *writer,
                            struct error *error)
{
    return write_one(queries, QUERY_PRODUCT, product_id, queries_write_product, writer, error);
}

enum result queries_products(struct queries *queries, const struct page *page,
                             struct json_writer *writer, struct error *error)
{
    return write_page(queries, QUERY_PRODUCTS, "products", "next_after", page,
                      queries_write_product, writer, error);
}

enum result queries_has_answer(struct queries *queries, const uint8_t key[static JOURNAL_KEY_SIZE],
                               bool *ret_found, struct error *error)
{
    struct statement *select = queries->statements[QUERY_ANSWER];
    statement_bind_blob(select, 1, key, JOURNAL_KEY_SIZE);
    enum result result = statement_step(select, ret_found, error);
    statement_reset(select);
    return result;
}
