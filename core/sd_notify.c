#include "core/sd_notify.h"

#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

/* The answer is left alone: a manager that doesn't listen is no reason not to sell. */
static void sd_notify_tell(const char *words)
{
    (void)sd_notify(0, words);
}

void sd_notify_ready(void)
{
    sd_notify_tell("READY=1");
}

void sd_notify_stopping(void)
{
    sd_notify_tell("STOPPING=1");
}

void sd_notify_status(const char *format, ...)
{
    char status[NOTIFY_STATUS_MAX], words[NOTIFY_STATUS_MAX + sizeof "STATUS="];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(status, sizeof status, format, arguments);
    va_end(arguments);
    for (char *at = status; *at; at++)
        if ((unsigned char)*at < 0x20)
            *at = ' '; /* a line end would begin another word */
    snprintf(words, sizeof words, "STATUS=%s", status);
    sd_notify_tell(words);
}

int64_t sd_notify_watchdog_ms(void)
{
    uint64_t period_us = 0;
    return sd_watchdog_enabled(0, &period_us) > 0 ? (int64_t)(period_us / 1000) : 0;
}

void sd_notify_alive(void)
{
    sd_notify_tell("WATCHDOG=1");
}
