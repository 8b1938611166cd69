/* Score a text with a model: mean loss in nats a token.

   cc -O2 examples/eval.c -o eval -lm -lpthread
   cc -O2 -DWAVECOH_VULKAN examples/eval.c -o eval -lm -lpthread     (adds --device vulkan[:N])

   Without --stream: windows of --seq tokens that follow each other, a fresh context each; every
   window predicts that many next tokens, and an incomplete last one is dropped. With --stream: the
   same range as one unbroken stream through a session. Of several texts windows and streams begin
   anew with each, and no window is dropped. Prints `loss 1.728512 tokens 111488`.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#ifdef WAVECOH_VULKAN
#include "../wavecoh_vk.h"
#else
#include "../wavecoh.h"
#endif

#include "common.h"

typedef struct request {
    const char *model, *out, *device, *isa_name;
    const char **files;
    int file_count;
    choice unknown, dtype;
    long long from, to, threads;
    int stream;
    wcoh_eval_desc windows;
} request;

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"from", OPTION_WHOLE, &r->from, 0, 9e15, "first byte of the text to score"},
        {"to", OPTION_WHOLE, &r->to, 0, 9e15, "byte after the last one; 0: the end"},
        {"stream", OPTION_FLAG, &r->stream, 0, 0, "score one unbroken stream through a session"},
        {"out", OPTION_TEXT, &r->out, 0, 0,
         "write the weights to that file, as --dtype says, and score them too"},
        {"dtype", OPTION_CHOICE, &r->dtype, 0, 0,
         "numbers of its matrices; i8: bytes, with a scale a row"},
        UNKNOWN_OPTION(&r->unknown),
        THREADS_OPTION(&r->threads),
        ISA_OPTION(&r->isa_name),
        DEVICE_OPTION(&r->device),
    };
    settings windows = settings_of("windows", WCOH_DESC_EVAL, &r->windows, NULL);
    command c;
    memset(&c, 0, sizeof c);
    c.usage = "MODEL TEXT [TEXT ..] [options]\nPrints the mean loss of texts, in nats a token.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    c.descs = &windows;
    c.desc_count = 1;
    c.word_limit = argc;
    options_read(&c, argc, argv);
    r->windows.cpu.isa = isa_named(r->isa_name);
    r->windows.cpu.threads = (int)r->threads;
    if (c.word_count < 2) fail(EXIT_USAGE, "a model and a text are needed; --help explains");
    if (r->to && r->to <= r->from)
        fail(EXIT_USAGE, "--to %.0f is not after --from %.0f", (double)r->to, (double)r->from);
    if (c.word_count > 2 && (r->from || r->to))
        fail(EXIT_USAGE, "--%s is a place in one text, not in several", r->from ? "from" : "to");
    if (r->stream) options_only(&c, argc, argv, "seq batch", "windows (without --stream)");
    path_not_read(r->out, c.words, c.word_count);
    r->model = c.words[0];
    r->files = c.words + 1;
    r->file_count = c.word_count - 1;
}

/* How sentences name what is scored. */
static const char *texts_named(const request *r)
{
    return r->file_count == 1 ? file_named(r->files[0]) : text_made("%d texts", r->file_count);
}

/* Add the tokens of bytes --from .. --to of a text. */
static void read_range(const request *r, const wcoh_model *model, const char *path, texts *all)
{
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(model);
    size_t size, from = (size_t)r->from, to, count;
    const char *name = file_named(path);
    char *bytes = file_read(path, &size);
    uint32_t *tokens;
    to = r->to ? (size_t)r->to : size;
    if (!tokenizer)
        fail(EXIT_FAILED, "%s: it has no tokenizer: its symbols are not those of a text", r->model);
    if (from >= size || to > size)
        fail(EXIT_FAILED, "%s: it has %lu bytes: --from %lu --to %lu is outside", name,
             (unsigned long)size, (unsigned long)from, (unsigned long)to);
    size = text_plain_for(tokenizer, bytes + from, to - from);
    tokens = text_encode(r->unknown.index, tokenizer, bytes + from, size, name, from, &count);
    if (count < 2) fail(EXIT_FAILED, "%s: one token alone predicts nothing: two are needed", name);
    texts_add(all, tokens, count);
    free(bytes);
}

/* A session over each text alone; the first token is heard and not predicted. */
static double score_streams(const request *r, wcoh_model *model, const wcoh_sequences *s,
                            size_t *scored)
{
    wcoh_session_desc desc;
    wcoh_session *session = NULL;
    wcoh_error error;
    double nats = 0, one;
    size_t i;
    memset(&desc, 0, sizeof desc);
    desc.cpu = r->windows.cpu;
    desc.device = r->windows.device;
    must(wcoh_session_create(&session, model, &desc, &error), r->model, &error);
    for (i = 0; i < s->count; i++) {
        size_t count = s->offsets[i + 1] - s->offsets[i];
        wcoh_session_reset(session);
        must(wcoh_session_score(session, s->tokens + s->offsets[i], count, &one, &error),
             file_named(r->files[i]), &error);
        nats += one;
        *scored += count - 1;
    }
    wcoh_session_destroy(session);
    return nats / (double)*scored;
}

static double score_windows(const request *r, wcoh_model *model, const wcoh_sequences *s,
                            size_t *scored)
{
    wcoh_error error;
    double loss = 0;
    wcoh_result result =
        s->count > 1 ? wcoh_model_evaluate_sequences(model, &r->windows, s, &loss, scored, &error)
                     : wcoh_model_evaluate(model, &r->windows, s->tokens, s->offsets[1], &loss,
                                           scored, &error);
    if (result == WCOH_E_ARGUMENT) fail(EXIT_USAGE, "%s", error.text);
    must(result, texts_named(r), &error);
    return loss;
}

/* The mean loss in nats; *scored tokens. */
static double score(const request *r, wcoh_model *model, const wcoh_sequences *s, size_t *scored)
{
    *scored = 0;
    return r->stream ? score_streams(r, model, s, scored) : score_windows(r, model, s, scored);
}

/* Write the weights with smaller numbers, load them as everybody does, and tell what they lose. */
static void write_smaller(const request *r, const wcoh_model *model, const wcoh_sequences *s,
                          double loss)
{
    static const wcoh_weights types[] = {WCOH_WEIGHTS_F16, WCOH_WEIGHTS_BF16, WCOH_WEIGHTS_I8,
                                         WCOH_WEIGHTS_F32};
    wcoh_weights type = types[r->dtype.index];
    wcoh_model *smaller = NULL;
    wcoh_error error;
    size_t scored;
    double other;
    must(wcoh_model_save_as_file(model, type, r->out, &error), NULL, &error);
    must(wcoh_model_load_file(&smaller, r->out, NULL, &error), NULL, &error);
    other = score(r, smaller, s, &scored);
    printf("wrote %s bytes %lu of %lu loss %.6f difference %+.6f\n", r->out,
           (unsigned long)wcoh_model_size_as(model, type),
           (unsigned long)wcoh_model_file_size(model), other, other - loss);
    wcoh_model_destroy(smaller);
}

int main(int argc, char **argv)
{
    request r;
    wcoh_model *model = NULL;
    wcoh_error error;
    texts all;
    wcoh_sequences sequences;
    size_t scored;
    double loss;
    int i;
    program_begin("eval");
    memset(&r, 0, sizeof r);
    memset(&all, 0, sizeof all);
    r.unknown.words = UNKNOWN_WORDS;
    r.dtype.words = "f16 bf16 i8 f32";
    r.device = "cpu";
    r.isa_name = "auto";
    request_read(&r, argc, argv);
    r.windows.device = device_named(r.device);
    must(wcoh_model_load_file(&model, r.model, NULL, &error), NULL, &error);
    for (i = 0; i < r.file_count; i++) read_range(&r, model, r.files[i], &all);
    sequences = texts_sequences(&all);
    loss = score(&r, model, &sequences, &scored);
    printf("loss %.6f tokens %lu\n", loss, (unsigned long)scored);
    if (r.out) write_smaller(&r, model, &sequences, loss);
    texts_free(&all);
    wcoh_model_destroy(model);
    device_close(r.windows.device);
    stdout_check();
    return 0;
}
