/* Hashes of what the library computes, for "not a bit may change": parameters after 50 steps, the
   losses on the way, a session's logits, the files; of every preset and of every case of the
   gradient tests, on every instruction set of this machine. Run it before a change and after it,
   built by the same compiler, and compare the lines.
   cc -O2 -o bits tests/bits.c -lm -lpthread
   cc -O2 -DBITS_VULKAN -o bits tests/bits.c -lm -lpthread      on the first Vulkan device instead
   ./bits [NAME OF A CASE] */
#define WAVECOH_SCALAR
#define WAVECOH_IMPLEMENTATION
#ifdef BITS_VULKAN
#include "../wavecoh_vk.h"
#else
#include "../wavecoh.h"
#endif
#include "test.h"
#include "support.h"
#include "cases.h"

enum { TRAIN = 3000, VAL = 500, STEPS = 50, HEARD = 90 };

typedef struct hash {
    uint64_t value;
} hash;

static void hash_add(hash *h, const void *data, size_t size) /* FNV-1a */
{
    const unsigned char *bytes = (const unsigned char *)data;
    size_t i;
    for (i = 0; i < size; i++) h->value = (h->value ^ bytes[i]) * 1099511628211u;
}

static hash hash_start(void)
{
    hash h = {14695981039346656037u};
    return h;
}

/* Blank a metadata value that differs from run to run. */
static void blank(char *header, const char *key)
{
    char *at = strstr(header, key);
    if (!at) return;
    for (at += strlen(key); *at && *at != '"'; at++) *at = '_';
}

/* Of a checkpoint: all of it but its length of header, the clock's seconds, the checksum
   and what fills the header up. */
static uint64_t file_hash(wcoh_memory_file *file)
{
    hash h = hash_start();
    size_t header = file->data[0] + 256u * file->data[1] + 65536u * file->data[2];
    char *text = (char *)file->data + 8;
    char last = text[header - 1];
    text[header - 1] = 0;
    blank(text, "\"train.seconds\":\"");
    blank(text, "\"wavecoh.checksum\":\"");
    for (; *text; text++)
        if (*text != '_' && *text != ' ' && *text != '}') hash_add(&h, text, 1);
    *text = last;
    hash_add(&h, file->data + 8 + header, file->used - 8 - header);
    return h.value;
}

static int record(const wcoh_stats *stats, void *user)
{
    hash_add((hash *)user, &stats->train_loss, sizeof stats->train_loss);
    hash_add((hash *)user, &stats->val_loss, sizeof stats->val_loss);
    return 0;
}

static uint64_t session_hash(wcoh_model *model, const wcoh_cpu_desc *cpu, wcoh_device *device)
{
    wcoh_session_desc desc;
    wcoh_session *session;
    wcoh_error error;
    uint32_t tokens[HEARD];
    int i, vocab = wcoh_model_get_desc(model)->vocab;
    hash h = hash_start();
    memset(&desc, 0, sizeof desc);
    desc.cpu = *cpu;
    desc.device = device;
    if (wcoh_session_create(&session, model, &desc, &error) < 0) return 0;
    random_tokens(tokens, HEARD, vocab, 9);
    for (i = 0; i < HEARD; i++) {
        const wcoh_real *logits;
        if (i == 20) i += 50, wcoh_session_prefill(session, tokens + 20, 50, &error);
        wcoh_session_step(session, tokens[i], &error);
        if ((logits = wcoh_session_logits(session)))
            hash_add(&h, logits, (size_t)vocab * sizeof *logits);
    }
    wcoh_session_destroy(session);
    return h.value;
}

static void print_case(const char *name, const char *isa, const wcoh_model_desc *model_desc,
                       const wcoh_trainer_desc *trainer_desc, wcoh_device *device)
{
    static uint32_t text[TRAIN + VAL];
    wcoh_trainer_desc training = *trainer_desc;
    wcoh_model *model;
    wcoh_trainer *trainer;
    wcoh_stats stats;
    wcoh_error error;
    wcoh_param p;
    wcoh_io io;
    int i, steps = 0;
    hash losses = hash_start(), params = hash_start();
    static unsigned char area[1 << 25];
    wcoh_memory_file file;
    uint64_t model_file;
    random_tokens(text, TRAIN + VAL, model_desc->vocab, 5);
    training.device = device;
    training.steps = 2000;
    training.eval_every = 20;
    training.eval_batches = 2;
    training.progress = record;
    training.progress_user = &losses;
    if (!(model = model_of(model_desc))) return;
    if (wcoh_trainer_create(&trainer, model, &training, &error) < 0 ||
        wcoh_trainer_set_data(trainer, text, TRAIN, text + TRAIN, VAL, &error) < 0) {
        printf("%-8s %-34s %s\n", isa, name, error.text);
        wcoh_model_destroy(model);
        return;
    }
    for (steps = 0; steps < STEPS; steps++)
        if (wcoh_trainer_step(trainer, &stats, &error) != WCOH_OK) break;
    wcoh_trainer_sync(trainer, NULL);
    for (i = 0; i < wcoh_model_param_count(model); i++) {
        wcoh_model_param(model, i, &p, NULL);
        hash_add(&params, p.data, p.count * sizeof *p.data);
    }
    memset(&file, 0, sizeof file);
    file.data = area;
    file.capacity = sizeof area;
    io = wcoh_io_memory(&file);
    CHECK(wcoh_model_save(model, &io, &error) == WCOH_OK);
    model_file = file_hash(&file);
    file.used = 0;
    CHECK(wcoh_trainer_save(trainer, &io, &error) == WCOH_OK);
    printf("%-8s %-34s %d %016llx %016llx %016llx %016llx %016llx\n", isa, name, steps,
           (unsigned long long)params.value, (unsigned long long)losses.value,
           (unsigned long long)session_hash(model, &training.cpu, device),
           (unsigned long long)model_file, (unsigned long long)file_hash(&file));
    fflush(stdout);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

static void print_all(const char *isa_name, wcoh_isa isa, wcoh_device *device, const char *only)
{
    static const char *const presets[] = {
        "preset wave",   "preset gpt",      "preset kerr-engine", "preset wave-engine",
        "preset wave-2", "preset harmonic", "preset resonance",   "preset april",
        "preset wave-1", "preset wave-3"};
    enum { PRESETS = (int)(sizeof presets / sizeof *presets) };
    size_t i;
    char all[256];
    for (i = 0; i < PRESETS + sizeof cases / sizeof *cases; i++) {
        const char *name = i < PRESETS ? presets[i] : cases[i - PRESETS].name;
        wcoh_model_desc model;
        wcoh_trainer_desc trainer;
        if (only && strcmp(only, name)) continue;
        memset(&trainer, 0, sizeof trainer);
        if (i < PRESETS) {
            model = wcoh_model_preset((wcoh_preset)i, 65);
            model.layers = 1;
            trainer = wcoh_trainer_preset((wcoh_preset)i);
            trainer.batch = 2;
            trainer.seq = 33;
        } else {
            snprintf(all, sizeof all, "vocab=7 bands=6 heads=3 layers=2 maestro=4 %s",
                     cases[i - PRESETS].settings);
            model = model_desc_of(all);
            trainer.batch = cases[i - PRESETS].batch;
            trainer.seq = cases[i - PRESETS].seq;
        }
        trainer.cpu.threads = 1;
        trainer.cpu.isa = isa;
        print_case(name, isa_name, &model, &trainer, device);
    }
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : NULL;
#ifdef BITS_VULKAN
    wcoh_vk_desc desc;
    wcoh_device *device;
    wcoh_error error;
    memset(&desc, 0, sizeof desc);
    if (wcoh_vk_device_create(&device, &desc, &error) < 0) {
        printf("not run: %s\n", error.text);
        return 0;
    }
    print_all("vulkan", WCOH_ISA_AUTO, device, only);
    wcoh_device_destroy(device);
#else
    int i;
    EACH_ISA(i) print_all(wcoh_isa_name(every_isa[i]), every_isa[i], NULL, only);
#endif
    return 0;
}
