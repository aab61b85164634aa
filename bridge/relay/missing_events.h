/* Which of the journal's events are not in head office's event_logs. */
#ifndef TILLBOX_BRIDGE_MISSING_EVENTS_H
#define TILLBOX_BRIDGE_MISSING_EVENTS_H

#include "bridge/adapters/pg.h"
#include "core/journal/journal_reader.h"

/* Calls `missing` for each of the journal's events after `after`, up to and with `through`, that
 * event_logs hasn't got, or has with another id. DELIVERY_DONE; DELIVERY_DOWN if either can't be
 * read. */
enum delivery missing_events_find(struct journal_reader *journal, struct pg *pg, int64_t after,
                                  int64_t through,
                                  void (*missing)(void *context, const struct journal_event *event),
                                  void *context, struct error *error) MUST_CHECK;

#endif
