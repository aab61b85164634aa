#include "core/stop_signals.h"

#include <pthread.h>
#include <sys/signalfd.h>

sigset_t stop_signals_block(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signals;
}

int stop_signals_open(void)
{
    sigset_t signals = stop_signals_block();
    return signalfd(-1, &signals, SFD_CLOEXEC);
}
