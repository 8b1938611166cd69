/* Fuzzer of what the server reads: HTTP, JSON, the fields of requests, chat templates.
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_chat -o fuzz tests/fuzz_requests.c -lm -lpthread
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_prompt -o fuzz tests/fuzz_requests.c -lm -lpthread
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_tokens -o fuzz tests/fuzz_requests.c -lm -lpthread
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_template -o fuzz tests/fuzz_requests.c -lm -lpthread
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_http -o fuzz tests/fuzz_requests.c -lm -lpthread
   ./fuzz -max_len=4000 -max_total_time=60
   Without -DFUZZ: cc -o once tests/fuzz_requests.c -lm -lpthread && ./once -t 60 chat (or FILE ..)
   `once -models FOLDER` trains the small models that tests/test_server.py serves. */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "fuzz.h"

#include "../examples/common.h"
#include "../examples/json.h"
#include "../examples/requests.h"
#include "../examples/http.h"

enum { ROOM = 8192, KINDS = 4 };
static const char alphabet[] =
    "\n "
    "!\"',-.:;?abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\303\251\342\202\254";

enum { TOKEN_MOST = 600 }; /* bytes of a token: more than any buffer that somebody guessed */

/* Subwords of a text; behind them a control token and one that is long. */
static wcoh_tokenizer *subwords_made(const char *text, size_t size)
{
    static const char list[] = "\"added_tokens\":[";
    wcoh_tokenizer_desc desc;
    wcoh_tokenizer *tokenizer;
    const char *json, *at;
    char *more, word[TOKEN_MOST + 1];
    memset(&desc, 0, sizeof desc);
    desc.kind = WCOH_TOKENIZER_SUBWORDS;
    desc.vocab = 280;
    REQUIRE(!wcoh_tokenizer_create(&tokenizer, &desc, text, size, NULL));
    json = wcoh_tokenizer_json(tokenizer, &size);
    at = strstr(json, list);
    REQUIRE(at && at[sizeof list - 1] == ']');
    memset(word, 'x', TOKEN_MOST);
    word[TOKEN_MOST] = 0;
    more = text_made("%.*s{\"id\":%d,\"content\":\"<|end|>\",\"special\":true},"
                     "{\"id\":%d,\"content\":\"%s\",\"special\":false}%s",
                     (int)(at - json) + (int)sizeof list - 1, json, wcoh_tokenizer_vocab(tokenizer),
                     wcoh_tokenizer_vocab(tokenizer) + 1, word, at + sizeof list - 1);
    wcoh_tokenizer_destroy(tokenizer);
    REQUIRE(!wcoh_tokenizer_create_json(&tokenizer, more, strlen(more), NULL, NULL));
    return tokenizer;
}

static wcoh_tokenizer *tokenizer_made(int kind, const char *text, size_t size)
{
    wcoh_tokenizer_desc desc;
    wcoh_tokenizer *tokenizer;
    if (kind == WCOH_TOKENIZER_SUBWORDS) return subwords_made(text, size);
    memset(&desc, 0, sizeof desc);
    desc.kind = (wcoh_tokenizer_kind)kind;
    desc.start = kind == 2;
    REQUIRE(!wcoh_tokenizer_create(&tokenizer, &desc, text, size, NULL));
    return tokenizer;
}

static void rules_make(ask_rules *rules, int kind)
{
    static wcoh_tokenizer *tokenizers[KINDS];
    memset(rules, 0, sizeof *rules);
    if (!tokenizers[kind]) tokenizers[kind] = tokenizer_made(kind, alphabet, sizeof alphabet - 1);
    rules->tokenizer = tokenizers[kind];
    rules->vocab = wcoh_tokenizer_vocab(rules->tokenizer);
    rules->unknown = kind == 1 ? UNKNOWN_REPLACE : UNKNOWN_REFUSE;
    rules->width = 128;
    rules->tokens = 256;
    rules->tokens_most = 4096;
    rules->replies_most = 16;
    rules->positions = kind == 0 ? 512 : 0;
    rules->sample.temperature = 0.8;
    REQUIRE(!template_read(&rules->chat, CHAT_PLAIN, strlen(CHAT_PLAIN)));
}

/* Whatever comes: a request that keeps its promises, or a refusal that is JSON. */
static void use_request(int on, const uint8_t *data, size_t size)
{
    static char body[ROOM + 1];
    ask_rules rules;
    refusal r;
    ask a;
    size_t i, k;
    if (size > ROOM) return;
    rules_make(&rules, (int)(size % KINDS));
    memcpy(body, data, size);
    if (ask_read(&a, &rules, on, body, size, &r)) {
        REQUIRE(r.status == 0 && a.prompts >= 1 && a.n >= 1);
        REQUIRE((int64_t)a.prompts * a.n <= rules.replies_most);
        REQUIRE(a.tokens >= 0 && a.tokens <= rules.tokens_most && a.top <= TOP_MOST);
        REQUIRE(wcoh_sample_desc_check(&a.sample, rules.vocab, NULL) == WCOH_OK);
        for (i = 0; i < a.prompts; i++) REQUIRE(a.ends[i] > (i ? a.ends[i - 1] : 0));
        for (k = 0; k < a.ends[a.prompts - 1]; k++) REQUIRE(a.tokens_in[k] < (uint32_t)rules.vocab);
        for (i = 0; i < (size_t)a.stop_count; i++) REQUIRE(a.stop_size[i] > 0);
    } else {
        buffer out;
        json_tree tree;
        memset(&out, 0, sizeof out);
        refusal_write(&out, &r);
        REQUIRE(r.status >= 400 && *r.text && !out.broken && buffer_room(&out, 1));
        REQUIRE(!json_open(&tree, out.text, out.size, NULL));
        json_close(&tree);
        buffer_free(&out);
    }
    ask_free(&a);
}

static void use_chat(const uint8_t *data, size_t size) { use_request(ON_CHAT, data, size); }
static void use_prompt(const uint8_t *data, size_t size)
{
    use_request(size % 5 ? ON_TEXT : ON_EMBED, data, size);
}

/* Texts and tokens: whatever comes, JSON goes. */
static void use_tokens(const uint8_t *data, size_t size)
{
    static char body[ROOM + 1];
    ask_rules rules;
    int way, well;
    if (size > ROOM) return;
    rules_make(&rules, (int)(size % KINDS));
    for (way = 0; way < 2; way++) {
        buffer out;
        json_tree tree;
        refusal r;
        memset(&out, 0, sizeof out);
        memcpy(body, data, size);
        well = way ? tokenize_read(&rules, body, size, &out, &r)
                   : detokenize_read(&rules, body, size, &out, &r);
        REQUIRE(well ? r.status == 0 : r.status >= 400);
        REQUIRE(!out.broken && buffer_room(&out, 1));
        if (well) REQUIRE(!json_open(&tree, out.text, out.size, NULL));
        if (well) json_close(&tree);
        buffer_free(&out);
    }
}

static void use_template(const uint8_t *data, size_t size)
{
    chat_template t;
    buffer out;
    size_t all;
    int i;
    if (size > ROOM || template_read(&t, (const char *)data, size)) return;
    memset(&out, 0, sizeof out);
    template_message(&t, &out, "user", 4, "hello", 5);
    REQUIRE(out.size >= 5);
    all = t.before_size + t.each_size + t.reply_size;
    for (i = 0; i < t.stop_count; i++) {
        REQUIRE(t.stop_sizes[i] > 0);
        all += t.stop_sizes[i];
    }
    REQUIRE(all <= size);
    buffer_free(&out);
}

/* In pieces of `step` bytes. */
static void http_fed(http_reader *h, const uint8_t *data, size_t size, size_t step)
{
    size_t at;
    memset(h, 0, sizeof *h);
    for (at = 0; at < size; at += step)
        http_read(h, (const char *)data + at, step < size - at ? step : size - at);
    REQUIRE(!h->in.broken && !h->pass.broken);
}

/* However it is cut, the same comes out; and what came out is HTTP, which comes out as it is. */
static void use_http(const uint8_t *data, size_t size)
{
    http_reader whole, parts, again;
    http_fed(&whole, data, size, size ? size : 1);
    http_fed(&parts, data, size, 1 + size % 7);
    REQUIRE(whole.refusal.status == parts.refusal.status && whole.phase == parts.phase);
    REQUIRE(whole.pass.size == parts.pass.size && whole.in.size == parts.in.size);
    REQUIRE(!whole.pass.size || !memcmp(whole.pass.text, parts.pass.text, whole.pass.size));
    REQUIRE(whole.in.size < HEAD_MOST && (!whole.refusal.status || *whole.refusal.text));
    http_fed(&again, (const uint8_t *)whole.pass.text, whole.pass.size, size ? size : 1);
    REQUIRE(!again.refusal.status && again.pass.size == whole.pass.size);
    REQUIRE(!whole.pass.size || !memcmp(whole.pass.text, again.pass.text, whole.pass.size));
    http_free(&whole);
    http_free(&parts);
    http_free(&again);
}

enum { TARGETS = 5 };
FUZZ_UNUSED static const fuzz_target targets[TARGETS] = {{"chat", use_chat},
                                                         {"prompt", use_prompt},
                                                         {"tokens", use_tokens},
                                                         {"template", use_template},
                                                         {"http", use_http}};

/* ---- models to serve ------------------------------------------------------------------------- */

static const char song[] =
    "user: what does the moon do\nassistant: the moon pulls the tide\n"
    "user: what does the tide do\nassistant: the tide pulls the sand\n"
    "system: sing\nuser: \303\251t\303\251 costs 5 \342\202\254 \360\237\214\212\nassistant: and "
    "the sand keeps the waves, "
    "that the wind wrote by hand; \303\251t\303\251, \342\202\254 and \360\237\214\212!\n";

/* A model of the song and its tokenizer in FOLDER/NAME.safetensors. */
FUZZ_UNUSED static void model_make(const char *folder, const char *name, int kind, int layers,
                                   int positions, int steps)
{
    wcoh_model_desc desc;
    wcoh_trainer_desc training;
    wcoh_model *model;
    wcoh_trainer *trainer;
    wcoh_error error;
    uint32_t tokens[sizeof song];
    size_t count;
    char path[1000];
    memset(&desc, 0, sizeof desc);
    memset(&training, 0, sizeof training);
    desc.tokenizer = tokenizer_made(kind, song, sizeof song - 1);
    must(wcoh_tokenizer_encode(desc.tokenizer, song, sizeof song - 1, tokens, sizeof song, &count,
                               &error),
         NULL, &error);
    desc.vocab = wcoh_tokenizer_vocab(desc.tokenizer);
    desc.bands = 16, desc.layers = layers, desc.heads = 4, desc.maestro = 4;
    if (positions) desc.position = WCOH_POSITION_LEARNED, desc.context = positions;
    training.batch = 4, training.seq = 32, training.steps = steps, training.warmup = 5;
    training.cpu.threads = 1;
    training.lr = 0.01;
    must(wcoh_model_create(&model, &desc, &error), name, &error);
    must(wcoh_trainer_create(&trainer, model, &training, &error), name, &error);
    must(wcoh_trainer_set_data(trainer, tokens, count, NULL, 0, &error), name, &error);
    must(wcoh_trainer_run(trainer, 1e6, NULL, &error), name, &error);
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    must(wcoh_model_save_file(model, path, &error), NULL, &error);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    wcoh_tokenizer_destroy((wcoh_tokenizer *)(size_t)desc.tokenizer);
}

/* One that is not trained, in FOLDER/NAME.safetensors. */
FUZZ_UNUSED static void model_bare(const char *folder, const char *name, wcoh_tokenizer *tokenizer)
{
    wcoh_model_desc desc;
    wcoh_model *model;
    wcoh_error error;
    char path[1000];
    memset(&desc, 0, sizeof desc);
    desc.tokenizer = tokenizer;
    desc.vocab = wcoh_tokenizer_vocab(tokenizer);
    desc.bands = 8, desc.layers = 1, desc.heads = 2, desc.maestro = 2;
    must(wcoh_model_create(&model, &desc, &error), name, &error);
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    must(wcoh_model_save_file(model, path, &error), NULL, &error);
    wcoh_model_destroy(model);
    wcoh_tokenizer_destroy(tokenizer);
}

/* Four letters; and subwords without bytes, of which z becomes ten letters and t h e join. */
FUZZ_UNUSED static void models_bare(const char *folder)
{
    static const char json[] =
        "{\"added_tokens\":[],\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"z\"},"
        "\"content\":\"eeeeeeeeee\"},\"pre_tokenizer\":null,\"post_processor\":null,"
        "\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\",\"merges\":[[\"t\",\"h\"],"
        "[\"th\",\"e\"]],\"vocab\":{\" \":0,\"t\":1,\"h\":2,\"e\":3,\"th\":4,\"the\":5}}}";
    wcoh_tokenizer *tokenizer;
    wcoh_error error;
    must(wcoh_tokenizer_create_chars(&tokenizer, "tone", 4, NULL, &error), "few", &error);
    model_bare(folder, "few", tokenizer);
    must(wcoh_tokenizer_create_json(&tokenizer, json, sizeof json - 1, NULL, &error), "joins",
         &error);
    model_bare(folder, "joins", tokenizer);
}

#ifndef FUZZ
int main(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "-models")) return fuzz_main(targets, TARGETS, argc, argv);
    model_make(argv[2], "chars", 1, 2, 0, 150);
    model_make(argv[2], "bytes", 0, 2, 0, 20);
    model_make(argv[2], "short", 2, 1, 64, 20);
    model_make(argv[2], "subwords", 3, 1, 0, 20);
    models_bare(argv[2]);
    return 0;
}
#endif
