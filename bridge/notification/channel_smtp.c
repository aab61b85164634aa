/* A mail to the user's address, or to the default one. */
#include <stdlib.h>
#include <string.h>

#include "bridge/notification/channel.h"
#include "core/http/mime.h"
#include "core/http/smtp_client.h"

enum { MESSAGE_MAX = 4 << 20 };

struct mail {
    const struct channel_options *options;
    const struct clock *clock;
    struct smtp_client *client;
    struct buf message;
};

/* The Message-ID stays the same however often the mail is sent. */
static void write_message(struct mail *mail, const struct channel_message *message, const char *to)
{
    struct buf *out = &mail->message;
    const char *from = mail->options->mail_from;
    buf_clear(out);
    buf_append_text(out, "Date: ");
    mime_append_date(out, clock_wall_ms(mail->clock));
    buf_append_format(out, "\r\nMessage-ID: <%s.%s%s>\r\n", message->notification->event_id,
                      channel_name(CHANNEL_SMTP), strchr(from, '@'));
    mime_append_header(out, "From", from);
    mime_append_header(out, "To", to);
    mime_append_header(out, "Subject", message->subject);
    buf_append_text(out, "Auto-Submitted: auto-generated\r\n"
                         "MIME-Version: 1.0\r\n"
                         "Content-Type: text/plain; charset=utf-8\r\n"
                         "Content-Transfer-Encoding: base64\r\n\r\n");
    mime_append_base64(out, message->text, strlen(message->text));
}

static enum result send_mail(void *self, const struct channel_message *message, struct error *error)
{
    struct mail *mail = self;
    const struct channel_options *options = mail->options;
    const char *contact = message->notification->email;
    const char *to = contact[0] ? contact : options->mail_default_to;
    if (!to)
        return error_set(error, RESULT_REFUSED, "no contact, and no mail_default_to");
    if (!mime_is_address(to))
        return error_set(error, RESULT_REFUSED, "the contact's address can't be used");
    write_message(mail, message, to);
    enum result result = buf_result(&mail->message);
    if (result != RESULT_OK)
        return error_set(error, result, "the mail can't be built");
    return smtp_client_send(mail->client, options->mail_from, to, mail->message.bytes,
                            mail->message.size, error);
}

static void free_mail(void *self)
{
    struct mail *mail = self;
    smtp_client_free(mail->client);
    buf_done(&mail->message);
    free(mail);
}

enum result channel_smtp_new(const struct channel_options *options, const struct clock *clock,
                             struct channel *ret_channel)
{
    static const struct channel_ops OPS = {.send = send_mail, .free = free_mail};
    const struct smtp_options smtp = {.url = options->smtp_url,
                                      .allow_plain = options->smtp_allow_plain,
                                      .user = options->smtp_user,
                                      .password_file = options->smtp_password_file,
                                      .ca_file = options->smtp_ca_file,
                                      .timeout_ms = options->timeout_ms};
    struct mail *mail = calloc(1, sizeof *mail);
    if (!mail)
        return RESULT_NO_MEMORY;
    mail->options = options;
    mail->clock = clock;
    buf_init(&mail->message, MESSAGE_MAX);
    enum result result = smtp_client_new(&smtp, &mail->client);
    if (result == RESULT_OK)
        *ret_channel = (struct channel){.ops = &OPS, .self = mail};
    else
        free_mail(mail);
    return result;
}
