/* What several tests need: instruction sets, descs from text, random parameters, a counting
   allocator. Include it after wavecoh.h and test.h. */
#ifndef WAVECOH_TEST_SUPPORT_H
#define WAVECOH_TEST_SUPPORT_H

#ifdef WAVECOH_TEST_DOUBLE /* reals are doubles: only the scalar set exists */
#define IN_DOUBLE 1
#else
#define IN_DOUBLE 0
#endif

/* Every instruction set of the library; EACH_ISA(i) walks those of this machine. */
TEST_UNUSED static const wcoh_isa every_isa[] = {WCOH_ISA_SCALAR, WCOH_ISA_SSE2, WCOH_ISA_AVX2,
                                                 WCOH_ISA_AVX512, WCOH_ISA_NEON, WCOH_ISA_WASM};
#define ISA_COUNT ((int)(sizeof every_isa / sizeof every_isa[0]))
#define EACH_ISA(i)                                                                                \
    for (i = 0; i < ISA_COUNT; i++)                                                                \
        if (wcoh_cpu_has_isa(every_isa[i]))

/* "bands=8 heads=4 attention=dot" over a desc of all defaults; checks that every word is taken. */
TEST_UNUSED static void settings_apply(wcoh_desc_kind kind, void *desc, const char *settings)
{
    char word[128], *value;
    wcoh_error error;
    while (*settings) {
        size_t length = strcspn(settings, " ");
        if (length > 0 && length < sizeof word) {
            memcpy(word, settings, length);
            word[length] = 0;
            value = strchr(word, '=');
            if (CHECK_SAY(value != NULL, "no value in %s", word)) {
                *value++ = 0;
                CHECK_SAY(wcoh_field_set(kind, desc, word, value, &error) == WCOH_OK, "%s",
                          error.text);
            }
        }
        settings += length + (settings[length] == ' ');
    }
}

/* On top of the plainest network, which has no form that is not named. */
TEST_UNUSED static wcoh_model_desc model_desc_of(const char *settings)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, 0);
    settings_apply(WCOH_DESC_MODEL, &desc, settings);
    return desc;
}

/* A model of that desc, or NULL with a failed check. */
TEST_UNUSED static wcoh_model *model_of(const wcoh_model_desc *desc)
{
    wcoh_model *model = NULL;
    wcoh_error error;
    CHECK_SAY(wcoh_model_create(&model, desc, &error) == WCOH_OK, "%s", error.text);
    return model;
}

/* A session of that model on an instruction set. */
TEST_UNUSED static wcoh_session *session_on(wcoh_model *model, wcoh_isa isa)
{
    wcoh_session_desc desc;
    wcoh_session *session = NULL;
    wcoh_error error;
    memset(&desc, 0, sizeof desc);
    desc.cpu.isa = isa;
    CHECK_SAY(wcoh_session_create(&session, model, &desc, &error) == WCOH_OK, "%s", error.text);
    return session;
}

TEST_UNUSED static int text_ends(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* Parameters away from their start values, so that no gradient is trivially zero. Gains stay at or
   below 12 and couplings positive, as training keeps them. */
TEST_UNUSED static void randomise(wcoh_model *model, uint64_t seed)
{
    wcoh_rng rng = wcoh_rng_seed(seed);
    wcoh_param p;
    int index;
    size_t i;
    for (index = 0; index < wcoh_model_param_count(model); index++) {
        double spread;
        if (wcoh_model_param(model, index, &p, NULL) != WCOH_OK) continue;
        if (!p.trained &&
            (strncmp(p.name, "embed", 5) == 0 || strncmp(p.name, "position", 8) == 0 ||
             text_ends(p.name, ".harmonic") || text_ends(p.name, ".offset")))
            continue;
        if (p.dims > 1 && !text_ends(p.name, ".bias")) {
            spread = 1 / sqrt((double)p.shape[p.dims - 1]);
            for (i = 0; i < p.count; i++) p.data[i] = (wcoh_real)(spread * wcoh_rng_normal(&rng));
            continue;
        }
        if (text_ends(p.name, ".alpha") || text_ends(p.name, ".beta") || text_ends(p.name, ".chi")) {
            p.data[0] *= (wcoh_real)(1 + 0.2 * wcoh_rng_normal(&rng)); /* one number, kept small */
            continue;
        }
        for (i = 0; i < p.count; i++) p.data[i] += (wcoh_real)(0.2 * wcoh_rng_normal(&rng));
        if (text_ends(p.name, ".gain_raw"))
            for (i = 0; i < p.count; i++)
                if (p.data[i] > 11.9) p.data[i] = (wcoh_real)11.9;
    }
    wcoh_model_touch(model);
}

/* Of two models with the same parameter table: to the bit. */
TEST_UNUSED static int same_parameters(const wcoh_model *a, const wcoh_model *b)
{
    int i;
    for (i = 0; i < wcoh_model_param_count(a); i++) {
        wcoh_param p, q;
        wcoh_model_param(a, i, &p, NULL);
        wcoh_model_param(b, i, &q, NULL);
        if (p.count != q.count || memcmp(p.data, q.data, p.count * sizeof *p.data)) return 0;
    }
    return 1;
}

TEST_UNUSED static void random_tokens(uint32_t *tokens, size_t count, int vocab, uint64_t seed)
{
    wcoh_rng rng = wcoh_rng_seed(seed);
    size_t i;
    for (i = 0; i < count; i++) tokens[i] = (uint32_t)(wcoh_rng_next(&rng) % (uint64_t)vocab);
}

/* An allocator that counts, and can fail once at a chosen call. */
typedef struct counting {
    long calls;   /* allocations asked for */
    long live;    /* not yet given back */
    size_t bytes; /* of the last allocation */
    long fail_at; /* this call (1, 2 ..) gets NULL; 0: none */
} counting;

TEST_UNUSED static void *counting_alloc(size_t size, void *user)
{
    counting *c = (counting *)user;
    void *pointer;
    c->calls++;
    if (c->fail_at == c->calls) return NULL;
    pointer = malloc(size);
    if (pointer) c->live++, c->bytes = size, memset(pointer, 0xa5, size);
    return pointer;
}

TEST_UNUSED static void counting_release(void *pointer, size_t size, void *user)
{
    ((counting *)user)->live--;
    memset(pointer, 0x5a, size);
    free(pointer);
}

TEST_UNUSED static wcoh_memory counting_memory(counting *c)
{
    wcoh_memory memory;
    memset(&memory, 0, sizeof memory);
    memory.alloc = counting_alloc;
    memory.release = counting_release;
    memory.user = c;
    return memory;
}

#endif
