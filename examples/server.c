/* A server that OpenAI's clients talk to: completions and chats of a model that this library trained.
   Debian: apt-get install libmicrohttpd-dev

   cc -O2 examples/server.c -o server -lmicrohttpd -lm -lpthread
   ./server model.safetensors
   curl localhost:8080/v1/completions -H 'Content-Type: application/json' \
        -d '{"prompt": "Once", "max_tokens": 50, "stream": true}'

   Three threads: one stands at the door and lets in what is HTTP (door.h), one answers it
   (libmicrohttpd), one steps. All replies under way are members of one crowd and move on by one symbol
   in one batched step; a reply takes its place between two steps. A request that waits is a suspended
   connection: it costs memory, no thread.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* POLLRDHUP */
#endif
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include "common.h"
#include "json.h"
#include "requests.h"

#include "chat_page.h"
#include "door.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* ---- what there is --------------------------------------------------------------------------- */

typedef struct job job;

/* One reply: a request has n of them for each of its prompts. Its own thread is the stepping one;
   nobody else looks in. */
typedef struct prefix {
    uint64_t a, b; /* two sums of all symbols */
} prefix;

typedef struct reply {
    job *job;
    struct reply *next; /* in the queue */
    int index;          /* in the request */
    uint32_t *tokens;   /* [prompt + said] */
    size_t prompt, said, heard, room;
    size_t cached; /* symbols whose state was there already, */
    size_t kept;   /* and up to which one is kept now */
    prefix sum;    /* of the symbols heard */
    double *mean;  /* [D] embeddings: the sum of the rows, or the last one */
    wcoh_rng rng;
    wcoh_decoder decoder;
    int *counts;      /* [vocab] how often each symbol was said, where penalties ask for it */
    buffer text;      /* all that was said, to the cut of a stop string */
    size_t *ends;     /* [said] where the text of each symbol ends, where logprobs are asked for */
    float *logprobs;  /* [said, 1 + top] of the symbol, then of the likeliest ones */
    uint32_t *likely; /* [said, top] those */
    size_t noted;     /* room of these three, in symbols */
    size_t shown;     /* bytes of text that have left */
    size_t told;      /* symbols whose logprobs have left */
    double shown_at;
    const char *finish; /* NULL: goes on */
} reply;

/* One request, from its first byte to the last of its answer. Two hold it: HTTP and the stepping
   thread; who lets go last frees it. What both touch is under the server's lock. */
struct job {
    struct server *server;
    struct MHD_Connection *connection; /* NULL: the client has left, or has its answer */
    int holders, handle;
    const struct route *route;
    const char *rest; /* of the path, behind a route that is a beginning */
    buffer body;
    uint64_t dropped; /* bytes of a body that nobody wants */
    refusal refusal;
    int uploaded;  /* the request is here as a whole */
    int asked;     /* and was looked at, */
    int queued;    /* and its replies wait or are under way, or were */
    int suspended; /* the connection sleeps until wake */
    int done;      /* `out` is complete */
    int gone;      /* nobody waits for it any more */
    buffer out;
    size_t taken; /* bytes of `out` that are on their way */
    ask ask;
    reply *replies;
    int count, unfinished;
    uint64_t said;   /* symbols of all replies */
    uint64_t cached; /* symbols of prompts that nobody had to hear */
    uint64_t space;  /* of the prefix cache: the key that was given */
    char id[40];
    long created;
    double arrived, last_event;
};

/* A state that a conversation may go on from: member slots + i of the crowd. */
typedef struct kept_state {
    prefix sum;
    size_t length; /* symbols heard; 0: free */
    uint64_t used; /* when, in steps */
} kept_state;

/* What /metrics counts, and what /slots shows of a reply. */
typedef struct figures {
    uint64_t requests, refused, left, prompt, cached, said, steps, members, hits, misses;
    double seconds;
} figures;

typedef struct slot_view {
    int busy;
    size_t prompt, heard, said, cached;
} slot_view;

typedef enum server_state { SERVER_LOADING, SERVER_READY, SERVER_DRAINING } server_state;

typedef struct server {
    /* options */
    const char *path, *name, *host, *keys_path, *template_path, *isa_name;
    long long port, slots, queue, body, timeout, longest, event, threads, tokens, tokens_most,
        cache, prefill, connections;
    choice unknown;
    wcoh_sample_desc sample;
    wcoh_crowd_desc crowd_desc;
    const char *template_text; /* [template_size] */
    size_t template_size;
    char **keys;
    size_t key_count, key_longest;
    /* the model; the crowd and what follows it are the stepping thread's */
    wcoh_model *model;
    ask_rules rules;
    wcoh_crowd *crowd;
    reply **running; /* [slots] the reply that member i makes, or NULL */
    int *ids;
    uint32_t *symbols;
    float *logits, *scratch; /* [vocab], [2 vocab] */
    double looked_at;        /* when the clients were looked after */
    kept_state *kept;        /* [keeps] */
    size_t keeps, keeps_used;
    prefix secret; /* what prefix sums are made with */
    prefix *sums;  /* [sums_room] of each beginning of a prompt */
    size_t sums_room;
    wcoh_session *ear;        /* hears long prompts in blocks; NULL: none does */
    reply *listener;          /* whose prompt that is, or NULL, */
    int listening;            /* and his slot */
    wcoh_memory_file carried; /* a state on its way between the two */
    uint64_t step;            /* steps so far */
    double step_seconds;
    /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t work;
    server_state state;
    int ending;
    reply *first, *last;
    int waiting, busy;
    figures figures;
    slot_view *views; /* [slots] */
    size_t kept_now;
    int visits, uploads; /* requests under way; those that are not here as a whole */
    wcoh_rng rng;
    door door; /* and the library behind it */
} server;

typedef enum MHD_Result answered;

/* ---- jobs ------------------------------------------------------------------------------------ */

static void reply_free(reply *r)
{
    free(r->tokens);
    free(r->counts);
    free(r->mean);
    buffer_free(&r->text);
    free(r->ends);
    free(r->logprobs);
    free(r->likely);
}

static void job_free(job *j)
{
    int i;
    for (i = 0; i < j->count; i++) reply_free(&j->replies[i]);
    free(j->replies);
    ask_free(&j->ask);
    buffer_free(&j->body);
    buffer_free(&j->out);
    free(j);
}

/* Under the lock. */
static void job_release(job *j)
{
    if (--j->holders == 0) job_free(j);
}

/* There is something for the connection: its thread goes on with it. Under the lock. */
static void job_wake(job *j)
{
    if (!j->suspended || !j->connection) return;
    j->suspended = 0;
    MHD_resume_connection(j->connection);
}

/* The connection sleeps; the lock is held, so that nobody wakes it before. */
static void job_sleep(job *j)
{
    j->suspended = 1;
    MHD_suspend_connection(j->connection);
}

/* ---- what is sent ---------------------------------------------------------------------------- */

static const char *job_object(const job *j)
{
    if (!j->ask.chat) return "text_completion";
    return j->ask.stream ? "chat.completion.chunk" : "chat.completion";
}

static void write_head(const server *s, const job *j, buffer *out)
{
    buffer_print(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%ld,\"model\":", j->id,
                 job_object(j), j->created);
    buffer_json_text(out, s->name);
    buffer_print(out, ",\"system_fingerprint\":\"wavecoh-%s\"", WCOH_VERSION);
}

static void write_usage(const job *j, buffer *out)
{
    unsigned long prompt = 0, said = (unsigned long)j->said;
    size_t i;
    for (i = 0; i < j->ask.prompts; i++)
        prompt = (unsigned long)j->ask.ends[i]; /* one behind the other */
    buffer_print(out, "{\"prompt_tokens\":%lu", prompt);
    if (j->ask.on != ON_EMBED) buffer_print(out, ",\"completion_tokens\":%lu", said);
    buffer_print(out, ",\"total_tokens\":%lu", prompt + said);
    if (j->ask.on != ON_EMBED)
        buffer_print(out, ",\"prompt_tokens_details\":{\"cached_tokens\":%lu}",
                     (unsigned long)j->cached);
    buffer_put(out, "}", 1);
}

static void write_token(const server *s, uint32_t token, float logprob, buffer *out)
{
    buffer bytes;
    memset(&bytes, 0, sizeof bytes);
    buffer_token(&bytes, s->rules.tokenizer, token);
    buffer_text(out, "{\"token\":");
    buffer_json(out, bytes.text, bytes.size);
    buffer_text(out, ",\"logprob\":");
    buffer_number(out, (double)logprob);
    buffer_text(out, ",\"bytes\":");
    write_bytes(&bytes, out);
    if (bytes.broken) out->broken = 1;
    buffer_free(&bytes);
}

/* The text of a token as a JSON string; what is no UTF-8 as its bytes, so that two tokens are two
   ("bytes:\xe2\x82", as OpenAI writes it here). */
static void write_token_text(const server *s, uint32_t token, buffer *out)
{
    buffer bytes;
    size_t i;
    memset(&bytes, 0, sizeof bytes);
    buffer_token(&bytes, s->rules.tokenizer, token);
    if (text_is_utf8(bytes.text, bytes.size)) {
        buffer_json(out, bytes.text, bytes.size);
    } else {
        buffer_text(out, "\"bytes:");
        for (i = 0; i < bytes.size; i++)
            buffer_print(out, "\\\\x%02x", (unsigned)(unsigned char)bytes.text[i]);
        buffer_text(out, "\"");
    }
    if (bytes.broken) out->broken = 1;
    buffer_free(&bytes);
}

/* Characters of text from byte `from` to byte `to`: as many as bytes that do not go on with one. */
static unsigned long text_characters(const buffer *text, size_t from, size_t to)
{
    unsigned long count = 0;
    for (to = WCOHI_MIN(to, text->size); from < to; from++)
        count += ((unsigned char)text->text[from] & 0xc0) != 0x80;
    return count;
}

/* Symbols from .. to - 1 of a chat's reply. */
static void write_chat_logprobs(const server *s, const reply *r, size_t from, size_t to,
                                buffer *out)
{
    size_t top = (size_t)r->job->ask.top, i, k;
    buffer_text(out, "{\"content\":[");
    for (i = from; i < to; i++) {
        const float *logprobs = r->logprobs + i * (1 + top);
        if (i > from) buffer_put(out, ",", 1);
        write_token(s, r->tokens[r->prompt + i], logprobs[0], out);
        buffer_text(out, ",\"top_logprobs\":[");
        for (k = 0; k < top; k++) {
            if (k) buffer_put(out, ",", 1);
            write_token(s, r->likely[i * top + k], logprobs[1 + k], out);
            buffer_put(out, "}", 1);
        }
        buffer_text(out, "]}");
    }
    buffer_text(out, "],\"refusal\":null}");
}

/* Where the text of symbol i begins, which is not before byte `at`: what came of the symbols before it
   with it, because it is no character, is theirs. */
static size_t symbol_begins(const server *s, const reply *r, size_t i, size_t at)
{
    size_t end = r->ends[i], size = 0;
    buffer bytes;
    memset(&bytes, 0, sizeof bytes);
    buffer_token(&bytes, s->rules.tokenizer, r->tokens[r->prompt + i]);
    if (text_is_utf8(bytes.text, bytes.size)) size = bytes.size;
    buffer_free(&bytes);
    return size && size < end - at ? end - size : at;
}

/* The older form: a list for each thing. */
static void write_text_logprobs(const server *s, const reply *r, size_t from, size_t to,
                                buffer *out)
{
    size_t top = (size_t)r->job->ask.top, at = from ? r->ends[from - 1] : 0, i, k;
    unsigned long offset = text_characters(&r->text, 0, at);
    buffer_text(out, "{\"tokens\":[");
    for (i = from; i < to; i++) {
        if (i > from) buffer_put(out, ",", 1);
        write_token_text(s, r->tokens[r->prompt + i], out);
    }
    buffer_text(out, "],\"token_logprobs\":[");
    for (i = from; i < to; i++) {
        if (i > from) buffer_put(out, ",", 1);
        buffer_number(out, (double)r->logprobs[i * (1 + top)]);
    }
    buffer_text(out, "],\"top_logprobs\":[");
    for (i = from; i < to; i++) {
        buffer_text(out, i > from ? ",{" : "{");
        for (k = 0; k < top; k++) {
            if (k) buffer_put(out, ",", 1);
            write_token_text(s, r->likely[i * top + k], out);
            buffer_put(out, ":", 1);
            buffer_number(out, (double)r->logprobs[i * (1 + top) + 1 + k]);
        }
        buffer_put(out, "}", 1);
    }
    buffer_text(out, "],\"text_offset\":[");
    for (i = from; i < to; at = r->ends[i++]) {
        size_t begins = symbol_begins(s, r, i, at);
        buffer_print(out, "%s%lu", i > from ? "," : "",
                     offset + text_characters(&r->text, at, begins));
        offset += text_characters(&r->text, at, r->ends[i]);
    }
    buffer_text(out, "]}");
}

static void write_logprobs(const server *s, const reply *r, size_t from, size_t to, buffer *out)
{
    buffer_text(out, "\"logprobs\":");
    if (!r->job->ask.logprobs) buffer_text(out, "null");
    else if (r->job->ask.chat) write_chat_logprobs(s, r, from, to, out);
    else write_text_logprobs(s, r, from, to, out);
}

/* What the reader of a completion gets before the reply. */
static void write_echo(const server *s, const reply *r, buffer *text)
{
    wcoh_decoder decoder;
    size_t i;
    memset(&decoder, 0, sizeof decoder);
    for (i = 0; r->job->ask.echo && i < r->prompt; i++)
        buffer_spell(text, &decoder, s->rules.tokenizer, r->tokens[i]);
    buffer_spelt(text, &decoder);
}

/* One choice of a whole answer. */
static void write_choice(const server *s, const reply *r, buffer *out)
{
    buffer text;
    memset(&text, 0, sizeof text);
    write_echo(s, r, &text);
    buffer_put(&text, r->text.text, r->text.size);
    buffer_print(out, "{\"index\":%d,%s", r->index,
                 r->job->ask.chat ? "\"message\":{\"role\":\"assistant\",\"content\":"
                                  : "\"text\":");
    buffer_json(out, text.text, text.size);
    buffer_text(out, r->job->ask.chat ? ",\"refusal\":null}," : ",");
    write_logprobs(s, r, 0, r->told, out);
    buffer_print(out, ",\"finish_reason\":\"%s\"}", r->finish);
    if (text.broken) out->broken = 1;
    buffer_free(&text);
}

/* Floats in base64, the low byte of each first. */
static void write_base64(const float *x, int count, buffer *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = 4 * (size_t)count, at, i;
    buffer_put(out, "\"", 1);
    for (at = 0; at < size; at += 3) {
        uint32_t three = 0, bits;
        char four[4];
        for (i = 0; i < 3; i++) {
            uint32_t byte = 0;
            if (at + i < size) memcpy(&bits, &x[(at + i) / 4], 4);
            if (at + i < size) byte = bits >> 8 * ((at + i) % 4) & 0xff;
            three = three << 8 | byte;
        }
        for (i = 0; i < 4; i++) four[i] = digits[three >> (18 - 6 * i) & 63];
        for (i = 4; at + i > size + 1; i--) four[i - 1] = '=';
        buffer_put(out, four, 4);
    }
    buffer_put(out, "\"", 1);
}

/* The embedding of one text, of length 1. */
static void write_embedding(const server *s, const reply *r, buffer *out)
{
    int width = s->rules.width, i;
    double square = 0;
    float *x = (float *)malloc((size_t)width * sizeof *x);
    if (!x) out->broken = 1;
    if (!x) return;
    for (i = 0; i < width; i++) square += r->mean[i] * r->mean[i];
    for (i = 0; i < width; i++) x[i] = (float)(square > 0 ? r->mean[i] / sqrt(square) : 0);
    buffer_print(out, "{\"object\":\"embedding\",\"index\":%d,\"embedding\":", r->index);
    if (r->job->ask.base64) write_base64(x, width, out);
    for (i = 0; i < width && !r->job->ask.base64; i++) {
        buffer_put(out, i ? "," : "[", 1);
        buffer_number(out, (double)x[i]);
    }
    buffer_text(out, r->job->ask.base64 ? "}" : "]}");
    free(x);
}

static void write_embeddings(const server *s, job *j)
{
    int i;
    buffer_text(&j->out, "{\"object\":\"list\",\"data\":[");
    for (i = 0; i < j->count; i++) {
        if (i) buffer_put(&j->out, ",", 1);
        write_embedding(s, &j->replies[i], &j->out);
    }
    buffer_text(&j->out, "],\"model\":");
    buffer_json_text(&j->out, s->name);
    buffer_text(&j->out, ",\"usage\":");
    write_usage(j, &j->out);
    buffer_text(&j->out, "}\n");
}

/* The answer to a request without stream. */
static void write_whole(const server *s, job *j)
{
    int i;
    if (j->ask.on == ON_EMBED) {
        write_embeddings(s, j);
        return;
    }
    write_head(s, j, &j->out);
    buffer_text(&j->out, ",\"choices\":[");
    for (i = 0; i < j->count; i++) {
        if (i) buffer_put(&j->out, ",", 1);
        write_choice(s, &j->replies[i], &j->out);
    }
    buffer_text(&j->out, "],\"usage\":");
    write_usage(j, &j->out);
    buffer_text(&j->out, "}\n");
}

/* An event of one choice. `role`: the first one of a chat; text [size] may be empty. */
static void write_event(const server *s, const reply *r, int role, const char *text, size_t size,
                        size_t told_to, const char *finish)
{
    job *j = r->job;
    buffer *out = &j->out;
    buffer_text(out, "data: ");
    write_head(s, j, out);
    buffer_print(out, ",\"choices\":[{\"index\":%d,", r->index);
    if (!j->ask.chat) buffer_text(out, "\"text\":");
    else if (role) buffer_text(out, "\"delta\":{\"role\":\"assistant\",\"content\":");
    else buffer_text(out, finish ? "\"delta\":{" : "\"delta\":{\"content\":");
    if (!j->ask.chat || !finish) buffer_json(out, text, size);
    buffer_text(out, j->ask.chat ? "}," : ",");
    if (told_to > r->told) write_logprobs(s, r, r->told, told_to, out);
    else buffer_text(out, "\"logprobs\":null");
    if (finish) buffer_print(out, ",\"finish_reason\":\"%s\"}]", finish);
    else buffer_text(out, ",\"finish_reason\":null}]");
    buffer_text(out, j->ask.stream_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

/* The end of a stream: usage where it is asked for, and the last line. */
static void write_end(const server *s, job *j)
{
    if (j->ask.stream_usage) {
        buffer_text(&j->out, "data: ");
        write_head(s, j, &j->out);
        buffer_text(&j->out, ",\"choices\":[],\"usage\":");
        write_usage(j, &j->out);
        buffer_text(&j->out, "}\n\n");
    }
    buffer_text(&j->out, "data: [DONE]\n\n");
}

/* ---- a reply grows --------------------------------------------------------------------------- */

/* Penalties of the symbols said so far: presence once, frequency for each time. */
static const float *penalised(server *s, const reply *r, const float *logits)
{
    const ask *a = &r->job->ask;
    int i;
    if (!r->counts) return logits;
    for (i = 0; i < s->rules.vocab; i++)
        s->logits[i] = logits[i] - (r->counts[i] > 0 ? (float)a->presence : 0) -
                       (float)a->frequency * (float)r->counts[i];
    return s->logits;
}

static int reply_note_room(reply *r)
{
    size_t top = (size_t)r->job->ask.top, room = r->noted ? 2 * r->noted : 64;
    size_t *ends;
    float *logprobs;
    uint32_t *likely;
    if (r->said < r->noted) return 1;
    ends = (size_t *)realloc(r->ends, room * sizeof *ends);
    if (ends) r->ends = ends;
    logprobs = (float *)realloc(r->logprobs, room * (1 + top) * sizeof *logprobs);
    if (logprobs) r->logprobs = logprobs;
    likely = (uint32_t *)realloc(r->likely, room * (top + 1) * sizeof *likely);
    if (likely) r->likely = likely;
    if (ends && logprobs && likely) r->noted = room;
    return ends && logprobs && likely;
}

/* Log-probabilities of the model itself (no filter, no temperature): of `token`, and of the likeliest. */
static void reply_note(const server *s, reply *r, const float *logits, uint32_t token)
{
    size_t top = (size_t)r->job->ask.top, k, have = 0;
    float *to = r->logprobs + r->said * (1 + top);
    uint32_t *likely = r->likely + r->said * top;
    double best = (double)logits[0], sum = 0;
    int i, vocab = s->rules.vocab;
    for (i = 1; i < vocab; i++)
        if ((double)logits[i] > best) best = (double)logits[i];
    for (i = 0; i < vocab; i++) sum += exp((double)logits[i] - best);
    best += log(sum);
    to[0] = (float)((double)logits[token] - best);
    for (i = 0; i < vocab && top; i++) { /* the likeliest so far, in order */
        if (have == top && logits[i] <= logits[likely[top - 1]]) continue;
        if (have < top) have++;
        for (k = have - 1; k > 0 && logits[likely[k - 1]] < logits[i]; k--)
            likely[k] = likely[k - 1];
        likely[k] = (uint32_t)i;
    }
    for (k = 0; k < have; k++) to[1 + k] = (float)((double)logits[likely[k]] - best);
}

/* Where the first stop string begins in the text, that is not before byte `from`; -1: nowhere. */
static long reply_stop(const reply *r, size_t from)
{
    const ask *a = &r->job->ask;
    size_t at;
    int i;
    for (at = from; at < r->text.size; at++)
        for (i = 0; i < a->stop_count; i++)
            if (a->stop_size[i] <= r->text.size - at &&
                memcmp(r->text.text + at, a->stop[i], a->stop_size[i]) == 0)
                return (long)at;
    return -1;
}

/* Bytes at the end of the text that may be the beginning of a stop string. */
static size_t reply_held(const reply *r)
{
    const ask *a = &r->job->ask;
    size_t held = 0, length;
    int i;
    for (i = 0; i < a->stop_count; i++) {
        length = a->stop_size[i] - 1 < r->text.size ? a->stop_size[i] - 1 : r->text.size;
        for (; length > held; length--)
            if (memcmp(r->text.text + r->text.size - length, a->stop[i], length) == 0)
                held = length;
    }
    return held;
}

/* Has it come to the last position that the model knows? */
static int reply_at_end(const server *s, const reply *r)
{
    return s->rules.positions && (int64_t)(r->prompt + r->said) >= s->rules.positions;
}

/* The text of one more symbol, cut where a stop string begins. A control token is none: it ends the
   reply. */
static void reply_say(const server *s, reply *r, uint32_t token)
{
    const ask *a = &r->job->ask;
    size_t longest = 0, before = r->text.size;
    long cut;
    int i;
    r->tokens[r->prompt + r->said++] = token;
    if (wcoh_tokenizer_special(s->rules.tokenizer, token)) r->finish = "stop";
    else if ((int64_t)r->said >= a->tokens || reply_at_end(s, r)) r->finish = "length";
    if (!r->finish || *r->finish != 's')
        buffer_spell(&r->text, &r->decoder, s->rules.tokenizer, token);
    if (r->finish) buffer_spelt(&r->text, &r->decoder);
    if (a->chat && s->rules.trims && r->said == 1 && r->text.size && *r->text.text == ' ')
        memmove(r->text.text, r->text.text + 1, --r->text.size);
    if (r->ends) r->ends[r->said - 1] = r->text.size;
    for (i = 0; i < a->stop_count; i++)
        if (a->stop_size[i] > longest) longest = a->stop_size[i];
    cut = longest ? reply_stop(r, before >= longest ? before - longest + 1 : 0) : -1;
    if (cut >= 0) r->text.size = (size_t)cut;
    if (cut >= 0) r->finish = "stop";
}

static int reply_room(reply *r)
{
    size_t need = r->prompt + r->said + 1, room;
    uint32_t *tokens;
    if (need <= r->room) return 1;
    room = need + need / 2;
    tokens = (uint32_t *)realloc(r->tokens, room * sizeof *tokens);
    if (!tokens) return 0;
    r->tokens = tokens;
    r->room = room;
    return 1;
}

/* Draw the next symbol of what member `id` has heard. */
static wcoh_result reply_draw(server *s, reply *r, int id, wcoh_error *error)
{
    const float *logits = wcoh_crowd_logits(s->crowd, id);
    const ask *a = &r->job->ask;
    size_t window = (size_t)a->sample.repetition_window;
    size_t recent = r->heard < window ? r->heard : window;
    uint32_t token = 0;
    wcoh_result result;
    if (!reply_room(r) || (a->logprobs && !reply_note_room(r)))
        return wcohi_fail(error, WCOH_E_MEMORY, "no memory for the reply");
    result = wcoh_sample(&a->sample, &r->rng, penalised(s, r, logits), s->rules.vocab,
                         r->tokens + r->heard - recent, recent, s->scratch, &token, error);
    if (result < 0) return result;
    if (a->logprobs) reply_note(s, r, logits, token);
    if (r->counts) r->counts[token]++;
    reply_say(s, r, token);
    if (r->text.broken) return wcohi_fail(error, WCOH_E_MEMORY, "no memory for the reply");
    return WCOH_OK;
}

/* Symbols whose text is shown up to byte `end`; `all`: those too of which a cut left a part. */
static size_t reply_told(const reply *r, size_t end, int all)
{
    size_t i = r->told;
    int whole = all && strcmp(r->finish, "length") == 0;
    if (!r->job->ask.logprobs) return r->told;
    if (whole) return r->said;
    while (i < r->said && (all ? (i ? r->ends[i - 1] : 0) < end : r->ends[i] <= end)) i++;
    return i;
}

/* What can be shown of a stream leaves, not more often than every `event` ms; the last of it at once. */
static void reply_show(const server *s, reply *r, double now)
{
    size_t end = r->text.size, told;
    if (!r->finish) {
        if (r->shown > 0 && now - r->shown_at < 1e-3 * (double)s->event) return;
        if (r->job->out.size - r->job->taken > 65536) return; /* a client that does not listen */
        end -= reply_held(r);
        if (end <= r->shown) return;
        end = r->shown + text_whole(r->text.text + r->shown, end - r->shown); /* held inside one */
    }
    told = reply_told(r, end, r->finish != NULL);
    if (end > r->shown || told > r->told)
        write_event(s, r, 0, r->text.text + r->shown, end - r->shown, told, NULL);
    if (end > r->shown) r->shown_at = r->job->last_event = now;
    r->shown = end;
    r->told = told;
    if (r->finish) write_event(s, r, 0, "", 0, told, r->finish);
}

/* ---- states that conversations go on from ---------------------------------------------------- */

/* What was heard is known by two sums, polynomials modulo 2^61 - 1 at secret places: texts that
   differ share one by a chance of their length in 2^61, and nobody outside can look for such. */
enum { KEEP_LEAST = 32 }; /* symbols: fewer are heard again as fast as they are copied */

static uint64_t prime_times(uint64_t x, uint64_t y)
{
    const uint64_t prime = ((uint64_t)1 << 61) - 1;
    uint64_t xl = x & 0xffffffffu, xh = x >> 32, yl = y & 0xffffffffu, yh = y >> 32;
    uint64_t low = xl * yl, middle = xl * yh + xh * yl, high = xh * yh; /* x, y below 2^62 */
    uint64_t sum = (low & prime) + (low >> 61) + (high << 3 & prime) + (high >> 58);
    sum += (middle << 32 & prime) + (middle >> 29);
    sum = (sum & prime) + (sum >> 61);
    return sum >= prime ? sum - prime : sum;
}

static prefix prefix_add(const server *s, prefix sum, uint32_t symbol)
{
    sum.a = prime_times(sum.a + symbol + 1, s->secret.a);
    sum.b = prime_times(sum.b + symbol + 1, s->secret.b);
    return sum;
}

/* Every key has states of its own: nobody learns from a time what others have said. */
static prefix prefix_start(const server *s, const reply *r)
{
    prefix none;
    none.a = none.b = 0;
    return prefix_add(s, none, (uint32_t)r->job->space);
}

/* Sums of all beginnings of the prompt -> s->sums; 0 without memory. */
static int prefix_sums(server *s, const reply *r)
{
    prefix sum = prefix_start(s, r);
    size_t i;
    if (r->prompt > s->sums_room) {
        prefix *sums = (prefix *)realloc(s->sums, r->prompt * sizeof *sums);
        if (!sums) return 0;
        s->sums = sums;
        s->sums_room = r->prompt;
    }
    for (i = 0; i < r->prompt; i++) s->sums[i] = sum = prefix_add(s, sum, r->tokens[i]);
    return 1;
}

/* Begin where the longest kept beginning of the prompt ends. */
static void kept_find(server *s, reply *r, int slot)
{
    kept_state *best = NULL;
    size_t i;
    r->sum = prefix_start(s, r);
    if (!r->job->ask.cached || s->keeps == 0 || r->prompt < KEEP_LEAST || !prefix_sums(s, r))
        return;
    for (i = 0; i < s->keeps; i++) {
        kept_state *k = &s->kept[i];
        const prefix *sum;
        if (k->length == 0 || k->length > r->prompt || (best && k->length < best->length)) continue;
        sum = &s->sums[k->length - 1];
        if (k->sum.a == sum->a && k->sum.b == sum->b) best = k;
    }
    s->figures.hits += best != NULL;
    s->figures.misses += best == NULL;
    if (!best || wcoh_crowd_copy(s->crowd, slot, (int)s->slots + (int)(best - s->kept), NULL) < 0)
        return;
    best->used = s->step;
    r->sum = best->sum;
    r->heard = r->cached = r->kept = best->length;
}

/* Keep what member `slot` has heard so far, in the place that was longest of no use. */
static void kept_put(server *s, reply *r, int slot)
{
    kept_state *oldest = s->kept;
    size_t i;
    if (!r->job->ask.cached || s->keeps == 0 || r->heard < r->kept + KEEP_LEAST) return;
    for (i = 0; i < s->keeps; i++) {
        kept_state *k = &s->kept[i];
        int same = k->length == r->heard && k->sum.a == r->sum.a && k->sum.b == r->sum.b;
        if (same || k->used < oldest->used) oldest = k;
        if (same) break;
    }
    r->kept = r->heard;
    s->keeps_used += oldest->length == 0;
    oldest->length = 0;
    if (wcoh_crowd_copy(s->crowd, (int)s->slots + (int)(oldest - s->kept), slot, NULL) < 0) return;
    oldest->sum = r->sum;
    oldest->length = r->heard;
    oldest->used = s->step;
}

/* ---- the crowd ------------------------------------------------------------------------------- */

/* The reply is over, well or not: its place is free. Under the lock. */
static void slot_free(server *s, int slot)
{
    if (s->listener == s->running[slot]) s->listener = NULL;
    s->running[slot] = NULL;
    s->busy--;
}

/* The stepping thread is through with the job. Under the lock. */
static void job_finish(server *s, job *j)
{
    if (!j->gone && !j->done) {
        if (j->ask.stream) write_end(s, j);
        else write_whole(s, j);
        if (j->out.broken) refuse(&j->refusal, 503, "no_memory", NULL, "no memory for the answer");
        j->done = 1;
    }
    job_wake(j);
    job_release(j);
}

/* The request has failed: a stream gets the error as its last event. Under the lock. */
static void job_fail(job *j, int status, const char *code, const char *text)
{
    if (j->done) return;
    refuse(&j->refusal, status, code, NULL, "%s", text);
    if (j->ask.stream) {
        buffer_text(&j->out, "data: ");
        refusal_write(&j->out, &j->refusal);
        buffer_text(&j->out, "\n\n");
    }
    j->done = 1;
}

/* One reply less of the job. Under the lock. */
static void job_count(server *s, job *j)
{
    if (--j->unfinished == 0) job_finish(s, j);
}

static void queue_put(server *s, reply *r)
{
    r->next = NULL;
    if (s->last) s->last->next = r;
    else s->first = r;
    s->last = r;
    s->waiting++;
}

static reply *queue_take(server *s)
{
    reply *r = s->first;
    s->first = r->next;
    if (!s->first) s->last = NULL;
    s->waiting--;
    return r;
}

/* What a reply needs of memory before its first symbol. */
static int reply_open(const server *s, reply *r)
{
    const ask *a = &r->job->ask;
    size_t prompt = (size_t)r->index / (size_t)a->n, from = prompt ? a->ends[prompt - 1] : 0;
    r->prompt = a->ends[prompt] - from;
    r->room = r->prompt + 1;
    r->tokens = (uint32_t *)malloc(r->room * sizeof *r->tokens);
    if (a->presence != 0 || a->frequency != 0)
        r->counts = (int *)calloc((size_t)s->rules.vocab, sizeof *r->counts);
    if (!r->tokens || ((a->presence != 0 || a->frequency != 0) && !r->counts)) return 0;
    memcpy(r->tokens, a->tokens_in + from, r->prompt * sizeof *r->tokens);
    if (a->on == ON_EMBED) {
        r->mean = (double *)calloc((size_t)s->rules.width, sizeof *r->mean);
        return r->mean != NULL;
    }
    if (a->tokens == 0) r->finish = "length";
    if (reply_at_end(s, r)) r->finish = "length";
    r->decoder.plain = 1;
    r->decoder.begun = r->prompt > 1 || !wcoh_tokenizer_special(s->rules.tokenizer, r->tokens[0]);
    return 1;
}

/* The event before a reply that says its prompt again. Under the lock. */
static void reply_echo(const server *s, const reply *r)
{
    buffer text;
    if (!r->job->ask.stream || !r->job->ask.echo) return;
    memset(&text, 0, sizeof text);
    write_echo(s, r, &text);
    if (text.size) write_event(s, r, 0, text.text, text.size, 0, NULL);
    if (text.broken) r->job->out.broken = 1;
    buffer_free(&text);
}

/* Fill free places from the queue. Under the lock. */
static void crowd_admit(server *s)
{
    int slot;
    for (slot = 0; slot < s->slots && s->first; slot++) {
        reply *r;
        if (s->running[slot]) continue;
        r = queue_take(s);
        s->running[slot] = r;
        s->busy++;
        wcoh_crowd_reset(s->crowd, slot);
        if (r->job->gone || r->job->done) continue;
        if (reply_open(s, r)) reply_echo(s, r), kept_find(s, r, slot);
        else job_fail(r->job, 503, "no_memory", "no memory for the reply");
    }
}

/* Has the client closed its side? Then nobody reads the answer. */
static int client_left(const job *j)
{
    struct pollfd look;
    memset(&look, 0, sizeof look);
    look.fd = j->handle;
    look.events = POLLRDHUP;
    return poll(&look, 1, 0) > 0 && (look.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void job_look(const server *s, job *j, double now)
{
    if (!j->connection || j->gone) return;
    if (client_left(j)) {
        j->gone = 1;
        job_wake(j);
    } else if (now - j->arrived > (double)s->longest) {
        job_fail(j, 503, "timeout", "the request took longer than this server allows");
        job_wake(j);
    } else if (j->ask.stream && now - j->last_event > 15) {
        buffer_text(&j->out, ":\n\n"); /* a comment, so that nobody on the way gives it up */
        j->last_event = now;
        job_wake(j);
    }
}

/* Every 20 ms: who has left, whose time is over. Under the lock. */
static void clients_look(server *s, double now)
{
    reply *r;
    int slot, count;
    if (now - s->looked_at < 0.02) return;
    s->looked_at = now;
    for (slot = 0; slot < s->slots; slot++)
        if (s->running[slot]) job_look(s, s->running[slot]->job, now);
    for (count = s->waiting; count > 0; count--) {
        r = queue_take(s);
        job_look(s, r->job, now);
        if (r->job->gone || r->job->done) job_count(s, r->job);
        else queue_put(s, r);
    }
}

/* Counts a reply that has come to its end. Under the lock. */
static void reply_count(server *s, const reply *r)
{
    job *j = r->job;
    s->figures.prompt += r->prompt;
    s->figures.cached += r->cached;
    s->figures.said += r->said;
    j->said += r->said;
    if (r->index % j->ask.n == 0) j->cached += r->cached;
}

/* After a step: what is said goes out, what is over leaves. Under the lock. */
static void crowd_deliver(server *s)
{
    double now = seconds_now();
    int slot;
    clients_look(s, now);
    for (slot = 0; slot < s->slots; slot++) {
        reply *r = s->running[slot];
        job *j = r ? r->job : NULL;
        if (!r) continue;
        if (j->gone || j->done) {
            slot_free(s, slot);
            job_count(s, j);
            continue;
        }
        if (j->ask.stream) reply_show(s, r, now);
        if (j->out.size > j->taken) job_wake(j);
        if (!r->finish) continue;
        if (!j->ask.stream) r->told = reply_told(r, r->text.size, 1);
        reply_count(s, r);
        slot_free(s, slot);
        job_count(s, j);
    }
}

/* Figures for /metrics and /slots. Under the lock. */
static void crowd_publish(server *s, int count)
{
    int slot;
    s->figures.steps += count > 0;
    s->figures.members += (uint64_t)count;
    s->figures.seconds += s->step_seconds;
    s->kept_now = s->keeps_used;
    for (slot = 0; slot < s->slots; slot++) {
        const reply *r = s->running[slot];
        slot_view *view = &s->views[slot];
        view->busy = r != NULL;
        if (!r) continue;
        view->prompt = r->prompt, view->heard = r->heard;
        view->said = r->said, view->cached = r->cached;
    }
}

/* The model failed a reply, or there was nothing left that it may say. */
static void reply_fail(server *s, reply *r, const wcoh_error *error)
{
    pthread_mutex_lock(&s->lock);
    if (error->code == WCOH_E_MEMORY) job_fail(r->job, 503, "no_memory", error->text);
    else job_fail(r->job, 500, "model_failed", error->text);
    pthread_mutex_unlock(&s->lock);
    r->finish = "stop";
}

/* One of several replies to a prompt hears it for all: those behind it wait. */
static int reply_follows(const server *s, const reply *r)
{
    int n = (int)r->job->ask.n, slot;
    if (n == 1 || r->heard >= r->prompt) return 0;
    for (slot = 0; slot < s->slots; slot++) {
        const reply *q = s->running[slot];
        if (q && q->job == r->job && q->index / n == r->index / n && q->index < r->index &&
            q->tokens && !q->finish && q->heard < q->prompt)
            return 1;
    }
    return 0;
}

static void reply_lead(server *s, const reply *r, int id)
{
    int n = (int)r->job->ask.n, slot;
    for (slot = 0; n > 1 && slot < s->slots; slot++) { /* nobody of them is in this step */
        reply *q = s->running[slot];
        if (!q || q == r || q->job != r->job || q->index / n != r->index / n) continue;
        if (!q->tokens || q->finish || q->heard >= q->prompt) continue;
        if (wcoh_crowd_copy(s->crowd, slot, id, NULL) < 0) continue;
        if (q == s->listener) s->listener = NULL;
        q->heard = r->heard;
        q->kept = r->kept;
        q->sum = r->sum;
        q->cached = r->cached;
    }
}

/* Member `id` knows all that was said: the next symbol, or the end of an embedding. */
static void reply_go_on(server *s, reply *r, int id)
{
    wcoh_error error;
    if (r->said == 0 && r->heard > r->cached) {
        kept_put(s, r, id);
        reply_lead(s, r, id);
    }
    if (r->mean) r->finish = "length";
    else if (reply_draw(s, r, id, &error) < 0) reply_fail(s, r, &error);
    if (r->finish && r->said) kept_put(s, r, id);
}

/* The row of the symbol just heard. */
static void reply_add_row(const server *s, reply *r, int id)
{
    const wcoh_real *row = wcoh_crowd_hidden(s->crowd, id);
    int i;
    for (i = 0; row && i < s->rules.width; i++)
        r->mean[i] = (r->job->ask.last ? 0 : r->mean[i]) + (double)row[i];
}

/* The state of a member goes to the ear, or comes from it. */
static wcoh_result ear_carry(server *s, int slot, int back, wcoh_error *error)
{
    wcoh_io io = wcoh_io_memory(&s->carried);
    wcoh_result result;
    s->carried.used = 0;
    result =
        back ? wcoh_session_save(s->ear, &io, error) : wcoh_crowd_save(s->crowd, slot, &io, error);
    if (result < 0) return result;
    return back ? wcoh_crowd_load(s->crowd, slot, &io, error)
                : wcoh_session_load(s->ear, &io, error);
}

/* The next one who has a long prompt before him; 0 where there is none. */
static int ear_choose(server *s, wcoh_error *error)
{
    int slot;
    if (s->listener && !s->listener->finish) return 1;
    s->listener = NULL;
    for (slot = 0; slot < s->slots; slot++) {
        reply *r = s->running[slot];
        if (!r || r->finish || !r->tokens || r->mean || r->heard >= r->prompt) continue;
        if (r->prompt - r->heard < 2 || (long long)(r->prompt - r->heard) < s->prefill) continue;
        if (reply_follows(s, r)) continue;
        if (r->heard == 0) wcoh_session_reset(s->ear);
        else if (ear_carry(s, slot, 0, error) < 0) continue; /* he hears by steps */
        s->listener = r;
        s->listening = slot;
        return 1;
    }
    return 0;
}

/* Hears one block of a long prompt; its last symbol is left for a step. */
static void ear_hear(server *s)
{
    wcoh_error error;
    reply *r;
    size_t block, i;
    if (!s->ear || !ear_choose(s, &error)) return;
    r = s->listener;
    block = r->prompt - r->heard - 1 < 64 ? r->prompt - r->heard - 1 : 64;
    if (wcoh_session_prefill(s->ear, r->tokens + r->heard, block, &error) < 0) {
        reply_fail(s, r, &error);
        s->listener = NULL;
        return;
    }
    for (i = 0; i < block; i++) r->sum = prefix_add(s, r->sum, r->tokens[r->heard++]);
    if (r->heard + 1 < r->prompt) return;
    s->listener = NULL;
    if (ear_carry(s, s->listening, 1, &error) < 0) reply_fail(s, r, &error);
}

/* All members hear one symbol in one batch, and those who know their prompt say the next. Returns
   how many there were. */
static int crowd_step(server *s)
{
    wcoh_error error;
    wcoh_result result;
    double began = seconds_now();
    int slot, count = 0, i;
    ear_hear(s);
    for (slot = 0; slot < s->slots; slot++) { /* whose whole prompt was kept, or told by another */
        reply *r = s->running[slot];
        if (r && !r->finish && r->tokens && r->said == 0 && r->heard == r->prompt)
            reply_go_on(s, r, slot);
    }
    for (slot = 0; slot < s->slots; slot++) {
        reply *r = s->running[slot];
        if (!r || r->finish || !r->tokens || r->heard == r->prompt + r->said) continue;
        if (r == s->listener || reply_follows(s, r)) continue;
        s->ids[count] = slot;
        s->symbols[count++] = r->tokens[r->heard];
    }
    result = wcoh_crowd_step(s->crowd, s->ids, s->symbols, count, &error);
    s->step++;
    for (i = 0; i < count; i++) {
        reply *r = s->running[s->ids[i]];
        if (result < 0) reply_fail(s, r, &error);
        if (result < 0) continue;
        r->sum = prefix_add(s, r->sum, r->tokens[r->heard++]);
        if (r->mean) reply_add_row(s, r, s->ids[i]);
        if (r->heard == r->prompt + r->said) reply_go_on(s, r, s->ids[i]);
    }
    s->step_seconds = seconds_now() - began;
    return count;
}

static void *stepping(void *user)
{
    server *s = (server *)user;
    int count;
    pthread_mutex_lock(&s->lock);
    while (!s->ending) {
        crowd_admit(s);
        if (s->busy == 0) {
            pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        count = crowd_step(s);
        pthread_mutex_lock(&s->lock);
        crowd_deliver(s);
        crowd_publish(s, count);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- HTTP: answers --------------------------------------------------------------------------- */

static answered send_response(job *j, struct MHD_Response *response, int status, const char *type)
{
    answered result;
    if (!response) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    if (*type == 't') /* what a page may do: talk to us, with what stands in it */
        MHD_add_response_header(response, "Content-Security-Policy",
                                "default-src 'none'; style-src 'unsafe-inline'; script-src "
                                "'unsafe-inline'; connect-src 'self'; img-src data:; base-uri "
                                "'none'; form-action 'none'; frame-ancestors 'none'");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (status == 401) MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (status == 429 || status == 503) MHD_add_response_header(response, "Retry-After", "1");
    result = MHD_queue_response(j->connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

static answered send_text(job *j, int status, const char *type, const buffer *text)
{
    if (text->broken) return MHD_NO;
    return send_response(
        j, MHD_create_response_from_buffer(text->size, text->text, MHD_RESPMEM_MUST_COPY), status,
        type);
}

static answered send_refusal(job *j, const char *allow)
{
    struct MHD_Response *response;
    buffer out;
    memset(&out, 0, sizeof out);
    refusal_write(&out, &j->refusal);
    buffer_put(&out, "\n", 1);
    if (out.broken) return MHD_NO;
    response = MHD_create_response_from_buffer(out.size, out.text, MHD_RESPMEM_MUST_COPY);
    if (response && allow) MHD_add_response_header(response, "Allow", allow);
    buffer_free(&out);
    return send_response(j, response, j->refusal.status, "application/json");
}

/* The next bytes of a stream, or sleep until there are some. */
static ssize_t stream_read(void *user, uint64_t position, char *to, size_t most)
{
    job *j = (job *)user;
    ssize_t count = 0;
    (void)position;
    pthread_mutex_lock(&j->server->lock);
    if (j->gone || j->out.broken) {
        count = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (j->taken < j->out.size) {
        if (most > j->out.size - j->taken) most = j->out.size - j->taken;
        memcpy(to, j->out.text + j->taken, most);
        j->taken += most;
        count = (ssize_t)most;
        if (j->taken == j->out.size) j->taken = j->out.size = 0;
    } else if (j->done) {
        count = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        job_sleep(j);
    }
    pthread_mutex_unlock(&j->server->lock);
    return count;
}

static answered send_stream(job *j)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1 << 14, stream_read, j, NULL);
    if (response) {
        MHD_add_response_header(response, "Cache-Control", "no-cache");
        MHD_add_response_header(response, "X-Accel-Buffering", "no");
    }
    return send_response(j, response, 200, "text/event-stream");
}

/* ---- HTTP: routes ---------------------------------------------------------------------------- */

static int answer_page(server *s, job *j)
{
    size_t i;
    (void)s;
    for (i = 0; i < sizeof chat_page / sizeof *chat_page; i++) {
        buffer_text(&j->out, chat_page[i]);
        buffer_put(&j->out, "\n", 1);
    }
    return 1;
}

static int answer_health(server *s, job *j)
{
    (void)s;
    buffer_text(&j->out, "{\"status\":\"ok\"}\n");
    return 1;
}

static void write_model(const server *s, buffer *out)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(s->model);
    buffer_text(out, "{\"id\":");
    buffer_json_text(out, s->name);
    buffer_print(out,
                 ",\"object\":\"model\",\"created\":0,\"owned_by\":\"wavecoh\",\"meta\":{"
                 "\"n_vocab\":%d,\"n_embd\":%d,\"n_layers\":%d,\"n_params\":%lu}}",
                 desc->vocab, 2 * desc->bands, desc->layers,
                 (unsigned long)wcoh_model_trained_count(s->model));
}

static int answer_models(server *s, job *j)
{
    buffer_text(&j->out, "{\"object\":\"list\",\"data\":[");
    write_model(s, &j->out);
    buffer_text(&j->out, "]}\n");
    return 1;
}

static int answer_model(server *s, job *j)
{
    if (strcmp(j->rest, s->name) != 0)
        return refuse(&j->refusal, 404, "model_not_found", "model",
                      "there is no model \"%.100s\" here", j->rest);
    write_model(s, &j->out);
    buffer_put(&j->out, "\n", 1);
    return 1;
}

/* Put the replies of a request in the queue. */
static int job_queue(server *s, job *j)
{
    int i, free_slots;
    uint64_t seed;
    pthread_mutex_lock(&s->lock);
    seed = j->ask.seeded ? (uint64_t)j->ask.seed : wcoh_rng_next(&s->rng);
    snprintf(j->id, sizeof j->id, "%s-%016lx", j->ask.chat ? "chatcmpl" : "cmpl",
             (unsigned long)wcoh_rng_next(&s->rng));
    free_slots = (int)s->slots - s->busy;
    if (s->state == SERVER_DRAINING)
        refuse(&j->refusal, 503, "draining", NULL, "the server is going down");
    else if (s->waiting + j->count > s->queue + free_slots)
        refuse(&j->refusal, 429, "queue_full", NULL,
               "%d requests wait already, which is all that this server lets wait", s->waiting);
    for (i = 0; !j->refusal.status && i < j->count; i++) {
        reply *r = &j->replies[i];
        r->rng = wcoh_rng_seed(seed + (uint64_t)i);
        if (j->ask.chat && j->ask.stream) write_event(s, r, 1, "", 0, 0, NULL);
        queue_put(s, r);
    }
    j->queued = !j->refusal.status;
    if (j->queued) j->holders++;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    return j->queued;
}

static int job_start(server *s, job *j, int on)
{
    int i, count;
    if (!buffer_room(&j->body, 1))
        return refuse(&j->refusal, 503, "no_memory", NULL, "no memory for the request");
    if (!ask_read(&j->ask, &s->rules, on, j->body.text, j->body.size, &j->refusal)) return 0;
    buffer_free(&j->body);
    count = (int)j->ask.prompts * (int)j->ask.n;
    j->replies = (reply *)calloc((size_t)count, sizeof *j->replies);
    if (!j->replies)
        return refuse(&j->refusal, 503, "no_memory", NULL, "no memory for the request");
    j->count = j->unfinished = count;
    j->created = (long)time(NULL);
    j->arrived = j->last_event = seconds_now();
    for (i = 0; i < count; i++) {
        j->replies[i].job = j;
        j->replies[i].index = i;
    }
    return job_queue(s, j);
}

static int answer_chat(server *s, job *j) { return job_start(s, j, ON_CHAT); }
static int answer_text(server *s, job *j) { return job_start(s, j, ON_TEXT); }
static int answer_embeddings(server *s, job *j) { return job_start(s, j, ON_EMBED); }

static int answer_tokenize(server *s, job *j)
{
    if (!buffer_room(&j->body, 1))
        return refuse(&j->refusal, 503, "no_memory", NULL, "no memory for the request");
    return tokenize_read(&s->rules, j->body.text, j->body.size, &j->out, &j->refusal);
}

static int answer_detokenize(server *s, job *j)
{
    if (!buffer_room(&j->body, 1))
        return refuse(&j->refusal, 503, "no_memory", NULL, "no memory for the request");
    return detokenize_read(&s->rules, j->body.text, j->body.size, &j->out, &j->refusal);
}

static int answer_slots(server *s, job *j)
{
    int slot;
    pthread_mutex_lock(&s->lock);
    for (slot = 0; slot < s->slots; slot++) {
        const slot_view *view = &s->views[slot];
        buffer_print(&j->out, "%s{\"id\":%d,\"is_processing\":%s", slot ? "," : "[", slot,
                     s->running[slot] ? "true" : "false");
        if (s->running[slot] && view->busy)
            buffer_print(&j->out,
                         ",\"prompt_tokens\":%lu,\"cached_tokens\":%lu,\"heard_tokens\":%lu,"
                         "\"completion_tokens\":%lu",
                         (unsigned long)view->prompt, (unsigned long)view->cached,
                         (unsigned long)view->heard, (unsigned long)view->said);
        buffer_put(&j->out, "}", 1);
    }
    pthread_mutex_unlock(&s->lock);
    buffer_text(&j->out, "]\n");
    return 1;
}

static int answer_props(server *s, job *j)
{
    const wcoh_field *fields;
    int count, i;
    buffer_text(&j->out, "{\"model\":");
    write_model(s, &j->out);
    buffer_print(
        &j->out,
        ",\"total_slots\":%lld,\"queue\":%lld,\"state_bytes\":%lu,\"kept_states\":%lu,"
        "\"max_tokens\":%lld,\"max_tokens_most\":%lld,\"body_bytes\":%lld,\"chat_template\":",
        s->slots, s->queue, (unsigned long)wcoh_crowd_member_size(s->model, &s->crowd_desc, NULL),
        (unsigned long)s->keeps, s->tokens, s->tokens_most, s->body);
    buffer_json(&j->out, s->template_text, s->template_size);
    buffer_text(&j->out, ",\"default_generation_settings\":{");
    fields = wcoh_fields(WCOH_DESC_SAMPLE, &count);
    for (i = 0; i < count; i++) {
        char value[64];
        if (fields[i].kind == WCOH_FIELD_SEED) continue;
        wcoh_field_get(WCOH_DESC_SAMPLE, &s->sample, fields[i].name, value, sizeof value);
        buffer_print(&j->out, "%s\"%s\":%.15g", i ? "," : "", fields[i].name,
                     strtod(value, NULL)); /* it may be hexadecimal, which JSON is not */
    }
    buffer_print(&j->out, "},\"build_info\":\"wavecoh %s\"}\n", WCOH_VERSION);
    return 1;
}

/* One figure in Prometheus' text format. */
static void write_metric(buffer *out, const char *name, const char *kind, double value,
                         const char *help)
{
    buffer_print(out, "# HELP wavecoh_%s %s\n# TYPE wavecoh_%s %s\nwavecoh_%s ", name, help, name,
                 kind, name);
    buffer_print(out, "%.17g\n", value);
}

static int answer_metrics(server *s, job *j)
{
    const figures *f = &s->figures;
    buffer *out = &j->out;
    pthread_mutex_lock(&s->lock);
    write_metric(out, "requests_total", "counter", (double)f->requests, "requests that came");
    write_metric(out, "refused_total", "counter", (double)f->refused, "answers of 400 and above");
    write_metric(out, "left_total", "counter", (double)f->left, "clients gone before their answer");
    write_metric(out, "prompt_tokens_total", "counter", (double)f->prompt, "symbols of prompts");
    write_metric(out, "prompt_tokens_cached_total", "counter", (double)f->cached,
                 "those that were heard before");
    write_metric(out, "tokens_predicted_total", "counter", (double)f->said, "symbols said");
    write_metric(out, "steps_total", "counter", (double)f->steps, "steps of the crowd");
    write_metric(out, "step_members_total", "counter", (double)f->members,
                 "members in them, all added up");
    write_metric(out, "step_seconds_total", "counter", f->seconds, "seconds in them");
    write_metric(out, "cache_hits_total", "counter", (double)f->hits,
                 "replies that began at a kept state");
    write_metric(out, "cache_misses_total", "counter", (double)f->misses, "and those that did not");
    write_metric(out, "kept_states", "gauge", (double)s->kept_now, "states that are kept");
    write_metric(out, "requests_processing", "gauge", s->busy, "replies under way");
    write_metric(out, "requests_deferred", "gauge", s->waiting, "replies that wait");
    pthread_mutex_unlock(&s->lock);
    return 1;
}

enum { ROUTE_PUBLIC = 1, ROUTE_BEGINNING = 2, ROUTE_TEXT = 4, ROUTE_PAGE = 8 };

typedef struct route {
    const char *path, *method;
    int how;                          /* public: no key is asked for */
    int (*answer)(server *s, job *j); /* 1: it is in j->out, or on its way; 0: a refusal */
} route;

static const route routes[] = {
    {"/", "GET", ROUTE_PUBLIC | ROUTE_PAGE, answer_page},
    {"/health", "GET", ROUTE_PUBLIC, answer_health},
    {"/v1/health", "GET", ROUTE_PUBLIC, answer_health},
    {"/v1/models", "GET", 0, answer_models},
    {"/v1/models/", "GET", ROUTE_BEGINNING, answer_model},
    {"/v1/chat/completions", "POST", 0, answer_chat},
    {"/v1/completions", "POST", 0, answer_text},
    {"/v1/embeddings", "POST", 0, answer_embeddings},
    {"/tokenize", "POST", 0, answer_tokenize},
    {"/detokenize", "POST", 0, answer_detokenize},
    {"/slots", "GET", 0, answer_slots},
    {"/props", "GET", 0, answer_props},
    {"/metrics", "GET", ROUTE_TEXT, answer_metrics},
};

static const route *route_find(const char *path, const char **rest)
{
    size_t i;
    for (i = 0; i < sizeof routes / sizeof *routes; i++) {
        size_t length = strlen(routes[i].path);
        *rest = path + (strlen(path) > length ? length : 0);
        if (strcmp(path, routes[i].path) == 0 && !(routes[i].how & ROUTE_BEGINNING))
            return &routes[i];
        if ((routes[i].how & ROUTE_BEGINNING) && strncmp(path, routes[i].path, length) == 0 &&
            path[length])
            return &routes[i];
    }
    return NULL;
}

/* ---- HTTP: a request comes in ---------------------------------------------------------------- */

enum {
    DROPPED_MOST = 64 << 20
}; /* of a body that is too large: read, so that its sender reads us */

/* The number of a key, from 1, or 0; in a time that tells nothing of the keys. */
static int key_is_known(const server *s, const char *given)
{
    size_t length = strlen(given), i, k;
    unsigned known = 0, first;
    for (k = 0; k < s->key_count; k++) {
        size_t size = strlen(s->keys[k]);
        unsigned different = length != size;
        for (i = 0; i < s->key_longest; i++)
            different |= (unsigned)((i < length ? given[i] : 0) ^ (i < size ? s->keys[k][i] : 0));
        first = known == 0; /* a key that stands there twice has the number of the first */
        known |= (unsigned)(k + 1) & (0u - (unsigned)(different == 0)) & (0u - first);
    }
    return (int)known;
}

static const char *header(const job *j, const char *name)
{
    const char *value = MHD_lookup_connection_value(j->connection, MHD_HEADER_KIND, name);
    return value ? value : "";
}

static int check_key(const server *s, job *j)
{
    const char *given = header(j, "Authorization");
    if (s->key_count == 0 || (j->route->how & ROUTE_PUBLIC)) return 1;
    if (strncasecmp(given, "Bearer ", 7) != 0)
        return refuse(&j->refusal, 401, "invalid_api_key", NULL,
                      "a key is needed: Authorization: Bearer KEY");
    given += 7;
    given += strspn(given, " ");
    j->space = (uint64_t)key_is_known(s, given);
    if (j->space) return 1;
    return refuse(&j->refusal, 401, "invalid_api_key", NULL, "the key is not one of this server's");
}

static int check_state(server *s, job *j)
{
    server_state state;
    if (j->route->how & ROUTE_PAGE) return 1;
    pthread_mutex_lock(&s->lock);
    state = s->state;
    pthread_mutex_unlock(&s->lock);
    if (state == SERVER_READY) return 1;
    return state == SERVER_LOADING
               ? refuse(&j->refusal, 503, "loading", NULL, "the model is being loaded")
               : refuse(&j->refusal, 503, "draining", NULL, "the server is going down");
}

static int check_body(const server *s, job *j)
{
    const char *type = header(j, "Content-Type");
    uint64_t length = 0;
    if (strcmp(j->route->method, "POST") != 0) return 1;
    if (strncasecmp(type, "application/json", 16) != 0 || !strchr("; \t", type[16]))
        return refuse(&j->refusal, 415, "unsupported_media_type", NULL,
                      "Content-Type is \"%.60s\": application/json is needed", type);
    if (!wcohi_parse_u64(header(j, "Content-Length"), &length) || length <= (uint64_t)s->body)
        return 1;
    return refuse(&j->refusal, 413, "payload_too_large", NULL,
                  "the body has %lu bytes: this server reads %ld", (unsigned long)length,
                  (long)s->body);
}

/* What can be told from the head of a request. */
static int check_head(server *s, job *j, const char *path, const char *method)
{
    j->route = route_find(path, &j->rest);
    if (!j->route)
        return refuse(&j->refusal, 404, "not_found", NULL, "there is no %.100s here", path);
    if (strcmp(method, j->route->method) != 0 &&
        !(strcmp(method, "HEAD") == 0 && strcmp(j->route->method, "GET") == 0))
        return refuse(&j->refusal, 405, "method_not_allowed", NULL, "%.60s takes %s, not %.20s",
                      j->route->path, j->route->method, method);
    return check_key(s, j) && check_state(s, j) && check_body(s, j);
}

static const char *route_type(const route *r)
{
    return r->how & ROUTE_PAGE   ? "text/html; charset=utf-8"
           : r->how & ROUTE_TEXT ? "text/plain; version=0.0.4"
                                 : "application/json";
}

static const char *route_methods(const route *r)
{
    return strcmp(r->method, "GET") == 0 ? "GET, HEAD" : r->method;
}

static answered job_answer(server *s, job *j)
{
    int status, sleeps;
    if (!j->asked && !j->refusal.status) j->route->answer(s, j);
    pthread_mutex_lock(&s->lock);
    if (!j->uploaded) s->uploads--;
    j->uploaded = j->asked = 1;
    sleeps = j->holders > 1 && !j->ask.stream && !j->done && !j->gone;
    status = j->gone ? -1 : j->refusal.status;
    if (sleeps) job_sleep(j);
    pthread_mutex_unlock(&s->lock);
    if (sleeps) return MHD_YES;
    if (status < 0) return MHD_NO;
    if (j->queued && j->ask.stream) return send_stream(j);
    if (status) return send_refusal(j, status == 405 ? route_methods(j->route) : NULL);
    return send_text(j, 200, route_type(j->route), &j->out);
}

static job *job_open(server *s, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    job *j = (job *)calloc(1, sizeof *j);
    if (!j || !info) free(j);
    if (!j || !info) return NULL;
    j->server = s;
    j->connection = connection;
    j->handle = info->connect_fd;
    j->holders = 1;
    j->arrived = seconds_now();
    pthread_mutex_lock(&s->lock);
    s->visits++;
    s->uploads++;
    pthread_mutex_unlock(&s->lock);
    return j;
}

/* A piece of the body; one that nobody wants is passed over. */
static answered job_upload(server *s, job *j, const char *piece, size_t *size)
{
    if (!j->refusal.status && j->body.size + *size > (size_t)s->body)
        refuse(&j->refusal, 413, "payload_too_large", NULL,
               "the body has more than the %ld bytes that this server reads", (long)s->body);
    if (j->refusal.status) j->dropped += *size;
    else buffer_put(&j->body, piece, *size);
    if (j->body.broken && !j->refusal.status)
        refuse(&j->refusal, 503, "no_memory", NULL, "no memory for the request");
    *size = 0;
    if (seconds_now() - j->arrived > (double)s->longest) return MHD_NO; /* drop by drop */
    return j->dropped > DROPPED_MOST ? MHD_NO : MHD_YES;
}

static answered on_request(void *user, struct MHD_Connection *connection, const char *path,
                           const char *method, const char *version, const char *piece, size_t *size,
                           void **kept)
{
    server *s = (server *)user;
    job *j = (job *)*kept;
    uint64_t length = 0;
    (void)version;
    if (j) return *size ? job_upload(s, j, piece, size) : job_answer(s, j);
    *kept = j = job_open(s, connection);
    if (!j) return MHD_NO;
    check_head(s, j, path, method);
    wcohi_parse_u64(header(j, "Content-Length"), &length);
    if (j->refusal.status && (length > DROPPED_MOST || *header(j, "Expect")))
        return job_answer(s, j); /* without the body */
    return MHD_YES;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **kept,
                         enum MHD_RequestTerminationCode code)
{
    server *s = (server *)user;
    job *j = (job *)*kept;
    (void)connection;
    if (!j) return;
    *kept = NULL;
    pthread_mutex_lock(&s->lock);
    s->visits--;
    s->figures.requests++;
    s->figures.refused += j->refusal.status >= 400;
    s->figures.left += code != MHD_REQUEST_TERMINATED_COMPLETED_OK;
    if (!j->uploaded) s->uploads--;
    j->connection = NULL;
    j->gone = 1;
    door_answered(&s->door, j->handle);
    job_release(j);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the program ----------------------------------------------------------------------------- */

static void server_options(server *s, int argc, char **argv)
{
    const option options[] = {
        {"host", OPTION_TEXT, &s->host, 0, 0, "address to listen at; 0.0.0.0 or ::: all of them"},
        {"port", OPTION_WHOLE, &s->port, 0, 65535, "port to listen at; 0: any that is free"},
        {"name", OPTION_TEXT, &s->name, 0, 0, "what the model is called; its file's name"},
        {"keys", OPTION_TEXT, &s->keys_path, 0, 0,
         "file of keys, one a line, of which a request must bring one; also in the environment, "
         "WAVECOH_KEYS, commas between them"},
        {"template", OPTION_TEXT, &s->template_path, 0, 0,
         "file of the chat template: BEFORE {messages} {role} {content} {reply} END {stop} TEXT"},
        {"slots", OPTION_WHOLE, &s->slots, 1, 65536, "replies under way at once"},
        {"queue", OPTION_WHOLE, &s->queue, 0, 1000000, "replies that may wait for one of them"},
        {"cache", OPTION_WHOLE, &s->cache, 0, 1 << 20,
         "MiB of states that conversations go on from"},
        {"prefill", OPTION_WHOLE, &s->prefill, 0, 1e9,
         "hear prompts of so many new symbols in blocks, faster and exact to rounding; 0: never"},
        {"tokens", OPTION_WHOLE, &s->tokens, 0, 1e9, "symbols of a reply, unless it is told"},
        {"tokens_most", OPTION_WHOLE, &s->tokens_most, 0, 1e9, "the most that can be asked for"},
        {"body", OPTION_WHOLE, &s->body, 1, 1 << 30, "bytes of a request, at most"},
        {"connections", OPTION_WHOLE, &s->connections, 1, 65536,
         "connections at once, where the system allows so many; a further one waits"},
        {"timeout", OPTION_WHOLE, &s->timeout, 1, 86400, "seconds a connection may be silent"},
        {"longest", OPTION_WHOLE, &s->longest, 1, 1e9, "seconds a request may take"},
        {"event", OPTION_WHOLE, &s->event, 0, 10000,
         "ms between two events of a stream; 0: one for each symbol"},
        {"threads", OPTION_WHOLE, &s->threads, 0, 256, "threads of a step; 0: one"},
        UNKNOWN_OPTION(&s->unknown),
        ISA_OPTION(&s->isa_name),
    };
    settings descs[2];
    command c;
    memset(&c, 0, sizeof c);
    descs[0] =
        settings_of("sampling, where a request says nothing", WCOH_DESC_SAMPLE, &s->sample, "seed");
    descs[1] = settings_of("members", WCOH_DESC_CROWD, &s->crowd_desc,
                           "members repetition_window seed waves");
    c.usage = "MODEL [options]\nServes a model to clients of the OpenAI API; - is a model on "
              "standard input.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    c.descs = descs;
    c.desc_count = 2;
    c.word_limit = 1;
    options_read(&c, argc, argv);
    if (c.word_count < 1) fail(EXIT_USAGE, "a model is needed; --help explains");
    s->path = c.words[0];
    s->crowd_desc.cpu.isa = isa_named(s->isa_name);
    s->crowd_desc.cpu.threads = (int)s->threads;
}

/* One key; blanks around it do not count, and without anything else it is none. */
static void key_add(server *s, const char *key, size_t size)
{
    while (size && (*key == ' ' || *key == '\t')) key++, size--;
    while (size && (key[size - 1] == ' ' || key[size - 1] == '\t')) size--;
    if (size) s->keys[s->key_count++] = text_made("%.*s", (int)size, key);
    if (size > s->key_longest) s->key_longest = size;
}

/* Keys of a file and of the environment. */
static void keys_open(server *s)
{
    const char *given = getenv("WAVECOH_KEYS");
    size_t lines = 0, i;
    char **all = s->keys_path ? file_lines(s->keys_path, &lines) : NULL;
    size_t most = lines + (given ? strlen(given) : 0) + 1;
    s->keys = (char **)(void *)text_keep(most * sizeof *s->keys);
    for (i = 0; i < lines; i++) key_add(s, all[i], strlen(all[i]));
    while (given && *given) {
        size_t size = strcspn(given, ",");
        key_add(s, given, size);
        given += size + (given[size] == ',');
    }
    if (s->keys_path && !lines) fail(EXIT_FAILED, "%s: no key stands there", s->keys_path);
    if ((s->keys_path || getenv("WAVECOH_KEYS")) && s->key_count == 0)
        fail(EXIT_FAILED, "keys are asked for and none is there");
}

static void template_set(server *s, const char *text, size_t size)
{
    const char *wrong = template_read(&s->rules.chat, text, size);
    if (wrong) fail(EXIT_FAILED, "%s: %s", s->template_path, wrong);
    s->template_text = text;
    s->template_size = size;
}

static void template_open(server *s)
{
    const char *text = CHAT_PLAIN;
    size_t size = strlen(text);
    if (s->template_path) {
        char *read = file_read(s->template_path, &size);
        text = text_keep(size);
        memcpy((char *)(size_t)text, read, size);
        free(read);
    }
    template_set(s, text, size);
}

/* A socket that listens; the sentence of a failure names the address. */
static int listen_at(server *s)
{
    struct sockaddr_storage at;
    struct sockaddr_in *four = (struct sockaddr_in *)&at;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&at;
    socklen_t size = sizeof *four;
    int handle, on = 1;
    memset(&at, 0, sizeof at);
    if (inet_pton(AF_INET, s->host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)s->port);
    } else if (inet_pton(AF_INET6, s->host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)s->port);
        size = sizeof *six;
    } else {
        fail(EXIT_USAGE, "--host is \"%s\": an address in numbers is needed", s->host);
    }
    handle = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (handle >= 0) setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (handle < 0 || bind(handle, (struct sockaddr *)&at, size) || listen(handle, SOMAXCONN))
        fail(EXIT_FAILED, "cannot listen at %s, port %lld: %s", s->host, s->port, strerror(errno));
    size = sizeof at;
    getsockname(handle, (struct sockaddr *)&at, &size);
    s->port = ntohs(at.ss_family == AF_INET ? four->sin_port : six->sin6_port);
    return handle;
}

/* As many as wanted, or as the system's limit of open files leaves beside our own. */
static unsigned connections_most(const server *s)
{
    struct rlimit files;
    rlim_t wanted = 3 * (rlim_t)s->connections + 64; /* a client's socket and a pair behind it */
    if (getrlimit(RLIMIT_NOFILE, &files)) return 300;
    if (files.rlim_cur < wanted) {
        files.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted;
        setrlimit(RLIMIT_NOFILE, &files);
        getrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur < wanted) wanted = files.rlim_cur < 256 ? 256 : files.rlim_cur;
    return ((unsigned)wanted - 64) / 3;
}

/* A path in plain letters; one with a zero byte stays as it is, and is nobody's. */
static size_t unescape(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user;
    (void)connection;
    return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

/* The door has refused somebody. */
static void on_refused(void *user)
{
    server *s = (server *)user;
    pthread_mutex_lock(&s->lock);
    s->figures.requests++;
    s->figures.refused++;
    pthread_mutex_unlock(&s->lock);
}

static void http_open(server *s)
{
    door *d = &s->door;
    d->listener = listen_at(s);
    d->most = (int)connections_most(s);
    d->timeout = (double)s->timeout;
    d->refused = on_refused;
    d->user = s;
    d->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
            MHD_USE_NO_LISTEN_SOCKET,
        0, NULL, NULL, on_request, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)s->timeout, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)d->most + 16, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_END);
    if (!d->daemon) fail(EXIT_FAILED, "the HTTP library does not start: %s", strerror(errno));
    if (door_open(d)) fail(EXIT_FAILED, "no thread for the clients: %s", strerror(errno));
    printf(strchr(s->host, ':') ? "listening at http://[%s]:%lld\n"
                                : "listening at http://%s:%lld\n",
           s->host, s->port);
    stdout_check();
}

static void model_open(server *s)
{
    wcoh_error error;
    wcoh_memory_file file;
    wcoh_io io;
    if (strcmp(s->path, "-") != 0) {
        must(wcoh_model_load_file(&s->model, s->path, NULL, &error), NULL, &error);
    } else {
        memset(&file, 0, sizeof file);
        file.data = (unsigned char *)file_read("-", &file.used);
        io = wcoh_io_memory(&file);
        must(wcoh_model_load(&s->model, &io, NULL, &error), "standard input", &error);
        free(file.data);
    }
    if (!wcoh_model_tokenizer(s->model))
        fail(EXIT_FAILED, "%s: the model has no tokenizer: its symbols are no text",
             file_named(s->path));
}

/* What requests are read by. */
static void rules_open(server *s)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(s->model);
    ask_rules *rules = &s->rules;
    rules->tokenizer = wcoh_model_tokenizer(s->model);
    rules->trims = !s->template_path && wcoh_tokenizer_json(rules->tokenizer, NULL);
    if (rules->trims) template_set(s, CHAT_SUBWORDS, strlen(CHAT_SUBWORDS));
    if (s->template_path) /* as prompts are: else no stop with CR LF would ever come */
        template_set(
            s, s->template_text,
            text_plain_for(rules->tokenizer, (char *)(size_t)s->template_text, s->template_size));
    rules->sample = s->sample;
    rules->first = first_token(s->model);
    rules->vocab = desc->vocab;
    rules->width = 2 * desc->bands;
    rules->unknown = s->unknown.index;
    rules->tokens = s->tokens;
    rules->tokens_most = s->tokens_most;
    rules->replies_most = s->slots + s->queue < REPLIES_MOST ? s->slots + s->queue : REPLIES_MOST;
    rules->positions = desc->position == WCOH_POSITION_LEARNED ? desc->context : 0;
}

/* Members of the crowd: one for each slot, and the states that are kept. */
static void crowd_open(server *s)
{
    wcoh_error error;
    size_t member, i;
    s->crowd_desc.members = (int)s->slots;
    member = wcoh_crowd_member_size(s->model, &s->crowd_desc, &error);
    must(member ? WCOH_OK : WCOH_E_ARGUMENT, NULL, &error);
    s->keeps = ((size_t)s->cache << 20) / (member + sizeof *s->kept);
    if (s->keeps > 16000000 - (size_t)s->slots) s->keeps = 16000000 - (size_t)s->slots;
    s->crowd_desc.members = (int)((size_t)s->slots + s->keeps);
    if (!s->crowd_desc.batch) s->crowd_desc.batch = s->slots < 128 ? (int)s->slots : 128;
    must(wcoh_crowd_create(&s->crowd, s->model, &s->crowd_desc, &error), NULL, &error);
    for (i = 0; i < (size_t)s->slots + s->keeps; i++) {
        int id; /* the lowest that is free: i */
        must(wcoh_crowd_join(s->crowd, &id, &error), NULL, &error);
    }
}

static void slots_open(server *s)
{
    size_t slots = (size_t)s->slots, vocab = (size_t)s->rules.vocab;
    s->running = (reply **)calloc(slots, sizeof *s->running);
    s->views = (slot_view *)calloc(slots, sizeof *s->views);
    s->ids = (int *)calloc(slots, sizeof *s->ids);
    s->symbols = (uint32_t *)calloc(slots, sizeof *s->symbols);
    s->kept = (kept_state *)calloc(s->keeps + 1, sizeof *s->kept);
    s->logits = (float *)calloc(vocab, sizeof *s->logits);
    s->scratch = (float *)calloc(2 * vocab, sizeof *s->scratch);
    if (!s->running || !s->views || !s->ids || !s->symbols || !s->kept || !s->logits || !s->scratch)
        fail(EXIT_FAILED, "no memory for %lld slots", s->slots);
}

/* A session of the crowd's kind that hears long prompts. */
static void ear_open(server *s)
{
    wcoh_session_desc desc;
    wcoh_error error;
    if (!s->prefill) return;
    memset(&desc, 0, sizeof desc);
    desc.states = s->crowd_desc.states;
    desc.gain = s->crowd_desc.gain;
    desc.cpu = s->crowd_desc.cpu;
    must(wcoh_session_create(&s->ear, s->model, &desc, &error), NULL, &error);
    s->carried.capacity = wcoh_session_file_size(s->ear) + wcoh_crowd_file_size(s->crowd, 0);
    s->carried.data = (unsigned char *)malloc(s->carried.capacity);
    if (!s->carried.data) fail(EXIT_FAILED, "no memory for a state");
}

/* A seed that nobody can guess, where the system has such. */
static void secrets_open(server *s)
{
    uint64_t seed[3];
    FILE *file = fopen("/dev/urandom", "rb");
    const uint64_t prime = ((uint64_t)1 << 61) - 1;
    if (!file || fread(seed, sizeof seed, 1, file) != 1)
        fail(EXIT_FAILED, "/dev/urandom: cannot read it: %s", strerror(errno));
    fclose(file);
    s->rng = wcoh_rng_seed(seed[0]);
    s->secret.a = seed[1] % prime;
    s->secret.b = seed[2] % prime;
}

static void sleep_ms(long ms)
{
    struct timespec time;
    time.tv_sec = ms / 1000;
    time.tv_nsec = ms % 1000 * 1000000;
    nanosleep(&time, NULL);
}

static void state_set(server *s, server_state state)
{
    pthread_mutex_lock(&s->lock);
    s->state = state;
    pthread_mutex_unlock(&s->lock);
}

/* No new request; those that are here get their answers, those that are still coming in 2 s. */
static void server_drain(server *s)
{
    int left, coming, rounds = 0;
    state_set(s, SERVER_DRAINING);
    door_shut(&s->door);
    do {
        pthread_mutex_lock(&s->lock);
        left = s->visits;
        coming = s->uploads;
        pthread_mutex_unlock(&s->lock);
        if (rounds++ == 0) printf("draining %d requests\n", left), fflush(stdout);
        if (left) sleep_ms(10);
    } while (left > coming || (coming && rounds < 200));
}

static void server_close(server *s, pthread_t thread)
{
    pthread_mutex_lock(&s->lock);
    s->ending = 1;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    pthread_join(thread, NULL);
    door_part(&s->door);
    MHD_stop_daemon(s->door.daemon);
    door_close(&s->door);
    wcoh_session_destroy(s->ear);
    free(s->carried.data);
    wcoh_crowd_destroy(s->crowd);
    wcoh_model_destroy(s->model);
    free(s->running), free(s->views), free(s->ids), free(s->symbols), free(s->kept);
    free(s->sums), free(s->logits), free(s->scratch);
}

/* The name of a file without its folder and its ending. */
static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot;
    if (strcmp(path, "-") == 0) return "wavecoh";
    dot = strstr(name, ".safetensors");
    return text_made("%.*s", dot && dot > name ? (int)(dot - name) : (int)strlen(name), name);
}

static void server_defaults(server *s)
{
    memset(s, 0, sizeof *s);
    s->host = "127.0.0.1";
    s->port = 8080;
    s->slots = 64;
    s->queue = 256;
    s->tokens = 256;
    s->tokens_most = 65536;
    s->body = 2 << 20;
    s->connections = 4096;
    s->timeout = 60;
    s->longest = 600;
    s->event = 20;
    s->isa_name = "auto";
    s->unknown.words = UNKNOWN_WORDS;
    s->sample.temperature = 0.8;
    s->cache = 64;
    secrets_open(s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
}

#ifndef SERVER_NO_MAIN
int main(int argc, char **argv)
{
    static server s;
    pthread_t thread;
    size_t state;
    program_begin("server");
    server_defaults(&s);
    server_options(&s, argc, argv);
    if (!s.name) s.name = name_of(s.path);
    keys_open(&s);
    template_open(&s);
    signal(SIGPIPE, SIG_IGN);
    catch_interrupts();
    http_open(&s);
    model_open(&s);
    rules_open(&s);
    crowd_open(&s);
    slots_open(&s);
    ear_open(&s);
    if (pthread_create(&thread, NULL, stepping, &s)) fail(EXIT_FAILED, "no thread for the steps");
    state_set(&s, SERVER_READY);
    state = wcoh_crowd_member_size(s.model, &s.crowd_desc, NULL);
    printf("ready: %s, %lld slots and %lu kept states of %lu bytes, %lu a GiB\n", s.name, s.slots,
           (unsigned long)s.keeps, (unsigned long)state,
           (unsigned long)(((size_t)1 << 30) / state));
    stdout_check();
    while (!interrupted) sleep_ms(20);
    server_drain(&s);
    server_close(&s, thread);
    return 0;
}
#endif
