#include "core/journal/event.h"

void event_begin(struct json_writer *writer, const struct event *event)
{
    json_begin_object(writer, NULL);
    json_put_text(writer, "event_id", event->event_id);
    json_put_text(writer, "event_type", event->event_type);
    json_put_text(writer, "event_version", EVENT_VERSION);
    json_put_text(writer, "device_id", event->device_id);
    json_put_text(writer, "journal_id", event->journal_id);
    json_put_text(writer, "location", event->location);
    json_put_int(writer, "sequence", event->sequence);
    json_put_time(writer, "occurred_at", event->occurred_at_ms);
    json_begin_object(writer, "data");
}

void event_end(struct json_writer *writer)
{
    json_end_object(writer);
    json_end_object(writer);
}

void event_chain(struct sha256 *hasher, uint8_t hash[static SHA256_SIZE], const void *payload,
                 size_t size)
{
    sha256_begin(hasher);
    sha256_add(hasher, hash, SHA256_SIZE);
    sha256_add(hasher, payload, size);
    sha256_end(hasher, hash);
}
