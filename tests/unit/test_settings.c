#include "tests/support/unit.h"

#include "appliance/settings.h"
#include "core/config/secret.h"

#include <string.h>
#include <sys/stat.h>

#include "tests/support/folder.h"

static struct folder folder;
static struct settings settings;
static struct config_sources sources;
static struct buf problems;

static int set_up(UNUSED void **state)
{
    log_start("test", LOG_ERROR + 1);
    folder_make(&folder);
    memset(&settings, 0, sizeof settings);
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    settings_free(&settings);
    buf_done(&problems);
    folder_remove(&folder);
    return 0;
}

enum { ARGUMENTS_MAX = 8 };

/* Loads afresh, with these arguments and an empty file: what this machine has in /etc is not to
 * matter. */
static enum result load(const char *const *arguments, size_t count)
{
    static char program[] = "appliance", flag[] = "--config", path[FOLDER_PATH_SIZE];
    char *argv[ARGUMENTS_MAX + 3] = {program, flag, path};
    char *environment[] = {NULL};
    folder_file(&folder, "settings", path);
    file_write(path, "", 0);
    assert_in_range(count, 0, ARGUMENTS_MAX);
    for (size_t i = 0; i < count; i++)
        argv[i + 3] = (char *)(uintptr_t)arguments[i];
    settings_free(&settings);
    buf_clear(&problems);
    return settings_load((int)count + 3, argv, environment, &settings, &sources, &problems);
}

#define LOAD(...) \
    load((const char *const[]){__VA_ARGS__}, ARRAY_LENGTH(((const char *const[]){__VA_ARGS__})))

static void assert_serves(void)
{
    enum result result = settings_check_serving(&settings, &sources, &problems);
    assert_string_equal(buf_text(&problems), "");
    assert_ok(result);
}

static void assert_does_not_serve(const char *problem)
{
    assert_int_equal(settings_check_serving(&settings, &sources, &problems), RESULT_INVALID);
    assert_contains(buf_text(&problems), problem);
}

/* The path of a new token file. */
static const char *token_file(const char *token)
{
    static char path[FOLDER_PATH_SIZE];
    folder_file(&folder, "token", path);
    file_write(path, token, strlen(token));
    assert_int_equal(chmod(path, 0600), 0);
    return path;
}

static void every_setting_has_its_documented_default(UNUSED void **state)
{
    assert_ok(load(NULL, 0));
    assert_string_equal(settings.data_dir, "/var/lib/tillbox");
    assert_null(settings.device_id);
    assert_null(settings.location);
    assert_string_equal(settings.orders_listen.host, "127.0.0.1");
    assert_int_equal(settings.orders_listen.port, 8081);
    assert_string_equal(settings.inventory_listen.host, "127.0.0.1");
    assert_int_equal(settings.inventory_listen.port, 8082);
    assert_null(settings.api_token_file);
    assert_null(settings.api_token);
    assert_false(settings.allow_anonymous);
    assert_int_equal(settings.allowed_hosts.count, 0);
    assert_int_equal(settings.idempotency_hours, 72);
    assert_int_equal(settings.disk_reserve_mb, 64);
    assert_null(settings.shop_name);
    assert_string_equal(settings.currency, "EUR");
    assert_null(settings.locale);
    assert_int_equal(settings.low_stock, 5);
    assert_int_equal(settings.level, LOG_INFO);
    assert_false(settings.json || settings.help || settings.version);
}

static void the_defaults_can_be_served(UNUSED void **state)
{
    assert_ok(load(NULL, 0));
    assert_serves();
}

static void the_log_level_is_one_of_four_words(UNUSED void **state)
{
    static const char *const WORDS[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < ARRAY_LENGTH(WORDS); i++) {
        assert_ok(LOAD("--log-level", WORDS[i]));
        assert_int_equal(settings.level, i);
    }
    assert_int_equal(LOAD("--log-level", "loud"), RESULT_INVALID);
    assert_contains(buf_text(&problems), "--log-level: \"loud\" is none of");
    assert_int_equal(settings.level, LOG_INFO);
}

static void a_currency_is_three_capital_letters(UNUSED void **state)
{
    static const char *const BAD[] = {"eur", "EU1", "E R"};
    assert_ok(LOAD("--currency", "CHF"));
    assert_string_equal(settings.currency, "CHF");
    for (size_t i = 0; i < ARRAY_LENGTH(BAD); i++) {
        assert_int_equal(LOAD("--currency", BAD[i]), RESULT_INVALID);
        assert_contains(buf_text(&problems), "--currency: ");
    }
    assert_int_equal(LOAD("--currency", "EURO"), RESULT_INVALID);
}

static void a_locale_is_a_language_tag(UNUSED void **state)
{
    static const char *const GOOD[] = {"de", "gsw", "de-AT", "zh-Hans-CN", "en-GB-u-nu-latn"};
    static const char *const BAD[] = {"d",   "d1",          "german-de", "de_AT",
                                      "de-", "-de",         "de--AT",    "de-AT-",
                                      "12",  "de-AT.UTF-8", "d e",       "de-toolong99"};
    for (size_t i = 0; i < ARRAY_LENGTH(GOOD); i++)
        assert_ok(LOAD("--locale", GOOD[i]));
    for (size_t i = 0; i < ARRAY_LENGTH(BAD); i++)
        assert_int_equal(LOAD("--locale", BAD[i]), RESULT_INVALID);
}

static void names_that_travel_are_kept_plain(UNUSED void **state)
{
    static const char *const BAD[] = {"till 7", "till/7", "t\xC3\xBCr", "a,b", "a\"b", "a*", "#"};
    assert_ok(LOAD("--device-id", "Till_7.a-B", "--location", "High-Street.2"));
    assert_string_equal(settings.device_id, "Till_7.a-B");
    assert_string_equal(settings.location, "High-Street.2");
    for (size_t i = 0; i < ARRAY_LENGTH(BAD); i++) {
        assert_int_equal(LOAD("--device-id", BAD[i]), RESULT_INVALID);
        assert_contains(buf_text(&problems), "--device-id: only letters");
        assert_int_equal(LOAD("--location", BAD[i]), RESULT_INVALID);
        assert_contains(buf_text(&problems), "--location: only letters");
    }
}

static void names_that_travel_have_at_most_64_characters(UNUSED void **state)
{
    char name[66];
    memset(name, 'a', sizeof name);
    name[64] = '\0';
    assert_ok(LOAD("--device-id", name, "--location", name));
    name[64] = 'a';
    name[65] = '\0';
    assert_int_equal(LOAD("--device-id", name), RESULT_INVALID);
    assert_int_equal(LOAD("--location", name), RESULT_INVALID);
}

static void all_problems_are_told_at_once(UNUSED void **state)
{
    assert_int_equal(LOAD("--device-id", "a b", "--log-level", "loud", "--idempotency-hours", "0"),
                     RESULT_INVALID);
    assert_contains(buf_text(&problems), "--device-id");
    assert_contains(buf_text(&problems), "--log-level");
    assert_contains(buf_text(&problems), "--idempotency-hours");
}

static void numbers_have_bounds(UNUSED void **state)
{
    assert_ok(LOAD("--idempotency-hours", "1", "--disk-reserve-mb", "0"));
    assert_ok(LOAD("--idempotency-hours", "8760", "--disk-reserve-mb", "65536"));
    assert_int_equal(LOAD("--idempotency-hours", "8761"), RESULT_INVALID);
    assert_int_equal(LOAD("--disk-reserve-mb", "65537"), RESULT_INVALID);
    assert_int_equal(LOAD("--disk-reserve-mb", "-1"), RESULT_INVALID);
}

static void every_loopback_address_can_be_served_without_a_token(UNUSED void **state)
{
    assert_ok(LOAD("--orders-listen", "127.8.9.10:1", "--inventory-listen", "[::1]:2"));
    assert_serves();
    assert_ok(LOAD("--orders-listen", "localhost:1"));
    assert_serves();
}

static void any_other_address_needs_a_token(UNUSED void **state)
{
    assert_ok(LOAD("--orders-listen", "0.0.0.0:8081"));
    assert_does_not_serve("--orders-listen: 0.0.0.0 is not a loopback address");
    assert_ok(LOAD("--inventory-listen", "[::]:8082"));
    assert_does_not_serve("--inventory-listen: :: is not a loopback address");
    assert_ok(LOAD("--orders-listen", "0.0.0.0:8081", "--inventory-listen", "192.0.2.1:8082",
                   "--api-token-file", token_file("0123456789abcdef\n")));
    assert_serves();
    assert_string_equal(settings.api_token, "0123456789abcdef");
}

static void whoever_keeps_strangers_out_may_do_without_a_token(UNUSED void **state)
{
    assert_ok(LOAD("--orders-listen", "0.0.0.0:8081", "--allow-anonymous"));
    assert_serves();
    assert_null(settings.api_token);
}

static void a_token_is_asked_for_on_loopback_too_where_there_is_one(UNUSED void **state)
{
    assert_ok(LOAD("--api-token-file", token_file("0123456789abcdef")));
    assert_null(settings.api_token);
    assert_serves();
    assert_string_equal(settings.api_token, "0123456789abcdef");
}

static void a_token_file_that_is_not_there_is_a_problem(UNUSED void **state)
{
    assert_ok(LOAD("--api-token-file", "/nowhere/token"));
    assert_does_not_serve("--api-token-file: ");
    assert_null(settings.api_token);
}

static void a_token_has_16_to_512_characters_and_is_never_told(UNUSED void **state)
{
    char token[SECRET_MAX + 2];
    memset(token, 'q', sizeof token);
    token[SECRET_MAX] = '\0';
    assert_ok(LOAD("--api-token-file", token_file(token)));
    assert_serves();
    token[SECRET_MAX] = 'q';
    token[SECRET_MAX + 1] = '\0';
    assert_ok(LOAD("--api-token-file", token_file(token)));
    assert_does_not_serve("--api-token-file: ");
    assert_null(strstr(buf_text(&problems), "qqqq"));
    assert_ok(LOAD("--api-token-file", token_file("qqqqqqqqqqqqqqq")));
    assert_does_not_serve("fewer than 16 characters");
    assert_null(strstr(buf_text(&problems), "qqqq"));
}

static void settings_can_be_freed_twice(UNUSED void **state)
{
    assert_ok(LOAD("--api-token-file", token_file("0123456789abcdef")));
    assert_serves();
    settings_free(&settings);
    assert_null(settings.api_token);
    assert_null(settings.data_dir);
    settings_free(&settings);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(every_setting_has_its_documented_default),
        TEST(the_defaults_can_be_served),
        TEST(the_log_level_is_one_of_four_words),
        TEST(a_currency_is_three_capital_letters),
        TEST(a_locale_is_a_language_tag),
        TEST(names_that_travel_are_kept_plain),
        TEST(names_that_travel_have_at_most_64_characters),
        TEST(all_problems_are_told_at_once),
        TEST(numbers_have_bounds),
        TEST(every_loopback_address_can_be_served_without_a_token),
        TEST(any_other_address_needs_a_token),
        TEST(whoever_keeps_strangers_out_may_do_without_a_token),
        TEST(a_token_is_asked_for_on_loopback_too_where_there_is_one),
        TEST(a_token_file_that_is_not_there_is_a_problem),
        TEST(a_token_has_16_to_512_characters_and_is_never_told),
        TEST(settings_can_be_freed_twice),
    };
    return RUN_TESTS(argc, argv, tests);
}
