/* Fuzzer of everything that reads a file: loads the input as a file of tensors, as a model, as the
   state of a trainer and of a session, as a wave memory, a circle and a store of packets, and uses
   what it got.
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_file -o fuzz tests/fuzz_files.c -lm -lpthread
   cc -o seeds tests/fuzz_files.c -lm -lpthread && mkdir -p corpus && ./seeds corpus
   ./fuzz -max_len=50000 -rss_limit_mb=2048 -max_total_time=60 corpus
   Without -DFUZZ it writes first inputs to a folder, or with -r runs files: ./seeds -r FILE .. */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "fuzz.h"

static wcoh_error error;

static wcoh_io io_of(wcoh_memory_file *block, const void *data, size_t size)
{
    block->data = (unsigned char *)(uintptr_t)data;
    block->used = block->capacity = size;
    return wcoh_io_memory(block);
}

/* Returns what the file says it is: 'm'odel, 't'rainer, 's'ession, or '?'; 0 if it is refused. */
static char use_tensors(const wcoh_io *io)
{
    const char *kind;
    char first;
    wcoh_tensors *t = NULL;
    wcoh_tensor_info info;
    float values[64];
    int i;
    if (wcoh_tensors_open(&t, io, NULL, &error) < 0) return 0;
    for (i = 0; i < wcoh_tensors_count(t); i++) {
        REQUIRE(wcoh_tensors_info(t, i, &info, &error) == WCOH_OK);
        REQUIRE(wcoh_tensors_find(t, info.name) == i);
        wcoh_tensors_read(t, i, info.count / 2, (size_t)WCOHI_MIN(info.count - info.count / 2, 64),
                          values, &error);
    }
    kind = wcoh_tensors_metadata(t, "wavecoh.kind");
    first = kind && *kind ? *kind : '?';
    wcoh_tensors_close(t);
    return first;
}

static wcoh_model_desc small_desc(int attention)
{
    wcoh_model_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.vocab = 5;
    desc.bands = 2;
    desc.heads = 2;
    desc.layers = 1;
    desc.maestro = 1;
    desc.context = 8;
    desc.attention = (wcoh_attention)attention;
    return desc;
}

/* Saved again it must load again; a session hears tokens, a trainer makes a step. */
static void use_model(wcoh_model *model)
{
    int vocab = wcoh_model_get_desc(model)->vocab;
    size_t size = wcoh_model_file_size(model), i;
    unsigned char *file = (unsigned char *)malloc(size);
    wcoh_memory_file block;
    wcoh_io io = io_of(&block, file, size);
    wcoh_model *again = NULL;
    wcoh_session_desc session_desc;
    wcoh_session *session = NULL;
    wcoh_trainer_desc trainer_desc;
    wcoh_trainer *trainer = NULL;
    uint32_t tokens[12];
    block.used = 0;
    REQUIRE(file && wcoh_model_save(model, &io, &error) == WCOH_OK && block.used == size);
    REQUIRE(wcoh_model_load(&again, &io, NULL, &error) == WCOH_OK);
    wcoh_model_destroy(again);
    free(file);
    for (i = 0; i < 12; i++) tokens[i] = (uint32_t)(i * 7) % (uint32_t)vocab;
    memset(&session_desc, 0, sizeof session_desc);
    session_desc.prefill = 4;
    size = wcoh_session_size(model, &session_desc, &error);
    if (size && size < 1u << 26 &&
        wcoh_session_create(&session, model, &session_desc, &error) == WCOH_OK) {
        wcoh_session_prefill(session, tokens, 5, &error);
        for (i = 5; i < 12; i++) wcoh_session_step(session, tokens[i], &error);
        wcoh_session_destroy(session);
    }
    memset(&trainer_desc, 0, sizeof trainer_desc);
    trainer_desc.batch = 1;
    trainer_desc.seq = 3;
    trainer_desc.eval_every = -1;
    trainer_desc.cpu.threads = 1;
    size = wcoh_trainer_size(wcoh_model_get_desc(model), &trainer_desc, &error);
    if (size && size < 1u << 26 &&
        wcoh_trainer_create(&trainer, model, &trainer_desc, &error) == WCOH_OK) {
        if (wcoh_trainer_set_data(trainer, tokens, 12, NULL, 0, &error) == WCOH_OK)
            wcoh_trainer_step(trainer, NULL, &error);
        wcoh_trainer_destroy(trainer);
    }
}

static wcoh_trainer *small_trainer(wcoh_model *model, uint32_t *tokens)
{
    wcoh_trainer_desc desc;
    wcoh_trainer *trainer = NULL;
    int i;
    memset(&desc, 0, sizeof desc);
    desc.batch = 1;
    desc.seq = 3;
    desc.steps = 10;
    desc.cpu.threads = 1;
    for (i = 0; i < 12; i++) tokens[i] = (uint32_t)(i % 5);
    REQUIRE(wcoh_trainer_create(&trainer, model, &desc, &error) == WCOH_OK);
    REQUIRE(wcoh_trainer_set_data(trainer, tokens, 12, NULL, 0, &error) == WCOH_OK);
    return trainer;
}

static void use_trainer_and_session(const wcoh_io *io, char kind)
{
    wcoh_model_desc desc = small_desc(WCOH_ATTENTION_COHERENCE);
    wcoh_trainer_desc trainer_desc;
    wcoh_session_desc session_desc;
    wcoh_session *session = NULL;
    wcoh_model *model = NULL;
    wcoh_trainer *trainer;
    uint32_t tokens[12], drawn;
    wcoh_sample_desc sample;
    wcoh_rng rng = wcoh_rng_seed(1);
    int dot;
    for (dot = 0; dot < 2; dot++) {
        if (dot) desc = small_desc(WCOH_ATTENTION_ROTARY);
        REQUIRE(wcoh_model_create(&model, &desc, &error) == WCOH_OK);
        memset(&session_desc, 0, sizeof session_desc);
        session_desc.prefill = 4;
        if (kind == 's')
            REQUIRE(wcoh_session_create(&session, model, &session_desc, &error) == WCOH_OK);
        memset(&sample, 0, sizeof sample);
        sample.repetition_penalty = 2;
        sample.repetition_window = 1024;
        if (session && wcoh_session_load(session, io, &error) == WCOH_OK) {
            wcoh_session_sample(session, &sample, &rng, &drawn, &error);
            wcoh_session_step(session, 1, &error);
            tokens[0] = tokens[1] = tokens[2] = 3;
            wcoh_session_prefill(session, tokens, 3, &error);
            wcoh_session_sample(session, &sample, &rng, &drawn, &error);
        }
        wcoh_session_destroy(session);
        session = NULL;
        if (!dot && wcoh_trainer_read_desc(&trainer_desc, io, &error) == WCOH_OK) {
            trainer = small_trainer(model, tokens);
            if (wcoh_trainer_resume(trainer, io, &error) == WCOH_OK)
                wcoh_trainer_step(trainer, NULL, &error);
            wcoh_trainer_destroy(trainer);
        }
        if (wcoh_model_read(model, io, &error) == WCOH_OK) use_model(model);
        wcoh_model_destroy(model);
    }
}

/* Saved again it must load again, with as many entities. */
static void use_circle(const wcoh_io *io)
{
    static unsigned char space[1 << 22];
    wcoh_memory_file block;
    wcoh_io out = io_of(&block, space, sizeof space);
    wcoh_circle *circle = NULL, *again = NULL;
    wcoh_circle_query query;
    double phases[2] = {1, 2};
    size_t count;
    if (wcoh_circle_load(&circle, io, NULL, &error) < 0) return;
    memset(&query, 0, sizeof query);
    query.harmonic[0] = 3;
    REQUIRE(wcoh_circle_find(circle, &query, NULL, 0, &count, NULL, &error) == WCOH_OK);
    block.used = 0;
    if (wcoh_circle_save(circle, &out, &error) == WCOH_OK) {
        REQUIRE(wcoh_circle_load(&again, &out, NULL, &error) == WCOH_OK);
        REQUIRE(wcoh_circle_count(again) == wcoh_circle_count(circle));
        wcoh_circle_destroy(again);
    }
    REQUIRE(wcoh_circle_insert(circle, phases, NULL, &error) == WCOH_OK);
    wcoh_circle_remove(circle, 0);
    wcoh_circle_destroy(circle);
}

/* The same of a store, all of it and a part; a query of each finds what it holds. */
static void use_resonance(const wcoh_io *io)
{
    static unsigned char space[1 << 22];
    static float vector[1 << 20], phases[1 << 20];
    wcoh_memory_file block;
    wcoh_io out = io_of(&block, space, sizeof space);
    wcoh_resonance *store = NULL, *again = NULL;
    wcoh_resonance_hit hits[10];
    wcoh_cpu_desc cpu;
    int part, found;
    memset(&cpu, 0, sizeof cpu);
    cpu.threads = 1;
    vector[0] = 1;
    for (part = 0; part < 2; part++) {
        const float *given;
        if (wcoh_resonance_load(&store, io, part, part, &cpu, NULL, &error) < 0) continue;
        given = wcoh_resonance_get_desc(store)->packet == WCOH_PACKET_PHASES ? phases : NULL;
        REQUIRE(wcoh_resonance_find(store, NULL, vector, given, hits, &found, &error) == WCOH_OK);
        REQUIRE((uint64_t)found == WCOHI_MIN(wcoh_resonance_count(store), 10));
        block.used = 0;
        if (wcoh_resonance_save(store, &out, &error) == WCOH_OK) {
            REQUIRE(wcoh_resonance_load(&again, &out, 0, 0, &cpu, NULL, &error) == WCOH_OK);
            REQUIRE(wcoh_resonance_count(again) == wcoh_resonance_count(store));
            wcoh_resonance_destroy(again);
        }
        wcoh_resonance_destroy(store);
    }
}

/* What is read as a wave memory is written as the same bytes. */
static void use_waves(const wcoh_io *io, const uint8_t *data, size_t size)
{
    static float values[4096];
    static unsigned char again[32 + sizeof values];
    wcoh_memory_file block = {again, sizeof again, 0};
    wcoh_io out = wcoh_io_memory(&block);
    wcoh_wave_memory memory;
    memset(&memory, 0, sizeof memory);
    memory.values = values;
    if (wcoh_wave_memory_load(&memory, 4096, io, &error) < 0) return;
    REQUIRE(wcoh_wave_memory_save(&memory, &out, &error) == WCOH_OK);
    REQUIRE(block.used == size && memcmp(again, data, size) == 0);
}

static void use_file(const uint8_t *data, size_t size)
{
    wcoh_memory_file block;
    wcoh_io io = io_of(&block, data, size);
    wcoh_model *model = NULL;
    char kind = use_tensors(&io);
    use_waves(&io, data, size);
    if (wcoh_model_load(&model, &io, NULL, &error) == WCOH_OK) use_model(model);
    wcoh_model_destroy(model);
    if (kind == '?') {
        use_circle(&io);
        use_resonance(&io);
    }
    if (kind) use_trainer_and_session(&io, kind);
}

FUZZ_UNUSED static const fuzz_target targets[] = {{"file", use_file}};

#ifdef FUZZ

/* Most mutations keep to the header or to the data, and set the header's size right afterwards. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    static uint8_t part[1 << 20];
    uint64_t header = size >= 8 ? wcohi_get_le(data, 8) : 0;
    size_t rest, changed, room;
    if (seed % 8 == 0 || size < 8 || header > size - 8 || max > sizeof part)
        return LLVMFuzzerMutate(data, size, max);
    rest = size - 8 - (size_t)header;
    if (seed % 8 < 3)
        return 8 + (size_t)header +
               LLVMFuzzerMutate(data + 8 + header, rest, max - 8 - (size_t)header);
    room = max - 8 - rest;
    memcpy(part, data + 8, (size_t)header);
    changed = LLVMFuzzerMutate(part, (size_t)header, room);
    memmove(data + 8 + changed, data + 8 + header, rest);
    memcpy(data + 8, part, changed);
    wcohi_put_le(data, changed, 8);
    return 8 + changed + rest;
}

#else

static unsigned char space[1 << 18];

static void write_seed(const char *folder, const char *name, wcoh_memory_file *block)
{
    char path[512];
    FILE *file;
    size_t i;
    for (i = 0; i + 18 < block->used;
         i++) /* without its checksum, or no change would get past it */
        if (memcmp(block->data + i, "\"wavecoh.checksum\"", 18) == 0)
            memcpy(block->data + i, "\"wavecoh.checkold\"", 18);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "wb");
    REQUIRE(file != NULL);
    fwrite(block->data, 1, block->used, file);
    fclose(file);
    block->used = 0;
}

static void write_toolkit_seeds(const char *folder)
{
    static const char *const names[] = {"sign", "dft", "phases"};
    wcoh_memory_file block;
    wcoh_io io = io_of(&block, space, sizeof space);
    float vectors[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    double phases[2] = {1, 2};
    char name[40];
    int i, k;
    block.used = 0;
    for (i = 1; i <= 2; i++) {
        wcoh_circle_desc desc;
        wcoh_circle *circle;
        memset(&desc, 0, sizeof desc);
        desc.buckets = 7;
        desc.axes = i;
        REQUIRE(wcoh_circle_create(&circle, &desc, &error) == WCOH_OK);
        for (k = 0; k < 5; k++) {
            phases[0] = 3 * k;
            REQUIRE(wcoh_circle_insert(circle, phases, NULL, &error) == WCOH_OK);
        }
        REQUIRE(wcoh_circle_remove(circle, 2) == 1);
        REQUIRE(wcoh_circle_save(circle, &io, &error) == WCOH_OK);
        sprintf(name, "circle%d", i);
        write_seed(folder, name, &block);
        wcoh_circle_destroy(circle);
    }
    for (i = 0; i < 3; i++) {
        wcoh_resonance_desc desc;
        wcoh_resonance *store;
        memset(&desc, 0, sizeof desc);
        desc.dimensions = 5;
        desc.packet = (wcoh_packet)i;
        desc.cpu.threads = 1;
        REQUIRE(wcoh_resonance_create(&store, &desc, &error) == WCOH_OK);
        REQUIRE(wcoh_resonance_add(store, vectors, i == WCOH_PACKET_PHASES ? vectors : NULL, 2,
                                   &error) == WCOH_OK);
        REQUIRE(wcoh_resonance_save(store, &io, &error) == WCOH_OK);
        write_seed(folder, names[i], &block);
        wcoh_resonance_destroy(store);
    }
}

static void write_wave_seed(const char *folder)
{
    float values[12] = {1, -2, 0.5f};
    wcoh_wave_memory memory = {2, 3, 0.05, 0.95, 0.99, 4, NULL};
    wcoh_memory_file block;
    wcoh_io io = io_of(&block, space, sizeof space);
    block.used = 0;
    memory.values = values;
    REQUIRE(wcoh_wave_memory_save(&memory, &io, &error) == WCOH_OK);
    write_seed(folder, "waves", &block);
}

static void write_seeds(const char *folder)
{
    char name[40];
    int attention;
    for (attention = 0; attention <= WCOH_ATTENTION_ROTARY; attention++) {
        wcoh_model_desc desc = small_desc(attention);
        wcoh_session_desc session_desc;
        wcoh_memory_file block;
        wcoh_io io = io_of(&block, space, sizeof space);
        wcoh_tokenizer *tokenizer;
        wcoh_model *model = NULL;
        wcoh_trainer *trainer;
        wcoh_session *session = NULL;
        uint32_t tokens[12];
        block.used = 0;
        REQUIRE(wcoh_tokenizer_create_chars(&tokenizer, "ab\n\"\xc3\xa9", 6, NULL, &error) ==
                WCOH_OK);
        desc.tokenizer = tokenizer;
        if (attention == 3)
            desc.position = WCOH_POSITION_LEARNED, desc.ffn = WCOH_FFN_MLP,
            desc.head = WCOH_HEAD_TIED;
        REQUIRE(wcoh_model_create(&model, &desc, &error) == WCOH_OK);
        wcoh_tokenizer_destroy(tokenizer);
        REQUIRE(wcoh_model_save(model, &io, &error) == WCOH_OK);
        sprintf(name, "model%d", attention);
        write_seed(folder, name, &block);
        memset(&session_desc, 0, sizeof session_desc);
        session_desc.prefill = 4;
        REQUIRE(wcoh_session_create(&session, model, &session_desc, &error) == WCOH_OK);
        REQUIRE(wcoh_session_step(session, 2, &error) == WCOH_OK);
        REQUIRE(wcoh_session_save(session, &io, &error) == WCOH_OK);
        sprintf(name, "session%d", attention);
        write_seed(folder, name, &block);
        wcoh_session_destroy(session);
        trainer = small_trainer(model, tokens);
        REQUIRE(wcoh_trainer_step(trainer, NULL, &error) == WCOH_OK);
        REQUIRE(wcoh_trainer_save(trainer, &io, &error) == WCOH_OK);
        sprintf(name, "trainer%d", attention);
        write_seed(folder, name, &block);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
}

/* Files of other programs: npy in both orders and of records, and what safetensors allows besides.
   Each has 12 bytes of data. */
static void write_foreign_seeds(const char *folder)
{
    static const struct {
        int npy; /* its version; 0: safetensors */
        const char *header;
    } seeds[] = {
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }   \n"},
        {2, "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }"},
        {3, "{'descr': [('a', '<f4', (3,))], 'fortran_order': False, 'shape': ()}"},
        {0, " {\"__metadata__\": null, \"w\":{\"dtype\":\"F32\",\"x\":[{\"y\":-1e2},true],"
            "\"shape\":[3],\"data_offsets\":[0,12]}} "},
    };
    size_t i;
    for (i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        int version = seeds[i].npy, wide = version > 1;
        size_t length = strlen(seeds[i].header), at = version == 0 ? 8 : wide ? 12 : 10;
        wcoh_memory_file block;
        wcoh_io io = io_of(&block, space, at + length + 12);
        char name[40];
        memset(space, 1, at + length + 12);
        if (version) {
            memcpy(space, "\223NUMPY", 6);
            space[6] = (unsigned char)version;
            wcohi_put_le(space + 8, length, wide ? 4 : 2);
        } else {
            wcohi_put_le(space, length, 8);
        }
        memcpy(space + at, seeds[i].header, length);
        REQUIRE(use_tensors(&io) == '?');
        sprintf(name, "foreign%d", (int)i);
        write_seed(folder, name, &block);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) return fuzz_main(targets, 1, argc, argv);
    write_seeds(argv[1]);
    write_wave_seed(argv[1]);
    write_toolkit_seeds(argv[1]);
    write_foreign_seeds(argv[1]);
    return 0;
}
#endif
