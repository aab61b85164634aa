#include "core/http/http_reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/json.h"
#include "core/utf8.h"

enum { DETAIL_MAX = 512 };

struct problem_entry {
    int status;
    const char *type;
    const char *title;
};

static const struct problem_entry PROBLEMS[] = {
#define X(word, status, type, title) [word] = {status, "urn:tillbox:problem:" type, title},
    PROBLEM_TABLE(X) PROBLEM_OFFICE_TABLE(X)
#undef X
};

void http_reply_init(struct http_reply *reply)
{
    *reply = (struct http_reply){
        .status = 200, .content_type = "application/json", .cache_control = "no-store"};
    buf_init(&reply->body, HTTP_REPLY_MAX);
}

void http_reply_done(struct http_reply *reply)
{
    buf_done(&reply->body);
}

static void write_detail(char detail[static DETAIL_MAX], const char *format, va_list arguments)
    PRINTF_LIKE(2, 0);

static void write_detail(char detail[static DETAIL_MAX], const char *format, va_list arguments)
{
    vsnprintf(detail, DETAIL_MAX, format, arguments);
    utf8_trim_cut(detail);
}

void field_errors_init(struct field_errors *errors)
{
    *errors = (struct field_errors){0};
    buf_init(&errors->json, FIELD_ERRORS_SIZE_MAX);
}

void field_errors_done(struct field_errors *errors)
{
    buf_done(&errors->json);
}

void field_errors_add(struct field_errors *errors, const char *field, const char *format, ...)
{
    char detail[DETAIL_MAX];
    struct json_writer writer;
    va_list arguments;
    if (++errors->count > FIELD_ERRORS_MAX)
        return;
    va_start(arguments, format);
    write_detail(detail, format, arguments);
    va_end(arguments);
    size_t before = errors->json.size;
    json_writer_init(&writer, &errors->json);
    writer.needs_comma = before > 0;
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "field", field);
    json_put_text(&writer, "detail", detail);
    json_end_object(&writer);
    if (buf_result(&errors->json) != RESULT_OK)
        buf_truncate(&errors->json, before);
}

/* Leaves the object open for further members. */
static void begin_problem(struct http_reply *reply, enum problem problem, const char *detail,
                          struct json_writer *writer)
{
    const struct problem_entry *entry = &PROBLEMS[problem];
    reply->status = entry->status;
    reply->content_type = "application/problem+json";
    reply->cache_control = "no-store";
    buf_clear(&reply->body);
    json_writer_init(writer, &reply->body);
    json_begin_object(writer, NULL);
    json_put_text(writer, "type", entry->type);
    json_put_text(writer, "title", entry->title);
    json_put_int(writer, "status", entry->status);
    json_put_text(writer, "detail", detail);
}

void reply_problem(struct http_reply *reply, enum problem problem, const char *format, ...)
{
    char detail[DETAIL_MAX];
    struct json_writer writer;
    va_list arguments;
    va_start(arguments, format);
    write_detail(detail, format, arguments);
    va_end(arguments);
    begin_problem(reply, problem, detail, &writer);
    json_end_object(&writer);
}

void reply_method_refused(struct http_reply *reply, const char *allow)
{
    reply_problem(reply, PROBLEM_METHOD, "allowed here: %s", allow);
    reply->allow = allow;
}

void reply_invalid(struct http_reply *reply, const struct field_errors *errors)
{
    struct json_writer writer;
    char detail[DETAIL_MAX];
    snprintf(detail, sizeof detail,
             errors->count == 1 ? "%d field is wrong" : "%d fields are wrong", errors->count);
    begin_problem(reply, PROBLEM_INVALID, detail, &writer);
    json_begin_array(&writer, "errors");
    json_put_raw(&writer, NULL, buf_text(&errors->json));
    json_end_array(&writer);
    json_end_object(&writer);
}

void reply_insufficient_stock(struct http_reply *reply, int64_t product_id, int64_t requested,
                              int64_t available)
{
    struct json_writer writer;
    char detail[DETAIL_MAX];
    snprintf(detail, sizeof detail, "product %lld: %lld requested, %lld available",
             (long long)product_id, (long long)requested, (long long)available);
    begin_problem(reply, PROBLEM_STOCK, detail, &writer);
    json_put_int(&writer, "product_id", product_id);
    json_put_int(&writer, "requested", requested);
    json_put_int(&writer, "available", available);
    json_end_object(&writer);
}
