#!/bin/sh
# Numbers in files, settings and sentences are the same whatever the host program's locale: a game
# that has called setlocale writes a decimal comma with printf, and wavecoh.h writes none.
# Run from anywhere: sh tests/test_locale.sh. CC chooses the compiler. Ends with `N passed, N failed`.

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/wavecoh.XXXXXX") || exit 1
trap 'rm -rf "$work"' 0
cd "$work" || exit 1
passed=0
failed=0
ok() { # DESCRIPTION COMMAND ..
    what=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $what"; fi
}

cat > game.c << 'END'
#define WAVECOH_IMPLEMENTATION
#include "wavecoh.h"
#include <locale.h>

/* game LOCALE MODEL TRAINER [RESUME] */
int main(int argc, char **argv)
{
    static uint32_t text[400];
    wcoh_model_desc desc;
    wcoh_trainer_desc training, read;
    wcoh_model *model, *spare;
    wcoh_trainer *trainer;
    wcoh_stats stats;
    wcoh_error error;
    wcoh_stage stage;
    wcoh_wave_memory memory;
    wcoh_session_desc listening;
    wcoh_session *session;
    wcoh_param param;
    float waves[8];
    char value[64];
    int i;
    if (!setlocale(LC_ALL, argv[1])) return 3;
    fprintf(stderr, "%.1f", 1.5);
    for (i = 0; i < 400; i++) text[i] = (uint32_t)(i * i % 7);
    memset(&desc, 0, sizeof desc);
    memset(&training, 0, sizeof training);
    desc.vocab = 7, desc.bands = 4, desc.heads = 2, desc.layers = 1;
    training.batch = 2, training.seq = 8;
    if (wcoh_field_set(WCOH_DESC_MODEL, &desc, "gain", "2.75", &error)) puts(error.text);
    if (wcoh_field_set(WCOH_DESC_TRAINER, &training, "lr", "1.25e-3", &error)) puts(error.text);
    if (wcoh_field_set(WCOH_DESC_TRAINER, &training, "lr", "0,5", &error)) puts(error.text);
    if (wcoh_field_set(WCOH_DESC_TRAINER, &training, "lr", "99.5", &error)) puts(error.text);
    wcoh_field_get(WCOH_DESC_TRAINER, &training, "lr", value, sizeof value);
    puts(value);
    if (wcoh_model_create(&model, &desc, &error) < 0) return 4;
    if (argc > 4) {
        if (wcoh_trainer_read_desc_file(&read, argv[4], &error) < 0) puts(error.text);
        puts(read.lr == training.lr ? "the same rate" : "another rate");
        if (wcoh_model_read_file(model, argv[4], &error) < 0) puts(error.text);
    }
    if (wcoh_trainer_create(&trainer, model, &training, &error) < 0) return 5;
    memset(&stage, 0, sizeof stage);
    stage.share = 1.5, stage.count = 1;
    if (wcoh_trainer_set_stages(trainer, &stage, 1, &error) < 0) puts(error.text);
    wcoh_wave_memory_init(&memory, model, waves, 8, &error);
    memory.keep = 1.25;
    if (wcoh_wave_memory_save_file(&memory, "memory.kwmf", &error) < 0) puts(error.text);
    if (wcoh_model_create(&spare, &desc, &error) < 0) return 6;
    memset(&listening, 0, sizeof listening);
    if (wcoh_session_create(&session, spare, &listening, &error) < 0) return 7;
    wcoh_model_param(spare, wcoh_model_param_find(spare, "blocks.0.attn.gain_raw"), &param, &error);
    param.data[0] = 9.126f;
    wcoh_model_touch(spare);
    if (wcoh_session_step(session, 1, &error) < 0) puts(error.text);
    wcoh_session_destroy(session);
    wcoh_model_destroy(spare);
    desc.head_scale = 2.5;
    if (wcoh_model_create(&spare, &desc, &error) < 0) puts(error.text);
    wcoh_trainer_set_data(trainer, text, 300, text + 300, 100, &error);
    if (argc > 4 && wcoh_trainer_resume_file(trainer, argv[4], &error) < 0) puts(error.text);
    for (i = 0; i < 5; i++) wcoh_trainer_step(trainer, &stats, &error);
    printf("%lu %.0f\n", (unsigned long)stats.step, stats.train_loss * 1e9);
    if (wcoh_model_save_note_file(model, "0.5", argv[2], &error) < 0) puts(error.text);
    if (wcoh_trainer_save_file(trainer, argv[3], &error) < 0) puts(error.text);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    return 0;
}
END
# shellcheck disable=SC2086
${CC:-cc} -std=c99 -O1 -I"$root" -o game game.c -lm -lpthread || exit 1
mkdir places
if ! localedef -i de_DE -f UTF-8 places/comma > localedef.log 2>&1 && [ ! -d places/comma ]; then
    echo "not run: numbers under a locale with a decimal comma (no localedef, or no de_DE)"
    echo "0 passed, 0 failed"
    exit 0
fi
LOCPATH=$work/places
export LOCPATH
./game C c.model c.run > c.out 2> c.err
./game comma d.model d.run > d.out 2> d.err
ok "printf writes a comma there" [ "$(cat c.err) $(cat d.err)" = '1.5 1,5' ]
ok "settings are read and refused alike" cmp -s c.out d.out
ok "a comma is no decimal point" grep -q '^lr is "0,5": expected a number' d.out
ok "sentences have points" grep -q '^lr is 99.5: allowed are 1e-9 to 10' d.out
ok "those of stages" grep -q '^share of stage 0 is 1.5: allowed' d.out
ok "those of wave memories" grep -q 'memory.kwmf: keep is 1.25: allowed are 0 to 1' d.out
ok "those of heads" grep -q '^head_scale is 2.5: the head is not' d.out
ok "those of gains, in three digits" grep -q '^head 0 of layer 0 has a gain of 9.13 by now' d.out
ok "and so have values" grep -qx '0.00125' d.out
ok "a model's file is the same to the byte" cmp -s c.model d.model
./game C e.model e.run d.run > e.out 2> e.err
./game comma f.model f.run c.run > f.out 2> f.err
ok "a run goes on from the other's file" cmp -s e.out f.out
ok "at its rate" grep -qx 'the same rate' f.out
ok "to the same weights" cmp -s e.model f.model
ok "which are ten steps old" grep -q '^10 ' f.out

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
