/* The file, by way of inih.
 *
 * inih is handed one line at a time: it tells the line of the first error only and its handler none
 * at all, while every problem is to be reported with its line. */
#include "core/config_internal.h"

#include <ini.h>
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
    ini_allow_realloc = false;
    ini_initial_alloc = ini_max_line = LINE_MAX_BYTES + 3;
    ini_allow_inline_comments = false;
    ini_allow_multiline = false;
    ini_allow_no_value = false;
    ini_allow_bom = false;
}

static void add_line_problem(const struct line *line, const char *text)
{
    buf_append_format(line->loading->problems, "file %s line %u: %s\n", line->file, line->number,
                      text);
}

static void refuse_unknown_key(const struct line *line, const char *name)
{
    const struct option *nearest =
        config_nearest_option(line->loading->set, name, OPTION_EVERYWHERE);
    struct buf *problems = line->loading->problems;
    buf_append_format(problems, "file %s line %u: unknown key \"%s\"", line->file, line->number,
                      config_excerpt(name).text);
    if (nearest)
        buf_append_format(problems, " (did you mean \"%s\"?)", nearest->name);
    buf_append_text(problems, "\n");
}

static void refuse_second(const struct line *line, const char *name, unsigned first)
{
    buf_append_format(line->loading->problems,
                      "file %s line %u: \"%s\" is already given in line %u\n", line->file,
                      line->number, name, first);
}

static enum result take_key(const struct line *line, const char *name, const char *value)
{
    struct config_loading *loading = line->loading;
    size_t index = 0;
    while (index < loading->set->count && strcmp(loading->set->options[index].name, name) != 0)
        index++;
    if (index == loading->set->count ||
        loading->set->options[index].scope == OPTION_FLAG_ONLY) {
        refuse_unknown_key(line, name);
        return RESULT_OK;
    }
    if (loading->set->options[index].scope == OPTION_NOT_IN_FILE) {
        buf_append_format(loading->problems, "file %s line %u: \"%s\" can't be given in the file\n",
                          line->file, line->number, name);
        return RESULT_OK;
    }
    unsigned *first = &loading->sources->lines[index];
    if (*first > 0) {
        refuse_second(line, name, *first);
        return RESULT_OK;
    }
    *first = line->number;
    return config_apply(loading, index, CONFIG_FILE, value);
}

static int on_key(void *context, const char *section, const char *name, const char *value)
{
    (void)section;
    struct line *line = context;
    line->result = take_key(line, name, value);
    return 1;
}

static enum result take_line(struct line *line, const char *text, size_t size)
{
    const char *start = text + strspn(text, " \t");
    if (size > LINE_MAX_BYTES)
        add_line_problem(line, "is too long");
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
        result = take_line(line, text + start, length);
        start += length + 1;
    }
    return result;
}

static size_t size_of_bom(const char *text, size_t size)
{
    return size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

enum result config_apply_file(struct config_loading *loading, const char *path, bool may_be_absent)
{
    struct error cause = {""};
    size_t size = 0;
    mode_t mode;
    char *text = malloc(CONFIG_FILE_MAX + 2);
    if (!text)
        return RESULT_NO_MEMORY;
    enum result result =
        config_read_bytes(path, CONFIG_FILE_MAX + 1, &cause, text, &size, &mode);
    if (result != RESULT_OK) {
        if (result != RESULT_NOT_FOUND || !may_be_absent)
            config_add_problem(loading->sources, "config", loading->problems, "%s", cause.text);
        result = RESULT_OK;
    } else if (size > CONFIG_FILE_MAX) {
        buf_append_format(loading->problems, "file %s: is larger than %d bytes\n", path,
                          CONFIG_FILE_MAX);
    } else {
        struct line line = {.loading = loading, .file = path};
        size_t skipped = size_of_bom(text, size);
        loading->sources->file = path;
        set_inih_options();
        result = take_lines(&line, text + skipped, size - skipped);
    }
    free(text);
    return result;
}
