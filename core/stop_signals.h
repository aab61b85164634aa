/* SIGTERM and SIGINT, which ask a program to stop. */
#ifndef TILLBOX_CORE_STOP_SIGNALS_H
#define TILLBOX_CORE_STOP_SIGNALS_H

#include <signal.h>

/* Blocks them in this thread and in all that it starts, for one to wait for; a broken pipe is an
 * error of its write from here on, no signal. Call it before the first thread starts. */
sigset_t stop_signals_block(void);

/* The same; gives a descriptor (signalfd(2)) that can be read when one has come. The caller closes
 * it. */
int stop_signals_open(void);

#endif
