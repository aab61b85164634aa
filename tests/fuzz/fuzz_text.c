/* Ids and times that are read are written back the same. */
#include "core/clock.h"
#include "core/utf8.h"
#include "core/uuid.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <strings.h>

static void check_uuid(const char *text)
{
    struct uuid uuid;
    char again[UUID_TEXT_SIZE];
    if (uuid_parse(text, &uuid) != RESULT_OK)
        return;
    uuid_format(&uuid, again);
    assert(strcasecmp(text, again) == 0);
}

static void check_time(const char *text)
{
    int64_t wall_ms = 0, again_ms = 0;
    char again[CLOCK_TEXT_SIZE];
    if (clock_parse_utc(text, &wall_ms) != RESULT_OK)
        return;
    clock_format_utc(wall_ms, again);
    assert(strncmp(text, again, 10) == 0);
    assert(clock_parse_utc(again, &again_ms) == RESULT_OK && again_ms == wall_ms);
}

static void check_cut(char *text)
{
    if (utf8_length(text, strlen(text)) < 0)
        return;
    text[strlen(text) / 2] = '\0';
    utf8_trim_cut(text);
    assert(utf8_length(text, strlen(text)) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[256];
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    check_uuid(text);
    check_time(text);
    check_cut(text);
    return 0;
}
