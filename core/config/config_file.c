/* The file, by way of inih.
 *
 * inih is handed one line at a time: it tells the line of the first error only and its handler none
 * at all, while every problem is to be reported with its line. */
#include "core/config/config_internal.h"

#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* long enough that a value over CONFIG_VALUE_MAX is still reported as that */
enum { LINE_MAX_BYTES = 2 * CONFIG_VALUE_MAX };

struct line {
    struct config_loading *loading;
    const char *file;
    unsigned number;
    enum result result;
};

/* inih's defaults cut a line at 200 bytes and a value at " ;". */
static void set_inih_options(void)
{
    ini_use_stack = false;
    ini_initial_alloc = ini_max_line = LINE_MAX_BYTES + 3;
    ini_allow_inline_comments = false;
    ini_allow_bom = false;
}

PRINTF_LIKE(2, 3)
static void add_line_problem(const struct line *line, const char *format, ...)
{
    struct error problem;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem.text, sizeof problem.text, format, arguments);
    va_end(arguments);
    buf_append_format(line->loading->problems, "file %s line %u: %s\n", line->file, line->number,
                      problem.text);
}

static void refuse_unknown_key(const struct line *line, const char *name)
{
    const struct option *nearest =
        config_nearest_option(line->loading->set, name, OPTION_EVERYWHERE);
    if (nearest)
        add_line_problem(line, "unknown key \"%s\" (did you mean \"%s\"?)",
                         config_excerpt(name).text, nearest->name);
    else
        add_line_problem(line, "unknown key \"%s\"", config_excerpt(name).text);
}

static enum result take_key(const struct line *line, const char *name, const char *value)
{
    const struct option_set *set = line->loading->set;
    size_t index = config_index_of(set, name);
    if (index == set->count || set->options[index].scope == OPTION_FLAG_ONLY) {
        refuse_unknown_key(line, name);
        return RESULT_OK;
    }
    if (set->options[index].scope == OPTION_NOT_IN_FILE) {
        add_line_problem(line, "%s: can't be set in the file", name);
        return RESULT_OK;
    }
    unsigned *given_in = &line->loading->sources->lines[index];
    if (*given_in > 0) {
        add_line_problem(line, "%s: is given a second time, line %u has it too", name, *given_in);
        return RESULT_OK;
    }
    *given_in = line->number;
    return config_apply(line->loading, index, CONFIG_FILE, value);
}

static int on_key(void *context, const char *section, const char *name, const char *value)
{
    (void)section;
    struct line *line = context;
    line->result = take_key(line, name, value);
    return 1;
}

static enum result config_file_take_line(struct line *line, const char *text, size_t size)
{
    const char *start = text + strspn(text, " \t");
    if (size > LINE_MAX_BYTES)
        add_line_problem(line, "is longer than %d bytes", LINE_MAX_BYTES);
    else if (strlen(text) < size)
        add_line_problem(line, "has a NUL byte");
    else if (*start == '[')
        add_line_problem(line, "sections aren't used here, keys stand on their own");
    else
        switch (ini_parse_string(text, on_key, line)) {
        case 0:
            return line->result;
        case -2:
            return RESULT_NO_MEMORY;
        default:
            add_line_problem(line, "is neither \"key = value\" nor a comment");
        }
    return RESULT_OK;
}

/* `text` has room for a NUL behind its `size` bytes. */
static enum result take_lines(struct line *line, char *text, size_t size)
{
    enum result result = RESULT_OK;
    for (size_t start = 0; start < size && result == RESULT_OK;) {
        const char *end = memchr(text + start, '\n', size - start);
        size_t length = end ? (size_t)(end - text) - start : size - start;
        text[start + length] = '\0';
        line->number++;
        result = config_file_take_line(line, text + start, length);
        start += length + 1;
    }
    return result;
}

static size_t size_of_bom(const char *text, size_t size)
{
    return size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

static enum result take_file(struct config_loading *loading, const char *path, char *text,
                             size_t size)
{
    struct line line = {.loading = loading, .file = path};
    size_t skipped = size_of_bom(text, size);
    if (size > CONFIG_FILE_MAX) {
        buf_append_format(loading->problems, "file %s: is larger than %d bytes\n", path,
                          CONFIG_FILE_MAX);
        return RESULT_OK;
    }
    loading->sources->file = path;
    set_inih_options();
    return take_lines(&line, text + skipped, size - skipped);
}

enum result config_apply_file(struct config_loading *loading, const char *path, bool may_be_absent)
{
    struct error cause = {""};
    size_t size = 0;
    mode_t mode;
    char *text = malloc(CONFIG_FILE_MAX + 2);
    if (!text)
        return RESULT_NO_MEMORY;
    enum result result = config_read_bytes(path, CONFIG_FILE_MAX + 1, &cause, text, &size, &mode);
    if (result == RESULT_OK)
        result = take_file(loading, path, text, size);
    else if (result == RESULT_NOT_FOUND && may_be_absent)
        result = RESULT_OK;
    else {
        config_add_problem(loading->sources, "config", loading->problems, "%s", cause.text);
        result = RESULT_OK;
    }
    free(text);
    return result;
}
