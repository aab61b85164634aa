/* Numbered schema migrations for a SQLite file.
 *
 * A file's `application_id` says whose it is and its `user_version` which migrations it has had;
 * both live in the file's header (https://www.sqlite.org/pragma.html#pragma_user_version). Each
 * migration runs in a transaction of its own, so a stop in the middle leaves the file between two
 * versions, never inside one. */
#ifndef TILLBOX_CORE_MIGRATE_H
#define TILLBOX_CORE_MIGRATE_H

#include <stddef.h>
#include <stdint.h>

#include "core/result.h"

struct db;

struct migration {
    int number; /* 1, 2, 3 … without gaps */
    const char *name;
    const char *sql;
};

/* Brings the file up to the last of `migrations`. RESULT_UNSUPPORTED if it belongs to another
 * application or comes from a newer version of this one: then nothing is changed. */
MUST_CHECK enum result migrate_up(struct db *db, int32_t application_id,
                                  const struct migration *migrations, size_t count,
                                  struct error *error);

#endif
