/* Requests of HTTP/1.1 and 1.0, read as strictly as RFC 9112 asks and written anew: what comes out has
   the fields that a server looks at and nothing else, a length beyond doubt, plain chunks. Untrusted
   input throughout: what is no HTTP is a sentence with the status that it gets. Include it after the
   implementation of wavecoh.h and after requests.h; nothing here prints, waits or outlives the reader.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_HTTP_H
#define WAVECOH_EXAMPLES_HTTP_H

#include "requests.h"

#ifdef _WIN32
#define strncasecmp _strnicmp
#else
#include <strings.h>
#endif

/* Bytes and fields of a head, bytes of the line before a chunk. */
enum { HEAD_MOST = 16384, FIELDS_MOST = 100, LINE_MOST = 256 };

/* What comes next. */
typedef enum http_phase {
    HTTP_HEAD,
    HTTP_BODY,     /* `left` bytes of it */
    HTTP_SIZE,     /* the line before a chunk */
    HTTP_CHUNK,    /* `left` bytes of it, */
    HTTP_LINE_END, /* and the end of line behind it */
    HTTP_TRAILER   /* lines to an empty one */
} http_phase;

/* All zero is the beginning. */
typedef struct http_reader {
    http_phase phase;
    uint64_t left;
    uint64_t whole;  /* requests that were passed on to their end */
    buffer in;       /* what came and nobody could read yet */
    buffer pass;     /* what was read, written anew: who takes it away shortens it */
    refusal refusal; /* status not 0: the rest is passed over */
} http_reader;

typedef struct span {
    const char *text;
    size_t size;
} span;

/* What a head says of itself. */
typedef struct head {
    span method, path, host, authorization, type, coding, length;
    int minor, close, keep, expect;
    uint64_t body;
} head;

static int is_token(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int piece_is(span p, const char *word)
{
    return p.size == strlen(word) && strncasecmp(p.text, word, p.size) == 0;
}

/* The path of a target, which may be a whole address (RFC 9112, 3.2.2: http://HOST/PATH); what stands
   behind ? is nobody's. */
static span target_path(const char *target, size_t size)
{
    span path;
    size_t skip = size > 7 && strncasecmp(target, "http://", 7) == 0    ? 7
                  : size > 8 && strncasecmp(target, "https://", 8) == 0 ? 8
                                                                        : 0;
    while (skip && skip < size && !strchr("/?#", target[skip])) skip++;
    path.text = target + skip;
    for (path.size = 0; path.size < size - skip && !strchr("?#", path.text[path.size]);)
        path.size++;
    if (path.size == 0) path.text = "/", path.size = 1; /* http://HOST */
    return path;
}

/* METHOD TARGET HTTP/1.x */
static int head_first(head *h, const char *line, size_t size, refusal *r)
{
    size_t method = 0, target, end;
    while (method < size && is_token(line[method])) method++;
    for (target = method + 1, end = target; end < size && line[end] > ' ' && line[end] < 127;)
        end++;
    if (method == 0 || method > 32 || method >= size || line[method] != ' ' || end == target ||
        end + 9 != size || memcmp(line + end, " HTTP/", 6) || strchr("?#", line[target]))
        return refuse(r, 400, "invalid_http", NULL,
                      "the first line is not METHOD PATH HTTP/1.1 of printable ASCII");
    if (line[end + 6] != '1' || line[end + 7] != '.' || line[end + 8] < '0' || line[end + 8] > '1')
        return refuse(r, 505, "http_version_not_supported", NULL,
                      "the first line ends with %.8s: HTTP/1.1 and HTTP/1.0 are understood",
                      line + end + 1);
    h->method.text = line, h->method.size = method;
    h->path = target_path(line + target, end - target);
    h->minor = line[end + 8] - '0';
    return 1;
}

/* Is `word` in a list with commas between? */
static int list_has(span list, const char *word)
{
    size_t at = 0, from, end;
    while (at < list.size) {
        span one;
        while (at < list.size && strchr(", \t", list.text[at])) at++;
        for (from = at; at < list.size && list.text[at] != ',';) at++;
        for (end = at; end > from && strchr(" \t", list.text[end - 1]);) end--;
        one.text = list.text + from, one.size = end - from;
        if (piece_is(one, word)) return 1;
    }
    return 0;
}

/* A field that may stand once. */
static int head_once(span *into, span name, span value, refusal *r)
{
    if (into->text)
        return refuse(r, 400, "invalid_http", NULL, "the head has two fields %.*s", (int)name.size,
                      name.text);
    *into = value;
    return 1;
}

static int head_take(head *h, span name, span value, refusal *r)
{
    if (piece_is(name, "Host")) return head_once(&h->host, name, value, r);
    if (piece_is(name, "Authorization")) return head_once(&h->authorization, name, value, r);
    if (piece_is(name, "Content-Type")) return head_once(&h->type, name, value, r);
    if (piece_is(name, "Transfer-Encoding")) return head_once(&h->coding, name, value, r);
    if (piece_is(name, "Content-Length")) return head_once(&h->length, name, value, r);
    if (piece_is(name, "Connection")) {
        h->close |= list_has(value, "close");
        h->keep |= list_has(value, "keep-alive");
    }
    if (piece_is(name, "Expect")) h->expect |= list_has(value, "100-continue");
    return 1;
}

/* NAME: VALUE, blanks around the value do not count. */
static int head_field(head *h, const char *line, size_t size, refusal *r)
{
    span name, value;
    size_t at = 0, i;
    while (at < size && is_token(line[at])) at++;
    name.text = line, name.size = at;
    for (i = at; i < size; i++)
        if ((line[i] >= 0 && line[i] < ' ' && line[i] != '\t') || line[i] == 127) at = 0;
    if (at == 0 || at == size || line[at] != ':')
        return refuse(r, 400, "invalid_http", NULL,
                      "a line of the head is not NAME: VALUE of printable characters");
    for (at++; at < size && strchr(" \t", line[at]);) at++;
    while (size > at && strchr(" \t", line[size - 1])) size--;
    value.text = line + at, value.size = size - at;
    return head_take(h, name, value, r);
}

/* How long the body is, which must be beyond doubt. */
static int head_framing(head *h, refusal *r)
{
    char digits[24];
    size_t i;
    if (h->coding.text && !piece_is(h->coding, "chunked"))
        return refuse(r, 400, "unsupported_value", NULL,
                      "Transfer-Encoding is \"%.*s\": chunked is understood, or none",
                      (int)WCOHI_MIN(h->coding.size, 60), h->coding.text);
    if (h->coding.text && (h->length.text || h->minor == 0))
        return refuse(r, 400, "invalid_http", NULL,
                      "a body in chunks goes with HTTP/1.1 and without "
                      "Content-Length");
    for (i = 0; i < h->length.size && h->length.text[i] >= '0' && h->length.text[i] <= '9';) i++;
    if (h->length.text && (i < h->length.size || i == 0))
        return refuse(r, 400, "invalid_http", NULL,
                      "Content-Length is \"%.*s\": a number is needed",
                      (int)WCOHI_MIN(h->length.size, 60), h->length.text);
    if (h->length.size > 18)
        return refuse(r, 413, "payload_too_large", NULL, "a body of %.*s bytes is too large",
                      (int)WCOHI_MIN(h->length.size, 60), h->length.text);
    memcpy(digits, h->length.text ? h->length.text : "0", h->length.text ? h->length.size : 1);
    digits[h->length.text ? h->length.size : 1] = 0;
    wcohi_parse_u64(digits, &h->body);
    return 1;
}

/* A head of `size` bytes, its empty line included. */
static int head_read(head *h, const char *text, size_t size, refusal *r)
{
    size_t from = 0, end;
    int line;
    memset(h, 0, sizeof *h);
    for (line = 0; from < size - 2; line++, from = end + 2) {
        end = from;
        while (memcmp(text + end, "\r\n", 2)) end++;
        if (line > FIELDS_MOST)
            return refuse(r, 431, "head_too_large", NULL, "the head has more than %d fields",
                          FIELDS_MOST);
        if (!(line ? head_field : head_first)(h, text + from, end - from, r)) return 0;
    }
    if (h->minor == 1 && !h->host.text)
        return refuse(r, 400, "invalid_http", NULL, "HTTP/1.1 wants a field Host");
    for (end = 0; end < h->host.size; end++)
        if (h->host.text[end] <= ' ' || h->host.text[end] > 126) /* below 0 where char has a sign */
            return refuse(r, 400, "invalid_http", NULL, "Host is no name of a host");
    return head_framing(h, r);
}

static void field_write(buffer *out, const char *name, span value)
{
    if (!value.text) return;
    buffer_text(out, name);
    buffer_put(out, value.text, value.size);
    buffer_text(out, "\r\n");
}

/* The head as the library gets it. */
static void head_write(const head *h, buffer *out)
{
    buffer_put(out, h->method.text, h->method.size);
    buffer_put(out, " ", 1);
    buffer_put(out, h->path.text, h->path.size);
    buffer_print(out, " HTTP/1.%d\r\n", h->minor);
    if (h->minor) buffer_text(out, "Host: x\r\n");
    field_write(out, "Authorization: ", h->authorization);
    field_write(out, "Content-Type: ", h->type);
    field_write(out, "Transfer-Encoding: ", h->coding);
    if (h->length.text) buffer_print(out, "Content-Length: %llu\r\n", (unsigned long long)h->body);
    if (h->close) buffer_text(out, "Connection: close\r\n");
    else if (h->keep) buffer_text(out, "Connection: Keep-Alive\r\n");
    if (h->expect) buffer_text(out, "Expect: 100-continue\r\n");
    buffer_text(out, "\r\n");
}

/* Bytes to the end of the first line, its end included; 0: it is not here. */
static size_t line_end(const char *text, size_t size)
{
    const char *end = text;
    while ((end = (const char *)memchr(end, '\r', size - (size_t)(end - text))) != NULL) {
        if ((size_t)(end - text) + 1 == size) return 0;
        if (*++end == '\n') return (size_t)(end - text) + 1;
    }
    return 0;
}

/* Bytes to the empty line, which is included; 0: it is not here. */
static size_t head_end(const char *text, size_t size)
{
    size_t at = 0, line;
    while ((line = line_end(text + at, size - at)) != 0) {
        at += line;
        if (line == 2) return at;
    }
    return 0;
}

/* Each returns how many bytes it took of text [size]; 0: more are needed, or it is refused. */
static size_t http_head(http_reader *h, const char *text, size_t size)
{
    size_t end = head_end(text, WCOHI_MIN(size, HEAD_MOST));
    const char *feed = (const char *)memchr(text, '\n', size);
    head one;
    if (end == 2) return 2; /* between two requests */
    if (!is_token(*text) && *text != '\r')
        return refuse(&h->refusal, 400, "invalid_http", NULL, "this is no HTTP"), 0;
    if (feed && feed[-1] != '\r') /* it is not the first byte */
        return refuse(&h->refusal, 400, "invalid_http", NULL, "lines of a head end with CR LF"), 0;
    if (!end && size >= HEAD_MOST)
        refuse(&h->refusal, 431, "head_too_large", NULL, "the head has more than %d bytes",
               HEAD_MOST);
    if (!end || !head_read(&one, text, end, &h->refusal)) return 0;
    head_write(&one, &h->pass);
    h->left = one.body;
    h->phase = one.coding.text ? HTTP_SIZE : one.body ? HTTP_BODY : HTTP_HEAD;
    h->whole += h->phase == HTTP_HEAD;
    return end;
}

static size_t http_body(http_reader *h, const char *text, size_t size)
{
    if (size > h->left) size = (size_t)h->left;
    buffer_put(&h->pass, text, size);
    h->left -= size;
    if (h->left > 0) return size;
    h->whole += h->phase == HTTP_BODY;
    h->phase = h->phase == HTTP_BODY ? HTTP_HEAD : HTTP_LINE_END;
    return size;
}

/* The size of a chunk in sixteenths; what stands behind ; is nobody's, and so are blanks before it. */
static size_t http_size(http_reader *h, const char *text, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    size_t end = line_end(text, WCOHI_MIN(size, LINE_MOST)), i, digits_end;
    const char *digit;
    if (!end && size < LINE_MOST) return 0;
    for (i = 0, h->left = 0; i < end; i++) {
        digit = text[i] ? strchr(digits, text[i] >= 'A' ? text[i] | 32 : text[i]) : NULL;
        if (!digit || h->left >> 56) break;
        h->left = h->left << 4 | (uint64_t)(digit - digits);
    }
    for (digits_end = i; i < end && (text[i] == ' ' || text[i] == '\t');) i++;
    if (!end || digits_end == 0 || (text[i] != ';' && digits_end + 2 != end))
        return refuse(&h->refusal, 400, "invalid_http", NULL,
                      "the line before a chunk of the body is not its size"),
               0;
    buffer_print(&h->pass, "%llx\r\n", (unsigned long long)h->left);
    h->phase = h->left ? HTTP_CHUNK : HTTP_TRAILER;
    return end;
}

static size_t http_line_end(http_reader *h, const char *text, size_t size)
{
    if (size < 2 && *text == '\r') return 0;
    if (size < 2 || memcmp(text, "\r\n", 2))
        return refuse(&h->refusal, 400, "invalid_http", NULL,
                      "a chunk of the body is longer than its size"),
               0;
    buffer_text(&h->pass, "\r\n");
    h->phase = HTTP_SIZE;
    return 2;
}

/* Fields behind the body are nobody's. */
static size_t http_trailer(http_reader *h, const char *text, size_t size)
{
    size_t end = head_end(text, WCOHI_MIN(size, HEAD_MOST));
    if (!end && size >= HEAD_MOST)
        refuse(&h->refusal, 431, "head_too_large", NULL,
               "the fields behind the body have more than "
               "%d bytes",
               HEAD_MOST);
    if (!end) return 0;
    buffer_text(&h->pass, "\r\n");
    h->whole++;
    h->phase = HTTP_HEAD;
    return end;
}

/* More came; what can be read of it -> pass. Returns 1 if anything was. */
static int http_read(http_reader *h, const char *text, size_t size)
{
    size_t at = 0, took = 1;
    buffer_put(&h->in, text, size);
    while (took && at < h->in.size && !h->refusal.status) {
        text = h->in.text + at;
        size = h->in.size - at;
        switch (h->phase) {
        case HTTP_HEAD: took = http_head(h, text, size); break;
        case HTTP_BODY:
        case HTTP_CHUNK: took = http_body(h, text, size); break;
        case HTTP_SIZE: took = http_size(h, text, size); break;
        case HTTP_LINE_END: took = http_line_end(h, text, size); break;
        default: took = http_trailer(h, text, size); break;
        }
        at += took;
    }
    if (h->refusal.status) at = h->in.size;
    if (at) memmove(h->in.text, h->in.text + at, h->in.size - at);
    h->in.size -= at;
    if (h->in.size == 0) buffer_free(&h->in);
    return at > 0;
}

static void http_free(http_reader *h)
{
    buffer_free(&h->in);
    buffer_free(&h->pass);
}

#endif
