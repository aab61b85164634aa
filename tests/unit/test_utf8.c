#include "core/utf8.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/unit.h"

/* RFC 3629, section 3: the shortest form, surrogates included. */
static size_t encode(unsigned long code_point, char ret_bytes[static 4])
{
    static const unsigned char LEADS[] = {0x00, 0x00, 0xC0, 0xE0, 0xF0};
    size_t length = code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code_point >>= 6)
        ret_bytes[i] = (char)(0x80 | (code_point & 0x3F));
    ret_bytes[0] = (char)(LEADS[length] | code_point);
    return length;
}

static void every_code_point_but_the_surrogates_has_its_sequence(UNUSED void **state)
{
    for (unsigned long code_point = 0; code_point < 0x140000; code_point++) {
        char bytes[4];
        size_t length = encode(code_point, bytes);
        bool surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
        size_t expected = surrogate || code_point > 0x10FFFF ? 0 : length;
        if (utf8_sequence_length(bytes, length) != expected)
            fail_msg("U+%04lX", code_point);
    }
}

/* How many of the 65536 pairs of first bytes begin a sequence whose further bytes are `rest`. */
static int count_pairs(const char *rest, size_t length)
{
    char bytes[4] = {0};
    int count = 0;
    memcpy(bytes + 2, rest, strlen(rest));
    for (int pair = 0; pair < 0x10000; pair++) {
        bytes[0] = (char)(pair >> 8);
        bytes[1] = (char)pair;
        count += utf8_sequence_length(bytes, length) == length;
    }
    return count;
}

/* The numbers follow from the table in RFC 3629, section 4. */
static void no_other_bytes_are_a_sequence(UNUSED void **state)
{
    assert_int_equal(count_pairs("", 2), 30 * 64);
    assert_int_equal(count_pairs("\x80", 3), 32 + 12 * 64 + 32 + 2 * 64);
    assert_int_equal(count_pairs("\xBF\xBF", 4), 48 + 3 * 64 + 16);
    static const char *const BAD_ENDS[] = {"\x7F", "\xC0", "\xFF", "\x01"};
    for (size_t i = 0; i < ARRAY_LENGTH(BAD_ENDS); i++) {
        char rest[3] = "\x80";
        assert_int_equal(count_pairs(BAD_ENDS[i], 3), 0);
        rest[1] = BAD_ENDS[i][0];
        assert_int_equal(count_pairs(rest, 4), 0);
    }
}

static void a_sequence_cut_short_is_none(UNUSED void **state)
{
    assert_int_equal(utf8_sequence_length("", 0), 0);
    assert_int_equal(utf8_sequence_length("\xC3\xA4", 1), 0);
    assert_int_equal(utf8_sequence_length("\xE2\x82\xAC", 2), 0);
    assert_int_equal(utf8_sequence_length("\xF0\x9F\x98\x80", 3), 0);
}

static void only_the_first_sequence_counts(UNUSED void **state)
{
    assert_int_equal(utf8_sequence_length("a\xFF", 2), 1);
    assert_int_equal(utf8_sequence_length("\xC3\xA4\xFF", 3), 2);
}

static void a_length_is_the_number_of_code_points(UNUSED void **state)
{
    assert_int_equal(utf8_length("", 0), 0);
    assert_int_equal(utf8_length("abc", 3), 3);
    assert_int_equal(utf8_length("a\0b", 3), 3);
    assert_int_equal(utf8_length("K\xC3\xA4se \xE2\x82\xAC \xF0\x9F\x98\x80", 14), 8);
}

static void text_with_a_bad_byte_anywhere_has_no_length(UNUSED void **state)
{
    assert_int_equal(utf8_length("\xFF", 1), -1);
    assert_int_equal(utf8_length("abc\x80", 4), -1);
    assert_int_equal(utf8_length("\xC3\xA4\xC3", 3), -1);
    assert_int_equal(utf8_length("a\xED\xA0\x80z", 5), -1);
    assert_int_equal(utf8_length("\xC0\x80", 2), -1);
}

static void what_could_move_a_terminal_s_cursor_is_printed_as_its_bytes(UNUSED void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    utf8_print(stream, "\x1b[2J\xc2\x9b\xff\r\xc3\xa9\x7f ok");
    fclose(stream);
    assert_string_equal(text, "\\x1b[2J\\xc2\\x9b\\xff\\x0d\xc3\xa9\\x7f ok");
    free(text);
}

static void a_line_s_only_newline_is_its_own(UNUSED void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    utf8_print_line(stream, "%-4s|%d: %s", "a\x1b", 7, "one\ntwo \xc3\xa9");
    fclose(stream);
    assert_string_equal(text, "a\\x1b  |7: one\\x0atwo \xc3\xa9\n");
    free(text);
}

/* The text as it is after a cut that left `size` bytes of it, trimmed. */
static void assert_trimmed(const char *text, size_t size, const char *expected)
{
    char bytes[16] = {0};
    memcpy(bytes, text, size);
    utf8_trim_cut(bytes);
    assert_string_equal(bytes, expected);
}

static void what_a_cut_has_left_of_a_character_is_removed(UNUSED void **state)
{
    assert_trimmed("a\xC3\xA4", 2, "a");
    assert_trimmed("a\xE2\x82\xAC", 2, "a");
    assert_trimmed("a\xE2\x82\xAC", 3, "a");
    assert_trimmed("a\xF0\x9F\x98\x80", 2, "a");
    assert_trimmed("a\xF0\x9F\x98\x80", 3, "a");
    assert_trimmed("a\xF0\x9F\x98\x80", 4, "a");
    assert_trimmed("\xC3\xA4\xC3\xA4", 3, "\xC3\xA4");
    assert_trimmed("\xF0\x9F\x98\x80", 3, "");
}

static void a_cut_between_characters_removes_nothing(UNUSED void **state)
{
    assert_trimmed("", 0, "");
    assert_trimmed("abc", 3, "abc");
    assert_trimmed("a\xC3\xA4", 3, "a\xC3\xA4");
    assert_trimmed("\xE2\x82\xAC", 3, "\xE2\x82\xAC");
    assert_trimmed("\xF0\x9F\x98\x80", 4, "\xF0\x9F\x98\x80");
    assert_trimmed("\xF0\x9F\x98\x80z", 5, "\xF0\x9F\x98\x80z");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_but_the_surrogates_has_its_sequence),
        cmocka_unit_test(no_other_bytes_are_a_sequence),
        cmocka_unit_test(a_sequence_cut_short_is_none),
        cmocka_unit_test(only_the_first_sequence_counts),
        cmocka_unit_test(a_length_is_the_number_of_code_points),
        cmocka_unit_test(what_could_move_a_terminal_s_cursor_is_printed_as_its_bytes),
        cmocka_unit_test(a_line_s_only_newline_is_its_own),
        cmocka_unit_test(text_with_a_bad_byte_anywhere_has_no_length),
        cmocka_unit_test(what_a_cut_has_left_of_a_character_is_removed),
        cmocka_unit_test(a_cut_between_characters_removes_nothing),
    };
    return RUN_TESTS(argc, argv, tests);
}
