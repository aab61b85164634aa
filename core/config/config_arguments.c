/* The command line, sorted into flags and operands. */
#include "core/config/config_internal.h"

#include <string.h>

/* "--data-dri" without its value, so that a secret behind "=" isn't shown. */
static void refuse_unknown_flag(struct config_loading *loading, const char *argument, size_t size)
{
    char typed[CONFIG_LABEL_SIZE];
    snprintf(typed, sizeof typed, "%.*s", (int)size, argument);
    const struct option *nearest =
        config_nearest_option(loading->set, typed + strspn(typed, "-"), OPTION_FLAG_ONLY);
    buf_append_format(loading->problems, "unknown flag \"%s\"", config_excerpt(typed).text);
    if (nearest)
        buf_append_format(loading->problems, " (did you mean \"%s\"?)",
                          config_flag_label(nearest).text);
    buf_append_text(loading->problems, "\n");
}

static size_t index_of_flag(const struct option_set *set, const char *argument, size_t size)
{
    for (size_t i = 0; i < set->count; i++) {
        struct config_label label = config_flag_label(&set->options[i]);
        if (strlen(label.text) == size && memcmp(label.text, argument, size) == 0)
            return i;
    }
    return set->count;
}

/* Notes the flag `argument`. `next` is what follows it, NULL at the end; true if that was its
 * value. A value that looks like a flag has to be joined to its own by "=". */
static bool take_flag(struct config_loading *loading, const char *argument, const char *next)
{
    const char *equals = strchr(argument, '=');
    size_t size = equals ? (size_t)(equals - argument) : strlen(argument);
    size_t index = index_of_flag(loading->set, argument, size);
    if (index == loading->set->count) {
        refuse_unknown_flag(loading, argument, size);
        return false;
    }
    const struct option *option = &loading->set->options[index];
    if (equals || option->kind == OPTION_SWITCH) {
        loading->flags[index] = equals ? equals + 1 : "true";
        return false;
    }
    if (!next || strncmp(next, "--", 2) == 0) {
        buf_append_format(loading->problems, "%s: needs a value, %s\n",
                          config_flag_label(option).text, option->placeholder);
        return false;
    }
    loading->flags[index] = next;
    return true;
}

static void take_operand(struct config_loading *loading, const char *argument)
{
    struct config_sources *sources = loading->sources;
    if (sources->operand_count < CONFIG_OPERANDS_MAX)
        sources->operands[sources->operand_count++] = argument;
    else
        buf_append_format(loading->problems, "\"%s\": too many arguments, at most %d are allowed\n",
                          config_excerpt(argument).text, CONFIG_OPERANDS_MAX);
}

void config_take_arguments(struct config_loading *loading, int argc, char *const argv[])
{
    bool options_over = false;
    for (int i = 1; i < argc; i++) {
        if (options_over || argv[i][0] != '-' || argv[i][1] == '\0')
            take_operand(loading, argv[i]);
        else if (strcmp(argv[i], "--") == 0)
            options_over = true;
        else if (take_flag(loading, argv[i], i + 1 < argc ? argv[i + 1] : NULL))
            i++;
    }
}
