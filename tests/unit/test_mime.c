#include "core/http/mime.h"

#include <string.h>

#include "core/sha256.h"
#include "tests/support/unit.h"

enum { OUT_MAX = 64 << 10 };

static struct buf out;

static int set_up(UNUSED void **state)
{
    buf_init(&out, OUT_MAX);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    buf_done(&out);
    return 0;
}

/* RFC 4648, section 10. */
static void base64_is_as_the_standard_has_it(UNUSED void **state)
{
    static const char *const CASES[][2] = {
        {"", ""},
        {"f", "Zg==\r\n"},
        {"fo", "Zm8=\r\n"},
        {"foo", "Zm9v\r\n"},
        {"foob", "Zm9vYg==\r\n"},
        {"fooba", "Zm9vYmE=\r\n"},
        {"foobar", "Zm9vYmFy\r\n"},
        {"\xFB\xFF\xBF", "+/+/\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(CASES); i++) {
        buf_clear(&out);
        mime_append_base64(&out, CASES[i][0], strlen(CASES[i][0]));
        assert_string_equal(buf_text(&out), CASES[i][1]);
    }
}

static void base64_comes_in_lines_of_76(UNUSED void **state)
{
    char bytes[200];
    memset(bytes, 'x', sizeof bytes);
    mime_append_base64(&out, bytes, sizeof bytes);
    assert_int_equal(strcspn(buf_text(&out), "\r"), 76);
    assert_int_equal(out.size, 268 + 4 * 2);
}

static void plain_text_stands_in_a_header_as_it_is(UNUSED void **state)
{
    mime_append_header(&out, "Subject", "Your order 8");
    assert_string_equal(buf_text(&out), "Subject: Your order 8\r\n");
}

static void other_text_becomes_encoded_words(UNUSED void **state)
{
    mime_append_header(&out, "Subject", "\xC3\xBC");
    assert_string_equal(buf_text(&out), "Subject: =?UTF-8?B?w7w=?=\r\n");
    buf_clear(&out);
    mime_append_header(&out, "Subject", "=?x");
    assert_string_equal(buf_text(&out), "Subject: =?UTF-8?B?PT94?=\r\n");
}

/* 41 letters, so that the limit of 42 bytes falls inside the next character. */
static void a_character_is_not_parted_between_words(UNUSED void **state)
{
    mime_append_header(&out, "S", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xE2\x82\xAC!");
    assert_contains(buf_text(&out), "YWE=?=\r\n =?UTF-8?B?4oKsIQ==?=\r\n");
}

static void a_line_end_cannot_begin_another_header(UNUSED void **state)
{
    mime_append_header(&out, "Subject", "x\r\nBcc: y@z.example");
    assert_null(strstr(buf_text(&out), "Bcc"));
    assert_int_equal(strcspn(buf_text(&out), "\r"), out.size - 2);
}

static void a_date_is_as_mail_has_it(UNUSED void **state)
{
    mime_append_date(&out, 1769850300250);
    assert_string_equal(buf_text(&out), "Sat, 31 Jan 2026 09:05:00 +0000");
}

static void one_address_is_told_from_anything_else(UNUSED void **state)
{
    static const char *const GOOD[] = {"a@b", "first.last+tag@shop.example"};
    static const char *const BAD[] = {"",        "a",          "@b",     "a@",    "a@b@c",
                                      "a b@c",   "a@b\r\nx",   "<a@b>",  "a@b,c", "a@b;c@d",
                                      "\"a\"@b", "\xC3\xBC@b", "a@b (x)"};
    for (size_t i = 0; i < ARRAY_LENGTH(GOOD); i++)
        assert_true(mime_is_address(GOOD[i]));
    for (size_t i = 0; i < ARRAY_LENGTH(BAD); i++)
        assert_false(mime_is_address(BAD[i]));
}

/* RFC 4231, test case 2. */
static void hmac_is_as_the_standard_has_it(UNUSED void **state)
{
    static const char DATA[] = "what do ya want for nothing?";
    uint8_t digest[SHA256_SIZE];
    char hex[SHA256_TEXT_SIZE];
    sha256_hmac("Jefe", DATA, strlen(DATA), digest);
    sha256_format(digest, hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(base64_is_as_the_standard_has_it),
        TEST(base64_comes_in_lines_of_76),
        TEST(plain_text_stands_in_a_header_as_it_is),
        TEST(other_text_becomes_encoded_words),
        TEST(a_character_is_not_parted_between_words),
        TEST(a_line_end_cannot_begin_another_header),
        TEST(a_date_is_as_mail_has_it),
        TEST(one_address_is_told_from_anything_else),
        TEST(hmac_is_as_the_standard_has_it),
    };
    return RUN_TESTS(argc, argv, tests);
}
