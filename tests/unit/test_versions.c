#include "appliance/versions.h"

#include <cjson/cJSON.h>
#include <microhttpd.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>

#include "core/db.h"
#include "core/http/http_server.h"
#include "core/json.h"
#include "core/sha256.h"
#include "tests/support/unit.h"

enum { LIBRARIES = 4 };

static struct library find(const char *name)
{
    struct library libraries[LIBRARIES];
    assert_int_equal(versions_list(libraries, LIBRARIES), LIBRARIES);
    for (size_t i = 0; i < LIBRARIES; i++)
        if (strcmp(libraries[i].name, name) == 0)
            return libraries[i];
    fail_msg("%s is not listed", name);
    return (struct library){0};
}

static void every_library_is_listed_with_the_version_that_is_loaded(UNUSED void **state)
{
    assert_string_equal(find("sqlite").version, sqlite3_libversion());
    assert_string_equal(find("sqlite").version, db_library_version());
    assert_string_equal(find("libmicrohttpd").version, MHD_get_version());
    assert_string_equal(find("libmicrohttpd").version, http_library_version());
    assert_string_equal(find("cjson").version, cJSON_Version());
    assert_string_equal(find("cjson").version, json_library_version());
    assert_string_equal(find("libcrypto").version, sha256_library_version());
}

static void assert_defect(const char *name, bool expected, const char *part)
{
    const char *defect = find(name).defect;
    assert_int_equal(defect != NULL, expected);
    if (expected)
        assert_contains(defect, part);
}

static void a_version_with_a_known_defect_says_so(UNUSED void **state)
{
    assert_defect("sqlite", sqlite3_libversion_number() <= 3051002, "WAL");
    assert_defect("libmicrohttpd", MHD_VERSION < 0x00097600, "Transfer-Encoding");
    assert_defect("cjson",
                  CJSON_VERSION_MAJOR == 1 && CJSON_VERSION_MINOR == 7 && CJSON_VERSION_PATCH <= 17,
                  "cJSON_Utils");
    assert_defect("libcrypto", false, "");
}

static void no_more_are_written_than_there_is_room_for(UNUSED void **state)
{
    struct library libraries[LIBRARIES + 1] = {{0}};
    assert_int_equal(versions_list(libraries, 0), LIBRARIES);
    assert_null(libraries[0].name);
    assert_int_equal(versions_list(libraries, 2), LIBRARIES);
    assert_non_null(libraries[1].version);
    assert_null(libraries[2].name);
    assert_int_equal(versions_list(libraries, LIBRARIES + 1), LIBRARIES);
    assert_non_null(libraries[LIBRARIES - 1].name);
    assert_null(libraries[LIBRARIES].name);
}

static void there_may_be_no_list_to_write_into(UNUSED void **state)
{
    assert_int_equal(versions_list(NULL, 0), LIBRARIES);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_library_is_listed_with_the_version_that_is_loaded),
        cmocka_unit_test(a_version_with_a_known_defect_says_so),
        cmocka_unit_test(no_more_are_written_than_there_is_room_for),
        cmocka_unit_test(there_may_be_no_list_to_write_into),
    };
    return RUN_TESTS(argc, argv, tests);
}
