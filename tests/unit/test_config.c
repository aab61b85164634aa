#include "core/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct settings {
    char *config, *data_dir, *device_id;
    int64_t queue_size;
    bool allow_anonymous, help;
    struct string_list allowed_hosts, peers;
    struct listen_address orders_listen, extra_listen;
};

/* One test's world: a folder for its files, and what config_load() filled. */
static char folder[32], default_file[64], other_file[64];
static struct settings settings;
static struct config_sources sources;
static struct buf problems;

#define OPTION(member, option_kind, option_scope, default_text, low, high, what, text)         \
    {                                                                                          \
        .name = #member, .kind = OPTION_##option_kind, .scope = OPTION_##option_scope,         \
        .offset = offsetof(struct settings, member), .fallback = default_text, .minimum = low, \
        .maximum = high, .placeholder = what, .help = text                                     \
    }

static const char LONG_HELP[] = "the name of this box at head office, where there may be many, so "
                                "that it has to be another one on each of them";
static const char HOME[] = "/var/lib/tillbox", HERE[] = "127.0.0.1:8081";
static const struct option OPTIONS[] = {
    OPTION(config, TEXT, NOT_IN_FILE, default_file, 0, 0, "FILE", "the file with the settings"),
    OPTION(data_dir, TEXT, EVERYWHERE, HOME, 0, 0, "DIR", "where the journal lives"),
    OPTION(device_id, TEXT, EVERYWHERE, NULL, 2, 8, "ID", LONG_HELP),
    OPTION(queue_size, INTEGER, EVERYWHERE, "100", -5, 5000, "N", "most commands that wait"),
    OPTION(allow_anonymous, SWITCH, EVERYWHERE, "false", 0, 0, NULL, "serve without a token"),
    OPTION(allowed_hosts, LIST, EVERYWHERE, "localhost, box", 0, 0, "A-RATHER-LONG-LIST", "names"),
    OPTION(peers, LIST, EVERYWHERE, NULL, 0, 0, "HOSTS", "other boxes"),
    OPTION(orders_listen, LISTEN, EVERYWHERE, HERE, 0, 0, "HOST:PORT", "take orders here"),
    OPTION(extra_listen, LISTEN, EVERYWHERE, NULL, 0, 0, "HOST:PORT", "a second address"),
    OPTION(help, SWITCH, FLAG_ONLY, NULL, 0, 0, NULL, "show this"),
};
static const struct option_set SET = {"appliance", OPTIONS, ARRAY_LENGTH(OPTIONS)};

static int set_up(UNUSED void **state)
{
    strcpy(folder, "/tmp/config.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(default_file, sizeof default_file, "%s/default", folder);
    snprintf(other_file, sizeof other_file, "%s/other", folder);
    memset(&settings, 0, sizeof settings);
    buf_init(&problems, CONFIG_PROBLEMS_MAX);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    config_free_settings(&SET, &settings);
    config_free_settings(&SET, &settings); /* may be called again */
    buf_done(&problems);
    unlink(default_file);
    unlink(other_file);
    return rmdir(folder);
}

static void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *stream = fopen(path, "w");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

static void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

#define ARGUMENTS(...) ((char *[]){"appliance", __VA_ARGS__, NULL})
#define VARIABLES(...) ((char *[]){__VA_ARGS__, NULL})

static char *no_arguments[] = {"appliance", NULL}, *no_variables[] = {NULL};

/* Loads afresh; the former settings are released. */
static enum result load(char **arguments, char **variables)
{
    int count = 0;
    while (arguments[count])
        count++;
    config_free_settings(&SET, &settings);
    buf_clear(&problems);
    return config_load(&SET, count, arguments, variables, &settings, &sources, &problems);
}

static void assert_loads(char **arguments, char **variables)
{
    enum result result = load(arguments, variables);
    assert_string_equal(buf_text(&problems), "");
    assert_int_equal(result, RESULT_OK);
}

static void assert_file_loads(const char *text)
{
    write_text(default_file, text);
    assert_loads(no_arguments, no_variables);
}

/* Each "@" in `expected` stands for "file " and the default file's name. */
static void assert_problem_text(const char *expected)
{
    struct buf text;
    buf_init(&text, 2048);
    for (; *expected; expected++)
        if (*expected == '@')
            buf_append_format(&text, "file %s", default_file);
        else
            buf_append(&text, expected, 1);
    assert_string_equal(buf_text(&problems), buf_text(&text));
    buf_done(&text);
}

static void assert_problems(char **arguments, char **variables, const char *expected)
{
    assert_int_equal(load(arguments, variables), RESULT_INVALID);
    assert_problem_text(expected);
}

static void assert_file_problems(const char *expected)
{
    assert_problems(no_arguments, no_variables, expected);
}

static void assert_listen(const struct listen_address *address, const char *expected)
{
    char text[128];
    snprintf(text, sizeof text, "%s %d", address->host, address->port);
    assert_string_equal(text, expected);
}

static void assert_list(const struct string_list *list, const char *expected)
{
    char text[256] = "";
    for (size_t i = 0; i < list->count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s|", list->items[i]);
    assert_string_equal(text, expected);
}

/* One setting of each kind. */
static void assert_settings(const char *data_dir, int queue_size, bool allow_anonymous,
                            const char *allowed_hosts, const char *orders_listen)
{
    assert_string_equal(settings.data_dir, data_dir);
    assert_int_equal(settings.queue_size, queue_size);
    assert_int_equal(settings.allow_anonymous, allow_anonymous);
    assert_list(&settings.allowed_hosts, allowed_hosts);
    assert_listen(&settings.orders_listen, orders_listen);
}

static void assert_defaults(void)
{
    assert_settings("/var/lib/tillbox", 100, false, "localhost|box|", "127.0.0.1 8081");
    assert_null(settings.device_id);
    assert_list(&settings.peers, "");
    assert_listen(&settings.extra_listen, " 0");
}

static void with_nothing_given_every_setting_has_its_default(UNUSED void **state)
{
    assert_loads(no_arguments, no_variables);
    assert_defaults();
    assert_null(sources.file);
    assert_int_equal(config_origin(&sources, "data_dir"), CONFIG_DEFAULT);
}

static const char EVERY_KEY[] = "data_dir = /file\nqueue_size=1\nallow_anonymous: yes\n"
                                "allowed_hosts = a\norders_listen = [::1]:1\n";
static char *every_variable[] = {"TILLBOX_DATA_DIR=/variable",        "TILLBOX_QUEUE_SIZE=2",
                                 "TILLBOX_ALLOW_ANONYMOUS=off",       "TILLBOX_ALLOWED_HOSTS=b,c",
                                 "TILLBOX_ORDERS_LISTEN=localhost:2", NULL};

static void a_flag_wins_over_a_variable_over_the_file_over_the_default(UNUSED void **state)
{
    assert_file_loads(EVERY_KEY);
    assert_settings("/file", 1, true, "a|", "::1 1");
    assert_int_equal(config_origin(&sources, "data_dir"), CONFIG_FILE);
    assert_string_equal(sources.file, default_file);
    assert_loads(no_arguments, every_variable);
    assert_settings("/variable", 2, false, "b|c|", "localhost 2");
    assert_int_equal(config_origin(&sources, "data_dir"), CONFIG_VARIABLE);
    assert_loads(ARGUMENTS("--data-dir", "/flag", "--queue-size=-3", "--allow-anonymous",
                           "--allowed-hosts", " d ,e ", "--orders-listen=127.0.0.9:0"),
                 every_variable);
    assert_settings("/flag", -3, true, "d|e|", "127.0.0.9 0");
    assert_int_equal(config_origin(&sources, "data_dir"), CONFIG_FLAG);
    assert_loads(ARGUMENTS("--data-dir", "/a", "--data-dir=--last=one"), every_variable);
    assert_string_equal(settings.data_dir, "--last=one");
}

static void a_switch_knows_eight_words_in_any_case(UNUSED void **state)
{
    static const char *const WORDS[] = {"true",  "yes", "on",  "1", "True",
                                        "false", "no",  "off", "0", "OFF"};
    char variable[64];
    for (size_t i = 0; i < ARRAY_LENGTH(WORDS); i++) {
        snprintf(variable, sizeof variable, "TILLBOX_ALLOW_ANONYMOUS=%s", WORDS[i]);
        assert_loads(no_arguments, VARIABLES(variable));
        assert_int_equal(settings.allow_anonymous, i < 5);
    }
    assert_loads(ARGUMENTS("--allow-anonymous", "--allow-anonymous=no"), no_variables);
    assert_false(settings.allow_anonymous);
}

static void operands_keep_their_order_and_two_dashes_end_the_options(UNUSED void **state)
{
    static const char *const EXPECTED[] = {"backup", "-", "false", "--data-dir", "--"};
    assert_loads(ARGUMENTS("backup", "--queue-size", "7", "-", "--allow-anonymous", "false", "--",
                           "--data-dir", "--"),
                 no_variables);
    assert_int_equal(sources.operand_count, ARRAY_LENGTH(EXPECTED));
    for (size_t i = 0; i < ARRAY_LENGTH(EXPECTED); i++)
        assert_string_equal(sources.operands[i], EXPECTED[i]);
    assert_int_equal(settings.queue_size, 7);
    assert_true(settings.allow_anonymous);
}

static void variables_that_are_empty_or_of_no_option_are_ignored(UNUSED void **state)
{
    assert_loads(no_arguments,
                 VARIABLES("TILLBOX_DATA_DIR=", "TILLBOX_QUEUE_SIZE=", "TILLBOX_CONFIG=",
                           "TILLBOX_AMQP_URL=x", "TILLBOX_DATA_DIRECTORY=x", "TILLBOX_HELP=1",
                           "HOME=/", "no equals sign"));
    assert_defaults();
    assert_false(settings.help);
}

static void an_empty_value_means_none_where_there_is_no_default(UNUSED void **state)
{
    assert_file_loads("device_id = till-1\npeers = a,b\nextra_listen = [::]:80\n");
    assert_list(&settings.peers, "a|b|");
    assert_loads(ARGUMENTS("--device-id=", "--peers", "", "--extra-listen="), no_variables);
    assert_defaults();
    assert_int_equal(config_origin(&sources, "peers"), CONFIG_FLAG);
}

static void the_file_is_named_by_a_flag_or_a_variable(UNUSED void **state)
{
    char variable[128];
    write_text(default_file, "data_dir = /default\n");
    write_text(other_file, "data_dir = /other\n");
    snprintf(variable, sizeof variable, "TILLBOX_CONFIG=%s", other_file);
    assert_loads(no_arguments, VARIABLES(variable));
    assert_string_equal(settings.data_dir, "/other");
    assert_loads(ARGUMENTS("--config", other_file), VARIABLES("TILLBOX_CONFIG=/nowhere"));
    assert_string_equal(settings.data_dir, "/other");
    assert_string_equal(sources.file, other_file);
}

static void a_file_that_cannot_be_read_is_refused_unless_absent_by_default(UNUSED void **state)
{
    char expected[128];
    assert_int_equal(mkdir(default_file, 0700), 0);
    snprintf(expected, sizeof expected, "config: can't read \"%s\": Is a directory\n",
             default_file);
    assert_file_problems(expected);
    assert_int_equal(rmdir(default_file), 0);
    assert_problems(ARGUMENTS("--config=/nowhere/x"), no_variables,
                    "--config: can't read \"/nowhere/x\": No such file or directory\n");
    assert_problems(no_arguments, VARIABLES("TILLBOX_CONFIG=/"),
                    "TILLBOX_CONFIG: can't read \"/\": Is a directory\n");
}

struct bad_input {
    char *text;
    const char *problem;
};

static void bad_lines_in_the_file_are_refused_with_their_number(UNUSED void **state)
{
    static const struct bad_input CASES[] = {
        {"dta_dir = /x\n", "unknown key \"dta_dir\" (did you mean \"data_dir\"?)"},
        {"Dat-Dr = /x", "unknown key \"Dat-Dr\" (did you mean \"data_dir\"?)"},
        {"colour = red", "unknown key \"colour\""},
        {"help = yes", "unknown key \"help\""},
        {"= yes", "unknown key \"\""},
        {"gr\xC3\xB6\xC3\x9F\x45\x01\xFF = 1", "unknown key \"größE??\""},
        {"123456789 123456789 123456789 123456789 123456789 123456789 1: x",
         "unknown key \"123456789 123456789 123456789 123456789 123456789 123456789 …\""},
        {"data_dir", "is neither \"key = value\" nor a comment"},
        {" continued", "is neither \"key = value\" nor a comment"},
        {" [orders]\r\n", "sections aren't used here, keys stand on their own"},
        {"[orders", "sections aren't used here, keys stand on their own"},
        {"config = /x", "config: can't be set in the file"},
        {"peers = b", "peers: is given a second time, line 2 has it too"},
        {"data_dir =", "data_dir: must not be empty"},
    };
    char text[128], expected[256];
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        snprintf(text, sizeof text, "# first\npeers = a\n%s", CASES[i].text);
        snprintf(expected, sizeof expected, "@ line 3: %s\n", CASES[i].problem);
        write_text(default_file, text);
        assert_file_problems(expected);
    }
}

static void comment_signs_and_quotes_inside_a_value_belong_to_it(UNUSED void **state)
{
    assert_file_loads("; a comment\n # another\n\tdata_dir = \"a\" ;b #c=d:e \n");
    assert_string_equal(settings.data_dir, "\"a\" ;b #c=d:e");
}

static void a_byte_order_mark_and_windows_line_ends_are_fine(UNUSED void **state)
{
    assert_file_loads("\xEF\xBB\xBF\x64\x61ta_dir = /x\r\n\r\npeers = a,b\r\n");
    assert_string_equal(settings.data_dir, "/x");
    assert_list(&settings.peers, "a|b|");
}

/* "data_dir = xxx…" with a value of `size` bytes, behind spaces up to `line_size` in all. */
static void write_long_line(size_t size, size_t line_size)
{
    char line[4096];
    memset(line, ' ', sizeof line);
    memcpy(line, "data_dir =", 10);
    memset(line + line_size - size, 'x', size);
    write_bytes(default_file, line, line_size);
}

static void lines_and_values_of_the_file_and_the_file_itself_have_a_limit(UNUSED void **state)
{
    static char comments[CONFIG_FILE_MAX + 1];
    write_long_line(CONFIG_VALUE_MAX, 2 * CONFIG_VALUE_MAX);
    assert_loads(no_arguments, no_variables);
    assert_int_equal(strlen(settings.data_dir), CONFIG_VALUE_MAX);
    write_long_line(CONFIG_VALUE_MAX + 1, CONFIG_VALUE_MAX + 20);
    assert_file_problems("@ line 1: data_dir: is 1025 bytes long, at most 1024 are allowed\n");
    write_long_line(1, 2 * CONFIG_VALUE_MAX + 1);
    assert_file_problems("@ line 1: is longer than 2048 bytes\n");
    for (size_t i = 0; i < sizeof comments; i++)
        comments[i] = i % 64 == 63 ? '\n' : '#';
    write_bytes(default_file, comments, CONFIG_FILE_MAX);
    assert_loads(no_arguments, no_variables);
    write_bytes(default_file, comments, CONFIG_FILE_MAX + 1);
    assert_file_problems("@: is larger than 65536 bytes\n");
}

static void lists_and_operands_have_a_limit(UNUSED void **state)
{
    char flag[256] = "--peers=a", *arguments[CONFIG_OPERANDS_MAX + 3] = {"appliance"};
    for (size_t i = 1; i < CONFIG_LIST_MAX; i++)
        strcat(flag, ",a");
    for (size_t i = 1; i <= CONFIG_OPERANDS_MAX; i++)
        arguments[i] = "x";
    assert_loads(ARGUMENTS(flag), no_variables);
    assert_int_equal(settings.peers.count, CONFIG_LIST_MAX);
    assert_loads(arguments, no_variables);
    strcat(flag, ",a");
    assert_problems(ARGUMENTS(flag), no_variables,
                    "--peers: has 65 items, at most 64 are allowed\n");
    arguments[CONFIG_OPERANDS_MAX + 1] = "y";
    assert_problems(arguments, no_variables, "\"y\": too many arguments, at most 16 are allowed\n");
}

static void bad_flags_are_refused_without_what_may_be_secret(UNUSED void **state)
{
    static const struct bad_input CASES[] = {
        {"--data_dri=secret", "unknown flag \"--data_dri\" (did you mean \"--data-dir\"?)\n"},
        {"--nothing=secret", "unknown flag \"--nothing\"\n"},
        {"--hlep", "unknown flag \"--hlep\" (did you mean \"--help\"?)\n"},
        {"-d", "unknown flag \"-d\"\n"},
        {"---", "unknown flag \"---\"\n"},
        {"--data-dir", "--data-dir: needs a value, DIR\n"},
        {"--data-dir=", "--data-dir: must not be empty\n"},
        {"--config=", "--config: must not be empty\n"},
        {"--queue-size=", "--queue-size: must not be empty\n"},
        {"--device-id=a", "--device-id: is 1 bytes long, must be 2 to 8\n"},
        {"--device-id=123456789", "--device-id: is 9 bytes long, must be 2 to 8\n"},
        {"--device-id=a\nb", "--device-id: has a control character\n"},
        {"--device-id=a\xFF", "--device-id: isn't valid UTF-8\n"},
        {"--allow-anonymous=si",
         "--allow-anonymous: \"si\": must be true, yes, on, 1, false, no, off or 0\n"},
        {"--peers=a,,b", "--peers: item 2 of the list is empty\n"},
        {"--peers=a, ", "--peers: item 2 of the list is empty\n"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        assert_problems(ARGUMENTS(CASES[i].text, "--help"), no_variables, CASES[i].problem);
        assert_defaults();
    }
    assert_problems(ARGUMENTS("--data-dir"), no_variables, "--data-dir: needs a value, DIR\n");
}

/* `values` are separated by spaces. */
static void assert_values_refused(const char *flag, const char *values, const char *reason)
{
    char argument[128], expected[256];
    for (; *values; values += strcspn(values, " "), values += strspn(values, " ")) {
        int size = (int)strcspn(values, " ");
        snprintf(argument, sizeof argument, "%s=%.*s", flag, size, values);
        snprintf(expected, sizeof expected, "%s: \"%.*s\": %s\n", flag, size, values, reason);
        assert_problems(ARGUMENTS(argument), no_variables, expected);
        assert_defaults();
    }
}

static void bad_numbers_switches_and_addresses_are_refused_with_the_reason(UNUSED void **state)
{
    assert_values_refused("--queue-size", "5001 -6 99999999999999999999", "must be -5 to 5000");
    assert_values_refused("--queue-size", "12x +1 - 0x10 1.0", "must be a whole number");
    assert_values_refused("--allow-anonymous", "maybe 2",
                          "must be true, yes, on, 1, false, no, off or 0");
    assert_values_refused("--orders-listen", "8081 [::1]",
                          "must be HOST:PORT, such as 127.0.0.1:8081");
    assert_values_refused("--orders-listen", ":8081",
                          "has no host; 127.0.0.1 is this machine only, 0.0.0.0 everyone");
    assert_values_refused("--orders-listen", "::1:80",
                          "an IPv6 address stands in brackets, [::1]:8081");
    assert_values_refused(
        "--orders-listen", "*:80 []:80 [127.0.0.1]:80 box.example:80 127.1:80",
        "the host must be an IPv4 address, an IPv6 address in brackets or localhost");
    assert_values_refused("--orders-listen",
                          "[::1]:65536 [::1]: [::1]:-1 [::1]:80a [::1]:18446744073709551617",
                          "port must be 0 to 65535");
}

static void addresses_know_whether_they_are_loopback(UNUSED void **state)
{
    static const struct listen_address CASES[] = {
        {"127.0.0.1", 1}, {"127.9.9.9", 1}, {"::1", 1}, {"::ffff:127.0.0.1", 1},
        {"localhost", 1}, {"0.0.0.0", 0},   {"::", 0},  {"::ffff:10.0.0.1", 0},
        {"10.0.0.1", 0},  {"fe80::1", 0},   {"", 0},    {"::127.0.0.1", 0},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++)
        assert_int_equal(listen_address_is_loopback(&CASES[i]), CASES[i].port);
}

static void every_problem_is_reported_at_once_and_the_rest_is_read(UNUSED void **state)
{
    write_bytes(default_file, "junk\nqueue_size = many\npeers = \0\ndata_dir = /good\n", 49);
    assert_problems(ARGUMENTS("--x", "--orders-listen", "127.0.0.1:99999", "--help"),
                    VARIABLES("TILLBOX_DEVICE_ID=a", "TILLBOX_QUEUE_SIZE=9999"),
                    "unknown flag \"--x\"\n"
                    "@ line 1: is neither \"key = value\" nor a comment\n"
                    "@ line 2: queue_size: \"many\": must be a whole number\n"
                    "@ line 3: has a NUL byte\n"
                    "TILLBOX_DEVICE_ID: is 1 bytes long, must be 2 to 8\n"
                    "TILLBOX_QUEUE_SIZE: \"9999\": must be -5 to 5000\n"
                    "--orders-listen: \"127.0.0.1:99999\": port must be 0 to 65535\n");
    assert_string_equal(settings.data_dir, "/good");
    assert_int_equal(settings.queue_size, 100);
    assert_true(settings.help);
}

static void a_program_adds_problems_that_name_where_the_option_was_given(UNUSED void **state)
{
    write_text(default_file, "\ndata_dir = /x\n");
    assert_loads(ARGUMENTS("--orders-listen=0.0.0.0:1"), VARIABLES("TILLBOX_DEVICE_ID=ab"));
    assert_int_equal(config_verdict(&problems), RESULT_OK);
    config_add_problem(&sources, "orders_listen", &problems, "needs %s", "a token");
    config_add_problem(&sources, "device_id", &problems, "no");
    config_add_problem(&sources, "data_dir", &problems, "no");
    config_add_problem(&sources, "queue_size", &problems, "no");
    assert_problem_text("--orders-listen: needs a token\nTILLBOX_DEVICE_ID: no\n"
                        "@ line 2: data_dir: no\nqueue_size: no\n");
    assert_int_equal(config_verdict(&problems), RESULT_INVALID);
    problems.limit = 4;
    assert_int_equal(load(ARGUMENTS("--nothing"), no_variables), RESULT_INVALID);
    problems.state = RESULT_NO_MEMORY;
    assert_int_equal(config_verdict(&problems), RESULT_NO_MEMORY);
}

/* What a printing function writes, up to 4 KiB, by way of the other file. */
static void print_every_option(const struct option_set *set, FILE *stream)
{
    config_print_options(set, NULL, NULL, stream);
}

static const char *printed(void (*print)(const struct option_set *set, FILE *stream))
{
    static char text[4096];
    FILE *stream = fopen(other_file, "w+");
    print(&SET, stream);
    rewind(stream);
    text[fread(text, 1, sizeof text - 1, stream)] = '\0';
    fclose(stream);
    return text;
}

static void help_is_aligned_and_names_flag_variable_and_default(UNUSED void **state)
{
    const char *text = printed(print_every_option);
    assert_non_null(strstr(text, "  --data-dir DIR              where the journal lives\n"
                                 "                              TILLBOX_DATA_DIR, default "
                                 "/var/lib/tillbox\n"));
    assert_non_null(strstr(text, "  --allowed-hosts A-RATHER-LONG-LIST\n"
                                 "                              names\n"));
    assert_non_null(strstr(text, "where there\n                              may be many, so"));
    assert_non_null(strstr(text, "  --help                      show this\n"));
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 80);
}

static void the_sample_gives_the_defaults_with_and_without_its_comment_signs(UNUSED void **state)
{
    char text[4096];
    strcpy(text, printed(config_print_sample));
    assert_non_null(strstr(text, "\n# where the journal lives\n# --data-dir DIR, TILLBOX_DATA_DIR\n"
                                 "#data_dir = /var/lib/tillbox\n"));
    assert_loads(ARGUMENTS("--config", other_file), no_variables);
    assert_defaults();
    for (char *at = text; (at = strstr(at, "\n#")); at++)
        if (strchr(" \n", at[2]) == NULL)
            at[1] = ' ';
    write_text(other_file, text);
    assert_loads(ARGUMENTS("--config", other_file), no_variables);
    assert_defaults();
    for (size_t i = 0; i < SET.count; i++)
        assert_int_equal(sources.lines[i] > 0, OPTIONS[i].scope == OPTION_EVERYWHERE);
}

static char *secret;
static bool secret_exposed;

static enum result read_secret(const char *path)
{
    struct error cause = {""};
    free(secret);
    secret = NULL;
    enum result result = config_read_secret_file(path, 6, &cause, &secret, &secret_exposed);
    assert_string_equal(secret ? secret : "", result == RESULT_OK ? "hidden" : "");
    assert_true(result == RESULT_OK || strstr(cause.text, path));
    assert_null(strstr(cause.text, "hidden"));
    return result;
}

static void assert_secret(const char *content, size_t size, enum result expected)
{
    write_bytes(other_file, content, size);
    assert_int_equal(read_secret(other_file), expected);
}

static void a_secret_is_one_line_of_limited_length(UNUSED void **state)
{
    assert_secret("hidden", 6, RESULT_OK);
    assert_secret("hidden\n", 7, RESULT_OK);
    assert_secret("hidden\r\n", 8, RESULT_OK);
    assert_secret("hidden\n\n", 8, RESULT_TOO_LARGE);
    assert_secret("hidden!", 7, RESULT_TOO_LARGE);
    assert_secret("hidden and longer", 17, RESULT_TOO_LARGE);
    assert_secret("", 0, RESULT_INVALID);
    assert_secret("\n", 1, RESULT_INVALID);
    assert_secret("hi\nden", 6, RESULT_INVALID);
    assert_secret("hid\0en", 6, RESULT_INVALID);
    assert_int_equal(read_secret("/nowhere"), RESULT_NOT_FOUND);
    assert_int_equal(read_secret("/"), RESULT_IO);
}

static void a_secret_that_others_may_read_is_told(UNUSED void **state)
{
    static const mode_t MODES[] = {0400, 0600, 0440, 0404, 0444};
    write_text(other_file, "hidden\n");
    for (size_t i = 0; i < ARRAY_LENGTH(MODES); i++) {
        assert_int_equal(chmod(other_file, MODES[i]), 0);
        assert_int_equal(read_secret(other_file), RESULT_OK);
        assert_int_equal(secret_exposed, i >= 2);
    }
    free(secret);
    secret = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(with_nothing_given_every_setting_has_its_default),
        TEST(a_flag_wins_over_a_variable_over_the_file_over_the_default),
        TEST(a_switch_knows_eight_words_in_any_case),
        TEST(operands_keep_their_order_and_two_dashes_end_the_options),
        TEST(variables_that_are_empty_or_of_no_option_are_ignored),
        TEST(an_empty_value_means_none_where_there_is_no_default),
        TEST(the_file_is_named_by_a_flag_or_a_variable),
        TEST(a_file_that_cannot_be_read_is_refused_unless_absent_by_default),
        TEST(bad_lines_in_the_file_are_refused_with_their_number),
        TEST(comment_signs_and_quotes_inside_a_value_belong_to_it),
        TEST(a_byte_order_mark_and_windows_line_ends_are_fine),
        TEST(lines_and_values_of_the_file_and_the_file_itself_have_a_limit),
        TEST(lists_and_operands_have_a_limit),
        TEST(bad_flags_are_refused_without_what_may_be_secret),
        TEST(bad_numbers_switches_and_addresses_are_refused_with_the_reason),
        TEST(addresses_know_whether_they_are_loopback),
        TEST(every_problem_is_reported_at_once_and_the_rest_is_read),
        TEST(a_program_adds_problems_that_name_where_the_option_was_given),
        TEST(help_is_aligned_and_names_flag_variable_and_default),
        TEST(the_sample_gives_the_defaults_with_and_without_its_comment_signs),
        TEST(a_secret_is_one_line_of_limited_length),
        TEST(a_secret_that_others_may_read_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
