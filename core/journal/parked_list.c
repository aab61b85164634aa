#include "core/journal/parked_list.h"

#include <stdio.h>
#include <unistd.h>

#include "core/db.h"
#include "core/utf8.h"

enum { PATH_SIZE = 4096 };

static const char PARKED_SQL[] =
    "SELECT sink, event_type, state, event_id, reason, sequence, coalesce(order_id, 0), attempts,"
    " parked_at_ms FROM parked WHERE state IN ('refused', 'held')"
    " ORDER BY state DESC, sequence, sink LIMIT ?1";

static void parked_list_copy_text(char *ret_text, size_t size, struct statement *row, int column)
{
    snprintf(ret_text, size, "%s", statement_text(row, column));
    utf8_trim_cut(ret_text);
}

static void read_entry(struct statement *row, struct parked_entry *ret_entry)
{
    parked_list_copy_text(ret_entry->sink, sizeof ret_entry->sink, row, 0);
    parked_list_copy_text(ret_entry->event_type, sizeof ret_entry->event_type, row, 1);
    parked_list_copy_text(ret_entry->state, sizeof ret_entry->state, row, 2);
    parked_list_copy_text(ret_entry->event_id, sizeof ret_entry->event_id, row, 3);
    parked_list_copy_text(ret_entry->reason, sizeof ret_entry->reason, row, 4);
    ret_entry->sequence = statement_int(row, 5);
    ret_entry->order_id = statement_int(row, 6);
    ret_entry->attempts = statement_int(row, 7);
    ret_entry->parked_at_ms = statement_int(row, 8);
}

static enum result read_entries(struct db *bridge, struct parked_list *list, struct error *error)
{
    struct statement *select = NULL;
    bool row = true;
    enum result result = statement_prepare(bridge, PARKED_SQL, &select, error);
    if (result == RESULT_OK)
        statement_bind_int(select, 1, PARKED_LIST_MAX);
    while (result == RESULT_OK && list->count < PARKED_LIST_MAX) {
        result = statement_step(select, &row, error);
        if (result != RESULT_OK || !row)
            break;
        read_entry(select, &list->entries[list->count++]);
    }
    statement_free(select);
    return result;
}

enum result parked_list_read(const char *bridge_dir, struct parked_list *ret_list,
                             struct error *error)
{
    char path[PATH_SIZE];
    struct db *bridge = NULL;
    int64_t version = 0;
    ret_list->count = 0;
    snprintf(path, sizeof path, "%s/bridge.db", bridge_dir);
    if (access(path, F_OK) != 0)
        return RESULT_OK;
    enum result result = db_open(path, DB_UNTRUSTED, &bridge, error);
    if (result == RESULT_OK)
        result = db_query_int(bridge, "PRAGMA user_version", &version, error);
    if (result == RESULT_OK && version > 0)
        result = read_entries(bridge, ret_list, error);
    db_close(bridge);
    return result;
}

static void write_entry(const struct parked_entry *entry, struct json_writer *writer)
{
    json_begin_object(writer, NULL);
    json_put_text(writer, "sink", entry->sink);
    json_put_int(writer, "sequence", entry->sequence);
    json_put_text(writer, "event_id", entry->event_id);
    json_put_text(writer, "event_type", entry->event_type);
    if (entry->order_id > 0)
        json_put_int(writer, "order_id", entry->order_id);
    else
        json_put_null(writer, "order_id");
    json_put_text(writer, "state", entry->state);
    json_put_text(writer, "reason", entry->reason);
    json_put_int(writer, "attempts", entry->attempts);
    json_put_time(writer, "parked_at", entry->parked_at_ms);
    json_end_object(writer);
}

void parked_list_write(const struct parked_list *list, struct json_writer *writer)
{
    json_begin_array(writer, "parked");
    for (size_t i = 0; i < list->count; i++)
        write_entry(&list->entries[i], writer);
    json_end_array(writer);
}
