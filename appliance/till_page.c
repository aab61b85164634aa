#include "appliance/till_page.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Nothing but the page's own files and calls: text that slipped in as markup could load nothing,
 * run nothing and send nothing away (W3C, Content Security Policy Level 3). */
static const struct http_header HEADERS[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
     " frame-ancestors 'none'; base-uri 'none'; form-action 'none';"
     " require-trusted-types-for 'script'; trusted-types 'none'"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Vary", "Accept-Encoding"},
    {NULL, NULL},
};

const struct till_page_file *till_page_find(const char *path)
{
    for (size_t i = 0; i < TILL_PAGE_FILES_COUNT; i++)
        if (strcmp(TILL_PAGE_FILES[i].path, path) == 0)
            return &TILL_PAGE_FILES[i];
    return NULL;
}

/* Does the list name gzip, and not with the weight 0 (RFC 9110, section 12.5.3)? */
static bool takes_gzip(const char *accept_encoding)
{
    static const char GZIP[] = "gzip";
    const char *found = accept_encoding ? strcasestr(accept_encoding, GZIP) : NULL;
    if (!found)
        return false;
    const char *parameter = found + strlen(GZIP);
    parameter += strspn(parameter, " \t;");
    return strncasecmp(parameter, "q=", 2) != 0 || strtod(parameter + 2, NULL) > 0;
}

void till_page_answer(const struct till_page_file *file, struct http_exchange *exchange)
{
    struct http_reply *reply = http_exchange_reply(exchange);
    const char *known = http_exchange_header(exchange, "If-None-Match");
    bool changes = strcmp(file->path, "/") == 0;
    reply->cache_control = changes ? "no-cache" : "public, max-age=31536000, immutable";
    reply->etag = TILL_PAGE_ETAG;
    reply->more_headers = HEADERS;
    if (known && strstr(known, TILL_PAGE_ETAG)) {
        reply->status = 304;
        reply->content_type = NULL;
        return;
    }
    reply->content_type = file->content_type;
    if (takes_gzip(http_exchange_header(exchange, "Accept-Encoding"))) {
        reply->content_encoding = "gzip";
        buf_append(&reply->body, file->gzip, file->gzip_size);
    } else {
        buf_append(&reply->body, file->bytes, file->size);
    }
}
