/* What a request of the server says: fields of /v1/chat/completions, /v1/completions, /v1/embeddings
   and /tokenize, checked and turned into tokens and settings, and the chat template. Untrusted input throughout: each fault is
   a sentence with the status, code and param that the OpenAI API has. Include it after json.h and
   common.h; nothing here prints, ends the program or outlives the request.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_REQUESTS_H
#define WAVECOH_EXAMPLES_REQUESTS_H

#include "json.h"

/* ---- a request that is refused --------------------------------------------------------------- */

/* status 0: it is not. Constant strings but for the text and param. */
typedef struct refusal {
    int status;
    const char *type, *code;
    char param[64]; /* the field to blame, or "" */
    char text[400];
} refusal;

COMMON_USED(__format__(__printf__, 5, 6))
static int refuse(refusal *r, int status, const char *code, const char *param, const char *format,
                  ...)
{
    va_list arguments;
    r->status = status;
    r->type = status == 401   ? "authentication_error"
              : status == 429 ? "rate_limit_error"
              : status == 500 ? "server_error"
              : status == 503 ? "unavailable_error"
                              : "invalid_request_error";
    r->code = code;
    snprintf(r->param, sizeof r->param, "%s", param ? param : "");
    va_start(arguments, format);
    vsnprintf(r->text, sizeof r->text, format, arguments);
    va_end(arguments);
    return 0;
}

static void refusal_write(buffer *out, const refusal *r)
{
    buffer_text(out, "{\"error\":{\"message\":");
    buffer_json_text(out, r->text);
    buffer_print(out, ",\"type\":\"%s\",\"param\":", r->type);
    if (*r->param) buffer_json_text(out, r->param);
    else buffer_text(out, "null");
    buffer_print(out, ",\"code\":\"%s\"}}", r->code);
}

/* ---- the chat template ----------------------------------------------------------------------- */

/* A file of text with marks in braces:
       what stands before all messages {messages} each, with {role} and {content} {reply} what the
       model goes on from {stop} a text at which a reply ends {stop} another one
   Nothing is added or taken away, ends of lines least of all. All other braces are text. */
typedef struct chat_template {
    const char *before, *each, *reply;
    size_t before_size, each_size, reply_size;
    const char *stops[4];
    size_t stop_sizes[4];
    int stop_count;
} chat_template;

#define CHAT_PLAIN "{messages}{role}: {content}\n{reply}assistant: {stop}\nuser:{stop}\nsystem:"
/* Subwords have the blank before a word in their tokens: it is the reply's, and goes from its text. */
#define CHAT_SUBWORDS "{messages}{role}: {content}\n{reply}assistant:{stop}\nuser:{stop}\nsystem:"

/* The mark in text [*size], or NULL; what stands before it is left in *size. */
static const char *template_cut(const char *text, size_t *size, const char *mark)
{
    size_t length = strlen(mark), at;
    for (at = 0; at + length <= *size; at++)
        if (memcmp(text + at, mark, length) == 0) {
            *size = at;
            return text + at + length;
        }
    return NULL;
}

/* Read one; returns NULL, or what is wrong with it. The text must outlive it. */
static const char *template_read(chat_template *t, const char *text, size_t size)
{
    const char *end = text + size, *stop;
    memset(t, 0, sizeof *t);
    t->before = text;
    t->before_size = size;
    t->each = template_cut(text, &t->before_size, "{messages}");
    if (!t->each) return "{messages} is missing";
    t->each_size = (size_t)(end - t->each);
    t->reply = template_cut(t->each, &t->each_size, "{reply}");
    if (!t->reply) return "{reply} is missing behind {messages}";
    size = t->each_size;
    if (!template_cut(t->each, &size, "{content}"))
        return "{content} is missing between {messages} and {reply}";
    t->reply_size = (size_t)(end - t->reply);
    stop = template_cut(t->reply, &t->reply_size, "{stop}");
    for (; stop; t->stop_count++) {
        const char *next;
        if (t->stop_count == 4) return "more than four {stop}";
        size = (size_t)(end - stop);
        next = template_cut(stop, &size, "{stop}");
        if (size == 0) return "nothing stands behind {stop}";
        t->stops[t->stop_count] = stop;
        t->stop_sizes[t->stop_count] = size;
        stop = next;
    }
    return NULL;
}

/* One message, in the place of {role} and {content}. */
static void template_message(const chat_template *t, buffer *out, const char *role,
                             size_t role_size, const char *content, size_t content_size)
{
    size_t at = 0;
    while (at < t->each_size) {
        size_t left = t->each_size - at;
        const char *from = t->each + at;
        if (left >= 6 && memcmp(from, "{role}", 6) == 0) {
            buffer_put(out, role, role_size);
            at += 6;
        } else if (left >= 9 && memcmp(from, "{content}", 9) == 0) {
            buffer_put(out, content, content_size);
            at += 9;
        } else {
            buffer_put(out, from, 1);
            at++;
        }
    }
}

/* ---- what is asked --------------------------------------------------------------------------- */

enum { STOPS = 4, STOP_LONGEST = 1000, TOP_MOST = 20, REPLIES_MOST = 128 };

/* What the server is: a request is read by these. */
typedef struct ask_rules {
    const wcoh_tokenizer *tokenizer;
    chat_template chat;
    int trims;               /* a chat's reply begins with a blank that nobody is shown */
    wcoh_sample_desc sample; /* where a request says nothing */
    uint32_t first;          /* what an empty prompt begins with */
    int vocab, width, unknown;
    int64_t tokens, tokens_most; /* of a reply: unless told, and the most */
    int64_t replies_most;        /* of one request */
    int64_t positions;           /* learned ones; 0: no end */
} ask_rules;

enum { ON_CHAT = 1, ON_TEXT = 2, ON_EMBED = 4, ON_REPLY = 3, ON_ALL = 7 }; /* the routes */

typedef struct ask {
    int on; /* one of them */
    int chat, stream, stream_usage, echo, logprobs, cached;
    int base64, last; /* embeddings: how they are written, and of what */
    int64_t top, n, tokens, top_k, seed, window;
    int seeded;
    double temperature, top_p, min_p, repetition, presence, frequency;
    wcoh_logit_bias *bias;
    int bias_count;
    char *stop[2 * STOPS]; /* kept in one block, `stop_block` */
    size_t stop_size[2 * STOPS];
    int stop_count;
    char *stop_block;
    wcoh_sample_desc sample; /* made of the above */
    uint32_t *tokens_in;     /* of all prompts, one behind the other */
    size_t *ends;            /* [prompts] where each of them ends */
    size_t prompts, tokens_room;
} ask;

static void ask_free(ask *a)
{
    free(a->bias);
    free(a->stop_block);
    free(a->tokens_in);
    free(a->ends);
    memset(a, 0, sizeof *a);
}

/* A request at hand: its tree, where it goes, and what is wrong with it. */
typedef struct asking {
    const ask_rules *rules;
    json_tree tree;
    ask *ask;
    refusal *refusal;
    int bare; /* tokens are all that is wanted: nobody hears them */
} asking;

/* The value as the client wrote it, for a sentence; at most 40 bytes, on one line. */
static const char *asking_shown(const asking *in, const json_node *node, char text[48])
{
    size_t size = node->text.size < 40 ? node->text.size : 40;
    if (node->kind != JSON_NUMBER && node->kind != JSON_STRING) return json_kind_names[node->kind];
    memcpy(text, json_text(&in->tree, node), size);
    size = text_whole(text, size);
    text[size] = 0;
    return text;
}

static int refuse_type(const asking *in, const json_node *node, const char *param,
                       const char *needed)
{
    return refuse(in->refusal, 400, "invalid_type", param, "%s is %s: %s is needed", param,
                  json_kind_names[node->kind], needed);
}

static int refuse_memory(const asking *in)
{
    return refuse(in->refusal, 503, "no_memory", NULL, "no memory for the request");
}

/* ---- fields that are numbers or booleans ----------------------------------------------------- */

typedef enum asked_kind { ASKED_FLAG, ASKED_WHOLE, ASKED_REAL, ASKED_TEXT } asked_kind;
/* A field of a request: where it goes, and what is allowed. */
typedef struct asked {
    const char *name;
    asked_kind kind;
    int routes;
    size_t
        offset; /* in ask: int, int64_t or double; of no use for texts, which are looked at only */
    double low, high;
} asked;

static const asked asked_fields[] = {
#define AT(member) offsetof(ask, member)
    {"model", ASKED_TEXT, ON_ALL, 0, 0, 0},
    {"user", ASKED_TEXT, ON_ALL, 0, 0, 0},
    {"cache_prompt", ASKED_FLAG, ON_REPLY, AT(cached), 0, 0},
    {"stream", ASKED_FLAG, ON_REPLY, AT(stream), 0, 0},
    {"echo", ASKED_FLAG, ON_TEXT, AT(echo), 0, 0},
    {"n", ASKED_WHOLE, ON_REPLY, AT(n), 1, REPLIES_MOST},
    {"seed", ASKED_WHOLE, ON_REPLY, AT(seed), -9223372036854775808.0, 9223372036854775807.0},
    {"max_tokens", ASKED_WHOLE, ON_REPLY, AT(tokens), 0, 0},
    {"max_completion_tokens", ASKED_WHOLE, ON_REPLY, AT(tokens), 0, 0},
    {"temperature", ASKED_REAL, ON_REPLY, AT(temperature), 0, 1000},
    {"top_p", ASKED_REAL, ON_REPLY, AT(top_p), 0, 1},
    {"min_p", ASKED_REAL, ON_REPLY, AT(min_p), 0, 1},
    {"top_k", ASKED_WHOLE, ON_REPLY, AT(top_k), -1, 1e15},
    {"repetition_penalty", ASKED_REAL, ON_REPLY, AT(repetition), 0.01, 100},
    {"repetition_window", ASKED_WHOLE, ON_REPLY, AT(window), 1, 1024},
    {"presence_penalty", ASKED_REAL, ON_REPLY, AT(presence), -2, 2},
    {"frequency_penalty", ASKED_REAL, ON_REPLY, AT(frequency), -2, 2},
    {"logprobs", ASKED_FLAG, ON_CHAT, AT(logprobs), 0, 0},
    {"top_logprobs", ASKED_WHOLE, ON_CHAT, AT(top), 0, TOP_MOST},
    {"logprobs", ASKED_WHOLE, ON_TEXT, AT(top), 0, TOP_MOST},
#undef AT
};

/* The most that a field may be; of tokens that is an option of the server. */
static double asked_most(const asking *in, const asked *field)
{
    int tokens = field->kind == ASKED_WHOLE && field->offset == offsetof(ask, tokens);
    return tokens ? (double)in->rules->tokens_most : field->high;
}

static int refuse_range(const asking *in, const asked *field, const json_node *node)
{
    char shown[48];
    return refuse(
        in->refusal, 400, "invalid_value", field->name, "%s is %s: allowed are %s%.17g to %.17g",
        field->name, asking_shown(in, node, shown),
        field->kind == ASKED_WHOLE ? "whole numbers from " : "", field->low, asked_most(in, field));
}

/* One field from its node; 0 if it is refused. */
static int asked_take(asking *in, const asked *field, const json_node *node)
{
    char *target = (char *)in->ask + field->offset;
    double real = 0;
    int64_t whole = 0;
    switch (field->kind) {
    case ASKED_TEXT:
        if (node->kind != JSON_STRING) return refuse_type(in, node, field->name, "a string");
        return 1;
    case ASKED_FLAG:
        if (node->kind != JSON_TRUE && node->kind != JSON_FALSE)
            return refuse_type(in, node, field->name, "a boolean");
        *(int *)(void *)target = node->kind == JSON_TRUE;
        return 1;
    case ASKED_WHOLE:
        if (node->kind != JSON_NUMBER) return refuse_type(in, node, field->name, "a whole number");
        if (!json_whole(&in->tree, node, &whole) || (double)whole < field->low ||
            (double)whole > asked_most(in, field))
            return refuse_range(in, field, node);
        *(int64_t *)(void *)target = whole;
        return 1;
    default:
        if (node->kind != JSON_NUMBER) return refuse_type(in, node, field->name, "a number");
        if (!json_number(&in->tree, node, &real) || real < field->low || real > field->high)
            return refuse_range(in, field, node);
        *(double *)(void *)target = real;
        return 1;
    }
}

/* All of them; null is as good as nothing. */
static int ask_numbers(asking *in)
{
    size_t i;
    for (i = 0; i < sizeof asked_fields / sizeof *asked_fields; i++) {
        const asked *field = &asked_fields[i];
        const json_node *node;
        if (!(field->routes & in->ask->on)) continue;
        node = json_member(&in->tree, in->tree.nodes, field->name);
        if (!node || node->kind == JSON_NULL) continue;
        if (!asked_take(in, field, node)) return 0;
        if (strcmp(field->name, "seed") == 0) in->ask->seeded = 1;
        if (in->ask->on == ON_TEXT && strcmp(field->name, "logprobs") == 0) in->ask->logprobs = 1;
    }
    return 1;
}

/* Fields that would change the answer and are not done here, each with the words that leave it as it is
   (or NULL); null, false, "" and [] do so too. */
static const struct {
    const char *name, *plain, *about;
} asked_not[] = {
    {"tools", NULL, "this model calls none"},
    {"functions", NULL, "this model calls none"},
    {"tool_choice", "none auto", "this model calls no tools"},
    {"function_call", "none auto", "this model calls no functions"},
    {"modalities", "text", "this server writes text alone"},
    {"audio", NULL, "this server writes text alone"},
    {"web_search_options", NULL, "this server searches nothing"},
    {"grammar", NULL, "this server follows none"},
    {"json_schema", NULL, "this server writes text alone"},
};

/* 1 if the value asks for nothing: also a word of `plain`, and a list of such. */
static int asked_nothing(const json_tree *tree, const json_node *node, const char *plain)
{
    const json_node *one;
    char word[16];
    if (node->kind == JSON_STRING && node->text.size > 0) {
        if (!plain || node->text.size >= sizeof word) return 0;
        memcpy(word, json_text(tree, node), node->text.size);
        word[node->text.size] = 0;
        return strlen(word) == node->text.size && word_stands(plain, word);
    }
    for (one = json_first(tree, node); one; one = json_next(tree, one))
        if (node->kind != JSON_LIST || !plain || !asked_nothing(tree, one, plain)) return 0;
    return node->kind != JSON_NUMBER && node->kind != JSON_TRUE && node->kind != JSON_OBJECT;
}

static int ask_nothing_else(asking *in)
{
    const json_tree *tree = &in->tree;
    size_t i;
    for (i = 0; i < sizeof asked_not / sizeof *asked_not; i++) {
        const json_node *node = json_member(tree, tree->nodes, asked_not[i].name);
        if (node && !asked_nothing(tree, node, asked_not[i].plain))
            return refuse(in->refusal, 400, "unsupported_value", asked_not[i].name, "%s: %s",
                          asked_not[i].name, asked_not[i].about);
    }
    return 1;
}

/* What is not done here and would change the answer is refused, not passed over. */
static int ask_unsupported(asking *in)
{
    const json_tree *tree = &in->tree;
    const json_node *format = json_member(tree, tree->nodes, "response_format");
    const json_node *kind = json_member(tree, format, "type");
    const json_node *suffix = json_member(tree, tree->nodes, "suffix");
    const json_node *best = json_member(tree, tree->nodes, "best_of");
    const json_node *echo = json_member(tree, tree->nodes, "echo");
    int64_t of = 0;
    if (!ask_nothing_else(in)) return 0;
    if (format && format->kind != JSON_NULL && !json_is(tree, kind, "text"))
        return refuse(in->refusal, 400, "unsupported_value", "response_format",
                      "response_format: this server writes text alone");
    if (in->ask->chat && echo && echo->kind == JSON_TRUE)
        return refuse(in->refusal, 400, "unsupported_value", "echo",
                      "echo: of completions alone, a chat is not said again");
    if (suffix && suffix->kind != JSON_NULL && !json_is(tree, suffix, ""))
        return refuse(in->refusal, 400, "unsupported_value", "suffix",
                      "suffix: this model writes forwards alone");
    if (best && best->kind != JSON_NULL &&
        (!json_whole(tree, best, &of) || of != (in->ask->n > 0 ? in->ask->n : 1)))
        return refuse(in->refusal, 400, "unsupported_value", "best_of",
                      "best_of: only as many as n are made");
    if (in->ask->echo && in->ask->logprobs)
        return refuse(in->refusal, 400, "unsupported_value", "logprobs",
                      "logprobs: not of a prompt, so not together with echo");
    return 1;
}

static int ask_stream(asking *in)
{
    const json_node *options = json_member(&in->tree, in->tree.nodes, "stream_options");
    const json_node *usage = json_member(&in->tree, options, "include_usage");
    if (!options || options->kind == JSON_NULL) return 1;
    if (options->kind != JSON_OBJECT)
        return refuse_type(in, options, "stream_options", "an object");
    if (!in->ask->stream)
        return refuse(in->refusal, 400, "invalid_value", "stream_options",
                      "stream_options: allowed with stream alone");
    if (!usage || usage->kind == JSON_NULL) return 1;
    if (usage->kind != JSON_TRUE && usage->kind != JSON_FALSE)
        return refuse_type(in, usage, "stream_options.include_usage", "a boolean");
    in->ask->stream_usage = usage->kind == JSON_TRUE;
    return 1;
}

/* ---- stop strings ---------------------------------------------------------------------------- */

static int ask_stop_one(asking *in, const json_node *node, size_t *used)
{
    ask *a = in->ask;
    char *kept = a->stop_block + *used;
    size_t size = node->text.size, plain;
    if (node->kind != JSON_STRING) return refuse_type(in, node, "stop", "a string");
    if (node->text.size == 0)
        return refuse(in->refusal, 400, "invalid_value", "stop", "stop is an empty string");
    if (node->text.size > STOP_LONGEST)
        return refuse(in->refusal, 400, "invalid_value", "stop",
                      "stop has a string of %lu bytes: allowed are %d",
                      (unsigned long)node->text.size, STOP_LONGEST);
    memcpy(kept, json_text(&in->tree, node), size);
    plain =
        text_plain_for(in->rules->tokenizer, kept, size); /* ends of lines as the model has them */
    a->stop[a->stop_count] = kept;
    a->stop_size[a->stop_count++] = plain ? plain : size;
    *used += size;
    return 1;
}

/* Those of the request, and of a chat those of its template. */
static int ask_stops(asking *in)
{
    const json_node *stop = json_member(&in->tree, in->tree.nodes, "stop"), *one;
    const chat_template *chat = &in->rules->chat;
    size_t used = 0;
    int i, list = stop && stop->kind == JSON_LIST;
    in->ask->stop_block = (char *)malloc(in->tree.json.size + 1);
    if (!in->ask->stop_block) return refuse_memory(in);
    for (i = 0; in->ask->chat && i < chat->stop_count; i++) {
        in->ask->stop[in->ask->stop_count] = (char *)(size_t)chat->stops[i];
        in->ask->stop_size[in->ask->stop_count++] = chat->stop_sizes[i];
    }
    if (!stop || stop->kind == JSON_NULL) return 1;
    if (stop->kind == JSON_STRING) return ask_stop_one(in, stop, &used);
    if (!list) return refuse_type(in, stop, "stop", "a string or a list of them");
    if (stop->count > STOPS)
        return refuse(in->refusal, 400, "invalid_value", "stop",
                      "stop has %lu strings: allowed are %d", (unsigned long)stop->count, STOPS);
    for (one = json_first(&in->tree, stop); one; one = json_next(&in->tree, one))
        if (!ask_stop_one(in, one, &used)) return 0;
    return 1;
}

/* ---- logit_bias ------------------------------------------------------------------------------ */

/* {"17": -100}: a token and what is added to its logit; -100 or less bans it. Of a token that is named
   twice the last one counts: `places` [vocab] is where it stands in the list, from 1. */
static int ask_bias_one(asking *in, const json_node *node, int *places)
{
    const char *name = in->tree.json.text + node->key.at;
    uint64_t token;
    double value;
    wcoh_logit_bias *bias;
    if (!wcohi_parse_u64(name, &token) || token >= (uint64_t)in->rules->vocab)
        return refuse(in->refusal, 400, "invalid_value", "logit_bias",
                      "logit_bias names the token \"%.40s\": allowed are 0 to %d", name,
                      in->rules->vocab - 1);
    if (node->kind != JSON_NUMBER) return refuse_type(in, node, "logit_bias", "a number");
    if (!json_number(&in->tree, node, &value) || value < -100 || value > 100)
        return refuse(in->refusal, 400, "invalid_value", "logit_bias",
                      "logit_bias of token %.40s: allowed are -100 to 100", name);
    if (!places[token]) places[token] = ++in->ask->bias_count;
    bias = &in->ask->bias[places[token] - 1];
    bias->token = (uint32_t)token;
    bias->bias = value <= -100 ? (float)-HUGE_VAL : (float)value;
    return 1;
}

/* The start symbol stands before all texts and in none: it is never written. */
static int ask_bias(asking *in)
{
    const json_node *all = json_member(&in->tree, in->tree.nodes, "logit_bias"), *one;
    int start = wcoh_tokenizer_start(in->rules->tokenizer), given, well = 1, *places;
    if (all && all->kind == JSON_NULL) all = NULL;
    if (all && all->kind != JSON_OBJECT) return refuse_type(in, all, "logit_bias", "an object");
    if (all && all->count > (uint32_t)in->rules->vocab)
        return refuse(in->refusal, 400, "invalid_value", "logit_bias",
                      "logit_bias has %lu tokens: the model has %d", (unsigned long)all->count,
                      in->rules->vocab);
    given = all ? (int)all->count : 0;
    in->ask->bias = (wcoh_logit_bias *)malloc(((size_t)given + 1) * sizeof *in->ask->bias);
    if (!in->ask->bias) return refuse_memory(in);
    places = given ? (int *)calloc((size_t)in->rules->vocab, sizeof *places) : NULL;
    if (given && !places) return refuse_memory(in);
    for (one = json_first(&in->tree, all); one && well; one = json_next(&in->tree, one))
        well = ask_bias_one(in, one, places);
    free(places);
    if (!well) return 0;
    if (start >= 0) {
        in->ask->bias[in->ask->bias_count].token = (uint32_t)start;
        in->ask->bias[in->ask->bias_count++].bias = (float)-HUGE_VAL;
    }
    return 1;
}

/* ---- prompts --------------------------------------------------------------------------------- */

/* Room for `count` tokens more; NULL and a refusal where there is none. */
static uint32_t *ask_room(asking *in, size_t count)
{
    ask *a = in->ask;
    size_t used = a->prompts ? a->ends[a->prompts - 1] : 0;
    if (used + count > a->tokens_room) {
        size_t room = 2 * a->tokens_room > used + count ? 2 * a->tokens_room : used + count;
        uint32_t *tokens = (uint32_t *)realloc(a->tokens_in, room * sizeof *tokens);
        if (!tokens) refuse_memory(in);
        if (!tokens) return NULL;
        a->tokens_in = tokens;
        a->tokens_room = room;
    }
    return a->tokens_in + used;
}

/* The prompt ends behind `count` tokens in the room. */
static int ask_prompt_end(asking *in, size_t count, const char *param)
{
    ask *a = in->ask;
    size_t used = a->prompts ? a->ends[a->prompts - 1] : 0;
    int64_t most = in->bare ? 0 : in->rules->positions;
    if (count == 0 && !in->bare) {
        if (!ask_room(in, 1)) return 0;
        a->tokens_in[used] = in->rules->first;
        count = 1;
    }
    if (most > 0 && (int64_t)count > most)
        return refuse(in->refusal, 400, "context_length_exceeded", param,
                      "%s has %lu symbols: the model has %ld positions", param,
                      (unsigned long)count, (long)most);
    a->ends[a->prompts++] = used + count;
    return 1;
}

/* Tokens of text [size] behind `start` of them in the room; *count are the text's. */
static wcoh_result ask_encode(asking *in, const char *text, size_t size, int start, size_t *count,
                              wcoh_error *error)
{
    const wcoh_tokenizer *tokenizer = in->rules->tokenizer;
    wcoh_result result = WCOH_E_MEMORY;
    size_t room = size;
    int round;
    for (round = 0; round < 2 && result == WCOH_E_MEMORY; round++) {
        uint32_t *tokens = ask_room(in, room + 1);
        if (!tokens) return WCOH_E_MEMORY;
        *count = 0;
        result = wcoh_tokenizer_encode(tokenizer, text, size, tokens + start, room, count, error);
        room = *count; /* more tokens than bytes: a normalizer writes some */
    }
    if (result == WCOH_E_MEMORY) refuse_memory(in);
    return result;
}

/* A prompt of text [size], which may be changed. */
static int ask_prompt_text(asking *in, char *text, size_t size, const char *param)
{
    const wcoh_tokenizer *tokenizer = in->rules->tokenizer;
    int start = wcoh_tokenizer_start(tokenizer) >= 0;
    int replace = in->rules->unknown == UNKNOWN_REPLACE;
    size_t count = 0;
    wcoh_error error;
    wcoh_result result;
    size = text_plain_for(tokenizer, text, size);
    result = ask_encode(in, text, size, start, &count, &error);
    if (in->rules->unknown != UNKNOWN_REFUSE &&
        (result == WCOH_E_TOKEN || result == WCOH_E_FORMAT)) {
        char *known = letters_known(tokenizer, text, &size, replace, NULL);
        if (!known) return refuse_memory(in);
        result = ask_encode(in, known, size, start, &count, &error);
        free(known);
    }
    if (result == WCOH_E_MEMORY) return 0;
    if (result < 0)
        return refuse(in->refusal, 400, "invalid_value", param, "%s: %s", param, error.text);
    if (start) *ask_room(in, 1) = (uint32_t)wcoh_tokenizer_start(tokenizer); /* it is there */
    return ask_prompt_end(in, count + (size_t)start, param);
}

/* A prompt of tokens. */
static int ask_prompt_tokens(asking *in, const json_node *list, const char *name)
{
    uint32_t *tokens = ask_room(in, list->count + 1);
    const json_node *one;
    size_t count = 0;
    int64_t token;
    char shown[48];
    if (!tokens) return 0;
    for (one = json_first(&in->tree, list); one; one = json_next(&in->tree, one)) {
        if (one->kind != JSON_NUMBER)
            return refuse_type(in, one, name, "a list of tokens without anything else");
        if (!json_whole(&in->tree, one, &token) || token < 0 || token >= in->rules->vocab)
            return refuse(in->refusal, 400, "invalid_value", name,
                          "%s has the token %s: allowed are 0 to %d", name,
                          asking_shown(in, one, shown), in->rules->vocab - 1);
        tokens[count++] = (uint32_t)token;
    }
    return ask_prompt_end(in, count, name);
}

static int ask_prompt_one(asking *in, const json_node *node, const char *name)
{
    if (node->kind == JSON_LIST) return ask_prompt_tokens(in, node, name);
    if (node->kind != JSON_STRING)
        return refuse_type(in, node, name, "a string, a list of tokens or a list of those");
    return ask_prompt_text(in, in->tree.json.text + node->text.at, node->text.size, name);
}

static int ask_ends(asking *in, size_t count)
{
    in->ask->ends = (size_t *)malloc((count + 1) * sizeof *in->ask->ends);
    return in->ask->ends ? 1 : refuse_memory(in);
}

/* prompt, or input of embeddings: "text", [tokens], ["text", ..] or [[tokens], ..] */
static int ask_prompt(asking *in, const char *name)
{
    const json_node *prompt = json_member(&in->tree, in->tree.nodes, name), *one;
    int64_t most = in->rules->replies_most;
    if (!prompt || prompt->kind == JSON_NULL)
        return refuse(in->refusal, 400, "missing_required_parameter", name, "%s is missing", name);
    one = json_first(&in->tree, prompt);
    if (prompt->kind != JSON_LIST || !one || one->kind == JSON_NUMBER)
        return ask_ends(in, 1) && ask_prompt_one(in, prompt, name);
    if ((int64_t)prompt->count > most)
        return refuse(in->refusal, 400, "invalid_value", name, "%s has %lu texts: allowed are %ld",
                      name, (unsigned long)prompt->count, (long)most);
    if (!ask_ends(in, prompt->count)) return 0;
    for (; one; one = json_next(&in->tree, one))
        if (!ask_prompt_one(in, one, name)) return 0;
    return 1;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* content: "text", null, or parts of which all are text -> out. `param` is its name. */
static int message_content(asking *in, const json_node *content, const char *param, buffer *out)
{
    const json_tree *tree = &in->tree;
    const json_node *part;
    if (content->kind == JSON_STRING) buffer_put(out, json_text(tree, content), content->text.size);
    if (content->kind == JSON_STRING || content->kind == JSON_NULL) return 1;
    if (content->kind != JSON_LIST)
        return refuse_type(in, content, param, "a string or a list of parts");
    for (part = json_first(tree, content); part; part = json_next(tree, part)) {
        const json_node *type = json_member(tree, part, "type");
        const json_node *text = json_member(tree, part, "text");
        if (part->kind != JSON_OBJECT) return refuse_type(in, part, param, "an object as part");
        if (!json_is(tree, type, "text"))
            return refuse(in->refusal, 400, "unsupported_value", param,
                          "%s: a part is no text, and this model reads text alone", param);
        if (!text || text->kind != JSON_STRING)
            return refuse(in->refusal, 400, text ? "invalid_type" : "missing_required_parameter",
                          param, "%s: a part needs its text as a string", param);
        buffer_put(out, json_text(tree, text), text->text.size);
    }
    return 1;
}

static int message_write(asking *in, const json_node *message, unsigned long index, buffer *out)
{
    static const char roles[] = "system developer user assistant tool function";
    const json_tree *tree = &in->tree;
    const json_node *role = json_member(tree, message, "role");
    const json_node *content = json_member(tree, message, "content");
    const json_node *calls = json_member(tree, message, "tool_calls");
    char param[64], name[16];
    buffer text;
    int well;
    snprintf(param, sizeof param, "messages.%lu.role", index);
    if (message->kind != JSON_OBJECT) {
        snprintf(param, sizeof param, "messages.%lu", index);
        return refuse_type(in, message, param, "an object");
    }
    if (!role || role->kind == JSON_NULL)
        return refuse(in->refusal, 400, "missing_required_parameter", param, "%s is missing",
                      param);
    if (role->kind != JSON_STRING) return refuse_type(in, role, param, "a string");
    snprintf(name, sizeof name, "%.*s", (int)(role->text.size < 15 ? role->text.size : 15),
             json_text(tree, role));
    if (role->text.size != strlen(name) || !*name || !word_stands(roles, name))
        return refuse(in->refusal, 400, "invalid_value", param, "%s: allowed are %s", param, roles);
    snprintf(param, sizeof param, "messages.%lu.tool_calls", index);
    if (calls && !asked_nothing(tree, calls, NULL))
        return refuse(in->refusal, 400, "unsupported_value", param,
                      "%s: this model calls no tools, and reads none of their calls", param);
    snprintf(param, sizeof param, "messages.%lu.content", index);
    if (!content)
        return refuse(in->refusal, 400, "missing_required_parameter", param, "%s is missing",
                      param);
    memset(&text, 0, sizeof text);
    well = message_content(in, content, param, &text);
    if (well) template_message(&in->rules->chat, out, name, strlen(name), text.text, text.size);
    if (text.broken) out->broken = 1;
    buffer_free(&text);
    return well;
}

static int ask_messages(asking *in)
{
    const json_node *all = json_member(&in->tree, in->tree.nodes, "messages"), *one;
    const chat_template *chat = &in->rules->chat;
    unsigned long index = 0;
    buffer text;
    int well = 1;
    if (!all || all->kind == JSON_NULL)
        return refuse(in->refusal, 400, "missing_required_parameter", "messages",
                      "messages is missing");
    if (all->kind != JSON_LIST) return refuse_type(in, all, "messages", "a list");
    if (all->count == 0)
        return refuse(in->refusal, 400, "invalid_value", "messages", "messages is empty");
    memset(&text, 0, sizeof text);
    buffer_put(&text, chat->before, chat->before_size);
    for (one = json_first(&in->tree, all); one && well; one = json_next(&in->tree, one))
        well = message_write(in, one, index++, &text);
    buffer_put(&text, chat->reply, chat->reply_size);
    if (well && text.broken) well = refuse_memory(in);
    well = well && ask_ends(in, 1) && ask_prompt_text(in, text.text, text.size, "messages");
    buffer_free(&text);
    return well;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void ask_defaults(ask *a, const ask_rules *rules, int on)
{
    const wcoh_sample_desc *s = &rules->sample;
    memset(a, 0, sizeof *a);
    a->on = on;
    a->chat = on == ON_CHAT;
    a->cached = on != ON_EMBED;
    a->n = 1;
    a->tokens = on == ON_EMBED ? 0 : -1;
    a->temperature = s->temperature;
    a->top_k = s->top_k;
    a->top_p = s->top_p > 0 ? s->top_p : 1;
    a->min_p = s->min_p;
    a->repetition = s->repetition_penalty > 0 ? s->repetition_penalty : 1;
    a->window = s->repetition_window > 0 ? s->repetition_window : 64;
}

/* To what the library samples by; there 0 is off, here top_p 0 keeps the likeliest alone. */
static int ask_settle(asking *in)
{
    ask *a = in->ask;
    wcoh_sample_desc *s = &a->sample;
    wcoh_error error;
    memset(s, 0, sizeof *s);
    s->temperature = a->temperature < 1e-6 ? 0 : a->temperature;
    s->top_k = a->top_k <= 0 ? 0 : a->top_k < in->rules->vocab ? (int)a->top_k : in->rules->vocab;
    s->top_p = a->top_p >= 1 ? 0 : a->top_p < 1e-9 ? 1e-9 : a->top_p;
    s->min_p = a->min_p < 1e-9 ? 0 : a->min_p;
    s->repetition_penalty = a->repetition == 1 ? 0 : a->repetition;
    s->repetition_window = (int)a->window;
    s->bias = a->bias;
    s->bias_count = a->bias_count;
    if (a->tokens < 0) a->tokens = WCOHI_MIN(in->rules->tokens, in->rules->tokens_most);
    a->top = WCOHI_MIN(a->top, in->rules->vocab); /* no more are there */
    if ((int64_t)a->prompts * a->n > in->rules->replies_most)
        return refuse(in->refusal, 400, "invalid_value", "n",
                      "n is %ld, of %lu prompts: this server makes at most %ld replies at once",
                      (long)a->n, (unsigned long)a->prompts, (long)in->rules->replies_most);
    if (a->chat && a->top > 0 && !a->logprobs)
        return refuse(in->refusal, 400, "invalid_value", "top_logprobs",
                      "top_logprobs: allowed with logprobs alone");
    if (wcoh_sample_desc_check(s, in->rules->vocab, &error) < 0)
        return refuse(in->refusal, 400, "invalid_value", NULL, "%s", error.text);
    return 1;
}

/* The value of a field that is one of two words -> 0 or 1. */
static int ask_word(asking *in, const char *name, const char *zero, const char *one, int *value)
{
    const json_node *node = json_member(&in->tree, in->tree.nodes, name);
    char shown[48];
    if (!node || node->kind == JSON_NULL) return 1;
    if (node->kind != JSON_STRING) return refuse_type(in, node, name, "a string");
    *value = json_is(&in->tree, node, one);
    if (*value || json_is(&in->tree, node, zero)) return 1;
    return refuse(in->refusal, 400, "invalid_value", name, "%s is \"%s\": allowed are %s and %s",
                  name, asking_shown(in, node, shown), zero, one);
}

/* What embeddings are asked for alone. */
static int ask_embedding(asking *in)
{
    const json_node *size = json_member(&in->tree, in->tree.nodes, "dimensions");
    int64_t whole = 0;
    if (size && size->kind != JSON_NULL &&
        (!json_whole(&in->tree, size, &whole) || whole != in->rules->width))
        return refuse(in->refusal, 400, "unsupported_value", "dimensions",
                      "dimensions: this model's embeddings have %d", in->rules->width);
    return ask_word(in, "encoding_format", "float", "base64", &in->ask->base64) &&
           ask_word(in, "pooling", "mean", "last", &in->ask->last) && ask_prompt(in, "input");
}

/* Open a body [size] (a zero byte of room behind it): an object, or a refusal. */
static int asking_open(asking *in, char *body, size_t size)
{
    wcoh_error error;
    wcoh_result result = json_open(&in->tree, body, size, &error);
    if (result == WCOH_E_MEMORY) return refuse_memory(in);
    if (result < 0)
        return refuse(in->refusal, 400, "invalid_json", NULL, "the body is not JSON: %s",
                      error.text);
    if (in->tree.nodes->kind == JSON_OBJECT) return 1;
    return refuse(in->refusal, 400, "invalid_type", NULL, "the body is %s: an object is needed",
                  json_kind_names[in->tree.nodes->kind]);
}

/* Read the request in body [size], which has a byte more of room and is changed; `on` is its route.
   Returns 1, or 0 and the refusal; `a` is to be freed by ask_free either way. Thread rule: any
   thread. */
static int ask_read(ask *a, const ask_rules *rules, int on, char *body, size_t size, refusal *r)
{
    asking in;
    int well;
    memset(&in, 0, sizeof in);
    in.rules = rules;
    in.ask = a;
    in.refusal = r;
    ask_defaults(a, rules, on);
    memset(r, 0, sizeof *r);
    well = asking_open(&in, body, size) && ask_numbers(&in);
    if (well && on == ON_EMBED) well = ask_embedding(&in);
    else if (well)
        well = ask_unsupported(&in) && ask_stream(&in) && ask_stops(&in) && ask_bias(&in) &&
               (on == ON_CHAT ? ask_messages(&in) : ask_prompt(&in, "prompt"));
    well = well && ask_settle(&in);
    json_close(&in.tree);
    return well;
}

/* ---- texts and tokens ------------------------------------------------------------------------ */

/* The bytes of a token, as many as it has. */
static void buffer_token(buffer *out, const wcoh_tokenizer *tokenizer, uint32_t token)
{
    int length = wcoh_tokenizer_decode(tokenizer, token, NULL, 0);
    char *to = length > 0 ? buffer_room(out, (size_t)length) : NULL;
    if (to) out->size += (size_t)wcoh_tokenizer_decode(tokenizer, token, to, (size_t)length);
}

/* What may be shown now that `token` has come: whole characters. */
static void buffer_spell(buffer *out, wcoh_decoder *decoder, const wcoh_tokenizer *tokenizer,
                         uint32_t token)
{
    int length = wcoh_decoder_next(decoder, tokenizer, token, NULL, 0);
    char *to = length > 0 ? buffer_room(out, (size_t)length) : NULL;
    if (to) out->size += (size_t)wcoh_decoder_next(decoder, tokenizer, token, to, (size_t)length);
}

/* And at the end of the text. */
static void buffer_spelt(buffer *out, wcoh_decoder *decoder)
{
    char left[4];
    buffer_put(out, left, (size_t)wcoh_decoder_end(decoder, left, sizeof left));
}

/* [104,105] */
static void write_bytes(const buffer *bytes, buffer *out)
{
    size_t i;
    for (i = 0; i < bytes->size; i++)
        buffer_print(out, "%c%u", i ? ',' : '[', (unsigned)(unsigned char)bytes->text[i]);
    buffer_text(out, bytes->size ? "]" : "[]");
}

static int text_is_utf8(const char *text, size_t size)
{
    size_t at;
    int length = 1;
    unsigned long point;
    for (at = 0; at < size && length > 0; at += (size_t)length)
        length = utf8_length(text + at, size - at, &point);
    return length > 0;
}

/* The piece of a token: a string, or a list of bytes where it is no UTF-8. */
static void write_piece(const wcoh_tokenizer *tokenizer, uint32_t token, buffer *out)
{
    buffer bytes;
    memset(&bytes, 0, sizeof bytes);
    buffer_token(&bytes, tokenizer, token);
    if (text_is_utf8(bytes.text, bytes.size)) buffer_json(out, bytes.text, bytes.size);
    else write_bytes(&bytes, out);
    if (bytes.broken) out->broken = 1;
    buffer_free(&bytes);
}

/* {"content": "text", "add_special": false, "with_pieces": false} -> {"tokens": [..]} */
static int tokenize_read(const ask_rules *rules, char *body, size_t size, buffer *out, refusal *r)
{
    static const asked flags[] = {
        {"add_special", ASKED_FLAG, ON_ALL, offsetof(ask, echo), 0, 0},
        {"with_pieces", ASKED_FLAG, ON_ALL, offsetof(ask, logprobs), 0, 0}};
    asking in;
    ask a;
    const json_node *content, *flag;
    int well, i, start;
    size_t k;
    memset(&in, 0, sizeof in);
    in.rules = rules, in.ask = &a, in.refusal = r, in.bare = 1;
    ask_defaults(&a, rules, ON_TEXT);
    memset(r, 0, sizeof *r);
    well = asking_open(&in, body, size);
    for (i = 0; i < 2 && well; i++) {
        flag = json_member(&in.tree, in.tree.nodes, flags[i].name);
        if (flag && flag->kind != JSON_NULL) well = asked_take(&in, &flags[i], flag);
    }
    content = well ? json_member(&in.tree, in.tree.nodes, "content") : NULL;
    if (well && !content)
        well = refuse(r, 400, "missing_required_parameter", "content", "content is missing");
    if (well && content->kind != JSON_STRING)
        well = refuse_type(&in, content, "content", "a string");
    start = wcoh_tokenizer_start(rules->tokenizer) >= 0 && !a.echo;
    well =
        well && ask_ends(&in, 1) &&
        ask_prompt_text(&in, in.tree.json.text + content->text.at, content->text.size, "content");
    buffer_text(out, "{\"tokens\":[");
    for (k = (size_t)start; well && k < a.ends[0]; k++) {
        if (k > (size_t)start) buffer_put(out, ",", 1);
        if (a.logprobs) buffer_print(out, "{\"id\":%lu,\"piece\":", (unsigned long)a.tokens_in[k]);
        else buffer_print(out, "%lu", (unsigned long)a.tokens_in[k]);
        if (a.logprobs) write_piece(rules->tokenizer, a.tokens_in[k], out), buffer_put(out, "}", 1);
    }
    buffer_text(out, "]}\n");
    json_close(&in.tree);
    ask_free(&a);
    return well;
}

/* {"tokens": [..]} -> {"content": "text"} */
static int detokenize_read(const ask_rules *rules, char *body, size_t size, buffer *out, refusal *r)
{
    asking in;
    ask a;
    buffer text;
    wcoh_decoder decoder;
    const json_node *tokens;
    int well;
    size_t k;
    memset(&in, 0, sizeof in);
    memset(&text, 0, sizeof text);
    memset(&decoder, 0, sizeof decoder);
    in.rules = rules, in.ask = &a, in.refusal = r, in.bare = 1;
    ask_defaults(&a, rules, ON_TEXT);
    memset(r, 0, sizeof *r);
    well = asking_open(&in, body, size);
    tokens = well ? json_member(&in.tree, in.tree.nodes, "tokens") : NULL;
    if (well && !tokens)
        well = refuse(r, 400, "missing_required_parameter", "tokens", "tokens is missing");
    if (well && tokens->kind != JSON_LIST) well = refuse_type(&in, tokens, "tokens", "a list");
    well = well && ask_ends(&in, 1) && ask_prompt_tokens(&in, tokens, "tokens");
    for (k = 0; well && k < a.ends[0]; k++)
        buffer_spell(&text, &decoder, rules->tokenizer, a.tokens_in[k]);
    buffer_spelt(&text, &decoder);
    buffer_text(out, "{\"content\":");
    buffer_json(out, text.text, text.size);
    buffer_text(out, "}\n");
    if (text.broken) out->broken = 1;
    buffer_free(&text);
    json_close(&in.tree);
    ask_free(&a);
    return well;
}

#endif
