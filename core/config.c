#include "core/config_internal.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
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
    size_t least = 1 + size / 4; /* a typing error or two, not another word */
    if (size > CONFIG_NAME_MAX)
        return NULL;
    for (size_t i = 0; i < set->count; i++) {
        const struct option *option = &set->options[i];
        if (option->scope > widest || distance(typed, option->name) > least)
            continue;
        least = distance(typed, option->name);
        nearest = option;
        if (least-- == 0)
            break;
    }
    return nearest;
}

static size_t index_of(const struct option_set *set, const char *name)
{
    size_t index = 0;
    while (index < set->count && strcmp(set->options[index].name, name) != 0)
        index++;
    return index;
}

static void append_place(const struct config_sources *sources, size_t index,
                         enum config_origin origin, struct buf *problems)
{
    const struct option *option = &sources->set->options[index];
    switch (origin) {
    case CONFIG_DEFAULT:
        buf_append_format(problems, "%s: ", option->name);
        return;
    case CONFIG_FILE:
        buf_append_format(problems, "file %s line %u: %s: ", sources->file, sources->lines[index],
                          option->name);
        return;
    case CONFIG_VARIABLE:
        buf_append_format(problems, "%s: ", config_variable_label(option).text);
        return;
    case CONFIG_FLAG:
        buf_append_format(problems, "%s: ", config_flag_label(option).text);
        return;
    }
}

void config_add_problem(const struct config_sources *sources, const char *name,
                        struct buf *problems, const char *format, ...)
{
    size_t index = index_of(sources->set, name);
    assert(index < sources->set->count);
    struct error cause;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cause.text, sizeof cause.text, format, arguments);
    va_end(arguments);
    append_place(sources, index, sources->origins[index], problems);
    buf_append_format(problems, "%s\n", cause.text);
}

enum result config_verdict(const struct buf *problems)
{
    if (buf_result(problems) == RESULT_NO_MEMORY)
        return RESULT_NO_MEMORY;
    return problems->size == 0 && buf_result(problems) == RESULT_OK ? RESULT_OK : RESULT_INVALID;
}

enum config_origin config_origin(const struct config_sources *sources, const char *name)
{
    size_t index = index_of(sources->set, name);
    assert(index < sources->set->count);
    return sources->origins[index];
}

enum result config_apply(struct config_loading *loading, size_t index, enum config_origin origin,
                         const char *text)
{
    struct error cause = {""};
    enum result result = config_assign_value(&loading->set->options[index], text,
                                             loading->settings, &cause);
    if (result == RESULT_INVALID) {
        append_place(loading->sources, index, origin, loading->problems);
        buf_append_format(loading->problems, "%s\n", cause.text);
        return RESULT_OK;
    }
    if (result == RESULT_OK)
        loading->sources->origins[index] = origin;
    return result;
}
