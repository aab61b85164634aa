/* One value into its option, and a problem with the place that it came from. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/config/config_internal.h"

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
    size_t index = config_index_of(sources->set, name);
    assert(index < sources->set->count);
    struct error cause;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cause.text, sizeof cause.text, format, arguments);
    va_end(arguments);
    append_place(sources, index, sources->origins[index], problems);
    buf_append_format(problems, "%s\n", cause.text);
}

enum result config_apply(struct config_loading *loading, size_t index, enum config_origin origin,
                         const char *text)
{
    struct error cause = {""};
    enum result result =
        config_assign_value(&loading->set->options[index], text, loading->settings, &cause);
    if (result == RESULT_INVALID) {
        append_place(loading->sources, index, origin, loading->problems);
        buf_append_format(loading->problems, "%s\n", cause.text);
        return RESULT_OK;
    }
    if (result == RESULT_OK)
        loading->sources->origins[index] = origin;
    return result;
}
