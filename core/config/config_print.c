/* The option table for people: --help and the sample file. */
#include "core/config/config_internal.h"

#include <string.h>

enum { LINE_WIDTH = 80, HELP_COLUMN = 30 };

/* Words of `text`, each line after `prefix` and at most LINE_WIDTH wide. The first prefix is the
 * caller's to print. */
static void print_wrapped(FILE *stream, const char *prefix, const char *text)
{
    size_t column = strlen(prefix);
    bool first = true;
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t size = strcspn(text, " ");
        if (!first && column + 1 + size > LINE_WIDTH) {
            fprintf(stream, "\n%s", prefix);
            column = strlen(prefix);
            first = true;
        }
        fprintf(stream, "%s%.*s", first ? "" : " ", (int)size, text);
        column += size + (first ? 0 : 1);
        first = false;
        text += size;
    }
    fputc('\n', stream);
}

/* "--data-dir DIR"; returns its width. */
static int print_flag(const struct option *option, FILE *stream)
{
    int width = fprintf(stream, "%s", config_flag_label(option).text);
    if (option->placeholder)
        width += fprintf(stream, " %s", option->placeholder);
    return width;
}

/* "TILLBOX_DATA_DIR, default /var/lib/tillbox", or as much of it as there is. */
static void print_variable_and_default(const struct option *option, FILE *stream)
{
    const char *separator = "";
    if (option->scope != OPTION_FLAG_ONLY) {
        fputs(config_variable_label(option).text, stream);
        separator = ", ";
    }
    if (option->fallback)
        fprintf(stream, "%sdefault %s", separator, option->fallback);
    fputc('\n', stream);
}

static void print_option(const struct option *option, FILE *stream)
{
    char margin[HELP_COLUMN + 1];
    snprintf(margin, sizeof margin, "%*s", HELP_COLUMN, "");
    fputs("  ", stream);
    int width = 2 + print_flag(option, stream);
    if (width + 1 < HELP_COLUMN)
        fputs(margin + width, stream);
    else
        fprintf(stream, "\n%s", margin);
    print_wrapped(stream, margin, option->help);
    if (option->scope != OPTION_FLAG_ONLY || option->fallback) {
        fputs(margin, stream);
        print_variable_and_default(option, stream);
    }
}

static void print_sample_key(const struct option *option, FILE *stream)
{
    fputs("\n# ", stream);
    print_wrapped(stream, "# ", option->help);
    fputs("# ", stream);
    print_flag(option, stream);
    fprintf(stream, ", %s\n#%s =", config_variable_label(option).text, option->name);
    if (option->fallback)
        fprintf(stream, " %s", option->fallback);
    fputc('\n', stream);
}

void config_print_options(const struct option_set *set,
                          bool (*is_wanted)(const void *context, const char *name),
                          const void *context, FILE *stream)
{
    for (size_t i = 0; i < set->count; i++)
        if (!is_wanted || is_wanted(context, set->options[i].name))
            print_option(&set->options[i], stream);
}

void config_print_sample(const struct option_set *set, FILE *stream)
{
    fprintf(stream,
            "# The settings of %s: one `key = value` a line. A flag and a variable win over\n"
            "# this file. Each line shows its default; take the # away to change it.\n"
            "#\n"
            "# A comment has a line of its own that starts with # or ;. Inside a value both are\n"
            "# plain characters, quotes too. There are no sections and no continuation lines.\n",
            set->program);
    for (size_t i = 0; i < set->count; i++)
        if (set->options[i].scope == OPTION_EVERYWHERE)
            print_sample_key(&set->options[i], stream);
}
