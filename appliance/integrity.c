#include "appliance/integrity.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "appliance/journal.h"
#include "core/journal/chain.h"
#include "core/log.h"

enum { NICE = 15, RETRY_MS = 60000, GLANCE_MS = 100 };

/* A check holds a read transaction, and the WAL can't be reused while it does: past this the check
 * steps aside and tries again later. */
static const int64_t WAL_MAX_BYTES = 256 << 20;

struct integrity {
    char journal[JOURNAL_PATH_SIZE];
    char wal[JOURNAL_PATH_SIZE + 8];
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* what follows */
    bool stopping;
    enum integrity_state state;
    char detail[INTEGRITY_DETAIL_SIZE];
};

static void integrity_move_to(struct integrity *integrity, enum integrity_state state,
                              const char *detail)
{
    pthread_mutex_lock(&integrity->lock);
    bool moves = integrity->state != INTEGRITY_DAMAGED; /* an alarm stays */
    if (moves) {
        integrity->state = state;
        snprintf(integrity->detail, sizeof integrity->detail, "%s", detail);
    }
    pthread_mutex_unlock(&integrity->lock);
    if (!moves)
        return;
    LOG(state == INTEGRITY_DAMAGED ? LOG_ERROR : LOG_INFO, "journal.integrity",
        LOG_TEXT("state", integrity_state_text(state)), LOG_TEXT("detail", detail));
}

static enum result check_tail(struct integrity *integrity, struct error *error)
{
    struct db *db = NULL;
    struct chain_report report;
    char detail[INTEGRITY_DETAIL_SIZE];
    enum result result = db_open(integrity->journal, DB_READER, &db, error);
    if (result == RESULT_OK)
        result = chain_check(db, INTEGRITY_TAIL, &report, error);
    db_close(db);
    if (result == RESULT_CORRUPT) {
        integrity_move_to(integrity, INTEGRITY_DAMAGED, error->text);
        return RESULT_OK;
    }
    if (result == RESULT_OK && report.bad_sequence != 0) {
        snprintf(detail, sizeof detail, "event %lld: %s", (long long)report.bad_sequence,
                 report.reason);
        integrity_move_to(integrity, INTEGRITY_DAMAGED, detail);
    }
    return result;
}

static bool integrity_is_stopping(struct integrity *integrity)
{
    pthread_mutex_lock(&integrity->lock);
    bool stopping = integrity->stopping;
    pthread_mutex_unlock(&integrity->lock);
    return stopping;
}

static bool should_step_aside(void *context)
{
    struct integrity *integrity = context;
    struct stat wal;
    return integrity_is_stopping(integrity) ||
           (stat(integrity->wal, &wal) == 0 && wal.st_size > WAL_MAX_BYTES);
}

/* quick_check answers "ok", or a line for each fault it finds. */
static void integrity_take_line(void *context, const char *text)
{
    char *first = context;
    if (first[0] == '\0')
        snprintf(first, INTEGRITY_DETAIL_SIZE, "%s", text);
}

/* RESULT_CLOSED if it stepped aside. */
static enum result integrity_check_file(struct integrity *integrity)
{
    struct db *db = NULL;
    struct error error = {0};
    char first[INTEGRITY_DETAIL_SIZE] = "";
    enum result result = db_open(integrity->journal, DB_READER, &db, &error);
    if (result == RESULT_OK) {
        db_set_stop(db, should_step_aside, integrity);
        result = db_query_text(db, "PRAGMA quick_check(10)", integrity_take_line, first, &error);
    }
    db_close(db);
    if (result == RESULT_CLOSED)
        return result;
    if (result != RESULT_OK)
        integrity_move_to(integrity, INTEGRITY_DAMAGED, error.text);
    else if (strcmp(first, "ok") != 0)
        integrity_move_to(integrity, INTEGRITY_DAMAGED, first);
    else
        integrity_move_to(integrity, INTEGRITY_SOUND, "");
    return RESULT_OK;
}

/* True if it is time to stop rather than to try again. */
static bool wait_for_retry(struct integrity *integrity)
{
    for (int waited_ms = 0; waited_ms < RETRY_MS; waited_ms += GLANCE_MS) {
        if (integrity_is_stopping(integrity))
            return true;
        clock_sleep_ms(&clock_system, GLANCE_MS);
    }
    return false;
}

static void *integrity_run(void *context)
{
    struct integrity *integrity = context;
    /* On Linux this is the thread's own niceness: sales go first. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    while (integrity_check_file(integrity) == RESULT_CLOSED)
        if (wait_for_retry(integrity))
            break;
    return NULL;
}

enum result integrity_start(const char *data_dir, bool stopped_cleanly,
                            struct integrity **ret_integrity, struct error *error)
{
    struct integrity *integrity = calloc(1, sizeof *integrity);
    enum result result = RESULT_OK;
    if (!integrity)
        return RESULT_NO_MEMORY;
    pthread_mutex_init(&integrity->lock, NULL);
    journal_path(data_dir, integrity->journal);
    snprintf(integrity->wal, sizeof integrity->wal, "%s-wal", integrity->journal);
    if (!stopped_cleanly) {
        integrity_move_to(integrity, INTEGRITY_CHECKING, "the last stop was not clean");
        result = check_tail(integrity, error);
        if (result == RESULT_OK)
            integrity->has_thread =
                pthread_create(&integrity->thread, NULL, integrity_run, integrity) == 0;
        if (result == RESULT_OK && !integrity->has_thread)
            result = error_set(error, RESULT_NO_MEMORY, "the check's thread doesn't start");
    }
    if (result != RESULT_OK) {
        integrity_stop(integrity);
        return result;
    }
    *ret_integrity = integrity;
    return RESULT_OK;
}

void integrity_stop(struct integrity *integrity)
{
    if (!integrity)
        return;
    pthread_mutex_lock(&integrity->lock);
    integrity->stopping = true;
    pthread_mutex_unlock(&integrity->lock);
    if (integrity->has_thread)
        pthread_join(integrity->thread, NULL);
    pthread_mutex_destroy(&integrity->lock);
    free(integrity);
}

enum integrity_state integrity_state(struct integrity *integrity,
                                     char ret_detail[static INTEGRITY_DETAIL_SIZE])
{
    pthread_mutex_lock(&integrity->lock);
    enum integrity_state state = integrity->state;
    memcpy(ret_detail, integrity->detail, INTEGRITY_DETAIL_SIZE);
    pthread_mutex_unlock(&integrity->lock);
    return state;
}

const char *integrity_state_text(enum integrity_state state)
{
    static const char *const TEXTS[] = {[INTEGRITY_TRUSTED] = "trusted",
                                        [INTEGRITY_CHECKING] = "checking",
                                        [INTEGRITY_SOUND] = "sound",
                                        [INTEGRITY_DAMAGED] = "damaged"};
    return TEXTS[state];
}
