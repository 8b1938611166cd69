/* The text that example programs take in and give out (examples/text.h): whatever bytes a file
   holds, what leaves is valid where it must be, and nothing is cut. */
#include "../examples/text.h"
#include "test.h"

static void equal(const char *a, const char *b)
{
    CHECK_SAY(strcmp(a, b) == 0, "\"%s\" is not \"%s\"", a, b);
}

static int is_utf8(const char *text)
{
    size_t size = strlen(text), at = 0;
    while (at < size) {
        unsigned long point;
        int length = utf8_length(text + at, size - at, &point);
        if (!length) return 0;
        at += (size_t)length;
    }
    return 1;
}

/* All pairs of bytes, and every byte after the beginning of a character. */
static void any_bytes(void (*check)(const char *text))
{
    int a, b;
    char text[6];
    for (a = 1; a < 256; a++)
        for (b = 0; b < 256; b++) {
            sprintf(text, "%c%c", a, b);
            check(text);
            sprintf(text, "\360\237%c%c", a, b);
            check(text);
        }
}

static void is_fit_everywhere(const char *text)
{
    const char *shown = text_shown(text), *xml = text_xml(text), *json = text_json(text);
    const char *name = text_file_name(text);
    int i;
    if (!is_utf8(shown) || !is_utf8(xml) || !is_utf8(json) || !is_utf8(name))
        CHECK_SAY(0, "valid UTF-8");
    if (strpbrk(xml, "<>\"'") || strpbrk(name, "/\\:*?\"<>| ") || *name == '.' || !*name)
        CHECK_SAY(0, "no character with a meaning");
    for (i = 1; i < 32; i++)
        if (strchr(shown, i) || strchr(json, i) || strchr(xml, i) || strchr(name, i))
            CHECK_SAY(0, "no controls");
}

static void controls_and_broken_bytes_are_shown_as_what_they_are(void)
{
    equal(text_shown("a\033[31mb"), "a\\x1b[31mb");
    equal(text_shown("\302\233 \342\200\256 \377"), "\\u009b \\u202e \\xff");
    equal(text_shown("h\303\251 \345\220\214"), "h\303\251 \345\220\214");
    equal(text_shown("\300\200 \355\240\200"), "\\xc0\\x80 \\xed\\xa0\\x80");
}

static void xml_and_json_hold_what_was_there_and_are_valid(void)
{
    equal(text_xml("a<b & \"c\" \001\303"), "a&lt;b &amp; &quot;c&quot; " UTF8_BROKEN UTF8_BROKEN);
    equal(text_json("a\"b\\\n\303"), "a\\\"b\\\\\\u000a" UTF8_BROKEN);
    equal(text_json("\302\233 \342\200\256 \357\273\277\303\251"),
          "\\u009b \\u202e \\ufeff\303\251");
}

static void any_bytes_are_fit_for_terminal_xml_json_and_file_name(void)
{
    any_bytes(is_fit_everywhere);
    CHECK(1);
}

static void different_texts_give_different_file_names(void)
{
    char long_a[300], long_b[300];
    equal(text_file_name("syn-1_x.y"), "syn-1_x.y");
    equal(text_file_name("\345\220\214/\345\217\215"), "\345\220\214%2f\345\217\215");
    equal(text_file_name("a b"), "a%20b");
    equal(text_file_name("a%20b"), "a%2520b");
    equal(text_file_name(""), "%");
    equal(text_file_name(".."), "%2e.");
    memset(long_a, 'x', 299);
    memset(long_b, 'x', 299);
    long_a[299] = long_b[299] = 0;
    long_b[298] = 'y';
    CHECK(strcmp(text_file_name(long_a), text_file_name(long_b)) != 0);
    CHECK(strlen(text_file_name(long_a)) < 130);
}

static void a_long_label_ends_in_an_ellipsis_at_the_border_of_a_character(void)
{
    equal(text_shortened("\303\274\303\274\303\274", 3), "\303\274\303\274\303\274");
    equal(text_shortened("\303\274\303\274\303\274\303\274", 3), "\303\274\303\274\342\200\246");
    equal(text_shortened("", 3), "");
    equal(text_shortened("ab", 1), "\342\200\246");
}

static void a_made_text_has_any_length(void)
{
    char *text, *again;
    text = text_made("%0*d", 5000, 7);
    again = text_made("%s.%s", text, text);
    CHECK((long)strlen(again) == 10001);
}

/* What `bytes` become when they come one by one. */
static const char *flowed(const char *bytes, int tame)
{
    static char made[64];
    text_flow flow;
    FILE *file = tmpfile();
    size_t size;
    if (!file) return "no temporary file";
    memset(&flow, 0, sizeof flow);
    flow.tame = tame;
    for (; *bytes; bytes++) flow_write(&flow, bytes, 1, file);
    flow_out(&flow, 1, file);
    rewind(file);
    size = fread(made, 1, sizeof made - 1, file);
    made[size] = 0;
    fclose(file);
    return made;
}

static void bytes_leave_as_whole_characters_and_broken_ones_as_one_mark(void)
{
    equal(flowed("a\345\220\214\360\237\214\212b", 0), "a\345\220\214\360\237\214\212b");
    equal(flowed("\345\220a", 0), UTF8_BROKEN "a");
    equal(flowed("\345\345\220\214\377", 0), UTF8_BROKEN "\345\220\214" UTF8_BROKEN);
    equal(flowed("\360\237\214", 0), UTF8_BROKEN);
    equal(flowed("\300\200\355\240", 0), UTF8_BROKEN UTF8_BROKEN UTF8_BROKEN UTF8_BROKEN);
    equal(flowed("\033[2Jx\n", 1), UTF8_BROKEN "[2Jx\n");
    equal(flowed("\033[2Jx\n", 0), "\033[2Jx\n");
}

/* The file `name` with these bytes, and its lines. */
static char **lines_of(const char *bytes, size_t size, size_t *count)
{
    const char *path = "test_program_text.tmp";
    FILE *file = fopen(path, "wb");
    char **lines;
    *count = 0;
    if (!file) return NULL;
    fwrite(bytes, 1, size, file);
    fclose(file);
    lines = file_lines(path, count);
    remove(path);
    return lines;
}

static void lines_are_positional_whatever_ends_them(void)
{
    static const char dos[] = "\357\273\277one\r\n\r\nthree", unix_[] = "one\n\nthree\n";
    size_t count, i;
    char **lines;
    for (i = 0; i < 2; i++) {
        lines =
            i ? lines_of(unix_, sizeof unix_ - 1, &count) : lines_of(dos, sizeof dos - 1, &count);
        CHECK((long)count == 3);
        equal(lines[0], "one");
        equal(lines[1], "");
        equal(lines[2], "three");
    }
    lines = lines_of("\n\n", 2, &count);
    CHECK((long)count == 2);
    equal(lines[1], "");
}

static const char *guess_of(const char *given, const char *words)
{
    word_guess guess;
    memset(&guess, 0, sizeof guess);
    guess.given = given;
    guess.length = strlen(given);
    guess_list(&guess, words);
    return guess_text(&guess, "--");
}

static void a_misspelt_word_finds_the_nearest_and_a_strange_one_none(void)
{
    equal(guess_of("resonace", "cosine resonance"), "; did you mean --resonance?");
    equal(guess_of("eval-evrey", "eval_batches eval_every"), "; did you mean --eval-every?");
    equal(guess_of("temp", "temperature tokens"), "; did you mean --temperature?");
    equal(guess_of("threda", "thread batch"), "; did you mean --thread?");
    equal(guess_of("wrong", "out data steps"), "");
    equal(guess_of("", "a b"), "");
    CHECK(word_find("wave-engine", "wave gpt wave_engine") == 2);
    CHECK(word_find("wav", "wave gpt") == -1);
    equal(word_at("sign dft", 1), "dft");
}

int main(void)
{
    program_name = "test_program_text";
    RUN(controls_and_broken_bytes_are_shown_as_what_they_are);
    RUN(xml_and_json_hold_what_was_there_and_are_valid);
    RUN(any_bytes_are_fit_for_terminal_xml_json_and_file_name);
    RUN(different_texts_give_different_file_names);
    RUN(a_long_label_ends_in_an_ellipsis_at_the_border_of_a_character);
    RUN(a_made_text_has_any_length);
    RUN(bytes_leave_as_whole_characters_and_broken_ones_as_one_mark);
    RUN(lines_are_positional_whatever_ends_them);
    RUN(a_misspelt_word_finds_the_nearest_and_a_strange_one_none);
    return test_end();
}
