/* Text to value and back to nothing, one kind of option at a time. */
#include "core/config/config_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/utf8.h"

enum { EXCERPT_MAX = 60 };

static const char ELLIPSIS[] = "…";
_Static_assert(EXCERPT_MAX + sizeof ELLIPSIS <= sizeof(struct config_excerpt), "excerpt too small");

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7F;
}

struct config_excerpt config_excerpt(const char *text)
{
    struct config_excerpt excerpt = {""};
    size_t size = strlen(text), used = 0;
    for (size_t at = 0; at < size;) {
        size_t length = utf8_sequence_length(text + at, size - at);
        bool printable = length > 0 && !is_control(text[at]);
        size_t shown = printable ? length : 1;
        if (used + shown > EXCERPT_MAX) {
            memcpy(excerpt.text + used, ELLIPSIS, sizeof ELLIPSIS);
            break;
        }
        memcpy(excerpt.text + used, printable ? text + at : "?", shown);
        used += shown;
        at += shown;
    }
    return excerpt;
}

static enum result config_value_refuse(struct error *error, const char *text, const char *reason)
{
    return error_set(error, RESULT_INVALID, "\"%s\": %s", config_excerpt(text).text, reason);
}

static enum result config_value_no_memory(struct error *error)
{
    return error_set(error, RESULT_NO_MEMORY, "no memory for a setting");
}

/* What holds for every kind. The text isn't quoted: it may be a URL with a password. */
static enum result check_text(const char *text, struct error *error)
{
    size_t size = strlen(text);
    if (size > CONFIG_VALUE_MAX)
        return error_set(error, RESULT_INVALID, "is %zu bytes long, at most %d are allowed", size,
                         CONFIG_VALUE_MAX);
    if (utf8_length(text, size) < 0)
        return error_set(error, RESULT_INVALID, "isn't valid UTF-8");
    for (size_t i = 0; i < size; i++)
        if (is_control(text[i]))
            return error_set(error, RESULT_INVALID, "has a control character");
    return RESULT_OK;
}

static enum result assign_text(const struct option *option, const char *text, char **slot,
                               struct error *error)
{
    int64_t size = (int64_t)strlen(text);
    int64_t maximum = option->maximum > 0 ? option->maximum : CONFIG_VALUE_MAX;
    if (size < option->minimum || size > maximum)
        return error_set(error, RESULT_INVALID,
                         "is %" PRId64 " bytes long, must be %" PRId64 " to %" PRId64, size,
                         option->minimum, maximum);
    char *copy = strdup(text);
    if (!copy)
        return config_value_no_memory(error);
    free(*slot);
    *slot = copy;
    return RESULT_OK;
}

static enum result assign_integer(const struct option *option, const char *text, int64_t *slot,
                                  struct error *error)
{
    const char *digits = text + (text[0] == '-');
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return config_value_refuse(error, text, "must be a whole number");
    errno = 0;
    int64_t value = strtoll(text, NULL, 10);
    if (errno == ERANGE || value < option->minimum || value > option->maximum)
        return error_set(error, RESULT_INVALID, "\"%s\": must be %" PRId64 " to %" PRId64,
                         config_excerpt(text).text, option->minimum, option->maximum);
    *slot = value;
    return RESULT_OK;
}

static enum result assign_switch(const char *text, bool *slot, struct error *error)
{
    static const struct {
        const char *word;
        bool value;
    } WORDS[] = {
        {"true", true},   {"yes", true}, {"on", true},   {"1", true},
        {"false", false}, {"no", false}, {"off", false}, {"0", false},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(WORDS); i++)
        if (strcasecmp(text, WORDS[i].word) == 0) {
            *slot = WORDS[i].value;
            return RESULT_OK;
        }
    return config_value_refuse(error, text, "must be true, yes, on, 1, false, no, off or 0");
}

/* The comma-separated item at `*rest` with the space around it dropped; moves `*rest` behind it,
 * to NULL after the last one. */
static char *take_item(char **rest)
{
    char *item = strsep(rest, ",");
    item += strspn(item, " ");
    size_t size = strlen(item);
    while (size > 0 && item[size - 1] == ' ')
        size--;
    item[size] = '\0';
    return item;
}

static enum result assign_list(const char *text, struct string_list *slot, struct error *error)
{
    size_t count = 1, taken = 0;
    for (const char *comma = text; (comma = strchr(comma, ',')); comma++)
        count++;
    if (count > CONFIG_LIST_MAX)
        return error_set(error, RESULT_INVALID, "has %zu items, at most %d are allowed", count,
                         CONFIG_LIST_MAX);
    size_t size = strlen(text) + 1;
    char **items = malloc(count * sizeof *items + size);
    if (!items)
        return config_value_no_memory(error);
    char *rest = memcpy((char *)(items + count), text, size);
    while (taken < count && (items[taken] = take_item(&rest))[0])
        taken++;
    if (taken < count) {
        free(items);
        return error_set(error, RESULT_INVALID, "item %zu of the list is empty", taken + 1);
    }
    free(slot->items);
    *slot = (struct string_list){items, count};
    return RESULT_OK;
}

static bool config_value_is_address(int family, const char *host)
{
    struct in6_addr address;
    return inet_pton(family, host, &address) == 1;
}

/* `text` is what stands before the port's colon. */
static enum result parse_host(const char *text, size_t size, struct listen_address *address,
                              struct error *error)
{
    bool bracketed = size >= 2 && text[0] == '[' && text[size - 1] == ']';
    text += bracketed ? 1 : 0;
    size -= bracketed ? 2 : 0;
    if (size < sizeof address->host)
        memcpy(address->host, text, size);
    if (bracketed ? config_value_is_address(AF_INET6, address->host)
                  : config_value_is_address(AF_INET, address->host) ||
                        strcmp(address->host, "localhost") == 0)
        return RESULT_OK;
    if (!bracketed && memchr(text, ':', size))
        return error_set(error, RESULT_INVALID, "an IPv6 address stands in brackets, [::1]:8081");
    return error_set(error, RESULT_INVALID,
                     "the host must be an IPv4 address, an IPv6 address in brackets or localhost");
}

static enum result config_value_parse_port(const char *text, uint16_t *ret_port)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long port = strtoul(text, NULL, 10);
    if (digits == 0 || text[digits] != '\0' || port > UINT16_MAX)
        return RESULT_INVALID;
    *ret_port = (uint16_t)port;
    return RESULT_OK;
}

static enum result assign_listen(const char *text, struct listen_address *slot, struct error *error)
{
    struct listen_address address = {.port = 0};
    struct error cause = {""};
    const char *colon = strrchr(text, ':');
    if (!colon || text[strlen(text) - 1] == ']')
        return config_value_refuse(error, text, "must be HOST:PORT, such as 127.0.0.1:8081");
    if (colon == text)
        return config_value_refuse(error, text,
                                   "has no host; 127.0.0.1 is this machine only, 0.0.0.0 everyone");
    if (parse_host(text, (size_t)(colon - text), &address, &cause) != RESULT_OK)
        return config_value_refuse(error, text, cause.text);
    if (config_value_parse_port(colon + 1, &address.port) != RESULT_OK)
        return config_value_refuse(error, text, "port must be 0 to 65535");
    *slot = address;
    return RESULT_OK;
}

void *config_member(const struct option *option, void *settings)
{
    return (char *)settings + option->offset;
}

enum result config_assign_value(const struct option *option, const char *text, void *settings,
                                struct error *error)
{
    void *slot = config_member(option, settings);
    if (text[0] == '\0' && option->fallback)
        return error_set(error, RESULT_INVALID, "must not be empty");
    if (text[0] == '\0') {
        config_clear_value(option, settings);
        return RESULT_OK;
    }
    enum result result = check_text(text, error);
    if (result != RESULT_OK)
        return result;
    switch (option->kind) {
    case OPTION_TEXT:
        return assign_text(option, text, slot, error);
    case OPTION_INTEGER:
        return assign_integer(option, text, slot, error);
    case OPTION_SWITCH:
        return assign_switch(text, slot, error);
    case OPTION_LIST:
        return assign_list(text, slot, error);
    case OPTION_LISTEN:
        return assign_listen(text, slot, error);
    }
    return error_set(error, RESULT_INTERNAL, "option %s is of no known kind", option->name);
}

static void clear_text(char **slot)
{
    free(*slot);
    *slot = NULL;
}

static void clear_list(struct string_list *slot)
{
    free(slot->items);
    *slot = (struct string_list){0};
}

void config_clear_value(const struct option *option, void *settings)
{
    void *slot = config_member(option, settings);
    switch (option->kind) {
    case OPTION_TEXT:
        clear_text(slot);
        return;
    case OPTION_INTEGER:
        *(int64_t *)slot = 0;
        return;
    case OPTION_SWITCH:
        *(bool *)slot = false;
        return;
    case OPTION_LIST:
        clear_list(slot);
        return;
    case OPTION_LISTEN:
        *(struct listen_address *)slot = (struct listen_address){.port = 0};
        return;
    }
}

bool listen_address_is_loopback(const struct listen_address *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, address->host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
    if (inet_pton(AF_INET6, address->host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6) ||
               (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == IN_LOOPBACKNET);
    return strcmp(address->host, "localhost") == 0;
}
