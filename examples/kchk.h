/* Checkpoints of kerr-engine (KCHK, versions 1 and 2), from bytes to a model and back. What is wrong ends
   the program with a sentence (fail of common.h).
   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef KCHK_H
#define KCHK_H

#include "moments.h"

/* Refuse a model whose settings are others than `wanted`, but for those in `unsaid`. */
static void settings_must_equal(const char *path, const wcoh_model_desc *own,
                                wcoh_model_desc *wanted, const char *engine, const char *unsaid)
{
    const wcoh_field *fields;
    wcoh_error error;
    int count, i;
    must(wcoh_model_desc_resolve(wanted, &error), path, &error);
    fields = wcoh_fields(WCOH_DESC_MODEL, &count);
    for (i = 0; i < count; i++) {
        char a[64], b[64];
        if (word_stands(unsaid, fields[i].name)) continue;
        wcoh_field_get(WCOH_DESC_MODEL, own, fields[i].name, a, sizeof a);
        wcoh_field_get(WCOH_DESC_MODEL, wanted, fields[i].name, b, sizeof b);
        if (strcmp(a, b) != 0)
            fail(EXIT_FAILED, "%s: %s is %s: %s has %s and can say nothing else", path,
                 fields[i].name, a, engine, b);
    }
}

/* ---- kerr-engine's network --------------------------------------------------------------------- */

/* KCHK version 2 begins with these; version 1 leaves them out and means what stands here. */
static const char *const kchk_size_names[] = {"bands",   "heads",   "layers",
                                              "maestro", "context", "rk4-steps"};
enum { KCHK_SIZES = sizeof kchk_size_names / sizeof *kchk_size_names, KCHK_SIZE_MOST = 65536 };
static const unsigned long kchk_version_1[KCHK_SIZES] = {64, 4, 4, 16, 256, 8};

static wcoh_model_desc kchk_desc(const unsigned long sizes[KCHK_SIZES], int vocab, int dual)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_KERR_ENGINE, vocab);
    desc.bands = (int)sizes[0];
    desc.heads = (int)sizes[1];
    desc.layers = (int)sizes[2];
    desc.maestro = (int)sizes[3];
    desc.context = (int)sizes[4];
    desc.rk4_steps = (int)sizes[5];
    desc.maestros = dual ? WCOH_MAESTROS_DUAL : WCOH_MAESTROS_ADD;
    return desc;
}

/* The tensors of a KCHK's flat list in their order; %d is the block. The first block turns each
   band by a matrix that the engine stores [in][out]; the others have oscillators. */
static const char *const block_parts[] = {
    "norm1.weight",    "norm1.bias",    "attn.qkv.weight", "attn.qkv.bias",
    "attn.out.weight", "attn.out.bias", "norm2.weight",    "norm2.bias",
};
static const char *const first_parts[] = {"ffn.per_band.weight", "ffn.per_band.bias"};
static const char *const kerr_parts[] = {"ffn.kerr.gamma_raw", "ffn.kerr.omega", "ffn.kerr.alpha",
                                         "ffn.kerr.beta"};
static const char *const maestro_parts[] = {"squeeze.weight", "squeeze.bias", "expand.weight",
                                            "expand.bias"};
static const char *const out_parts[] = {"ffn.out.weight", "ffn.out.bias"};
static const char *const end_parts[] = {"norm_f.weight", "norm_f.bias", "head.weight"};

typedef void (*tensor_visitor)(const wcoh_param *param, int turned, void *user);

static void visit(const wcoh_model *model, const char *name, tensor_visitor visitor, void *user)
{
    wcoh_param param;
    wcoh_error error;
    must(wcoh_model_param(model, wcoh_model_param_find(model, name), &param, &error), name, &error);
    visitor(&param, strstr(name, "per_band.weight") != NULL, user);
}

static void visit_parts(const wcoh_model *model, const char *before, const char *const *parts,
                        int count, tensor_visitor visitor, void *user)
{
    char name[64];
    int i;
    for (i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s%s", before, parts[i]);
        visit(model, name, visitor, user);
    }
}

#define PARTS(parts) parts, (int)(sizeof(parts) / sizeof *(parts))

/* Call visitor for every tensor of the flat list, in its order. */
static void kchk_visit(const wcoh_model *model, tensor_visitor visitor, void *user)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    int dual = desc->maestros == WCOH_MAESTROS_DUAL, l;
    char block[32], ffn[48];
    for (l = 0; l < desc->layers; l++) {
        snprintf(block, sizeof block, "blocks.%d.", l);
        visit_parts(model, block, PARTS(block_parts), visitor, user);
        visit_parts(model, block, l ? kerr_parts : first_parts, l ? 4 : 2, visitor, user);
        snprintf(ffn, sizeof ffn, "%sffn.maestro%s.", block, dual ? "_in" : "");
        if (l) visit_parts(model, ffn, PARTS(maestro_parts), visitor, user);
        snprintf(ffn, sizeof ffn, "%sffn.maestro_out.", block);
        if (l && dual) visit_parts(model, ffn, PARTS(maestro_parts), visitor, user);
        visit_parts(model, block, PARTS(out_parts), visitor, user);
    }
    visit_parts(model, "", PARTS(end_parts), visitor, user);
}

static void count_one(const wcoh_param *param, int turned, void *user)
{
    (void)turned;
    *(unsigned long long *)user += param->count;
}

static unsigned long long kchk_count(const wcoh_model *model)
{
    unsigned long long count = 0;
    kchk_visit(model, count_one, &count);
    return count;
}

/* The engine's frozen tables: row r of the embedding is (cos h phi, sin h phi) for h = 1 .. bands,
   phi = 2 pi r / vocab; of the positions (cos r f, sin r f), f = 10000^(-2h / width) for h from 0;
   both over root bands. */
static double table_value(const wcoh_model_desc *desc, int positions, int r, int column)
{
    const double pi = 3.14159265358979323846;
    int h = column / 2;
    double angle = positions ? r * pow(10000, -2.0 * h / (2.0 * desc->bands))
                             : 2 * pi * (((double)r * (h + 1)) / desc->vocab);
    return (column % 2 ? sin(angle) : cos(angle)) / sqrt((double)desc->bands);
}

/* Write the frozen tables (with `written`), or return 1 if they are the engine's to 1e-5 of its
   amplitude. */
static int kchk_tables(wcoh_model *model, int written)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    wcoh_param param;
    wcoh_error error;
    double amplitude = 1 / sqrt((double)desc->bands);
    int t, r, i;
    for (t = 0; t < 2; t++) {
        const char *name = t ? "position.weight" : "embed.weight";
        must(wcoh_model_param(model, wcoh_model_param_find(model, name), &param, &error), name,
             &error);
        for (r = 0; r < param.shape[0]; r++)
            for (i = 0; i < param.shape[1]; i++) {
                wcoh_real *value = &param.data[(size_t)r * (size_t)param.shape[1] + (size_t)i];
                double wanted = table_value(desc, t, r, i);
                if (written) *value = (wcoh_real)wanted;
                else if (!(fabs((double)*value - wanted) <= 1e-5 * amplitude)) return 0;
            }
    }
    wcoh_model_touch(model);
    return 1;
}

/* ---- from KCHK ------------------------------------------------------------------------------- */

/* Skip the count of a list of floats and return it; the floats must be there. */
static unsigned long long read_count(reader *in, const char *what)
{
    unsigned long long count = read_whole(in, 8);
    if (count > (unsigned long long)(in->end - in->at) / 4)
        fail(EXIT_FAILED, "%s: %s should have %.0f numbers, the file ends after %.0f of them",
             in->path, what, (double)count, (double)((in->end - in->at) / 4));
    return count;
}

/* Where number i of 2 x 2 matrices stands when each is turned. */
static size_t turned_2x2(size_t i) { return i % 4 == 1 || i % 4 == 2 ? i ^ 3u : i; }

static void read_tensor(const wcoh_param *param, int turned, void *user)
{
    reader *in = (reader *)user;
    size_t i;
    for (i = 0; i < param->count; i++) {
        float value = read_finite(in, param->name);
        param->data[turned ? turned_2x2(i) : i] = value;
    }
}

typedef struct kchk {
    unsigned long long vocab, count;
    unsigned long sizes[KCHK_SIZES];
    reader params, moments[2];
    unsigned long long moment_count[2];
    progress run;
} kchk;

/* What stands behind the sizes in files of both engines; the generator's state passes by. */
static progress read_progress(reader *in, unsigned long long *vocab)
{
    progress run;
    memset(&run, 0, sizeof run);
    *vocab = read_whole(in, 8);
    if (*vocab < 1 || *vocab > 1u << 24)
        fail(EXIT_FAILED, "%s: a vocabulary of %.0f symbols", in->path, (double)*vocab);
    run.step = read_whole(in, 8);
    run.rate = (double)read_float(in);
    read_whole(in, 8);
    run.adam = read_whole(in, 8);
    return run;
}

static kchk kchk_open(const char *path, const char *bytes, size_t size)
{
    kchk k;
    reader in;
    unsigned long long version, moments, i;
    in = reader_of(path, bytes, size);
    in.at += 4;
    version = read_whole(&in, 4);
    if (version != 1 && version != 2)
        fail(EXIT_FAILED, "%s: KCHK of version %.0f: 1 and 2 are known", path, (double)version);
    for (i = 0; i < KCHK_SIZES; i++) {
        k.sizes[i] = version == 1 ? kchk_version_1[i] : (unsigned long)read_whole(&in, 4);
        if (k.sizes[i] < 1 || k.sizes[i] > KCHK_SIZE_MOST)
            fail(EXIT_FAILED, "%s: %s is %lu, allowed are 1 to %d", path, kchk_size_names[i],
                 k.sizes[i], KCHK_SIZE_MOST);
    }
    k.run = read_progress(&in, &k.vocab);
    for (i = 0; i < 2; i++) {
        moments = k.moment_count[i] = read_count(&in, "a list of moments");
        k.moments[i] = in;
        in.at += 4 * moments;
    }
    k.count = read_count(&in, "the list of parameters");
    k.params = in;
    if (in.at + 4 * k.count != in.end)
        fail(EXIT_FAILED, "%s: %.0f bytes follow the parameters", path,
             (double)(in.end - in.at) - 4.0 * (double)k.count);
    return k;
}

/* The model of these sizes whose flat list is as long as the file's: one maestro, or two. */
static wcoh_model *kchk_sized(const char *path, const kchk *k, const wcoh_tokenizer *letters)
{
    unsigned long long counts[2];
    double bands = (double)k->sizes[0], layers = (double)k->sizes[2], maestro = (double)k->sizes[3],
           least; /* a part of them, of a giant before it is made */
    int dual;
    least = 16 * bands * bands * layers + 4 * bands * maestro * (layers - 1);
    if (least + 2 * bands * (double)k->vocab > (double)k->count)
        fail(EXIT_FAILED, "%s: its sizes want more than its %.0f parameters", path,
             (double)k->count);
    for (dual = 0; dual < 2; dual++) {
        wcoh_model_desc desc = kchk_desc(k->sizes, (int)k->vocab, dual);
        wcoh_model *model = NULL;
        wcoh_error error;
        desc.tokenizer = letters;
        must(wcoh_model_create(&model, &desc, &error), path, &error);
        counts[dual] = kchk_count(model);
        if (counts[dual] == k->count) return model;
        wcoh_model_destroy(model);
    }
    fail(EXIT_FAILED, "%s: it has %.0f parameters, its sizes make %.0f, or %.0f with two maestros",
         path, (double)k->count, (double)counts[0], (double)counts[1]);
    return NULL;
}

/* The network of the file; its symbols are those of `letters`, which may be NULL. */
static wcoh_model *kchk_model(const char *path, const kchk *k, const wcoh_tokenizer *letters)
{
    wcoh_model *model = kchk_sized(path, k, letters);
    reader params = k->params;
    kchk_visit(model, read_tensor, &params);
    kchk_tables(model, 1);
    return model;
}

/* Its run, with its moments. */
static progress kchk_run(const char *path, const kchk *k, const wcoh_model *model)
{
    progress run = k->run;
    int i;
    for (i = 0; i < 2; i++) {
        reader in = k->moments[i];
        if (k->moment_count[i] != k->count)
            fail(EXIT_FAILED, "%s: it has %.0f moments of %.0f parameters", path,
                 (double)k->moment_count[i], (double)k->count);
        run.moments[i] = moments_new(model);
        kchk_visit(run.moments[i], read_tensor, &in);
    }
    return run;
}

/* ---- to KCHK --------------------------------------------------------------------------------- */

/* Refuse a model that differs from the engine's in a setting which its file cannot say. */
static void kchk_must_be(const char *path, wcoh_model *model)
{
    const wcoh_model_desc *own = wcoh_model_get_desc(model);
    unsigned long sizes[KCHK_SIZES];
    wcoh_model_desc wanted;
    sizes[0] = (unsigned long)own->bands, sizes[1] = (unsigned long)own->heads;
    sizes[2] = (unsigned long)own->layers, sizes[3] = (unsigned long)own->maestro;
    sizes[4] = (unsigned long)own->context, sizes[5] = (unsigned long)own->rk4_steps;
    wanted = kchk_desc(sizes, own->vocab, own->maestros == WCOH_MAESTROS_DUAL);
    settings_must_equal(path, own, &wanted, "kerr-engine", "seed init");
    if (!kchk_tables(model, 0))
        fail(EXIT_FAILED,
             "%s: its embedding or position table is not kerr-engine's (cosine before sine): the "
             "file has no place for another",
             path);
}

static void put_tensor(const wcoh_param *param, int turned, void *user)
{
    size_t i;
    for (i = 0; i < param->count; i++)
        put_float((bytes_out *)user, (float)param->data[turned ? turned_2x2(i) : i]);
}

/* Magic, version, sizes; vocabulary, iteration, rate; the engine's seed of batches, Adam's count. */
static void kchk_put_head(bytes_out *out, const char *path, const wcoh_model_desc *desc,
                          const progress *run, unsigned version)
{
    const int sizes[KCHK_SIZES] = {desc->bands,   desc->heads,   desc->layers,
                                   desc->maestro, desc->context, desc->rk4_steps};
    int i;
    memcpy(out->bytes, "KCHK", 4);
    out->used = 4;
    put_whole(out, version, 4);
    for (i = 0; i < KCHK_SIZES; i++) {
        if (version > 1) put_whole(out, (unsigned)sizes[i], 4);
        else if ((unsigned long)sizes[i] != kchk_version_1[i])
            fail(EXIT_FAILED, "%s: %s is %d: KCHK of version 1 has %lu and can say nothing else",
                 path, kchk_size_names[i], sizes[i], kchk_version_1[i]);
    }
    put_whole(out, (unsigned)desc->vocab, 8);
    put_whole(out, run->step, 8);
    put_float(out, (float)run->rate);
    put_whole(out, 1337, 8);
    put_whole(out, run->adam, 8);
}

/* The model as a file of version 1 or 2. */
static bytes_out kchk_write(const char *path, wcoh_model *model, const progress *run,
                            unsigned version)
{
    unsigned long long count;
    bytes_out out;
    int list;
    kchk_must_be(path, model);
    count = kchk_count(model);
    out = bytes_for(3 * count);
    kchk_put_head(&out, path, wcoh_model_get_desc(model), run, version);
    for (list = 0; list < 2; list++) {
        put_whole(&out, count, 8);
        if (run->moments[list]) kchk_visit(run->moments[list], put_tensor, &out);
        else out.used += 4 * (size_t)count; /* zeros */
    }
    put_whole(&out, count, 8);
    kchk_visit(model, put_tensor, &out);
    out.parameters = count;
    return out;
}

#endif
