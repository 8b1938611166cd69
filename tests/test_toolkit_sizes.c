/* Sizes that do not fit: large dimensions from a caller and from files whose data are zeros without
   end. The build matrix runs it once more with -m32, where products of such sizes wrap.
   cc -O1 tests/test_toolkit_sizes.c -o test_toolkit_sizes -lm -lpthread */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include "test.h"

/* No more than 256 MB at a time, whatever the machine has. */
static void *modest_alloc(size_t size, void *user)
{
    (void)user;
    return size > (size_t)1 << 28 ? NULL : malloc(size);
}

static void modest_release(void *pointer, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(pointer);
}

static wcoh_memory modest(void)
{
    wcoh_memory memory;
    memset(&memory, 0, sizeof memory);
    memory.alloc = modest_alloc;
    memory.release = modest_release;
    return memory;
}

/* A safetensors file: a header, and zeros behind it. */
typedef struct sparse {
    unsigned char head[1024];
    size_t used;
    uint64_t size;
} sparse;

static int sparse_size(void *user, uint64_t *bytes)
{
    *bytes = ((const sparse *)user)->size;
    return 0;
}

static int sparse_read(void *user, uint64_t offset, void *data, size_t size)
{
    const sparse *s = (const sparse *)user;
    unsigned char *to = (unsigned char *)data;
    size_t i;
    for (i = 0; i < size; i++) to[i] = offset + i < s->used ? s->head[offset + i] : 0;
    return 0;
}

static wcoh_io sparse_io(sparse *s, const char *header, uint64_t data)
{
    size_t length = strlen(header), i;
    wcoh_io io;
    memset(s, 0, sizeof *s);
    for (i = 0; i < 8; i++) s->head[i] = (unsigned char)((uint64_t)length >> 8 * i);
    memcpy(s->head + 8, header, length);
    s->used = 8 + length;
    s->size = s->used + data;
    memset(&io, 0, sizeof io);
    io.user = s;
    io.size = sparse_size;
    io.read = sparse_read;
    return io;
}

/* A file's store of one packet with 2^20 columns and 1024 lanes: 4 GiB a tile. */
static void a_tile_of_four_gigabytes_is_refused(void)
{
    static const char header[] =
        "{\"__metadata__\":{\"wavecoh.resonance.packet\":\"phases\","
        "\"wavecoh.resonance.dimensions\":\"524288\",\"wavecoh.resonance.count\":\"1\","
        "\"wavecoh.resonance.first_bin\":\"0\",\"wavecoh.resonance.bins\":\"524288\","
        "\"wavecoh.resonance.lanes\":\"1024\"},\"packets.0\":{\"dtype\":\"F32\","
        "\"shape\":[1,1048577,1024],\"data_offsets\":[0,4294971392]}}";
    sparse s;
    wcoh_io io = sparse_io(&s, header, 4294971392u);
    wcoh_memory memory = modest();
    wcoh_resonance *store;
    wcoh_error error;
    CHECK(wcoh_resonance_load(&store, &io, 0, 0, NULL, &memory, &error) == WCOH_E_MEMORY);
    CHECK(!store);
    CHECK_TEXT(error.text, "resonance");
    /* 64 bins of it are read: their sizes are sound */
    CHECK(wcoh_resonance_load(&store, &io, 7, 64, NULL, &memory, &error) == WCOH_OK);
    CHECK(wcoh_resonance_count(store) == 1);
    wcoh_resonance_destroy(store);
}

static void large_stores_are_made_or_refused(void)
{
    static const wcoh_packet packets[3] = {WCOH_PACKET_SIGN, WCOH_PACKET_DFT, WCOH_PACKET_PHASES};
    int i;
    for (i = 0; i < 3; i++) {
        wcoh_resonance_desc desc;
        wcoh_resonance *store;
        float number = 1;
        memset(&desc, 0, sizeof desc);
        desc.dimensions = 1 << 20;
        desc.packet = packets[i];
        desc.cpu.threads = 1;
        desc.memory = modest();
        if (wcoh_resonance_create(&store, &desc, NULL) == WCOH_E_MEMORY) continue;
        CHECK(wcoh_resonance_bins(store) >= 1 << 19);
        /* so many vectors cannot lie in memory: refused before one is read */
        CHECK(wcoh_resonance_add(store, &number, packets[i] == WCOH_PACKET_PHASES ? &number : NULL,
                                 ((size_t)-1) / 2, NULL) == WCOH_E_ARGUMENT);
        wcoh_resonance_destroy(store);
    }
}

static void a_large_torus_is_made_or_refused(void)
{
    static const char header[] =
        "{\"__metadata__\":{\"wavecoh.circle.axes\":\"2\",\"wavecoh.circle.buckets\":\"4096\","
        "\"wavecoh.circle.slots\":\"2147483647\"},\"phase.0\":{\"dtype\":\"F64\","
        "\"shape\":[1024,2],\"data_offsets\":[0,16384]},\"alive.0\":{\"dtype\":\"U8\","
        "\"shape\":[1024],\"data_offsets\":[16384,17408]}}";
    sparse s;
    wcoh_io io = sparse_io(&s, header, 17408);
    wcoh_memory memory = modest();
    wcoh_circle *circle;
    wcoh_error error;
    wcoh_result result = wcoh_circle_load(&circle, &io, &memory, &error);
    CHECK(result == WCOH_E_MISMATCH || result == WCOH_E_MEMORY);
    CHECK(!circle);
}

static void counts_that_wrap_are_refused(void)
{
    wcoh_spectral_desc desc;
    wcoh_spectral *s;
    wcoh_error error;
    float v[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint32_t pair[2] = {0, 1};
    wcoh_figure bands[3];
    size_t largest = (size_t)-1;
    memset(&desc, 0, sizeof desc);
    desc.dimensions = 4;
    desc.draws = 2;
    CHECK(wcoh_spectral_create(&s, &desc, NULL) == WCOH_OK);
    CHECK(wcoh_spectral_pairs(s, v, 2, pair, largest / 2 + 1, NULL, NULL, NULL, NULL, &error) ==
          WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "too many");
    CHECK(wcoh_spectral_pairs(s, v, largest, pair, 1, NULL, NULL, NULL, NULL, &error) ==
          WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "do not fit");
    CHECK(wcoh_spectral_energy(s, v, largest / 4 + 1, bands, &error) == WCOH_E_ARGUMENT);
    wcoh_spectral_destroy(s);
    desc.dimensions = 1 << 20;
    desc.bands = 128;
    desc.draws = 10000;
    desc.memory = modest();
    CHECK(wcoh_spectral_create(&s, &desc, NULL) == WCOH_E_MEMORY);
}

static void maps_and_matrices_that_cannot_exist_are_refused(void)
{
    wcoh_map_figures map;
    wcoh_matrix_figures matrix;
    wcoh_memory memory = modest();
    wcoh_dft *dft;
    wcoh_error error;
    float number = 1;
    CHECK(wcoh_dft_create(&dft, 1 << 26, &memory, NULL) == WCOH_E_MEMORY);
    if (sizeof(size_t) > 4) return; /* there they could exist, and would be read */
    CHECK(wcoh_map_measure(&map, &number, 1 << 16, WCOH_MAP_CAUSAL, &memory, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "allowed 1..32767");
    CHECK(wcoh_matrix_measure(&matrix, &number, 1 << 20, 1 << 20, NULL, &memory, &error) ==
          WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "do not fit");
}

int main(void)
{
    RUN(a_tile_of_four_gigabytes_is_refused);
    RUN(large_stores_are_made_or_refused);
    RUN(a_large_torus_is_made_or_refused);
    RUN(counts_that_wrap_are_refused);
    RUN(maps_and_matrices_that_cannot_exist_are_refused);
    return test_end();
}
