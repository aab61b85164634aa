#include "core/config/secret.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/folder.h"
#include "tests/support/unit.h"

struct settings {
    char *url;
    char *password_file;
};

static const struct option OPTIONS[] = {
    {"url", OPTION_TEXT, OPTION_EVERYWHERE, offsetof(struct settings, url), NULL, 0, 0, "URL", ""},
    {"password_file", OPTION_TEXT, OPTION_EVERYWHERE, offsetof(struct settings, password_file),
     NULL, 0, 0, "FILE", ""},
};
static const struct option_set SET = {"secrets", OPTIONS, ARRAY_LENGTH(OPTIONS)};

static struct folder folder;
static struct settings settings;
static struct config_sources sources;
static struct buf problems;
static char *secret;

static void load(const char *flag, const char *variable)
{
    char *arguments[] = {(char *)(uintptr_t) "secrets", (char *)(uintptr_t)flag};
    char *environment[] = {(char *)(uintptr_t)variable, NULL};
    assert_ok(
        config_load(&SET, flag ? 2 : 1, arguments, environment, &settings, &sources, &problems));
}

static int set_up(UNUSED void **state)
{
    folder_make(&folder);
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    load(NULL, NULL);
    setenv("CREDENTIALS_DIRECTORY", folder.path, 1);
    secret = NULL;
    return 0;
}

static int tear_down(UNUSED void **state)
{
    secret_forget(&secret);
    config_free_settings(&SET, &settings);
    buf_done(&problems);
    unsetenv("CREDENTIALS_DIRECTORY");
    folder_remove(&folder);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return 0;
}

static void write_file(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder.path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void free_text(char **text)
{
    free(*text);
}

static const char *load_secret(const char *path)
{
    const struct secret_source source = {"password_file", path, "password", 0};
    secret_load(&source, &sources, &problems, &secret);
    return secret ? secret : "none";
}

static void without_file_or_credential_there_is_none(UNUSED void **state)
{
    assert_string_equal(load_secret(NULL), "none");
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_string_equal(load_secret(NULL), "none");
    assert_int_equal(problems.size, 0);
    assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
}

static void a_credential_is_found_by_its_name(UNUSED void **state)
{
    write_file("tillbox_password", "sesame\n");
    write_file("password", "another\n");
    assert_string_equal(load_secret(NULL), "sesame");
}

static void the_file_that_a_setting_names_comes_first(UNUSED void **state)
{
    char path[512];
    write_file("tillbox_password", "credential");
    write_file("mine", "setting");
    snprintf(path, sizeof path, "%s/mine", folder.path);
    assert_string_equal(load_secret(path), "setting");
}

static void an_empty_or_missing_file_is_a_problem_of_its_setting(UNUSED void **state)
{
    write_file("tillbox_password", "\n");
    assert_string_equal(load_secret(NULL), "none");
    assert_contains(buf_text(&problems), "password_file: ");
    buf_clear(&problems);
    assert_string_equal(load_secret("/nowhere/password"), "none");
    assert_contains(buf_text(&problems), "/nowhere/password");
}

static void a_secret_that_is_found_is_read_as_it_is_now(UNUSED void **state)
{
    const struct secret_source source = {"password_file", NULL, "password", 6};
    struct error error = {0};
    CLEANUP(free_text) char *path = NULL;
    write_file("tillbox_password", "sesame\n");
    secret_find(&source, &sources, &problems, &path);
    assert_non_null(path);
    assert_int_equal(problems.size, 0);
    write_file("tillbox_password", "mustard\n");
    assert_ok(secret_read(path, &error, &secret));
    assert_string_equal(secret, "mustard");
    secret_forget(&secret);
    write_file("tillbox_password", "");
    assert_int_equal(secret_read(path, &error, &secret), RESULT_INVALID);
    assert_null(secret);
}

static void a_secret_that_is_too_short_is_a_problem(UNUSED void **state)
{
    const struct secret_source source = {"password_file", NULL, "password", 7};
    CLEANUP(free_text) char *path = NULL;
    write_file("tillbox_password", "sesame\n");
    secret_find(&source, &sources, &problems, &path);
    assert_contains(buf_text(&problems), "fewer than 7 characters");
}

static void with_a_secret_the_memory_is_not_dumped(UNUSED void **state)
{
    char filter[16] = "";
    write_file("tillbox_password", "sesame");
    load_secret(NULL);
    assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* what comes next is about root's tools */
    int file = open("/proc/self/coredump_filter", O_RDONLY | O_CLOEXEC);
    assert_true(read(file, filter, sizeof filter - 1) > 0);
    close(file);
    assert_int_equal(strtol(filter, NULL, 16), 0x10);
}

/* As the units run: not as root. What root's tools would dump is read here, by root. */
static void so_it_is_for_a_user_without_rights(UNUSED void **state)
{
    char path[FOLDER_PATH_SIZE], filter[16] = "", name[64];
    int ready[2], leave[2];
    char byte = 0;
    if (geteuid() != 0)
        return; /* the test above has shown it for this user */
    write_file("tillbox_password", "sesame");
    folder_file(&folder, "tillbox_password", path);
    assert_int_equal(chmod(folder.path, 0755), 0);
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_int_equal(pipe(ready) + pipe(leave), 0);
    pid_t child = fork();
    if (child == 0) {
        char *read_secret = NULL;
        close(leave[1]); /* else it would wait for itself */
        int own = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
        bool is_well = write(own, "0x33", 4) == 4 && setgid(65534) == 0 && setuid(65534) == 0 &&
                       prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0 &&
                       secret_read(path, NULL, &read_secret) == RESULT_OK;
        (void)!write(ready[1], &byte, is_well ? 1 : 0);
        close(ready[1]);
        (void)!read(leave[0], &byte, 1);
        _exit(0);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    snprintf(name, sizeof name, "/proc/%d/coredump_filter", (int)child);
    int file = open(name, O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0 && read(file, filter, sizeof filter - 1) > 0);
    close(file);
    close(ready[0]);
    close(leave[0]);
    close(leave[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(strtol(filter, NULL, 16), 0x10);
}

static void a_password_in_a_url_is_found(UNUSED void **state)
{
    static const char *const WITH[] = {
        "amqp://u:p@host/",  "postgresql://u:p@h:1/db?sslmode=require",
        "postgresql://:p@h", "postgresql://u@h/db?password=p",
        "host=h password=p", "amqp://u:pa/ss@host/"};
    static const char *const WITHOUT[] = {"amqp://u@host:5672/", "amqp://host:5672/v@host",
                                          "postgresql://u:@h/db",
                                          "postgresql://[::1]:5432/db?user=a@b", "host=h user=u"};
    for (size_t i = 0; i < ARRAY_LENGTH(WITH); i++)
        assert_true(secret_is_in_url(WITH[i]));
    for (size_t i = 0; i < ARRAY_LENGTH(WITHOUT); i++)
        assert_false(secret_is_in_url(WITHOUT[i]));
}

static void check_url(void)
{
    secret_check_url("url", settings.url, "password_file", &sources, &problems);
}

static void a_password_on_the_command_line_is_refused_and_not_told(UNUSED void **state)
{
    load("--url=amqp://u:sesame@host/", NULL);
    check_url();
    assert_contains(buf_text(&problems), "--url: ");
    assert_contains(buf_text(&problems), "use password_file");
    assert_null(strstr(buf_text(&problems), "sesame"));
}

static void a_password_in_a_variable_works(UNUSED void **state)
{
    load(NULL, "TILLBOX_URL=amqp://u:sesame@host/");
    check_url();
    assert_int_equal(problems.size, 0);
    load("--url=amqp://u@host/", NULL);
    check_url();
    assert_int_equal(problems.size, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(without_file_or_credential_there_is_none),
        TEST(a_credential_is_found_by_its_name),
        TEST(the_file_that_a_setting_names_comes_first),
        TEST(an_empty_or_missing_file_is_a_problem_of_its_setting),
        TEST(a_secret_that_is_found_is_read_as_it_is_now),
        TEST(a_secret_that_is_too_short_is_a_problem),
        TEST(with_a_secret_the_memory_is_not_dumped),
        TEST(so_it_is_for_a_user_without_rights),
        TEST(a_password_in_a_url_is_found),
        TEST(a_password_on_the_command_line_is_refused_and_not_told),
        TEST(a_password_in_a_variable_works),
    };
    return RUN_TESTS(argc, argv, tests);
}
