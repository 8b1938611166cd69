/* Score a text with a model: mean loss in nats a token.

   cc -O2 examples/eval.c -o eval -lm -lpthread
   cc -O2 -DWAVECOH_VULKAN examples/eval.c -o eval -lm -lpthread     (adds --device vulkan[:N])

   Without --stream: windows of --seq tokens that follow each other, a fresh context each; every
   window predicts that many next tokens, and an incomplete last one is dropped. With --stream: the
   same range as one unbroken stream through a session. Prints `loss 1.728512 tokens 111488`.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#ifdef WAVECOH_VULKAN
#include "../wavecoh_vk.h"
#else
#include "../wavecoh.h"
#endif

#include "common.h"

typedef struct request {
    const char *model, *text, *device, *isa_name;
    choice unknown;
    char *bytes; /* the whole file */
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
        UNKNOWN_OPTION(&r->unknown),
        THREADS_OPTION(&r->threads),
        ISA_OPTION(&r->isa_name),
        DEVICE_OPTION(&r->device),
    };
    settings windows = settings_of("windows", WCOH_DESC_EVAL, &r->windows, NULL);
    command c;
    memset(&c, 0, sizeof c);
    c.usage = "MODEL TEXT [options]\nPrints the mean loss of a text, in nats a token.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    c.descs = &windows;
    c.desc_count = 1;
    c.word_limit = 2;
    options_read(&c, argc, argv);
    r->windows.cpu.isa = isa_named(r->isa_name);
    r->windows.cpu.threads = (int)r->threads;
    if (c.word_count < 2) fail(EXIT_USAGE, "a model and a text are needed; --help explains");
    if (r->to && r->to <= r->from)
        fail(EXIT_USAGE, "--to %.0f is not after --from %.0f", (double)r->to, (double)r->from);
    r->model = c.words[0];
    r->text = c.words[1];
}

/* The tokens of bytes --from .. --to of the text. */
static uint32_t *read_range(request *r, const wcoh_model *model, size_t *count)
{
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(model);
    size_t size, from = (size_t)r->from, to;
    const char *name = file_named(r->text);
    r->bytes = file_read(r->text, &size);
    to = r->to ? (size_t)r->to : size;
    if (!tokenizer)
        fail(EXIT_FAILED, "%s: it has no tokenizer: its symbols are not those of a text", r->model);
    if (from >= size || to > size)
        fail(EXIT_FAILED, "%s: it has %lu bytes: --from %lu --to %lu is outside", name,
             (unsigned long)size, (unsigned long)from, (unsigned long)to);
    size = text_plain_for(tokenizer, r->bytes + from, to - from);
    return text_encode(r->unknown.index, tokenizer, r->bytes + from, size, name, from, count);
}

/* One session over all tokens; the first one is heard and not predicted. */
static double score_stream(const request *r, wcoh_model *model, const uint32_t *tokens,
                           size_t count)
{
    wcoh_session_desc desc;
    wcoh_session *session = NULL;
    wcoh_error error;
    double nats = 0;
    if (count < 2)
        fail(EXIT_FAILED, "%s: one token alone predicts nothing: a stream needs two", r->text);
    memset(&desc, 0, sizeof desc);
    desc.cpu = r->windows.cpu;
    desc.device = r->windows.device;
    must(wcoh_session_create(&session, model, &desc, &error), r->model, &error);
    must(wcoh_session_score(session, tokens, count, &nats, &error), r->text, &error);
    wcoh_session_destroy(session);
    return nats / (double)(count - 1);
}

static double score_windows(const request *r, wcoh_model *model, const uint32_t *tokens,
                            size_t count, size_t *scored)
{
    wcoh_error error;
    double loss = 0;
    wcoh_result result =
        wcoh_model_evaluate(model, &r->windows, tokens, count, &loss, scored, &error);
    if (result == WCOH_E_ARGUMENT) fail(EXIT_USAGE, "%s", error.text);
    must(result, r->text, &error);
    return loss;
}

int main(int argc, char **argv)
{
    request r;
    wcoh_model *model = NULL;
    wcoh_error error;
    uint32_t *tokens;
    size_t count = 0, scored = 0;
    double loss;
    program_name = "eval";
    memset(&r, 0, sizeof r);
    r.unknown.words = UNKNOWN_WORDS;
    r.device = "cpu";
    r.isa_name = "auto";
    request_read(&r, argc, argv);
    r.windows.device = device_named(r.device);
    must(wcoh_model_load_file(&model, r.model, NULL, &error), NULL, &error);
    tokens = read_range(&r, model, &count);
    if (r.stream) {
        loss = score_stream(&r, model, tokens, count);
        scored = count - 1;
    } else {
        loss = score_windows(&r, model, tokens, count, &scored);
    }
    printf("loss %.6f tokens %lu\n", loss, (unsigned long)scored);
    free(tokens);
    free(r.bytes);
    wcoh_model_destroy(model);
    device_close(r.windows.device);
    stdout_check();
    return 0;
}
