/* The door of a server: it reads HTTP before libmicrohttpd does. That library answers what is no HTTP
   itself, with a page of HTML that nobody can change; here a request is read and written anew (http.h)
   into one end of a socket pair whose other end the library has. What is refused gets its answer from here, in JSON,
   behind the answers of the requests before it. The pair is made when the first head is whole, so
   that a client who says nothing, or says it drop by drop, is one socket and no more.

   One thread, which waits for all its sockets at once (epoll). Include it after the implementation of
   wavecoh.h, common.h, requests.h and http.h.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_DOOR_H
#define WAVECOH_EXAMPLES_DOOR_H

#include "http.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Bytes that are read at once, and how many may wait for the library; rounds of one guest before the
   others have their turn. */
enum { PIECE = 32768, ROUNDS = 16 };

/* One of a guest's sockets; -1: none. */
typedef struct guest_end {
    struct guest *guest;
    int socket;
    int ready;  /* 1: there may be something to read, */
    int ending; /* 1: and an end behind it */
} guest_end;

/* A client. */
typedef struct guest {
    struct guest *next, *before;
    guest_end outer, inner;
    int theirs;  /* the library's end of the pair */
    int met;     /* 1: the library has it, or had */
    int closed;  /* 1: the client has closed its side, */
    int told;    /* 1: and the library knows, or its last request was refused */
    int refused; /* 1: the refusal is in `out` */
    int leaving; /* 1: all that was to be said is said */
    int dead;
    http_reader http;
    buffer out;   /* what the client is to read */
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
    pthread_mutex_t marks; /* of what follows: */
    uint64_t *answered;    /* [ends] requests that came through that end of a pair and are over */
    size_t ends;
    char scratch[PIECE];
} door;

/* The library is through with a request of its end `end`. */
static void door_answered(door *d, int end)
{
    pthread_mutex_lock(&d->marks);
    if ((size_t)end < d->ends) d->answered[end]++;
    pthread_mutex_unlock(&d->marks);
}

/* Is it through with the first `count` of them? */
static int door_is_through(door *d, int end, uint64_t count)
{
    int through;
    pthread_mutex_lock(&d->marks);
    through = (size_t)end >= d->ends || d->answered[end] >= count;
    pthread_mutex_unlock(&d->marks);
    return through;
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
    if (g->closed || g->http.pass.size > PIECE) return 0;
    got = end_read(d, &g->outer);
    if (got == -1) return 0;
    if (got < 0) g->dead = 1;
    if (got == 0) g->closed = 1;
    if (got <= 0) return 1;
    if (g->leaving || g->http.refusal.status || (g->met && g->inner.socket < 0)) return 1;
    if (g->http.phase == HTTP_HEAD && g->http.in.size == 0) g->since = now;
    if (http_read(&g->http, d->scratch, (size_t)got)) g->since = now;
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
        g->theirs = pair[1];
        pthread_mutex_lock(&d->marks);
        if ((size_t)g->theirs < d->ends) d->answered[g->theirs] = 0;
        pthread_mutex_unlock(&d->marks);
        if (end_watch(d, &g->inner, EPOLL_CTL_ADD)) close(pair[1]);
        else /* where it fails the library has closed it */
            taken = MHD_add_connection(d->daemon, pair[1], (struct sockaddr *)&none, sizeof none) ==
                    MHD_YES;
    }
    pthread_mutex_unlock(&d->lock);
    if (taken) return;
    socket_drop(&g->inner.socket);
    refuse(&g->http.refusal, 503, "unavailable", NULL, "no connection is free");
}

/* To the library. */
static int guest_pass(door *d, guest *g)
{
    int sent;
    if (g->http.pass.size && !g->met) guest_meet(d, g);
    if (g->inner.socket < 0) buffer_free(&g->http.pass);
    if (g->inner.socket < 0) return 0;
    if (g->http.pass.size) {
        sent = buffer_send(&g->http.pass, g->inner.socket);
        if (sent < 0) buffer_free(&g->http.pass); /* its answer may be there all the same */
        return sent > 0;
    }
    if (g->told || (!g->closed && !g->http.refusal.status)) return 0;
    if (!g->closed && !door_is_through(d, g->theirs, g->http.whole))
        return 0; /* who is refused waits for his answers: an end would be that he has left */
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
    refusal_write(&body, &g->http.refusal);
    buffer_put(&body, "\n", 1);
    buffer_print(&g->out,
                 "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nX-Content-Type-Options: "
                 "nosniff\r\nConnection: close\r\nContent-Length: %lu\r\n\r\n",
                 g->http.refusal.status, status_phrase(g->http.refusal.status),
                 (unsigned long)body.size);
    buffer_put(&g->out, body.text, body.size);
    if (body.broken) g->dead = 1;
    buffer_free(&body);
    d->refused(d->user);
}

static void guest_leave(guest *g, double now)
{
    g->leaving = 1;
    g->until = now + 2;
    buffer_free(&g->http.in);
    shutdown(g->outer.socket, SHUT_WR);
}

/* What follows where nothing moves any more. */
static int guest_settle(door *d, guest *g, double now)
{
    if (g->http.in.broken || g->http.pass.broken || g->out.broken) g->dead = 1;
    if (g->dead || g->out.size || g->http.pass.size || g->inner.socket >= 0) return 0;
    if (g->leaving) {
        g->dead = g->closed; /* what it still says is read, so that it reads what we said */
        return 0;
    }
    if (g->closed && g->http.in.size && !g->met && !g->http.refusal.status)
        refuse(&g->http.refusal, 400, "invalid_http", NULL,
               "the request ends before its head does");
    if (g->http.refusal.status && !g->refused) {
        guest_refuse(d, g);
        g->took = now;
        return 1;
    }
    if (g->met || g->refused || g->closed) guest_leave(g, now);
    return g->leaving;
}

static void guest_bury(door *d, guest *g)
{
    if (g->before) g->before->next = g->next;
    else d->first = g->next;
    if (g->next) g->next->before = g->before;
    socket_drop(&g->outer.socket);
    socket_drop(&g->inner.socket);
    http_free(&g->http);
    buffer_free(&g->out);
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
    int waits = g->http.phase == HTTP_HEAD && (g->http.in.size || !g->met);
    if (g->out.size && now - g->took > d->timeout) g->dead = 1; /* who does not read */
    if (g->until > 0 && now > g->until) g->dead = 1;
    if (g->told && g->inner.socket >= 0)
        shutdown(g->inner.socket, SHUT_WR); /* an end that came with data is overlooked once */
    if (waits && !g->http.refusal.status && now - g->since > d->timeout) {
        if (g->http.in.size)
            refuse(&g->http.refusal, 408, "timeout", NULL, "the head of the request took too long");
        else g->dead = 1;
    }
    if (g->dead || g->http.refusal.status) guest_move(d, g);
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
    int most =
        1 << 18; /* bytes on their way to a client: of more it would be noticed late that nobody
                           reads them */
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
    setsockopt(handle, SOL_SOCKET, SO_SNDBUF, &most, sizeof most);
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
    d->ends = 3 * (size_t)d->most + 256; /* handles are the lowest that are free */
    d->answered = (uint64_t *)calloc(d->ends, sizeof *d->answered);
    if (!d->answered) return -1;
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->marks, NULL);
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
    free(d->answered);
}

#endif
