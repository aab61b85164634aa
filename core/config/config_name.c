/* The names of an option, and the one that somebody who mistyped it may have meant. */
#include "core/config/config_internal.h"

#include <ctype.h>
#include <string.h>

struct config_label config_flag_label(const struct option *option)
{
    struct config_label label;
    snprintf(label.text, sizeof label.text, "--%s", option->name);
    for (char *at = label.text; *at; at++)
        if (*at == '_')
            *at = '-';
    return label;
}

struct config_label config_variable_label(const struct option *option)
{
    struct config_label label;
    snprintf(label.text, sizeof label.text, "TILLBOX_%s", option->name);
    for (char *at = label.text; *at; at++)
        *at = (char)toupper((unsigned char)*at);
    return label;
}

static char plain(char c)
{
    return c == '-' ? '_' : (char)tolower((unsigned char)c);
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein's distance, one row at a time; both at most CONFIG_NAME_MAX long. */
static size_t distance(const char *typed, const char *name)
{
    size_t row[CONFIG_NAME_MAX + 1], width = strlen(name);
    for (size_t i = 0; i <= width; i++)
        row[i] = i;
    for (; *typed; typed++) {
        size_t diagonal = row[0]++;
        for (size_t i = 1; i <= width; i++) {
            size_t replaced = diagonal + (plain(*typed) != name[i - 1]);
            diagonal = row[i];
            row[i] = smallest(replaced, row[i] + 1, row[i - 1] + 1);
        }
    }
    return row[width];
}

const struct option *config_nearest_option(const struct option_set *set, const char *typed,
                                           enum option_scope widest)
{
    const struct option *nearest = NULL;
    size_t size = strlen(typed);
    size_t limit = 2 + size / 4; /* a slip or two of the fingers, not another word */
    if (size > CONFIG_NAME_MAX)
        return NULL;
    for (size_t i = 0; i < set->count; i++) {
        const struct option *option = &set->options[i];
        size_t apart = distance(typed, option->name);
        if (option->scope <= widest && apart < limit) {
            nearest = option;
            limit = apart;
        }
    }
    return nearest;
}

size_t config_index_of(const struct option_set *set, const char *name)
{
    size_t index = 0;
    while (index < set->count && strcmp(set->options[index].name, name) != 0)
        index++;
    return index;
}
