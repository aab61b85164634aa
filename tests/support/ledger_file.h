/* A bridge.db that no bridge has made: for tests of what reads it. */
#ifndef TILLBOX_TESTS_SUPPORT_LEDGER_FILE_H
#define TILLBOX_TESTS_SUPPORT_LEDGER_FILE_H

#include "core/db.h"
#include "tests/support/folder.h"

/* Each fails the test if it can't. The caller closes what is opened. */
struct db *ledger_file_open(const struct folder *folder);
void ledger_file_exec(const struct folder *folder, const char *sql);

/* With the bridge's tables, all of them empty. Tests run in the tree's root. */
void ledger_file_create(const struct folder *folder);

#endif
