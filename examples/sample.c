/* Let a model write: text on stdout as it comes, speed on stderr.

   cc -O2 examples/sample.c -o sample -lm -lpthread
   cc -O2 -DWAVECOH_VULKAN examples/sample.c -o sample -lm -lpthread     (adds --device vulkan[:N])

   A model without a tokenizer knows symbols of the caller: its prompt is a list of numbers, and
   numbers are what it writes.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#ifdef WAVECOH_VULKAN
#include "../wavecoh_vk.h"
#else
#include "../wavecoh.h"
#endif

#include "common.h"

typedef struct request {
    const char *model, *prompt, *device, *isa_name;
    choice unknown;
    long long tokens, threads;
    wcoh_sample_desc sample;
    wcoh_session_desc session;
} request;

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"prompt", OPTION_TEXT, &r->prompt, 0, 0,
         "text to go on from; not given: the end of a line"},
        {"tokens", OPTION_WHOLE, &r->tokens, -1, 9e15, "symbols to write; -1: without end"},
        {"threads", OPTION_WHOLE, &r->threads, 0, 256,
         "threads; 0: one, which is fastest for small models"},
        UNKNOWN_OPTION(&r->unknown),
        ISA_OPTION(&r->isa_name),
        DEVICE_OPTION(&r->device),
    };
    settings descs[2];
    command c;
    memset(&c, 0, sizeof c);
    descs[0] = settings_of("sampling", WCOH_DESC_SAMPLE, &r->sample, NULL);
    descs[1] =
        settings_of("session", WCOH_DESC_SESSION, &r->session, "repetition_window gain waves");
    c.usage = "MODEL [options]\nPrints what the model writes after a prompt.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    c.descs = descs;
    c.desc_count = 2;
    c.word_limit = 1;
    options_read(&c, argc, argv);
    r->session.cpu.isa = isa_named(r->isa_name);
    r->session.cpu.threads = (int)r->threads;
    if (c.word_count < 1) fail(EXIT_USAGE, "a model is needed; --help explains");
    r->model = c.words[0];
}

/* "3 14 15" -> symbols, of a model that has no tokenizer. */
static uint32_t *read_numbers(const char *text, int vocab, size_t *count)
{
    uint32_t *tokens = (uint32_t *)malloc((strlen(text) + 1) * sizeof *tokens);
    char *end = NULL;
    if (!tokens) fail(EXIT_FAILED, "no memory for the prompt");
    for (*count = 0; *(text += strspn(text, " ")); text = end) {
        long symbol = strtol(text, &end, 10);
        if (end == text || symbol < 0 || symbol >= vocab)
            fail(EXIT_FAILED,
                 "--prompt: \"%.20s\": this model has no tokenizer, its symbols are numbers from 0 "
                 "to %d",
                 text, vocab - 1);
        tokens[(*count)++] = (uint32_t)symbol;
    }
    return tokens;
}

static void hear_prompt(const request *r, writer *w, const wcoh_model *model)
{
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(model);
    uint32_t first = first_token(model), *tokens;
    size_t count = 0;
    if (!r->prompt || !*r->prompt) {
        writer_hear(w, &first, 1);
        return;
    }
    tokens = tokenizer ? text_encode(r->unknown.index, tokenizer, r->prompt, strlen(r->prompt),
                                        "--prompt", 0, &count)
                       : read_numbers(r->prompt, wcoh_model_get_desc(model)->vocab, &count);
    writer_hear(w, count ? tokens : &first, count ? count : 1);
    free(tokens);
}

static void write_token(text_flow *flow, speller *s, const wcoh_tokenizer *tokenizer,
                        uint32_t token)
{
    int length = tokenizer ? speller_next(s, tokenizer, token) : 0;
    if (tokenizer) flow_write(flow, s->text, length, stdout);
    else printf("%lu ", (unsigned long)token);
    stdout_check();
}

int main(int argc, char **argv)
{
    request r;
    wcoh_model *model = NULL;
    wcoh_error error;
    writer w;
    text_flow flow;
    speller spelled;
    double started, seconds;
    long long i;
    int said = 0;
    program_begin("sample");
    memset(&r, 0, sizeof r);
    memset(&flow, 0, sizeof flow);
    memset(&spelled, 0, sizeof spelled);
    flow.tame = stdout_is_terminal();
    r.unknown.words = UNKNOWN_WORDS;
    r.tokens = 500;
    r.sample.temperature = 0.8;
    r.device = "cpu";
    r.isa_name = "auto";
    request_read(&r, argc, argv);
    r.session.device = device_named(r.device);
    must(wcoh_model_load_file(&model, r.model, NULL, &error), NULL, &error);
    binary_stdout();
    writer_open(&w, model, &r.session, &r.sample);
    hear_prompt(&r, &w, model);
    if (r.prompt) fputs(r.prompt, stdout);
    started = seconds_now();
    for (i = 0; r.tokens < 0 || i < r.tokens; i++) {
        write_token(&flow, &spelled, wcoh_model_tokenizer(model), writer_next(&w));
        if (w.starts && !said++)
            say("the table of learned positions is full: the model hears the last half of its "
                "context again, now and whenever it is");
    }
    flow_write(&flow, spelled.text, speller_end(&spelled), stdout);
    seconds = seconds_now() - started;
    putchar('\n');
    stdout_check();
    fprintf(stderr, "%.0f tokens, %.0f tokens/s\n", (double)i,
            seconds > 0 ? (double)i / seconds : 0.0);
    writer_close(&w);
    wcoh_model_destroy(model);
    device_close(r.session.device);
    return 0;
}
