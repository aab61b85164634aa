#include "core/http/http_server_framing.h"

#include <ctype.h>
#include <microhttpd.h>
#include <string.h>
#include <strings.h>

#include "core/attributes.h"

/* RFC 9110, section 5.6.2. */
static bool is_token(const char *name)
{
    static const char OTHERS[] = "!#$%&'*+-.^_`|~";
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr(OTHERS, *name))
            return false;
    return true;
}

/* No control characters but the tab; MHD leaves a bare CR in. */
static bool is_field_value(const char *value)
{
    for (; *value; value++)
        if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7F)
            return false;
    return true;
}

/* MHD sticks a line that goes on from the one before to its name: "Content-Length36". */
static bool is_in_disguise(const char *name)
{
    static const char *const NAMES[] = {"Content-Length", "Transfer-Encoding"};
    for (size_t i = 0; i < ARRAY_LENGTH(NAMES); i++) {
        size_t length = strlen(NAMES[i]);
        if (strncasecmp(name, NAMES[i], length) == 0 && name[length] != '\0')
            return true;
    }
    return false;
}

/* Of these the first alone would be read, and whoever stands in front may read the last. */
static const struct {
    const char *name, *fault;
} ONCE[] = {
    {"Authorization", "the header Authorization is repeated"},
    {"Content-Type", "the header Content-Type is repeated"},
    {"Idempotency-Key", "the header Idempotency-Key is repeated"},
    {"Origin", "the header Origin is repeated"},
};

static void note_once(struct http_framing *framing, const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(ONCE); i++) {
        if (strcasecmp(name, ONCE[i].name) != 0)
            continue;
        if (framing->seen & 1U << i)
            framing->repeated = ONCE[i].fault;
        framing->seen |= 1U << i;
    }
}

static enum MHD_Result read_framing(void *context, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    (void)kind;
    struct http_framing *framing = context;
    const char *text = value ? value : "";
    if (!is_token(name) || !is_field_value(text) || is_in_disguise(name))
        framing->malformed = true;
    note_once(framing, name);
    if (strcasecmp(name, "Host") == 0)
        framing->hosts++;
    else if (strcasecmp(name, "Content-Length") == 0 && framing->lengths++ == 0)
        framing->length = text;
    else if (strcasecmp(name, "Transfer-Encoding") == 0 && framing->encodings++ == 0)
        framing->encoding = text;
    else if (strcasecmp(name, "Expect") == 0)
        framing->expects = true;
    return MHD_YES;
}

void http_framing_read(struct MHD_Connection *connection, struct http_framing *framing)
{
    MHD_get_connection_values(connection, MHD_HEADER_KIND, read_framing, framing);
}

const char *http_framing_fault(const struct http_framing *framing)
{
    if (framing->malformed)
        return "a header can't be read";
    if (framing->encodings > 0 && framing->lengths > 0)
        return "Transfer-Encoding and Content-Length together";
    if (framing->hosts > 1)
        return "the header Host is repeated";
    if (framing->lengths > 1)
        return "the header Content-Length is repeated";
    if (framing->encodings > 1)
        return "the header Transfer-Encoding is repeated";
    return framing->repeated;
}
