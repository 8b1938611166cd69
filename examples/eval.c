/* Score a text with a model: mean loss in nats a token.

   cc -O2 examples/eval.c -o eval -lm -lpthread
   cc -O2 -DWAVECOH_VULKAN examples/eval.c -o eval -lm -lpthread     (adds --device vulkan[:N])

   Without --stream: windows of --seq tokens that follow each other, a fresh context each; every
   window predicts that many next tokens, and an incomplete last one is dropped. With --stream: the
   same range as one unbroken stream through a session. Of several texts windows and streams begin
   anew with each, and no window is dropped. Prints `loss 1.728512 tokens 111488`; with --against what
   another model loses there, and how sure the difference is.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#ifdef WAVECOH_VULKAN
#include "../wavecoh_vk.h"
#else
#include "../wavecoh.h"
#endif

#include "losses.h"

typedef struct request {
    const char *model, *out, *against, *losses, *device, *isa_name;
    const char **files;
    int file_count;
    choice unknown, dtype;
    long long from, to, threads;
    int stream;
    wcoh_eval_desc windows;
} request;

static const char usage[] =
    "MODEL TEXT [TEXT ..] [options]\n"
    "Prints the mean loss of texts, in nats a token. --against OTHER prints a second line:\n"
    "OTHER's loss in the same windows, and MODEL's less that, with Student's 95 % interval over\n"
    "16 blocks of the text (fewer where it is short: of 256 tokens at least; tokens that are\n"
    "near are alike, large blocks far less). It tells what more of such a text could change;\n"
    "what another seed would make of the models is not in it.";

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"from", OPTION_WHOLE, &r->from, 0, 9e15, "first byte of the text to score"},
        {"to", OPTION_WHOLE, &r->to, 0, 9e15, "byte after the last one; 0: the end"},
        {"stream", OPTION_FLAG, &r->stream, 0, 0, "score one unbroken stream through a session"},
        {"against", OPTION_TEXT, &r->against, 0, 0,
         "another model of the same tokens: its loss, and that of MODEL less it"},
        {"losses", OPTION_TEXT, &r->losses, 0, 0,
         "write a CSV there: text, place, symbol and loss of each token that is scored"},
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
    c.usage = usage;
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
    if (!r->out) options_only(&c, argc, argv, "dtype", "weights that are written (--out)");
    if (r->stream) options_only(&c, argc, argv, "seq batch", "windows (without --stream)");
    if (r->against) c.words[c.word_count++] = r->against; /* it is read as well */
    path_not_read(r->out, c.words, c.word_count);
    path_not_read(r->losses, c.words, c.word_count);
    if (r->against) c.word_count--;
    if (r->out && r->losses && path_same(r->out, r->losses))
        fail(EXIT_USAGE, "--out and --losses are one file, %s", r->out);
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
    if (r->from >= (long long)size || r->to > (long long)size)
        fail(EXIT_FAILED, "%s: it has %lu bytes: --from %lld --to %lld is outside", name,
             (unsigned long)size, r->from, r->to ? r->to : (long long)size);
    size = text_plain_for(tokenizer, bytes + from, to - from);
    tokens = text_encode(r->unknown.index, tokenizer, bytes + from, size, name, from, &count);
    if (count < 2) fail(EXIT_FAILED, "%s: one token alone predicts nothing: two are needed", name);
    texts_add(all, tokens, count);
    free(bytes);
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* What a model loses on the texts. */
typedef struct score {
    double loss;       /* mean */
    size_t scored;     /* tokens */
    wcoh_real *losses; /* of each token of the texts, -1 where it is not scored; or NULL */
} score;

/* -log p of a text's tokens but the first, to their places; returns their sum. */
static double score_tokens(wcoh_session *session, const uint32_t *tokens, size_t count,
                           const char *path, wcoh_real *losses)
{
    double *nats = (double *)memory_of(count, sizeof *nats), sum = 0;
    wcoh_error error;
    size_t i;
    must(wcoh_session_surprise(session, tokens, count, nats, &error), path, &error);
    losses[0] = -1;
    for (i = 1; i < count; i++) {
        losses[i] = (wcoh_real)nats[i];
        sum += nats[i];
    }
    free(nats);
    return sum;
}

/* A session over each text alone; the first token is heard and not predicted. */
static void score_streams(const request *r, const char *path, wcoh_model *model,
                          const wcoh_sequences *s, score *to)
{
    wcoh_session_desc desc;
    wcoh_session *session = NULL;
    wcoh_error error;
    double nats = 0, one;
    size_t i;
    memset(&desc, 0, sizeof desc);
    desc.cpu = r->windows.cpu;
    desc.device = r->windows.device;
    must(wcoh_session_create(&session, model, &desc, &error), path, &error);
    for (i = 0; i < s->count; i++) {
        const uint32_t *tokens = s->tokens + s->offsets[i];
        const char *text = file_named(r->files[i]);
        size_t count = s->offsets[i + 1] - s->offsets[i];
        wcoh_session_reset(session);
        if (to->losses)
            one = score_tokens(session, tokens, count, text, to->losses + s->offsets[i]);
        else must(wcoh_session_score(session, tokens, count, &one, &error), text, &error);
        nats += one;
        to->scored += count - 1;
    }
    wcoh_session_destroy(session);
    to->loss = nats / (double)to->scored;
}

static void score_windows(const request *r, const char *path, wcoh_model *model,
                          const wcoh_sequences *s, score *to)
{
    wcoh_eval_desc desc = r->windows;
    wcoh_error error;
    wcoh_result result;
    desc.losses = to->losses;
    desc.loss_count = s->offsets[s->count];
    result = s->count > 1
                 ? wcoh_model_evaluate_sequences(model, &desc, s, &to->loss, &to->scored, &error)
                 : wcoh_model_evaluate(model, &desc, s->tokens, s->offsets[1], &to->loss,
                                       &to->scored, &error);
    if (result == WCOH_E_ARGUMENT)
        fail(EXIT_USAGE, "%s%s%s", path == r->model ? "" : path, path == r->model ? "" : ": ",
             error.text);
    must(result, texts_named(r), &error);
}

/* Score the texts with the model that came from `path`; each: with the loss of each token. */
static score score_of(const request *r, const char *path, wcoh_model *model,
                      const wcoh_sequences *s, int each)
{
    score to;
    memset(&to, 0, sizeof to);
    if (each) to.losses = (wcoh_real *)memory_of(s->offsets[s->count], sizeof *to.losses);
    if (r->stream) score_streams(r, path, model, s, &to);
    else score_windows(r, path, model, s, &to);
    return to;
}

/* ---- against another model ------------------------------------------------------------------- */

/* 1 if the two make the same tokens of every text. */
static int tokenizers_are_same(const wcoh_tokenizer *a, const wcoh_tokenizer *b)
{
    size_t size_a, size_b;
    const char *json_a = wcoh_tokenizer_json(a, &size_a), *json_b = wcoh_tokenizer_json(b, &size_b);
    int vocab = wcoh_tokenizer_vocab(a), room = wcoh_tokenizer_longest(a), i, same = 1;
    char *bytes;
    if (wcoh_tokenizer_get_kind(a) != wcoh_tokenizer_get_kind(b) ||
        vocab != wcoh_tokenizer_vocab(b) || room != wcoh_tokenizer_longest(b) ||
        wcoh_tokenizer_start(a) != wcoh_tokenizer_start(b))
        return 0;
    if (json_a || json_b)
        return json_a && json_b && size_a == size_b && memcmp(json_a, json_b, size_a) == 0;
    bytes = (char *)memory_of(2, (size_t)room);
    for (i = 0; i < vocab && same; i++) {
        int length = wcoh_tokenizer_decode(a, (uint32_t)i, bytes, (size_t)room);
        same = length == wcoh_tokenizer_decode(b, (uint32_t)i, bytes + room, (size_t)room) &&
               memcmp(bytes, bytes + room, (size_t)length) == 0;
    }
    free(bytes);
    return same;
}

/* Load the other model; where windows have no length, they get one that both can hear. */
static wcoh_model *other_open(request *r, const wcoh_model *model)
{
    const wcoh_tokenizer *own = wcoh_model_tokenizer(model), *tokenizer;
    wcoh_model *other = NULL;
    wcoh_error error;
    int least = 64;
    must(wcoh_model_load_file(&other, r->against, NULL, &error), NULL, &error);
    tokenizer = wcoh_model_tokenizer(other);
    if (own && (!tokenizer || !tokenizers_are_same(own, tokenizer)))
        fail(EXIT_FAILED,
             "%s: its tokens are not those of %s: a token's losses are of different things",
             r->against, r->model);
    if (wcoh_model_get_desc(model)->context < least) least = wcoh_model_get_desc(model)->context;
    if (wcoh_model_get_desc(other)->context < least) least = wcoh_model_get_desc(other)->context;
    if (!r->windows.seq) r->windows.seq = least;
    return other;
}

/* Put those that are scored one behind the other, in place; returns how many. */
static size_t losses_pack(wcoh_real *losses, size_t count)
{
    size_t i, kept = 0;
    for (i = 0; i < count; i++)
        if (losses[i] != -1) losses[kept++] = losses[i];
    return kept;
}

/* "against other loss 1.733021 difference -0.004509 +- 0.002100 (95 %, of 16 blocks of 6968 tokens)";
   the losses [count] are packed for it. */
static void difference_line(const request *r, const score *own, const score *other, size_t count)
{
    size_t packed = losses_pack(own->losses, count);
    int blocks = losses_blocks(packed);
    double *room = (double *)memory_of(4 * (size_t)blocks, sizeof *room);
    stat_difference d;
    stat_sums a, b;
    losses_pack(other->losses, count);
    losses_sum(own->losses, packed, room, room + blocks);
    losses_sum(other->losses, packed, room + 2 * blocks, room + 3 * blocks);
    a.sums = room;
    a.counts = room + blocks;
    b.sums = room + 2 * blocks;
    b.counts = room + 3 * blocks;
    d = stat_paired_blocks(a, b, blocks, 0.95);
    printf("against %s loss %.6f difference %+.6f +- %.6f (95 %%, of %d blocks of %lu tokens)\n",
           text_shown(r->against), other->loss, d.mean, d.reach, d.count,
           (unsigned long)(packed / (size_t)blocks));
    free(room);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* A text that grows: its room doubles. */
typedef struct growing {
    char *text;
    size_t used, room;
} growing;

static void growing_add(growing *all, const char *line)
{
    size_t size = strlen(line);
    if (all->room - all->used <= size) {
        all->room = 2 * all->room + 4096;
        all->text = (char *)realloc(all->text, all->room);
        if (!all->text) fail(EXIT_FAILED, "not enough memory");
    }
    memcpy(all->text + all->used, line, size);
    all->used += size;
}

/* A row a token that is scored: number of its text and place in it, symbol, losses. */
static void losses_write(const request *r, const wcoh_sequences *s, const score *own,
                         const score *other)
{
    growing all;
    char line[128];
    size_t text, i;
    memset(&all, 0, sizeof all);
    growing_add(&all, other ? "text,place,symbol,loss,against\n" : "text,place,symbol,loss\n");
    for (text = 0; text < s->count; text++)
        for (i = s->offsets[text]; i < s->offsets[text + 1]; i++) {
            if (own->losses[i] == -1) continue;
            sprintf(line, "%lu,%lu,%lu,%.9g", (unsigned long)text + 1,
                    (unsigned long)(i - s->offsets[text]), (unsigned long)s->tokens[i],
                    (double)own->losses[i]);
            if (other) sprintf(line + strlen(line), ",%.9g", (double)other->losses[i]);
            growing_add(&all, line);
            growing_add(&all, "\n");
        }
    file_save(r->losses, all.text, all.used);
    free(all.text);
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
    double other;
    must(wcoh_model_save_as_file(model, type, r->out, &error), NULL, &error);
    must(wcoh_model_load_file(&smaller, r->out, NULL, &error), NULL, &error);
    other = score_of(r, r->out, smaller, s, 0).loss;
    printf("wrote %s bytes %lu of %lu loss %.6f difference %+.6f\n", r->out,
           (unsigned long)wcoh_model_size_as(model, type),
           (unsigned long)wcoh_model_file_size(model), other, other - loss);
    wcoh_model_destroy(smaller);
}

int main(int argc, char **argv)
{
    request r;
    wcoh_model *model = NULL, *other = NULL;
    wcoh_error error;
    texts all;
    wcoh_sequences sequences;
    score own, others;
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
    if (r.against) other = other_open(&r, model);
    for (i = 0; i < r.file_count; i++) read_range(&r, model, r.files[i], &all);
    sequences = texts_sequences(&all);
    memset(&others, 0, sizeof others);
    own = score_of(&r, r.model, model, &sequences, r.against || r.losses);
    if (other && losses_blocks(own.scored) < 2)
        fail(EXIT_FAILED, "%s: %lu tokens are scored: an interval takes two blocks of %d",
             texts_named(&r), (unsigned long)own.scored, (int)LOSS_BLOCK);
    if (other) others = score_of(&r, r.against, other, &sequences, 1);
    printf("loss %.6f tokens %lu\n", own.loss, (unsigned long)own.scored);
    if (r.losses) losses_write(&r, &sequences, &own, other ? &others : NULL);
    if (other) difference_line(&r, &own, &others, texts_size(&all));
    if (r.out) write_smaller(&r, model, &sequences, own.loss);
    free(own.losses);
    free(others.losses);
    wcoh_model_destroy(other);
    texts_free(&all);
    wcoh_model_destroy(model);
    device_close(r.windows.device);
    stdout_check();
    return 0;
}
