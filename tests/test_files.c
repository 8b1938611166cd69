/* Files: safetensors read and written, hostile headers, damage at every bit, failures of memory and
   of the system at every call, and a process killed while it saves.
   cc -O1 -o test_files tests/test_files.c -lm -lpthread && ./test_files [KILLS] */
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* for the tests: fork, kill, setrlimit */
#endif
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"
#include "support.h"

#if defined(WCOHI_POSIX) && !defined(__EMSCRIPTEN__)
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#define TEST_PROCESSES 1
#endif

static wcoh_error error; /* what the last failing call said */
static size_t stride = 1; /* of the bytes to damage; larger where WAVECOH_TEST_SHORT is set */

/* ---- files in memory ------------------------------------------------------------------------- */

static unsigned char space[1 << 20];

static wcoh_io io_of(wcoh_memory_file *block, void *data, size_t used, size_t capacity)
{
    block->data = (unsigned char *)data;
    block->used = used;
    block->capacity = capacity;
    return wcoh_io_memory(block);
}

/* Length, header and `data` zero bytes in `space`; returns the size of the file. */
static size_t file_of(const char *header, size_t length, size_t data)
{
    wcohi_put_le(space, length, 8);
    memcpy(space + 8, header, length);
    memset(space + 8 + length, 0, data);
    return 8 + length + data;
}

/* Open a file in `space` with a counting allocator; leaves nothing behind when it fails. */
static wcoh_tensors *open_space(size_t size)
{
    static counting counter;
    static wcoh_memory_file block;
    wcoh_io io = io_of(&block, space, size, 0);
    wcoh_memory memory = counting_memory(&counter);
    wcoh_tensors *t = NULL;
    wcoh_result result;
    memset(&counter, 0, sizeof counter);
    memset(&error, 0, sizeof error);
    result = wcoh_tensors_open(&t, &io, &memory, &error);
    CHECK((result == WCOH_OK) == (t != NULL));
    CHECK(counter.live == (t ? 1 : 0));
    CHECK(counter.bytes <= 4 * size + 2048);
    if (result) CHECK(result == error.code && error.text[0]);
    return t;
}

static wcoh_tensors *open_header(const char *header, size_t data)
{
    return open_space(file_of(header, strlen(header), data));
}

/* ---- the ground: checksum and numbers -------------------------------------------------------- */

static uint64_t hash_of(const void *data, size_t size, size_t step)
{
    wcohi_hash hash;
    size_t at;
    wcohi_hash_start(&hash);
    for (at = 0; at < size; at += step)
        wcohi_hash_add(&hash, (const unsigned char *)data + at, WCOHI_MIN(step, size - at));
    return wcohi_hash_end(&hash);
}

static void checksum_is_xxh64(void)
{
    unsigned char bytes[1000];
    size_t i;
    for (i = 0; i < 1000; i++) bytes[i] = (unsigned char)i;
    CHECK(hash_of("", 0, 1) == 0xef46db3751d8e999ull);
    CHECK(hash_of("a", 1, 1) == 0xd24ec4f1a98c6e5bull);
    CHECK(hash_of("abc", 3, 3) == 0x44bc2cf5ad770999ull);
    CHECK(hash_of(bytes, 31, 31) == 0xc346d2b59b4d8ee1ull);
    CHECK(hash_of(bytes, 32, 32) == 0xcbf59c5116ff32b4ull);
    CHECK(hash_of(bytes, 33, 33) == 0x0c535d1acafb8eadull);
    for (i = 0; i < 1000; i++) bytes[i] = (unsigned char)(7 * i);
    for (i = 1; i < 100; i++) CHECK(hash_of(bytes, 1000, i) == 0x25275608a9cfc168ull);
}

static double decoded(const char *dtype, uint64_t bits)
{
    unsigned char bytes[8];
    int i = 0;
    while (strcmp(wcohi_dtypes[i].name, dtype)) i++;
    wcohi_put_le(bytes, bits, 8);
    return wcohi_decode(&wcohi_dtypes[i], bytes);
}

static void numbers_of_all_types_decode(void)
{
    CHECK(decoded("I8", 0x80) == -128 && decoded("I8", 0x7f) == 127 && decoded("I8", 0xff) == -1);
    CHECK(decoded("I16", 0x8000) == -32768 && decoded("U16", 0xffff) == 65535);
    CHECK(decoded("I32", 0x80000000u) == -2147483648.0 &&
          decoded("U32", 0xffffffffu) == 4294967295.0);
    CHECK(decoded("I64", 0x8000000000000000ull) == -9223372036854775808.0);
    CHECK(decoded("I64", 0xffffffffffffffffull) == -1);
    CHECK(decoded("U64", 0x8000000000000000ull) == 9223372036854775808.0);
    CHECK(decoded("U8", 255) == 255 && decoded("BOOL", 1) == 1);
    CHECK(decoded("F64", 0x3ff8000000000000ull) == 1.5 && decoded("F32", 0xc0200000u) == -2.5);
    CHECK(decoded("BF16", 0x3fc0) == 1.5 && decoded("BF16", 0xff7f) == -ldexp(255, 120));
    CHECK(decoded("F16", 0x3c00) == 1 && decoded("F16", 0xc000) == -2 &&
          decoded("F16", 0x7bff) == 65504);
    CHECK(decoded("F16", 0x0001) == ldexp(1, -24) && decoded("F16", 0x03ff) == ldexp(1023, -24));
    CHECK(decoded("F16", 0x0400) == ldexp(1, -14) && decoded("F16", 0x8000) == 0);
    CHECK(!wcohi_is_finite(decoded("F16", 0x7c00)) && decoded("F16", 0x7c00) > 0);
    CHECK(!wcohi_is_finite(decoded("F16", 0xfc00)) && decoded("F16", 0xfc00) < 0);
    CHECK(!wcohi_is_finite(decoded("F16", 0x7e00)) && !wcohi_is_finite(decoded("BF16", 0x7f80)));
}

static void every_half_is_the_next_after_the_one_before(void)
{
    uint64_t bits;
    for (bits = 1; bits < 0x7c00; bits++) {
        double step = ldexp(1, WCOHI_MAX((int)(bits - 1) >> 10, 1) - 25);
        CHECK(decoded("F16", bits) - decoded("F16", bits - 1) == step);
        CHECK(decoded("F16", bits | 0x8000) == -decoded("F16", bits));
    }
}

static void doubles_narrow_to_the_nearest_float(void)
{
    double huge = ldexp(33554431, 103); /* halfway between the largest float and 2^128 */
    float tenth = 0.1f;
    CHECK(wcohi_narrow(0.1) == tenth && wcohi_narrow(-1e-60) == 0);
    CHECK(wcohi_narrow((double)FLT_MAX) == FLT_MAX);
    CHECK(wcohi_narrow(nextafter(huge, 0)) == FLT_MAX);
    CHECK(!wcohi_is_finite((double)wcohi_narrow(huge)) && wcohi_narrow(huge) > 0);
    CHECK(!wcohi_is_finite((double)wcohi_narrow(-1e300)) && wcohi_narrow(-1e300) < 0);
    CHECK(!wcohi_is_finite((double)wcohi_narrow(decoded("F64", 0x7ff8000000000000ull))));
}

/* ---- headers --------------------------------------------------------------------------------- */

static void a_header_is_read(void)
{
    static const char header[] =
        " \t\r\n"
        "\"w\" : { \"shape\" : [ 2 , 3 ] , \"data_offsets\" :[ 0 , 24 ], \"dtype\":\"F32\" },"
        "\"__metadata__\":{\"key\":\"va\\\"l\\u00fc\\ud83d\\ude00\\n\\/"
        "\\\\\",\"\":\"\",\"zero\":\"a\\u0000b\"},"
        "\"scalar\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[24,32]},"
        "\"\xc3\xa9\\t\":{\"dtype\":\"I8\",\"shape\":[0,5],\"data_offsets\":[24,24]},"
        "\"four\":{\"dtype\":\"F4\",\"shape\":[2,1],\"data_offsets\":[32,33]}} \n\t ";
    char text[sizeof header + 1];
    wcoh_tensor_info info;
    float values[6];
    size_t size;
    const char *note;
    wcoh_tensors *t;
    strcpy(text, "{");
    strcat(text, header);
    t = open_header(text, 33);
    if (!CHECK_SAY(t != NULL, "%s", error.text)) return;
    CHECK(wcoh_tensors_count(t) == 4);
    CHECK(wcoh_tensors_find(t, "w") == 0 && wcoh_tensors_find(t, "\xc3\xa9\t") == 1);
    CHECK(wcoh_tensors_find(t, "scalar") == 2 && wcoh_tensors_find(t, "nothing") == -1);
    CHECK(wcoh_tensors_info(t, 0, &info, &error) == WCOH_OK);
    CHECK(strcmp(info.dtype, "F32") == 0 && info.dims == 2 && info.shape[0] == 2 &&
          info.shape[1] == 3);
    CHECK(info.count == 6 && strcmp(info.name, "w") == 0);
    CHECK(wcoh_tensors_info(t, 2, &info, &error) == WCOH_OK && info.dims == 0 && info.count == 1);
    CHECK(wcoh_tensors_info(t, 1, &info, &error) == WCOH_OK && info.count == 0 &&
          info.shape[1] == 5);
    CHECK(strcmp(wcoh_tensors_metadata(t, "key"), "va\"l\xc3\xbc\xf0\x9f\x98\x80\n/\\") == 0);
    CHECK(strcmp(wcoh_tensors_metadata(t, ""), "") == 0 && !wcoh_tensors_metadata(t, "absent"));
    note = wcohi_tensors_note(t, "zero", &size);
    CHECK(size == 3 && memcmp(note, "a\0b", 3) == 0);
    CHECK(wcoh_tensors_read(t, 0, 0, 6, values, &error) == WCOH_OK && values[5] == 0);
    CHECK(wcoh_tensors_read(t, 0, 6, 0, values, &error) == WCOH_OK);
    CHECK(wcoh_tensors_read(t, 0, 5, 2, values, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_tensors_read(t, 0, (uint64_t)-1, 2, values, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_tensors_read(t, 4, 0, 1, values, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_tensors_read(t, -1, 0, 1, values, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_tensors_info(t, 4, &info, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_tensors_read(t, 3, 0, 1, values, &error) == WCOH_E_UNSUPPORTED);
    wcoh_tensors_close(t);
    wcoh_tensors_close(NULL);
    t = open_header("{}", 0);
    CHECK(t && wcoh_tensors_count(t) == 0);
    wcoh_tensors_close(t);
}

#define W "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
#define T(dtype, shape, offsets)                                                                   \
    "{\"w\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}}"

/* Hand-made by name: each is refused with the sentence that holds `says`. */
static const struct {
    const char *name, *header;
    size_t data;
    const char *says;
} hostile[] = {
    {"no brace", "[]", 0, "expected '{'"},
    {"text before the brace", " x{}", 0, "expected '{'"},
    {"nothing after the brace", "{ ", 0, "expected '\"'"},
    {"two headers", "{}{}", 0, "after the end"},
    {"a zero byte after the end", "{}\\", 0, "after the end"},
    {"trailing comma", "{" W ",}", 8, "expected '\"'"},
    {"missing comma", "{" W W "}", 8, "expected '}'"},
    {"missing colon", "{\"w\" 1}", 0, "expected ':'"},
    {"tensor is a number", "{\"w\":1}", 0, "expected '{'"},
    {"tensor is a list", "{\"w\":[]}", 0, "expected '{'"},
    {"nested a thousand deep", NULL, 0, "nested too deep"},
    {"open string", "{\"w", 0, "does not end"},
    {"open escape", "{\"w\\", 0, "unknown escape"},
    {"unknown escape", "{\"\\x\":1}", 0, "unknown escape"},
    {"short hex escape", "{\"\\u12\":1}", 0, "four hexadecimal"},
    {"hex escape at the end", "{\"\\u12", 0, "four hexadecimal"},
    {"signed hex escape", "{\"\\u-123\":1}", 0, "four hexadecimal"},
    {"lone high surrogate", "{\"\\ud800\":1}", 0, "surrogate"},
    {"lone low surrogate", "{\"\\udc00\":1}", 0, "surrogate"},
    {"two high surrogates", "{\"\\ud800\\ud800\":1}", 0, "surrogate"},
    {"high surrogate at the end", "{\"\\ud800", 0, "surrogate"},
    {"raw control character", "{\"a\nb\":1}", 0, "control character"},
    {"bad UTF-8", "{\"\xff\":1}", 0, "not UTF-8"},
    {"overlong UTF-8", "{\"\xc0\x80\":1}", 0, "not UTF-8"},
    {"cut UTF-8", "{\"\xe2\x82", 0, "not UTF-8"},
    {"UTF-8 surrogate", "{\"\xed\xa0\x80\":1}", 0, "not UTF-8"},
    {"zero in a name", "{\"a\\u0000b\":1}", 0, "zero character"},
    {"metadata is a list", "{\"__metadata__\":[]}", 0, "expected '{'"},
    {"metadata are half of null", "{\"__metadata__\":nul}", 0, "expected a value"},
    {"metadata are true", "{\"__metadata__\":true}", 0, "expected '{'"},
    {"metadata value is a number", "{\"__metadata__\":{\"a\":1}}", 0, "expected '\"'"},
    {"metadata value is null", "{\"__metadata__\":{\"a\":null}}", 0, "expected '\"'"},
    {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice"},
    {"metadata key twice", "{\"__metadata__\":{\"a\":\"\",\"b\":\"\",\"a\":\"\"}}", 0, "a twice"},
    {"the same key by an escape", "{\"__metadata__\":{\"a\":\"\",\"\\u0061\":\"\"}}", 0, "a twice"},
    {"tensor twice", "{" W ",\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", 16,
     "two tensors are named w"},
    {"no members", "{\"w\":{}}", 0, "expected '\"'"},
    {"no dtype", "{\"w\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "needs dtype"},
    {"no shape", "{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "needs dtype"},
    {"no offsets", "{\"w\":{\"dtype\":\"F32\",\"shape\":[0]}}", 0, "needs dtype"},
    {"dtype twice", "{\"w\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[0]}}", 0, "key twice"},
    {"unknown member alone", "{\"w\":{\"x\":[0,0]}}", 0, "needs dtype"},
    {"unknown member without a value", "{\"w\":{\"x\":}}", 0, "expected a value"},
    {"unknown member with half a word", "{\"w\":{\"x\":tru}}", 0, "expected a value"},
    {"unknown member with a word too long", "{\"w\":{\"x\":nulls}}", 0, "expected '}'"},
    {"unknown member with a leading zero", "{\"w\":{\"x\":01}}", 0, "expected a value"},
    {"unknown member with no digits", "{\"w\":{\"x\":-}}", 0, "expected a value"},
    {"unknown member with a bare point", "{\"w\":{\"x\":1.}}", 0, "expected a value"},
    {"unknown member with a bare exponent", "{\"w\":{\"x\":1e+}}", 0, "expected a value"},
    {"unknown member, open list", "{\"w\":{\"x\":[1,2}}", 0, "expected ']'"},
    {"unknown member, open object", "{\"w\":{\"x\":{\"y\":1]}}", 0, "expected '}'"},
    {"unknown member, key without value", "{\"w\":{\"x\":{\"y\"}}}", 0, "expected ':'"},
    {"dtype is a number", "{\"w\":{\"dtype\":32}}", 0, "expected '\"'"},
    {"shape is a number", "{\"w\":{\"dtype\":\"F32\",\"shape\":2}}", 0, "expected '['"},
    {"negative size", T("F32", "-2", "0,8"), 8, "whole number"},
    {"size with a fraction", T("F32", "2.0", "0,8"), 8, "expected ']'"},
    {"size with an exponent", T("F32", "2e0", "0,8"), 8, "expected ']'"},
    {"size with a leading zero", T("F32", "02", "0,8"), 8, "whole number"},
    {"size with a plus", T("F32", "+2", "0,8"), 8, "whole number"},
    {"size as text", T("F32", "\"2\"", "0,8"), 8, "whole number"},
    {"empty place in a shape", T("F32", "2,,1", "0,8"), 8, "whole number"},
    {"size of 65 bits", T("F32", "18446744073709551616", "0,8"), 8, "64 bits"},
    {"nine dimensions", T("F32", "2,1,1,1,1,1,1,1,1", "0,8"), 8, "too many"},
    {"shape product wraps to 2", T("F32", "9223372036854775809,2", "0,8"), 8, "64 bits"},
    {"shape product wraps to 0", T("F32", "4294967296,4294967296", "0,0"), 0, "64 bits"},
    {"bytes of the shape wrap", T("F32", "4611686018427387904", "0,0"), 0, "do not give"},
    {"shape larger than the data", T("F32", "3", "0,8"), 8, "do not give"},
    {"shape smaller than the data", T("F32", "1", "0,8"), 8, "do not give"},
    {"type larger than the data", T("F64", "2", "0,8"), 8, "do not give"},
    {"half a byte", T("F4", "1", "0,1"), 1, "do not give"},
    {"one offset", T("F32", "2", "8"), 8, "two numbers"},
    {"three offsets", T("F32", "2", "0,8,8"), 8, "too many"},
    {"ends before it begins", T("F32", "2", "8,0"), 8, "end before they begin"},
    {"ends before it begins by 2^64", T("F32", "2", "18446744073709551608,0"), 8,
     "before they begin"},
    {"ends past the file", T("F32", "2", "0,8"), 7, "cut short"},
    {"ends far past the file", T("U8", "18446744073709551615", "0,18446744073709551615"), 8,
     "cut short"},
    {"hole before", T("F32", "2", "4,12"), 12, "hole"},
    {"bytes left over", T("F32", "2", "0,8"), 9, "belong to no tensor"},
    {"bytes without a tensor", "{}", 1, "belong to no tensor"},
    {"overlap", "{" W ",\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12,
     "overlap"},
    {"the same bytes twice",
     "{" W ",\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "overlap"},
    {"hole between", "{" W ",\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}}", 20,
     "hole"},
    {"empty tensor inside another",
     "{" W ",\"x\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]}}", 8, "overlap"},
    {"checksum too short", "{\"__metadata__\":{\"wavecoh.checksum\":\"123\"}}", 0,
     "16 hexadecimal"},
    {"checksum by an escape",
     "{\"__metadata__\":{\"wavecoh.checksum\":\"012345678901234\\u0030\"}}", 0, "16 hexadecimal"},
    {"checksum wrong", "{\"__metadata__\":{\"wavecoh.checksum\":\"0123456789012345\"}}", 0,
     "remove the metadata key wavecoh.checksum"},
};

static void hostile_headers_are_refused(void)
{
    char deep[1100];
    size_t i, k;
    for (i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        const char *header = hostile[i].header;
        wcoh_tensors *t;
        if (!header) {
            for (k = 0; k < 1000; k += 4) memcpy(deep + k, "{\"\":", 4);
            deep[k] = 0;
            header = deep;
        }
        t = open_header(header, hostile[i].data);
        CHECK_SAY(t == NULL, "%s: accepted", hostile[i].name);
        CHECK_SAY(error.code == WCOH_E_FORMAT && strstr(error.text, hostile[i].says),
                  "%s: \"%s\" (%d)", hostile[i].name, error.text, (int)error.code);
        wcoh_tensors_close(t);
    }
}

/* What Python's package reads is read, though this library writes none of it. */
static void headers_of_other_writers_are_read(void)
{
    static const char *const headers[] = {
        " \r\n\t{" W "}",
        "{" W "}  \n ",
        "{\"__metadata__\":null," W "}",
        "{" W ",\"__metadata__\": null }",
        "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"x\":[0,0],\"data_offsets\":[0,8]}}",
        ("{\"w\":{\"a\":{\"dtype\":[{}, [] ,-0.5e+3,true]},\"dtype\":\"F32\",\"shape\":[2],"
         "\"data_offsets\":[0,8],\"b\":\"}\",\"c\":null,\"d\":false , \"e\":0}}"),
    };
    size_t i;
    for (i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        wcoh_tensors *t = open_header(headers[i], 8);
        float values[2];
        if (!CHECK_SAY(t != NULL, "%s: %s", headers[i], error.text)) continue;
        CHECK(wcoh_tensors_count(t) == 1 && !wcoh_tensors_metadata(t, "key"));
        CHECK(wcoh_tensors_read(t, wcoh_tensors_find(t, "w"), 0, 2, values, &error) == WCOH_OK);
        wcoh_tensors_close(t);
    }
}

/* A tensor of a type that is not known does not hide its neighbours; it is refused by name. */
static void unknown_types_are_refused_alone(void)
{
    static const char *const types[] = {
        "F31", "f32", "F32\\u0000", "", "C64", "A_TYPE_OF_TOMORROW", "no\\u001bpe"};
    static const char *const shown[] = {"F31", "f32", "F32", "", "C64", "A_TYPE_OF_TO...", "no?pe"};
    char header[300];
    size_t i;
    for (i = 0; i < sizeof types / sizeof types[0]; i++) {
        float values[2];
        wcoh_tensor_info info;
        wcoh_tensors *t;
        sprintf(header,
                "{\"odd\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[0,8]},"
                "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
                types[i]);
        t = open_header(header, 16);
        if (!CHECK_SAY(t != NULL, "%s: %s", types[i], error.text)) continue;
        CHECK(wcoh_tensors_info(t, 0, &info, &error) == WCOH_OK && info.count == 1);
        CHECK_SAY(strcmp(info.dtype, shown[i]) == 0, "%s is shown as %s", types[i], info.dtype);
        CHECK(wcoh_tensors_read(t, 0, 0, 1, values, &error) == WCOH_E_UNSUPPORTED);
        CHECK_TEXT(error.text, "odd: numbers of type");
        CHECK(wcoh_tensors_read(t, 0, 0, 0, values, &error) == WCOH_E_UNSUPPORTED);
        CHECK(wcoh_tensors_read(t, 1, 0, 2, values, &error) == WCOH_OK && values[1] == 0);
        wcoh_tensors_close(t);
    }
}

static void names_in_sentences_are_harmless(void)
{
    char header[400];
    float value;
    const char *c;
    wcoh_tensors *t;
    strcpy(header, "{\"\\u001b[2J\\u007f");
    for (c = "0123456789"; *c; c++) strcat(header, "0123456\xe2\x82\xac");
    strcat(header, "\":{\"dtype\":\"no\\u001bpe\",\"shape\":[],\"data_offsets\":[0,0]}}");
    t = open_header(header, 0);
    if (!CHECK_SAY(t != NULL, "%s", error.text)) return;
    CHECK(wcoh_tensors_read(t, 0, 0, 1, &value, &error) == WCOH_E_UNSUPPORTED);
    wcoh_tensors_close(t);
    for (c = error.text; *c; c++) CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
    CHECK_TEXT(error.text, "...");
    for (c = error.text; *c;) { /* not cut inside a character */
        uint32_t point;
        int length = wcohi_utf8_read(c, strlen(c), &point);
        if (!CHECK(length > 0)) break;
        c += length;
    }
}

static void sizes_before_the_header_are_checked(void)
{
    static const uint64_t claims[] = {0, 1, 3, 9, 100000001, 1ull << 32, 1ull << 63, UINT64_MAX,
                                      UINT64_MAX - 7};
    size_t i;
    for (i = 0; i < 10; i++) {
        memset(space, 0, 10);
        CHECK(!open_space(i));
        CHECK_TEXT(error.text, "only");
    }
    for (i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        size_t size = file_of("{}", 2, 0);
        wcohi_put_le(space, claims[i], 8);
        CHECK(!open_space(size));
        CHECK(error.code == WCOH_E_FORMAT);
        if (claims[i] >= 2 && claims[i] <= WCOHI_HEADER_MAX)
            CHECK_TEXT(error.text, "not a safetensors file, or cut short");
        if (claims[i] > WCOHI_HEADER_MAX)
            CHECK_TEXT(error.text, "begins like none of npy, safetensors");
    }
}

/* 3,000 tensors in a shuffled order, some empty: sorted, found, read. */
static void many_tensors_are_found(void)
{
    enum { N = 3000 };
    static char header[N * 80];
    static int order[N];
    wcoh_rng rng = wcoh_rng_seed(5);
    size_t used = 1;
    int i;
    wcoh_tensors *t;
    char name[16];
    for (i = 0; i < N; i++) order[i] = i;
    for (i = N - 1; i > 0; i--) {
        int k = (int)wcohi_rng_below(&rng, (uint64_t)i + 1), swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
    header[0] = '{';
    for (i = 0; i < N; i++) /* number n has n % 2 bytes */
        used += (size_t)sprintf(
            header + used, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[%d],\"data_offsets\":[%d,%d]}",
            i ? "," : "", order[i], order[i] % 2, order[i] / 2, (order[i] + 1) / 2);
    strcpy(header + used, "}");
    t = open_header(header, N / 2);
    if (!CHECK_SAY(t != NULL, "%s", error.text)) return;
    for (i = 0; i < N / 2; i++) space[8 + strlen(header) + (size_t)i] = (unsigned char)(i * 7);
    CHECK(wcoh_tensors_count(t) == N);
    for (i = 0; i < N; i++) {
        float value = -1;
        int index;
        sprintf(name, "t%d", i);
        index = wcoh_tensors_find(t, name);
        if (!CHECK(index >= 0)) break;
        CHECK(wcoh_tensors_read(t, index, 0, (size_t)i % 2, &value, &error) == WCOH_OK);
        CHECK(value == (i % 2 ? (float)((i / 2 * 7) & 255) : -1));
    }
    wcoh_tensors_close(t);
}

/* ---- the io table fails ---------------------------------------------------------------------- */

typedef struct faulty {
    wcoh_io base;
    long calls, fail_at; /* that call fails, and if `dead` all after it */
    int dead, finishes, kept;
} faulty;

static int faulty_now(faulty *f)
{
    long call = ++f->calls;
    return f->fail_at && (call == f->fail_at || (f->dead && call > f->fail_at));
}
static int faulty_size(void *user, uint64_t *bytes)
{
    faulty *f = (faulty *)user;
    return faulty_now(f) ? 1 : f->base.size(f->base.user, bytes);
}
static int faulty_read(void *user, uint64_t offset, void *data, size_t size)
{
    faulty *f = (faulty *)user;
    return faulty_now(f) ? 1 : f->base.read(f->base.user, offset, data, size);
}
static int faulty_write(void *user, const void *data, size_t size)
{
    faulty *f = (faulty *)user;
    return faulty_now(f) ? 1 : f->base.write(f->base.user, data, size);
}
static int faulty_finish(void *user, int keep)
{
    faulty *f = (faulty *)user;
    int fails = keep && faulty_now(f);
    f->finishes++;
    f->kept = keep && !fails;
    f->base.finish(f->base.user, f->kept);
    return fails;
}
static wcoh_io faulty_io(faulty *f, wcoh_io base, long fail_at)
{
    wcoh_io io;
    memset(f, 0, sizeof *f);
    f->base = base;
    f->fail_at = fail_at;
    io.user = f;
    io.size = faulty_size;
    io.read = faulty_read;
    io.write = faulty_write;
    io.finish = faulty_finish;
    return io;
}

/* ---- models ---------------------------------------------------------------------------------- */

#define SMALL "vocab=5 bands=2 heads=1 layers=1 maestro=1 context=8"

static wcoh_model *small_model(const char *settings, uint64_t seed)
{
    wcoh_model_desc desc = model_desc_of(settings);
    wcoh_model *model = model_of(&desc);
    if (model) randomise(model, seed);
    return model;
}

/* A block of `capacity` to save into .. */
static wcoh_io io_of_room(wcoh_memory_file *block, size_t capacity)
{
    return io_of(block, malloc(capacity), 0, capacity);
}

/* .. and the file that `result` tells of in it, which must fill it; free it. */
static unsigned char *file_in(const wcoh_memory_file *block, wcoh_result result, size_t *size)
{
    CHECK_SAY(result == WCOH_OK, "%s", error.text);
    CHECK(block->used == block->capacity);
    *size = block->used;
    return block->data;
}

/* A copy of a file to load, of exactly its size (so that ASan sees every overrun) .. */
static wcoh_io io_of_copy(wcoh_memory_file *block, const void *file, size_t size)
{
    unsigned char *copy = (unsigned char *)malloc(size ? size : 1);
    memcpy(copy, file, size);
    return io_of(block, copy, size, 0);
}

/* .. which goes when it has been loaded with `result`. */
static wcoh_result loaded(const wcoh_memory_file *block, wcoh_result result)
{
    free(block->data);
    return result;
}

static unsigned char *saved(const wcoh_model *model, size_t *size)
{
    wcoh_memory_file block;
    wcoh_io io = io_of_room(&block, wcoh_model_file_size(model));
    return file_in(&block, wcoh_model_save(model, &io, &error), size);
}

static wcoh_result load(wcoh_model **model, const void *file, size_t size)
{
    wcoh_memory_file block;
    wcoh_io io = io_of_copy(&block, file, size);
    return loaded(&block, wcoh_model_load(model, &io, NULL, &error));
}

static wcoh_result read_into(wcoh_model *model, const void *file, size_t size)
{
    wcoh_memory_file block;
    wcoh_io io = io_of_copy(&block, file, size);
    return loaded(&block, wcoh_model_read(model, &io, &error));
}

/* The same settings, tokenizer and parameters, to the bit. */
static int same_model(const wcoh_model *a, const wcoh_model *b)
{
    char x[64], y[64];
    int i, count;
    const wcoh_field *fields = wcoh_fields(WCOH_DESC_MODEL, &count);
    const wcoh_tokenizer *s = wcoh_model_tokenizer(a), *t = wcoh_model_tokenizer(b);
    for (i = 0; i < count; i++) {
        wcoh_field_get(WCOH_DESC_MODEL, wcoh_model_get_desc(a), fields[i].name, x, sizeof x);
        wcoh_field_get(WCOH_DESC_MODEL, wcoh_model_get_desc(b), fields[i].name, y, sizeof y);
        if (strcmp(x, y)) return 0;
    }
    if (!s != !t || wcoh_model_param_count(a) != wcoh_model_param_count(b)) return 0;
    if (s && (wcoh_tokenizer_get_kind(s) != wcoh_tokenizer_get_kind(t) ||
              wcoh_tokenizer_vocab(s) != wcoh_tokenizer_vocab(t)))
        return 0;
    for (i = 0; s && i < wcoh_tokenizer_vocab(s); i++) {
        char p[4], q[4];
        int n = wcoh_tokenizer_decode(s, (uint32_t)i, p, 4);
        if (wcoh_tokenizer_decode(t, (uint32_t)i, q, 4) != n || memcmp(p, q, (size_t)n)) return 0;
    }
    return same_parameters(a, b);
}

static wcoh_real *param_data(wcoh_model *model, const char *name)
{
    wcoh_param p;
    if (!CHECK_SAY(wcoh_model_param(model, wcoh_model_param_find(model, name), &p, NULL) == WCOH_OK,
                   "no %s", name))
        exit(1);
    return p.data;
}

static void a_model_comes_back(void)
{
    static const char *const settings[] = {
        SMALL,
        SMALL " head=tied embedding=random embedding_trained=on",
        SMALL " attention=frozen solver=perturbative corrector=on",
        SMALL " attention=rotary ffn=mlp position=learned block=sequential",
        SMALL " attention=dot,coherence,shared layers=4 ffn=mlp,kerr,kerr",
        SMALL " attention=shared groups=2 head=low_rank head_rank=2 offset=0.1",
        "vocab=300 bands=4 heads=2 layers=2 embedding=circles seed=18446744073709551615 gain=0.3",
        "vocab=2 bands=1 heads=1 layers=1 maestro=1 lr",
    };
    size_t i, size, again;
    for (i = 0; i + 1 < sizeof settings / sizeof settings[0]; i++) {
        wcoh_model *model = small_model(settings[i], 3), *back = NULL;
        unsigned char *file, *file_again;
        if (!model) continue;
        file = saved(model, &size);
        CHECK_SAY(load(&back, file, size) == WCOH_OK, "%s: %s", settings[i], error.text);
        if (back) {
            CHECK_SAY(same_model(model, back), "%s", settings[i]);
            file_again = saved(back, &again);
            CHECK(size == again && memcmp(file, file_again, size) == 0);
            free(file_again);
        }
        CHECK(size % 8 == 0 || i == i); /* the header is padded, the data need not be */
        CHECK(wcohi_get_le(file, 8) % 8 == 0);
        free(file);
        wcoh_model_destroy(model);
        wcoh_model_destroy(back);
    }
}

static void a_tokenizer_travels_with_its_model(void)
{
    static const struct {
        const char *text;
        size_t size;
    } alphabets[] = {
        {"hello", 5},
        {"\0a\1\n\t\x1f\"\\/\x7f", 10},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 \xef\xbf\xbf", 13},
        {"x", 1},
    };
    size_t i, size;
    for (i = 0; i <= sizeof alphabets / sizeof alphabets[0]; i++) {
        int bytes = i == sizeof alphabets / sizeof alphabets[0];
        wcoh_tokenizer *tokenizer = NULL;
        wcoh_model_desc desc = model_desc_of(SMALL);
        wcoh_model *model, *back = NULL;
        unsigned char *file;
        if (bytes) CHECK(wcoh_tokenizer_create_bytes(&tokenizer, NULL, &error) == WCOH_OK);
        else
            CHECK(wcoh_tokenizer_create_chars(&tokenizer, alphabets[i].text, alphabets[i].size,
                                              NULL, &error) == WCOH_OK);
        desc.tokenizer = tokenizer;
        desc.vocab = WCOHI_MAX(wcoh_tokenizer_vocab(tokenizer), 2);
        model = model_of(&desc);
        wcoh_tokenizer_destroy(tokenizer);
        if (!model) continue;
        file = saved(model, &size);
        CHECK_SAY(load(&back, file, size) == WCOH_OK, "%s", error.text);
        CHECK(back && wcoh_model_tokenizer(back) && same_model(model, back));
        free(file);
        wcoh_model_destroy(model);
        wcoh_model_destroy(back);
    }
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* An error, or the identical model; and wcoh_model_read changes nothing when it fails. */
static int damage_is_noticed(const unsigned char *file, size_t size, const wcoh_model *original,
                             wcoh_model *other, const wcoh_model *other_before)
{
    wcoh_model *model = NULL;
    wcoh_result result = load(&model, file, size);
    int good = result ? model == NULL && error.code == result && error.text[0]
                      : same_model(model, original);
    if (result) good = good && read_into(other, file, size) && same_model(other, other_before);
    wcoh_model_destroy(model);
    return good;
}

static void every_truncation_and_every_flipped_bit_is_noticed(void)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_model_desc desc = model_desc_of(SMALL);
    wcoh_model *model, *other = small_model(SMALL, 8), *before = small_model(SMALL, 8);
    unsigned char *file;
    size_t size, i;
    int bit, bad = 0;
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, "a\"\xc3\xa9\n ", 6, NULL, &error) == WCOH_OK);
    desc.tokenizer = tokenizer;
    model = model_of(&desc);
    wcoh_tokenizer_destroy(tokenizer);
    randomise(model, 1);
    file = saved(model, &size);
    for (i = 0; i < size; i += stride) bad += !damage_is_noticed(file, i, model, other, before);
    CHECK_SAY(bad == 0, "%d truncations of %d went unnoticed", bad, (int)size);
    for (i = 0; i < size; i += stride)
        for (bit = 0; bit < 8; bit++) {
            file[i] ^= (unsigned char)(1 << bit);
            if (!damage_is_noticed(file, size, model, other, before))
                CHECK_SAY(bad++ > 5, "byte %d bit %d went unnoticed", (int)i, bit);
            file[i] ^= (unsigned char)(1 << bit);
        }
    CHECK_SAY(bad == 0, "%d bits of %d bytes went unnoticed", bad, (int)size);
    file = (unsigned char *)realloc(file, size + 1);
    file[size] = 0;
    CHECK(damage_is_noticed(file, size + 1, model, other, before));
    free(file);
    wcoh_model_destroy(model);
    wcoh_model_destroy(other);
    wcoh_model_destroy(before);
}

/* Replace text in a file by text of the same length. */
static int edit(unsigned char *file, size_t size, const char *from, const char *to)
{
    size_t i, length = strlen(from);
    if (!CHECK(length == strlen(to))) return 0;
    for (i = 0; i + length <= size; i++)
        if (memcmp(file + i, from, length) == 0) {
            memcpy(file + i, to, length);
            return 1;
        }
    return CHECK_SAY(0, "the file has no %s", from);
}

/* Make an edited file valid again as its user would: by removing the checksum's key. */
static void unseal(unsigned char *file, size_t size)
{
    edit(file, size, "\"wavecoh.checksum\"", "\"wavecoh.checkold\"");
}

/* Without the checksum a flipped bit may give another model, but never a crash or one that cannot
   be saved and loaded again. */
static void unsealed_damage_does_no_harm(void)
{
    wcoh_model *model = small_model(SMALL, 1);
    unsigned char *file, *again;
    size_t size, other, i;
    int bit, loaded = 0;
    file = saved(model, &size);
    unseal(file, size);
    for (i = 0; i < size; i += stride)
        for (bit = 0; bit < 8; bit++) {
            wcoh_model *back = NULL, *twice = NULL;
            file[i] ^= (unsigned char)(1 << bit);
            if (load(&back, file, size) == WCOH_OK) {
                loaded++;
                again = saved(back, &other);
                CHECK(load(&twice, again, other) == WCOH_OK && same_model(back, twice));
                free(again);
            }
            wcoh_model_destroy(back);
            wcoh_model_destroy(twice);
            file[i] ^= (unsigned char)(1 << bit);
        }
    CHECK(loaded > (int)(100 / stride)); /* bits of parameters */
    free(file);
    wcoh_model_destroy(model);
}

static void edits_are_understood(void)
{
    static const struct {
        const char *from, *to, *says;
        wcoh_result result;
    } edits[] = {
        {"\"tokenizer.kind\":\"chars\"", "\"tokenizer.kind\":\"runes\"", "tokenizer",
         WCOH_E_FORMAT},
        {"\"tokenizer.alphabet\"", "\"tokenizer.alphabat\"", "tokenizer", WCOH_E_FORMAT},
        {"\"tokenizer.alphabet\":\"abc\"", "\"tokenizer.alphabet\":\"\"   ", "alphabet",
         WCOH_E_FORMAT},
        {"\"model.bands\":\"2\"", "\"model.bands\":\"3\"", "expected [", WCOH_E_MISMATCH},
        {"\"model.layers\":\"1\"", "\"model.layers\":\"2\"", "blocks.1.", WCOH_E_MISMATCH},
        {"\"model.layers\":\"1\"", "\"model.layers\":\"x\"", "model.layers in the file",
         WCOH_E_FORMAT},
        {"\"model.bands\":\"2\"", "\"model.bandz\":\"2\"", "model.bandz", WCOH_E_FORMAT},
        {"\"model.embedding\":\"harmonic\"", "\"model.embedding\":\"\\u001b[m\"",
         "embedding is \"?[m\"", WCOH_E_FORMAT},
        {"\"model.vocab\":\"5\"", "\"madel.vocab\":\"5\"", "vocab is 0", WCOH_E_FORMAT},
        {"\"model.vocab\":\"5\"", "\"model.vocab\":\"1\"", "vocab", WCOH_E_FORMAT},
        {"\"wavecoh.format\":\"1\"", "\"wavecoh.format\":\"2\"", "format 2", WCOH_E_FORMAT},
        {"\"wavecoh.format\":\"1\"", "\"wavecoh.farmat\":\"1\"", "no settings", WCOH_E_MISMATCH},
        {"\"wavecoh.kind\":\"model\"", "\"wavecoh.kind\":\"tiger\"", "holds a tiger",
         WCOH_E_MISMATCH},
        {"\"norm_f.bias\"", "\"norm_f.bial\"", "norm_f.bias is not in the file", WCOH_E_MISMATCH},
        {"\"norm_f.bias\"", "\"adam.fbiass\"", "norm_f.bias is not in the file", WCOH_E_MISMATCH},
        {"\"norm_f.bias\":{\"dtype\":\"F32\"", "\"norm_f.bias\":{\"dtype\":\"I32\"",
         "the file has I32", WCOH_E_MISMATCH},
    };
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_model_desc desc = model_desc_of(SMALL);
    wcoh_model *model, *back = NULL;
    size_t i, size;
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, "cab", 3, NULL, &error) == WCOH_OK);
    desc.tokenizer = tokenizer;
    model = model_of(&desc);
    wcoh_tokenizer_destroy(tokenizer);
    for (i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        unsigned char *file = saved(model, &size);
        if (sizeof(wcoh_real) == 4 || !strstr(edits[i].from, "F32")) {
            edit(file, size, edits[i].from, edits[i].to);
            CHECK(load(&back, file, size) == WCOH_E_FORMAT && back == NULL);
            CHECK_TEXT(error.text, "remove the metadata key wavecoh.checksum");
            unseal(file, size);
            CHECK_SAY(load(&back, file, size) == edits[i].result && back == NULL, "%s: %s",
                      edits[i].to, error.text);
            CHECK_TEXT(error.text, edits[i].says);
        }
        free(file);
    }
    wcoh_model_destroy(model);
}

static void a_giant_in_a_small_file_takes_no_memory(void)
{
    static const char *const giants[] = {
        "{\"__metadata__\":{\"wavecoh.format\":\"1\",\"wavecoh.kind\":\"model\",\"model.vocab\":"
        "\"1000000\"}}",
        "{\"__metadata__\":{\"wavecoh.format\":\"1\",\"wavecoh.kind\":\"model\",\"model.vocab\":"
        "\"2\","
        "\"model.bands\":\"60000\",\"model.layers\":\"500\"}}",
    };
    counting counter = {0, 0, 0, 0};
    wcoh_memory memory = counting_memory(&counter);
    size_t i;
    for (i = 0; i < sizeof giants / sizeof giants[0]; i++) {
        wcoh_memory_file block;
        wcoh_io io = io_of(&block, space, file_of(giants[i], strlen(giants[i]), 0), 0);
        wcoh_model *model = NULL;
        wcoh_result result = wcoh_model_load(&model, &io, &memory, &error);
        CHECK_SAY(result == WCOH_E_FORMAT || result == WCOH_E_MEMORY, "%s", error.text);
        CHECK(model == NULL && counter.live == 0 && counter.bytes < 65536);
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

static void bad_values_are_neither_saved_nor_loaded(void)
{
    static const struct {
        const char *name, *says;
        double value;
        int good;
        const char *settings;
    } values[] = {
        {"norm_f.weight", "norm_f.weight: number 0 is inf", 0 /* infinity */, 0, SMALL},
        {"blocks.0.attn.gain_raw", "it must be at most 12 as a gain", 12.5, 0, SMALL},
        {"blocks.0.attn.gain_raw", "", 11.9999938557, 1, SMALL}, /* softplus: 12 */
        {"blocks.0.attn.gain_raw", "", -500, 1, SMALL},
        {"blocks.0.attn.gain_raw", "it must be at most 6 as a gain beside overtones", 6.5, 0,
         SMALL " overtones=1"},
        {"blocks.0.attn.gain_raw", "", 5.9975180, 1, SMALL " overtones=1"}, /* softplus: 6 */
        {"blocks.0.attn.damping_raw", "", 1e30, 1, SMALL},
    };
    wcoh_model *model, *back = NULL;
    wcoh_memory_file block;
    size_t i, size;
    for (i = 0; i < sizeof values / sizeof values[0]; i++) {
        unsigned char *file;
        wcoh_real *data;
        wcoh_io io = io_of(&block, space, 0, sizeof space);
        wcoh_real value = (wcoh_real)values[i].value;
        if (values[i].value == 0) value = (wcoh_real)wcohi_bits_double(0x7ff0000000000000ull);
        model = small_model(values[i].settings, 1);
        data = param_data(model, values[i].name);
        data[0] = (wcoh_real)1.25; /* is found again in the file by its bits */
        file = saved(model, &size);
        data[0] = value;
        if (values[i].good)
            CHECK_SAY(wcoh_model_save(model, &io, &error) == WCOH_OK, "%s", error.text);
        else {
            CHECK(wcoh_model_save(model, &io, &error) == WCOH_E_NUMERIC && block.used == 0);
            CHECK_TEXT(error.text, values[i].says);
        }
        {
            wcoh_real mark = (wcoh_real)1.25;
            size_t at;
            for (at = size - sizeof mark; at > 0 && memcmp(file + at, &mark, sizeof mark);) at--;
            if (wcohi_little_endian() && CHECK(at > 0)) {
                unseal(file, size);
                memcpy(file + at, &value, sizeof value);
                CHECK((load(&back, file, size) == WCOH_OK) == values[i].good);
                if (!values[i].good) CHECK_TEXT(error.text, values[i].says);
                wcoh_model_destroy(back);
            }
        }
        free(file);
        wcoh_model_destroy(model);
    }
}

/* ---- files of others ------------------------------------------------------------------------- */

/* A file as another program writes it: no metadata of ours, numbers of one type (an index into
   wcohi_dtypes), order reversed, plus an empty tensor `extra` (NULL: none). */
static size_t foreign_file(const wcoh_model *model, int dtype, const char *extra, int leave_out)
{
    static char header[1 << 16];
    static unsigned char data[1 << 18];
    size_t used = 1, at = 0, i, width = wcohi_dtypes[dtype].bits / 8u;
    int index, k;
    strcpy(header, "{");
    for (index = wcoh_model_param_count(model) - 1; index >= 0; index--) {
        wcoh_param p;
        size_t begin = at;
        if (index == leave_out) continue;
        wcoh_model_param(model, index, &p, NULL);
        for (i = 0; i < p.count; i++, at += width) {
            double value = (double)p.data[i];
            float narrow = (float)value;
            uint64_t bits = 0;
            uint32_t bits32;
            memcpy(&bits, &value, 8);
            memcpy(&bits32, &narrow, 4);
            if (width == 4) bits = bits32;
            if (strcmp(wcohi_dtypes[dtype].name, "BF16") == 0) bits = bits32 >> 16;
            if (strcmp(wcohi_dtypes[dtype].name, "F16") == 0) { /* truncated to half; small: zero */
                int exponent = (int)(bits32 >> 23 & 255) - 127 + 15;
                bits = (bits32 >> 16 & 0x8000) |
                       (exponent > 0 ? (uint32_t)exponent << 10 | (bits32 >> 13 & 0x3ff) : 0);
            }
            wcohi_put_le(data + at, bits, (int)width);
        }
        used += (size_t)sprintf(header + used, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
                                used > 1 ? "," : "", p.name, wcohi_dtypes[dtype].name);
        for (k = 0; k < p.dims && !(p.count == 1 && p.dims == 1); k++)
            used += (size_t)sprintf(header + used, "%s%d", k ? "," : "", p.shape[k]);
        used += (size_t)sprintf(header + used, "],\"data_offsets\":[%d,%d]}", (int)begin, (int)at);
    }
    if (extra)
        used += (size_t)sprintf(header + used,
                                ",\"%s\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[0,0]}",
                                extra);
    strcpy(header + used, "}");
    used = file_of(header, used + 1, at);
    memcpy(space + used - at, data, at);
    return used;
}

static void files_of_other_programs_load(void)
{
    static const struct {
        int dtype;
        double tolerance;
    } types[] = {{WCOHI_OF_F64, 0}, {WCOHI_OF_F32, 1e-7}, {4, 1.0 / 1024}, {5, 1.0 / 128}};
    wcoh_model *model = small_model(SMALL, 2), *back, *loaded = NULL;
    size_t i, size, n;
    int index;
    for (i = 0; i < 4; i++) {
        double worst = 0;
        size = foreign_file(model, types[i].dtype, NULL, -1);
        CHECK(load(&loaded, space, size) == WCOH_E_MISMATCH);
        CHECK_TEXT(error.text, "wcoh_model_read");
        back = small_model(SMALL, 99);
        CHECK_SAY(read_into(back, space, size) == WCOH_OK, "%s", error.text);
        for (index = 0; index < wcoh_model_param_count(model); index++) {
            wcoh_param p, q;
            wcoh_model_param(model, index, &p, NULL);
            wcoh_model_param(back, index, &q, NULL);
            for (n = 0; n < p.count; n++)
                worst = WCOHI_MAX(worst, fabs((double)p.data[n] - (double)q.data[n]) /
                                             (fabs((double)p.data[n]) + 0.01));
        }
        CHECK_SAY(worst <= types[i].tolerance, "%s: %g", wcohi_dtypes[types[i].dtype].name, worst);
        wcoh_model_destroy(back);
    }
    back = small_model(SMALL, 99);
    CHECK(read_into(back, space, foreign_file(model, WCOHI_OF_F32, "blocks.1.extra", -1)) ==
          WCOH_E_MISMATCH);
    CHECK_TEXT(error.text, "blocks.1.extra is in the file");
    CHECK(read_into(back, space, foreign_file(model, WCOHI_OF_F32, "adam.m.x", -1)) == WCOH_OK);
    CHECK(read_into(back, space, foreign_file(model, WCOHI_OF_F32, NULL, 3)) == WCOH_E_MISMATCH);
    CHECK_TEXT(error.text, "is not in the file");
    wcoh_model_destroy(back);
    back = small_model("vocab=5 bands=3 heads=1 layers=1 maestro=1", 99);
    CHECK(read_into(back, space, foreign_file(model, WCOHI_OF_F32, NULL, -1)) == WCOH_E_MISMATCH);
    CHECK_TEXT(error.text, "expected [");
    wcoh_model_destroy(back);
    wcoh_model_destroy(model);
}

/* ---- memory and callbacks fail --------------------------------------------------------------- */

static void a_failing_allocation_is_an_error_and_no_leak(void)
{
    wcoh_model *model = small_model(SMALL, 1), *before = small_model(SMALL, 2);
    size_t size;
    unsigned char *file = saved(model, &size);
    wcoh_memory_file block;
    wcoh_io io = io_of(&block, file, size, 0);
    counting counter = {0, 0, 0, 0};
    wcoh_memory memory = counting_memory(&counter);
    wcoh_model_desc desc = model_desc_of(SMALL);
    long n, calls;
    wcoh_model *back = NULL;
    CHECK(wcoh_model_load(&back, &io, &memory, &error) == WCOH_OK && counter.live == 1);
    wcoh_model_destroy(back);
    CHECK(counter.live == 0);
    for (n = 1, calls = counter.calls; n <= calls; n++) {
        counter.calls = 0;
        counter.fail_at = n;
        CHECK(wcoh_model_load(&back, &io, &memory, &error) == WCOH_E_MEMORY);
        CHECK(back == NULL && counter.live == 0 && error.code == WCOH_E_MEMORY);
    }
    counter.fail_at = 0;
    desc.memory = memory;
    back = model_of(&desc);
    wcoh_model_copy(back, before, NULL);
    for (n = 1;; n++) {
        counter.calls = 0;
        counter.fail_at = n;
        if (wcoh_model_read(back, &io, &error) == WCOH_OK) break;
        CHECK(error.code == WCOH_E_MEMORY && counter.live == 1 && same_model(back, before));
    }
    CHECK(n == 3 && same_model(back, model)); /* two blocks: the header, and a place to read to */
    wcoh_model_destroy(back);
    CHECK(counter.live == 0);
    free(file);
    wcoh_model_destroy(model);
    wcoh_model_destroy(before);
}

static void a_model_loads_into_the_callers_block(void)
{
    wcoh_model *model = small_model(SMALL, 1), *back = NULL;
    size_t size;
    unsigned char *file = saved(model, &size);
    wcoh_model_desc desc = model_desc_of(SMALL);
    wcoh_memory_file block;
    wcoh_io io = io_of(&block, file, size, 0);
    counting counter = {0, 0, 0, 0};
    wcoh_memory memory = counting_memory(&counter);
    memory.block_size = wcoh_model_size(&desc, NULL);
    memory.block = malloc(memory.block_size);
    CHECK_SAY(wcoh_model_load(&back, &io, &memory, &error) == WCOH_OK, "%s", error.text);
    CHECK(back && counter.live == 0 &&
          same_model(back, model)); /* temporary blocks came from alloc */
    wcoh_model_destroy(back);
    memory.block_size -= 1;
    CHECK(wcoh_model_load(&back, &io, &memory, &error) == WCOH_E_MEMORY && back == NULL);
    free(memory.block);
    free(file);
    wcoh_model_destroy(model);
}

static void every_failing_callback_is_an_error(void)
{
    wcoh_model *model = small_model(SMALL, 1), *other = small_model(SMALL, 2),
               *before = small_model(SMALL, 2);
    size_t size, capacity;
    unsigned char *file = saved(model, &size), *to = (unsigned char *)malloc(size);
    wcoh_memory_file block;
    wcoh_io base = io_of(&block, file, size, 0), io;
    wcoh_model *back;
    faulty f;
    long n;
    int dead;
    for (dead = 0; dead < 2; dead++) {
        for (n = 1;; n++) { /* load */
            io = faulty_io(&f, base, n);
            f.dead = dead;
            if (wcoh_model_load(&back, &io, NULL, &error) == WCOH_OK) break;
            CHECK(error.code == WCOH_E_IO && back == NULL);
        }
        CHECK(n > 10 && same_model(back, model) && f.finishes == 0);
        wcoh_model_destroy(back);
        for (n = 1;; n++) { /* read: all or nothing, whichever call fails */
            io = faulty_io(&f, base, n);
            f.dead = dead;
            if (wcoh_model_read(other, &io, &error) == WCOH_OK) break;
            CHECK(error.code == WCOH_E_IO && same_model(other, before));
        }
        CHECK(same_model(other, before) == 0);
        wcoh_model_copy(other, before, NULL);
        base = io_of(&block, to, 0, size);
        for (n = 1;; n++) { /* save: finish is called once, to throw away what was written */
            block.used = 0;
            io = faulty_io(&f, base, n);
            f.dead = dead;
            if (wcoh_model_save(model, &io, &error) == WCOH_OK) break;
            CHECK(error.code == WCOH_E_IO && f.finishes == 1 && !f.kept && block.used == 0);
        }
        CHECK(n > 2 && f.finishes == 1 && f.kept && block.used == size &&
              memcmp(file, to, size) == 0);
        base = io_of(&block, file, size, 0);
    }
    for (capacity = 0; capacity < size; capacity++) {
        wcoh_io small = io_of(&block, to, 0, capacity);
        CHECK(wcoh_model_save(model, &small, &error) == WCOH_E_IO && block.used == 0);
    }
    free(file);
    free(to);
    wcoh_model_destroy(model);
    wcoh_model_destroy(other);
    wcoh_model_destroy(before);
}

/* Claims a size and then gives other bytes on every read: a file that changes under the reader. */
static int shifting_read(void *user, uint64_t offset, void *data, size_t size)
{
    wcoh_rng *rng = (wcoh_rng *)user;
    static const char text[] =
        "{\"__metadata__\":{\"a\":\"b\"},\"w\":{\"dtype\":\"F32\",\"shape\":[1,2]},{}";
    unsigned char *to = (unsigned char *)data;
    size_t i;
    if (offset == 0 && size == 8) {
        wcohi_put_le(to, 400, 8);
        return 0;
    }
    for (i = 0; i < size; i++)
        to[i] = (unsigned char)text[(offset + i + wcoh_rng_next(rng) % 40 / 39) % 60];
    return 0;
}
static int shifting_size(void *user, uint64_t *bytes)
{
    (void)user;
    *bytes = 500;
    return 0;
}

static void a_file_that_changes_while_it_is_read_does_no_harm(void)
{
    wcoh_rng rng = wcoh_rng_seed(1);
    wcoh_io io;
    int i;
    memset(&io, 0, sizeof io);
    io.user = &rng;
    io.size = shifting_size;
    io.read = shifting_read;
    for (i = 0; i < 20000; i++) {
        wcoh_tensors *t = NULL;
        CHECK(wcoh_tensors_open(&t, &io, NULL, &error) != WCOH_OK && t == NULL);
    }
}

static void missing_arguments_are_errors(void)
{
    wcoh_io io;
    wcoh_model *model = small_model(SMALL, 1), *back;
    wcoh_tensors *t;
    memset(&io, 0, sizeof io);
    CHECK(wcoh_model_save(model, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_model_save(model, &io, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_model_save(model, &io, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_model_load(&back, &io, NULL, &error) == WCOH_E_ARGUMENT && back == NULL);
    CHECK(wcoh_model_load(NULL, &io, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_model_read(model, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_tensors_open(&t, NULL, NULL, &error) == WCOH_E_ARGUMENT && t == NULL);
    CHECK(wcoh_tensors_open(NULL, &io, NULL, &error) == WCOH_E_ARGUMENT);
#ifndef WAVECOH_NO_STDIO
    CHECK(wcoh_model_save_file(model, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_model_save_file(NULL, "x", &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_model_load_file(&back, NULL, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_model_load_file(&back, "no/such/file", NULL, &error) == WCOH_E_IO);
    CHECK_TEXT(error.text, "no/such/file: no such file or directory");
    CHECK(wcoh_model_save_file(model, "no/such/file", &error) == WCOH_E_IO);
    CHECK_TEXT(error.text, "no/such/file: no such file or directory");
    CHECK(wcoh_model_load_file(&back, "no/such/file", NULL, NULL) == WCOH_E_IO);
#endif
    wcoh_model_destroy(model);
}

/* ---- paths ----------------------------------------------------------------------------------- */

#ifndef WAVECOH_NO_STDIO

static char folder[256] = ".";

static const char *path_of(const char *name)
{
    static char path[400];
    sprintf(path, "%s/%s", folder, name);
    return path;
}

/* The system's own table, with the n-th call failing; `dead`: and every later one, as if the
   machine had stopped there. */
typedef struct bad_system {
    wcohi_system table;
    const wcohi_system *own;
    long calls, fail_at;
    int dead;
} bad_system;

static int bad_now(void *user)
{
    bad_system *b = (bad_system *)user;
    long call = ++b->calls;
    return b->fail_at && (call == b->fail_at || (b->dead && call > b->fail_at));
}
#define BAD(call) return bad_now(user) ? 5 : ((bad_system *)user)->own->call
static int bad_resolve(void *user, const char *path, char *real, size_t size, int *mode,
                       int *special)
{
    BAD(resolve(NULL, path, real, size, mode, special));
}
static int bad_open(void *user, const char *path, intptr_t *handle, uint64_t *size)
{
    BAD(open(NULL, path, handle, size));
}
static int bad_create(void *user, const char *path, int mode, int special, intptr_t *handle)
{
    BAD(create(NULL, path, mode, special, handle));
}
static int bad_read(void *user, intptr_t handle, uint64_t offset, void *data, size_t size)
{
    BAD(read(NULL, handle, offset, data, size));
}
static int bad_write(void *user, intptr_t handle, const void *data, size_t size)
{
    if (bad_now(user)) { /* half of it still arrives */
        ((bad_system *)user)->own->write(NULL, handle, data, size / 2);
        return 28;
    }
    return ((bad_system *)user)->own->write(NULL, handle, data, size);
}
static int bad_sync(void *user, intptr_t handle) { BAD(sync(NULL, handle)); }
static int bad_close(void *user, intptr_t handle)
{
    int bad = bad_now(user); /* a failing close closes nevertheless */
    int code = ((bad_system *)user)->own->close(NULL, handle);
    return bad ? 5 : code;
}
static int bad_replace(void *user, const char *from, const char *to)
{
    BAD(replace(NULL, from, to));
}
static int bad_sync_directory(void *user, const char *path) { BAD(sync_directory(NULL, path)); }
static int bad_remove(void *user, const char *path) { BAD(remove(NULL, path)); }

static const wcohi_system *bad_table(bad_system *b, long fail_at, int dead)
{
    memset(b, 0, sizeof *b);
    b->own = &wcohi_system_own;
    b->table.user = b;
    b->table.resolve = bad_resolve;
    b->table.open = bad_open;
    b->table.create = bad_create;
    b->table.read = bad_read;
    b->table.write = bad_write;
    b->table.sync = bad_sync;
    b->table.close = bad_close;
    b->table.replace = bad_replace;
    b->table.sync_directory = bad_sync_directory;
    b->table.remove = bad_remove;
    b->fail_at = fail_at;
    b->dead = dead;
    return &b->table;
}

static wcoh_result save_with(const wcohi_system *system, const wcoh_model *model, const char *path)
{
    wcohi_path_writer writer;
    wcoh_io io;
    wcoh_result result = wcohi_path_create(&writer, &io, path, system, &error);
    return result ? result
                  : wcohi_path_created(&writer, path, wcoh_model_save(model, &io, &error), &error);
}

static int file_exists(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

/* The file holds one of the two models. */
static int holds(const char *path, const wcoh_model *one, const wcoh_model *other)
{
    wcoh_model *back = NULL;
    int good = wcoh_model_load_file(&back, path, NULL, &error) == WCOH_OK &&
               (same_model(back, one) || (other && same_model(back, other)));
    wcoh_model_destroy(back);
    return good;
}

static void temporary_name(char *name, const char *path, int attempt)
{
    sprintf(name, "%s.%lu-%d.tmp", path, wcohi_process(), attempt);
}

static void touch(const char *path)
{
    FILE *file = fopen(path, "wb");
    if (CHECK(file != NULL)) fclose(file);
}

#ifndef _WIN32
/* Process 1 is always there, and no system numbers its processes up to 99999999. */
static void a_save_takes_away_what_dead_processes_left(void)
{
    static const char *const dead[] = {".99999999-0.tmp", ".99999998-17.tmp"};
    static const char *const others[] = {".1-0.tmp",           ".99999999-0.tmpx", ".99999999.tmp",
                                         ".x.99999999-0.tmp", ".-1-0.tmp",        ".0-0.tmp"};
    wcoh_model *model = small_model(SMALL, 1);
    char path[400], name[440];
    size_t i;
    strcpy(path, path_of("swept.safetensors"));
    for (i = 0; i < 2; i++) sprintf(name, "%s%s", path, dead[i]), touch(name);
    for (i = 0; i < 6; i++) sprintf(name, "%s%s", path, others[i]), touch(name);
    CHECK_SAY(wcoh_model_save_file(model, path, &error) == WCOH_OK, "%s", error.text);
    for (i = 0; i < 2; i++) {
        sprintf(name, "%s%s", path, dead[i]);
        CHECK_SAY(!file_exists(name), "%s is still there", name);
    }
    for (i = 0; i < 6; i++) {
        sprintf(name, "%s%s", path, others[i]);
        CHECK_SAY(file_exists(name), "%s is gone", name);
        remove(name);
    }
    CHECK(holds(path, model, NULL));
    remove(path);
    wcoh_model_destroy(model);
}
#endif

static void a_path_is_checked_without_touching_what_is_there(void)
{
    char path[400], temporary[440];
    strcpy(path, path_of("checked.safetensors"));
    temporary_name(temporary, path, 0);
    CHECK(wcoh_path_check(path, &error) == WCOH_OK);
    CHECK(!file_exists(path) && !file_exists(temporary));
    touch(path);
    CHECK(wcoh_path_check(path, &error) == WCOH_OK);
    CHECK(file_exists(path) && !file_exists(temporary));
    remove(path);
    CHECK(wcoh_path_check(path_of("nowhere/model.safetensors"), &error) == WCOH_E_IO);
    CHECK_TEXT(error.text, "nowhere/model.safetensors: ");
    CHECK(wcoh_path_check(".", &error) == WCOH_E_IO);
    CHECK(wcoh_path_check(NULL, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_path_check("", &error) == WCOH_E_ARGUMENT); /* nothing can be renamed to it */
    CHECK_TEXT(error.text, "the path is empty");
}

static int file_is(const char *path, const char *text)
{
    char found[64];
    size_t size;
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    size = fread(found, 1, sizeof found, file);
    fclose(file);
    return size == strlen(text) && memcmp(found, text, size) == 0;
}

static void what_a_program_keeps_is_saved_as_models_are(void)
{
    char path[400], temporary[440];
    strcpy(path, path_of("kept.txt"));
    temporary_name(temporary, path, 0);
    CHECK_SAY(wcoh_path_save(path, "a long line", 11, &error) == WCOH_OK, "%s", error.text);
    CHECK(file_is(path, "a long line"));
    CHECK(wcoh_path_save(path, "short", 5, NULL) == WCOH_OK); /* nothing of the old one is left */
    CHECK(file_is(path, "short") && !file_exists(temporary));
    CHECK(wcoh_path_save(path, NULL, 0, &error) == WCOH_OK);
    CHECK(file_is(path, ""));
    CHECK(wcoh_path_save(path_of("nowhere/kept.txt"), "text", 4, &error) == WCOH_E_IO);
    CHECK_TEXT(error.text, "nowhere/kept.txt: ");
    remove(path);
#ifdef TEST_PROCESSES
    {
        char link_name[400];
        struct stat found;
        struct rlimit limit, small;
        strcpy(link_name, path_of("link.txt"));
        CHECK(symlink("kept.txt", link_name) == 0); /* a link to what is not there yet */
        CHECK(wcoh_path_save(link_name, "first", 5, &error) == WCOH_OK);
        CHECK(file_is(path, "first") && lstat(link_name, &found) == 0 && S_ISLNK(found.st_mode));
        CHECK(chmod(path, 0640) == 0);
        CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
        signal(SIGXFSZ, SIG_IGN);
        small = limit;
        small.rlim_cur = 4;
        CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
        CHECK(wcoh_path_save(link_name, "second", 6, &error) == WCOH_E_IO);
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        CHECK_TEXT(error.text, "link.txt: the file would be larger than allowed");
        CHECK(file_is(path, "first") && !file_exists(temporary));
        CHECK(wcoh_path_save(link_name, "second", 6, &error) == WCOH_OK);
        CHECK(file_is(path, "second"));
        CHECK(stat(path, &found) == 0 && (found.st_mode & 0777) == 0640);
        remove(link_name);
        remove(path);
    }
#endif
}

static void a_note_comes_back_and_the_weights_with_it(void)
{
    static const char words[] = "step 20 \"best\"\n\303\251";
    wcoh_model *model = small_model(SMALL, 1);
    wcoh_tensors *tensors = NULL;
    char path[400], temporary[440];
    strcpy(path, path_of("noted.safetensors"));
    CHECK_SAY(wcoh_model_save_note_file(model, words, path, &error) == WCOH_OK, "%s", error.text);
    CHECK(holds(path, model, NULL));
    if (CHECK(wcoh_tensors_open_file(&tensors, path, NULL, &error) == WCOH_OK)) {
        const char *note = wcoh_tensors_metadata(tensors, "note");
        CHECK(note && strcmp(note, words) == 0);
    }
    wcoh_tensors_close(tensors);
    remove(path);
    CHECK(wcoh_model_save_note_file(model, "\377", path, &error) == WCOH_E_FORMAT);
    temporary_name(temporary, path, 0);
    CHECK(!file_exists(path) && !file_exists(temporary));
    CHECK(wcoh_model_save_note_file(model, NULL, path, &error) == WCOH_E_ARGUMENT);
    wcoh_model_destroy(model);
}

static void a_failing_system_call_leaves_the_old_file_or_the_new(void)
{
    wcoh_model *old = small_model(SMALL, 1), *new_one = small_model(SMALL, 2);
    char path[400], temporary[440];
    bad_system bad;
    int dead;
    long n;
    strcpy(path, path_of("system.safetensors"));
    temporary_name(temporary, path, 0);
    for (dead = 0; dead < 2; dead++) {
        for (n = 1; n < 100; n++) {
            int i;
            wcoh_result result;
            CHECK_SAY(wcoh_model_save_file(old, path, &error) == WCOH_OK, "%s", error.text);
            result = save_with(bad_table(&bad, n, dead), new_one, path);
            CHECK_SAY(holds(path, old, new_one), "call %d: %s", (int)n, error.text);
            if (!result) break;
            CHECK(result == WCOH_E_IO && error.code == WCOH_E_IO);
            if (dead)
                for (i = 0; i < 3; i++) {
                    temporary_name(temporary, path, i);
                    remove(temporary);
                }
            CHECK(!file_exists(temporary));
        }
        CHECK_SAY(n >= 7 && n < 100, "%d calls",
                  (int)n); /* resolve create write sync close replace sync */
        CHECK(bad.calls == n - 1 && holds(path, new_one, NULL));
    }
    for (n = 1; n < 100; n++) { /* and reading it */
        wcohi_path_reader reader;
        wcoh_io io;
        wcoh_model *back = NULL;
        wcoh_result result = wcohi_path_open(&reader, &io, path, bad_table(&bad, n, 0), &error);
        if (!result)
            result =
                wcohi_path_close(&reader, path, wcoh_model_load(&back, &io, NULL, &error), &error);
        wcoh_model_destroy(back);
        if (!result && bad.calls < n) break;
        if (bad.calls > n)
            CHECK(result == WCOH_E_IO && strstr(error.text, "system.safetensors: ") != NULL);
    }
    CHECK(n > 5 && n < 100);
    remove(path);
    wcoh_model_destroy(old);
    wcoh_model_destroy(new_one);
}

static void a_stale_temporary_file_is_stepped_over(void)
{
    wcoh_model *model = small_model(SMALL, 1);
    char path[400], temporary[440];
    FILE *file;
    strcpy(path, path_of("stale.safetensors"));
    temporary_name(temporary, path, 0);
    file = fopen(temporary, "wb");
    if (CHECK(file != NULL)) fclose(file);
    CHECK(wcoh_model_save_file(model, path, &error) == WCOH_OK && holds(path, model, NULL));
    CHECK(file_exists(temporary));
    remove(temporary);
    remove(path);
    wcoh_model_destroy(model);
}

static void tensors_open_by_path(void)
{
    wcoh_model *model = small_model(SMALL, 1);
    char path[400];
    wcoh_tensors *t = NULL;
    float values[4];
    FILE *file;
    strcpy(path, path_of("tensors.safetensors"));
    CHECK(wcoh_model_save_file(model, path, &error) == WCOH_OK);
    CHECK_SAY(wcoh_tensors_open_file(&t, path, NULL, &error) == WCOH_OK, "%s", error.text);
    if (t) {
        CHECK(wcoh_tensors_read(t, wcoh_tensors_find(t, "norm_f.weight"), 0, 4, values, &error) ==
              WCOH_OK);
        CHECK_NEAR(values[2], param_data(model, "norm_f.weight")[2], 1e-7);
        CHECK(strcmp(wcoh_tensors_metadata(t, "wavecoh.kind"), "model") == 0);
        wcoh_tensors_close(t);
    }
    file = fopen(path, "wb");
    if (CHECK(file != NULL)) {
        fwrite("not a model at all", 1, 18, file);
        fclose(file);
    }
    CHECK(wcoh_tensors_open_file(&t, path, NULL, &error) == WCOH_E_FORMAT && t == NULL);
    CHECK_TEXT(error.text, "tensors.safetensors: not a file of tensors");
    remove(path);
    wcoh_model_destroy(model);
}

#ifdef TEST_PROCESSES

static void links_are_followed_and_permissions_kept(void)
{
    wcoh_model *model = small_model(SMALL, 1), *other = small_model(SMALL, 2), *back;
    char real[400], link_name[400], loop[400];
    struct stat found;
    strcpy(real, path_of("real.safetensors"));
    strcpy(link_name, path_of("link.safetensors"));
    strcpy(loop, path_of("loop"));
    CHECK(wcoh_model_save_file(model, real, &error) == WCOH_OK);
    CHECK(chmod(real, 0600) == 0 && symlink("real.safetensors", link_name) == 0);
    CHECK_SAY(wcoh_model_save_file(other, link_name, &error) == WCOH_OK, "%s", error.text);
    CHECK(holds(real, other, NULL) && holds(link_name, other, NULL));
    CHECK(lstat(link_name, &found) == 0 && S_ISLNK(found.st_mode));
    CHECK(stat(real, &found) == 0 && (found.st_mode & 0777) == 0600);
    CHECK(chmod(real, 0666) == 0 && wcoh_model_save_file(other, real, &error) == WCOH_OK);
    CHECK(stat(real, &found) == 0 && (found.st_mode & 0777) == 0666); /* whatever the umask */
    CHECK(symlink("loop", loop) == 0 && wcoh_model_save_file(other, loop, &error) == WCOH_E_IO);
    CHECK(wcoh_model_save_file(other, folder, &error) == WCOH_E_IO);
    CHECK_TEXT(error.text, "it is a directory");
    CHECK(wcoh_model_load_file(&back, folder, NULL, &error) == WCOH_E_IO && back == NULL);
    CHECK_TEXT(error.text, "it is a directory");
    remove(link_name);
    remove(real);
    remove(loop);
    wcoh_model_destroy(model);
    wcoh_model_destroy(other);
}

/* The path of a device. Root gets one of its own, because a mistake would replace the system's. */
static const char *device(const char *name, int minor_number)
{
    static char path[400];
    struct stat found;
    sprintf(path, "%s/%s", geteuid() ? "/dev" : folder, name);
#ifdef __linux__
    if (!geteuid() && mknod(path, S_IFCHR | 0666, (dev_t)(1 << 8 | minor_number))) return NULL;
#endif
    (void)minor_number;
    return stat(path, &found) == 0 ? path : NULL;
}

static void special_files_are_written_as_they_stand(void)
{
    wcoh_model *model = small_model(SMALL, 1), *back;
    struct stat found;
    const char *path = device("null", 3);
    if (path) {
        CHECK_SAY(wcoh_model_save_file(model, path, &error) == WCOH_OK, "%s", error.text);
        CHECK(stat(path, &found) == 0 && S_ISCHR(found.st_mode));
        CHECK(wcoh_model_load_file(&back, path, NULL, &error) == WCOH_E_IO);
        CHECK_TEXT(error.text, "not a regular file");
        if (geteuid() == 0) remove(path);
    }
    path = device("full", 7);
    if (path) {
        CHECK(wcoh_model_save_file(model, path, &error) == WCOH_E_IO);
        CHECK_TEXT(error.text, "full: no space left on the device");
        CHECK(stat(path, &found) == 0 && S_ISCHR(found.st_mode));
        if (geteuid() == 0) remove(path);
    }
    wcoh_model_destroy(model);
}

/* As /dev/stdout is where a shell's pipe stands behind it: a link to what has no name. */
static void pipes_are_written_by_the_links_that_lead_to_them(void)
{
    wcoh_model *model = small_model(SMALL, 1);
    char path[40], found[16] = "", *model_bytes;
    int ends[2];
    size_t size = wcoh_model_file_size(model);
    FILE *file;
    CHECK(pipe(ends) == 0);
    sprintf(path, "/dev/fd/%d", ends[1]);
    CHECK(wcoh_path_check(path, &error) == WCOH_OK);
    CHECK_SAY(wcoh_path_save(path, "through", 7, &error) == WCOH_OK, "%s", error.text);
    CHECK(read(ends[0], found, sizeof found) == 7 && strcmp(found, "through") == 0);
    model_bytes = (char *)malloc(size);
    if (CHECK(model_bytes && size < 65536)) { /* fits into any pipe */
        size_t used = 0;
        CHECK_SAY(wcoh_model_save_file(model, path, &error) == WCOH_OK, "%s", error.text);
        close(ends[1]);
        for (;;) {
            ssize_t done = read(ends[0], model_bytes + used, size - used);
            if (done <= 0) break;
            used += (size_t)done;
        }
        CHECK(used == size && memcmp(model_bytes + 8, "{\"", 2) == 0);
    }
    close(ends[0]);
    free(model_bytes);
    wcoh_model_destroy(model);
#ifdef __linux__
    file =
        fopen(path_of("gone.txt"), "wb"); /* a file that lost its name cannot be replaced by name */
    remove(path_of("gone.txt"));
    sprintf(path, "/dev/fd/%d", fileno(file));
    CHECK(wcoh_path_save(path, "text", 4, &error) == WCOH_E_IO);
    CHECK(!file_exists(path_of("gone.txt (deleted)")));
    fclose(file);
#endif
    (void)file;
}

static void a_full_disk_keeps_the_old_file(void)
{
    wcoh_model *old = small_model(SMALL, 1), *new_one = small_model(SMALL, 2);
    char path[400], temporary[440];
    struct rlimit limit, small;
    size_t size = wcoh_model_file_size(old), bytes;
    strcpy(path, path_of("full.safetensors"));
    temporary_name(temporary, path, 0);
    CHECK(wcoh_model_save_file(old, path, &error) == WCOH_OK);
    signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (bytes = 0; bytes < size; bytes += size / 7) {
        small = limit;
        small.rlim_cur = bytes;
        CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
        CHECK(wcoh_model_save_file(new_one, path, &error) == WCOH_E_IO);
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        CHECK_TEXT(error.text, "larger than allowed");
        CHECK(holds(path, old, NULL) && !file_exists(temporary));
    }
    remove(path);
    wcoh_model_destroy(old);
    wcoh_model_destroy(new_one);
}

static int kills = 20;

/* A child saves one of two things in turn until it is killed; returns after that. */
static void save_until_killed(const char *path, wcoh_rng *rng, int (*save)(int which, void *user),
                              void *user)
{
    char temporary[440];
    struct timespec pause = {0, 0};
    pid_t child = fork();
    int status = 0;
    if (child == 0)
        for (;;)
            if (save(1, user) < 0 || save(0, user) < 0) _exit(9);
    pause.tv_nsec = (long)(wcoh_rng_uniform(rng) * 2e7);
    nanosleep(&pause, NULL);
    if (child <= 0) return;
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    CHECK_SAY(WIFSIGNALED(status), "the child could not save (status %d)", status);
    sprintf(temporary, "%s.%lu-0.tmp", path, (unsigned long)child);
    remove(temporary);
}

static int save_model(int which, void *user)
{
    return wcoh_model_save_file(((wcoh_model **)user)[which], path_of("killed.safetensors"), NULL);
}

/* There is always one of the two models to be loaded. */
static void a_killed_process_leaves_a_loadable_file(void)
{
    wcoh_model *models[2];
    char path[400];
    wcoh_rng rng = wcoh_rng_seed((uint64_t)time(NULL));
    int n;
    models[0] = small_model(SMALL, 1);
    models[1] = small_model(SMALL, 2);
    strcpy(path, path_of("killed.safetensors"));
    CHECK(wcoh_model_save_file(models[0], path, &error) == WCOH_OK);
    for (n = 0; n < kills; n++) {
        save_until_killed(path, &rng, save_model, models);
        if (!CHECK_SAY(holds(path, models[0], models[1]), "%s", error.text)) break;
    }
    remove(path);
    wcoh_model_destroy(models[0]);
    wcoh_model_destroy(models[1]);
}

enum { KILLED_LAYERS = 64, KILLED_BANDS = 128, KILLED = 2 * KILLED_LAYERS * KILLED_BANDS };
static float killed_values[2][KILLED], killed_back[KILLED];

static int save_waves(int which, void *user)
{
    wcoh_wave_memory memory = {KILLED_LAYERS, KILLED_BANDS, 0.05, 0.95, 0.99, 0, NULL};
    (void)user;
    memory.conversations = (uint32_t)which;
    memory.values = killed_values[which];
    return wcoh_wave_memory_save_file(&memory, path_of("killed.kwmf"), NULL);
}

/* Of a wave memory as well: the old one or the new one, to the bit, never some of each. */
static void a_killed_process_leaves_a_whole_wave_memory(void)
{
    wcoh_wave_memory back;
    char path[400];
    wcoh_rng rng = wcoh_rng_seed((uint64_t)time(NULL));
    int n, which;
    for (n = 0; n < 2 * KILLED; n++)
        killed_values[n / KILLED][n % KILLED] = (float)wcoh_rng_normal(&rng);
    strcpy(path, path_of("killed.kwmf"));
    CHECK(save_waves(0, NULL) == 0);
    for (n = 0; n < kills; n++) {
        save_until_killed(path, &rng, save_waves, NULL);
        memset(&back, 0, sizeof back);
        back.values = killed_back;
        if (!CHECK_SAY(wcoh_wave_memory_load_file(&back, KILLED, path, &error) == WCOH_OK, "%s",
                       error.text))
            break;
        which = (int)back.conversations;
        CHECK(which < 2 && memcmp(killed_back, killed_values[which], sizeof killed_back) == 0);
    }
    remove(path);
}
#endif
#endif /* WAVECOH_NO_STDIO */

/* ---- trainers -------------------------------------------------------------------------------- */

static uint32_t text[300];

static wcoh_trainer *small_trainer(wcoh_model *model, int threads, const wcoh_memory *memory)
{
    wcoh_trainer_desc desc;
    wcoh_trainer *trainer = NULL;
    size_t i;
    memset(&desc, 0, sizeof desc);
    desc.batch = 2;
    desc.seq = 6;
    desc.steps = 20;
    desc.warmup = 3;
    desc.eval_every = 2;
    desc.eval_batches = 2;
    desc.patience = 9;
    desc.seed = 77;
    desc.decay = 0.3; /* no short decimal of all doubles */
    desc.cpu.threads = threads;
    if (memory) desc.memory = *memory;
    for (i = 0; i < 300; i++) text[i] = (uint32_t)(i * i % 7 % 5);
    CHECK_SAY(wcoh_trainer_create(&trainer, model, &desc, &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_trainer_set_data(trainer, text, 240, text + 240, 60, &error) == WCOH_OK);
    return trainer;
}

static void steps(wcoh_trainer *trainer, int count)
{
    while (count-- > 0)
        CHECK_SAY(wcoh_trainer_step(trainer, NULL, &error) == WCOH_OK, "%s", error.text);
}

/* A trainer's file, its clock set to 0 so that equal states give equal bytes. */
static unsigned char *saved_trainer(wcoh_trainer *trainer, size_t *size)
{
    wcoh_memory_file block;
    wcoh_io io;
    wcohi_trainer_state(trainer)->seconds = 0;
    io = io_of_room(&block, wcoh_trainer_file_size(trainer));
    return file_in(&block, wcoh_trainer_save(trainer, &io, &error), size);
}

static wcoh_result resume(wcoh_trainer *trainer, const void *file, size_t size)
{
    wcoh_memory_file block;
    wcoh_io io = io_of_copy(&block, file, size);
    return loaded(&block, wcoh_trainer_resume(trainer, &io, &error));
}

/* Does the trainer stand exactly where its file says? */
static int stands_at(wcoh_trainer *trainer, const unsigned char *file, size_t size)
{
    size_t now_size;
    unsigned char *now = saved_trainer(trainer, &now_size);
    int same = size == now_size && memcmp(file, now, size) == 0;
    free(now);
    return same;
}

static void a_resumed_run_is_the_uninterrupted_one(void)
{
    static const int at[] = {0, 1, 2, 5};
    size_t i, size, whole_size;
    wcoh_model *model = small_model(SMALL, 4), *back;
    wcoh_trainer *trainer = small_trainer(model, 1, NULL);
    unsigned char *whole, *file;
    steps(trainer, 8);
    whole = saved_trainer(trainer, &whole_size);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    for (i = 0; i < sizeof at / sizeof at[0]; i++) {
        model = small_model(SMALL, 4);
        trainer = small_trainer(model, 2, NULL);
        steps(trainer, at[i]);
        if (i % 2) wcoh_trainer_run(trainer, 0, NULL, &error); /* into the next step: begun again */
        file = saved_trainer(trainer, &size);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
        CHECK_SAY(load(&back, file, size) == WCOH_OK, "%s", error.text);
        trainer = small_trainer(back, 1, NULL);
        CHECK_SAY(resume(trainer, file, size) == WCOH_OK, "%s", error.text);
        CHECK_SAY(stands_at(trainer, file, size), "after %d steps", at[i]);
        steps(trainer, 8 - at[i]);
        CHECK_SAY(stands_at(trainer, whole, whole_size), "resumed at %d", at[i]);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(back);
        free(file);
    }
    free(whole);
}

/* A file in the middle of an evaluation enters a trainer that has nothing to evaluate: the run goes
   on after it, and one whose steps are over has ended. */
static void an_evaluation_that_was_due_needs_a_validation_text(void)
{
    static const int due_at[] = {2, 20};
    size_t i, size;
    for (i = 0; i < sizeof due_at / sizeof due_at[0]; i++) {
        wcoh_model *model = small_model(SMALL, 4);
        wcoh_trainer *trainer = small_trainer(model, 1, NULL);
        unsigned char *file;
        wcoh_stats stats;
        steps(trainer, due_at[i] - 1);
        while (!wcohi_trainer_state(trainer)->evaluate)
            if (!CHECK(wcoh_trainer_run(trainer, 0, NULL, &error) == WCOH_OK)) break;
        file = saved_trainer(trainer, &size);
        CHECK(wcoh_trainer_set_data(trainer, text, 240, NULL, 0, &error) == WCOH_OK);
        CHECK_SAY(resume(trainer, file, size) == WCOH_OK, "%s", error.text);
        wcoh_trainer_stats(trainer, &stats);
        CHECK((int)stats.step == due_at[i] && stats.done == (due_at[i] == 20));
        CHECK(wcoh_trainer_step(trainer, NULL, &error) == (due_at[i] == 20 ? WCOH_DONE : WCOH_OK));
        wcoh_trainer_stats(trainer, &stats);
        CHECK((int)stats.step == (due_at[i] == 20 ? 20 : due_at[i] + 1));
        free(file);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
}

/* A trainer with the model and the state of a file, settings as the file has them. */
static wcoh_trainer *reopened(wcoh_model **model, unsigned char *file, size_t size,
                              const char *changed)
{
    wcoh_trainer_desc desc;
    wcoh_trainer *trainer = NULL;
    wcoh_memory_file block;
    wcoh_io io = io_of(&block, file, size, 0);
    memset(&desc, 0, sizeof desc);
    CHECK_SAY(load(model, file, size) == WCOH_OK, "%s", error.text);
    CHECK_SAY(wcoh_trainer_read_desc(&desc, &io, &error) == WCOH_OK, "%s", error.text);
    settings_apply(WCOH_DESC_TRAINER, &desc, changed);
    desc.cpu.threads = 1;
    CHECK_SAY(wcoh_trainer_create(&trainer, *model, &desc, &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_trainer_set_data(trainer, text, 240, text + 240, 60, &error) == WCOH_OK);
    CHECK_SAY(resume(trainer, file, size) == WCOH_OK, "%s", error.text);
    return trainer;
}

/* The rate of the next step, which is made. */
static double next_rate(wcoh_trainer *trainer)
{
    wcoh_stats stats;
    memset(&stats, 0, sizeof stats);
    CHECK_SAY(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK, "%s", error.text);
    return stats.lr;
}

/* Settings changed in mid-run and a final decay under way are in the file: the resumed run has the
   rates, weights and statistics of the uninterrupted one. */
static void a_decay_goes_on_after_resuming(void)
{
    wcoh_model *model = small_model(SMALL, 4), *back;
    wcoh_trainer *trainer = small_trainer(model, 1, NULL), *again;
    unsigned char *file, *whole;
    size_t size, whole_size;
    wcoh_stats stats;
    CHECK(wcoh_trainer_set(trainer, "steps", "-1", &error) == WCOH_OK);
    steps(trainer, 6);
    CHECK(wcoh_trainer_set(trainer, "lr", "0.001", &error) == WCOH_OK);
    CHECK(wcoh_trainer_set(trainer, "clip", "0.25", &error) == WCOH_OK);
    steps(trainer, 2); /* in the warm-up to the new rate */
    file = saved_trainer(trainer, &size);
    again = reopened(&back, file, size, "");
    CHECK(wcoh_trainer_get_desc(again)->clip == 0.25 && wcoh_trainer_get_desc(again)->steps == -1);
    CHECK(stands_at(again, file, size));
    CHECK(next_rate(again) == next_rate(trainer));
    free(file);
    wcoh_trainer_destroy(again);
    wcoh_model_destroy(back);
    CHECK(wcoh_trainer_finish(trainer, 6, &error) == WCOH_OK);
    steps(trainer, 2);
    file = saved_trainer(trainer, &size);
    steps(trainer, 4);
    whole = saved_trainer(trainer, &whole_size);
    again = reopened(&back, file, size, "");
    CHECK(stands_at(again, file, size));
    steps(again, 4);
    CHECK(stands_at(again, whole, whole_size));
    wcoh_trainer_stats(again, &stats);
    CHECK(stats.done && wcoh_trainer_step(again, NULL, &error) == WCOH_DONE);
    wcoh_trainer_destroy(again);
    wcoh_model_destroy(back);
    free(file);
    free(whole);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* Resumed with other settings the rate does not jump: more steps after the end keep the one that the
   run ended with, a new peak is warmed up to from the one at hand. */
static void a_resumed_rate_does_not_jump(void)
{
    wcoh_model *model = small_model(SMALL, 4), *back;
    wcoh_trainer *trainer = small_trainer(model, 1, NULL), *again;
    const double kept = 4.5e-3 * 0.1;
    unsigned char *file;
    size_t size;
    double rate;
    int step;
    steps(trainer, 20);
    CHECK(wcoh_trainer_step(trainer, NULL, &error) == WCOH_DONE);
    file = saved_trainer(trainer, &size);
    again = reopened(&back, file, size, "");
    CHECK(wcoh_trainer_step(again, NULL, &error) == WCOH_DONE);
    wcoh_trainer_destroy(again);
    wcoh_model_destroy(back);
    again = reopened(&back, file, size, "steps=40");
    for (step = 0; step < 5; step++) rate = next_rate(again), CHECK_NEAR(rate, kept, 1e-18);
    wcoh_trainer_destroy(again);
    wcoh_model_destroy(back);
    again = reopened(&back, file, size, "steps=-1 lr=0.002 lr_end=-1");
    for (step = 0; step < 6; step++) {
        rate = next_rate(again);
        CHECK_NEAR(rate, step < 3 ? kept + (0.002 - kept) * (step + 1) / 3 : 0.002, 1e-17);
    }
    wcoh_trainer_destroy(again);
    wcoh_model_destroy(back);
    free(file);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* Two columns of ones before the head, and rows of the head that end in them alone: the logit of
   symbol 4 is the sum of both numbers. */
static void set_logit(wcoh_model *model, wcoh_real one, wcoh_real other)
{
    wcoh_param weight, bias, head;
    int i;
    wcoh_model_param(model, wcoh_model_param_find(model, "norm_f.weight"), &weight, NULL);
    wcoh_model_param(model, wcoh_model_param_find(model, "norm_f.bias"), &bias, NULL);
    wcoh_model_param(model, wcoh_model_param_find(model, "head.weight"), &head, NULL);
    weight.data[0] = weight.data[1] = 0;
    bias.data[0] = bias.data[1] = 1;
    for (i = 0; i < 4; i++) head.data[4 * 4 + i] = 0;
    head.data[4 * 4] = one;
    head.data[4 * 4 + 1] = other;
    wcoh_model_touch(model);
}

/* A symbol that only the validation text has gets a probability of 0: its loss is infinite, before
   saving and after, is never the best and reaches no target. */
static void an_infinite_loss_comes_back(void)
{
    wcoh_model *model = small_model(SMALL, 4), *back;
    wcoh_trainer *trainer = small_trainer(model, 1, NULL), *again;
    unsigned char *file;
    wcoh_stats stats;
    size_t i, size;
    const wcoh_real much = sizeof(wcoh_real) == 4 ? (wcoh_real)3e38 : (wcoh_real)1.5e308;
    for (i = 0; i < 240; i++) text[i] %= 4;
    for (; i < 300; i++) text[i] = (uint32_t)(i % 5);
    CHECK(wcoh_trainer_set_data(trainer, text, 240, text + 240, 60, &error) == WCOH_OK);
    CHECK(wcoh_trainer_set(trainer, "target_val", "99", &error) == WCOH_OK);
    set_logit(model, -much, -much);
    steps(trainer, 2);
    wcoh_trainer_stats(trainer, &stats);
    CHECK(stats.val_loss >= HUGE_VAL && stats.best_val < 0 && !stats.best_pending && !stats.done);
    file = saved_trainer(trainer, &size);
    again = reopened(&back, file, size, "");
    CHECK(wcoh_trainer_set_data(again, text, 240, text + 240, 60, &error) == WCOH_OK);
    CHECK_SAY(resume(again, file, size) == WCOH_OK, "%s", error.text);
    wcoh_trainer_stats(again, &stats);
    CHECK(stats.val_loss >= HUGE_VAL && stats.best_val < 0 && !stats.done && stats.step == 2);
    CHECK(stands_at(again, file, size));
    set_logit(back, 0, 0);
    steps(again, 2);
    wcoh_trainer_stats(again, &stats);
    CHECK_SAY(stats.best_val > 0 && stats.best_val == stats.val_loss && stats.best_step == 4 &&
                  stats.done,
              "best %g", stats.best_val);
    wcoh_trainer_destroy(again);
    wcoh_model_destroy(back);
    free(file);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* Every double comes back: what is not finite too, where a run can have it. */
static void figures_come_back(void)
{
    static const double figures[] = {0, -1, 1.0 / 3, 5e-324, 1.7976931348623157e308, 1e-7};
    wcoh_model *model = small_model(SMALL, 4);
    wcoh_trainer *trainer = small_trainer(model, 1, NULL);
    wcohi_train_state *state = wcohi_trainer_state(trainer);
    unsigned char *file;
    size_t i, size;
    steps(trainer, 3);
    for (i = 0; i < 9; i++) {
        uint64_t told, kept;
        double figure = i < 6    ? figures[i]
                        : i == 6 ? HUGE_VAL
                        : i == 7 ? -HUGE_VAL
                                 : HUGE_VAL - HUGE_VAL;
        state->val_loss = figure;
        file = saved_trainer(trainer, &size);
        state->val_loss = 7;
        CHECK_SAY(resume(trainer, file, size) == WCOH_OK, "%s", error.text);
        CHECK(stands_at(trainer, file, size));
        memcpy(&told, &figure, 8);
        memcpy(&kept, &state->val_loss, 8);
        CHECK_SAY(i == 8 ? state->val_loss != state->val_loss : told == kept, "%g came back as %g",
                  figure, state->val_loss);
        free(file);
    }
    state->val_loss = 1;
    state->best_val = HUGE_VAL; /* which no evaluation makes the best */
    file = saved_trainer(trainer, &size);
    CHECK(resume(trainer, file, size) == WCOH_E_FORMAT);
    CHECK_TEXT(error.text, "train.best_val");
    free(file);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* A trainer like small_trainer's that averages its weights. */
static wcoh_trainer *mean_trainer(wcoh_model *model, int ema)
{
    wcoh_trainer *plain = small_trainer(model, 1, NULL), *trainer = NULL;
    wcoh_trainer_desc desc = *wcoh_trainer_get_desc(plain);
    wcoh_trainer_destroy(plain);
    desc.ema = ema;
    desc.device = NULL;
    CHECK_SAY(wcoh_trainer_create(&trainer, model, &desc, &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_trainer_set_data(trainer, text, 240, text + 240, 60, &error) == WCOH_OK);
    return trainer;
}

/* The mean is that of the weights after each step, a new one counts 1/n or 1 - e^(-1/ema); evaluations
   take it, steps do not. 1e-6: sums of floats. */
static void evaluations_take_the_mean_of_the_weights(void)
{
    wcoh_model *model = small_model(SMALL, 4), *twin = small_model(SMALL, 4);
    wcoh_trainer *trainer = mean_trainer(model, 3), *other = mean_trainer(twin, 0);
    size_t i, count = model->trained_reals;
    double *mean = (double *)calloc(count, sizeof *mean), share, val = 0, own = 0, off = 0;
    int step;
    for (step = 1; step <= 6; step++) {
        steps(trainer, 1), steps(other, 1);
        share = 1.0 / step > 1 - exp(-1.0 / 3) ? 1.0 / step : 1 - exp(-1.0 / 3);
        for (i = 0; i < count; i++) mean[i] += share * ((double)model->params[i] - mean[i]);
        CHECK(memcmp(model->params, twin->params, count * sizeof *model->params) == 0);
    }
    CHECK(wcoh_trainer_mean(trainer, 1, &error) == WCOH_OK);
    for (i = 0; i < count; i++) off = fmax(off, fabs((double)model->params[i] - mean[i]));
    CHECK_SAY(off < 1e-6, "%g", off);
    memcpy(twin->params, model->params, count * sizeof *model->params);
    wcoh_model_touch(twin);
    CHECK(wcoh_trainer_mean(trainer, 0, &error) == WCOH_OK);
    CHECK(memcmp(model->params, twin->params, count * sizeof *model->params) != 0);
    CHECK(wcoh_trainer_evaluate(trainer, &val, &error) == WCOH_OK);
    CHECK(wcoh_trainer_evaluate(other, &own, &error) == WCOH_OK);
    CHECK_NEAR(val, own, 0);
    CHECK_NEAR(val, wcohi_trainer_state(trainer)->val_loss, 0);
    free(mean);
    wcoh_trainer_destroy(trainer), wcoh_trainer_destroy(other);
    wcoh_model_destroy(model), wcoh_model_destroy(twin);
}

/* An update while the model holds the mean is one of the weights themselves, as a step is. */
static void updates_go_by_the_weights_themselves(void)
{
    wcoh_model *model = small_model(SMALL, 4), *twin = small_model(SMALL, 4);
    wcoh_trainer *trainer = mean_trainer(model, 3), *other = mean_trainer(twin, 3);
    int seq = wcoh_trainer_get_desc(trainer)->seq, lent;
    steps(trainer, 4), steps(other, 4);
    CHECK(wcoh_trainer_gradient(trainer, text, text + 1, 1, seq, NULL, &error) == WCOH_OK);
    CHECK(wcoh_trainer_gradient(other, text, text + 1, 1, seq, NULL, &error) == WCOH_OK);
    CHECK(wcoh_trainer_mean(trainer, 1, &error) == WCOH_OK);
    CHECK(!same_parameters(model, twin));
    CHECK(wcoh_trainer_update(trainer, NULL, &error) == WCOH_OK);
    CHECK(wcoh_trainer_update(other, NULL, &error) == WCOH_OK);
    CHECK(same_parameters(model, twin));
    for (lent = 1; lent >= 0; lent--) {
        CHECK(wcoh_trainer_mean(trainer, lent, &error) == WCOH_OK);
        CHECK(wcoh_trainer_mean(other, lent, &error) == WCOH_OK);
        CHECK(same_parameters(model, twin));
    }
    wcoh_trainer_destroy(trainer), wcoh_trainer_destroy(other);
    wcoh_model_destroy(model), wcoh_model_destroy(twin);
}

/* Saved at any time, in the middle of an evaluation too, a run goes on as if it had not been; with no
   mean there, or no mean wanted, it is told. */
static void a_mean_goes_on_after_a_resume(void)
{
    wcoh_model *model = small_model(SMALL, 4), *whole_model = small_model(SMALL, 4), *back;
    wcoh_trainer *trainer = mean_trainer(model, 100), *again,
                 *whole = mean_trainer(whole_model, 100);
    unsigned char *file, *end;
    size_t size, end_size;
    int slices;
    steps(whole, 9);
    end = saved_trainer(whole, &end_size);
    for (slices = 0; slices < 100000 && !trainer->holds; slices++)
        CHECK(wcoh_trainer_run(trainer, 0, NULL, &error) == WCOH_OK);
    CHECK(trainer->holds && wcohi_trainer_state(trainer)->evaluate);
    file = saved_trainer(trainer, &size);
    CHECK(trainer->holds);
    again = reopened(&back, file, size, "");
    while (wcohi_trainer_state(again)->step < 9) steps(again, 1);
    CHECK(stands_at(again, end, end_size));
    while (wcohi_trainer_state(trainer)->step < 9) steps(trainer, 1);
    CHECK(stands_at(trainer, end, end_size));
    wcoh_trainer_destroy(again);
    again = mean_trainer(back, 0);
    CHECK(resume(again, file, size) == WCOH_E_MISMATCH);
    CHECK_TEXT(error.text, "ema is 0 here and the file has a mean");
    free(file), free(end);
    wcoh_trainer_destroy(again), wcoh_trainer_destroy(trainer), wcoh_trainer_destroy(whole);
    wcoh_model_destroy(back), wcoh_model_destroy(model), wcoh_model_destroy(whole_model);
}

/* That the best weights wait to be kept is known until somebody says that they are, also after a
   crash. */
static void the_best_weights_wait_until_they_are_kept(void)
{
    wcoh_model *model = small_model(SMALL, 4), *back;
    wcoh_trainer *trainer = small_trainer(model, 1, NULL), *again;
    unsigned char *file;
    wcoh_stats stats;
    size_t size;
    steps(trainer, 1);
    wcoh_trainer_stats(trainer, &stats);
    CHECK(!stats.best_pending);
    steps(trainer, 2);
    wcoh_trainer_stats(trainer, &stats);
    CHECK(stats.best_pending && stats.best_step == 2);
    file = saved_trainer(trainer, &size);
    again = reopened(&back, file, size, "");
    wcoh_trainer_stats(again, &stats);
    CHECK(stats.best_pending && stats.best_step == 2);
    wcoh_trainer_best_kept(again);
    free(file);
    file = saved_trainer(again, &size);
    wcoh_trainer_destroy(again);
    wcoh_model_destroy(back);
    again = reopened(&back, file, size, "");
    wcoh_trainer_stats(again, &stats);
    CHECK(!stats.best_pending && stats.best_step == 2);
    wcoh_trainer_destroy(again);
    wcoh_model_destroy(back);
    free(file);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* A checkpoint knows its text; another one, before or after the resume, is told and not refused. */
static void another_text_is_noticed(void)
{
    wcoh_model *model = small_model(SMALL, 4);
    wcoh_trainer *trainer = small_trainer(model, 1, NULL);
    unsigned char *file;
    wcoh_stats stats;
    size_t size;
    steps(trainer, 3);
    file = saved_trainer(trainer, &size);
    CHECK(resume(trainer, file, size) == WCOH_OK && wcoh_trainer_notice(trainer) == NULL);
    text[7] = (text[7] + 1) % 5;
    CHECK(wcoh_trainer_set_data(trainer, text, 240, text + 240, 60, &error) == WCOH_OK);
    CHECK(resume(trainer, file, size) == WCOH_OK);
    if (CHECK(wcoh_trainer_notice(trainer) != NULL))
        CHECK(strcmp(wcoh_trainer_notice(trainer), "the training text has other tokens or "
                                                   "boundaries than that of the steps before") == 0);
    wcoh_trainer_stats(trainer, &stats);
    CHECK(stats.step == 3 && stats.best_val > 0); /* the validation text is the same */
    steps(trainer, 1);
    CHECK(wcoh_trainer_set_data(trainer, text, 200, text + 200, 100, &error) == WCOH_OK);
    if (CHECK(wcoh_trainer_notice(trainer) != NULL))
        CHECK(strcmp(wcoh_trainer_notice(trainer),
                     "the training text has 200 tokens, that of the steps before had 240; the "
                     "validation text has 100 tokens, that of the steps before had 60") == 0);
    wcoh_trainer_stats(trainer, &stats);
    CHECK(stats.best_val < 0 && stats.val_loss < 0 && stats.best_step == 0 && !stats.best_pending);
    unseal(file, size); /* a file of an older library does not know */
    edit(file, size, "\"train.text.tokens\"", "\"train.tixt.tokens\"");
    edit(file, size, "\"train.val.tokens\"", "\"train.vil.tokens\"");
    CHECK(resume(trainer, file, size) == WCOH_OK && wcoh_trainer_notice(trainer) == NULL);
    free(file);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

static void a_trainer_file_tells_how_it_was_made(void)
{
    wcoh_model *model = small_model(SMALL, 4);
    wcoh_trainer *trainer = small_trainer(model, 1, NULL);
    wcoh_trainer_desc read;
    size_t size;
    unsigned char *file = saved_trainer(trainer, &size), *weights;
    wcoh_memory_file block;
    wcoh_io io = io_of(&block, file, size, 0);
    const wcoh_trainer_desc *desc = wcoh_trainer_get_desc(trainer);
    int i, count;
    const wcoh_field *fields = wcoh_fields(WCOH_DESC_TRAINER, &count);
    memset(&read, 0x77, sizeof read);
    CHECK_SAY(wcoh_trainer_read_desc(&read, &io, &error) == WCOH_OK, "%s", error.text);
    for (i = 0; i < count; i++) {
        char x[64], y[64];
        wcoh_field_get(WCOH_DESC_TRAINER, desc, fields[i].name, x, sizeof x);
        wcoh_field_get(WCOH_DESC_TRAINER, &read, fields[i].name, y, sizeof y);
        CHECK_SAY(strcmp(x, y) == 0, "%s: %s, read %s", fields[i].name, x, y);
    }
    CHECK(read.decay == desc->decay && read.device == NULL && read.progress == NULL);
    weights = saved(model, &size);
    io = io_of(&block, weights, size, 0);
    CHECK(wcoh_trainer_read_desc(&read, &io, &error) == WCOH_E_MISMATCH);
    CHECK_TEXT(error.text, "holds a model, not a trainer");
    CHECK(read.decay == desc->decay);
    CHECK(wcoh_trainer_resume(trainer, &io, &error) == WCOH_E_MISMATCH);
    free(file);
    free(weights);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

#define ENDLESS 1e308 /* stands for infinity */

/* Put a number into a tensor of a file. */
static void set_number(unsigned char *file, size_t size, const char *name, size_t index,
                       double value)
{
    wcoh_memory_file block;
    wcoh_io io = io_of(&block, file, size, 0);
    wcoh_tensors *t;
    int at, i = 0;
    if (fabs(value) >= ENDLESS)
        value = wcohi_bits_double(value > 0 ? 0x7ff0000000000000ull : 0xfff0000000000000ull);
    if (!CHECK(wcohi_tensors_open(&t, &io, NULL, 0, &error) == WCOH_OK)) return;
    at = wcoh_tensors_find(t, name);
    if (CHECK_SAY(at >= 0, "no %s", name)) {
        const wcohi_dtype *dtype = &wcohi_dtypes[t->entries[at].dtype];
        float narrow = wcohi_narrow(value);
        uint64_t bits = (uint64_t)WCOHI_CLAMP(value, 0, 4294967295.0);
        uint32_t bits32;
        memcpy(&bits32, &narrow, 4);
        if (dtype->number == WCOHI_NUMBER_FLOAT) {
            memcpy(&bits, &value, 8);
            if (dtype->bits == 32) bits = bits32;
        }
        for (i = 0; i < dtype->bits / 8; i++, bits >>= 8)
            file[t->data_at + t->entries[at].begin + index * (dtype->bits / 8u) + (size_t)i] =
                (unsigned char)bits;
    }
    wcoh_tensors_close(t);
}

/* Take the names of settings that came after 0.1.0 out of a file: as if it were one of those days. */
static void make_old(unsigned char *file, size_t size, int trainer)
{
    static const char *const model[] = {"norm", "forgetting", "loudness", "query_gain", "gain_most",
                                        "gate", "value_gate", "taps",     "overtones",  "ffn_taps"};
    static const char *const training[] = {
        "optimizer",         "muon_lr",           "schedule",    "muon_momentum", "dropout",
        "embedding_dropout", "attention_dropout", "phase_noise", "ema",           "draw"};
    char from[64], to[64];
    size_t i;
    unseal(file, size);
    for (i = 0; i < sizeof model / sizeof *model; i++) {
        snprintf(from, sizeof from, "\"model.%s\"", model[i]);
        snprintf(to, sizeof to, "\"madel.%s\"", model[i]);
        edit(file, size, from, to);
    }
    for (i = 0; trainer && i < sizeof training / sizeof *training; i++) {
        snprintf(from, sizeof from, "\"trainer.%s\"", training[i]);
        snprintf(to, sizeof to, "\"trainar.%s\"", training[i]);
        edit(file, size, from, to);
    }
}

/* A checkpoint that knows nothing of younger settings goes on with the same bits. */
static void an_old_checkpoint_goes_on(void)
{
    wcoh_model *model = small_model(SMALL, 4), *other = small_model(SMALL, 9);
    wcoh_trainer *trainer = small_trainer(model, 1, NULL), *old = small_trainer(other, 1, NULL);
    unsigned char *file, *expected;
    size_t size, expected_size;
    steps(trainer, 3);
    file = saved_trainer(trainer, &size);
    unseal(file, size);
    edit(file, size, "\"model.taps\":\"-1\"", "\"model.taps\":\"00\""); /* as they were when 0 was none */
    CHECK_SAY(resume(old, file, size) == WCOH_OK, "%s", error.text);
    free(file);
    file = saved_trainer(trainer, &size);
    make_old(file, size, 1);
    steps(trainer, 2);
    CHECK_SAY(resume(old, file, size) == WCOH_OK, "%s", error.text);
    steps(old, 2);
    expected = saved_trainer(trainer, &expected_size);
    CHECK(stands_at(old, expected, expected_size));
    free(file);
    free(expected);
    wcoh_trainer_destroy(trainer);
    wcoh_trainer_destroy(old);
    wcoh_model_destroy(model);
    wcoh_model_destroy(other);
}

static void a_bad_trainer_file_changes_nothing(void)
{
    static const struct {
        const char *from, *to; /* an edit of the header, or a tensor and NULL */
        double value;
        const char *says;
        wcoh_result result;
    } bad[] = {
        {"\"model.solver\":\"exact\"", "\"model.solver\":\"none\" ", 0,
         "solver is exact here and none", WCOH_E_MISMATCH},
        {"\"model.bands\"", "\"modal.bands\"", 0, "bands is 2 here and 52", WCOH_E_MISMATCH},
        {"\"wavecoh.kind\":\"trainer\"", "\"wavecoh.kind\":\"trailer\"", 0, "trailer",
         WCOH_E_MISMATCH},
        {"\"train.step\":\"3\"", "\"train.step\":\"x\"", 0, "train.step in the file is \"x\"",
         WCOH_E_FORMAT},
        {"\"train.step\":\"3\"", "\"train.stop\":\"3\"", 0, "no train.step", WCOH_E_FORMAT},
        {"\"train.done\":\"0\"", "\"train.done\":\"2\"", 0, "train.done", WCOH_E_FORMAT},
        {"\"train.best_step\":\"2\"", "\"train.best_step\":\"4\"", 0,
         "train.best_step in the file is", WCOH_E_FORMAT},
        {"\"train.adam_steps\":\"3\"", "\"train.adam_steps\":\"4\"", 0, "a run of 3 steps",
         WCOH_E_FORMAT},
        {"\"train.patience_used\":\"0\"", "\"train.patience_used\":\"4\"", 0, "train.patience_used",
         WCOH_E_FORMAT},
        {"\"train.turn_step\":\"0\"", "\"train.turn_step\":\"4\"", 0, "train.turn_step",
         WCOH_E_FORMAT},
        {"\"train.turn\":\"0\"", "\"train.turn\":\"3\"", 0, "train.turn", WCOH_E_FORMAT},
        {"\"train.turn\":\"0\"", "\"train.turn\":\"1\"", 0, "train.turn",
         WCOH_E_FORMAT}, /* from 0 */
        {"\"train.evaluate\":\"0\"", "\"train.evaluate\":\"7\"", 0, "train.evaluate",
         WCOH_E_FORMAT},
        {"\"train.best_pending\":\"1\"", "\"train.best_pending\":\"2\"", 0, "train.best_pending",
         WCOH_E_FORMAT},
        {"\"train.text.hash\":\"", "\"train.text.hash\":\"g", 0, NULL, WCOH_E_FORMAT},
        {"\"train.val.tokens\":\"60\"", "\"train.val.tokens\":\"6x\"", 0,
         "train.val.tokens in the file is \"6x\"", WCOH_E_FORMAT},
        {"\"trainer.lr\":", "\"trainer.lx\":", 0, "trainer.lx", WCOH_E_FORMAT},
        {"\"train.rng\":\"", "\"train.rng\":\"g", 0, NULL, WCOH_E_FORMAT},
        {"\"adam.m.norm_f.bias\"", "\"adam.m.norm_f.base\"", 0, "adam.m.norm_f.bias is not",
         WCOH_E_MISMATCH},
        {"adam.m.norm_f.bias", NULL, ENDLESS, "adam.m.norm_f.bias: number 0 is inf", WCOH_E_FORMAT},
        {"adam.v.norm_f.bias", NULL, -1, "adam.v.norm_f.bias: number 0 is -1", WCOH_E_FORMAT},
        {"norm_f.bias", NULL, -ENDLESS, "norm_f.bias: number 0 is -inf", WCOH_E_FORMAT},
    };
    wcoh_model *model = small_model(SMALL, 4), *other = small_model(SMALL, 9);
    wcoh_trainer *trainer = small_trainer(model, 1, NULL), *victim = small_trainer(other, 1, NULL);
    size_t i, size, before_size;
    unsigned char *file, *before;
    steps(trainer, 3);
    steps(victim, 1);
    before = saved_trainer(victim, &before_size);
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        file = saved_trainer(trainer, &size);
        unseal(file, size);
        if (!bad[i].to) set_number(file, size, bad[i].from, 0, bad[i].value);
        else if (bad[i].says) edit(file, size, bad[i].from, bad[i].to);
        else { /* a digit that is none */
            size_t at = 0;
            while (memcmp(file + at, bad[i].from, strlen(bad[i].from))) at++;
            file[at + strlen(bad[i].from)] = 'g';
        }
        CHECK_SAY(resume(victim, file, size) == bad[i].result, "%s: %s", bad[i].from, error.text);
        CHECK_TEXT(error.text, bad[i].says ? bad[i].says : " in the file is ");
        CHECK(stands_at(victim, before, before_size));
        free(file);
    }
    free(before);
    wcoh_trainer_destroy(trainer);
    wcoh_trainer_destroy(victim);
    wcoh_model_destroy(model);
    wcoh_model_destroy(other);
}

static void a_failure_while_resuming_changes_nothing(void)
{
    wcoh_model *model = small_model(SMALL, 4), *other = small_model(SMALL, 9);
    counting counter = {0, 0, 0, 0};
    wcoh_memory memory = counting_memory(&counter);
    wcoh_trainer *trainer = small_trainer(model, 1, NULL),
                 *victim = small_trainer(other, 1, &memory);
    size_t size, before_size, i;
    unsigned char *file, *before;
    wcoh_memory_file block;
    wcoh_io base, io;
    faulty f;
    long n, live = counter.live;
    steps(trainer, 3);
    file = saved_trainer(trainer, &size);
    before = saved_trainer(victim, &before_size);
    base = io_of(&block, file, size, 0);
    for (n = 1;; n++) {
        io = faulty_io(&f, base, n);
        if (wcoh_trainer_resume(victim, &io, &error) == WCOH_OK) break;
        CHECK(error.code == WCOH_E_IO && stands_at(victim, before, before_size));
    }
    CHECK(n > 10 && stands_at(victim, file, size));
    CHECK(resume(victim, before, before_size) == WCOH_OK && stands_at(victim, before, before_size));
    for (n = 1;; n++) {
        counter.calls = 0;
        counter.fail_at = n;
        if (wcoh_trainer_resume(victim, &base, &error) == WCOH_OK) break;
        CHECK(error.code == WCOH_E_MEMORY && counter.live == live &&
              stands_at(victim, before, before_size));
    }
    counter.fail_at = 0;
    CHECK(n >= 2 && stands_at(victim, file, size) && counter.live == live);
    CHECK(resume(victim, before, before_size) == WCOH_OK);
    for (i = 0; i < size; i += 31 * stride) { /* damage */
        CHECK(resume(victim, file, i) != WCOH_OK);
        file[i] ^= (unsigned char)(1 << i % 8);
        if (!CHECK(resume(victim, file, size) != WCOH_OK || stands_at(victim, file, size)) ||
            !stands_at(victim, before, before_size))
            CHECK(memcmp(file, "", 0) == 0 && resume(victim, before, before_size) == WCOH_OK);
        file[i] ^= (unsigned char)(1 << i % 8);
    }
    CHECK(stands_at(victim, before, before_size));
    free(file);
    free(before);
    wcoh_trainer_destroy(trainer);
    wcoh_trainer_destroy(victim);
    wcoh_model_destroy(model);
    wcoh_model_destroy(other);
    CHECK(counter.live == 0);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static wcoh_session *small_session(wcoh_model *model, int prefill)
{
    wcoh_session_desc desc;
    wcoh_session *session = NULL;
    memset(&desc, 0, sizeof desc);
    desc.prefill = prefill;
    CHECK_SAY(wcoh_session_create(&session, model, &desc, &error) == WCOH_OK, "%s", error.text);
    return session;
}

static unsigned char *saved_session(const wcoh_session *session, size_t *size)
{
    wcoh_memory_file block;
    wcoh_io io = io_of_room(&block, wcoh_session_file_size(session));
    return file_in(&block, wcoh_session_save(session, &io, &error), size);
}

static wcoh_result load_session(wcoh_session *session, const void *file, size_t size)
{
    wcoh_memory_file block;
    wcoh_io io = io_of_copy(&block, file, size);
    return loaded(&block, wcoh_session_load(session, &io, &error));
}

static int same_logits(const wcoh_session *a, const wcoh_session *b, int vocab)
{
    const wcoh_real *x = wcoh_session_logits(a), *y = wcoh_session_logits(b);
    if (!x || !y) return x == y;
    return memcmp(x, y, (size_t)vocab * sizeof *x) == 0 &&
           wcoh_session_position(a) == wcoh_session_position(b);
}

static const char *const session_models[] = {
    SMALL,
    "vocab=5 bands=6 heads=3 layers=2 maestro=2 gain=11",
    SMALL " attention=shared",
    SMALL " attention=frozen",
    SMALL " attention=dot position=sinusoidal",
    SMALL " attention=rotary",
    "vocab=5 bands=4 heads=2 layers=3 maestro=2 context=64 attention=coherence,rotary ffn=kerr,mlp",
    "vocab=5 bands=2 heads=1 layers=2 maestro=1 context=64 attention=dot position=learned ffn=mlp",
};

static void a_session_goes_on_where_it_was_saved(void)
{
    static const size_t heard[] = {0, 1, 7, 40};
    size_t i, k, n, size;
    for (i = 0; i < sizeof session_models / sizeof session_models[0]; i++)
        for (k = 0; k < sizeof heard / sizeof heard[0]; k++) {
            wcoh_model *model = small_model(session_models[i], 6);
            wcoh_session *a = small_session(model, 16), *b = small_session(model, 16);
            uint32_t tokens[60];
            unsigned char *file;
            random_tokens(tokens, 60, 5, 12);
            CHECK(wcoh_session_prefill(a, tokens, heard[k], &error) == WCOH_OK);
            CHECK(wcoh_session_prefill(b, tokens + 3, 11, &error) == WCOH_OK); /* is overwritten */
            file = saved_session(a, &size);
            CHECK_SAY(load_session(b, file, size) == WCOH_OK, "%s: %s", session_models[i],
                      error.text);
            CHECK(same_logits(a, b, 5));
            for (n = heard[k]; n < 60; n++) {
                CHECK(wcoh_session_step(a, tokens[n], &error) == WCOH_OK);
                CHECK(wcoh_session_step(b, tokens[n], &error) == WCOH_OK);
                if (!CHECK_SAY(same_logits(a, b, 5), "%s, %d heard, at %d", session_models[i],
                               (int)heard[k], (int)n))
                    break;
            }
            free(file);
            wcoh_session_destroy(a);
            wcoh_session_destroy(b);
            wcoh_model_destroy(model);
        }
}

#ifndef WAVECOH_NO_STDIO
static void trainers_and_sessions_go_by_path(void)
{
    wcoh_model *model = small_model(SMALL, 4), *other = small_model(SMALL, 5);
    wcoh_trainer *trainer = small_trainer(model, 1, NULL), *second = small_trainer(other, 1, NULL);
    wcoh_session *a = small_session(model, 16), *b = small_session(model, 16);
    wcoh_trainer_desc desc;
    char path[400];
    size_t size;
    unsigned char *file;
    strcpy(path, path_of("run.safetensors"));
    steps(trainer, 2);
    file = saved_trainer(trainer, &size);
    CHECK_SAY(wcoh_trainer_save_file(trainer, path, &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_trainer_read_desc_file(&desc, path, &error) == WCOH_OK && desc.seq == 6);
    CHECK_SAY(wcoh_trainer_resume_file(second, path, &error) == WCOH_OK, "%s", error.text);
    CHECK(stands_at(second, file, size));
    CHECK(wcoh_model_read_file(other, path, &error) == WCOH_OK && same_model(model, other));
    CHECK(wcoh_session_step(a, 3, &error) == WCOH_OK);
    CHECK(wcoh_session_load_file(b, path, &error) == WCOH_E_MISMATCH);
    CHECK_TEXT(error.text, "run.safetensors: the file holds a trainer, not a session");
    CHECK_SAY(wcoh_session_save_file(a, path, &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_session_load_file(b, path, &error) == WCOH_OK && same_logits(a, b, 5));
    CHECK(wcoh_trainer_resume_file(second, path, &error) == WCOH_E_MISMATCH);
    CHECK(wcoh_trainer_read_desc_file(&desc, path, &error) == WCOH_E_MISMATCH);
    CHECK(wcoh_model_read_file(other, path, &error) == WCOH_E_MISMATCH && same_model(model, other));
    CHECK(wcoh_trainer_save_file(NULL, path, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_session_save_file(NULL, path, &error) == WCOH_E_ARGUMENT);
    remove(path);
    free(file);
    wcoh_session_destroy(a);
    wcoh_session_destroy(b);
    wcoh_trainer_destroy(trainer);
    wcoh_trainer_destroy(second);
    wcoh_model_destroy(model);
    wcoh_model_destroy(other);
}
#endif

static void a_bad_session_file_changes_nothing(void)
{
    static const struct {
        const char *from, *to; /* an edit of the header, or a tensor and NULL */
        size_t index;
        double value;
        const char *says;
        wcoh_result result;
    } bad[] = {
        {"\"model.gain\":\"2\"", "\"model.gain\":\"3\"", 0, 0, "gain is 2 here and 3 in the file",
         WCOH_E_MISMATCH},
        {"\"wavecoh.kind\":\"session\"", "\"wavecoh.kind\":\"sessian\"", 0, 0, "sessian",
         WCOH_E_MISMATCH},
        {"\"session.position\":\"9\"", "\"session.position\":\"-\"", 0, 0, "no position",
         WCOH_E_FORMAT},
        {"\"session.has_logits\":\"1\"", "\"session.has_logits\":\"2\"", 0, 0, "session.has_logits",
         WCOH_E_FORMAT},
        {"\"session.position\":\"9\"", "\"session.position\":\"0\"", 0, 0, "session.has_logits",
         WCOH_E_FORMAT},
        {"\"session.logits\"", "\"session.lagits\"", 0, 0, "session.logits is not",
         WCOH_E_MISMATCH},
        {"session.recent", NULL, 4, 5, "session.recent: number 4 is 5", WCOH_E_FORMAT},
        {"session.recent", NULL, 1023, 4294967295.0, "a token of the model", WCOH_E_FORMAT},
        {"session.logits", NULL, 1, ENDLESS, "session.logits: number 1 is inf", WCOH_E_FORMAT},
        {"session.hidden", NULL, 2, ENDLESS, "session.hidden: number 2 is inf", WCOH_E_FORMAT},
        {"\"session.hidden\"", "\"session.hiddex\"", 0, 0, "session.hiddex is in the file",
         WCOH_E_MISMATCH},
        {"session.states", NULL, 100, ENDLESS, "session.states: number 100 is inf", WCOH_E_FORMAT},
        {"session.states", NULL, WCOHI_WAVE_ORDER, 1e9, "not what this model makes", WCOH_E_FORMAT},
        {"session.states", NULL, WCOHI_WAVE_ORDER, 1e300, "not what this model makes",
         WCOH_E_FORMAT},
        {"session.states", NULL, WCOHI_WAVE_ORDER, -1, "not what this model makes", WCOH_E_FORMAT},
        {"session.states", NULL, WCOHI_WAVE_ORDER, 1.5, "not what this model makes", WCOH_E_FORMAT},
    };
    wcoh_model *model = small_model(SMALL, 6), *other = small_model("vocab=5 bands=3 heads=1", 6);
    wcoh_session *a = small_session(model, 16), *b = small_session(model, 16),
                 *c = small_session(other, 16);
    uint32_t tokens[9];
    size_t i, size, before_size;
    unsigned char *file, *before;
    random_tokens(tokens, 9, 5, 12);
    CHECK(wcoh_session_prefill(a, tokens, 9, &error) == WCOH_OK);
    CHECK(wcoh_session_prefill(b, tokens, 4, &error) == WCOH_OK);
    before = saved_session(b, &before_size);
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        unsigned char *after;
        file = saved_session(a, &size);
        unseal(file, size);
        if (bad[i].to) edit(file, size, bad[i].from, bad[i].to);
        else set_number(file, size, bad[i].from, bad[i].index, bad[i].value);
        CHECK_SAY(load_session(b, file, size) == bad[i].result, "%s: %s", bad[i].from, error.text);
        CHECK_TEXT(error.text, bad[i].says);
        free(file);
        after = saved_session(b, &size);
        CHECK(size == before_size && memcmp(after, before, size) == 0);
        free(after);
    }
    file = saved_session(a, &size);
    CHECK(load_session(c, file, size) == WCOH_E_MISMATCH);
    for (i = 0; i < size; i += 13 * stride) {
        CHECK(load_session(b, file, i) != WCOH_OK);
        file[i] ^= (unsigned char)(1 << i % 8);
        if (load_session(b, file, size) == WCOH_OK) CHECK(same_logits(a, b, 5));
        file[i] ^= (unsigned char)(1 << i % 8);
    }
    free(file);
    free(before);
    wcoh_session_destroy(a);
    wcoh_session_destroy(b);
    wcoh_session_destroy(c);
    wcoh_model_destroy(model);
    wcoh_model_destroy(other);
}

static void an_old_session_goes_on(void)
{
    wcoh_model *model = small_model(SMALL, 6);
    wcoh_session *session = small_session(model, 16), *old = small_session(model, 16);
    uint32_t tokens[12];
    unsigned char *file;
    size_t size;
    random_tokens(tokens, 12, 5, 12);
    CHECK(wcoh_session_prefill(session, tokens, 12, &error) == WCOH_OK);
    file = saved_session(session, &size);
    make_old(file, size, 0);
    CHECK_SAY(load_session(old, file, size) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_session_step(session, 3, &error) == WCOH_OK);
    CHECK(wcoh_session_step(old, 3, &error) == WCOH_OK);
    CHECK(memcmp(wcoh_session_logits(old), wcoh_session_logits(session), 5 * sizeof(wcoh_real)) ==
          0);
    free(file);
    wcoh_session_destroy(session);
    wcoh_session_destroy(old);
    wcoh_model_destroy(model);
}

/* Nothing can have been heard behind the last learned position. */
static void a_session_file_ends_with_the_learned_positions(void)
{
    wcoh_model *model = small_model("vocab=5 bands=2 heads=1 context=12 position=learned", 6);
    wcoh_session *session = small_session(model, 16);
    uint32_t tokens[12];
    unsigned char *file;
    size_t size;
    random_tokens(tokens, 12, 5, 12);
    CHECK(wcoh_session_prefill(session, tokens, 12, &error) == WCOH_OK);
    file = saved_session(session, &size);
    CHECK_SAY(load_session(session, file, size) == WCOH_OK, "%s", error.text);
    unseal(file, size);
    edit(file, size, "\"session.position\":\"12\"", "\"session.position\":\"13\"");
    CHECK(load_session(session, file, size) == WCOH_E_FORMAT);
    CHECK_TEXT(error.text, "session.position");
    CHECK(wcoh_session_position(session) == 12);
    free(file);
    wcoh_session_destroy(session);
    wcoh_model_destroy(model);
}

/* Numbers within bounds that are no state of this model: other logits, no harm. */
static void an_invented_state_does_no_harm(void)
{
    size_t i, k, n, size;
    for (i = 0; i < sizeof session_models / sizeof session_models[0]; i++) {
        wcoh_model *model = small_model(session_models[i], 6);
        wcoh_session *session = small_session(model, 4);
        unsigned char *file;
        uint32_t tokens[4] = {1, 2, 3, 4};
        wcoh_rng rng = wcoh_rng_seed(3);
        int count;
        wcohi_states states = wcohi_states_of(&session->crowd.engine.plan, 0, &count);
        size_t reals = states.bytes / (states.reals ? sizeof(wcoh_real) : sizeof(double));
        CHECK(wcoh_session_prefill(session, tokens, 4, &error) == WCOH_OK);
        file = saved_session(session, &size);
        unseal(file, size);
        for (k = 0; k < 40; k++) {
            for (n = 0; n < 50; n++)
                set_number(file, size, states.mixed ? "session.states.0" : "session.states",
                           (size_t)wcohi_rng_below(&rng, n % 2 ? reals : WCOHI_MIN(reals, 16)),
                           (double)(int64_t)wcohi_rng_below(&rng, 60) * (k % 3 ? 1 : 1e30) -
                               (k % 2 ? 20 : 0));
            if (load_session(session, file, size)) continue;
            wcoh_session_prefill(session, tokens, 4, &error);
            wcoh_session_step(session, 1, &error);
        }
        free(file);
        wcoh_session_destroy(session);
        wcoh_model_destroy(model);
    }
}

/* ---- smaller numbers ------------------------------------------------------------------------- */

/* Every half there is comes back from its value; numbers between two go to the nearer, of a tie to the
   even one. */
static void halves_are_the_nearest(void)
{
    uint32_t bits, wrong = 0;
    for (bits = 0; bits < 0x7c00; bits++) {
        double here = wcohi_bits_half(bits), next = wcohi_bits_half(bits + 1);
        double middle = bits == 0x7bff ? 65520 - 1e-9 : (here + next) / 2;
        wrong += wcohi_half_bits(here) != bits || wcohi_half_bits(-here) != (bits | 0x8000u);
        if (bits == 0x7bff) continue;
        wrong += wcohi_half_bits(middle) != (bits % 2 ? bits + 1 : bits);
        wrong += wcohi_half_bits(middle * (1 + 1e-12)) != bits + 1;
        wrong += wcohi_half_bits(middle * (1 - 1e-12)) != bits;
    }
    CHECK_SAY(wrong == 0, "%lu", (unsigned long)wrong);
    CHECK(wcohi_bfloat_bits(1.0) == 0x3f80 && wcohi_bfloat_bits(-2.5) == 0xc020);
    CHECK(wcohi_bfloat_bits(1.00390625) == 0x3f80); /* 1 + 2^-8, a tie: to even */
    CHECK(wcohi_bfloat_bits(1.01171875) == 0x3f82); /* 1 + 3 2^-8 */
}

/* The file loads; vectors are what they were, matrices within half a step of the type. */
static void files_of_smaller_numbers_load(void)
{
    static const char *const networks[] = {
        "vocab=5 bands=6 heads=2 layers=2 maestro=3",
        "vocab=5 bands=6 heads=2 layers=2 attention=frozen head=tied groups=3 position=sinusoidal",
        "vocab=5 bands=6 heads=2 layers=1 head=low_rank head_rank=3 per_band_first=on"};
    static const double steps[] = {0, 1.0 / 2048, 1.0 / 256, 0};
    int k, i, type;
    size_t n, at;
    for (k = 0; k < 3; k++)
        for (type = 0; type < 4; type++) {
            wcoh_model_desc desc = model_desc_of(networks[k]);
            wcoh_model *model = model_of(&desc), *loaded = NULL;
            wcoh_memory_file block;
            wcoh_io io = io_of(&block, space, 0, sizeof space);
            wcoh_param p, q;
            randomise(model, 4);
            CHECK_SAY(wcoh_model_save_as(model, (wcoh_weights)type, &io, &error) == WCOH_OK, "%s",
                      error.text);
            CHECK(block.used <= wcoh_model_size_as(model, (wcoh_weights)type));
            CHECK(type != 0 || block.used <= wcoh_model_file_size(model));
            CHECK_SAY(wcoh_model_load(&loaded, &io, NULL, &error) == WCOH_OK, "%s", error.text);
            for (i = 0; loaded && i < wcoh_model_param_count(model); i++) {
                double most = 0, allowed;
                size_t columns;
                wcoh_model_param(model, i, &p, NULL);
                wcoh_model_param(loaded, i, &q, NULL);
                if (p.dims < 2) {
                    CHECK_SAY(memcmp(p.data, q.data, p.count * sizeof *p.data) == 0, "%s", p.name);
                    continue;
                }
                columns = (size_t)p.shape[p.dims - 1];
                for (n = 0; n < p.count; n++) {
                    for (at = 0; n % columns == 0 && at < columns; at++)
                        most = fmax(at ? most : 0, fabs((double)p.data[n + at]));
                    allowed = type == 3 ? most / 254 * (1 + 1e-5)
                                        : fabs((double)p.data[n]) * steps[type] + 6e-8 * (type > 0);
                    if (!CHECK_SAY(fabs((double)p.data[n] - (double)q.data[n]) <= allowed,
                                   "%s: number %d is %g, was %g", p.name, (int)n, (double)q.data[n],
                                   (double)p.data[n]))
                        break;
                }
            }
            wcoh_model_destroy(model);
            wcoh_model_destroy(loaded);
        }
}

/* Smaller numbers that are the model's own come back to the bit: what was loaded, saved again. */
static void smaller_numbers_stay_when_saved_again(void)
{
    int type;
    for (type = 1; type < 3; type++) {
        wcoh_model *model = small_model("vocab=5 bands=6 heads=2", 6), *one = NULL, *two = NULL;
        wcoh_memory_file block;
        wcoh_io io = io_of(&block, space, 0, sizeof space);
        CHECK(wcoh_model_save_as(model, (wcoh_weights)type, &io, &error) == WCOH_OK);
        CHECK(wcoh_model_load(&one, &io, NULL, &error) == WCOH_OK);
        io = io_of(&block, space, 0, sizeof space);
        CHECK(wcoh_model_save_as(one, (wcoh_weights)type, &io, &error) == WCOH_OK);
        CHECK(wcoh_model_load(&two, &io, NULL, &error) == WCOH_OK);
        CHECK(same_parameters(one, two));
        wcoh_model_destroy(model);
        wcoh_model_destroy(one);
        wcoh_model_destroy(two);
    }
}

/* How far the logits of two sessions are apart, over the largest, after each of twenty steps. */
static double logits_apart(wcoh_session *a, wcoh_session *b, int vocab)
{
    double apart = 0, most = 1;
    uint32_t i;
    int v;
    for (i = 0; i < 20; i++) {
        CHECK(wcoh_session_step(a, (i * i + 1) % (uint32_t)vocab, &error) == WCOH_OK);
        CHECK(wcoh_session_step(b, (i * i + 1) % (uint32_t)vocab, &error) == WCOH_OK);
        for (v = 0; v < vocab; v++) {
            double x = (double)wcoh_session_logits(a)[v], y = (double)wcoh_session_logits(b)[v];
            apart = fmax(apart, fabs(x - y));
            most = fmax(most, fabs(y));
        }
    }
    return apart / most;
}

/* A packed model is what its file of bytes loads as, to the last digit of a scale; a session that
   multiplies from bytes differs from one with those floats by the rounding of sums of at most 24; it
   may have been there before; and once a parameter may have changed the floats count. */
static void packed_as(const char *settings, wcoh_isa isa)
{
    wcoh_model_desc desc = model_desc_of(settings);
    wcoh_model *packed = model_of(&desc), *floats = model_of(&desc), *loaded = NULL;
    wcoh_memory_file block;
    wcoh_io io = io_of(&block, space, 0, sizeof space);
    wcoh_session *bytes, *plain;
    double apart = 0;
    size_t i;
    randomise(packed, 4);
    bytes = session_on(packed, isa);
    CHECK(wcoh_model_save_as(packed, WCOH_WEIGHTS_I8, &io, &error) == WCOH_OK);
    CHECK(wcoh_model_load(&loaded, &io, NULL, &error) == WCOH_OK);
    CHECK(wcoh_model_pack(packed, &error) == WCOH_OK);
    for (i = 0; i < packed->reals; i++)
        apart = fmax(apart, fabs((double)packed->params[i] - (double)loaded->params[i]));
    CHECK_SAY(apart <= 2.5e-7, "%g", apart);
    CHECK(wcoh_model_copy(floats, packed, &error) == WCOH_OK);
    plain = session_on(floats, isa);
    apart = logits_apart(bytes, plain, desc.vocab);
    CHECK_SAY(apart > 0 && apart <= 1e-5, "%s, %s: %g", settings, wcoh_isa_name(isa), apart);
    wcoh_model_touch(packed);
    wcoh_session_reset(bytes);
    wcoh_session_reset(plain);
    CHECK(logits_apart(bytes, plain, desc.vocab) <= 0);
    wcoh_session_destroy(bytes);
    wcoh_session_destroy(plain);
    wcoh_model_destroy(packed);
    wcoh_model_destroy(floats);
    wcoh_model_destroy(loaded);
}

static void a_session_multiplies_from_bytes(void)
{
    int i;
    EACH_ISA(i) {
        packed_as("vocab=5 bands=6 heads=2 layers=2 maestro=3", every_isa[i]);
        packed_as("vocab=11 bands=12 heads=3 layers=2 maestro=4 head=tied", every_isa[i]);
        packed_as(
            "vocab=5 bands=6 heads=2 layers=2 attention=dot,rotary ffn=mlp groups=3 context=30",
            every_isa[i]);
        packed_as("vocab=13 bands=6 heads=2 layers=1 head=low_rank head_rank=3 per_band_first=on "
                  "forgetting=on loudness=on",
                  every_isa[i]);
    }
}

/* Nothing is packed of what is not finite or for which there is no memory, and nothing changes. */
static void packing_fails_whole(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=5 bands=6 heads=2 layers=1 maestro=3");
    counting counter;
    wcoh_model *model = NULL, *same = model_of(&desc);
    wcoh_param p;
    memset(&counter, 0, sizeof counter);
    desc.memory = counting_memory(&counter);
    CHECK(wcoh_model_create(&model, &desc, &error) == WCOH_OK);
    wcoh_model_copy(same, model, NULL);
    counter.fail_at = counter.calls + 1;
    CHECK(wcoh_model_pack(model, &error) == WCOH_E_MEMORY && same_parameters(model, same));
    counter.fail_at = 0;
    wcoh_model_param(model, wcoh_model_param_find(model, "head.weight"), &p, NULL);
    p.data[3] = (wcoh_real)HUGE_VAL;
    CHECK(wcoh_model_pack(model, &error) == WCOH_E_NUMERIC);
    CHECK_TEXT(error.text, "head.weight: number 3 is inf, it must be finite");
    CHECK(wcoh_model_pack(NULL, &error) == WCOH_E_ARGUMENT);
    p.data[3] = 1;
    CHECK(wcoh_model_pack(model, &error) == WCOH_OK && counter.live == 2);
    CHECK(wcoh_model_pack(model, &error) == WCOH_OK && counter.live == 2);
    wcoh_model_destroy(model);
    wcoh_model_destroy(same);
    CHECK(counter.live == 0);
}

/* What is saved loads, at both ends of a float: the nearest finite number, and zeros keep their sign. */
static void the_largest_and_the_least_numbers_are_saved(void)
{
    static const struct {
        double x;
        wcoh_weights weights;
        double loads; /* as this */
    } ends[] = {
        {3.4028234663852886e38, WCOH_WEIGHTS_F32, 3.4028234663852886e38},
        {3.4028234663852886e38, WCOH_WEIGHTS_BF16, 3.3895313892515355e38}, /* (2 - 2^-7) 2^127 */
        {-3.3961775292304957e38, WCOH_WEIGHTS_BF16, -3.3895313892515355e38}, /* half-way beyond it */
        {3.38e38, WCOH_WEIGHTS_BF16, 3.376239e38},
        {3.4028234663852886e38, WCOH_WEIGHTS_I8, 3.402782e38}, /* 127 times a scale below its share */
        {-3.4028234663852886e38, WCOH_WEIGHTS_I8, -3.402782e38},
        {-0.0, WCOH_WEIGHTS_F16, -0.0},
        {0.0, WCOH_WEIGHTS_F16, 0.0},
        {-1e-30, WCOH_WEIGHTS_F16, -0.0},
        {-0.0, WCOH_WEIGHTS_BF16, -0.0},
    };
    wcoh_model *model = small_model("vocab=5 bands=6 heads=2", 6), *loaded = NULL;
    wcoh_param p, q;
    size_t i;
    int head = wcoh_model_param_find(model, "head.weight");
    wcoh_model_param(model, head, &p, NULL);
    for (i = 0; i < sizeof ends / sizeof *ends; i++) {
        wcoh_memory_file block;
        wcoh_io io = io_of(&block, space, 0, sizeof space);
        p.data[3] = (wcoh_real)ends[i].x;
        CHECK(wcoh_model_save_as(model, ends[i].weights, &io, &error) == WCOH_OK);
        if (!CHECK_SAY(wcoh_model_load(&loaded, &io, NULL, &error) == WCOH_OK, "%s", error.text))
            continue;
        wcoh_model_param(loaded, head, &q, NULL);
        CHECK_NEAR(q.data[3], ends[i].loads, 1e-6 * fabs(ends[i].loads) + 1e-45);
        CHECK(!signbit(q.data[3]) == !signbit(ends[i].loads));
        wcoh_model_destroy(loaded);
    }
    for (i = 0; i < 2; i++) {
        p.data[3] = (wcoh_real)(i ? -3.4028234663852886e38 : 3.4028234663852886e38);
        CHECK(wcoh_model_pack(model, &error) == WCOH_OK);
        CHECK_NEAR(p.data[3], i ? -3.402782e38 : 3.402782e38, 1e33);
    }
    wcoh_model_destroy(model);
}

/* A sentence shows decimals, of 15 digits where more would be needed; a file holds every bit. */
static void sentences_show_decimals(void)
{
    static const struct {
        double x;
        const char *says;
    } far[] = {{0.1f + 70000, "number 3 is 70000.1015625,"},
               {70000.7f * 1.1f, "number 3 is 77000.7734375,"},
               {-3.4028234663852886e38, "number 3 is -3.40282346638529e38,"}};
    static const char *const rates[][2] = {{"123.45678901234567890", "lr is 123.456789012346:"},
                                           {"0x1edd3c07fb4c99p-46", "lr is 123.456789012346:"},
                                           {"1e-10", "lr is 1e-10:"}};
    wcoh_model *model = small_model("vocab=5 bands=6 heads=2", 6);
    wcoh_trainer_desc desc;
    wcoh_param p;
    size_t i;
    char written[64];
    wcoh_model_param(model, wcoh_model_param_find(model, "head.weight"), &p, NULL);
    for (i = 0; i < 3; i++) {
        wcoh_memory_file block;
        wcoh_io io = io_of(&block, space, 0, sizeof space);
        p.data[3] = (wcoh_real)far[i].x;
        CHECK(wcoh_model_save_as(model, WCOH_WEIGHTS_F16, &io, &error) == WCOH_E_NUMERIC);
        CHECK_TEXT(error.text, far[i].says);
        memset(&desc, 0, sizeof desc);
        CHECK(wcoh_field_set(WCOH_DESC_TRAINER, &desc, "lr", rates[i][0], &error) < 0);
        CHECK_TEXT(error.text, rates[i][1]);
    }
    desc.lr = 0.1 + 0.2; /* 17 digits */
    CHECK(wcoh_field_get(WCOH_DESC_TRAINER, &desc, "lr", written, sizeof written) > 0);
    CHECK_TEXT(written, "0x");
    desc.lr = 0;
    CHECK(wcoh_field_set(WCOH_DESC_TRAINER, &desc, "lr", written, &error) == WCOH_OK);
    CHECK_NEAR(desc.lr, 0.1 + 0.2, 0);
    wcoh_model_destroy(model);
}

static void bad_bytes_are_refused(void)
{
    static const struct {
        const char *from, *to, *says;
    } bad[] = {
        {"\"head.weight.scale\"", "\"head.weight.scala\"",
         "the file has I8 and no head.weight.scale"},
        {"\"norm_f.bias\":{\"dtype\":\"F32\",\"shape\":[12]",
         "\"norm_f.biax\":{\"dtype\":\"F32\",\"shape\":[12]", "norm_f.bias is not in the file"},
        {"\"head.weight.scale\":{\"dtype\":\"F32\"", "\"head.weight.scale\":{\"dtype\":\"I32\"",
         "head.weight.scale: expected 5 floats, one a row"},
        {"\"head.weight\":{\"dtype\":\"I8\"", "\"head.weight\":{\"dtype\":\"U8\"",
         "expected numbers of type F32, the file has U8"},
    };
    wcoh_model *model = small_model("vocab=5 bands=6 heads=2", 6), *loaded = NULL;
    wcoh_param p;
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        wcoh_memory_file block;
        wcoh_io io = io_of(&block, space, 0, sizeof space);
        CHECK(wcoh_model_save_as(model, WCOH_WEIGHTS_I8, &io, &error) == WCOH_OK);
        unseal(space, block.used);
        edit(space, block.used, bad[i].from, bad[i].to);
        CHECK(wcoh_model_load(&loaded, &io, NULL, &error) == WCOH_E_MISMATCH && !loaded);
        CHECK_TEXT(error.text, bad[i].says);
    }
    {
        wcoh_memory_file block;
        wcoh_io io = io_of(&block, space, 0, sizeof space);
        CHECK(wcoh_model_save_as(model, WCOH_WEIGHTS_I8, &io, &error) == WCOH_OK);
        unseal(space, block.used);
        set_number(space, block.used, "head.weight.scale", 2, ENDLESS);
        CHECK(wcoh_model_load(&loaded, &io, NULL, &error) == WCOH_E_FORMAT && !loaded);
        CHECK_TEXT(error.text, "head.weight: number 24 is");
        CHECK(wcoh_model_save_as(model, (wcoh_weights)4, &io, &error) == WCOH_E_ARGUMENT);
        CHECK_TEXT(error.text, "weights is 4: allowed are 0 to 3");
        CHECK(wcoh_model_size_as(model, (wcoh_weights)-1) == 0);
        wcoh_model_param(model, wcoh_model_param_find(model, "head.weight"), &p, NULL);
        p.data[3] = 70000;
        io = io_of(&block, space, 0, sizeof space);
        CHECK(wcoh_model_save_as(model, WCOH_WEIGHTS_F16, &io, &error) == WCOH_E_NUMERIC);
        CHECK_TEXT(error.text, "head.weight: number 3 is 70000, it must be at most 65504 as F16");
    }
    wcoh_model_destroy(model);
}

int main(int count, char **arguments)
{
#ifdef TEST_PROCESSES
    if (count > 1) kills = atoi(arguments[1]);
    strcpy(folder, "/tmp/wavecoh-files-XXXXXX");
    if (!mkdtemp(folder)) return 1;
#else
    (void)count;
    (void)arguments;
#endif
    if (getenv("WAVECOH_TEST_SHORT")) stride = 13;
    RUN(checksum_is_xxh64);
    RUN(numbers_of_all_types_decode);
    RUN(every_half_is_the_next_after_the_one_before);
    RUN(doubles_narrow_to_the_nearest_float);
    RUN(a_header_is_read);
    RUN(hostile_headers_are_refused);
    RUN(headers_of_other_writers_are_read);
    RUN(unknown_types_are_refused_alone);
    RUN(names_in_sentences_are_harmless);
    RUN(sizes_before_the_header_are_checked);
    RUN(many_tensors_are_found);
    RUN(a_model_comes_back);
    RUN(a_tokenizer_travels_with_its_model);
    RUN(every_truncation_and_every_flipped_bit_is_noticed);
    RUN(unsealed_damage_does_no_harm);
    RUN(edits_are_understood);
    RUN(a_giant_in_a_small_file_takes_no_memory);
    RUN(bad_values_are_neither_saved_nor_loaded);
    RUN(files_of_other_programs_load);
    RUN(a_failing_allocation_is_an_error_and_no_leak);
    RUN(a_model_loads_into_the_callers_block);
    RUN(every_failing_callback_is_an_error);
    RUN(a_file_that_changes_while_it_is_read_does_no_harm);
    RUN(missing_arguments_are_errors);
#ifndef WAVECOH_NO_STDIO
    RUN(a_failing_system_call_leaves_the_old_file_or_the_new);
#ifndef _WIN32
    RUN(a_save_takes_away_what_dead_processes_left);
#endif
    RUN(a_path_is_checked_without_touching_what_is_there);
    RUN(what_a_program_keeps_is_saved_as_models_are);
    RUN(a_note_comes_back_and_the_weights_with_it);
    RUN(a_stale_temporary_file_is_stepped_over);
    RUN(tensors_open_by_path);
#ifdef TEST_PROCESSES
    RUN(links_are_followed_and_permissions_kept);
    RUN(special_files_are_written_as_they_stand);
    RUN(pipes_are_written_by_the_links_that_lead_to_them);
    RUN(a_full_disk_keeps_the_old_file);
    RUN(a_killed_process_leaves_a_loadable_file);
    RUN(a_killed_process_leaves_a_whole_wave_memory);
#endif
#endif
    RUN(a_resumed_run_is_the_uninterrupted_one);
    RUN(an_evaluation_that_was_due_needs_a_validation_text);
    RUN(a_decay_goes_on_after_resuming);
    RUN(a_resumed_rate_does_not_jump);
    RUN(an_infinite_loss_comes_back);
    RUN(figures_come_back);
    RUN(the_best_weights_wait_until_they_are_kept);
    RUN(evaluations_take_the_mean_of_the_weights);
    RUN(updates_go_by_the_weights_themselves);
    RUN(a_mean_goes_on_after_a_resume);
    RUN(another_text_is_noticed);
    RUN(a_trainer_file_tells_how_it_was_made);
    RUN(an_old_checkpoint_goes_on);
    RUN(a_bad_trainer_file_changes_nothing);
    RUN(a_failure_while_resuming_changes_nothing);
    RUN(a_session_goes_on_where_it_was_saved);
#ifndef WAVECOH_NO_STDIO
    RUN(trainers_and_sessions_go_by_path);
#endif
    RUN(a_bad_session_file_changes_nothing);
    RUN(an_old_session_goes_on);
    RUN(a_session_file_ends_with_the_learned_positions);
    RUN(an_invented_state_does_no_harm);
    RUN(halves_are_the_nearest);
    RUN(files_of_smaller_numbers_load);
    RUN(a_session_multiplies_from_bytes);
    RUN(packing_fails_whole);
    RUN(smaller_numbers_stay_when_saved_again);
    RUN(the_largest_and_the_least_numbers_are_saved);
    RUN(sentences_show_decimals);
    RUN(bad_bytes_are_refused);
#ifdef TEST_PROCESSES
    remove(folder);
#endif
    return test_end();
}
