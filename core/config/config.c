#include "core/config/config_internal.h"

#include <assert.h>
#include <string.h>

enum result config_verdict(const struct buf *problems)
{
    if (buf_result(problems) == RESULT_NO_MEMORY)
        return RESULT_NO_MEMORY;
    return problems->size == 0 && buf_result(problems) == RESULT_OK ? RESULT_OK : RESULT_INVALID;
}

enum config_origin config_origin(const struct config_sources *sources, const char *name)
{
    size_t index = config_index_of(sources->set, name);
    assert(index < sources->set->count);
    return sources->origins[index];
}

/* The variable's value; NULL if it isn't set or empty. */
static const char *variable_of(const struct option *option, char *const environment[])
{
    struct config_label label = config_variable_label(option);
    size_t size = strlen(label.text);
    if (option->scope == OPTION_FLAG_ONLY)
        return NULL;
    for (; *environment; environment++)
        if (strncmp(*environment, label.text, size) == 0 && (*environment)[size] == '=')
            return (*environment)[size + 1] ? *environment + size + 1 : NULL;
    return NULL;
}

static enum result apply_default(const struct option *option, void *settings)
{
    config_clear_value(option, settings);
    if (!option->fallback)
        return RESULT_OK;
    enum result result = config_assign_value(option, option->fallback, settings, NULL);
    assert(result != RESULT_INVALID);
    return result;
}

static enum result apply_variable_and_flag(struct config_loading *loading, size_t index,
                                           char *const environment[])
{
    const char *variable = variable_of(&loading->set->options[index], environment);
    const char *flag = loading->flags[index];
    enum result result = RESULT_OK;
    if (variable)
        result = config_apply(loading, index, CONFIG_VARIABLE, variable);
    if (flag && result == RESULT_OK)
        result = config_apply(loading, index, CONFIG_FLAG, flag);
    return result;
}

/* `index` is the option "config". */
static enum result apply_named_file(struct config_loading *loading, size_t index)
{
    const struct option *option = &loading->set->options[index];
    const char *path = *(char **)config_member(option, loading->settings);
    bool is_default = loading->sources->origins[index] == CONFIG_DEFAULT;
    return path ? config_apply_file(loading, path, is_default) : RESULT_OK;
}

/* The file's name has to be known before the file is read, and the file is read before the other
 * variables and flags, which win over it. */
static enum result apply_all(struct config_loading *loading, char *const environment[])
{
    const struct option_set *set = loading->set;
    size_t config = config_index_of(set, "config");
    enum result result = RESULT_OK;
    for (size_t i = 0; i < set->count && result == RESULT_OK; i++)
        result = apply_default(&set->options[i], loading->settings);
    if (result == RESULT_OK && config < set->count)
        result = apply_variable_and_flag(loading, config, environment);
    if (result == RESULT_OK && config < set->count)
        result = apply_named_file(loading, config);
    for (size_t i = 0; i < set->count && result == RESULT_OK; i++)
        if (i != config)
            result = apply_variable_and_flag(loading, i, environment);
    return result;
}

static void check_set(const struct option_set *set)
{
    assert(set->count <= CONFIG_OPTIONS_MAX);
    for (size_t i = 0; i < set->count; i++) {
        const struct option *option = &set->options[i];
        assert(strlen(option->name) <= CONFIG_NAME_MAX);
        assert(option->kind != OPTION_INTEGER || option->minimum < option->maximum);
        assert(option->kind == OPTION_SWITCH || option->placeholder);
        assert(config_index_of(set, option->name) == i);
    }
}

enum result config_load(const struct option_set *set, int argc, char *const argv[],
                        char *const environment[], void *settings, struct config_sources *sources,
                        struct buf *problems)
{
    check_set(set);
    *sources = (struct config_sources){.set = set};
    struct config_loading loading = {
        .set = set, .settings = settings, .sources = sources, .problems = problems};
    config_take_arguments(&loading, argc, argv);
    enum result result = apply_all(&loading, environment);
    return result == RESULT_OK ? config_verdict(problems) : result;
}

void config_free_settings(const struct option_set *set, void *settings)
{
    for (size_t i = 0; i < set->count; i++)
        config_clear_value(&set->options[i], settings);
}
