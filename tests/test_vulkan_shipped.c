/* What a shipped program carries of the Vulkan device: sessions and evaluation, with no training, no
   toolkit and no matrix units in it. The device must say the same as the CPU.
   cc -O2 -o test_vulkan_shipped tests/test_vulkan_shipped.c -lm -lpthread
   ./test_vulkan_shipped --fake   only what needs no driver (for sanitizers) */
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

#define WAVECOH_NO_TRAINING
#define WAVECOH_NO_TOOLKIT
#define WAVECOH_VK_NO_COOPERATIVE
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh_vk.h"
#include "test.h"

enum { VOCAB = 65, HEARD = 40 };

static wcoh_device *gpu;
static int messages; /* of the validation layer */

static void hear(const char *text, void *user)
{
    (void)user;
    if (messages++ < 4) fprintf(stderr, "validation: %.900s\n", text);
}

static wcoh_vk_desc device_desc(void)
{
    wcoh_vk_desc desc;
    const char *number = getenv("WAVECOH_VULKAN_DEVICE");
    memset(&desc, 0, sizeof desc);
    desc.validation = 1;
    desc.message = hear;
    if (number) desc.index = atoi(number);
    return desc;
}

/* Size of a - b over the size of a. */
static double off(const float *a, const float *b)
{
    double difference = 0, size = 0;
    int i;
    for (i = 0; i < VOCAB; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)a[i] * (double)a[i];
    }
    return sqrt(difference / size);
}

static void session_is_heard(wcoh_model *model)
{
    wcoh_session_desc desc;
    wcoh_session *cpu = NULL, *dev = NULL;
    wcoh_error error;
    uint32_t tokens[HEARD];
    double a = 0, b = 0;
    int i;
    for (i = 0; i < HEARD; i++) tokens[i] = (uint32_t)(i * i + 3 * i) % VOCAB;
    memset(&desc, 0, sizeof desc);
    CHECK(wcoh_session_create(&cpu, model, &desc, &error) == WCOH_OK);
    desc.device = gpu;
    if (CHECK_SAY(wcoh_session_create(&dev, model, &desc, &error) == WCOH_OK, "%s", error.text)) {
        CHECK(wcoh_session_prefill(cpu, tokens, 20, &error) == WCOH_OK);
        CHECK(wcoh_session_prefill(dev, tokens, 20, &error) == WCOH_OK);
        for (i = 20; i < 30; i++) {
            CHECK(wcoh_session_step(cpu, tokens[i], &error) == WCOH_OK);
            CHECK(wcoh_session_step(dev, tokens[i], &error) == WCOH_OK);
        }
        CHECK(off(wcoh_session_logits(cpu), wcoh_session_logits(dev)) <=
              2e-5); /* as in test_vulkan.c */
        CHECK(wcoh_session_score(cpu, tokens + 30, 10, &a, &error) == WCOH_OK);
        CHECK(wcoh_session_score(dev, tokens + 30, 10, &b, &error) == WCOH_OK);
        CHECK_NEAR(a, b, 1e-5 * a);
    }
    wcoh_session_destroy(cpu);
    wcoh_session_destroy(dev);
}

static void sessions_of(wcoh_model_desc desc)
{
    wcoh_model *model = NULL;
    wcoh_error error;
    desc.layers = 2;
    desc.context = 64;
    if (!CHECK_SAY(wcoh_model_create(&model, &desc, &error) == WCOH_OK, "%s", error.text)) return;
    session_is_heard(model);
    wcoh_model_destroy(model);
}

/* Among them every kind of attention and all three solvers. */
static void sessions_of_every_preset_are_heard(void)
{
    wcoh_model_desc rotary = wcoh_model_preset(WCOH_PRESET_GPT, VOCAB);
    rotary.attention = WCOH_ATTENTION_ROTARY;
    rotary.position = WCOH_POSITION_NONE;
    sessions_of(wcoh_model_preset(WCOH_PRESET_WAVE_1, VOCAB));
    sessions_of(wcoh_model_preset(WCOH_PRESET_GPT, VOCAB));
    sessions_of(wcoh_model_preset(WCOH_PRESET_KERR_ENGINE, VOCAB));
    sessions_of(wcoh_model_preset(WCOH_PRESET_WAVE_ENGINE, VOCAB));
    sessions_of(rotary);
}

static void matrix_units_are_refused(void)
{
    wcoh_vk_desc desc = device_desc();
    wcoh_device *device;
    wcoh_error error;
    desc.cooperative = 1;
    CHECK(wcoh_vk_device_create(&device, &desc, &error) == WCOH_E_UNSUPPORTED && device == NULL);
    CHECK_SAY(strstr(error.text, "WAVECOH_VK_NO_COOPERATIVE") != NULL, "%s", error.text);
}

static void shaders_of_training_are_not_carried(void)
{
    int i;
    for (i = 0; i < WCOH_SPV_COUNT; i++)
        CHECK_SAY(!strstr(wcoh_spv_table[i].name, "_back") &&
                      !strstr(wcoh_spv_table[i].name, "cooperative") &&
                      strcmp(wcoh_spv_table[i].name, "adamw") != 0,
                  "%s", wcoh_spv_table[i].name);
}

static void validation_is_silent(void) { CHECK_SAY(messages == 0, "%d messages", messages); }

int main(int count, char **words)
{
    wcoh_vk_desc desc = device_desc();
    wcoh_error error;
    RUN(shaders_of_training_are_not_carried);
    if (count > 1 && strcmp(words[1], "--fake") == 0) return test_end();
    if (wcoh_vk_device_create(&gpu, &desc, &error) != WCOH_OK) {
        printf("not run: no Vulkan device (%s)\n", error.text);
        return test_end();
    }
    RUN(sessions_of_every_preset_are_heard);
    RUN(matrix_units_are_refused);
    wcoh_device_destroy(gpu);
    RUN(validation_is_silent);
    return test_end();
}
#endif
