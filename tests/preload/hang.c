/* Preloaded into a program: the library call that TILLBOX_HANG_CALL names doesn't return while the
 * file TILLBOX_HANG_FILE is there. So a thread can be made to hang where a stuck disk or kernel
 * would hang it. */
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void hang(const char *call)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    const char *wanted = getenv("TILLBOX_HANG_CALL");
    const char *file = getenv("TILLBOX_HANG_FILE");
    while (wanted && file && strcmp(wanted, call) == 0 && access(file, F_OK) == 0)
        nanosleep(&pause, NULL);
}

static void *real(const char *call)
{
    return dlsym(RTLD_NEXT, call);
}

int fdatasync(int descriptor)
{
    int (*call)(int);
    *(void **)&call = real("fdatasync");
    hang("fdatasync");
    return call(descriptor);
}

int accept4(int listener, struct sockaddr *restrict address, socklen_t *restrict size, int flags)
{
    int (*call)(int, struct sockaddr *, socklen_t *, int);
    *(void **)&call = real("accept4");
    hang("accept4");
    return call(listener, address, size, flags);
}

int sigtimedwait(const sigset_t *restrict set, siginfo_t *restrict info,
                 const struct timespec *restrict timeout)
{
    int (*call)(const sigset_t *, siginfo_t *, const struct timespec *);
    *(void **)&call = real("sigtimedwait");
    hang("sigtimedwait");
    return call(set, info, timeout);
}

/* Only the main thread's: the HTTP server's polls too. */
int poll(struct pollfd *descriptors, nfds_t count, int timeout_ms)
{
    int (*call)(struct pollfd *, nfds_t, int);
    *(void **)&call = real("poll");
    if (gettid() == getpid())
        hang("poll");
    return call(descriptors, count, timeout_ms);
}
