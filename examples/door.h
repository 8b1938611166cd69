/* The door of a server: it reads HTTP before libmicrohttpd does. That library answers what is no HTTP
   itself, with a page of HTML that nobody can change; here a request is read as strictly as RFC 9112
   asks, and written anew, with the fields that a server looks at and nothing else, into one end of a
   socket pair whose other end the library has. What is refused gets its answer from here, in JSON,
   behind the answers of the requests before it. The pair is made when the first head is whole, so
   that a client who says nothing, or says it drop by drop, is one socket and no more.

   One thread, which waits for all its sockets at once (epoll). Include it after the implementation of
   wavecoh.h, common.h and requests.h.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_DOOR_H
#define WAVECOH_EXAMPLES_DOOR_H

#include "requests.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Bytes and fields of a head, bytes of the line before a chunk; bytes that are read at once, and how
   many may wait for somebody; rounds of one guest before the others have their turn. */
enum { HEAD_MOST = 16384, FIELDS_MOST = 100, LINE_MOST = 256, PIECE = 32768, ROUNDS = 16 };

/* What comes next from a client. */
typedef enum guest_phase {
    GUEST_HEAD,
    GUEST_BODY,     /* `left` bytes of it */
    GUEST_SIZE,     /* the line before a chunk */
    GUEST_CHUNK,    /* `left` bytes of it, */
    GUEST_LINE_END, /* and the end of line behind it */
    GUEST_TRAILER,  /* lines to an empty one */
    GUEST_LEAVING   /* nothing that matters: all that is to be said was */
} guest_phase;

/* One of a guest's sockets; -1: none. */
typedef struct guest_end {
    struct guest *guest;
    int socket;
    int ready;  /* 1: there may be something to read, */
    int ending; /* 1: and an end behind it */
} guest_end;

/* A client. `in`: what it said and nobody could read yet; `pass`: what the library is to read; `out`:
   what the client is to read. */
typedef struct guest {
    struct guest *next, *before;
    guest_end outer, inner;
    int met;     /* 1: the library has it, or had */
    int closed;  /* 1: the client has closed its side, */
    int told;    /* 1: and the library knows, or its last request was refused */
    int refused; /* 1: the refusal is in `out` */
    int dead;
    guest_phase phase;
    uint64_t left;
    buffer in, pass, out;
    refusal refusal;
    double since; /* when the head at hand began, or could have */
    double took;  /* when the client last took something of `out`, or could have */
    double until; /* when it is shown out at the latest; 0: it need not leave */
} guest;

typedef struct door {
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock; /* of what follows: */
    int over;             /* 1: the library takes nobody any more */
    int listener;         /* -1: nobody else comes in */
    int most, guests, open;
    double timeout;              /* seconds for a head */
    void (*refused)(void *user); /* an answer went out from here */
    void *user;
    int poll, orders[2]; /* a pipe: 's': nobody else comes in; 'e': it is over */
    double ending;       /* when it is over at the latest; 0: not yet */
    double swept;
    guest *first, *dead;
    pthread_t thread;
    char scratch[PIECE];
} door;

/* ---- a request is read ----------------------------------------------------------------------- */

typedef struct span {
    const char *text;
    size_t size;
} span;

/* What a head says of itself. */
typedef struct head {
    span method, path, host, authorization, type, coding, length;
    int minor, hosts, close, keep, expect;
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

/* METHOD TARGET HTTP/1.x; the part of the target behind ? is nobody's. */
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
    h->path.text = line + target;
    while (h->path.size < end - target && !strchr("?#", line[target + h->path.size]))
        h->path.size++;
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
static size_t guest_head(guest *g, const char *text, size_t size)
{
    size_t end = head_end(text, WCOHI_MIN(size, HEAD_MOST));
    const char *feed = (const char *)memchr(text, '\n', size);
    head h;
    if (end == 2) return 2; /* between two requests */
    if (!is_token(*text) && *text != '\r')
        return refuse(&g->refusal, 400, "invalid_http", NULL, "this is no HTTP"), 0;
    if (feed && feed[-1] != '\r') /* it is not the first byte */
        return refuse(&g->refusal, 400, "invalid_http", NULL, "lines of a head end with CR LF"), 0;
    if (!end && size >= HEAD_MOST)
        refuse(&g->refusal, 431, "head_too_large", NULL, "the head has more than %d bytes",
               HEAD_MOST);
    if (!end || !head_read(&h, text, end, &g->refusal)) return 0;
    head_write(&h, &g->pass);
    g->left = h.body;
    g->phase = h.coding.text ? GUEST_SIZE : h.body ? GUEST_BODY : GUEST_HEAD;
    return end;
}

static size_t guest_body(guest *g, const char *text, size_t size)
{
    if (size > g->left) size = (size_t)g->left;
    buffer_put(&g->pass, text, size);
    g->left -= size;
    if (g->left == 0) g->phase = g->phase == GUEST_BODY ? GUEST_HEAD : GUEST_LINE_END;
    return size;
}

/* The size of a chunk in sixteenths; what stands behind ; is nobody's. */
static size_t guest_size(guest *g, const char *text, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    size_t end = line_end(text, WCOHI_MIN(size, LINE_MOST)), i;
    const char *digit;
    if (!end && size < LINE_MOST) return 0;
    for (i = 0, g->left = 0; i < end; i++) {
        digit = text[i] ? strchr(digits, text[i] >= 'A' ? text[i] | 32 : text[i]) : NULL;
        if (!digit || g->left >> 56) break;
        g->left = g->left << 4 | (uint64_t)(digit - digits);
    }
    if (!end || i == 0 || (text[i] != ';' && i + 2 != end))
        return refuse(&g->refusal, 400, "invalid_http", NULL,
                      "the line before a chunk of the body is not its size"),
               0;
    buffer_print(&g->pass, "%llx\r\n", (unsigned long long)g->left);
    g->phase = g->left ? GUEST_CHUNK : GUEST_TRAILER;
    return end;
}

static size_t guest_line_end(guest *g, const char *text, size_t size)
{
    if (size < 2 && *text == '\r') return 0;
    if (size < 2 || memcmp(text, "\r\n", 2))
        return refuse(&g->refusal, 400, "invalid_http", NULL,
                      "a chunk of the body is longer than its size"),
               0;
    buffer_text(&g->pass, "\r\n");
    g->phase = GUEST_SIZE;
    return 2;
}

/* Fields behind the body are nobody's. */
static size_t guest_trailer(guest *g, const char *text, size_t size)
{
    size_t end = head_end(text, WCOHI_MIN(size, HEAD_MOST));
    if (!end && size >= HEAD_MOST)
        refuse(&g->refusal, 431, "head_too_large", NULL,
               "the fields behind the body have more than "
               "%d bytes",
               HEAD_MOST);
    if (!end) return 0;
    buffer_text(&g->pass, "\r\n");
    g->phase = GUEST_HEAD;
    return end;
}

/* All that can be read of what is here -> pass. */
static void guest_read(guest *g, double now)
{
    size_t at = 0, took = 1;
    while (took && at < g->in.size && !g->refusal.status) {
        const char *text = g->in.text + at;
        size_t size = g->in.size - at;
        switch (g->phase) {
        case GUEST_HEAD: took = guest_head(g, text, size); break;
        case GUEST_BODY:
        case GUEST_CHUNK: took = guest_body(g, text, size); break;
        case GUEST_SIZE: took = guest_size(g, text, size); break;
        case GUEST_LINE_END: took = guest_line_end(g, text, size); break;
        case GUEST_TRAILER: took = guest_trailer(g, text, size); break;
        default: took = size; break;
        }
        at += took;
        if (took) g->since = now;
    }
    if (g->refusal.status) at = g->in.size;
    if (at) memmove(g->in.text, g->in.text + at, g->in.size - at);
    g->in.size -= at;
}

/* ---- bytes move ------------------------------------------------------------------------------ */

/* Send what the socket takes of b; -1: nobody hears it any more. */
static int buffer_send(buffer *b, int socket)
{
    ssize_t sent = send(socket, b->text, b->size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    memmove(b->text, b->text + sent, b->size - (size_t)sent);
    b->size -= (size_t)sent;
    if (b->size == 0) buffer_free(b);
    return sent > 0;
}

static void socket_drop(int *socket)
{
    if (*socket >= 0) close(*socket); /* epoll forgets it */
    *socket = -1;
}

static int end_watch(door *d, guest_end *end, int how)
{
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = end;
    return epoll_ctl(d->poll, how, end->socket, &event);
}

/* -> scratch; 0 at the end, -1: nothing is here, -2: it is broken. */
static int end_read(door *d, guest_end *end)
{
    ssize_t got;
    if (!end->ready || end->socket < 0) return -1;
    got = recv(end->socket, d->scratch, sizeof d->scratch, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) return -1;
    if (got < 0) end->ready = 0;
    if (got < 0) return errno == EAGAIN ? -1 : -2;
    if (got < (ssize_t)sizeof d->scratch && !end->ending) end->ready = 0; /* that was all */
    return (int)got;
}

/* From the client; 1 if something moved. */
static int guest_listen(door *d, guest *g, double now)
{
    int got;
    if (g->closed || g->pass.size > PIECE) return 0;
    got = end_read(d, &g->outer);
    if (got == -1) return 0;
    if (got < 0) g->dead = 1;
    if (got == 0) g->closed = 1;
    if (got <= 0) return 1;
    if (g->phase == GUEST_LEAVING || g->refusal.status || (g->met && g->inner.socket < 0)) return 1;
    if (g->phase == GUEST_HEAD && g->in.size == 0) g->since = now;
    buffer_put(&g->in, d->scratch, (size_t)got);
    guest_read(g, now);
    if (g->in.size == 0) buffer_free(&g->in);
    return 1;
}

/* The library gets its end of a pair. */
static void guest_meet(door *d, guest *g)
{
    struct sockaddr_un none;
    int pair[2], taken = 0;
    g->met = 1;
    memset(&none, 0, sizeof none);
    none.sun_family = AF_UNIX;
    pthread_mutex_lock(&d->lock);
    if (!d->over && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0) {
        g->inner.socket = pair[0];
        if (end_watch(d, &g->inner, EPOLL_CTL_ADD)) close(pair[1]);
        else /* where it fails the library has closed it */
            taken = MHD_add_connection(d->daemon, pair[1], (struct sockaddr *)&none, sizeof none) ==
                    MHD_YES;
    }
    pthread_mutex_unlock(&d->lock);
    if (taken) return;
    socket_drop(&g->inner.socket);
    refuse(&g->refusal, 503, "unavailable", NULL, "no connection is free");
}

/* To the library. */
static int guest_pass(door *d, guest *g)
{
    int sent;
    if (g->pass.size && !g->met) guest_meet(d, g);
    if (g->inner.socket < 0) buffer_free(&g->pass);
    if (g->inner.socket < 0) return 0;
    if (g->pass.size) {
        sent = buffer_send(&g->pass, g->inner.socket);
        if (sent < 0) buffer_free(&g->pass); /* its answer may be there all the same */
        return sent > 0;
    }
    if (g->told || (!g->closed && !g->refusal.status)) return 0;
    g->told = 1;
    shutdown(g->inner.socket, SHUT_WR);
    return 1;
}

/* To the client. */
static int guest_answer(door *d, guest *g, double now)
{
    int got = g->out.size ? -1 : end_read(d, &g->inner), sent;
    if (got > 0) buffer_put(&g->out, d->scratch, (size_t)got);
    if (got == 0 || got < -1) socket_drop(&g->inner.socket);
    if (got > 0) g->took = now;
    if (g->out.size == 0) return 0;
    sent = buffer_send(&g->out, g->outer.socket);
    if (sent < 0) g->dead = 1;
    if (sent > 0) g->took = now;
    return sent > 0;
}

/* ---- one guest ------------------------------------------------------------------------------- */

static const char *status_phrase(int status)
{
    return status == 400   ? "Bad Request"
           : status == 408 ? "Request Timeout"
           : status == 413 ? "Content Too Large"
           : status == 431 ? "Request Header Fields Too Large"
           : status == 505 ? "HTTP Version Not Supported"
                           : "Service Unavailable";
}

/* The refusal, once all answers before it are out. */
static void guest_refuse(door *d, guest *g)
{
    buffer body;
    g->refused = 1;
    memset(&body, 0, sizeof body);
    refusal_write(&body, &g->refusal);
    buffer_put(&body, "\n", 1);
    buffer_print(&g->out,
                 "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nX-Content-Type-Options: "
                 "nosniff\r\nConnection: close\r\nContent-Length: %lu\r\n\r\n",
                 g->refusal.status, status_phrase(g->refusal.status), (unsigned long)body.size);
    buffer_put(&g->out, body.text, body.size);
    if (body.broken) g->dead = 1;
    buffer_free(&body);
    d->refused(d->user);
}

static void guest_leave(guest *g, double now)
{
    g->phase = GUEST_LEAVING;
    g->until = now + 2;
    buffer_free(&g->in);
    shutdown(g->outer.socket, SHUT_WR);
}

/* What follows where nothing moves any more. */
static int guest_settle(door *d, guest *g, double now)
{
    if (g->in.broken || g->pass.broken || g->out.broken) g->dead = 1;
    if (g->dead || g->out.size || g->pass.size || g->inner.socket >= 0) return 0;
    if (g->phase == GUEST_LEAVING) {
        g->dead = g->closed; /* what it still says is read, so that it reads what we said */
        return 0;
    }
    if (g->closed && g->in.size && !g->met && !g->refusal.status)
        refuse(&g->refusal, 400, "invalid_http", NULL, "the request ends before its head does");
    if (g->refusal.status && !g->refused) {
        guest_refuse(d, g);
        g->took = now;
        return 1;
    }
    if (g->met || g->refused || g->closed) guest_leave(g, now);
    return g->phase == GUEST_LEAVING;
}

static void guest_bury(door *d, guest *g)
{
    if (g->before) g->before->next = g->next;
    else d->first = g->next;
    if (g->next) g->next->before = g->before;
    socket_drop(&g->outer.socket);
    socket_drop(&g->inner.socket);
    buffer_free(&g->in), buffer_free(&g->pass), buffer_free(&g->out);
    d->guests--;
    g->next = d->dead; /* an event of this round may still name it */
    d->dead = g;
}

static void guest_move(door *d, guest *g)
{
    double now = seconds_now();
    int rounds = 0, moved = 1;
    if (g->outer.socket < 0) return;
    while (moved && !g->dead && rounds++ < ROUNDS) {
        moved = guest_listen(d, g, now);
        moved |= guest_pass(d, g);
        moved |= guest_answer(d, g, now);
        if (!moved) moved = guest_settle(d, g, now);
    }
    if (!g->dead && moved) end_watch(d, &g->outer, EPOLL_CTL_MOD); /* a new event */
    if (g->dead) guest_bury(d, g);
}

/* Whose time is over. */
static void guest_look(door *d, guest *g, double now)
{
    int waits = g->phase == GUEST_HEAD && (g->in.size || !g->met);
    if (g->out.size && now - g->took > d->timeout) g->dead = 1; /* who does not read */
    if (g->until > 0 && now > g->until) g->dead = 1;
    if (g->told && g->inner.socket >= 0)
        shutdown(g->inner.socket, SHUT_WR); /* an end that came with data is overlooked once */
    if (waits && !g->refusal.status && now - g->since > d->timeout) {
        if (g->in.size)
            refuse(&g->refusal, 408, "timeout", NULL, "the head of the request took too long");
        else g->dead = 1;
    }
    if (g->dead || g->refusal.status) guest_move(d, g);
}

/* ---- the door -------------------------------------------------------------------------------- */

static void door_listen(door *d, int open)
{
    struct epoll_event event;
    if (d->listener < 0 || d->open == open) return;
    memset(&event, 0, sizeof event);
    event.events = open ? EPOLLIN : 0;
    event.data.ptr = &d->listener;
    epoll_ctl(d->poll, EPOLL_CTL_MOD, d->listener, &event);
    d->open = open;
}

static void door_accept(door *d)
{
    int handle = accept4(d->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    guest *g;
    if (handle < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) door_listen(d, 0);
        return;
    }
    g = (guest *)calloc(1, sizeof *g);
    if (g) {
        g->outer.guest = g->inner.guest = g;
        g->outer.socket = handle;
        g->inner.socket = -1;
    }
    if (!g || end_watch(d, &g->outer, EPOLL_CTL_ADD)) {
        free(g);
        close(handle);
        return;
    }
    setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    g->since = seconds_now();
    g->next = d->first;
    if (d->first) d->first->before = g;
    d->first = g;
    if (++d->guests >= d->most) door_listen(d, 0);
}

static void door_obey(door *d)
{
    char order;
    if (read(d->orders[0], &order, 1) != 1) return;
    socket_drop(&d->listener);
    if (order == 'e') d->ending = seconds_now() + 2;
}

/* Four times a second, and after each round: who has left makes room. */
static void door_sweep(door *d)
{
    double now = seconds_now();
    guest *g, *next;
    while (d->dead) {
        next = d->dead->next;
        free(d->dead);
        d->dead = next;
    }
    if (now - d->swept > 0.25) {
        d->swept = now;
        for (g = d->first; g; g = next) {
            next = g->next;
            if (d->ending > 0 && !g->out.size && g->inner.socket < 0) g->dead = 1;
            guest_look(d, g, now);
        }
        door_listen(d, d->guests < d->most);
    }
}

static void end_moved(door *d, guest_end *end, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) end->ready = 1;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) end->ending = 1;
    guest_move(d, end->guest);
}

static void *door_stand(void *user)
{
    door *d = (door *)user;
    struct epoll_event events[64];
    guest *g;
    int count, i;
    while (!(d->ending > 0 && (!d->first || seconds_now() > d->ending))) {
        count = epoll_wait(d->poll, events, 64, 250);
        for (i = 0; i < count; i++) {
            if (events[i].data.ptr == d->orders) door_obey(d);
            else if (events[i].data.ptr == &d->listener) door_accept(d);
            else end_moved(d, (guest_end *)events[i].data.ptr, events[i].events);
        }
        door_sweep(d);
    }
    while ((g = d->first) != NULL) guest_bury(d, g);
    d->swept = 0;
    door_sweep(d);
    return NULL;
}

/* Guests come in through `listener` (non-blocking), which the door closes in the end. 0 is well. */
static int door_open(door *d)
{
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN;
    d->open = 1;
    pthread_mutex_init(&d->lock, NULL);
    d->poll = epoll_create1(EPOLL_CLOEXEC);
    if (d->poll < 0 || pipe(d->orders)) return -1;
    event.data.ptr = d->orders;
    if (epoll_ctl(d->poll, EPOLL_CTL_ADD, d->orders[0], &event)) return -1;
    event.data.ptr = &d->listener;
    if (epoll_ctl(d->poll, EPOLL_CTL_ADD, d->listener, &event)) return -1;
    errno = pthread_create(&d->thread, NULL, door_stand, d);
    return errno ? -1 : 0;
}

/* Nobody else comes in. */
static void door_shut(door *d)
{
    while (write(d->orders[1], "s", 1) < 0 && errno == EINTR) {}
}

/* The library is about to go. */
static void door_part(door *d)
{
    pthread_mutex_lock(&d->lock);
    d->over = 1;
    pthread_mutex_unlock(&d->lock);
}

/* The library is gone: what it said last goes out, and that is the end. */
static void door_close(door *d)
{
    while (write(d->orders[1], "e", 1) < 0 && errno == EINTR) {}
    pthread_join(d->thread, NULL);
    close(d->orders[0]), close(d->orders[1]), close(d->poll);
}

#endif
