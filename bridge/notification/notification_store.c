#include "bridge/notification/notification_store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/adapters/pg.h"

enum { ID_SIZE = 24, IDS_SIZE = NOTIFICATION_CLAIM_MAX * ID_SIZE };

struct notification_database {
    struct pg_options postgres;
    struct pg *pg;        /* NULL: not connected */
    struct pg_rows *rows; /* of the last claim */
};

static void database_close(void *self)
{
    struct notification_database *database = self;
    pg_free_rows(database->rows);
    database->rows = NULL;
    pg_close(database->pg);
    database->pg = NULL;
}

static void database_free(void *self)
{
    database_close(self);
    free(self);
}

static enum delivery database_connect(void *self, struct error *error)
{
    struct notification_database *database = self;
    return pg_connect(&database->postgres, &database->pg, error);
}

static enum delivery database_claim(
    void *self, enum channel_kind channel, size_t max, int64_t claim_ms,
    struct notification ret_notifications[static NOTIFICATION_CLAIM_MAX], size_t *ret_count,
    struct error *error)
{
    struct notification_database *database = self;
    pg_free_rows(database->rows);
    database->rows = NULL;
    return notification_claim(database->pg, channel, max, claim_ms, ret_notifications, ret_count,
                              &database->rows, error);
}

static enum delivery database_mark_sent(void *self, const int64_t *ids, size_t count,
                                        struct error *error)
{
    struct notification_database *database = self;
    char text[IDS_SIZE];
    size_t size = 0;
    assert(count > 0 && count <= NOTIFICATION_CLAIM_MAX);
    for (size_t i = 0; i < count; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "%c%lld", i == 0 ? '{' : ',',
                                 (long long)ids[i]);
    snprintf(text + size, sizeof text - size, "}");
    return notification_mark_sent(database->pg, text, error);
}

static enum delivery database_mark_failed(void *self, const struct notification_failure *failure,
                                          bool *ret_given_up, struct error *error)
{
    struct notification_database *database = self;
    return notification_mark_failed(database->pg, failure, ret_given_up, error);
}

enum result notification_store_new(const struct pg_options *postgres, const struct latch *cancel,
                                   struct notification_store *ret_store)
{
    static const struct notification_store_ops OPS = {.connect = database_connect,
                                                      .claim = database_claim,
                                                      .mark_sent = database_mark_sent,
                                                      .mark_failed = database_mark_failed,
                                                      .close = database_close,
                                                      .free = database_free};
    struct notification_database *database = calloc(1, sizeof *database);
    if (!database)
        return RESULT_NO_MEMORY;
    database->postgres = *postgres;
    database->postgres.break_off = cancel;
    database->postgres.application_name = "tillbox-notifier";
    *ret_store = (struct notification_store){.ops = &OPS, .self = database};
    return RESULT_OK;
}
