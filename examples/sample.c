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
    const char *model, *prompt, *stop, *device, *isa_name;
    choice unknown;
    text_list bias;
    long long tokens, best, threads;
    int pack;
    wcoh_sample_desc sample;
    wcoh_session_desc session;
} request;

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"prompt", OPTION_TEXT, &r->prompt, 0, 0,
         "text to go on from; not given: the end of a line"},
        {"tokens", OPTION_WHOLE, &r->tokens, -1, 9e15, "symbols to write; -1: without end"},
        {"stop", OPTION_TEXT, &r->stop, 0, 0, "end where these letters come, and leave them out"},
        {"bias", OPTION_LIST, &r->bias, 0, 0,
         "LETTERS=NUMBER adds to the logits of these, -inf: none of them; again for more"},
        {"best", OPTION_WHOLE, &r->best, 0, 256,
         "draw nothing: so many likeliest continuations, each behind its -log p; 0: draw"},
        {"pack", OPTION_FLAG, &r->pack, 0, 0,
         "round the weights to bytes and multiply from those: faster for larger models"},
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
    if (r->best && (r->tokens < 1 || r->tokens > 100000))
        fail(EXIT_USAGE, "--best wants --tokens from 1 to 100000");
    if (r->best)
        options_only(&c, argc, argv,
                     "bias temperature top_k top_p min_p repetition_penalty repetition_window seed "
                     "prefill",
                     "what is drawn (without --best)");
    r->model = c.words[0];
}

/* "3 14 15" -> symbols, of a model that has no tokenizer. */
static uint32_t *read_numbers(const char *name, const char *text, int vocab, size_t *count)
{
    uint32_t *tokens = (uint32_t *)malloc((strlen(text) + 1) * sizeof *tokens);
    char *end = NULL;
    if (!tokens) fail(EXIT_FAILED, "no memory for the prompt");
    for (*count = 0; *(text += strspn(text, " ")); text = end) {
        long symbol = strtol(text, &end, 10);
        if (end == text || symbol < 0 || symbol >= vocab)
            fail(EXIT_FAILED,
                 "%s: \"%.20s\": this model has no tokenizer, its symbols are numbers from 0 to %d",
                 name, text, vocab - 1);
        tokens[(*count)++] = (uint32_t)symbol;
    }
    return tokens;
}

/* The symbols of letters that an option gave: of no text, so that none opens it. */
static uint32_t *read_symbols(const char *name, const char *letters, const wcoh_model *model,
                              size_t *count)
{
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(model);
    if (!tokenizer) return read_numbers(name, letters, wcoh_model_get_desc(model)->vocab, count);
    return encode_as(UNKNOWN_REFUSE, tokenizer, letters, strlen(letters), name, 0, count);
}

/* What the model hears first, at least one symbol. */
static uint32_t *read_prompt(const request *r, const wcoh_model *model, size_t *count)
{
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(model);
    uint32_t *tokens = NULL;
    *count = 0;
    if (r->prompt && *r->prompt && tokenizer)
        tokens = text_encode(r->unknown.index, tokenizer, r->prompt, strlen(r->prompt), "--prompt",
                             0, count);
    else if (r->prompt && *r->prompt)
        tokens = read_numbers("--prompt", r->prompt, wcoh_model_get_desc(model)->vocab, count);
    if (*count) return tokens;
    free(tokens);
    tokens = (uint32_t *)malloc(sizeof *tokens);
    if (!tokens) fail(EXIT_FAILED, "no memory for the prompt");
    *tokens = first_token(model);
    *count = 1;
    return tokens;
}

/* Room for so many; the list may be NULL. */
static wcoh_logit_bias *bias_room(wcoh_logit_bias *list, size_t count)
{
    list = (wcoh_logit_bias *)realloc(list, count_of(count + 1, sizeof *list));
    if (!list) fail(EXIT_FAILED, "no memory for --bias");
    return list;
}

/* "abc=-2.5": each of a, b, c. The list goes to the writer, with what it never writes behind it. */
static wcoh_logit_bias *read_bias(const request *r, const wcoh_model *model, const writer *w,
                                  int *count)
{
    size_t i, k, symbols;
    wcoh_logit_bias *list = NULL;
    for (*count = 0, i = 0; i < (size_t)r->bias.count; i++) {
        char *text = text_made("%s", r->bias.items[i]), *number = strrchr(text, '='), *end = NULL;
        double value = number ? strtod(number + 1, &end) : 0;
        uint32_t *tokens;
        if (!number || number == text || end == number + 1 || *end || value != value ||
            value > 3e38)
            fail(EXIT_USAGE, "--bias is \"%s\": wanted are LETTERS=NUMBER", text);
        *number = 0;
        tokens = read_symbols("--bias", text, model, &symbols);
        list = bias_room(list, (size_t)*count + symbols);
        for (k = 0; k < symbols; k++) {
            list[*count].token = tokens[k];
            list[(*count)++].bias = (float)value;
        }
        free(tokens);
    }
    if (w->sample.bias_count) {
        list = bias_room(list, (size_t)*count + 1);
        list[(*count)++] = w->never;
    }
    return list;
}

static void write_token(text_flow *flow, speller *s, const wcoh_tokenizer *tokenizer,
                        uint32_t token)
{
    int length = tokenizer ? speller_next(s, tokenizer, token) : 0;
    if (tokenizer) flow_write(flow, s->text, length, stdout);
    else printf("%lu ", (unsigned long)token);
    stdout_check();
}

/* The prompt as it was given; behind numbers a blank, for another number follows. */
static void write_prompt(const request *r, const wcoh_model *model)
{
    if (!r->prompt) return;
    fputs(r->prompt, stdout);
    if (*r->prompt && !wcoh_model_tokenizer(model)) putchar(' ');
}

/* What is drawn waits here while it may be the beginning of the stop sequence: letters, whatever tokens
   they come in, of a model that has some; else symbols. */
typedef struct held {
    uint32_t *stop;  /* [size] NULL: there is none */
    uint32_t *waits; /* [size] */
    size_t size, count;
    int letters; /* 1: each of them is a byte of text */
} held;

static held held_open(const request *r, const wcoh_model *model, int letters)
{
    held h;
    size_t i;
    memset(&h, 0, sizeof h);
    if (!r->stop || !*r->stop) return h;
    h.stop = read_symbols("--stop", r->stop, model, &h.size); /* may the model write it? */
    h.letters = letters && wcoh_model_tokenizer(model);
    if (h.letters) {
        free(h.stop);
        h.size = strlen(r->stop);
        h.stop = (uint32_t *)malloc(h.size * sizeof *h.stop);
        for (i = 0; h.stop && i < h.size; i++) h.stop[i] = (unsigned char)r->stop[i];
    }
    h.waits = (uint32_t *)malloc((h.size + 1) * sizeof *h.waits);
    if (!h.stop || !h.waits) fail(EXIT_FAILED, "no memory for --stop");
    return h;
}

static void held_write(const held *h, size_t count, text_flow *flow)
{
    size_t i;
    for (i = 0; i < count; i++) {
        char byte = (char)(unsigned char)h->waits[i];
        if (h->letters) flow_write(flow, &byte, 1, stdout);
        else printf("%lu ", (unsigned long)h->waits[i]);
    }
}

/* One more has come: what cannot be of the stop sequence is written. Returns 1 where that is whole. */
static int held_add(held *h, uint32_t one, text_flow *flow)
{
    size_t free_now = 0;
    h->waits[h->count++] = one;
    while (memcmp(h->waits + free_now, h->stop, (h->count - free_now) * sizeof *h->stop))
        free_now++;
    held_write(h, free_now, flow);
    memmove(h->waits, h->waits + free_now, (h->count -= free_now) * sizeof *h->waits);
    return h->count == h->size;
}

/* The same of `length` bytes; those behind the stop sequence are left out. */
static int held_text(held *h, const char *text, int length, text_flow *flow)
{
    int i, stops = 0;
    for (i = 0; i < length && !stops; i++) stops = held_add(h, (unsigned char)text[i], flow);
    return stops;
}

/* Write and hear until the end; returns how many symbols were drawn. */
static long long write_on(const request *r, writer *w, const wcoh_model *model)
{
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(model);
    held h = held_open(r, model, 1);
    text_flow flow;
    speller spelled;
    long long i;
    int said = 0, stops = 0, length;
    memset(&flow, 0, sizeof flow);
    memset(&spelled, 0, sizeof spelled);
    flow.tame = stdout_is_terminal();
    for (i = 0; (r->tokens < 0 || i < r->tokens) && !stops; i++) {
        uint32_t token = writer_next(w);
        if (!h.stop) {
            write_token(&flow, &spelled, tokenizer, token);
        } else if (!h.letters) {
            stops = held_add(&h, token, &flow);
        } else {
            length = speller_next(&spelled, tokenizer, token);
            stops = held_text(&h, spelled.text, length, &flow);
        }
        stdout_check();
        if (w->starts && !said++)
            say("the table of learned positions is full: the model hears the last half of its "
                "context again, now and whenever it is");
    }
    length = stops ? 0 : speller_end(&spelled); /* half a character at the end */
    if (!h.letters) flow_write(&flow, spelled.text, length, stdout);
    else if (!stops) stops = held_text(&h, spelled.text, length, &flow);
    if (!stops) held_write(&h, h.count, &flow);
    free(h.stop);
    free(h.waits);
    return i;
}

static void write_continuation(const request *r, const wcoh_model *model, const uint32_t *symbols,
                               const wcoh_continuation *found, size_t stop)
{
    text_flow flow;
    speller spelled;
    int k, count = found->length - (found->stopped ? (int)stop : 0);
    memset(&flow, 0, sizeof flow);
    memset(&spelled, 0, sizeof spelled);
    flow.tame = stdout_is_terminal();
    printf("%.4f ", found->nats);
    write_prompt(r, model);
    for (k = 0; k < count; k++)
        write_token(&flow, &spelled, wcoh_model_tokenizer(model), symbols[k]);
    flow_write(&flow, spelled.text, speller_end(&spelled), stdout);
    putchar('\n');
    stdout_check();
}

/* The likeliest continuations, the best first: a crowd of as many and the one who heard the prompt. */
static void write_best(const request *r, wcoh_model *model)
{
    int start = wcoh_tokenizer_start(wcoh_model_tokenizer(model)), id, count = 0, i;
    size_t heard, vocab = (size_t)wcoh_model_get_desc(model)->vocab;
    uint32_t *prompt = read_prompt(r, model, &heard), *symbols;
    held h = held_open(r, model, 0);
    wcoh_tokenizer_kind kind = wcoh_tokenizer_get_kind(wcoh_model_tokenizer(model));
    unsigned char *allowed = (unsigned char *)malloc(vocab);
    wcoh_continuation *found = (wcoh_continuation *)malloc((size_t)r->best * sizeof *found);
    wcoh_crowd_desc desc;
    wcoh_beam_desc beam;
    wcoh_crowd *crowd = NULL;
    wcoh_error error;
    if (h.stop && kind == WCOH_TOKENIZER_SUBWORDS) /* the same letters come in many ways */
        fail(EXIT_USAGE, "--best and --stop go together where a symbol is a letter: this model has "
                         "subwords");
    symbols = (uint32_t *)malloc((size_t)r->best * (size_t)r->tokens * sizeof *symbols);
    if (!allowed || !found || !symbols) fail(EXIT_FAILED, "no memory for --best");
    memset(&desc, 0, sizeof desc);
    memset(&beam, 0, sizeof beam);
    memset(allowed, 1, vocab);
    if (start >= 0) allowed[start] = 0; /* it stands before all texts, and in none */
    desc.members = (int)r->best + 1;
    desc.states = r->session.states;
    desc.cpu = r->session.cpu;
    desc.device = r->session.device;
    beam.width = (int)r->best;
    beam.length = (int)r->tokens;
    beam.stop = h.stop;
    beam.stop_count = (int)h.size;
    beam.allowed = allowed;
    must(wcoh_crowd_create(&crowd, model, &desc, &error), NULL, &error);
    must(wcoh_crowd_join(crowd, &id, &error), NULL, &error);
    must(wcoh_crowd_hear(crowd, id, prompt, heard, &error), NULL, &error);
    must(wcoh_crowd_continue(crowd, id, &beam, symbols, found, &count, &error), NULL, &error);
    for (i = 0; i < count; i++)
        write_continuation(r, model, symbols + (size_t)i * (size_t)r->tokens, &found[i], h.size);
    wcoh_crowd_destroy(crowd);
    free(prompt);
    free(symbols);
    free(found);
    free(allowed);
    free(h.stop);
    free(h.waits);
}

static void write_drawn(const request *r, wcoh_model *model)
{
    writer w;
    wcoh_logit_bias *bias = NULL;
    uint32_t *prompt;
    size_t count;
    double started, seconds;
    long long drawn;
    writer_open(&w, model, &r->session, &r->sample);
    if (r->bias.count) {
        bias = read_bias(r, model, &w, &w.sample.bias_count);
        w.sample.bias = bias;
    }
    prompt = read_prompt(r, model, &count);
    writer_hear(&w, prompt, count);
    write_prompt(r, model);
    started = seconds_now();
    drawn = write_on(r, &w, model);
    seconds = seconds_now() - started;
    putchar('\n');
    stdout_check();
    fprintf(stderr, "%.0f tokens, %.0f tokens/s\n", (double)drawn,
            seconds > 0 ? (double)drawn / seconds : 0.0);
    writer_close(&w);
    free(prompt);
    free(bias);
}

int main(int argc, char **argv)
{
    request r;
    wcoh_model *model = NULL;
    wcoh_error error;
    program_begin("sample");
    memset(&r, 0, sizeof r);
    r.unknown.words = UNKNOWN_WORDS;
    r.tokens = 500;
    r.sample.temperature = 0.8;
    r.device = "cpu";
    r.isa_name = "auto";
    request_read(&r, argc, argv);
    r.session.device = device_named(r.device);
    must(wcoh_model_load_file(&model, r.model, NULL, &error), NULL, &error);
    if (r.pack) must(wcoh_model_pack(model, &error), r.model, &error);
    binary_stdout();
    if (r.best) write_best(&r, model);
    else write_drawn(&r, model);
    wcoh_model_destroy(model);
    device_close(r.session.device);
    return 0;
}
