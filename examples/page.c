/* A page that trains: one HTML file that works from disk, with no server and no network.

   emcc -O3 -msimd128 examples/page.c -o page.html --shell-file examples/page.html \
       -sSINGLE_FILE=1 -sALLOW_MEMORY_GROWTH=1 -sENVIRONMENT=worker,node -sMINIFY_HTML=0

   Open page.html in a browser. What it shows stands in examples/page.html; this file is what runs in
   the page's worker: a text, a network that learns it, and what is inside the network. The page
   writes bytes into page_room and calls; functions return what they say, or a negative wcoh_result
   whose sentence is page_error.

   Debian's emscripten finds its own tools only with NODE_PATH=/usr/share/nodejs in the environment,
   where another node than Debian's is installed.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#define WAVECOH_NO_STDIO
#include "../wavecoh.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __EMSCRIPTEN__
#include <emscripten.h>
#define PAGE EMSCRIPTEN_KEEPALIVE
#else
#define PAGE
#endif

enum { HEARD = 48, LETTERS = 512, GUESSES = 8 };

/* Arrays of the last row of what was typed; L layers, H heads, K bands, T symbols heard. */
typedef enum view {
    VIEW_WAVES,   /* [L,H,5] gain, carrier, wavelength, damping, reach */
    VIEW_QUERIES, /* [L,H] phase of the query */
    VIEW_KEYS,    /* [L,H,T] phase of each key as the query meets it: turned by the carrier */
    VIEW_WEIGHTS, /* [L,H,T] how much it hears of each */
    VIEW_BEFORE,  /* [L,K] energies before the oscillators, */
    VIEW_AFTER,   /* [L,K] after them, */
    VIEW_TURNS,   /* [L,K] and the angles that they turned by */
    VIEW_NEXT,    /* [GUESSES] probabilities of what may come next, the likeliest first */
    VIEWS
} view;

typedef struct page {
    wcoh_model_desc desc;
    wcoh_trainer_desc training;
    wcoh_tokenizer *tokenizer; /* of the text; the model has a copy */
    wcoh_model *model;
    wcoh_trainer *trainer;
    char *text;
    size_t text_size, cut; /* validation begins at byte `cut` */
    uint32_t *tokens;
    size_t train, val; /* tokens to learn from, and behind them those to validate on */
    unsigned char *room, *out;
    size_t room_size, out_size;
    wcoh_stats stats;
    int loaded; /* 1: the model comes from a file, and a text that comes is for it */
    int heard;  /* symbols that the views are of */
    uint32_t symbols[HEARD], guesses[GUESSES];
    float *views[VIEWS];
} page;

static page p;
static wcoh_error error;

/* ---- words between the page and here --------------------------------------------------------- */

static int refuse(const char *sentence)
{
    error.code = WCOH_E_ARGUMENT;
    snprintf(error.text, sizeof error.text, "%s", sentence);
    return WCOH_E_ARGUMENT;
}

PAGE const char *page_error(void) { return error.text; }

/* `size` bytes to write into before a call that reads them; NULL without memory. */
PAGE unsigned char *page_room(size_t size)
{
    if (size + 1 > p.room_size) {
        unsigned char *room = (unsigned char *)realloc(p.room, size + 1);
        if (!room) return NULL;
        p.room = room;
        p.room_size = size + 1;
    }
    p.room[size] = 0;
    return p.room;
}

/* What page_write and page_save made. */
PAGE const unsigned char *page_out(void) { return p.out; }

static unsigned char *out_room(size_t size)
{
    if (size > p.out_size) {
        unsigned char *out = (unsigned char *)realloc(p.out, size);
        if (!out) return NULL;
        p.out = out;
        p.out_size = size;
    }
    return p.out;
}

PAGE const char *page_version(void) { return WCOH_VERSION; }
PAGE const char *page_isa(void) { return wcoh_isa_name(wcoh_cpu_best_isa()); }

/* ---- settings -------------------------------------------------------------------------------- */

static size_t add_text(char *out, size_t size, size_t used, const char *format, ...)
{
    va_list arguments;
    int length;
    va_start(arguments, format);
    length = vsnprintf(out + used, used < size ? size - used : 0, format, arguments);
    va_end(arguments);
    return length < 0 ? used : used + (size_t)length;
}

/* The rows of both field tables as JSON, with the values that are set ("0": none is). The tables'
   words need no escapes. */
PAGE const char *page_settings(void)
{
    static char json[32768];
    static const wcoh_desc_kind kinds[] = {WCOH_DESC_MODEL, WCOH_DESC_TRAINER};
    static const char *const names[] = {"model", "trainer"};
    const void *descs[2] = {&p.desc, &p.training};
    size_t used = 0;
    int k, i, count;
    for (k = 0; k < 2; k++) {
        const wcoh_field *f = wcoh_fields(kinds[k], &count);
        for (i = 0; i < count; i++, f++) {
            char value[192] = ""; /* a pattern is the longest */
            if (f->required) continue; /* the text says how many symbols there are */
            wcoh_field_get(kinds[k], descs[k], f->name, value, sizeof value);
            used =
                add_text(json, sizeof json, used,
                         "%s{\"of\":\"%s\",\"name\":\"%s\",\"kind\":%d,\"standard\":%.17g,"
                         "\"minimum\":%.17g,\"maximum\":%.17g,\"off\":%d,\"live\":%d,"
                         "\"choices\":\"%s\",\"help\":\"%s\",\"value\":\"%s\"}",
                         used ? "," : "[", names[k], f->name, (int)f->kind, f->standard, f->minimum,
                         f->maximum, f->off, f->live, f->choices ? f->choices : "", f->help, value);
        }
    }
    add_text(json, sizeof json, used, "]");
    return json;
}

/* Settings are for the next page_start; those that are live change a run under way too. The words
   stand in the room: name, NUL, value, NUL. */
PAGE int page_set(int of_trainer)
{
    const char *name = (const char *)p.room, *value = name + strlen(name) + 1;
    wcoh_desc_kind kind = of_trainer ? WCOH_DESC_TRAINER : WCOH_DESC_MODEL;
    void *desc = of_trainer ? (void *)&p.training : (void *)&p.desc;
    int i, count;
    const wcoh_field *f = wcoh_fields(kind, &count);
    wcoh_trainer_desc before = p.training;
    int result = wcoh_field_set(kind, desc, name, value, &error);
    for (i = 0; result == WCOH_OK && p.trainer && i < count; i++, f++)
        if (f->live && strcmp(f->name, name) == 0)
            result = wcoh_trainer_set(p.trainer, name, value, &error);
    if (result < 0 && of_trainer) p.training = before;
    return result;
}

/* What the page begins with: small enough to be watched, and evaluated often. */
static void settings_begin(void)
{
    p.desc = wcoh_model_preset(WCOH_PRESET_WAVE, 0);
    memset(&p.training, 0, sizeof p.training);
    p.desc.bands = 32;
    p.desc.heads = 8;
    p.training.batch = 16;
    p.training.eval_every = 100;
    p.training.eval_batches = 8;
    p.training.cpu.threads = 1;
}

/* ---- a text ---------------------------------------------------------------------------------- */

/* As the programs beside this file take a text: no byte-order mark, CR LF is one end of line. */
static size_t plain(char *text, size_t size)
{
    size_t from = size >= 3 && memcmp(text, "\357\273\277", 3) == 0 ? 3 : 0, to = 0;
    for (; from < size; from++)
        if (!(text[from] == '\r' && from + 1 < size && text[from + 1] == '\n'))
            text[to++] = text[from];
    return to;
}

static void forget_training(void)
{
    wcoh_trainer_destroy(p.trainer);
    p.trainer = NULL;
    memset(&p.stats, 0, sizeof p.stats);
    p.stats.val_loss = p.stats.best_val = -1;
}

/* Tokens of the text for a tokenizer: nine tenths to learn from, the rest to validate on. */
static int encode(const wcoh_tokenizer *tokenizer)
{
    size_t cut = p.text_size / 10 * 9 + p.text_size % 10 * 9 / 10, room = p.text_size + 2;
    uint32_t *tokens = (uint32_t *)malloc(room * sizeof *tokens);
    int result;
    if (!tokens) return refuse("there is no memory for a text of that length");
    if (wcoh_tokenizer_get_kind(tokenizer) != WCOH_TOKENIZER_BYTES)
        while (cut > 0 && ((unsigned char)p.text[cut] & 0xc0) == 0x80) cut--;
    result = wcoh_tokenizer_encode(tokenizer, p.text, cut, tokens, room, &p.train, &error);
    if (result == WCOH_OK)
        result = wcoh_tokenizer_encode(tokenizer, p.text + cut, p.text_size - cut, tokens + p.train,
                                       room - p.train, &p.val, &error);
    if (result != WCOH_OK) {
        free(tokens);
        return result;
    }
    p.cut = cut;
    forget_training();
    free(p.tokens);
    p.tokens = tokens;
    return WCOH_OK;
}

/* The text's own: characters where there are at most LETTERS different ones, bytes else. */
static int choose_tokenizer(wcoh_tokenizer **made)
{
    *made = NULL;
    if (wcoh_tokenizer_create_chars(made, p.text, p.text_size, NULL, NULL) < 0 ||
        wcoh_tokenizer_vocab(*made) > LETTERS) {
        wcoh_tokenizer_destroy(*made);
        if (wcoh_tokenizer_create_bytes(made, NULL, &error) < 0) return (int)error.code;
    }
    if (wcoh_tokenizer_vocab(*made) >= 2) return WCOH_OK;
    wcoh_tokenizer_destroy(*made);
    *made = NULL;
    return refuse("it is one character again and again: there is nothing to learn");
}

/* Tokens of the text for the network that was loaded, or for a new one. An error changes nothing. */
static int take_text(void)
{
    wcoh_tokenizer *made;
    int result;
    if (p.text_size < 2) return refuse("a text of two characters or more is needed");
    if (p.loaded && encode(wcoh_model_tokenizer(p.model)) == WCOH_OK) return WCOH_OK;
    if ((result = choose_tokenizer(&made)) != WCOH_OK) return result;
    if ((result = encode(made)) != WCOH_OK) {
        wcoh_tokenizer_destroy(made);
        return result;
    }
    wcoh_tokenizer_destroy(p.tokenizer);
    p.tokenizer = made;
    p.loaded = 0;
    return WCOH_OK;
}

static int teach(const wcoh_trainer_desc *desc);

/* The text in the room [size] is what is learnt from now on, by the network that was loaded last if it
   knows all letters of it; returns the number of symbols. A text that is refused leaves the one before. */
PAGE int page_open(size_t size)
{
    char *text = (char *)malloc(size + 1), *before = p.text;
    size_t before_size = p.text_size;
    int result;
    if (!text) return refuse("there is no memory for a text of that length");
    memcpy(text, p.room, size);
    p.text = text;
    p.text_size = plain(text, size);
    text[p.text_size] = 0;
    if ((result = take_text()) != WCOH_OK) {
        p.text = before;
        p.text_size = before_size;
        free(text);
        return result;
    }
    free(before);
    if (p.loaded)
        return (result = teach(&p.training)) < 0 ? result : wcoh_model_get_desc(p.model)->vocab;
    return p.desc.vocab = wcoh_tokenizer_vocab(p.tokenizer);
}

/* ---- training -------------------------------------------------------------------------------- */

/* A trainer of the model on the text. */
static int teach(const wcoh_trainer_desc *desc)
{
    int result;
    forget_training();
    if ((result = wcoh_trainer_create(&p.trainer, p.model, desc, &error)) < 0) return result;
    result = wcoh_trainer_set_data(p.trainer, p.tokens, p.train, p.tokens + p.train, p.val, &error);
    if (result == WCOH_E_DATA) { /* a short text's end may be too short to validate on */
        wcoh_trainer_desc shorter = *desc;
        shorter.eval_every = -1;
        wcoh_trainer_destroy(p.trainer);
        p.trainer = NULL;
        if ((result = wcoh_trainer_create(&p.trainer, p.model, &shorter, &error)) == WCOH_OK)
            result = wcoh_trainer_set_data(p.trainer, p.tokens, p.train, NULL, 0, &error);
    }
    if (result < 0) forget_training();
    return result;
}

/* A new network with the settings as they are. */
PAGE int page_start(void)
{
    wcoh_model *made = NULL;
    wcoh_tokenizer *own = NULL; /* where the tokens at hand are of the network that was loaded */
    int result;
    if (!p.text) return refuse("a text to learn from is needed first");
    if (p.loaded && (result = choose_tokenizer(&own)) < 0) return result;
    p.desc.tokenizer = own ? own : p.tokenizer;
    p.desc.vocab = wcoh_tokenizer_vocab(p.desc.tokenizer);
    result = wcoh_model_create(&made, &p.desc, &error);
    if (result == WCOH_OK && own) result = encode(own);
    if (own) {
        wcoh_tokenizer_destroy(result < 0 ? own : p.tokenizer);
        if (result == WCOH_OK) p.tokenizer = own;
    }
    if (result < 0) {
        wcoh_model_destroy(made);
        return result;
    }
    forget_training();
    wcoh_model_destroy(p.model);
    p.model = made;
    p.loaded = 0;
    return teach(&p.training);
}

/* Train for about so many milliseconds: 0, or 1 when the run is over. */
PAGE int page_run(double milliseconds)
{
    int result;
    if (!p.trainer) return refuse("there is nothing to train yet");
    result = wcoh_trainer_run(p.trainer, milliseconds, &p.stats, &error);
    return result < 0 ? result : p.stats.done;
}

/* step, training loss, validation loss, best validation loss, rate, seconds, steps of the run,
   parameters, symbols, tokens to learn from, where validation begins (byte), layers, heads, bands,
   tokens trained on, steps between evaluations */
PAGE double page_stat(int which)
{
    const wcoh_model_desc *desc = p.model ? wcoh_model_get_desc(p.model) : &p.desc;
    switch (which) {
    case 0: return (double)p.stats.step;
    case 1: return p.stats.train_loss;
    case 2: return p.stats.val_loss;
    case 3: return p.stats.best_val;
    case 4: return p.stats.lr;
    case 5: return p.stats.seconds;
    case 6: return p.trainer ? wcoh_trainer_get_desc(p.trainer)->steps : 0;
    case 7: return p.model ? (double)wcoh_model_trained_count(p.model) : 0;
    case 8: return desc->vocab;
    case 9: return (double)p.train;
    case 10: return (double)p.cut;
    case 11: return p.model ? desc->layers : 0;
    case 12: return p.model ? desc->heads : 0;
    case 13: return p.model ? desc->bands : 0;
    case 14: return (double)p.stats.tokens;
    case 15: return p.trainer ? wcoh_trainer_get_desc(p.trainer)->eval_every : 0;
    default: return 0;
    }
}

/* The loss over the whole end of the text, as examples/eval.c has it; negative: none. */
PAGE double page_evaluate(void)
{
    wcoh_eval_desc desc;
    double loss = -1;
    memset(&desc, 0, sizeof desc);
    desc.cpu.threads = 1;
    if (!p.trainer) return refuse("a network and a text that it learns are needed first");
    if (wcoh_model_evaluate(p.model, &desc, p.tokens + p.train, p.val, &loss, NULL, &error) < 0)
        return -1;
    return loss;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* The network, and its run where there is one, as a safetensors file; returns its bytes. */
PAGE int page_save(void)
{
    wcoh_memory_file file;
    wcoh_io io;
    int result;
    if (!p.model) return refuse("there is no network to save yet");
    memset(&file, 0, sizeof file);
    file.capacity = p.trainer ? wcoh_trainer_file_size(p.trainer) : wcoh_model_file_size(p.model);
    file.data = out_room(file.capacity);
    if (!file.data) return refuse("there is no memory for the file");
    io = wcoh_io_memory(&file);
    result = p.trainer ? wcoh_trainer_save(p.trainer, &io, &error)
                       : wcoh_model_save(p.model, &io, &error);
    return result < 0 ? result : (int)file.used;
}

/* Learn on: with the run that the file has, or a new one. */
static int teach_on(const wcoh_io *io)
{
    wcoh_trainer_desc desc;
    int result;
    if (encode(wcoh_model_tokenizer(p.model)) < 0)
        return WCOH_OK; /* the text is of other letters */
    if (wcoh_trainer_read_desc(&desc, io, NULL) < 0) return teach(&p.training);
    desc.cpu.threads = 1;
    if ((result = teach(&desc)) < 0) return result;
    if ((result = wcoh_trainer_resume(p.trainer, io, &error)) < 0) return teach(&p.training);
    wcoh_trainer_stats(p.trainer, &p.stats);
    return result;
}

/* The safetensors file in the room [size], of this page or of examples/train.c: 1 where the text at
   hand goes on being learnt, 0 where there is none that the network can read, or too little of it. */
PAGE int page_load(size_t size)
{
    wcoh_memory_file file;
    wcoh_io io;
    wcoh_model *made = NULL;
    int result;
    memset(&file, 0, sizeof file);
    file.data = p.room;
    file.used = file.capacity = size;
    io = wcoh_io_memory(&file);
    if ((result = wcoh_model_load(&made, &io, NULL, &error)) < 0) return result;
    if (!wcoh_model_tokenizer(made)) {
        wcoh_model_destroy(made);
        return refuse("this network has no tokenizer: its symbols are not those of a text");
    }
    forget_training();
    wcoh_model_destroy(p.model);
    p.model = made;
    p.loaded = 1;
    if (p.text && (result = teach_on(&io)) < 0 && result != WCOH_E_DATA) return result;
    return p.trainer != NULL;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Symbols of a prompt [size] in the room, those that the network knows; at least one. */
static size_t hear_prompt(size_t size, uint32_t *tokens, size_t room)
{
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(p.model);
    const char *text = (const char *)p.room;
    size_t from, length, count = 0, one;
    for (from = 0; from < size && count < room; from += length) {
        for (length = 1;
             from + length < size && ((unsigned char)text[from + length] & 0xc0) == 0x80;)
            length++;
        if (wcoh_tokenizer_encode(tokenizer, text + from, length, tokens + count, room - count,
                                  &one, NULL) == WCOH_OK)
            count += one;
    }
    if (count == 0 &&
        wcoh_tokenizer_encode(tokenizer, "\n", 1, tokens, room, &count, NULL) != WCOH_OK)
        tokens[0] = 0;
    return count ? count : 1;
}

/* Hear the last `fresh` of tokens [count]; past the end of a table of positions, the last half of that
   table's length once more. */
static int hear(wcoh_session *session, const uint32_t *tokens, size_t count, size_t fresh)
{
    size_t half = ((size_t)wcoh_model_get_desc(p.model)->context + 1) / 2;
    int result = wcoh_session_prefill(session, tokens + count - fresh, fresh, &error);
    if (result != WCOH_E_CONTEXT) return result;
    if (count > half) tokens += count - half, count = half;
    wcoh_session_reset(session);
    return wcoh_session_prefill(session, tokens, count, &error);
}

/* `count` symbols after the prompt [size] in the room -> bytes in page_out; returns their number. */
PAGE int page_write(double temperature, int count, double seed, size_t size)
{
    wcoh_session_desc listening;
    wcoh_sample_desc how;
    wcoh_session *session = NULL;
    wcoh_rng rng = wcoh_rng_seed((uint64_t)seed);
    uint32_t *tokens;
    char *out;
    size_t heard, used = 0, longest;
    int i, result;
    if (!p.model) return refuse("there is no network to write yet");
    if (count < 0) count = 0;
    longest = (size_t)wcoh_tokenizer_longest(wcoh_model_tokenizer(p.model));
    out = (char *)out_room(longest * (size_t)count + 1);
    memset(&listening, 0, sizeof listening);
    memset(&how, 0, sizeof how);
    how.temperature = temperature;
    tokens = (uint32_t *)malloc((size + 1 + (size_t)count) * sizeof *tokens);
    if (!tokens || !out) return free(tokens), refuse("there is no memory for the text");
    heard = hear_prompt(size, tokens, size + 1);
    result = wcoh_session_create(&session, p.model, &listening, &error);
    if (result == WCOH_OK) result = hear(session, tokens, heard, heard);
    for (i = 0; i < count && result == WCOH_OK; i++) {
        result = wcoh_session_sample(session, &how, &rng, tokens + heard, &error);
        if (result != WCOH_OK) break;
        used += (size_t)wcoh_tokenizer_decode(wcoh_model_tokenizer(p.model), tokens[heard++],
                                              out + used, longest);
        result = hear(session, tokens, heard, 1);
    }
    wcoh_session_destroy(session);
    free(tokens);
    return result < 0 ? result : (int)used;
}

/* ---- looking inside -------------------------------------------------------------------------- */

/* A layer's parameter, or NULL where the network has none of that name. */
static const float *tensor(int layer, const char *name)
{
    wcoh_param param;
    char full[64];
    snprintf(full, sizeof full, "blocks.%d.%s", layer, name);
    if (wcoh_model_param(p.model, wcoh_model_param_find(p.model, full), &param, NULL) < 0)
        return NULL;
    return param.data;
}

/* y [width] = the row x after the norm of that name */
static void normed(int layer, const char *name, const float *x, int width, float *y)
{
    const float *weight, *bias;
    char full[32];
    double mean = 0, square = 0;
    int i;
    snprintf(full, sizeof full, "%s.weight", name);
    weight = tensor(layer, full);
    snprintf(full, sizeof full, "%s.bias", name);
    bias = tensor(layer, full);
    for (i = 0; bias && i < width; i++) mean += (double)x[i] / width;
    for (i = 0; i < width; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean) / width;
    for (i = 0; i < width; i++) {
        double unit = ((double)x[i] - mean) / sqrt(square + 1e-5);
        y[i] = (float)(unit * (double)(weight ? weight[i] : 1) + (double)(bias ? bias[i] : 0));
    }
}

/* y [rows] = w [rows,columns] x + b */
static void affine(const float *w, const float *b, const float *x, int rows, int columns, float *y)
{
    int r, c;
    for (r = 0; r < rows; r++, w += columns) {
        double sum = b ? (double)b[r] : 0;
        for (c = 0; c < columns; c++) sum += (double)w[c] * (double)x[c];
        y[r] = (float)sum;
    }
}

static void waves_of(int layer, float *waves)
{
    int h;
    for (h = 0; h < wcoh_model_get_desc(p.model)->heads; h++, waves += 5) {
        wcoh_wave wave;
        if (wcoh_model_wave(p.model, layer, h, &wave, NULL) < 0) memset(&wave, 0, sizeof wave);
        waves[0] = (float)wave.gain;
        waves[1] = (float)wave.carrier;
        waves[2] = (float)wave.wavelength;
        waves[3] = (float)wave.damping;
        waves[4] = (float)wave.reach;
    }
}

/* heard [D]: what attention hears of row t of hidden [T,D], after the norm, with the taps. */
static void heard_of(int layer, const float *hidden, int t, float *row, float *heard)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(p.model);
    const float *taps = tensor(layer, "attn.taps.weight");
    int width = 2 * desc->bands, i, j;
    for (j = 0; j < (taps ? desc->taps : 1) && j <= t; j++) {
        normed(layer, "norm1", hidden + (t - j) * width, width, row);
        for (i = 0; i < width; i++)
            heard[i] = (j ? heard[i] : 0) + row[i] * (taps ? taps[j * width + i] : 1);
    }
}

/* x [D] = row `to` of hidden after attention has added to it; maps [H,T,T]. room [4D]. Returns 0 where
   the network has no value matrix of that size. */
static int attended(int layer, const float *hidden, const float *maps, int to, float *x, float *room)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(p.model);
    const float *value = tensor(layer, "attn.value.weight"), *gate;
    int width = 2 * desc->bands, each = width / desc->heads, t, i;
    float *v = room + width, *sum = v + width, *row = sum + width;
    if (!value || tensor(layer, "attn.harmonic")) return 0;
    memset(sum, 0, (size_t)width * sizeof *sum);
    for (t = 0; t <= to; t++) {
        heard_of(layer, hidden, t, row, room);
        affine(value, tensor(layer, "attn.value.bias"), room, width, width, v);
        for (i = 0; i < width; i++) sum[i] += v[i] * maps[(i / each * p.heard + to) * p.heard + t];
    }
    gate = tensor(layer, "attn.gate.weight");
    normed(layer, "norm1", hidden + to * width, width, row);
    if (gate) affine(gate, tensor(layer, "attn.gate.bias"), row, width, width, v);
    for (i = 0; gate && i < width; i++) sum[i] *= 2 / (1 + (float)exp(-(double)v[i]));
    affine(tensor(layer, "attn.out.weight"), tensor(layer, "attn.out.bias"), sum, width, width, x);
    for (i = 0; i < width; i++) x[i] += hidden[to * width + i];
    return 1;
}

/* x [D]: what feed-forward hears of the last row, after the norm, with the taps. Blocks one after
   another, it hears what attention added. room [6D]. Returns 0 as `attended` does. */
static int fed_of(int layer, const float *hidden, const float *maps, float *x, float *room)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(p.model);
    const float *taps = tensor(layer, "ffn.taps.weight");
    int width = 2 * desc->bands, i, j;
    float *unit = room + width;
    memset(x, 0, (size_t)width * sizeof *x);
    for (j = 0; j < (taps ? desc->ffn_taps : 1) && j < p.heard; j++) {
        int t = p.heard - 1 - j;
        memcpy(room, hidden + t * width, (size_t)width * sizeof *room);
        if (desc->block == WCOH_BLOCK_SEQUENTIAL &&
            !attended(layer, hidden, maps, t, room, unit + width))
            return 0;
        normed(layer, desc->block == WCOH_BLOCK_PARALLEL_SHARED ? "norm1" : "norm2", room, width,
               unit);
        for (i = 0; i < width; i++) x[i] += unit[i] * (taps ? taps[j * width + i] : 1);
    }
    return 1;
}

/* Phases of the last row's queries and of all keys. */
static void phases_of(int layer, const float *hidden, float *row, float *heard)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(p.model);
    const float *query = tensor(layer, "attn.query_phasor.weight"), *bias, *key, *key_bias;
    const float *waves;
    int width = 2 * desc->bands, heads = desc->heads, last = p.heard - 1, t, h;
    float *raw = heard + width, *queries = p.views[VIEW_QUERIES] + layer * heads;
    float *keys = p.views[VIEW_KEYS] + layer * heads * HEARD;
    key = query ? tensor(layer, "attn.key_phasor.weight") : tensor(layer, "attn.phasor.weight");
    key_bias = query ? tensor(layer, "attn.key_phasor.bias") : tensor(layer, "attn.phasor.bias");
    bias = query ? tensor(layer, "attn.query_phasor.bias") : key_bias;
    waves = p.views[VIEW_WAVES] + layer * heads * 5;
    if (!query) query = key;
    for (t = 0; key && t <= last; t++) {
        heard_of(layer, hidden, t, row, heard);
        affine(key, key_bias, heard, 2 * heads, width, raw);
        for (h = 0; h < heads; h++)
            keys[h * HEARD + t] =
                (float)atan2(raw[2 * h + 1], raw[2 * h]) - waves[5 * h + 1] * (float)(last - t);
        if (t < last) continue;
        affine(query, bias, heard, 2 * heads, width, raw);
        for (h = 0; h < heads; h++) queries[h] = (float)atan2(raw[2 * h + 1], raw[2 * h]);
    }
}

/* x [D] += expand gelu(squeeze x): what stands before the oscillators. Returns 0 without one. */
static int steered(int layer, float *x, float *narrow, float *added)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(p.model);
    const float *squeeze = tensor(layer, "ffn.maestro_in.squeeze.weight");
    int width = 2 * desc->bands, i;
    if (!squeeze) return 0;
    affine(squeeze, tensor(layer, "ffn.maestro_in.squeeze.bias"), x, desc->maestro, width, narrow);
    for (i = 0; i < desc->maestro; i++) {
        double v = (double)narrow[i], u = 0.7978845608028654 * (v + 0.044715 * v * v * v);
        narrow[i] = (float)(0.5 * v * (1 + tanh(u)));
    }
    affine(tensor(layer, "ffn.maestro_in.expand.weight"),
           tensor(layer, "ffn.maestro_in.expand.bias"), narrow, width, desc->maestro, added);
    for (i = 0; i < width; i++) x[i] += added[i];
    return 1;
}

/* x [D] behind the limiter and with the fixed offset, where the network has them: what its oscillators are
   given. Returns 0 where the limiter's knee has moved with training. */
static int given_of(int layer, float *x)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(p.model);
    const float *offset = tensor(layer, "ffn.offset");
    double c = desc->ceiling;
    int i;
    if (desc->gain_control == WCOH_SWITCH_ON) return 0;
    for (i = 0; desc->limiter == WCOH_SWITCH_ON && i < 2 * desc->bands; i += 2) {
        double m = sqrt((double)x[i] * (double)x[i] + (double)x[i + 1] * (double)x[i + 1]);
        double by = m > c ? (c + c * tanh((m - c) / c)) / m : 1;
        x[i] = (float)(by * (double)x[i]);
        x[i + 1] = (float)(by * (double)x[i + 1]);
    }
    for (i = 0; offset && i < 2 * desc->bands; i++) x[i] += offset[i];
    return 1;
}

/* Energies before and after the oscillators, and how far they turned each band: the closed form,
   MATH.md 4.1. hidden [T,D]: the stream. room [6D + maestro]. */
static void energies_of(int layer, const float *hidden, const float *maps, float *x, float *room)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(p.model);
    const float *gamma = tensor(layer, "ffn.kerr.gamma_raw"), *omega, *alpha, *beta;
    float *before = p.views[VIEW_BEFORE] + layer * desc->bands;
    float *after = p.views[VIEW_AFTER] + layer * desc->bands;
    float *turns = p.views[VIEW_TURNS] + layer * desc->bands;
    int bands = desc->bands, k, n;
    omega = tensor(layer, "ffn.kerr.omega");
    alpha = tensor(layer, "ffn.kerr.alpha");
    beta = tensor(layer, "ffn.kerr.beta");
    if (!gamma || !fed_of(layer, hidden, maps, x, room)) return;
    steered(layer, x, room, room + desc->maestro);
    if (!given_of(layer, x)) return;
    for (k = 0; k < bands; k++) {
        double g = log1p(exp((double)gamma[k]));
        before[k] = x[2 * k] * x[2 * k] + x[2 * k + 1] * x[2 * k + 1];
        after[k] = before[k] * (float)exp(-2 * g);
        room[k] = before[k] * (float)(-expm1(-2 * g) / (2 * g));
    }
    for (k = 0; k < bands; k++) {
        float beside = 0;
        for (n = k - 2; n <= k + 2; n++)
            if (n != k && n >= 0 && n < bands) beside += room[n];
        turns[k] = omega[k] + alpha[0] * room[k] + beta[0] * beside;
    }
}

/* One layer under inspection. */
static void look(int layer, const wcoh_real *hidden, const float *maps, void *user)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(p.model);
    int heads = desc->heads, width = 2 * desc->bands, last = p.heard - 1, h;
    float *room = (float *)user; /* [7D + 2H + maestro] */
    if (layer >= desc->layers) return;
    waves_of(layer, p.views[VIEW_WAVES] + layer * heads * 5);
    phases_of(layer, hidden, room, room + width);
    energies_of(layer, hidden, maps, room, room + width);
    for (h = 0; h < heads; h++)
        memcpy(p.views[VIEW_WEIGHTS] + (layer * heads + h) * HEARD,
               maps + ((size_t)h * (size_t)p.heard + (size_t)last) * (size_t)p.heard,
               (size_t)p.heard * sizeof(float));
}

/* Views with room for the network at hand, all zero. */
static int views_made(void)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(p.model);
    size_t heads = (size_t)desc->layers * (size_t)desc->heads;
    size_t bands = (size_t)desc->layers * (size_t)desc->bands, size[VIEWS];
    int v;
    size[VIEW_WAVES] = heads * 5;
    size[VIEW_QUERIES] = heads;
    size[VIEW_KEYS] = size[VIEW_WEIGHTS] = heads * HEARD;
    size[VIEW_BEFORE] = size[VIEW_AFTER] = size[VIEW_TURNS] = bands;
    size[VIEW_NEXT] = GUESSES;
    for (v = 0; v < VIEWS; v++) {
        free(p.views[v]);
        p.views[v] = (float *)calloc(size[v], sizeof(float));
        if (!p.views[v]) return 0;
    }
    return 1;
}

/* The likeliest symbols after those heard, and their probabilities. */
static int guess_next(void)
{
    wcoh_session_desc listening;
    wcoh_session *session = NULL;
    int vocab = wcoh_model_get_desc(p.model)->vocab, i, v, result;
    float *chance = (float *)malloc((size_t)vocab * sizeof *chance);
    memset(&listening, 0, sizeof listening);
    if (!chance) return refuse("there is no memory to look inside");
    result = wcoh_session_create(&session, p.model, &listening, &error);
    if (result == WCOH_OK)
        result = wcoh_session_prefill(session, p.symbols, (size_t)p.heard, &error);
    if (result == WCOH_OK) result = wcoh_session_probabilities(session, chance, &error);
    for (i = 0; result == WCOH_OK && i < GUESSES && i < vocab; i++) {
        int best = 0;
        for (v = 1; v < vocab; v++)
            if (chance[v] > chance[best]) best = v;
        p.guesses[i] = (uint32_t)best;
        p.views[VIEW_NEXT][i] = chance[best];
        chance[best] = -1;
    }
    wcoh_session_destroy(session);
    free(chance);
    return result;
}

/* Hear the end of the text [size] in the room and look inside: the number of symbols heard. */
PAGE int page_listen(size_t size)
{
    const wcoh_model_desc *desc;
    size_t from = size > 4 * HEARD ? size - 4 * HEARD : 0, count;
    uint32_t all[4 * HEARD + 1];
    float *room;
    int result;
    if (!p.model) return refuse("there is no network to look into yet");
    desc = wcoh_model_get_desc(p.model);
    memmove(p.room, p.room + from, size - from);
    room = (float *)calloc((size_t)(14 * desc->bands + 4 * desc->heads + 2 * desc->maestro),
                           sizeof(float));
    result = room && views_made() ? WCOH_OK : refuse("there is no memory to look inside");
    if (result == WCOH_OK) {
        count = hear_prompt(size - from, all, sizeof all / sizeof all[0]);
        p.heard = count < HEARD ? (int)count : HEARD;
        if (desc->position == WCOH_POSITION_LEARNED && p.heard > desc->context)
            p.heard = desc->context;
        memcpy(p.symbols, all + count - (size_t)p.heard, (size_t)p.heard * sizeof *all);
        result = wcoh_model_inspect(p.model, p.symbols, p.heard, NULL, NULL, look, room, &error);
    }
    if (result == WCOH_OK) result = guess_next();
    free(room);
    return result < 0 ? result : p.heard;
}

/* The letters of symbol i heard, or (from HEARD on) of guess i - HEARD; "" where there is none. */
PAGE const char *page_letter(int i)
{
    static char letter[64];
    int length = 0;
    if (p.model && i >= 0 && i < HEARD + GUESSES)
        length = wcoh_tokenizer_decode(wcoh_model_tokenizer(p.model),
                                       i < HEARD ? p.symbols[i] : p.guesses[i - HEARD], letter,
                                       sizeof letter - 1);
    letter[length < (int)sizeof letter ? length : 0] = 0;
    return letter;
}

PAGE const float *page_view(int which)
{
    return which >= 0 && which < VIEWS ? p.views[which] : NULL;
}

PAGE int page_heard_room(void) { return HEARD; }

/* ---- mind reading ---------------------------------------------------------------------------- */

/* A network that hears one player, move by move: symbol = move + 2 (1 where it had foreseen it). */
enum { MIND_ROUNDS = 4096, MIND_ROWS = 4, MIND_SEQ = 24, MIND_HEARD = 64 };

typedef struct mind {
    wcoh_model *model;
    wcoh_trainer *trainer;
    wcoh_session *session;
    wcoh_rng rng;
    uint32_t said[MIND_ROUNDS]; /* the last ones, oldest first */
    int count, rounds, right;
    int guess, shown;            /* for the round to come, and for the one just played */
    double chance, shown_chance; /* of a right, likewise */
    double expected[4]; /* of late after two moves; negative: these two were not seen yet */
} mind;

static mind m;

PAGE int mind_start(void)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, 4);
    wcoh_trainer_desc training;
    wcoh_session_desc listening;
    int result, i;
    wcoh_session_destroy(m.session);
    wcoh_trainer_destroy(m.trainer);
    wcoh_model_destroy(m.model);
    memset(&m, 0, sizeof m);
    memset(&training, 0, sizeof training);
    memset(&listening, 0, sizeof listening);
    desc.bands = 12, desc.layers = 2, desc.heads = 4, desc.maestro = 8;
    training.batch = MIND_ROWS, training.seq = MIND_SEQ;
    training.steps = training.warmup = training.eval_every = -1; /* as long as one plays */
    training.lr = 6e-3, training.lr_end = -1;
    training.cpu.threads = 1;
    listening.gain = 12; /* it learns between the rounds */
    m.rng = wcoh_rng_seed(1);
    m.chance = 0.5;
    for (i = 0; i < 4; i++) m.expected[i] = -1;
    if ((result = wcoh_model_create(&m.model, &desc, &error)) < 0) return result;
    if ((result = wcoh_trainer_create(&m.trainer, m.model, &training, &error)) < 0) return result;
    return wcoh_session_create(&m.session, m.model, &listening, &error);
}

/* One step on the last moves and on others of the game. */
static int mind_learn(void)
{
    uint32_t tokens[MIND_ROWS * MIND_SEQ], targets[MIND_ROWS * MIND_SEQ];
    int seq = m.count - 1 < MIND_SEQ ? m.count - 1 : MIND_SEQ, from = m.count - 1 - seq, row, i;
    int result;
    if (seq < 2) return WCOH_OK;
    for (row = 0; row < MIND_ROWS; row++) {
        int at = row ? (int)(wcoh_rng_next(&m.rng) % (uint64_t)(from + 1)) : from;
        for (i = 0; i < seq; i++) {
            tokens[row * seq + i] = m.said[at + i];
            targets[row * seq + i] = m.said[at + i + 1];
        }
    }
    result = wcoh_trainer_gradient(m.trainer, tokens, targets, MIND_ROWS, seq, NULL, &error);
    return result < 0 ? result : wcoh_trainer_update(m.trainer, NULL, &error);
}

/* What comes next, written down before it comes. */
static int mind_foresee(void)
{
    int heard = m.count < MIND_HEARD ? m.count : MIND_HEARD, two, result;
    float chance[4];
    wcoh_session_reset(m.session);
    result = wcoh_session_prefill(m.session, m.said + m.count - heard, (size_t)heard, &error);
    if (result == WCOH_OK) result = wcoh_session_probabilities(m.session, chance, &error);
    if (result < 0) return result;
    m.chance = (double)chance[1] + (double)chance[3];
    m.guess = m.chance >= 0.5;
    if (m.count < 2) return result;
    two = (int)(2 * (m.said[m.count - 2] & 1) + (m.said[m.count - 1] & 1));
    m.expected[two] =
        m.expected[two] < 0 ? m.chance : m.expected[two] + 0.3 * (m.chance - m.expected[two]);
    return result;
}

/* The player has chosen 0 (left) or 1 (right). */
PAGE int mind_play(int move)
{
    int result;
    if (!m.session || move < 0 || move > 1) return refuse("no game was begun");
    m.shown = m.guess;
    m.shown_chance = m.chance;
    m.rounds++;
    m.right += m.guess == move;
    if (m.count == MIND_ROUNDS) memmove(m.said, m.said + 1, (size_t)--m.count * sizeof m.said[0]);
    m.said[m.count++] = (uint32_t)(move + 2 * (m.guess == move));
    if ((result = mind_learn()) < 0) return result;
    return mind_foresee();
}

/* What it had guessed, how sure it was, rounds, those it foresaw; from 4 on the chance of a right that
   it saw of late after left left, left right, right left, right right. */
PAGE double mind_stat(int which)
{
    switch (which) {
    case 0: return m.shown;
    case 1: return m.shown ? m.shown_chance : 1 - m.shown_chance;
    case 2: return m.rounds;
    case 3: return m.right;
    default: return which < 8 ? m.expected[which - 4] : 0;
    }
}

int main(void)
{
    settings_begin();
    return 0;
}
