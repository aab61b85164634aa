#include "core/sha256.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/unit.h"

static struct sha256 *hasher;

static int set_up(UNUSED void **state)
{
    return sha256_new(&hasher) == RESULT_OK ? 0 : -1;
}

static int tear_down(UNUSED void **state)
{
    sha256_free(hasher);
    return 0;
}

static void assert_digest(const char *expected)
{
    uint8_t digest[SHA256_SIZE];
    char text[2 * SHA256_SIZE + 1];
    sha256_end(hasher, digest);
    for (size_t i = 0; i < SHA256_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, expected);
}

static void assert_hashes(const char *message, const char *expected)
{
    sha256_begin(hasher);
    sha256_add(hasher, message, strlen(message));
    assert_digest(expected);
}

static const char OF_ABC[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/* The examples that NIST publishes with FIPS 180-4. */
static void the_examples_of_the_standard_come_out(UNUSED void **state)
{
    assert_hashes("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_hashes("abc", OF_ABC);
    assert_hashes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    sha256_begin(hasher);
    for (int i = 0; i < 10000; i++)
        sha256_add(hasher,
                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                   100);
    assert_digest("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void it_is_the_same_in_pieces(UNUSED void **state)
{
    sha256_begin(hasher);
    sha256_add(hasher, "a", 1);
    sha256_add(hasher, "", 0);
    sha256_add(hasher, "bc", 2);
    assert_digest(OF_ABC);
}

static void a_message_left_unfinished_leaves_no_trace_in_the_next(UNUSED void **state)
{
    sha256_begin(hasher);
    sha256_add(hasher, "something else", 14);
    assert_hashes("abc", OF_ABC);
    assert_hashes("abc", OF_ABC);
}

static void freeing_no_hasher_is_fine(UNUSED void **state)
{
    sha256_free(NULL);
}

static void bytes_are_equal_only_if_all_of_them_are(UNUSED void **state)
{
    assert_true(constant_time_equal("abc", "abc", 3));
    assert_true(constant_time_equal("abc", "xyz", 0));
    assert_true(constant_time_equal("abc", "abx", 2));
    assert_false(constant_time_equal("abc", "abx", 3));
    assert_false(constant_time_equal("abc", "xbc", 3));
    assert_false(constant_time_equal("a\0b", "a\0c", 3));
}

static void a_digest_is_told_in_hexadecimal_digits(UNUSED void **state)
{
    uint8_t digest[SHA256_SIZE] = {0x00, 0x9F, 0xA0};
    char text[SHA256_TEXT_SIZE];
    digest[SHA256_SIZE - 1] = 0xFE;
    sha256_format(digest, text);
    assert_string_equal(text, "009fa000000000000000000000000000000000000000000000000000000000fe");
}

static void the_library_tells_its_version(UNUSED void **state)
{
    int major = 0, minor = 0, patch = 0;
    assert_int_equal(sscanf(sha256_library_version(), "%d.%d.%d", &major, &minor, &patch), 3);
    assert_true(major >= 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(the_examples_of_the_standard_come_out),
        TEST(it_is_the_same_in_pieces),
        TEST(a_message_left_unfinished_leaves_no_trace_in_the_next),
        TEST(freeing_no_hasher_is_fine),
        TEST(bytes_are_equal_only_if_all_of_them_are),
        TEST(a_digest_is_told_in_hexadecimal_digits),
        TEST(the_library_tells_its_version),
    };
    return RUN_TESTS(argc, argv, tests);
}
