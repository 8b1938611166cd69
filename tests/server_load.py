#!/usr/bin/env python3
"""Load for examples/server.c: python3 tests/server_load.py PORT PID WHAT [N]

streams   N (64) concurrent streams of 256 symbols against one: symbols a second, and the time of events
whole     the same without streaming
turn      time to the first symbol of the next turn of a conversation of N (10,000) symbols, and of a fresh one
soak      N (20,000) mixed requests, broken ones among them: answers that were lost, memory before and after
"""
import collections
import json
import os
import random
import select
import socket
import sys
import time

PORT = int(sys.argv[1])
PID = int(sys.argv[2])


def cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def request(path, body, head=""):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n{head}"
            f"Content-Length: {len(data)}\r\n\r\n").encode() + data


class Client:
    """One request: what came, and when its pieces came."""

    def __init__(self, data, want=b""):
        self.want = want
        self.socket = socket.create_connection(("127.0.0.1", PORT))
        self.socket.sendall(data)
        self.began, self.text, self.pieces, self.done = time.time(), b"", [], False

    def read(self):
        try:
            piece = self.socket.recv(1 << 16)
        except OSError:
            piece = b""
        self.text += piece
        self.pieces.append(time.time())
        if not piece:
            self.done = True
            self.socket.close()


def drive(all_of_them, most=10**6):
    """Run them, (request, what its answer must have), at most so many at once; the clients, when all are done."""
    waiting, open_, finished = collections.deque(all_of_them), {}, []
    poll = select.epoll()
    while waiting or open_:
        while waiting and len(open_) < most:
            one = Client(*waiting.popleft())
            open_[one.socket.fileno()] = one
            poll.register(one.socket.fileno(), select.EPOLLIN)
        for handle, _ in poll.poll(5):
            one = open_[handle]
            one.read()
            if one.done:
                del open_[handle]
                finished.append(one)
    return finished


def symbols(count, stream):
    bodies = [(request("/v1/completions", {"prompt": "the ", "max_tokens": 256, "stream": stream, "temperature": 1, "seed": i,
                                          "stream_options": {"include_usage": True} if stream else None}), b"")
              for i in range(count)]
    server, mine, began = cpu(PID), time.process_time(), time.time()
    clients = drive(bodies)
    seconds = time.time() - began
    events = sum(c.text.count(b"data: ") for c in clients)
    good = sum(b'"completion_tokens":256' in c.text for c in clients)
    gaps = sorted(b - a for c in clients for a, b in zip(c.pieces, c.pieces[1:]))
    print(f"{'streams' if stream else 'whole'} {count}: {256 * count / seconds:.0f} symbols/s, {seconds:.2f} s, {good} whole; server {cpu(PID) - server:.2f} s of CPU, "
          f"load {time.process_time() - mine:.2f} s; {events} events" + (f", pieces apart {1e3 * gaps[len(gaps) // 2]:.0f} ms (median)" if stream and gaps else ""))
    return 256 * count / seconds, cpu(PID) - server


def load(stream, count):
    symbols(1, stream)
    ratios = []
    for _ in range(3):
        one, many = symbols(1, stream)[0], symbols(count, stream)[0]
        ratios.append(many / one)
    print(f"{count} against one: {sorted(ratios)[1]:.1f} times the symbols a second (median of {', '.join(f'{r:.1f}' for r in ratios)})")


def first(body):
    """Seconds to the first text of a stream; and the whole text."""
    one = Client(request("/v1/completions", dict(body, stream=True)))
    seconds = None
    while not one.done:
        one.read()
        if seconds is None and b'"text":"' in one.text:
            seconds = time.time() - one.began
    text = "".join(json.loads(line[6:])["choices"][0]["text"] for line in one.text.decode().split("\r\n") if line.startswith("data: {")
                   for line in line.split("\n") if line.startswith("data: {"))
    return seconds, text


def turn(length):
    words = "the moon pulls the tide and the sand keeps the waves that wind wrote ".split(" ")
    fresh, nexts, cold = [], [], []
    for seed in range(7):
        draw = random.Random(seed)
        talk = ""
        while len(talk) < length:
            talk += draw.choice(words) + " "
        seconds, text = first({"prompt": talk, "max_tokens": 20, "seed": 1})
        cold.append(seconds)
        nexts.append(first({"prompt": talk + text + " the next turn is here ", "max_tokens": 20})[0])
        fresh.append(first({"prompt": "abcdefg"[seed] + " the next turn is here, now", "max_tokens": 20})[0])
    middle = lambda x: sorted(x)[len(x) // 2] * 1e3
    print(f"first symbol of a conversation of {length} symbols: heard whole {middle(cold):.0f} ms, its next turn {middle(nexts):.1f} ms, "
          f"a fresh one {middle(fresh):.1f} ms: {middle(nexts) / middle(fresh):.2f} times (medians of 7)")


def mixed(draw):
    """A request and what its answer must have."""
    kind = draw.randrange(12)
    body = {"prompt": draw.choice(["the ", "moon", "a"]) * draw.randrange(1, 30), "max_tokens": draw.randrange(0, 20), "seed": draw.randrange(100)}
    if kind < 4:
        return request("/v1/completions", body), b'"usage"'
    if kind < 6:
        return request("/v1/completions", dict(body, stream=True)), b"data: [DONE]"
    if kind == 6:
        return request("/v1/chat/completions", {"messages": [{"role": "user", "content": body["prompt"]}], "max_tokens": 9, "n": 2, "logprobs": True}), b'"usage"'
    if kind == 7:
        return request("/v1/embeddings", {"input": [body["prompt"], "a"]}), b'"embedding"'
    if kind == 8:
        return request("/v1/completions", draw.choice([b"{", b"[1]", b'{"prompt": 5}', b'{"prompt": "a", "n": 0}', b"\xff" * 50])), b" 400 "
    if kind == 9:
        return request("/nowhere", {}), b" 404 "
    if kind == 10:
        return request("/tokenize", {"content": body["prompt"]}), b'"tokens"'
    return request("/v1/completions", b"x" * 3000000), b" 413 "


def soak(count):
    draw = random.Random(1)
    lost, left, sent, before, began = 0, 0, 0, None, time.time()
    while sent < count:
        pairs = [mixed(draw) for _ in range(250)]
        for _ in range(5):  # those who leave in the midst of it
            one = Client(request("/v1/completions", {"prompt": "the ", "max_tokens": 60000, "stream": draw.random() < 0.5}))
            one.socket.close()
            left += 1
        lost += sum(c.want not in c.text for c in drive(pairs, 32))
        sent += 255
        if before is None and sent >= count // 10:
            before = memory(PID)
    time.sleep(1)
    print(f"soak: {sent} requests in {time.time() - began:.0f} s, {left} of them left by their clients, {lost} answers lost; "
          f"memory after a tenth {before} KiB, at the end {memory(PID)} KiB; server {cpu(PID):.0f} s of CPU, load {time.process_time():.0f} s")
    return lost


WHAT = sys.argv[3] if len(sys.argv) > 3 else ""
N = int(sys.argv[4]) if len(sys.argv) > 4 else None
if WHAT in ("streams", "whole"):
    load(WHAT == "streams", N or 64)
elif WHAT == "turn":
    turn(N or 10000)
elif WHAT == "soak":
    sys.exit(soak(N or 20000) > 0)
else:
    sys.exit(__doc__)
