/* Checkpoints of kerr-engine (KCHK 1 and 2) and wave-engine (WCHK 1 to 4) to ours and back; GGUF to ours.

   cc -O2 examples/convert.c -o convert -lm -lpthread
   ./convert their.kchk mine.safetensors --text what-it-learnt.txt
   ./convert mine.safetensors their.kchk
   ./convert checkpoint.bin mine.safetensors --text what-it-learnt.txt --beta 0.2
   ./convert gpt2-f16.gguf mine.safetensors

   What the engines do not store (tables, attention that was never trained, the solver) is made by their
   own formulas and generator, so `eval` and `sample` compute what the engine computes, and `train
   --from` goes on from its weights. Neither file names letters: --text gives the alphabet, the different
   characters of the training text in the order of their code points (of a GGUF over characters
   likewise). --moments makes a checkpoint that `train --resume` goes on from, with the optimiser's
   moments. Back again goes what the engine can express, with AdamW's moments if the file has them; else
   the sentence names the setting. --version asks for one of the file's; what it does not say, and a
   reader must be told, is printed as the options that tell it.

   A WCHK alone does not determine its function. --embedding and --m1, --m2 tell its table of symbols,
   --ceiling, --alpha and --beta what it was trained with, --tier where. Attention is dense, as the
   Candle tier has it: the CPU tier hides keys of distant phases and adds a bias of content where
   the oscillators learn, which is not computed here. A layer's scale goes into its last matrices,
   four-wave mixing is split from the closed form. What its gain control saw is in no file:
   --gain-control begins anew, as the engine does. What no length confirms must be told: --symbols (or
   --text) where a tied head is as long for any number of them, --rank where one bit makes another head.

   Of GGUF the architectures gpt2 and llama are read as far as a wavecoh network computes the same: F32,
   F16 or BF16, as many key heads as heads, values as wide as heads are (keys of any width), rotary
   angles of base 10,000 without scaling, an epsilon of 1e-5. What differs is refused by name. GPT-2's
   subwords and control tokens are in the file; for Llama's --tokenizer names the tokenizer.json of the
   same model.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include "common.h"
#include "gguf.h"
#include "wchk.h"

typedef struct request {
    const char *from, *to, *text, *tokenizer;
    choice embedding, tier;
    wchk_told told;
    long long version;
    int words, moments;
    const char *given; /* names of the options that were, blanks between them */
} request;

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"text", OPTION_TEXT, &r->text, 0, 0, "a text with the letters of the file's symbols"},
        {"tokenizer", OPTION_TEXT, &r->tokenizer, 0, 0, "from GGUF: its symbols, a tokenizer.json"},
        {"embedding", OPTION_CHOICE, &r->embedding, 0, 0,
         "from WCHK: its table; two circles, these with falling amplitudes, or one"},
        {"m1", OPTION_WHOLE, &r->told.moduli[0], 0, 1 << 24, "modulus of its first circle"},
        {"m2", OPTION_WHOLE, &r->told.moduli[1], 0, 1 << 24, "of its second; 0: automatic"},
        {"alpha", OPTION_REAL, &r->told.alpha, 0, 100, "its coupling at the start; 0: 0.1"},
        {"beta", OPTION_REAL, &r->told.beta, 0, 100,
         "that to neighbours; 0: 0.1, from version 3 on 0.2"},
        {"ceiling", OPTION_REAL, &r->told.ceiling, -1, 1000,
         "knee of its amplitudes; 0: by alpha and beta, negative: none"},
        {"gain_control", OPTION_FLAG, &r->told.control, 0, 0,
         "its knee follows what training sees, up to the ceiling"},
        {"symbols", OPTION_WHOLE, &r->told.symbols, 0, 1 << 24,
         "how many it has: confirms its head, where no length does"},
        {"rank", OPTION_WHOLE, &r->told.rank, 0, 1 << 16, "that of its low-rank head, likewise"},
        {"head_scale", OPTION_REAL, &r->told.scale, 0, 1e6,
         "that of its phase-native head; 0: 1 / root of its width"},
        {"tier", OPTION_CHOICE, &r->tier, 0, 0, "what trained it, if not its attention"},
        {"flags", OPTION_WHOLE, &r->told.flags, -1, WCHK_FLAGS - 1,
         "what is in it, as version 3 says; -1: as that says, of versions 1 and 2 by the length"},
        {"moments", OPTION_FLAG, &r->moments, 0, 0,
         "from an engine: a checkpoint to resume, with the optimiser's moments"},
        {"words", OPTION_FLAG, &r->words, 0, 0, "the symbols are kerr-engine's words of --text"},
        {"version", OPTION_WHOLE, &r->version, 0, 4,
         "to an engine: of the file; 0: KCHK 2, of WCHK the first that holds the network"},
    };
    command c;
    int i;
    memset(&c, 0, sizeof c);
    c.usage = "FROM TO [options]\nA checkpoint of kerr-engine (KCHK) or wave-engine (WCHK) to "
              "safetensors, or back; a GGUF file to safetensors.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof *options);
    c.word_limit = 2;
    r->embedding.words = WCHK_EMBEDDING_WORDS;
    r->tier.words = WCHK_TIER_WORDS;
    r->told.flags = -1;
    options_read(&c, argc, argv);
    if (c.word_count < 2) fail(EXIT_USAGE, "two files are needed, from and to; --help explains");
    if (r->text && r->tokenizer) fail(EXIT_USAGE, "--text and --tokenizer: one of them");
    if (r->words && !r->text) fail(EXIT_USAGE, "--words: of which --text?");
    r->from = c.words[0];
    r->to = c.words[1];
    for (r->given = "", i = 0; i < c.option_count; i++)
        if (option_given(&c, argc, argv, options[i].name))
            r->given = text_made("%s %s", r->given, options[i].name);
    if (r->text) r->told.symbols = -1; /* alphabet() compares them */
    r->told.embedding = r->embedding.index;
    r->told.tier = r->tier.index;
}

/* The end where an option was given that such a file does not heed. */
static void heeded(const request *r, const char *names, const char *what)
{
    char spelled[32];
    int i;
    for (i = 0; *word_at(r->given, i); i++)
        if (!word_stands(names, word_at(r->given, i)))
            fail(EXIT_USAGE, "--%s is not for %s, which is %s",
                 option_spelled(word_at(r->given, i), spelled), r->from, what);
}

/* What stands at the target is moved aside, once nothing but the disk can fail. */
static void make_room(const request *r)
{
    if (path_exists(r->to) && !path_is_special(r->to)) path_aside(r->to, "a file");
}

/* The network or, with one, its trainer, which ends here. */
static void save_ours(const request *r, const wcoh_model *model, wcoh_trainer *trainer)
{
    wcoh_error error;
    make_room(r);
    must(trainer ? wcoh_trainer_save_file(trainer, r->to, &error)
                 : wcoh_model_save_file(model, r->to, &error),
         NULL, &error);
    wcoh_trainer_destroy(trainer);
}

/* What was written; beside a device or a pipe, which may be stdout. */
COMMON_USED(__format__(__printf__, 2, 3))
static void written(const request *r, const char *format, ...)
{
    const char *text;
    va_list arguments;
    va_start(arguments, format);
    text = text_made_of(format, arguments);
    va_end(arguments);
    if (path_is_special(r->to)) say("%s: %s", r->to, text);
    else printf("%s: %s\n", r->to, text);
}

/* ---- letters ---------------------------------------------------------------------------------- */

/* The alphabet: the different characters, or the words, of a text, which must be as many as the file
   says. */
static wcoh_tokenizer *alphabet(const request *r, unsigned long long vocab)
{
    wcoh_tokenizer *letters = NULL;
    wcoh_tokenizer_desc desc;
    wcoh_error error;
    size_t size;
    char *text;
    if (!r->text) return NULL;
    text = file_read(r->text, &size);
    memset(&desc, 0, sizeof desc);
    desc.kind = r->words ? WCOH_TOKENIZER_WORDS : WCOH_TOKENIZER_CHARS;
    must(wcoh_tokenizer_create(&letters, &desc, text, size, &error), file_named(r->text), &error);
    if ((unsigned long long)wcoh_tokenizer_vocab(letters) != vocab)
        fail(EXIT_FAILED, "%s: it has %d different %s, %s was trained on %.0f", file_named(r->text),
             wcoh_tokenizer_vocab(letters),
             r->words ? "words that stand three times" : "characters", r->from, (double)vocab);
    free(text);
    return letters;
}

/* ---- the published engines --------------------------------------------------------------------- */

static void convert_from_kerr(const request *r, const char *bytes, size_t size)
{
    kchk k = kchk_open(r->from, bytes, size);
    wcoh_tokenizer *letters = alphabet(r, k.vocab);
    wcoh_model *model = kchk_model(r->from, &k, letters);
    wcoh_trainer *trainer = NULL;
    if (r->moments) {
        progress run = kchk_run(r->from, &k, model);
        trainer = moments_trainer(r->from, model, WCOH_PRESET_KERR_ENGINE, &run);
        progress_end(&run);
    }
    save_ours(r, model, trainer);
    written(r, "kerr-engine at iteration %.0f, %.0f parameters, %.0f symbols%s", (double)k.run.step,
            (double)k.count, (double)k.vocab, letters ? "" : " (no --text: it knows no letters)");
    wcoh_model_destroy(model);
    wcoh_tokenizer_destroy(letters);
}

static void convert_from_wave(const request *r, const char *bytes, size_t size)
{
    wchk k = wchk_open(r->from, bytes, size, &r->told);
    wcoh_tokenizer *letters = alphabet(r, k.vocab);
    wcoh_model *model = wchk_model(r->from, &k, &r->told, letters);
    wcoh_trainer *trainer = NULL;
    if (r->moments) {
        progress run = wchk_run(&k, model);
        trainer = moments_trainer(r->from, model, WCOH_PRESET_WAVE_ENGINE, &run);
        progress_end(&run);
    }
    save_ours(r, model, trainer);
    written(r, "wave-engine, version %u at iteration %.0f, %.0f parameters, %.0f symbols%s",
            k.version, (double)k.run.step, (double)k.count, (double)k.vocab,
            letters ? "" : " (no --text: it knows no letters)");
    wcoh_model_destroy(model);
    wcoh_tokenizer_destroy(letters);
}

static void convert_to_engine(const request *r, char *bytes, size_t size)
{
    wcoh_model *model = NULL;
    wcoh_memory_file file;
    wcoh_io io;
    wcoh_error error;
    bytes_out out;
    progress run;
    unsigned version = (unsigned)r->version;
    char options[512] = "";
    int wave;
    file.data = (unsigned char *)bytes;
    file.capacity = file.used = size;
    io = wcoh_io_memory(&file);
    must(wcoh_model_load(&model, &io, NULL, &error), r->from, &error);
    heeded(r, "version", "ours");
    wave = wcoh_model_get_desc(model)->attention == WCOH_ATTENTION_FROZEN;
    if (!wave && version > 2)
        fail(EXIT_USAGE, "--version %u: %s is kerr-engine's, KCHK has 1 and 2", version, r->from);
    run = moments_read(r->from, &io, model);
    if (!wave && !version) version = 2;
    out = wave ? wchk_write(r->from, model, &run, &version, options, sizeof options)
               : kchk_write(r->from, model, &run, version);
    progress_end(&run);
    make_room(r);
    file_save(r->to, out.bytes, out.used);
    written(r, "%s, version %u, %.0f parameters%s%s%s", wave ? "WCHK" : "KCHK", version,
            (double)out.parameters, *options ? "; it does not say" : "", options,
            wcoh_model_get_desc(model)->gain_control == WCOH_SWITCH_ON
                ? "; what its gain control saw has no place there"
                : "");
    free(out.bytes);
    wcoh_model_destroy(model);
}

/* ---- from GGUF ------------------------------------------------------------------------------- */

/* A tensor of ours and those of theirs that stand in it one after the other. Of llama's biases most files
   have none: they are 0. A network has attn.qkv or, with keys of another width than values, the three
   of it: rows of the other are passed over. */
typedef struct placing {
    const char *ours, *theirs[3];
    int may_lack;
} placing;

static const placing gpt2_block[] = {
    {"norm1.weight", {"attn_norm.weight"}, 0},      {"norm1.bias", {"attn_norm.bias"}, 0},
    {"attn.qkv.weight", {"attn_qkv.weight"}, 0},    {"attn.qkv.bias", {"attn_qkv.bias"}, 0},
    {"attn.out.weight", {"attn_output.weight"}, 0}, {"attn.out.bias", {"attn_output.bias"}, 0},
    {"norm2.weight", {"ffn_norm.weight"}, 0},       {"norm2.bias", {"ffn_norm.bias"}, 0},
    {"ffn.up.weight", {"ffn_up.weight"}, 0},        {"ffn.up.bias", {"ffn_up.bias"}, 0},
    {"ffn.down.weight", {"ffn_down.weight"}, 0},    {"ffn.down.bias", {"ffn_down.bias"}, 0},
};
static const placing llama_block[] = {
    {"norm1.weight", {"attn_norm.weight"}, 0},
    {"attn.qkv.weight", {"attn_q.weight", "attn_k.weight", "attn_v.weight"}, 0},
    {"attn.qkv.bias", {"attn_q.bias", "attn_k.bias", "attn_v.bias"}, 1},
    {"attn.query.weight", {"attn_q.weight"}, 0},
    {"attn.query.bias", {"attn_q.bias"}, 1},
    {"attn.key.weight", {"attn_k.weight"}, 0},
    {"attn.key.bias", {"attn_k.bias"}, 1},
    {"attn.value.weight", {"attn_v.weight"}, 0},
    {"attn.value.bias", {"attn_v.bias"}, 1},
    {"attn.out.weight", {"attn_output.weight"}, 0},
    {"attn.out.bias", {"attn_output.bias"}, 1},
    {"norm2.weight", {"ffn_norm.weight"}, 0},
    {"ffn.up.weight", {"ffn_gate.weight", "ffn_up.weight"}, 0},
    {"ffn.up.bias", {"ffn_gate.bias", "ffn_up.bias"}, 1},
    {"ffn.down.weight", {"ffn_down.weight"}, 0},
    {"ffn.down.bias", {"ffn_down.bias"}, 1},
};
static const placing gpt2_rest[] = {
    {"embed.weight", {"token_embd.weight"}, 0},
    {"position.weight", {"position_embd.weight"}, 0},
    {"norm_f.weight", {"output_norm.weight"}, 0},
    {"norm_f.bias", {"output_norm.bias"}, 0},
};
static const placing llama_rest[] = {
    {"embed.weight", {"token_embd.weight"}, 0},
    {"norm_f.weight", {"output_norm.weight"}, 0},
};
static const placing dense_head[] = {{"head.weight", {"output.weight"}, 0}};

typedef struct architecture {
    const char *name;
    const placing *block, *rest;
    int block_count, rest_count;
} architecture;
static const architecture architectures[] = {
    {"gpt2", gpt2_block, gpt2_rest, sizeof gpt2_block / sizeof *gpt2_block,
     sizeof gpt2_rest / sizeof *gpt2_rest},
    {"llama", llama_block, llama_rest, sizeof llama_block / sizeof *llama_block,
     sizeof llama_rest / sizeof *llama_rest},
};

static const architecture *architecture_of(const gguf *file)
{
    gguf_value name;
    size_t i;
    gguf_text text;
    if (!gguf_find(file, "general.architecture", &name) || name.kind != GGUF_STRING)
        fail(EXIT_FAILED, "%s: it does not say its general.architecture", file->path);
    text.bytes = (const char *)name.at;
    text.size = name.size;
    for (i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (gguf_same(text, architectures[i].name)) return &architectures[i];
    fail(EXIT_FAILED, "%s: the architecture is %s: gpt2 and llama are known", file->path,
         gguf_shown(text));
    return NULL;
}

/* A setting of the architecture, a whole number within limits; 0 where it may be missing. */
static int gguf_count(const gguf *file, const architecture *kind, const char *key, int most,
                      int may_lack)
{
    char name[96];
    double number;
    snprintf(name, sizeof name, "%s.%s", kind->name, key);
    number = gguf_number(file, name, may_lack ? 0 : -1);
    if (may_lack && number == 0) return 0;
    if (!(number >= 1 && number <= most) || number != floor(number))
        fail(EXIT_FAILED, number == -1 ? "%s: %s is not in the file" : "%s: %s is %g", file->path,
             name, number);
    return (int)number;
}

/* What the file may say that a network of ours would not compute. */
static void must_compute_the_same(const gguf *file, const architecture *kind, int heads, int width,
                                  int keys)
{
    const struct {
        const char *key;
        double ours;
    } rules[] = {{"attention.layer_norm_epsilon", 1e-5},
                 {"attention.layer_norm_rms_epsilon", 1e-5},
                 {"attention.head_count_kv", heads},
                 {"attention.key_length", keys},
                 {"attention.value_length", width / heads},
                 {"attention.scale", 1 / sqrt((double)keys)},
                 {"attention.causal", 1},
                 {"attention.sliding_window", 0},
                 {"attention.clamp_kqv", 0},
                 {"attention.max_alibi_bias", 0},
                 {"attn_logit_softcapping", 0},
                 {"rope.dimension_count", keys},
                 {"rope.freq_base", 10000},
                 {"rope.scaling.factor", 1},
                 {"rope.scaling.attn_factor", 1},
                 {"rope.scaling.yarn_attn_factor", 1},
                 {"rope.scale_linear", 1},
                 {"use_parallel_residual", 0},
                 {"residual_scale", 1},
                 {"embedding_scale", 1},
                 {"expert_count", 0},
                 {"final_logit_softcapping", 0},
                 {"logit_scale", 1}};
    char name[96];
    size_t i;
    for (i = 0; i < sizeof rules / sizeof *rules; i++) {
        double theirs;
        snprintf(name, sizeof name, "%s.%s", kind->name, rules[i].key);
        theirs = gguf_number(file, name, rules[i].ours);
        if (!(fabs(theirs - rules[i].ours) <= 1e-6 * rules[i].ours))
            fail(EXIT_FAILED, "%s: %s is %g: a wavecoh network has %g", file->path, name, theirs,
                 rules[i].ours);
    }
}

static wcoh_model_desc gguf_desc(const gguf *file, const architecture *kind)
{
    const gguf_tensor *table = gguf_tensor_find(file, "token_embd.weight");
    int width = gguf_count(file, kind, "embedding_length", 1 << 17, 0),
        llama = kind->name[0] == 'l', keys;
    wcoh_model_desc desc;
    if (!table || table->dims != 2 || table->shape[1] > 1 << 24)
        fail(EXIT_FAILED, "%s: token_embd.weight is no table of symbols", file->path);
    desc = wcoh_model_preset(WCOH_PRESET_GPT, (int)table->shape[1]);
    if (width % 2)
        fail(EXIT_FAILED, "%s: its width is %d: a wavecoh network has pairs", file->path, width);
    desc.bands = width / 2;
    desc.layers = gguf_count(file, kind, "block_count", 1024, 0);
    desc.heads = gguf_count(file, kind, "attention.head_count", 1024, 0);
    desc.context = gguf_count(file, kind, "context_length", 1 << 24, 0);
    desc.hidden = gguf_count(file, kind, "feed_forward_length", 1 << 24, 0);
    desc.attention = llama ? WCOH_ATTENTION_ROTARY : WCOH_ATTENTION_DOT;
    desc.position = llama ? WCOH_POSITION_NONE : WCOH_POSITION_LEARNED;
    desc.norm = llama ? WCOH_NORM_RMS : WCOH_NORM_LAYER;
    desc.ffn = llama ? WCOH_FFN_GATED_MLP : WCOH_FFN_MLP;
    desc.head = gguf_tensor_find(file, "output.weight") ? WCOH_HEAD_DENSE : WCOH_HEAD_TIED;
    desc.embedding_trained = WCOH_SWITCH_ON;
    if (width % desc.heads)
        fail(EXIT_FAILED, "%s: %d heads do not divide its width of %d", file->path, desc.heads,
             width);
    keys = llama ? gguf_count(file, kind, "attention.key_length", 1 << 16, 1) : 0;
    if (!keys) keys = width / desc.heads;
    must_compute_the_same(file, kind, desc.heads, width, keys);
    desc.key_width = keys;
    return desc;
}

/* "[20, 12]", rows first. */
static const char *gguf_shape(const gguf_tensor *tensor)
{
    const char *text = "";
    unsigned long i;
    for (i = 0; i < tensor->dims; i++)
        text = text_made("%.0f%s%s", (double)tensor->shape[i], i ? ", " : "", text);
    return text_made("[%s]", text);
}

/* Numbers of the matrices: a file of a few bytes may describe a giant. */
static double gguf_least(const wcoh_model_desc *desc)
{
    double width = 2.0 * desc->bands, keys = (double)desc->heads * desc->key_width;
    double hidden = desc->hidden * (desc->ffn == WCOH_FFN_GATED_MLP ? 3.0 : 2.0);
    return width * (desc->layers * (2 * width + 2 * keys + hidden) +
                    (desc->position == WCOH_POSITION_LEARNED ? desc->context : 0));
}

/* Copy a tensor of theirs, which is one of `parts` equal ones, behind `done` numbers of ours; returns how
   many there are then. */
static size_t gguf_copy(const gguf *file, const char *name, const wcoh_param *to, int parts,
                        size_t done)
{
    gguf_tensor *from = gguf_tensor_find(file, name);
    size_t columns = (size_t)to->shape[to->dims - 1], i;
    if (!from) fail(EXIT_FAILED, "%s: %s is not in the file", file->path, name);
    if (from->dims != (unsigned long)to->dims || from->count > to->count / (size_t)parts ||
        (to->dims == 2 && from->shape[0] != columns))
        fail(EXIT_FAILED, "%s: %s has the shape %s: it does not fit into %s [%d%s]%s", file->path,
             name, gguf_shape(from), to->name, to->shape[0],
             to->dims == 2 ? text_made(", %d", to->shape[1]) : "",
             parts > 1 ? text_made(", as one of %d", parts) : "");
    for (i = 0; i < from->count; i++) {
        float value = gguf_at(from, i);
        if (!(fabsf(value) <= 3e38f))
            fail(EXIT_FAILED, "%s: %s has a number that is not finite", file->path, name);
        to->data[done + i] = value;
    }
    from->used = 1;
    return done + (size_t)from->count;
}

static void gguf_place(const gguf *file, const wcoh_model *model, const placing *placings,
                       int count, int layer)
{
    int p, part, parts;
    for (p = 0; p < count; p++) {
        char ours[64], theirs[64], before[2][24] = {"", ""};
        wcoh_param param;
        wcoh_error error;
        size_t done = 0;
        if (layer >= 0) {
            snprintf(before[0], sizeof before[0], "blocks.%d.", layer);
            snprintf(before[1], sizeof before[1], "blk.%d.", layer);
        }
        snprintf(ours, sizeof ours, "%s%s", before[0], placings[p].ours);
        if (wcoh_model_param_find(model, ours) < 0 && strstr(ours, "attn.")) continue;
        must(wcoh_model_param(model, wcoh_model_param_find(model, ours), &param, &error), ours,
             &error);
        for (parts = 0; parts < 3 && placings[p].theirs[parts];) parts++;
        for (part = 0; part < parts; part++) {
            snprintf(theirs, sizeof theirs, "%s%s", before[1], placings[p].theirs[part]);
            if (part == 0 && placings[p].may_lack && !gguf_tensor_find(file, theirs)) break;
            done = gguf_copy(file, theirs, &param, parts, done);
        }
        if (done == 0) memset(param.data, 0, param.count * sizeof *param.data);
        else if (done != param.count)
            fail(EXIT_FAILED, "%s: %s gives %s %.0f numbers: it has %.0f", file->path, theirs, ours,
                 (double)done, (double)param.count);
    }
}

/* Bytes of a string of the file as JSON has them, behind `to`. */
static char *json_put(char *to, gguf_text text)
{
    size_t i;
    *to++ = '"';
    for (i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.bytes[i];
        if (c < 32) to += sprintf(to, "\\u%04x", c);
        else {
            if (c == '"' || c == '\\') *to++ = '\\';
            *to++ = (char)c;
        }
    }
    *to++ = '"';
    return to;
}

/* What a token is, by the format's numbers; the last two are found whole in a text. */
enum { GGUF_NORMAL = 1, GGUF_CONTROL = 3, GGUF_USERS = 4 };

/* Of token i; a file without types has normal ones. */
static unsigned long gguf_token_type(const gguf_value *types, unsigned long long i)
{
    const unsigned char *at = types->at;
    if (i >= types->count) return GGUF_NORMAL;
    at += 4 * i;
    return at[0] | (unsigned long)at[1] << 8 | (unsigned long)at[2] << 16 |
           (unsigned long)at[3] << 24;
}

static int gguf_token_added(const gguf_value *types, unsigned long long i)
{
    unsigned long type = gguf_token_type(types, i);
    return type == GGUF_CONTROL || type == GGUF_USERS;
}

enum { JSON_WORDS, JSON_MERGES, JSON_ADDED };

/* Elements of an array of strings as a list of JSON: members "x": i but for added tokens, all of them,
   or added tokens alone. */
static char *json_list(char *to, const gguf *file, const gguf_value *list, const gguf_value *types,
                       int what)
{
    reader in;
    unsigned long long i;
    int some = 0;
    in.at = list->at;
    in.end = file->end;
    in.path = file->path;
    for (i = 0; i < list->count; i++) {
        gguf_text text = gguf_string(&in);
        if (what != JSON_MERGES && gguf_token_added(types, i) != (what == JSON_ADDED)) continue;
        if (what == JSON_ADDED && !text.size) continue;
        if (some++) *to++ = ',';
        if (what == JSON_ADDED) to += sprintf(to, "{\"id\":%.0f,\"content\":", (double)i);
        to = json_put(to, text);
        if (what == JSON_WORDS) to += sprintf(to, ":%.0f", (double)i);
        if (what == JSON_ADDED)
            to += sprintf(to,
                          ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                          "\"normalized\":false,\"special\":%s}",
                          gguf_token_type(types, i) == GGUF_CONTROL ? "true" : "false");
    }
    return to;
}

/* The token that begins every text, as a template of JSON; "null" where there is none. */
static char *json_start(char *to, const gguf *file, const gguf_value *tokens)
{
    reader in;
    double i = gguf_number(file, "tokenizer.ggml.bos_token_id", -1);
    gguf_text text;
    if (gguf_number(file, "tokenizer.ggml.add_bos_token", 0) == 0) return to + sprintf(to, "null");
    if (!(i >= 0 && i < (double)tokens->count))
        fail(EXIT_FAILED, "%s: tokenizer.ggml.bos_token_id is %g of %.0f tokens", file->path, i,
             (double)tokens->count);
    in.at = tokens->at;
    in.end = file->end;
    in.path = file->path;
    for (text = gguf_string(&in); i >= 1; i--) text = gguf_string(&in);
    to += sprintf(to, "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":");
    to = json_put(to, text);
    return to + sprintf(to, ",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]}");
}

/* 1 if the tokens are GPT-2's, whose words end where its pattern says. Files that are older than the
   setting do not say; the network then does. */
static int gguf_is_gpt2(const gguf *file, const architecture *kind)
{
    static const char *const keys[] = {"tokenizer.ggml.model", "tokenizer.ggml.pre"};
    static const char *const words[] = {"gpt2", "gpt-2"};
    gguf_value value;
    gguf_text text;
    int i;
    for (i = 0; i < 2; i++) {
        if (!gguf_find(file, keys[i], &value)) return i == 1 && strcmp(kind->name, "gpt2") == 0;
        if (value.kind != GGUF_STRING) fail(EXIT_FAILED, "%s: %s is no text", file->path, keys[i]);
        text.bytes = (const char *)value.at;
        text.size = value.size;
        if (!gguf_same(text, words[i])) return 0;
    }
    return 1;
}

/* GPT-2's subwords as the tokenizer.json that they come from; NULL if the file has others. */
static char *gpt2_json(const gguf *file, const architecture *kind, int vocab)
{
    static const char words[] = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                                "\"trim_offsets\":true,\"use_regex\":true}";
    const char *const keys[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"};
    gguf_value lists[2], types;
    unsigned long long room = 2048;
    char *json, *to;
    int i;
    if (!gguf_is_gpt2(file, kind)) return NULL;
    for (i = 0; i < 2; i++) {
        if (!gguf_find(file, keys[i], &lists[i]) || lists[i].kind != GGUF_ARRAY ||
            lists[i].of != GGUF_STRING)
            fail(EXIT_FAILED, "%s: %s is no list of texts", file->path, keys[i]);
        room += 12 * (unsigned long long)lists[i].size + 160 * lists[i].count;
    }
    if (lists[0].count != (unsigned long long)vocab)
        fail(EXIT_FAILED, "%s: %s has %.0f tokens, the network %d", file->path, keys[0],
             (double)lists[0].count, vocab);
    if (!gguf_find(file, "tokenizer.ggml.token_type", &types)) types.count = 0;
    else if (types.kind != GGUF_ARRAY || (types.of != GGUF_I32 && types.of != GGUF_U32) ||
             types.count != lists[0].count)
        fail(EXIT_FAILED, "%s: tokenizer.ggml.token_type is no list of %d whole numbers",
             file->path, vocab);
    json = room < (size_t)-1 ? (char *)malloc((size_t)room) : NULL;
    if (!json) fail(EXIT_FAILED, "%s: no memory for its tokens", file->path);
    to = json;
    to += sprintf(to, "{\"normalizer\":null,\"pre_tokenizer\":%s,\"decoder\":%s,", words, words);
    to += sprintf(to, "\"added_tokens\":[");
    to = json_list(to, file, &lists[0], &types, JSON_ADDED);
    to += sprintf(to, "],\"post_processor\":");
    to = json_start(to, file, &lists[0]);
    to += sprintf(to, ",\"model\":{\"type\":\"BPE\",\"vocab\":{");
    to = json_list(to, file, &lists[0], &types, JSON_WORDS);
    to += sprintf(to, "},\"merges\":[");
    to = json_list(to, file, &lists[1], &types, JSON_MERGES);
    sprintf(to, "]}}");
    return json;
}

/* What the symbols of the file are: the user's word, or the file's own; NULL if nobody says. */
static wcoh_tokenizer *gguf_tokenizer(const request *r, const gguf *file, const architecture *kind,
                                      int vocab)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_error error;
    const char *from = r->tokenizer ? r->tokenizer : file->path;
    size_t size = 0;
    char *json;
    if (r->text) return alphabet(r, (unsigned long long)vocab);
    json = r->tokenizer ? file_read(r->tokenizer, &size) : gpt2_json(file, kind, vocab);
    if (!json) return NULL;
    if (!r->tokenizer) size = strlen(json);
    must(wcoh_tokenizer_create_json(&tokenizer, json, size, NULL, &error), file_named(from),
         &error);
    if (wcoh_tokenizer_vocab(tokenizer) > vocab)
        fail(EXIT_FAILED, "%s: it has %d tokens, the network of %s has %d", file_named(from),
             wcoh_tokenizer_vocab(tokenizer), file->path, vocab);
    free(json);
    return tokenizer;
}

static void convert_from_gguf(const request *r, const char *bytes, size_t size)
{
    gguf file = gguf_open(r->from, bytes, size);
    const architecture *kind = architecture_of(&file);
    wcoh_model_desc desc = gguf_desc(&file, kind);
    wcoh_tokenizer *letters = gguf_tokenizer(r, &file, kind, desc.vocab);
    wcoh_model *model = NULL;
    wcoh_error error;
    unsigned long long i;
    int layer;
    if (2 * gguf_least(&desc) > (double)size)
        fail(EXIT_FAILED,
             "%s: %d layers of width %d, hidden %d, context %d: that is more numbers than it has",
             r->from, desc.layers, 2 * desc.bands, desc.hidden, desc.context);
    desc.tokenizer = letters;
    must(wcoh_model_create(&model, &desc, &error), r->from, &error);
    for (layer = 0; layer < desc.layers; layer++)
        gguf_place(&file, model, kind->block, kind->block_count, layer);
    gguf_place(&file, model, kind->rest, kind->rest_count, -1);
    if (desc.head == WCOH_HEAD_DENSE) gguf_place(&file, model, PARTS(dense_head), -1);
    for (i = 0; i < file.tensor_count; i++)
        if (!file.tensors[i].used)
            fail(EXIT_FAILED, "%s: %s has no place in a wavecoh network", r->from,
                 gguf_shown(file.tensors[i].name));
    wcoh_model_touch(model);
    save_ours(r, model, NULL);
    written(r, "%s, %.0f parameters, %d symbols%s", kind->name,
            (double)wcoh_model_trained_count(model), desc.vocab,
            letters ? "" : " (no --tokenizer: it knows no letters)");
    free(file.tensors);
    wcoh_model_destroy(model);
    wcoh_tokenizer_destroy(letters);
}

int main(int argc, char **argv)
{
    request r;
    size_t size;
    char *bytes;
    program_begin("convert");
    memset(&r, 0, sizeof r);
    request_read(&r, argc, argv);
    path_not_read(r.to, &r.from, 1);
    if (path_is_folder(r.to)) fail(EXIT_FAILED, "%s: cannot save there: it is a folder", r.to);
    bytes = file_read(r.from, &size);
    r.from = file_named(r.from);
    if (size >= 4 && memcmp(bytes, "GGUF", 4) == 0) {
        heeded(&r, "text words tokenizer", "a GGUF file");
        convert_from_gguf(&r, bytes, size);
    } else if (size >= 4 && memcmp(bytes, "KCHK", 4) == 0) {
        heeded(&r, "text words moments", "a KCHK");
        convert_from_kerr(&r, bytes, size);
    } else if (size >= 4 && memcmp(bytes, "WCHK", 4) == 0) {
        heeded(&r,
               "text words moments embedding m1 m2 alpha beta ceiling gain_control symbols rank "
               "head_scale tier flags",
               "a WCHK");
        convert_from_wave(&r, bytes, size);
    } else {
        convert_to_engine(&r, bytes, size);
    }
    free(bytes);
    stdout_check();
    return 0;
}
