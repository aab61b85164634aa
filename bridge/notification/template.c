#include "bridge/notification/template.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/utf8.h"

enum { PATH_SIZE = 4096 };

extern const struct template_file TEMPLATES[];
extern const size_t TEMPLATES_count;

static const char SUBJECT[] = "Subject: ";

static const char *const NAMES[] = {
#define X(field, name) [field] = (name),
    TEMPLATE_FIELDS(X)
#undef X
};

/* A piece of a template: plain text, or a field. */
struct piece {
    const char *text;
    size_t size;
    int field; /* enum template_field; -1: plain */
};

static int find_field(const char *name, size_t size)
{
    for (int i = 0; i < TEMPLATE_FIELD_COUNT; i++)
        if (strlen(NAMES[i]) == size && memcmp(NAMES[i], name, size) == 0)
            return i;
    return -1;
}

/* Takes the next piece off `*text`. RESULT_INVALID: a brace that means nothing, or an unknown
 * field.
 */
static enum result next_piece(const char **text, struct piece *ret_piece, struct error *error)
{
    const char *start = *text;
    size_t plain = strcspn(start, "{}");
    if (plain > 0 || *start == '\0' || start[0] == start[1]) {
        size_t size = plain > 0 || *start == '\0' ? plain : 1;
        *ret_piece = (struct piece){.text = start, .size = size, .field = -1};
        *text = start + (plain > 0 ? plain : 2 * size);
        return RESULT_OK;
    }
    size_t size = strcspn(start + 1, "{}\n");
    if (*start == '}' || start[1 + size] != '}')
        return error_set(error, RESULT_INVALID, "a \"%c\" alone; write it twice", *start);
    int field = find_field(start + 1, size);
    if (field < 0)
        return error_set(error, RESULT_INVALID, "{%.*s} is no field", (int)(size < 40 ? size : 40),
                         start + 1);
    *ret_piece = (struct piece){.text = start, .size = size + 2, .field = field};
    *text = start + size + 2;
    return RESULT_OK;
}

static enum result template_check(const char *text, bool ret_has[static TEMPLATE_FIELD_COUNT],
                                  struct error *error)
{
    while (*text) {
        struct piece piece;
        enum result result = next_piece(&text, &piece, error);
        if (result != RESULT_OK)
            return result;
        if (piece.field >= 0)
            ret_has[piece.field] = true;
    }
    return RESULT_OK;
}

/* Parts `bytes`, and checks what there is. */
static enum result split(char *bytes, struct template *template, struct error *error)
{
    bool in_subject[TEMPLATE_FIELD_COUNT] = {false}, in_text[TEMPLATE_FIELD_COUNT] = {false};
    char *end = strstr(bytes, "\n\n");
    if (strncmp(bytes, SUBJECT, strlen(SUBJECT)) != 0 || !end || strchr(bytes, '\n') != end)
        return error_set(error, RESULT_INVALID,
                         "it must begin with a line \"Subject: …\" and an empty line");
    *end = '\0';
    template->bytes = bytes;
    template->subject = bytes + strlen(SUBJECT);
    template->text = end + 2;
    enum result result = template_check(template->subject, in_subject, error);
    if (result == RESULT_OK)
        result = template_check(template->text, in_text, error);
    if (result != RESULT_OK)
        return result;
    if (in_subject[TEMPLATE_ITEMS])
        return error_set(error, RESULT_INVALID, "{items} has several lines: not in the subject");
    if (!in_subject[TEMPLATE_ORDER_ID] && !in_text[TEMPLATE_ORDER_ID])
        return error_set(error, RESULT_INVALID, "{order_id} is missing");
    return RESULT_OK;
}

static enum result read_file(const char *path, char **ret_bytes, struct error *error)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set_errno(error, errno == ENOENT ? RESULT_NOT_FOUND : RESULT_DENIED,
                               "can't open %s", path);
    char *bytes = calloc(1, TEMPLATE_SIZE_MAX + 2);
    size_t size = bytes ? fread(bytes, 1, TEMPLATE_SIZE_MAX + 1, file) : 0;
    enum result result = bytes ? RESULT_OK : RESULT_NO_MEMORY;
    if (ferror(file))
        result = error_set(error, RESULT_IO, "can't read %s", path);
    else if (size > TEMPLATE_SIZE_MAX)
        result = error_set(error, RESULT_TOO_LARGE, "%s is too large", path);
    else if (bytes &&
             (strlen(bytes) != size || utf8_length(bytes, size) < 0 || strchr(bytes, '\r')))
        result = error_set(error, RESULT_INVALID, "%s isn't UTF-8 text with plain line ends", path);
    fclose(file);
    if (result == RESULT_OK)
        *ret_bytes = bytes;
    else
        free(bytes);
    return result;
}

static char *copy_built_in(const char *name)
{
    for (size_t i = 0; i < TEMPLATES_count; i++)
        if (strcmp(TEMPLATES[i].name, name) == 0)
            return strdup(TEMPLATES[i].text);
    return NULL;
}

enum result template_load(const char *folder, const char *name, struct template *ret_template,
                          struct error *error)
{
    char path[PATH_SIZE];
    char *bytes = folder ? NULL : copy_built_in(name);
    struct error cause = {0};
    snprintf(path, sizeof path, "%s/%s.txt", folder ? folder : "built in", name);
    if (folder) {
        enum result read = read_file(path, &bytes, error);
        if (read != RESULT_OK)
            return read;
    }
    if (!bytes)
        return RESULT_NO_MEMORY;
    enum result result = split(bytes, ret_template, &cause);
    if (result == RESULT_OK)
        return RESULT_OK;
    free(bytes);
    *ret_template = (struct template){0};
    return error_set(error, result, "%s: %s", path, cause.text);
}

void template_done(struct template *template)
{
    free(template->bytes);
    *template = (struct template){0};
}

void template_render(const char *text, const template_values values, struct buf *out)
{
    struct piece piece;
    while (*text && next_piece(&text, &piece, NULL) == RESULT_OK) {
        if (piece.field >= 0)
            buf_append_text(out, values[piece.field]);
        else
            buf_append(out, piece.text, piece.size);
    }
}
