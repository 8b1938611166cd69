/* Muon on the Vulkan device: its steps are the CPU's, a run gives the same bits again, checkpoints go
   from one device to the other, and nothing of it disturbs the validation layer.
   WAVECOH_VULKAN_DEVICE=N takes device N of the list instead of the default. */
#if defined(__has_include)
#if __has_include(<vulkan/vulkan_core.h>)
#define HAS_VULKAN
#endif
#endif

#ifndef HAS_VULKAN
#include <stdio.h>
int main(void)
{
    puts("not run: no Vulkan headers (Debian: libvulkan-dev)");
    puts("0 passed, 0 failed");
    return 0;
}
#else

#define WAVECOH_IMPLEMENTATION
#include "../wavecoh_vk.h"
#include "test.h"
#include "support.h"

static wcoh_device *gpu;
static wcoh_error error;
static uint32_t text[4000];
static unsigned char file[1 << 20];
static int messages;

enum { batch = 3, seq = 17, vocab = 13 };

/* Lying and upright, stacks, blocks, one matrix of a shape and many, rows that stand joined. */
static const char *const networks[] = {
    "vocab=13 bands=20 heads=5 layers=2 maestro=3",
    "vocab=13 bands=20 heads=5 layers=3 attention=coherence,dot ffn=mlp hidden=50",
    "vocab=13 bands=18 heads=4 layers=1 groups=4 attention=shared gate=on"};
enum { network_count = sizeof networks / sizeof *networks };

static void hear(const char *said, void *user)
{
    (void)user;
    if (messages++ < 4) fprintf(stderr, "validation: %.900s\n", said);
}

static wcoh_trainer *trainer_of(wcoh_model *model, wcoh_device *device, double clip)
{
    wcoh_trainer_desc desc;
    wcoh_trainer *trainer = NULL;
    memset(&desc, 0, sizeof desc);
    desc.optimizer = WCOH_OPTIMIZER_MUON;
    desc.batch = batch;
    desc.seq = seq;
    desc.steps = 20;
    desc.warmup = 2;
    desc.muon_lr = 0.01;
    desc.decay = 0.3;
    desc.clip = clip;
    desc.cpu.threads = 1;
    desc.device = device;
    CHECK_SAY(wcoh_trainer_create(&trainer, model, &desc, &error) == WCOH_OK, "%s", error.text);
    if (trainer) CHECK(wcoh_trainer_set_data(trainer, text, 4000, NULL, 0, NULL) == WCOH_OK);
    return trainer;
}

/* The largest share by which a matrix of a differs from that of b, of what it moved since `start`. */
static double matrices_apart(wcoh_model *a, wcoh_model *b, wcoh_model *start)
{
    double worst = 0;
    int index;
    for (index = 0; index < wcoh_model_param_count(a); index++) {
        wcoh_param p, q, from;
        double off = 0, moved = 0;
        size_t i;
        wcoh_model_param(a, index, &p, NULL);
        wcoh_model_param(b, index, &q, NULL);
        wcoh_model_param(start, index, &from, NULL);
        for (i = 0; p.matrices && i < p.count; i++) {
            double d = (double)p.data[i] - (double)q.data[i];
            double m = (double)q.data[i] - (double)from.data[i];
            off += d * d;
            moved += m * m;
        }
        if (p.matrices && CHECK_SAY(moved > 0, "%s stands still", p.name))
            worst = fmax(worst, sqrt(off / moved));
    }
    return worst;
}

/* Three steps. Gradients are 1e-6 of their norm apart; what is small in them is brought up to 1 by up
   to 3.4^5 = 470: 5e-4 of the way is allowed. */
static void steps_are_those_of_the_cpu(void)
{
    int i, step;
    for (i = 0; i < network_count; i++) {
        wcoh_model_desc desc = model_desc_of(networks[i]);
        wcoh_model *models[2] = {model_of(&desc), model_of(&desc)}, *start = model_of(&desc);
        wcoh_trainer *cpu = trainer_of(models[0], NULL, 0.05),
                     *vk = trainer_of(models[1], gpu, 0.05);
        double apart;
        for (step = 0; step < 3; step++) {
            CHECK(wcoh_trainer_step(cpu, NULL, &error) == WCOH_OK);
            CHECK_SAY(wcoh_trainer_step(vk, NULL, &error) == WCOH_OK, "%s", error.text);
        }
        CHECK(wcoh_trainer_sync(vk, &error) == WCOH_OK);
        apart = matrices_apart(models[1], models[0], start);
        printf("%s: %.1e of the way apart\n", networks[i], apart);
        CHECK_SAY(apart < 5e-4, "%s: %.3g of the way apart", networks[i], apart);
        wcoh_trainer_destroy(cpu);
        wcoh_trainer_destroy(vk);
        wcoh_model_destroy(models[0]);
        wcoh_model_destroy(models[1]);
        wcoh_model_destroy(start);
    }
}

/* Rows of both optimisers, frozen in motion: they stay to the bit, the others go the CPU's way. */
static void what_is_frozen_stays(void)
{
    wcoh_model_desc desc = model_desc_of(networks[0]);
    wcoh_model *models[2] = {model_of(&desc), model_of(&desc)}, *start = model_of(&desc),
               *before = model_of(&desc);
    wcoh_trainer *trainers[2] = {trainer_of(models[0], NULL, 0.05),
                                 trainer_of(models[1], gpu, 0.05)};
    wcoh_stats stats[2];
    wcoh_param p, q;
    double apart;
    int step, i, frozen = 0;
    for (step = 0; step < 4; step++)
        for (i = 0; i < 2; i++) {
            if (step == 2) {
                CHECK(wcoh_model_freeze(models[i], "blocks.1.*", 1, &error) == WCOH_OK);
                CHECK(wcoh_model_freeze(models[i], "head.*", 1, &error) == WCOH_OK);
                CHECK(wcoh_trainer_sync(trainers[i], &error) == WCOH_OK);
                if (i == 1) CHECK(wcoh_model_copy(before, models[1], NULL) == WCOH_OK);
            }
            CHECK_SAY(wcoh_trainer_step(trainers[i], &stats[i], &error) == WCOH_OK, "%s",
                      error.text);
        }
    CHECK_NEAR(stats[0].grad_norm, stats[1].grad_norm, 1e-4 * stats[0].grad_norm);
    CHECK(wcoh_trainer_sync(trainers[1], &error) == WCOH_OK);
    for (i = 0; i < wcoh_model_param_count(before); i++) {
        wcoh_model_param(models[1], i, &p, NULL);
        wcoh_model_param(before, i, &q, NULL);
        frozen += p.frozen;
        if (p.trained)
            CHECK_SAY((memcmp(p.data, q.data, p.count * sizeof *p.data) == 0) == p.frozen, "%s",
                      p.name);
    }
    CHECK(frozen > 10);
    apart = matrices_apart(models[1], models[0], start);
    CHECK_SAY(apart < 5e-4, "%.3g of the way apart", apart);
    for (i = 0; i < 2; i++) {
        wcoh_trainer_destroy(trainers[i]);
        wcoh_model_destroy(models[i]);
    }
    wcoh_model_destroy(start);
    wcoh_model_destroy(before);
}

/* `before` steps on `first`, a checkpoint, then up to six on `second`. */
static wcoh_model *crossed(wcoh_device *first, wcoh_device *second, int before)
{
    wcoh_model_desc desc = model_desc_of(networks[0]);
    wcoh_model *model = model_of(&desc), *loaded = NULL;
    wcoh_trainer *trainer = trainer_of(model, first, 1);
    wcoh_memory_file block = {file, sizeof file, 0};
    wcoh_io io = wcoh_io_memory(&block);
    wcoh_stats stats;
    memset(&stats, 0, sizeof stats);
    while ((int)stats.step < before)
        if (!CHECK(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK)) break;
    CHECK_SAY(wcoh_trainer_save(trainer, &io, &error) == WCOH_OK, "%s", error.text);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    CHECK_SAY(wcoh_model_load(&loaded, &io, NULL, &error) == WCOH_OK, "%s", error.text);
    trainer = trainer_of(loaded, second, 1);
    CHECK_SAY(wcoh_trainer_resume(trainer, &io, &error) == WCOH_OK, "%s", error.text);
    while (stats.step < 6)
        if (!CHECK(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK)) break;
    CHECK(wcoh_trainer_sync(trainer, NULL) == WCOH_OK);
    wcoh_trainer_destroy(trainer);
    return loaded;
}

static void checkpoints_cross_both_ways(void)
{
    wcoh_model_desc desc = model_desc_of(networks[0]);
    wcoh_model *start = model_of(&desc), *whole = crossed(gpu, gpu, 0),
               *again = crossed(gpu, gpu, 3), *up = crossed(NULL, gpu, 3),
               *down = crossed(gpu, NULL, 3);
    CHECK(same_parameters(whole, again)); /* as if never stopped, bit for bit */
    CHECK(matrices_apart(up, whole, start) < 2e-3);
    CHECK(matrices_apart(down, whole, start) < 2e-3);
    wcoh_model_destroy(start);
    wcoh_model_destroy(whole);
    wcoh_model_destroy(again);
    wcoh_model_destroy(up);
    wcoh_model_destroy(down);
}

static int poison(wcoh_real *gradient, size_t count, void *user)
{
    if (++*(int *)user == 2) gradient[count / 2] = (wcoh_real)HUGE_VAL;
    return 0;
}

static void a_bad_gradient_changes_nothing(void)
{
    wcoh_model_desc desc = model_desc_of(networks[0]);
    wcoh_model *model = model_of(&desc), *before = model_of(&desc);
    wcoh_trainer *trainer = trainer_of(model, gpu, 1);
    int calls = 0;
    trainer->desc.all_reduce = poison;
    trainer->desc.all_reduce_user = &calls;
    CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_sync(trainer, NULL) == WCOH_OK);
    wcoh_model_copy(before, model, NULL);
    CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_E_NUMERIC);
    CHECK(wcoh_trainer_sync(trainer, NULL) == WCOH_OK && same_parameters(before, model));
    CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_sync(trainer, NULL) == WCOH_OK && !same_parameters(before, model));
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    wcoh_model_destroy(before);
}

static void validation_is_silent(void) { CHECK_SAY(messages == 0, "%d messages", messages); }

int main(void)
{
    wcoh_vk_desc desc;
    const char *number = getenv("WAVECOH_VULKAN_DEVICE");
    memset(&desc, 0, sizeof desc);
    desc.validation = 1;
    desc.message = hear;
    if (number) desc.index = atoi(number);
    random_tokens(text, 4000, vocab, 9);
    if (wcoh_vk_device_create(&gpu, &desc, &error) != WCOH_OK) {
        printf("not run: no Vulkan device (%s)\n", error.text);
        return test_end();
    }
    /* As strict as Vulkan lets a device be: what begins elsewhere is refused. */
    ((wcohi_vk *)gpu)->limits.minStorageBufferOffsetAlignment = 256;
    RUN(steps_are_those_of_the_cpu);
    RUN(what_is_frozen_stays);
    RUN(checkpoints_cross_both_ways);
    RUN(a_bad_gradient_changes_nothing);
    wcoh_device_destroy(gpu);
    RUN(validation_is_silent);
    return test_end();
}
#endif
