#include "tests/support/unit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* So that a test can ask for more memory than there is, whatever the program is built with. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

void assert_contains_at(const char *text, const char *part, const char *file, int line)
{
    if (strstr(text, part))
        return;
    print_error("\"%s\" is not in \"%s\"\n", part, text);
    _fail(file, line);
}

int unit_fork(void)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0 && !freopen("/dev/null", "w", stderr))
        _exit(1);
    if (child == 0)
        signal(SIGABRT, SIG_DFL);
    assert_true(child >= 0);
    return child;
}

void unit_leave(void)
{
    _exit(0);
}

void unit_assert_aborted(int child, const char *call)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        fail_msg("%s goes on", call);
}
