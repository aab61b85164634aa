#include "bridge/commands/notification_settings.h"

#include <string.h>
#include <unistd.h>

#include "core/config/secret.h"
#include "core/http/http_client.h"
#include "core/http/mime.h"
#include "core/http/smtp_client.h"

enum { SECRET_MIN = 16 };

static void find_secret(const struct config_sources *sources, const struct secret_source *source,
                        struct buf *problems, char **ret_path)
{
    secret_find(source, sources, problems, ret_path);
    secret_warn_file(source->path);
}

static void notification_settings_check_file(const struct config_sources *sources,
                                             const char *option, const char *file,
                                             struct buf *problems)
{
    if (file && access(file, R_OK) != 0)
        config_add_problem(sources, option, problems, "can't be read");
}

static void check_webhook(struct settings *settings, const struct config_sources *sources,
                          struct buf *problems)
{
    const struct secret_source source = {"webhook_secret_file", settings->webhook_secret_file,
                                         "webhook-secret", SECRET_MIN};
    struct error error = {0};
    find_secret(sources, &source, problems, &settings->webhook_secret_path);
    if (!settings->webhook_url)
        config_add_problem(sources, "webhook_url", problems, "isn't set");
    else if (http_client_check_url(settings->webhook_url, true, &error) != RESULT_OK)
        config_add_problem(sources, "webhook_url", problems, "%s", error.text);
    if (!settings->webhook_secret_path)
        config_add_problem(sources, "webhook_secret_file", problems, "isn't set");
    notification_settings_check_file(sources, "webhook_ca_file", settings->webhook_ca_file,
                                     problems);
}

static void check_address(const struct config_sources *sources, const char *option,
                          const char *address, struct buf *problems)
{
    if (address && !mime_is_address(address))
        config_add_problem(sources, option, problems, "isn't one address, as till@example.org");
}

static void check_smtp(struct settings *settings, const struct config_sources *sources,
                       struct buf *problems)
{
    const struct secret_source source = {"smtp_password_file", settings->smtp_password_file,
                                         "smtp-password", 0};
    struct error error = {0};
    find_secret(sources, &source, problems, &settings->smtp_password_path);
    if (!settings->smtp_url)
        config_add_problem(sources, "smtp_url", problems, "isn't set");
    else if (smtp_client_check_url(settings->smtp_url, &error) != RESULT_OK)
        config_add_problem(sources, "smtp_url", problems, "%s", error.text);
    if (!settings->mail_from)
        config_add_problem(sources, "mail_from", problems, "isn't set");
    check_address(sources, "mail_from", settings->mail_from, problems);
    check_address(sources, "mail_default_to", settings->mail_default_to, problems);
    notification_settings_check_file(sources, "smtp_ca_file", settings->smtp_ca_file, problems);
}

void notification_settings_check(struct settings *settings, const struct config_sources *sources,
                                 struct buf *problems, bool ret_channels[static CHANNEL_COUNT])
{
    const struct string_list *names = &settings->notification_channels;
    for (size_t i = 0; i < names->count; i++) {
        enum channel_kind channel = CHANNEL_LOG;
        if (channel_find(names->items[i], &channel))
            ret_channels[channel] = true;
        else
            config_add_problem(sources, "notification_channels", problems,
                               "\"%s\" is none of log, webhook, smtp", names->items[i]);
    }
    if (ret_channels[CHANNEL_WEBHOOK])
        check_webhook(settings, sources, problems);
    if (ret_channels[CHANNEL_SMTP])
        check_smtp(settings, sources, problems);
}

struct channel_options notification_settings_channel(const struct settings *settings)
{
    return (struct channel_options){.webhook_url = settings->webhook_url,
                                    .webhook_secret_file = settings->webhook_secret_path,
                                    .webhook_ca_file = settings->webhook_ca_file,
                                    .smtp_url = settings->smtp_url,
                                    .smtp_allow_plain = settings->smtp_allow_plain,
                                    .smtp_user = settings->smtp_user,
                                    .smtp_password_file = settings->smtp_password_path,
                                    .smtp_ca_file = settings->smtp_ca_file,
                                    .mail_from = settings->mail_from,
                                    .mail_default_to = settings->mail_default_to,
                                    .timeout_ms = settings->notification_timeout_ms};
}

void notification_settings_load_texts(const struct settings *settings,
                                      const struct config_sources *sources, struct buf *problems,
                                      struct notification_texts *ret_texts)
{
    struct error error = {0};
    *ret_texts = (struct notification_texts){
        .currency = {.code = settings->currency, .digits = (int)settings->currency_digits}};
    if (notification_texts_load(ret_texts, settings->templates_dir, &error) != RESULT_OK)
        config_add_problem(sources, "templates_dir", problems, "%s", error.text);
}
