/* Tokenizers and sampling: every filter against a plain computation, every error by its sentence.
   cc -O1 tests/test_text.c -o test_text -lm -lpthread */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"
#include "support.h"

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

/* Unicode 15, table 3-7, row by row: length of the sequence at s [n], 0 if there is none. */
static int table_3_7(const unsigned char *s, size_t n)
{
    static const unsigned char rows[9][9] = {
        {1, 0x00, 0x7f, 0, 0, 0, 0, 0, 0},
        {2, 0xc2, 0xdf, 0x80, 0xbf, 0, 0, 0, 0},
        {3, 0xe0, 0xe0, 0xa0, 0xbf, 0x80, 0xbf, 0, 0},
        {3, 0xe1, 0xec, 0x80, 0xbf, 0x80, 0xbf, 0, 0},
        {3, 0xed, 0xed, 0x80, 0x9f, 0x80, 0xbf, 0, 0},
        {3, 0xee, 0xef, 0x80, 0xbf, 0x80, 0xbf, 0, 0},
        {4, 0xf0, 0xf0, 0x90, 0xbf, 0x80, 0xbf, 0x80, 0xbf},
        {4, 0xf1, 0xf3, 0x80, 0xbf, 0x80, 0xbf, 0x80, 0xbf},
        {4, 0xf4, 0xf4, 0x80, 0x8f, 0x80, 0xbf, 0x80, 0xbf},
    };
    int row, i;
    for (row = 0; row < 9; row++) {
        if ((size_t)rows[row][0] > n) continue;
        for (i = 0; i < rows[row][0]; i++)
            if (s[i] < rows[row][1 + 2 * i] || s[i] > rows[row][2 + 2 * i]) break;
        if (i == rows[row][0]) return i;
    }
    return 0;
}

static void utf8_accepts_exactly_what_unicode_allows(void)
{
    static const unsigned char edge[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                         0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                         0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff};
    const int n = (int)sizeof edge;
    int a, b, c, d, wrong = 0;
    size_t size;
    uint32_t point;
    for (a = 0; a < n; a++)
        for (b = 0; b < n; b++)
            for (c = 0; c < n; c++)
                for (d = 0; d < n; d++)
                    for (size = 1; size <= 4; size++) {
                        unsigned char s[4];
                        s[0] = edge[a], s[1] = edge[b], s[2] = edge[c], s[3] = edge[d];
                        wrong +=
                            wcohi_utf8_read((const char *)s, size, &point) != table_3_7(s, size);
                    }
    CHECK(wrong == 0);
}

static void utf8_returns_every_code_point(void)
{
    uint32_t point, back;
    int wrong = 0;
    for (point = 0; point <= 0x10ffff; point++) {
        char bytes[4];
        int length = wcohi_utf8_write(point, bytes);
        int surrogate = point >= 0xd800 && point < 0xe000;
        back = 0;
        if (surrogate) wrong += wcohi_utf8_read(bytes, 4, &back) != 0;
        else wrong += wcohi_utf8_read(bytes, (size_t)length, &back) != length || back != point;
    }
    CHECK(wrong == 0);
}

/* ---- tokenizers ------------------------------------------------------------------------------ */

static wcoh_tokenizer *chars_of(const char *text)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_error error;
    CHECK_SAY(wcoh_tokenizer_create_chars(&tokenizer, text, strlen(text), NULL, &error) == WCOH_OK,
              "%s", error.text);
    return tokenizer;
}

/* Encode and decode `text` [size] (at most 4,096 bytes); 1 if the same bytes come back. */
static int comes_back(const wcoh_tokenizer *tokenizer, const char *text, size_t size)
{
    static uint32_t tokens[4096];
    static char back[4096 + 4];
    size_t count = 0, i, length = 0;
    if (wcoh_tokenizer_encode(tokenizer, text, size, tokens, 4096, &count, NULL) < 0) return 0;
    for (i = 0; i < count && length <= 4096; i++)
        length += (size_t)wcoh_tokenizer_decode(tokenizer, tokens[i], back + length, 4);
    return length == size && memcmp(back, text, size) == 0;
}

static void bytes_are_their_own_tokens(void)
{
    wcoh_tokenizer *tokenizer = NULL;
    char all[256], one[4];
    uint32_t tokens[256];
    size_t count = 0;
    int i, wrong = 0;
    if (!CHECK(wcoh_tokenizer_create_bytes(&tokenizer, NULL, NULL) == WCOH_OK)) return;
    CHECK(wcoh_tokenizer_get_kind(tokenizer) == WCOH_TOKENIZER_BYTES);
    CHECK(wcoh_tokenizer_vocab(tokenizer) == 256);
    for (i = 0; i < 256; i++) all[i] = (char)(unsigned char)i;
    CHECK(wcoh_tokenizer_encode(tokenizer, all, 256, tokens, 256, &count, NULL) == WCOH_OK);
    CHECK(count == 256);
    for (i = 0; i < 256; i++) wrong += tokens[i] != (uint32_t)i;
    CHECK(wrong == 0);
    CHECK(comes_back(tokenizer, all, 256));
    CHECK(wcoh_tokenizer_decode(tokenizer, 256, one, 4) == 0);
    wcoh_tokenizer_destroy(tokenizer);
}

static void characters_are_the_alphabet_in_ascending_order(void)
{
    wcoh_tokenizer *tokenizer = chars_of("b\xc3\xa9"
                                         "a\xf0\x9f\x8c\x8a"
                                         "\n\xe2\x82\xac"
                                         "a");
    const char *expected[] = {"\n", "a", "b", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x8c\x8a"};
    int i;
    if (!tokenizer) return;
    CHECK(wcoh_tokenizer_get_kind(tokenizer) == WCOH_TOKENIZER_CHARS);
    CHECK(wcoh_tokenizer_vocab(tokenizer) == 6);
    for (i = 0; i < 6; i++) {
        char bytes[4];
        uint32_t token = 99;
        size_t length = strlen(expected[i]), count = 0;
        CHECK(wcoh_tokenizer_decode(tokenizer, (uint32_t)i, bytes, 4) == (int)length);
        CHECK(memcmp(bytes, expected[i], length) == 0);
        CHECK(wcoh_tokenizer_encode(tokenizer, expected[i], length, &token, 1, &count, NULL) == 0);
        CHECK(token == (uint32_t)i && count == 1);
    }
    wcoh_tokenizer_destroy(tokenizer);
}

static void a_text_comes_back_whole(void)
{
    char text[4096];
    size_t size = 0;
    uint32_t point;
    wcoh_tokenizer *tokenizer = NULL;
    for (point = 0; size < sizeof text - 4; point += 997) { /* all planes, a NUL among them */
        if (point > 0x10ffff) point -= 0x10ffff;
        if (point >= 0xd800 && point < 0xe000) continue;
        size += (size_t)wcohi_utf8_write(point, text + size);
    }
    if (!CHECK(wcoh_tokenizer_create_chars(&tokenizer, text, size, NULL, NULL) == WCOH_OK)) return;
    CHECK(comes_back(tokenizer, text, size));
    CHECK(comes_back(tokenizer, text, 0));
    wcoh_tokenizer_destroy(tokenizer);
}

static void the_alphabet_makes_the_same_tokenizer(void)
{
    wcoh_tokenizer *first = chars_of("zebra \xc3\xbc\xc3\xa4 z"), *second = NULL;
    const char *alphabet = NULL;
    char a[4], b[4];
    size_t size = 0;
    uint32_t token;
    if (!first) return;
    wcohi_tokenizer_alphabet(first, &alphabet, &size);
    CHECK(size == 10 && memcmp(alphabet, " aberz\xc3\xa4\xc3\xbc", 10) == 0);
    CHECK(wcoh_tokenizer_create_chars(&second, alphabet, size, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_tokenizer_vocab(first) == wcoh_tokenizer_vocab(second));
    for (token = 0; token < 8; token++) {
        int length = wcoh_tokenizer_decode(first, token, a, 4);
        CHECK(length == wcoh_tokenizer_decode(second, token, b, 4));
        CHECK(memcmp(a, b, (size_t)length) == 0);
    }
    wcoh_tokenizer_destroy(second);
    CHECK(wcoh_tokenizer_create_bytes(&second, NULL, NULL) == WCOH_OK);
    wcohi_tokenizer_alphabet(second, &alphabet, &size);
    CHECK(size == 0 && alphabet != NULL);
    wcoh_tokenizer_destroy(second);
    wcoh_tokenizer_destroy(first);
    wcoh_tokenizer_destroy(NULL);
}

static void malformed_text_is_named_by_its_byte(void)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_error error;
    size_t count = 9;
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, "abc\xff", 4, NULL, &error) == WCOH_E_FORMAT);
    CHECK(error.code == WCOH_E_FORMAT && tokenizer == NULL);
    CHECK_TEXT(error.text, "byte 3 of the text (0xff) is not UTF-8");
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, "ab\xe2\x82", 4, NULL, &error) == WCOH_E_FORMAT);
    CHECK_TEXT(error.text, "byte 2 ");
    tokenizer = chars_of("ab");
    if (!tokenizer) return;
    CHECK(wcoh_tokenizer_encode(tokenizer, "ab\xc0\x80", 4, NULL, 0, &count, &error) ==
          WCOH_E_FORMAT);
    CHECK_TEXT(error.text, "byte 2 ");
    CHECK(count == 2);
    wcoh_tokenizer_destroy(tokenizer);
}

static void an_unknown_character_is_named(void)
{
    wcoh_tokenizer *tokenizer = chars_of("ab\xc3\xa9");
    wcoh_error error;
    uint32_t tokens[8];
    size_t count = 0;
    if (!tokenizer) return;
    CHECK(wcoh_tokenizer_encode(tokenizer, "abc", 3, tokens, 8, &count, &error) == WCOH_E_TOKEN);
    CHECK_TEXT(error.text, "the character 'c' (U+0063) at byte 2 is not in the alphabet of 3");
    CHECK(count == 2);
    CHECK(wcoh_tokenizer_encode(tokenizer, "\xe2\x82\xac", 3, tokens, 8, &count, &error) ==
          WCOH_E_TOKEN);
    CHECK_TEXT(error.text, "'\xe2\x82\xac' (U+20AC) at byte 0");
    CHECK(wcoh_tokenizer_encode(tokenizer, "a\t", 2, tokens, 8, &count, &error) == WCOH_E_TOKEN);
    CHECK_TEXT(error.text, "the character (U+0009) at byte 1");
    CHECK(wcoh_tokenizer_encode(tokenizer, "\xf4\x8f\xbf\xbf", 4, NULL, 0, NULL, NULL) ==
          WCOH_E_TOKEN);
    wcoh_tokenizer_destroy(tokenizer);
}

static void encoding_measures_and_respects_capacity(void)
{
    wcoh_tokenizer *tokenizer = chars_of("abc");
    wcoh_error error;
    uint32_t tokens[3] = {7, 7, 7};
    size_t count = 0;
    if (!tokenizer) return;
    CHECK(wcoh_tokenizer_encode(tokenizer, "cab", 3, NULL, 0, &count, &error) == WCOH_OK);
    CHECK(count == 3);
    CHECK(wcoh_tokenizer_encode(tokenizer, "cab", 3, tokens, 2, &count, &error) == WCOH_E_MEMORY);
    CHECK(count == 3 && tokens[0] == 2 && tokens[1] == 0 && tokens[2] == 7);
    CHECK_TEXT(error.text, "the text has 3 tokens, there is room for 2");
    CHECK(wcoh_tokenizer_encode(tokenizer, "cab", 3, NULL, 5, &count, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_tokenizer_encode(tokenizer, NULL, 3, tokens, 3, &count, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_tokenizer_encode(NULL, "cab", 3, tokens, 3, &count, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_tokenizer_encode(tokenizer, NULL, 0, NULL, 0, &count, &error) == WCOH_OK);
    CHECK(count == 0);
    wcoh_tokenizer_destroy(tokenizer);
}

static void no_text_has_no_alphabet(void)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_error error;
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, "", 0, NULL, &error) == WCOH_E_DATA);
    CHECK_TEXT(error.text, "there is no text");
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, NULL, 0, NULL, NULL) == WCOH_E_DATA);
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, NULL, 3, NULL, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_tokenizer_create_chars(NULL, "a", 1, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_tokenizer_create_bytes(NULL, NULL, &error) == WCOH_E_ARGUMENT);
}

/* ---- characters with bytes for the rest ------------------------------------------------------ */

static wcoh_tokenizer *tokenizer_of(wcoh_tokenizer_kind kind, int start, const char *text)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_tokenizer_desc desc;
    wcoh_error error;
    memset(&desc, 0, sizeof desc);
    desc.kind = kind;
    desc.start = start;
    CHECK_SAY(wcoh_tokenizer_create(&tokenizer, &desc, text, strlen(text), &error) == WCOH_OK, "%s",
              error.text);
    return tokenizer;
}

static void what_is_no_character_of_the_alphabet_is_spelled_in_bytes(void)
{
    wcoh_tokenizer *mixed = tokenizer_of(WCOH_TOKENIZER_CHARS_BYTES, 0, "b\xc3\xa9"
                                                                        "a");
    uint32_t tokens[16];
    /* a, b, e with an accent are 0, 1, 2; the bytes begin at 3 */
    static const uint32_t expected[] = {0, 2, 3 + 0xe2, 3 + 0x82, 3 + 0xac, 1, 3 + 0xff,
                                        3 + 0xc3, 0, 3 + 'c'};
    size_t count = 0;
    char byte[4];
    if (!mixed) return;
    CHECK(wcoh_tokenizer_get_kind(mixed) == WCOH_TOKENIZER_CHARS_BYTES);
    CHECK(wcoh_tokenizer_characters(mixed) == 3 && wcoh_tokenizer_vocab(mixed) == 3 + 256);
    CHECK(wcoh_tokenizer_encode(mixed,
                                "a\xc3\xa9\xe2\x82\xac"
                                "b\xff\xc3"
                                "ac",
                                11, tokens, 16, &count, NULL) == WCOH_OK);
    CHECK(count == 10 && memcmp(tokens, expected, sizeof expected) == 0);
    CHECK(wcoh_tokenizer_decode(mixed, 3 + 0xff, byte, 4) == 1 && byte[0] == '\xff');
    CHECK(wcoh_tokenizer_decode(mixed, 3 + 256, byte, 4) == 0);
    wcoh_tokenizer_destroy(mixed);
}

static void characters_keep_their_tokens_where_bytes_join(void)
{
    const char *text = "d\xc3\xa9j\xc3\xa0 vu";
    wcoh_tokenizer *plain_one = chars_of(text),
                   *mixed = tokenizer_of(WCOH_TOKENIZER_CHARS_BYTES, 1, text);
    uint32_t a[16], b[16];
    size_t m = 0, n = 0;
    if (!plain_one || !mixed) return;
    CHECK(wcoh_tokenizer_encode(plain_one, text, strlen(text), a, 16, &m, NULL) == WCOH_OK);
    CHECK(wcoh_tokenizer_encode(mixed, text, strlen(text), b, 16, &n, NULL) == WCOH_OK);
    CHECK(m == n && memcmp(a, b, m * sizeof *a) == 0);
    wcoh_tokenizer_destroy(plain_one);
    wcoh_tokenizer_destroy(mixed);
}

static void any_bytes_come_back_from_characters_and_bytes(void)
{
    wcoh_tokenizer *mixed = tokenizer_of(WCOH_TOKENIZER_CHARS_BYTES, 0,
                                         "sea \xc3\xa9\xe6\xb5\xb7\xf0\x9f\x8c\x8a");
    static const char piece[][5] = {"a", "\xc3\xa9", "\xc3", "\xa9", "\xe6\xb5", "\xe6\xb5\xb7",
                                    "\xf0\x9f\x8c\x8a", "\xf0\x9f\x8c", "\xed\xa0\x80", "\xc0\x80",
                                    "\xe2\x82\xac", "\xff"};
    char text[4096];
    wcoh_rng rng = wcoh_rng_seed(3);
    int a, b, round, wrong = 0;
    size_t size;
    if (!mixed) return;
    for (a = 0; a < 256; a++)
        for (b = 0; b < 256; b++) {
            text[0] = (char)a, text[1] = (char)b;
            wrong += !comes_back(mixed, text, 2);
        }
    for (round = 0; round < 2000; round++) { /* characters, whole and cut, and noise between them */
        for (size = 0; size < 40;) {
            const char *one = piece[wcoh_rng_next(&rng) % (sizeof piece / sizeof *piece)];
            size_t length = strlen(one);
            memcpy(text + size, one, length);
            size += length;
            if (wcoh_rng_next(&rng) % 8 == 0) text[size++] = (char)(wcoh_rng_next(&rng) & 255);
        }
        wrong += !comes_back(mixed, text, size);
    }
    CHECK(wrong == 0);
    CHECK(comes_back(mixed, text, 0));
    wcoh_tokenizer_destroy(mixed);
}

static void a_broken_text_still_gives_its_characters(void)
{
    wcoh_tokenizer *mixed =
        tokenizer_of(WCOH_TOKENIZER_CHARS_BYTES, 0, "b\xff\xc3\xa9\xc3 a\xe2\x82");
    const char *alphabet;
    size_t size;
    if (!mixed) return;
    wcohi_tokenizer_alphabet(mixed, &alphabet, &size);
    CHECK(size == 5 && memcmp(alphabet, " ab\xc3\xa9", 5) == 0);
    wcoh_tokenizer_destroy(mixed);
    mixed = tokenizer_of(WCOH_TOKENIZER_CHARS_BYTES, 0, "\xff\xfe"); /* none at all */
    CHECK(wcoh_tokenizer_characters(mixed) == 0 && wcoh_tokenizer_vocab(mixed) == 256);
    CHECK(comes_back(mixed, "\xff any", 5));
    wcoh_tokenizer_destroy(mixed);
    mixed = tokenizer_of(WCOH_TOKENIZER_CHARS_BYTES, 0, "");
    CHECK(comes_back(mixed, "\xff any", 5));
    wcoh_tokenizer_destroy(mixed);
}

/* ---- the start symbol ------------------------------------------------------------------------ */

static void a_start_symbol_is_the_last_and_no_text_has_it(void)
{
    static const wcoh_tokenizer_kind kinds[] = {WCOH_TOKENIZER_BYTES, WCOH_TOKENIZER_CHARS,
                                                WCOH_TOKENIZER_CHARS_BYTES};
    static const int symbols[] = {256, 3, 259};
    uint32_t tokens[3];
    char none[4];
    size_t i, count;
    for (i = 0; i < 3; i++) {
        wcoh_tokenizer *with = tokenizer_of(kinds[i], 1, "abc");
        wcoh_tokenizer *without = tokenizer_of(kinds[i], 0, "abc");
        CHECK(wcoh_tokenizer_vocab(without) == symbols[i] && wcoh_tokenizer_start(without) == -1);
        CHECK(wcoh_tokenizer_vocab(with) == symbols[i] + 1);
        CHECK(wcoh_tokenizer_start(with) == symbols[i]);
        CHECK(wcoh_tokenizer_decode(with, (uint32_t)symbols[i], none, 4) == 0);
        CHECK(wcoh_tokenizer_encode(with, "cab", 3, tokens, 3, &count, NULL) == WCOH_OK);
        CHECK(count == 3 && tokens[0] < (uint32_t)symbols[i] && comes_back(with, "cab", 3));
        wcoh_tokenizer_destroy(with);
        wcoh_tokenizer_destroy(without);
    }
    CHECK(wcoh_tokenizer_start(NULL) == -1 && wcoh_tokenizer_characters(NULL) == 0);
}

/* What a decoder of bytes shows of `bytes`, all of it, with `room` a token. */
static const char *shown(const char *bytes, size_t room)
{
    static char text[256];
    char piece[12];
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_decoder decoder;
    size_t used = 0;
    int length;
    memset(&decoder, 0, sizeof decoder);
    CHECK(wcoh_tokenizer_create_bytes(&tokenizer, NULL, NULL) == WCOH_OK);
    for (; *bytes; bytes++) {
        length = wcoh_decoder_next(&decoder, tokenizer, (unsigned char)*bytes, piece, room);
        if ((size_t)length > room)
            length = wcoh_decoder_next(&decoder, tokenizer, (unsigned char)*bytes, piece, 12);
        memcpy(text + used, piece, (size_t)length);
        used += (size_t)length;
    }
    used += (size_t)wcoh_decoder_end(&decoder, text + used, 3);
    CHECK(decoder.count == 0 && decoder.begun == 0);
    text[used] = 0;
    wcoh_tokenizer_destroy(tokenizer);
    return text;
}

#define MARK "\xef\xbf\xbd"

static void a_decoder_shows_whole_characters(void)
{
    size_t room;
    for (room = 0; room <= 6; room += 3) { /* what did not fit is asked for again */
        CHECK_TEXT(shown("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8a", room),
                   "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8a");
        CHECK_TEXT(shown("a\xff"
                         "b\x80",
                         room),
                   "a" MARK "b" MARK);
        CHECK_TEXT(shown("\xf0\x9f\x8c!", room), MARK "!"); /* one for what began */
        CHECK_TEXT(shown("\xe2\x82\xe2\x82\xac", room), MARK "\xe2\x82\xac");
        CHECK_TEXT(shown("\xf0\x80\x80\x80", room), MARK MARK MARK MARK); /* overlong */
        CHECK_TEXT(shown("\xed\xa0\x80", room), MARK MARK MARK);          /* a surrogate */
        CHECK_TEXT(shown("\xf4\x8f\xbf", room), MARK);                    /* cut at the end */
    }
}

static void a_decoder_never_writes_past_its_room(void)
{
    wcoh_tokenizer *tokenizer = chars_of("\xf0\x9f\x8c\x8a");
    wcoh_decoder decoder;
    char text[5] = "....";
    memset(&decoder, 0, sizeof decoder);
    if (!tokenizer) return;
    CHECK(wcoh_tokenizer_longest(tokenizer) == 4);
    CHECK(wcoh_tokenizer_decode(tokenizer, 0, text, 3) == 4);
    CHECK_TEXT(text, "....");
    CHECK(wcoh_tokenizer_decode(tokenizer, 0, NULL, 0) == 4);
    CHECK(wcoh_decoder_next(&decoder, tokenizer, 0, text, 3) == 4 && text[3] == '.');
    CHECK(wcoh_decoder_next(&decoder, tokenizer, 1, text, 4) == 0);
    CHECK(wcoh_decoder_next(&decoder, tokenizer, 0, text, 4) == 4);
    CHECK_TEXT(text, "\xf0\x9f\x8c\x8a");
    wcoh_tokenizer_destroy(tokenizer);
}

static void subwords_are_learnt_and_kept(void)
{
    static const char text[] = "low lower lowest, new newer newest; caf\xc3\xa9 low low \xff new";
    wcoh_tokenizer *made = NULL, *read = NULL;
    wcoh_tokenizer_desc desc;
    wcoh_error error = {WCOH_OK, ""};
    uint32_t tokens[128];
    size_t count = 0, size = 0, short_count = 0;
    const char *json;
    memset(&desc, 0, sizeof desc);
    desc.kind = WCOH_TOKENIZER_SUBWORDS;
    desc.vocab = 262;
    desc.start = 1;
    CHECK_SAY(wcoh_tokenizer_create(&made, &desc, text, sizeof text - 1, &error) == WCOH_OK, "%s",
              error.text);
    if (!made) return;
    CHECK(wcoh_tokenizer_vocab(made) == 263 && wcoh_tokenizer_start(made) == 262);
    CHECK(wcoh_tokenizer_special(made, 262) && !wcoh_tokenizer_special(made, 261));
    CHECK(wcoh_tokenizer_find(made, " low", 4) >= 256);
    CHECK(wcoh_tokenizer_find(made, "<|start|>", 9) == 262);
    CHECK(wcoh_tokenizer_find(made, "lowest of all", 13) == -1);
    CHECK(comes_back(made, text, sizeof text - 1) && comes_back(made, "\xf0\x9f \xc3", 4));
    CHECK(wcoh_tokenizer_encode(made, text, sizeof text - 1, tokens, 128, &count, NULL) == WCOH_OK);
    CHECK(count > 0 && count < sizeof text - 1);
    CHECK(wcoh_tokenizer_encode(made, text, sizeof text - 1, tokens, 3, &short_count, &error) ==
          WCOH_E_MEMORY);
    CHECK(short_count == count);
    json = wcoh_tokenizer_json(made, &size);
    CHECK(json && strlen(json) == size);
    CHECK(wcoh_tokenizer_create_json(&read, json, size + 1, NULL, &error) == WCOH_E_FORMAT);
    CHECK_TEXT(error.text, "something behind the end"); /* the zero byte */
    CHECK(wcoh_tokenizer_create_json(&read, json, size, NULL, &error) == WCOH_OK);
    CHECK(wcoh_tokenizer_start(read) == 262 && comes_back(read, text, sizeof text - 1));
    wcoh_tokenizer_destroy(read);
    wcoh_tokenizer_destroy(made);
    CHECK(wcoh_tokenizer_create(&made, &desc, NULL, 0, &error) == WCOH_E_DATA);
    CHECK(wcoh_tokenizer_create_json(&made, "{}", 2, NULL, &error) == WCOH_E_FORMAT);
    CHECK(made == NULL);
}

static void a_tokenizer_takes_one_block(void)
{
    static unsigned char block[4096];
    counting c = {0, 0, 0, 0};
    wcoh_memory memory = counting_memory(&c);
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_error error;
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, "xyz", 3, &memory, &error) == WCOH_OK);
    CHECK(c.calls == 1 && c.live == 1);
    CHECK(comes_back(tokenizer, "zyx", 3) && c.calls == 1);
    wcoh_tokenizer_destroy(tokenizer);
    CHECK(c.live == 0);
    c.fail_at = c.calls + 1;
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, "xyz", 3, &memory, &error) == WCOH_E_MEMORY);
    CHECK(tokenizer == NULL && c.live == 0);
    c.fail_at = c.calls + 1;
    CHECK(wcoh_tokenizer_create_bytes(&tokenizer, &memory, &error) == WCOH_E_MEMORY);
    CHECK(tokenizer == NULL && c.live == 0);
    memset(&memory, 0, sizeof memory);
    memory.block = block + 1;
    memory.block_size = sizeof block - 1;
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, "xyz", 3, &memory, &error) == WCOH_OK);
    CHECK(tokenizer && comes_back(tokenizer, "zyx", 3));
    wcoh_tokenizer_destroy(tokenizer);
    memory.block_size = 100;
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, "xyz", 3, &memory, &error) == WCOH_E_MEMORY);
    CHECK_TEXT(error.text, "tokenizer: the block has 100 bytes");
}

static void a_copy_lives_in_the_arena_alone(void)
{
    static uint64_t memory[512];
    wcohi_arena arena = {NULL, 0};
    wcoh_tokenizer *from = chars_of("d\xc3\xa9j\xc3\xa0 vu");
    const wcoh_tokenizer *to;
    size_t measured;
    if (!from) return;
    CHECK(wcohi_tokenizer_copy(&arena, NULL, NULL) == NULL && arena.used == 0);
    CHECK(wcohi_tokenizer_copy(&arena, from, NULL) == NULL);
    measured = arena.used;
    CHECK(measured > 0 && measured <= sizeof memory);
    arena.base = (unsigned char *)memory;
    arena.used = 0;
    to = wcohi_tokenizer_copy(&arena, from, NULL);
    CHECK(arena.used == measured);
    wcoh_tokenizer_destroy(from);
    CHECK(to && wcoh_tokenizer_vocab(to) == 7);
    CHECK(to && comes_back(to, "vu \xc3\xa0", 5));
}

/* ---- sampling against a plain computation ---------------------------------------------------- */

enum { MOST = 300 };

typedef struct ranked {
    double logit;
    int symbol;
} ranked;

static int by_rank(const void *a, const void *b)
{
    const ranked *x = (const ranked *)a, *y = (const ranked *)b;
    if (x->logit > y->logit || x->logit < y->logit) return x->logit > y->logit ? -1 : 1;
    return x->symbol - y->symbol;
}

/* Probabilities [n] of each symbol after bias, penalty, temperature, top-k, top-p, min-p, as the
   definitions say, in double, by sorting. */
static void plain(const wcoh_sample_desc *desc, const wcoh_real *logits, int n,
                  const uint32_t *recent, size_t heard, double *p)
{
    ranked r[MOST];
    int window = desc->repetition_window ? desc->repetition_window : 64, i, keep = n;
    double total = 0, reached = 0;
    size_t j, k;
    for (i = 0; i < n; i++) r[i].logit = (double)logits[i], r[i].symbol = i, p[i] = 0;
    for (i = 0; i < desc->bias_count; i++)
        r[desc->bias[i].token].logit += (double)desc->bias[i].bias;
    for (j = heard > (size_t)window ? heard - (size_t)window : 0; j < heard; j++) {
        double *x = &r[recent[j]].logit;
        for (k = j + 1; k < heard; k++)
            if (recent[k] == recent[j]) break; /* only its last occurrence counts */
        if (k < heard || desc->repetition_penalty <= 0) continue;
        *x = *x > 0 ? *x / desc->repetition_penalty : *x * desc->repetition_penalty;
    }
    qsort(r, (size_t)n, sizeof *r, by_rank);
    if (desc->temperature <= 0) {
        p[r[0].symbol] = 1;
        return;
    }
    if (desc->top_k && desc->top_k < keep) keep = desc->top_k;
    for (i = 0; i < keep; i++)
        total += p[r[i].symbol] = exp((r[i].logit - r[0].logit) / desc->temperature);
    for (i = 0; i < keep; i++) {
        if (desc->top_p > 0 && desc->top_p < 1 && reached >= desc->top_p * total)
            p[r[i].symbol] = 0;
        reached += p[r[i].symbol];
    }
    for (i = 0, total = 0; i < n; i++) total += p[i] = p[i] < desc->min_p ? 0 : p[i];
    for (i = 0; i < n; i++) p[i] /= total;
}

/* One draw must be the symbol whose interval of the cumulative distribution holds the uniform
   number that the generator gives next. 1e-6: weights are kept as floats. */
static int draw_agrees(const wcoh_sample_desc *desc, wcoh_rng *rng, const wcoh_real *logits, int n,
                       const uint32_t *recent, size_t heard)
{
    static float scratch[2 * MOST];
    double p[MOST], below = 0;
    wcoh_rng copy = *rng;
    double u = desc->temperature > 0 ? wcoh_rng_uniform(&copy) : 0.5;
    uint32_t token = 0, i;
    if (wcoh_sample(desc, rng, logits, n, recent, heard, scratch, &token, NULL) < 0) return 0;
    plain(desc, logits, n, recent, heard, p);
    if (token >= (uint32_t)n || p[token] <= 0 || memcmp(&copy, rng, sizeof copy) != 0) return 0;
    for (i = 0; i < token; i++) below += p[i];
    return u > below - 1e-6 && u < below + p[token] + 1e-6;
}

static double any(wcoh_rng *rng, double low, double high)
{
    return low + (high - low) * wcoh_rng_uniform(rng);
}

static void filters_alone_and_together_follow_their_definitions(void)
{
    wcoh_rng rng = wcoh_rng_seed(5), choose = wcoh_rng_seed(6);
    int round, i, wrong = 0;
    for (round = 0; round < 4000; round++) {
        wcoh_real logits[MOST];
        uint32_t recent[200];
        wcoh_logit_bias bias[3];
        wcoh_sample_desc desc;
        int n = 1 + (int)(wcoh_rng_next(&choose) % (MOST - 1)), which = round % 64;
        double grid = round % 3 ? 1e-6 : 0.5; /* a coarse grid makes ties */
        memset(&desc, 0, sizeof desc);
        for (i = 0; i < n; i++) logits[i] = (wcoh_real)(floor(any(&choose, -6, 6) / grid) * grid);
        for (i = 0; i < 200; i++) recent[i] = (uint32_t)(wcoh_rng_next(&choose) % (uint64_t)n);
        for (i = 0; i < 3; i++) {
            bias[i].token = (uint32_t)(wcoh_rng_next(&choose) % (uint64_t)n);
            bias[i].bias = (float)any(&choose, -5, 5);
        }
        desc.temperature = any(&choose, 0.1, 3);
        if (which & 1) desc.top_k = 1 + (int)(wcoh_rng_next(&choose) % 60);
        if (which & 2) desc.top_p = any(&choose, 0.01, 1);
        if (which & 4) desc.min_p = any(&choose, 0.001, 0.5);
        if (which & 8) desc.repetition_penalty = any(&choose, 0.5, 2);
        if (which & 16) desc.bias = bias, desc.bias_count = 3;
        if (which & 32) desc.repetition_window = 1 + (int)(wcoh_rng_next(&choose) % 150);
        wrong += !draw_agrees(&desc, &rng, logits, n, recent, (size_t)(round % 200));
    }
    CHECK_SAY(wrong == 0, "%d of 4000 draws differ", wrong);
}

static void frequencies_follow_the_softmax(void)
{
    enum { DRAWS = 200000, N = 5 };
    static const wcoh_real logits[N] = {1, -1, (wcoh_real)0.5, 2, -3};
    wcoh_sample_desc desc;
    wcoh_rng rng = wcoh_rng_seed(1);
    int seen[N] = {0}, i;
    double p[N];
    memset(&desc, 0, sizeof desc);
    desc.temperature = 0.8;
    for (i = 0; i < DRAWS; i++) {
        float scratch[2 * N];
        uint32_t token = 0;
        if (wcoh_sample(&desc, &rng, logits, N, NULL, 0, scratch, &token, NULL) < 0) break;
        seen[token]++;
    }
    plain(&desc, logits, N, NULL, 0, p);
    for (i = 0; i < N; i++) /* five standard deviations */
        CHECK_NEAR(seen[i], DRAWS * p[i], 5 * sqrt(DRAWS * p[i] * (1 - p[i])));
}

/* Draw once; the token, or -1 with the sentence in *error. */
static int draw(const wcoh_sample_desc *desc, wcoh_rng *rng, const wcoh_real *logits, int n,
                wcoh_error *error)
{
    float scratch[64];
    uint32_t token = 0;
    return wcoh_sample(desc, rng, logits, n, NULL, 0, scratch, &token, error) ? -1 : (int)token;
}

static void all_zero_is_greedy_and_needs_no_generator(void)
{
    static const wcoh_real logits[4] = {1, 3, 2, 3};
    wcoh_sample_desc desc;
    memset(&desc, 0, sizeof desc);
    CHECK(draw(&desc, NULL, logits, 4, NULL) == 1); /* the tie goes to the lower token */
    desc.top_k = 2, desc.top_p = 0.5, desc.min_p = 0.1;
    CHECK(draw(&desc, NULL, logits, 4, NULL) == 1);
}

static void a_filter_that_drops_nothing_changes_nothing(void)
{
    static const wcoh_real logits[6] = {0, 1, 2, -1, 0, 1};
    wcoh_sample_desc off, wide;
    wcoh_rng a = wcoh_rng_seed(3), b = wcoh_rng_seed(3);
    int i, wrong = 0;
    memset(&off, 0, sizeof off);
    off.temperature = 1;
    wide = off;
    wide.top_k = 6, wide.top_p = 1, wide.min_p = 1e-9, wide.repetition_penalty = 1;
    for (i = 0; i < 1000; i++)
        wrong += draw(&off, &a, logits, 6, NULL) != draw(&wide, &b, logits, 6, NULL);
    CHECK(wrong == 0);
    wide.top_k = 16777216;
    CHECK(draw(&wide, &a, logits, 6, NULL) >= 0);
}

static void extreme_temperatures_stay_finite(void)
{
    static const wcoh_real spread[4] = {(wcoh_real)3e38, (wcoh_real)-3e38, 0, (wcoh_real)3e38};
    static const wcoh_real close[3] = {0, (wcoh_real)1e-3, 0};
    wcoh_sample_desc desc;
    wcoh_rng rng = wcoh_rng_seed(4);
    int seen[4] = {0}, i;
    memset(&desc, 0, sizeof desc);
    desc.temperature = 1e-6;
    for (i = 0; i < 100; i++) CHECK(draw(&desc, &rng, close, 3, NULL) == 1);
    for (i = 0; i < 100; i++) seen[draw(&desc, &rng, spread, 4, NULL)]++;
    CHECK(seen[1] == 0 && seen[2] == 0 && seen[0] > 20 && seen[3] > 20);
    desc.temperature = 1000;
    desc.top_k = 1; /* the likeliest by its logit, though every weight rounds to 1 */
    for (i = 0; i < 100; i++) CHECK(draw(&desc, &rng, close, 3, NULL) == 1);
    desc.top_k = 2, desc.top_p = 1e-9;
    for (i = 0; i < 100; i++) CHECK(draw(&desc, &rng, close, 3, NULL) == 1);
}

static void what_is_not_finite_is_never_drawn(void)
{
    const wcoh_real nan_ = (wcoh_real)NAN, inf_ = (wcoh_real)INFINITY;
    wcoh_real logits[5], none[3];
    wcoh_sample_desc desc;
    wcoh_error error;
    wcoh_logit_bias ban[2];
    wcoh_rng rng = wcoh_rng_seed(7);
    int i;
    logits[0] = nan_, logits[1] = 0, logits[2] = inf_, logits[3] = 0, logits[4] = -inf_;
    none[0] = nan_, none[1] = -inf_, none[2] = nan_;
    memset(&desc, 0, sizeof desc);
    CHECK(draw(&desc, &rng, logits, 5, NULL) == 1);
    desc.temperature = 1;
    for (i = 0; i < 200; i++) {
        int token = draw(&desc, &rng, logits, 5, NULL);
        CHECK(token == 1 || token == 3);
    }
    CHECK(draw(&desc, &rng, none, 3, &error) == -1 && error.code == WCOH_E_NUMERIC);
    CHECK_TEXT(error.text, "none of the 3 logits is finite");
    ban[0].token = 1, ban[0].bias = -INFINITY; /* minus infinity: never */
    ban[1].token = 1, ban[1].bias = 5;
    desc.bias = ban, desc.bias_count = 2;
    for (i = 0; i < 100; i++) CHECK(draw(&desc, &rng, logits, 5, NULL) == 3);
}

/* Vectors of the acceptance list of the server: what is left of p = .6439 .2369 .0871 .0321. */
static void published_vectors_of_the_sampler(void)
{
    static const wcoh_real logits[4] = {2, 1, 0, -1};
    static const double p[4] = {.6439, .2369, .0871, .0321};
    wcoh_sample_desc desc;
    wcoh_rng rng = wcoh_rng_seed(11);
    int seen[4] = {0}, i;
    double mean = 0;
    memset(&desc, 0, sizeof desc);
    desc.temperature = 1;
    for (i = 0; i < 40000; i++) seen[draw(&desc, &rng, logits, 4, NULL)]++;
    for (i = 0; i < 4; i++) CHECK_NEAR(seen[i] / 40000.0, p[i], 0.01); /* four deviations */
    desc.top_p = 0.8;
    for (i = 0; i < 500; i++) CHECK(draw(&desc, &rng, logits, 4, NULL) < 2);
    desc.top_p = 0, desc.top_k = 2;
    for (i = 0; i < 500; i++) CHECK(draw(&desc, &rng, logits, 4, NULL) < 2);
    for (i = 0; i < 10000; i++) { /* the first number of a seed is as good as any */
        rng = wcoh_rng_seed((uint64_t)i);
        mean += wcoh_rng_uniform(&rng) / 10000;
    }
    CHECK_NEAR(mean, 0.5, 0.01);
}

static void the_penalty_counts_each_token_once(void)
{
    static const wcoh_real logits[3] = {4, 3, -1};
    static const uint32_t often[6] = {0, 0, 0, 0, 0, 0};
    wcoh_sample_desc desc;
    float scratch[8];
    uint32_t token = 9;
    int i;
    memset(&desc, 0, sizeof desc);
    desc.repetition_penalty = 1.2; /* 4 / 1.2 is above 3, 4 / 1.44 is below */
    CHECK(wcoh_sample(&desc, NULL, logits, 3, often, 6, scratch, &token, NULL) == WCOH_OK);
    CHECK(token == 0);
    desc.repetition_penalty = 1.4;
    CHECK(wcoh_sample(&desc, NULL, logits, 3, often, 6, scratch, &token, NULL) == WCOH_OK);
    CHECK(token == 1);
    desc.repetition_penalty = 2; /* 2 becomes 1, seen once or three times */
    for (i = 0; i < 4; i++) {
        const wcoh_real published[4] = {2, (wcoh_real)(i < 2 ? 0.9999 : 1.0001), 0, -1};
        CHECK(wcoh_sample(&desc, NULL, published, 4, often, i % 2 ? 1 : 3, scratch, &token, NULL) ==
              WCOH_OK);
        CHECK(token == (i < 2 ? 0u : 1u));
    }
}

static void the_penalty_looks_back_as_far_as_the_window(void)
{
    static const wcoh_real logits[3] = {4, 3, -1};
    uint32_t heard[70] = {0}; /* token 0 first, then 69 times token 2 */
    wcoh_sample_desc desc;
    float scratch[6];
    uint32_t token = 9;
    int i;
    for (i = 1; i < 70; i++) heard[i] = 2;
    memset(&desc, 0, sizeof desc);
    desc.repetition_penalty = 2;
    CHECK(wcoh_sample(&desc, NULL, logits, 3, heard, 64, scratch, &token, NULL) == WCOH_OK);
    CHECK(token == 1);
    CHECK(wcoh_sample(&desc, NULL, logits, 3, heard, 65, scratch, &token, NULL) == WCOH_OK);
    CHECK(token == 0);
    desc.repetition_window = 70;
    CHECK(wcoh_sample(&desc, NULL, logits, 3, heard, 70, scratch, &token, NULL) == WCOH_OK);
    CHECK(token == 1);
}

/* ---- sampling: what is refused --------------------------------------------------------------- */

/* The check and the draw both refuse with that code and a sentence that holds `part`. */
static void refused(const wcoh_sample_desc *desc, wcoh_result code, const char *part)
{
    static const wcoh_real logits[3] = {1, 2, 3};
    wcoh_rng rng = wcoh_rng_seed(1);
    wcoh_error error;
    error.text[0] = 0;
    CHECK_SAY(wcoh_sample_desc_check(desc, 3, &error) == code, "%s: wrong code", part);
    CHECK_TEXT(error.text, part);
    CHECK(draw(desc, &rng, logits, 3, &error) == -1 && error.code == code);
}

static void real_settings_out_of_range_are_named(void)
{
    static const struct {
        size_t at;
        const char *name;
        double high;
    } field[] = {
        {offsetof(wcoh_sample_desc, temperature), "temperature", 1000},
        {offsetof(wcoh_sample_desc, top_p), "top_p", 1},
        {offsetof(wcoh_sample_desc, min_p), "min_p", 1},
        {offsetof(wcoh_sample_desc, repetition_penalty), "repetition_penalty", 100},
    };
    int i, j;
    for (i = 0; i < 4; i++) {
        double bad[5];
        bad[0] = -0.1, bad[1] = field[i].high * 1.01, bad[2] = NAN, bad[3] = INFINITY,
        bad[4] = -INFINITY;
        for (j = 0; j < 5; j++) {
            wcoh_sample_desc desc;
            memset(&desc, 0, sizeof desc);
            memcpy((char *)&desc + field[i].at, &bad[j], sizeof bad[j]);
            refused(&desc, WCOH_E_ARGUMENT, field[i].name);
        }
    }
}

static void whole_settings_out_of_range_are_named(void)
{
    wcoh_sample_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.top_k = -1;
    refused(&desc, WCOH_E_ARGUMENT, "top_k is -1: allowed are 1 to 16777216, or 0");
    desc.top_k = 16777217;
    refused(&desc, WCOH_E_ARGUMENT, "top_k is 16777217");
    desc.top_k = 0;
    desc.repetition_window = 1025;
    refused(&desc, WCOH_E_ARGUMENT, "repetition_window is 1025: allowed are 1 to 1024");
    desc.repetition_window = -1;
    refused(&desc, WCOH_E_ARGUMENT, "repetition_window is -1");
}

/* 0 is named wherever it may be given, and a product's end is the end. */
static void ranges_in_sentences_are_the_ranges(void)
{
    wcoh_trainer_desc training;
    wcoh_model_desc network;
    wcoh_error error;
    memset(&training, 0, sizeof training);
    memset(&network, 0, sizeof network);
    CHECK(wcoh_model_desc_resolve(&network, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "vocab is 0: allowed are 2 to 16777216");
    CHECK(strstr(error.text, "or 0") == NULL);
    training.patience = -1;
    CHECK(wcoh_trainer_desc_resolve(&training, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "patience is -1: allowed are 1 to 2147483647, or 0");
    training.patience = 0;
    training.batch = training.seq = 1 << 14;
    CHECK(wcoh_trainer_desc_resolve(&training, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "their product must be below 268435456");
    training.batch = 435; /* 2^28 - 1 */
    training.seq = 617093;
    CHECK(wcoh_trainer_desc_resolve(&training, NULL, &error) == WCOH_OK);
}

static void biases_are_checked(void)
{
    wcoh_logit_bias bias[2] = {{0, 1}, {3, 1}};
    wcoh_sample_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.bias = bias;
    desc.bias_count = 2;
    refused(&desc, WCOH_E_TOKEN, "bias[1].token is 3: allowed are 0 to 2");
    bias[1].token = 2;
    bias[1].bias = INFINITY;
    refused(&desc, WCOH_E_ARGUMENT, "bias[1].bias");
    bias[1].bias = NAN;
    refused(&desc, WCOH_E_ARGUMENT, "bias[1].bias");
    desc.bias_count = -1;
    refused(&desc, WCOH_E_ARGUMENT, "bias_count is -1");
    desc.bias_count = 1;
    desc.bias = NULL;
    refused(&desc, WCOH_E_ARGUMENT, "bias_count is 1");
}

static void missing_arguments_are_named(void)
{
    static const wcoh_real logits[3] = {1, 2, 3};
    static const uint32_t outside[2] = {1, 3};
    wcoh_sample_desc desc;
    wcoh_rng rng = wcoh_rng_seed(1);
    wcoh_error error;
    float scratch[6];
    uint32_t token;
    memset(&desc, 0, sizeof desc);
    CHECK(wcoh_sample_desc_check(NULL, 3, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_sample_desc_check(&desc, 0, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "vocab is 0: allowed are 1 to 16777216");
    CHECK(wcoh_sample_desc_check(&desc, 16777217, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_sample_desc_check(&desc, 3, NULL) == WCOH_OK);
    CHECK(wcoh_sample(&desc, &rng, NULL, 3, NULL, 0, scratch, &token, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_sample(&desc, &rng, logits, 3, NULL, 0, NULL, &token, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_sample(&desc, &rng, logits, 3, NULL, 0, scratch, NULL, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_sample(&desc, &rng, logits, 3, NULL, 1, scratch, &token, NULL) == WCOH_E_ARGUMENT);
    desc.repetition_penalty = 1.5;
    CHECK(wcoh_sample(&desc, &rng, logits, 3, outside, 2, scratch, &token, &error) == WCOH_E_TOKEN);
    CHECK_TEXT(error.text, "recent[1] is 3: allowed are 0 to 2");
    desc.temperature = 1;
    CHECK(wcoh_sample(&desc, NULL, logits, 3, NULL, 0, scratch, &token, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "rng is NULL");
}

static void the_table_lists_every_setting(void)
{
    int count = 0;
    const wcoh_field *fields = wcoh_fields(WCOH_DESC_SAMPLE, &count);
    wcoh_sample_desc desc;
    char text[40];
    memset(&desc, 0, sizeof desc);
    CHECK(count == 7 && fields != NULL);
    CHECK(wcoh_field_set(WCOH_DESC_SAMPLE, &desc, "temperature", "0.8", NULL) == WCOH_OK);
    CHECK_NEAR(desc.temperature, 0.8, 1e-15);
    CHECK(wcoh_field_set(WCOH_DESC_SAMPLE, &desc, "top_k", "40", NULL) == WCOH_OK &&
          desc.top_k == 40);
    CHECK(wcoh_field_get(WCOH_DESC_SAMPLE, &desc, "temperature", text, sizeof text) == 3);
    CHECK(strcmp(text, "0.8") == 0);
    CHECK(wcoh_field_set(WCOH_DESC_SAMPLE, &desc, "top_p", "1.5", NULL) == WCOH_E_ARGUMENT);
}

/* ---- with a model ---------------------------------------------------------------------------- */

static wcoh_model *small_model(int vocab, const wcoh_tokenizer *tokenizer)
{
    wcoh_model_desc desc;
    wcoh_model *model = NULL;
    wcoh_error error;
    memset(&desc, 0, sizeof desc);
    desc.vocab = vocab;
    desc.bands = 4;
    desc.layers = 1;
    desc.heads = 2;
    desc.maestro = 2;
    desc.tokenizer = tokenizer;
    CHECK_SAY(wcoh_model_create(&model, &desc, &error) == WCOH_OK, "%s", error.text);
    return model;
}

static void a_model_carries_its_own_tokenizer(void)
{
    wcoh_tokenizer *tokenizer = chars_of("flot\xc3\xa9s");
    wcoh_model *model = small_model(7, tokenizer);
    wcoh_tokenizer_destroy(tokenizer);
    if (!model) return;
    CHECK(wcoh_model_tokenizer(model) != NULL && wcoh_model_tokenizer(model) != tokenizer);
    CHECK(comes_back(wcoh_model_tokenizer(model), "lots\xc3\xa9", 6));
    wcoh_model_destroy(model);
    model = small_model(7, NULL);
    CHECK(model && wcoh_model_tokenizer(model) == NULL);
    wcoh_model_destroy(model);
}

/* kerr-engine's words: small letters, marks and ends of lines apart, the seldom ones unknown. */
static void words_are_tokens(void)
{
    static const char text[] =
        "Da - da! \"It's\" DA, it's\n(\xc3\x89t\xc3\xa9) \xc3\xa9t\xc3\xa9\n";
    static const uint32_t wanted[] = {3, 0, 0, 0, 3, 2, 5, 1, 0}; /* 1 \n, 2 ", 3 da, 4 it's, 5 */
    static unsigned char bytes[1 << 18];
    wcoh_memory_file block = {bytes, sizeof bytes, 0};
    wcoh_io io = wcoh_io_memory(&block);
    wcoh_tokenizer_desc desc;
    wcoh_tokenizer *made = NULL;
    wcoh_model *model, *back = NULL;
    wcoh_decoder decoder;
    wcoh_error error;
    uint32_t tokens[32];
    char shown[64];
    size_t count = 0, length = 0, i;
    memset(&desc, 0, sizeof desc);
    memset(&decoder, 0, sizeof decoder);
    desc.kind = WCOH_TOKENIZER_WORDS;
    desc.least = 2;
    desc.start = 1;
    CHECK_SAY(wcoh_tokenizer_create(&made, &desc, text, sizeof text - 1, &error) == WCOH_OK, "%s",
              error.text);
    if (!made) return;
    CHECK(wcoh_tokenizer_vocab(made) == 7 && wcoh_tokenizer_start(made) == 6);
    CHECK(wcoh_tokenizer_get_kind(made) == WCOH_TOKENIZER_SUBWORDS);
    CHECK(wcoh_tokenizer_find(made, "\xc3\xa9t\xc3\xa9", 5) == 5);
    model = small_model(7, made);
    CHECK(wcoh_model_save(model, &io, NULL) == WCOH_OK);
    CHECK(wcoh_model_load(&back, &io, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_tokenizer_encode(wcoh_model_tokenizer(back), "dA ... da\" \xc3\x89T\xc3\xa9\nx", 19,
                                tokens, 32, &count, NULL) == WCOH_OK);
    CHECK(count == 9 && memcmp(tokens, wanted, sizeof wanted) == 0);
    for (i = 4; i < 9; i++)
        length += (size_t)wcoh_decoder_next(&decoder, made, tokens[i], shown + length, 64 - length);
    CHECK(length == 18 && memcmp(shown, "da \" \xc3\xa9t\xc3\xa9 \n <unk>", 18) == 0);
    CHECK(wcoh_tokenizer_decode(made, 3, shown, 3) == 3 && memcmp(shown, " da", 3) == 0);
    CHECK(wcoh_tokenizer_longest(made) == 10); /* of "<|start|>" and the blank */
    wcoh_model_destroy(back);
    wcoh_model_destroy(model);
    wcoh_tokenizer_destroy(made);
    CHECK(wcoh_tokenizer_create(&made, &desc, "a \xff", 3, &error) == WCOH_E_FORMAT && !made);
    CHECK(wcoh_tokenizer_create(&made, &desc, "", 0, &error) == WCOH_E_DATA && !made);
    desc.least = 0; /* three times */
    desc.start = 0;
    CHECK(wcoh_tokenizer_create(&made, &desc, "b a a b b", 9, &error) == WCOH_OK);
    CHECK(wcoh_tokenizer_vocab(made) == 2 && wcoh_tokenizer_find(made, "b", 1) == 1);
    wcoh_tokenizer_destroy(made);
}

/* Case 14 of the server's acceptance list: a blank goes with the word behind it. */
static void subwords_are_within_words(void)
{
    static const char text[] = "hello world hello world hello world";
    wcoh_tokenizer_desc desc;
    wcoh_tokenizer *made = NULL;
    uint32_t tokens[8] = {0};
    char shown[16];
    size_t count = 0;
    memset(&desc, 0, sizeof desc);
    desc.kind = WCOH_TOKENIZER_SUBWORDS;
    CHECK(wcoh_tokenizer_create(&made, &desc, text, sizeof text - 1, NULL) == WCOH_OK);
    CHECK(wcoh_tokenizer_encode(made, "hello world", 11, tokens, 8, &count, NULL) == WCOH_OK);
    CHECK(count == 2 && wcoh_tokenizer_decode(made, tokens[0], shown, 16) == 5);
    CHECK(memcmp(shown, "hello", 5) == 0);
    CHECK(wcoh_tokenizer_decode(made, tokens[1], shown, 16) == 6 && !memcmp(shown, " world", 6));
    wcoh_tokenizer_destroy(made);
}

/* Every kind, with a start symbol and without, through a file. */
static void a_file_keeps_the_tokenizer(void)
{
    static unsigned char bytes[1 << 18];
    wcoh_memory_file block = {bytes, sizeof bytes, 0};
    wcoh_io io = wcoh_io_memory(&block);
    wcoh_error error;
    int kind, start;
    for (kind = WCOH_TOKENIZER_BYTES; kind <= WCOH_TOKENIZER_SUBWORDS; kind++)
        for (start = 0; start < 2; start++) {
            wcoh_tokenizer *given = tokenizer_of((wcoh_tokenizer_kind)kind, start, "mer \xc3\xa9");
            wcoh_model *model = small_model(wcoh_tokenizer_vocab(given), given), *back = NULL;
            const wcoh_tokenizer *read;
            block.used = 0;
            CHECK(wcoh_model_save(model, &io, &error) == WCOH_OK);
            CHECK_SAY(wcoh_model_load(&back, &io, NULL, &error) == WCOH_OK, "%s", error.text);
            read = wcoh_model_tokenizer(back);
            CHECK(wcoh_tokenizer_get_kind(read) == (wcoh_tokenizer_kind)kind);
            CHECK(wcoh_tokenizer_vocab(read) == wcoh_tokenizer_vocab(given));
            CHECK(wcoh_tokenizer_characters(read) == wcoh_tokenizer_characters(given));
            CHECK(wcoh_tokenizer_start(read) == wcoh_tokenizer_start(given));
            CHECK(comes_back(read, "m\xc3\xa9r", 4));
            if (kind != WCOH_TOKENIZER_CHARS) CHECK(comes_back(read, "\xff\xc3!", 3));
            wcoh_model_destroy(back);
            wcoh_model_destroy(model);
            wcoh_tokenizer_destroy(given);
        }
}

static void a_session_samples_as_wcoh_sample_does(void)
{
    enum { N = 30, HEARD = 1500 };
    static uint32_t heard[HEARD];
    wcoh_model *model = small_model(N, NULL);
    wcoh_session *session = NULL;
    wcoh_session_desc listening;
    wcoh_sample_desc desc;
    wcoh_rng rng = wcoh_rng_seed(8), a = wcoh_rng_seed(9), b = a;
    wcoh_error error;
    float scratch[2 * N];
    uint32_t token = 0, other = 0;
    int i, wrong = 0;
    if (!model) return;
    memset(&listening, 0, sizeof listening);
    memset(&desc, 0, sizeof desc);
    desc.temperature = 1.5;
    desc.repetition_penalty = 3;
    desc.repetition_window = listening.repetition_window = 1024;
    CHECK(wcoh_session_create(&session, model, &listening, &error) == WCOH_OK);
    CHECK(wcoh_session_sample(session, &desc, &a, &token, &error) == WCOH_E_DATA);
    CHECK_TEXT(error.text, "nothing was heard yet");
    for (i = 0; i < HEARD; i++) heard[i] = (uint32_t)(wcoh_rng_next(&rng) % (i < 476 ? N : 20));
    CHECK(wcoh_session_prefill(session, heard, HEARD, &error) == WCOH_OK);
    for (i = 0; i < 200; i++) { /* only the last 1,024 are remembered: tokens 20.. are forgotten */
        wrong += wcoh_session_sample(session, &desc, &a, &token, &error) != WCOH_OK;
        wrong += wcoh_sample(&desc, &b, wcoh_session_logits(session), N, heard, HEARD, scratch,
                             &other, &error) != WCOH_OK;
        wrong += token != other;
    }
    CHECK(wrong == 0);
    CHECK(wcoh_session_position(session) == HEARD);
    wcoh_session_destroy(session);
    wcoh_model_destroy(model);
}

int main(void)
{
    RUN(utf8_accepts_exactly_what_unicode_allows);
    RUN(utf8_returns_every_code_point);
    RUN(bytes_are_their_own_tokens);
    RUN(characters_are_the_alphabet_in_ascending_order);
    RUN(a_text_comes_back_whole);
    RUN(the_alphabet_makes_the_same_tokenizer);
    RUN(malformed_text_is_named_by_its_byte);
    RUN(an_unknown_character_is_named);
    RUN(encoding_measures_and_respects_capacity);
    RUN(no_text_has_no_alphabet);
    RUN(what_is_no_character_of_the_alphabet_is_spelled_in_bytes);
    RUN(characters_keep_their_tokens_where_bytes_join);
    RUN(any_bytes_come_back_from_characters_and_bytes);
    RUN(a_broken_text_still_gives_its_characters);
    RUN(a_start_symbol_is_the_last_and_no_text_has_it);
    RUN(a_decoder_shows_whole_characters);
    RUN(a_decoder_never_writes_past_its_room);
    RUN(subwords_are_learnt_and_kept);
    RUN(a_tokenizer_takes_one_block);
    RUN(a_copy_lives_in_the_arena_alone);
    RUN(filters_alone_and_together_follow_their_definitions);
    RUN(frequencies_follow_the_softmax);
    RUN(all_zero_is_greedy_and_needs_no_generator);
    RUN(a_filter_that_drops_nothing_changes_nothing);
    RUN(extreme_temperatures_stay_finite);
    RUN(what_is_not_finite_is_never_drawn);
    RUN(published_vectors_of_the_sampler);
    RUN(the_penalty_counts_each_token_once);
    RUN(the_penalty_looks_back_as_far_as_the_window);
    RUN(real_settings_out_of_range_are_named);
    RUN(whole_settings_out_of_range_are_named);
    RUN(ranges_in_sentences_are_the_ranges);
    RUN(biases_are_checked);
    RUN(missing_arguments_are_named);
    RUN(the_table_lists_every_setting);
    RUN(a_model_carries_its_own_tokenizer);
    RUN(words_are_tokens);
    RUN(subwords_are_within_words);
    RUN(a_file_keeps_the_tokenizer);
    RUN(a_session_samples_as_wcoh_sample_does);
    return test_end();
}
