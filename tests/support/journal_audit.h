/* What a journal's file says, read over a connection that can't write. Any thread may call these.
 */
#ifndef TILLBOX_TESTS_SUPPORT_JOURNAL_AUDIT_H
#define TILLBOX_TESTS_SUPPORT_JOURNAL_AUDIT_H

#include <stdint.h>

#include "core/result.h"

/* Does the journal in this folder, of which no event was removed, agree with itself? Its file is
 * sound, its chain verifies, its ids have no gap, its events tell of the same orders as its tables,
 * and stock is what was there at first, adjusted, less what was sold and not given back.
 * RESULT_CORRUPT names the first contradiction. */
MUST_CHECK enum result journal_audit(const char *folder, struct error *error);

/* The integer that a query gives, printf-like; INT64_MIN, which no journal holds, if it gives none.
 */
int64_t journal_ask(const char *folder, const char *sql, ...) PRINTF_LIKE(2, 3);

#endif
