/* Bytes at their places (examples/places.h): bits by hand, what is a place, what is forgotten, what is
   written and read. */
#include "../examples/places.h"
#include "test.h"

static places seen, again;

static void count_line(const char *line)
{
    place_cursor cursor;
    memset(&cursor, 0, sizeof cursor);
    for (; *line; line++) {
        place_count(&seen, place_key(&cursor), (unsigned char)*line);
        place_pass(&cursor, (unsigned char)*line);
    }
}

/* Of the last byte of a line. */
static double excess_of(const char *line)
{
    place_cursor cursor;
    memset(&cursor, 0, sizeof cursor);
    for (; line[1]; line++) place_pass(&cursor, (unsigned char)*line);
    return place_excess(&seen, place_key(&cursor), (unsigned char)*line);
}

static void bits_are_those_of_the_counts(void)
{
    places_open(&seen);
    CHECK_NEAR(excess_of("x"), 0, 0); /* nobody was there */
    count_line("a");
    CHECK_NEAR(excess_of("a"), 0, 0);
    CHECK_NEAR(excess_of("b"), log(2 / 1.5) / log(2.0), 1e-12); /* all there was stood there once */
    count_line("a"), count_line("b"), count_line("c"); /* 1/2, 1/4, 1/4: 1.5 bits of entropy */
    CHECK_NEAR(excess_of("a"), 1 - 1.5, 1e-4);
    CHECK_NEAR(excess_of("b"), 2 - 1.5, 1e-4);
    CHECK_NEAR(excess_of("d"), log(5 / 2.5) / log(2.0) - 1.5, 1e-4); /* b and c stood there once */
}

static void a_place_is_the_word_before_and_how_far_behind(void)
{
    int i;
    places_open(&seen);
    for (i = 0; i < 500; i++) {
        count_line(i % 2 ? "disk a1 at 40 C" : "disk b2301 at 30 C"); /* digits are one digit */
        count_line("disk x-1 on 9 V");
    }
    CHECK(excess_of("disk b7 at 4") < 0.01);
    CHECK(excess_of("disk b7 at 9") > 8);
    CHECK(excess_of("disk at") > 6);
    CHECK(fabs(excess_of("cpu zz at 4")) < 0.01); /* the word before alone counts */
    CHECK_NEAR(excess_of("new words x"), 0, 0);
}

static void what_happened_once_long_ago_is_forgotten(void)
{
    double first;
    int i;
    places_open(&seen);
    count_line("b");
    for (i = 0; i < 1000; i++) count_line("a");
    first = excess_of("b");
    CHECK_NEAR(first, excess_of("a") + log(1000.0) / log(2.0), 1e-9); /* once in 1,001 */
    for (i = 0; i < 2 * PLACE_MOST; i++) count_line("a");
    CHECK_NEAR(excess_of("b"), excess_of("c"), 0);
    CHECK(excess_of("b") > first + 1);
}

/* Ever new words have ever new places behind them; those that are visited often stay. */
static void memory_is_bounded_and_what_is_usual_stays(void)
{
    char line[64];
    int i;
    places_open(&seen);
    for (i = 0; i < 40000; i++) {
        sprintf(line, "job x%c%c%c done", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676 % 26);
        count_line(line);
        count_line("user anna in");
    }
    CHECK(excess_of("user anna in") < 0.01);
    CHECK(excess_of("user bea") > 8);
}

static void what_is_written_is_read_to_the_bit(void)
{
    char *text;
    const char *end;
    size_t size;
    int i;
    places_open(&seen);
    for (i = 0; i < 5000; i++) count_line(i % 3 ? "disk a at 41 C\n" : "\xff \x80\x01=\n");
    text = (char *)malloc(places_room(&seen) + 5);
    if (!CHECK(text != NULL)) return;
    size = places_write(&seen, text);
    CHECK(size <= places_room(&seen));
    strcpy(text + size, "rest");
    places_open(&again);
    end = places_read(&again, text);
    CHECK(end == text + size);
    CHECK(memcmp(&seen, &again, sizeof seen) == 0);
    free(text);
}

static void what_was_not_written_so_is_refused(void)
{
    static const char *const texts[] = {"",           "x",
                                        "0 4",        "4096 4\n\n",
                                        "0 5\n\n",    "0 1024 256 1\n\n",
                                        "0 0 1 1\n\n", "0 1024 1 4097\n\n",
                                        "0 1024 1\n\n", "0 1024 1 3000 2 3000\n\n",
                                        "0 4294968320 1 1\n\n", "0 1024 1 1\n1 1024 1 1\n\n",
                                        "0 1024 1 1\n0 2048 1 1\n\n", "-1 1024 1 1\n\n"};
    size_t i;
    for (i = 0; i < sizeof texts / sizeof *texts; i++) {
        places_open(&again);
        CHECK_SAY(!places_read(&again, texts[i]), "%s", texts[i]);
    }
    places_open(&again);
    CHECK(places_read(&again, "0 1024 1 1\n1 2048 2 4000 3 96\n\n") != NULL);
}

int main(void)
{
    RUN(bits_are_those_of_the_counts);
    RUN(a_place_is_the_word_before_and_how_far_behind);
    RUN(what_happened_once_long_ago_is_forgotten);
    RUN(memory_is_bounded_and_what_is_usual_stays);
    RUN(what_is_written_is_read_to_the_bit);
    RUN(what_was_not_written_so_is_refused);
    return test_end();
}
