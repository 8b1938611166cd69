/* What a driver makes of the hot shaders: sh tests/peers/vulkan.sh --shaders. Compiles each as a step of the
   default network, of gpt 768 wide or of a long window has it and writes `shader NAME` to stderr before
   the driver does; Mesa's drivers write registers, spills and occupancy behind it.
   RADV_FORCE_FAMILY=gfx1100 RADV_DEBUG=shaderstats ./vulkan_shaders     no card is needed
   cc -O1 -o vulkan_shaders tests/peers/vulkan_shaders.c -lm -lpthread */
#define WAVECOH_IMPLEMENTATION
#include "../../wavecoh_vk.h"
#include <stdio.h>

static const struct {
    const char *name;
    int shader;
    uint32_t specs[WCOHI_GPU_SPECS];
} hot[] = {
    {"coherence_forward E 8", WCOH_SPV_COHERENCE_FORWARD, {1, 0}},
    {"coherence_forward E 8, listening", WCOH_SPV_COHERENCE_FORWARD, {1, 1}},
    {"coherence_forward E 16, listening", WCOH_SPV_COHERENCE_FORWARD, {2, 1}},
    {"coherence_back_query E 8, listening", WCOH_SPV_COHERENCE_BACK_QUERY, {1, 1}},
    {"coherence_back_key E 8, listening", WCOH_SPV_COHERENCE_BACK_KEY, {1, 1}},
    {"coherence_back_key E 16, listening", WCOH_SPV_COHERENCE_BACK_KEY, {2, 1}},
    {"coherence_back E 8, listening", WCOH_SPV_COHERENCE_BACK, {1, 1}},
    {"coherence_back E 16, listening", WCOH_SPV_COHERENCE_BACK, {2, 1}},
    {"coherence_finish", WCOH_SPV_COHERENCE_FINISH, {0}},
    {"coherence_gather E 8, doubles", WCOH_SPV_COHERENCE_GATHER_DOUBLE, {9, 0}},
    {"coherence_gather E 8, pairs", WCOH_SPV_COHERENCE_GATHER_PAIRS, {9, 0}},
    {"coherence_read E 8, doubles", WCOH_SPV_COHERENCE_READ_DOUBLE, {9, 1}},
    {"coherence_read E 8, pairs", WCOH_SPV_COHERENCE_READ_PAIRS, {9, 1}},
    {"coherence_torque E 8, doubles", WCOH_SPV_COHERENCE_TORQUE_DOUBLE, {9, 1}},
    {"coherence_torque E 8, pairs", WCOH_SPV_COHERENCE_TORQUE_PAIRS, {9, 1}},
    {"dot_forward E 64", WCOH_SPV_DOT_FORWARD, {8, 0}},
    {"dot_back_query E 64", WCOH_SPV_DOT_BACK_QUERY, {8, 0}},
    {"dot_back_key E 64", WCOH_SPV_DOT_BACK_KEY, {8, 0}},
    {"dot_whole_forward, 4 rows", WCOH_SPV_DOT_WHOLE_FORWARD, {128}},
    {"dot_whole_back_query, 4 rows", WCOH_SPV_DOT_WHOLE_BACK_QUERY, {128}},
    {"dot_whole_back_key, 4 rows", WCOH_SPV_DOT_WHOLE_BACK_KEY, {128}},
    {"dot_whole_forward, 8 rows", WCOH_SPV_DOT_WHOLE_FORWARD, {64}},
    {"dot_whole_back_query, 8 rows", WCOH_SPV_DOT_WHOLE_BACK_QUERY, {64}},
    {"dot_whole_back_key, 8 rows", WCOH_SPV_DOT_WHOLE_BACK_KEY, {64}},
    {"norm", WCOH_SPV_NORM, {0}},
    {"norm_back", WCOH_SPV_NORM_BACK, {0}},
    {"kerr", WCOH_SPV_KERR, {0}},
    {"kerr_back", WCOH_SPV_KERR_BACK, {0}},
    {"gate_back", WCOH_SPV_GATE_BACK, {0}},
    {"taps_back", WCOH_SPV_TAPS_BACK, {0}},
    {"reduce_table", WCOH_SPV_REDUCE_TABLE, {0}},
    {"softmax", WCOH_SPV_SOFTMAX, {0}},
    {"adamw", WCOH_SPV_ADAMW, {0}},
};

static void compile(wcohi_vk *vk, const char *name, int shader, const uint32_t *specs)
{
    VkPipeline pipeline;
    wcoh_error error;
    fprintf(stderr, "\nshader %s\n", name);
    if (wcohi_vk_pipeline_get(vk, shader, specs, &pipeline, &error) != WCOH_OK)
        fprintf(stderr, "not run: %s\n", error.text);
}

/* Tiles of gemm.comp: x W^T with a bias, g W and, with sums of A's columns, g^T x. */
static void products(wcohi_vk *vk)
{
    static const char *const forms[3] = {"x W^T", "g W", "g^T x"};
    int i, form;
    for (i = 0; i < WCOHI_COUNT(wcohi_gpu_tiles); i++) {
        const wcohi_gpu_tile *t = &wcohi_gpu_tiles[i];
        for (form = 0; form < (i < WCOHI_GPU_RULED ? 3 : 1); form++) {
            const uint32_t specs[WCOHI_GPU_SPECS] = {t->bm / t->tm * (t->bn / t->tn),
                                                     t->bm,
                                                     t->bn,
                                                     t->bk,
                                                     t->tm,
                                                     t->tn,
                                                     form == 2,
                                                     form == 0,
                                                     1,
                                                     t->stages,
                                                     form == 2,
                                                     form == 0,
                                                     1};
            char name[64];
            if (!wcohi_gpu_tile_fits(t, &vk->traits)) continue;
            snprintf(name, sizeof name, "gemm %ux%u k%u %ux%u, %u stage%s, %s", (unsigned)t->bm,
                     (unsigned)t->bn, (unsigned)t->bk, (unsigned)t->tm, (unsigned)t->tn,
                     (unsigned)t->stages, t->stages == 1 ? "" : "s", forms[form]);
            compile(vk, name, WCOH_SPV_GEMM, specs);
            if (form || i > 1) continue;
            snprintf(name, sizeof name, "gemm_walk %ux%u, x W^T", (unsigned)t->bm, (unsigned)t->bn);
            compile(vk, name, WCOH_SPV_GEMM_WALK, specs);
        }
    }
}

/* Tiles of gemm_pair.comp as the rule has them: of dX and of dW. */
static void pairs(wcohi_vk *vk)
{
    static const int ruled[][2] = {{0, 0}, {0, 1}, {3, 2}, {2, 2}};
    int i, j;
    for (i = 0; i < WCOHI_COUNT(ruled); i++) {
        uint32_t specs[WCOHI_GPU_PAIR_SPECS];
        char name[64];
        memset(specs, 0, sizeof specs);
        for (j = 1; j >= 0; j--) {
            const wcohi_gpu_tile *t = &wcohi_gpu_tiles[ruled[i][j]];
            uint32_t *tile = specs + (j ? WCOHI_GPU_SPECS : 1);
            tile[0] = t->bm;
            tile[1] = t->bn;
            tile[2] = t->bk;
            tile[3] = t->tm;
            tile[4] = t->tn;
            specs[j ? WCOHI_GPU_SPECS + 5 : 9] = t->stages;
            specs[0] = wcohi_gpu_tile_threads(t);
        }
        specs[8] = specs[10] = specs[12] = 1;
        snprintf(name, sizeof name, "gemm_pair %ux%u and %ux%u", (unsigned)specs[1],
                 (unsigned)specs[2], (unsigned)specs[WCOHI_GPU_SPECS],
                 (unsigned)specs[WCOHI_GPU_SPECS + 1]);
        compile(vk, name, WCOH_SPV_GEMM_PAIR, specs);
    }
}

int main(void)
{
    wcoh_device *device;
    wcoh_error error;
    wcohi_vk *vk;
    int i;
    if (wcoh_vk_device_create(&device, NULL, &error) != WCOH_OK) {
        fprintf(stderr, "not run: %s\n", error.text);
        return 1;
    }
    vk = (wcohi_vk *)device;
    printf("device %s, driver %s, subgroups of %u, %u multiprocessors\n", vk->info.name,
           vk->info.driver, (unsigned)vk->info.subgroup, (unsigned)vk->info.multiprocessors);
    fflush(stdout);
    for (i = 0; i < WCOHI_COUNT(hot); i++) compile(vk, hot[i].name, hot[i].shader, hot[i].specs);
    products(vk);
    pairs(vk);
    wcoh_device_destroy(device);
    return 0;
}
