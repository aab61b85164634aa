/* Words to the service manager (sd_notify(3)). Where nobody started the program as a service that
 * wants them they go nowhere, and nothing here ever fails or waits. */
#ifndef TILLBOX_CORE_SD_NOTIFY_H
#define TILLBOX_CORE_SD_NOTIFY_H

#include <stdint.h>

#include "core/attributes.h"

enum { NOTIFY_STATUS_MAX = 256 };

/* The service serves from now on. */
void sd_notify_ready(void);

/* It has begun to stop. */
void sd_notify_stopping(void);

/* One line on how it is, for `systemctl status`; control characters become spaces. */
void sd_notify_status(const char *format, ...) PRINTF_LIKE(1, 2);

/* How often sd_notify_alive() has to be said at least, in ms; 0 if nobody listens for it. */
int64_t sd_notify_watchdog_ms(void);
void sd_notify_alive(void);

#endif
