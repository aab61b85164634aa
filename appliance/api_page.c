/* GET /, and what the till page asks for besides orders and products: /settings, /parked, /history.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/api.h"
#include "appliance/till_page.h"
#include "core/log.h"

void api_get_page(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)service;
    (void)id;
    const struct till_page_file *file = till_page_find(http_exchange_path(exchange));
    if (file)
        till_page_answer(file, exchange);
    else
        reply_problem(http_exchange_reply(exchange), PROBLEM_NOT_FOUND, "there is no such file");
}

/* The bridge's program stands beside ours, named after it: build/bridge, /usr/bin/tillbox-bridge.
 */
static void name_bridge(const char *program, char ret_bridge[static PATH_MAX])
{
    static const char OURS[] = "appliance";
    const char *slash = strrchr(program, '/');
    const char *word = strstr(slash ? slash : program, OURS);
    if (word)
        snprintf(ret_bridge, PATH_MAX, "%.*sbridge%s", (int)(word - program), program,
                 word + strlen(OURS));
    else
        snprintf(ret_bridge, PATH_MAX, "tillbox-bridge");
}

/* So that the page can show commands as they are to be typed. */
static void put_commands(struct json_writer *writer, const char *data_dir)
{
    char program[PATH_MAX] = "tillbox-appliance", bridge[PATH_MAX], folder[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0)
        program[length] = '\0';
    name_bridge(program, bridge);
    json_begin_object(writer, "commands");
    json_put_text(writer, "appliance", program);
    json_put_text(writer, "bridge", bridge);
    json_put_text(writer, "data_dir", realpath(data_dir, folder) ? folder : data_dir);
    json_end_object(writer);
}

void api_get_settings(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)id;
    const struct api *api = service->api;
    const struct settings *settings = api->settings;
    struct json_writer writer;
    json_writer_init(&writer, &http_exchange_reply(exchange)->body);
    json_begin_object(&writer, NULL);
    json_put_text(&writer, "shop_name",
                  settings->shop_name ? settings->shop_name
                                      : journal_identity(api->journal)->location);
    json_put_text(&writer, "currency", settings->currency);
    if (settings->locale)
        json_put_text(&writer, "locale", settings->locale);
    else
        json_put_null(&writer, "locale");
    json_put_int(&writer, "low_stock", settings->low_stock);
    json_put_int(&writer, "idempotency_hours", settings->idempotency_hours);
    json_put_text(&writer, "page_build", TILL_PAGE_BUILD);
    put_commands(&writer, settings->data_dir);
    json_end_object(&writer);
}

void api_get_parked(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)id;
    struct http_reply *reply = http_exchange_reply(exchange);
    struct parked_list list;
    struct error error = {0};
    struct json_writer writer;
    if (accounts_get_parked(service->api->accounts, &list, &error) != RESULT_OK) {
        reply_problem(reply, PROBLEM_INTERNAL, "the bridge's accounts can't be read: %s",
                      error.text);
        return;
    }
    json_writer_init(&writer, &reply->body);
    json_begin_object(&writer, NULL);
    parked_list_write(&list, &writer);
    json_end_object(&writer);
}

void api_get_history(struct service *service, struct http_exchange *exchange, int64_t id)
{
    (void)id;
    const struct api *api = service->api;
    struct json_writer writer;
    json_writer_init(&writer, &http_exchange_reply(exchange)->body);
    json_begin_object(&writer, NULL);
    history_write(api->history, clock_wall_ms(api->clock), &writer);
    json_end_object(&writer);
}
