#!/usr/bin/env python3
"""examples/server.c as its clients see it, with Python's standard library alone.

python3 tests/test_server.py [NAME ..]     tests whose names hold one of these
CC chooses the compiler; the server is built with the sanitizers of SANITIZE (address,undefined where
they are; SANITIZE=thread for the other one, SANITIZE= for none). BIN names a folder with server and
fuzz_requests that are built already. The cases of the
issue's acceptance list are named by their number. Ends with `N passed, N failed`.
"""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = tempfile.mkdtemp(prefix="wavecoh.")
BIN = os.environ.get("BIN") or WORK
passed = failed = 0
SANITIZE = os.environ.get("SANITIZE", "address,undefined")
SLOW = 4 if SANITIZE else 1


def check(what, good, shown=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {what}: {shown!r}"[:2000])
    return good


def build():
    """The server, and the program that trains the models it serves."""
    if os.environ.get("BIN"):
        return True
    cc = os.environ.get("CC", "cc")
    flags = ["-O0", "-g", "-DWAVECOH_NO_SIMD", "-DWAVECOH_NO_TOOLKIT"]
    probe = os.path.join(WORK, "probe.c")
    with open(probe, "w") as file:
        file.write("#include <microhttpd.h>\nint main(void) { return 0; }\n")
    if subprocess.run([cc, probe, "-o", WORK + "/probe", "-lmicrohttpd"], capture_output=True).returncode:
        print("not run: the server (no libmicrohttpd-dev)")
        return False
    look = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all"] if SANITIZE else []
    if subprocess.run([cc, *look, probe, "-o", WORK + "/probe"], capture_output=True).returncode or subprocess.run([WORK + "/probe"]).returncode:
        print(f"not run: the server's sanitizers (none of {SANITIZE} here)")
        look = []
    jobs = [["examples/server.c", "-o", WORK + "/server", *look, "-lmicrohttpd"],
            ["tests/fuzz_requests.c", "-o", WORK + "/fuzz_requests", "-w"]]
    for job in jobs:
        run = subprocess.run([cc, *flags, *job, "-lm", "-lpthread"], cwd=ROOT, capture_output=True, text=True)
        if not check(f"{job[0]} builds without a warning", run.returncode == 0 and not run.stderr, run.stderr):
            return False
    return True


class Server:
    """A server that runs; its lines so far are in `lines`."""

    def __init__(self, *options, model="chars", stdin=None, env=None):
        path = "-" if stdin else f"{WORK}/{model}.safetensors"
        self.process = subprocess.Popen([BIN + "/server", path, "--port", "0", *options], stdin=stdin,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=dict(os.environ, **(env or {})))
        line = self.process.stdout.readline()
        self.port = int(line.rsplit(":", 1)[1]) if ":" in line else 0
        self.lines = [line]
        if not stdin:
            self.ready()

    def ready(self):
        self.lines.append(self.process.stdout.readline())

    def stop(self, how=signal.SIGTERM):
        """Ends it; returns its status, checks that it said nothing on stderr."""
        self.process.send_signal(how)
        try:
            out, err = self.process.communicate(timeout=60 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            err += "(it did not end)"
        check("the server says nothing on stderr", not err, err)
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            check("SIGTERM ends the server with 0", self.stop() == 0)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self, path, body=None, method=None, headers=None, raw=None):
        """(status, answer): the answer as JSON."""
        connection = self.connect()
        data = raw if raw is not None else None if body is None else json.dumps(body)
        head = {"Content-Type": "application/json"} if data is not None else {}
        head.update(headers or {})
        connection.request(method or ("GET" if data is None else "POST"), path, data, head)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        self.headers = dict(answer.getheaders())
        return answer.status, json.loads(text) if text else None

    def stream(self, path, body, wait=None):
        """The events of a stream, the last one as a string."""
        connection = self.connect()
        connection.request("POST", path, json.dumps(dict(body, stream=True)), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        check("a stream is text/event-stream", answer.getheader("Content-Type") == "text/event-stream")
        text.decode("utf-8")
        events = [line for line in text.decode().split("\n\n") if line and not line.startswith(":")]
        check("each event is a line of data", all(e.startswith("data: ") for e in events), events[:3])
        return [e[6:] if e == "data: [DONE]" else json.loads(e[6:]) for e in events]

    def text(self, prompt, **fields):
        status, answer = self.ask("/v1/completions", dict({"prompt": prompt, "max_tokens": 16, "temperature": 0}, **fields))
        return answer["choices"][0]["text"] if status == 200 else answer


CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
HELLO = [{"role": "user", "content": "what does the moon do"}]


def deltas(events, chat=True):
    parts = [e["choices"][0] for e in events if not isinstance(e, str) and e["choices"]]
    return "".join((p["delta"].get("content") or "") if chat else p["text"] for p in parts)


def is_refusal(answer, status, kind, code=None, param=None):
    status_is, body = answer
    error = (body or {}).get("error", {})
    return (status_is == status and error.get("type") == kind and isinstance(error.get("message"), str)
            and error["message"] and set(error) == {"message", "type", "param", "code"}
            and (code is None or error["code"] == code) and (param is None or error["param"] == param))


def test_health_and_loading():  # 6.1 case 1
    keys = WORK + "/keys"
    with open(keys, "w") as file:
        file.write("first key\n\n  second-key  \r\n")
    with Server("--keys", keys, stdin=subprocess.PIPE) as s:
        for path in ("/health", "/v1/health"):
            check("503 while the model is loaded", is_refusal(s.ask(path), 503, "unavailable_error", "loading"))
        check("a chat while it is loaded: the key comes first",
              is_refusal(s.ask(CHAT, {}), 401, "authentication_error"))
        answer = s.ask(TEXT, {}, headers={"Authorization": "Bearer first key"})
        check("and then 503", is_refusal(answer, 503, "unavailable_error", "loading"), answer)
        with open(f"{WORK}/chars.safetensors", "rb") as file:
            s.process.stdin.buffer.write(file.read())
        s.process.stdin.close()
        s.process.stdin = None
        s.ready()
        check("health asks for no key", s.ask("/health") == (200, {"status": "ok"}))
        check("the line that it is ready", re.fullmatch(r"ready: wavecoh, 64 slots and \d+ kept states of \d+ bytes, \d+ a GiB\n", s.lines[1]), s.lines)


def test_keys():  # 6.1 case 2
    keys = WORK + "/keys"
    with open(keys, "w") as file:
        file.write("first key\n\n  second-key  \r\n")
    body = {"messages": HELLO, "max_tokens": 2}
    with Server("--keys", keys, env={"WAVECOH_KEYS": "third,fourth"}) as s:
        for given in (None, "", "Bearer", "Bearer ", "Bearer wrong", "second-key", "Basic second-key", "Bearer second-ke",
                      "Bearer second-key2", "Bearer third,fourth"):
            answer = s.ask(CHAT, body, headers={"Authorization": given} if given is not None else {})
            check(f"401 for {given!r}", is_refusal(answer, 401, "authentication_error", "invalid_api_key"), answer)
        check("401 says how", s.headers.get("WWW-Authenticate") == "Bearer")
        for given in ("Bearer first key", "Bearer second-key", "bearer third", "BEARER  fourth"):
            check(f"200 for {given!r}", s.ask(CHAT, body, headers={"Authorization": given})[0] == 200)
        check("models need a key", s.ask("/v1/models")[0] == 401)
    with Server("--keys", keys, env={"WAVECOH_KEYS": " third ,\tfirst key,, second-key, fourth  "}) as s: # two stand there twice
        said = dict(prompt="the moon pulls the tide that pulls the moon", max_tokens=1)
        asked = [s.ask(TEXT, said, headers={"Authorization": "Bearer " + k}) for k in ("third", "fourth", "first key", "second-key", "first key")]
        check("blanks around the environment's keys do not count", [a[0] for a in asked] == [200] * 5, asked)
        check("no two keys share states, one that stands there twice least of all",
              [a[1]["usage"]["prompt_tokens_details"]["cached_tokens"] for a in asked] == [0, 0, 0, 0, 43], asked)
    with Server(env={"WAVECOH_KEYS": "a,a,b"}) as s: # the numbers 1 and 2 make 3
        asked = [s.ask(TEXT, said, headers={"Authorization": "Bearer " + k})[1]["usage"]["prompt_tokens_details"]["cached_tokens"] for k in "ab"]
        check("nor with the one behind it", asked == [0, 0], asked)


def test_models():
    with Server("--name", 'my "model"/1') as s:
        status, answer = s.ask("/v1/models")
        check("the list of models", status == 200 and answer["object"] == "list" and len(answer["data"]) == 1)
        one = answer["data"][0]
        check("its one entry", one["id"] == 'my "model"/1' and one["object"] == "model" and one["owned_by"] == "wavecoh")
        check("the model by its name", s.ask("/v1/models/my%20%22model%22%2F1") == (200, one))
        check("another model", is_refusal(s.ask("/v1/models/other"), 404, "invalid_request_error", "model_not_found", "model"))
        check("HEAD has no body", s.ask("/v1/models", method="HEAD") == (200, None))


def test_refusals():  # 6.1 case 3
    bad = "invalid_request_error"
    with Server() as s:
        def chat(what, code, param=None, **fields):
            answer = s.ask(CHAT, dict({"messages": HELLO, "max_tokens": 2}, **fields))
            check(f"chat refuses {what}", is_refusal(answer, 400, bad, code, param), answer)

        def text(what, code, param=None, **fields):
            answer = s.ask(TEXT, dict({"prompt": "the ", "max_tokens": 2}, **fields))
            check(f"completions refuse {what}", is_refusal(answer, 400, bad, code, param), answer)

        for raw in ("", "{", "nonsense", '{"messages": [}', '{"a": NaN}', '{"temperature": NaN, "prompt": "a"}', '{"a": 1} x',
                    '{"a": "\\ud800"}', b'{"a": "\xff"}', "[" * 100 + "]" * 100, '{"a": 01}'):
            for path in (CHAT, TEXT):
                check(f"not JSON: {raw!r}", is_refusal(s.ask(path, raw=raw), 400, bad, "invalid_json"), s.ask(path, raw=raw))
        check("the sentence has the byte", "byte 14:" in s.ask(CHAT, raw='{"messages": [}')[1]["error"]["message"],
              s.ask(CHAT, raw='{"messages": [}'))
        check("no object", is_refusal(s.ask(CHAT, raw="[1]"), 400, bad, "invalid_type"))
        check("messages are missing", is_refusal(s.ask(CHAT, {}), 400, bad, "missing_required_parameter", "messages"))
        check("a prompt is missing", is_refusal(s.ask(TEXT, {}), 400, bad, "missing_required_parameter", "prompt"))
        chat("no messages", "invalid_value", "messages", messages=[])
        chat("messages as text", "invalid_type", "messages", messages="hi")
        chat("a message that is none", "invalid_type", "messages.1", messages=HELLO + [3])
        chat("no role", "missing_required_parameter", "messages.0.role", messages=[{"content": "a"}])
        chat("an unknown role", "invalid_value", "messages.0.role", messages=[{"role": "king", "content": "a"}])
        chat("two roles", "invalid_value", "messages.0.role", messages=[{"role": "user assistant", "content": "a"}])
        chat("no content", "missing_required_parameter", "messages.0.content", messages=[{"role": "user"}])
        chat("content as number", "invalid_type", "messages.0.content", messages=[{"role": "user", "content": 5}])
        chat("a picture", "unsupported_value", "messages.0.content", messages=[{"role": "user", "content": [{"type": "image_url"}]}])
        chat("a part without text", "missing_required_parameter", "messages.0.content",
             messages=[{"role": "user", "content": [{"type": "text"}]}])
        chat("JSON as format", "unsupported_value", "response_format", response_format={"type": "json_object"})
        tool = {"type": "function", "function": {"name": "look"}}
        for field, value in (("tools", [tool]), ("tools", {}), ("functions", [{"name": "look"}]), ("tool_choice", "required"), ("tool_choice", tool),
                             ("function_call", {"name": "look"}), ("modalities", ["text", "audio"]), ("audio", {"voice": "low"}),
                             ("web_search_options", {}), ("grammar", "root ::= \"a\""), ("json_schema", {})):
            chat(f"{field} {value!r}", "unsupported_value", field, **{field: value})
            text(f"{field} {value!r}", "unsupported_value", field, **{field: value})
        chat("a call of a tool", "unsupported_value", "messages.1.tool_calls",
             messages=HELLO + [{"role": "assistant", "tool_calls": [dict(tool, id="1")]}])
        for field, value in (("tools", []), ("tools", None), ("functions", []), ("tool_choice", "none"), ("tool_choice", "auto"), ("function_call", "none"),
                             ("modalities", ["text"]), ("audio", None), ("grammar", ""), ("parallel_tool_calls", True)):
            check(f"{field} {value!r} asks for nothing", s.ask(CHAT, {"messages": HELLO, "max_tokens": 1, field: value})[0] == 200)
        check("nor does a message without calls", s.ask(CHAT, {"messages": HELLO + [{"role": "assistant", "content": "a", "tool_calls": []}], "max_tokens": 1})[0] == 200)
        chat("a letter it lacks", "invalid_value", "messages", messages=[{"role": "user", "content": "\u4e2d"}])
        for field, value in (("temperature", "hot"), ("temperature", True), ("top_p", []), ("n", "1"), ("n", {}), ("seed", "x"),
                             ("max_tokens", "5"), ("stream", 1), ("stream", "true"), ("stop", 5), ("stop", [1]), ("stop", {}),
                             ("model", 5), ("user", []), ("logprobs", 1), ("logit_bias", []), ("logit_bias", {"1": "x"}),
                             ("presence_penalty", "a"), ("stream_options", 1)):
            chat(f"{field} {value!r}", "invalid_type", field, **{field: value})
        for field, value in (("temperature", -1), ("temperature", 1e9), ("top_p", 1.5), ("top_p", -0.1), ("min_p", 2), ("n", 0),
                             ("n", -1), ("n", 1.5), ("n", 1000), ("top_k", -2), ("top_k", 0.5), ("repetition_penalty", 0),
                             ("repetition_penalty", -1), ("presence_penalty", 2.1), ("frequency_penalty", -3),
                             ("max_tokens", -1), ("max_tokens", 65537), ("max_completion_tokens", 65537), ("max_tokens", 1e30),
                             ("stop", ""), ("stop", ["a"] * 5), ("stop", "x" * 1001), ("logit_bias", {"a": 1}), ("logit_bias", {"-1": 1}),
                             ("logit_bias", {"31": 1}), ("logit_bias", {"1": 101}), ("seed", 2**64), ("seed", 0.5),
                             ("top_logprobs", 21), ("top_logprobs", 2), ("stream_options", {})):
            chat(f"{field} {value!r}", "invalid_value", field, **{field: value})
        text("echo with logprobs", "unsupported_value", "logprobs", echo=True, logprobs=1)
        text("a suffix", "unsupported_value", "suffix", suffix="x")
        text("best_of", "unsupported_value", "best_of", best_of=2)
        for field, value in (("suffix", "x"), ("best_of", 2), ("echo", True)):
            chat(f"{field} {value!r}", "unsupported_value", field, **{field: value})
        text("too many symbols by their newer name", "invalid_value", "max_completion_tokens", max_completion_tokens=65537)
        check("which completions know too", s.ask(TEXT, {"prompt": "a", "max_completion_tokens": 3})[1]["usage"]["completion_tokens"] == 3)
        text("a prompt of numbers and text", "invalid_type", "prompt", prompt=[1, "a"])
        text("a prompt with a token that is none", "invalid_value", "prompt", prompt=[31])
        text("a prompt that is an object", "invalid_type", "prompt", prompt={})
        text("too many prompts", "invalid_value", "prompt", prompt=["a"] * 129)
        text("too many replies", "invalid_value", "n", prompt=["a"] * 100, n=2)
        check("an unknown route", is_refusal(s.ask("/v2/none"), 404, bad, "not_found"))
        check("what is below a route", s.ask("/v1/completions/x")[0] == 404)
        for path, method, allow in ((CHAT, "GET", "POST"), (TEXT, "PUT", "POST"), ("/health", "POST", "GET, HEAD"), ("/v1/models", "DELETE", "GET, HEAD")):
            check(f"{method} {path}", is_refusal(s.ask(path, method=method), 405, bad, "method_not_allowed"))
            check("405 says what is allowed", s.headers.get("Allow") == allow, s.headers)
        for kind in ("text/plain", "application/jsonx", "", "application/x-www-form-urlencoded"):
            check(f"415 for {kind!r}", is_refusal(s.ask(CHAT, {}, headers={"Content-Type": kind}), 415, bad, "unsupported_media_type"))
        for kind in ("application/json; charset=utf-8", "APPLICATION/JSON"):
            check(f"200 for {kind!r}", s.ask(TEXT, {"prompt": "a", "max_tokens": 1}, headers={"Content-Type": kind})[0] == 200)


def test_usage():  # 6.1 case 4
    with Server() as s:
        for limit in (1, 7, 40):
            status, answer = s.ask(CHAT, {"messages": HELLO, "max_tokens": limit, "stop": ["hand"], "seed": 3})
            usage, choice = answer["usage"], answer["choices"][0]
            check("200, one choice", status == 200 and len(answer["choices"]) == 1 and choice["index"] == 0)
            check("its shape", answer["object"] == "chat.completion" and answer["id"].startswith("chatcmpl-") and answer["model"] == "chars"
                  and choice["message"]["role"] == "assistant" and abs(answer["created"] - time.time()) < 60, answer)
            check("total = prompt + completion", usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"])
            check("prompt_tokens", usage["prompt_tokens"] == len("user: what does the moon do\nassistant: "), usage)
            check("at most max_tokens", usage["completion_tokens"] <= limit)
            check("length iff the limit", (choice["finish_reason"] == "length") == (usage["completion_tokens"] == limit), answer)
        answer = s.ask(CHAT, {"messages": HELLO, "max_tokens": 200, "temperature": 0})[1]
        check("the template's stop ends a reply", answer["choices"][0]["finish_reason"] == "stop"
              and re.fullmatch("[^\n]+", answer["choices"][0]["message"]["content"]), answer)
        first = s.text("the moon ", max_tokens=30)
        for stop in ("tide", ["zzz", "ide"], ["pulls the t", "pulls"], "\n"):
            status, answer = s.ask(TEXT, {"prompt": "the moon ", "max_tokens": 30, "temperature": 0, "stop": stop})
            strings = [stop] if isinstance(stop, str) else stop
            places = [first.find(x) for x in strings if x in first]
            want = (first[:min(places)], "stop") if places else (first, "length")
            got = (answer["choices"][0]["text"], answer["choices"][0]["finish_reason"])
            check(f"stop {stop!r}", got == want, (got, want))
        answer = s.ask(TEXT, {"prompt": ["the ", "a"], "n": 2, "max_tokens": 3})[1]
        check("prompts and n: indices in order", [c["index"] for c in answer["choices"]] == [0, 1, 2, 3])
        check("their usage", answer["usage"] == dict(answer["usage"], prompt_tokens=5, completion_tokens=12, total_tokens=17), answer)
        check("echo", s.text("the ", echo=True, max_tokens=4).startswith("the "))
        for body in ({"prompt": "the ", "max_tokens": 4}, {"prompt": ["the \u00e9 ", "", "sand\n"], "max_tokens": 2, "n": 2}, {"prompt": "the ", "max_tokens": 0}):
            body = dict(body, echo=True, seed=2)
            whole = [c["text"] for c in s.ask(TEXT, body)[1]["choices"]]
            events = [e["choices"][0] for e in s.stream(TEXT, body)[:-1]]
            check("a stream echoes too", whole == ["".join(e["text"] for e in events if e["index"] == i) for i in range(len(whole))], (whole, events))
        check("max_tokens by default", s.ask(TEXT, {"prompt": "a"})[1]["usage"]["completion_tokens"] == 256)
        check("nulls are as nothing", s.ask(CHAT, dict({"messages": HELLO}, **{f: None for f in (
            "max_tokens", "temperature", "stop", "seed", "n", "stream", "logit_bias", "user", "response_format", "stream_options")}))[0] == 200)
        check("unknown fields are passed over", s.ask(CHAT, {"messages": HELLO, "max_tokens": 1, "tools": [], "xyz": {"a": [1]}})[0] == 200)
        parts = [{"role": "user", "content": [{"type": "text", "text": "what does "}, {"type": "text", "text": "the moon do"}]}]
        one, two = (s.ask(CHAT, {"messages": m, "max_tokens": 20, "temperature": 0})[1] for m in (HELLO, parts))
        check("content in parts is the same text", one["choices"][0]["message"] == two["choices"][0]["message"] and one["usage"] == two["usage"])
        check("a prompt of tokens", s.ask(TEXT, {"prompt": [[1, 2], [3]], "max_tokens": 1})[1]["usage"]["prompt_tokens"] == 3)
        check("an empty prompt", s.ask(TEXT, {"prompt": "", "max_tokens": 1})[1]["usage"]["prompt_tokens"] == 1)


def test_streams():  # 6.1 case 5
    with Server("--event", "0") as s:
        for fields in ({"temperature": 0}, {"temperature": 1, "seed": 5}, {"temperature": 1, "seed": -5, "stop": ["e ", "t"]},
                       {"temperature": 0.7, "seed": 8, "top_p": 0.9, "top_k": 20, "repetition_penalty": 1.1}):
            body = dict({"messages": HELLO, "max_tokens": 60}, **fields)
            whole = s.ask(CHAT, body)[1]["choices"][0]
            events = s.stream(CHAT, body)
            check("deltas make the content", deltas(events) == whole["message"]["content"], (deltas(events), whole))
            check("the first event has the role", events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}, events[0])
            reasons = [e["choices"][0]["finish_reason"] for e in events[:-1]]
            check("one finish_reason, at the end", [r for r in reasons if r] == [whole["finish_reason"]] and reasons[-1], reasons)
            check("[DONE] is last", events[-1] == "[DONE]" and "[DONE]" not in events[:-1])
            check("one id", len({e["id"] for e in events[:-1]}) == 1 and events[0]["object"] == "chat.completion.chunk")
        body = {"prompt": "the ", "max_tokens": 25, "temperature": 0, "stream_options": {"include_usage": True}}
        events = s.stream(TEXT, body)
        check("completions stream alike", deltas(events, False) == s.text("the ", max_tokens=25))
        check("usage comes once, without choices", [e["usage"] for e in events[:-1] if e["usage"]] ==
              [s.ask(TEXT, {"prompt": "the ", "max_tokens": 25, "temperature": 0})[1]["usage"]] and events[-2]["choices"] == [])
        check("an event for each symbol", len(events) == 25 + 3, len(events))
        events = s.stream(CHAT, {"messages": HELLO, "n": 3, "seed": 1, "temperature": 2, "max_tokens": 9})
        check("n streams in one", sorted({e["choices"][0]["index"] for e in events[:-1]}) == [0, 1, 2])
        whole = s.ask(CHAT, {"messages": HELLO, "n": 3, "seed": 1, "temperature": 2, "max_tokens": 9})[1]
        for i in range(3):
            mine = [e for e in events[:-1] if e["choices"][0]["index"] == i]
            check("each is whole", deltas(mine) == whole["choices"][i]["message"]["content"])
        check("choices differ", len({c["message"]["content"] for c in whole["choices"]}) > 1, whole)
        one = s.ask(CHAT, {"messages": HELLO, "seed": 1, "temperature": 2, "max_tokens": 9})[1]
        check("the first is the only one of n 1", one["choices"][0] == whole["choices"][0])
    with Server("--event", "1000") as s:
        events = s.stream(TEXT, {"prompt": "the ", "max_tokens": 200, "temperature": 0})
        check("events are coalesced", len(events) <= 6, len(events))


def test_extremes():  # 6.1 case 6
    with Server() as s:
        base = {"prompt": "the ", "max_tokens": 5, "seed": 1}
        answer = s.ask(TEXT, dict(base, max_tokens=0))[1]
        check("max_tokens 0", answer["choices"][0]["text"] == "" and answer["choices"][0]["finish_reason"] == "length", answer)
        events = s.stream(CHAT, {"messages": HELLO, "max_tokens": 0})
        check("max_tokens 0 as a stream", [e["choices"][0]["finish_reason"] for e in events[:-1]] == [None, "length"], events)
        everything = s.text("the ", temperature=1, seed=1)
        for field, value in (("top_k", 0), ("top_k", -1), ("top_k", 31), ("top_k", 10**9), ("top_p", 1), ("min_p", 0),
                             ("repetition_penalty", 1), ("presence_penalty", 0), ("logit_bias", {})):
            got = s.text("the ", temperature=1, seed=1, **{field: value})
            check(f"{field} {value} keeps all", got == everything, got)
        greedy = s.text("the ")
        for fields in ({"top_k": 1}, {"top_p": 0}, {"min_p": 1}, {"temperature": 1e-9}):
            got = s.text("the ", **dict({"temperature": 1, "seed": 9}, **fields))
            check(f"{fields} keeps the likeliest", got == greedy, got)
        for raw in ('{"prompt": "the ", "temperature": NaN}', '{"prompt": "the ", "temperature": -1}', '{"prompt": "a", "temperature": 1e999}'):
            check(f"{raw} is refused", s.ask(TEXT, raw=raw)[0] == 400)
        for raw in ('{"prompt": "the ", "temperature": 1.000000000000000000000000000000000000000000000000000000000000000000000001}',
                    '{"prompt": "the ", "max_tokens": 1e0}', '{"\\u0070rompt": "the ", "max_tokens": 1}'):
            check(f"{raw} is well", s.ask(TEXT, raw=raw)[0] == 200)
        large = b'{"prompt": "' + b"a" * (3 << 20) + b'"}'
        check("3 MiB are too much", is_refusal(s.ask(TEXT, raw=large), 413, "invalid_request_error", "payload_too_large"))
        connection = s.connect()
        connection.request("POST", TEXT, iter([large[:1 << 20], large[1 << 20:]]), {"Content-Type": "application/json"}, encode_chunked=True)
        check("in pieces too", connection.getresponse().status == 413)
        raw = socket.create_connection(("127.0.0.1", s.port))
        raw.sendall(f"POST {TEXT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n".encode())
        check("100 GB are refused before they come", b"413" in raw.recv(1000))
        raw.close()
        check("it lives", s.ask("/health")[0] == 200)
    with Server("--unknown", "replace") as s:
        check("letters that the model lacks can be replaced", s.ask(TEXT, {"prompt": "\u4e2d", "max_tokens": 1})[1]["usage"]["prompt_tokens"] == 1)
    with Server("--unknown", "skip") as s:
        check("or skipped", s.ask(TEXT, {"prompt": "a\u4e2db", "max_tokens": 1})[1]["usage"]["prompt_tokens"] == 2)


def test_utf8():  # 6.1 case 7
    with Server("--event", "0", model="bytes") as s:
        many = 0
        for seed in range(6):
            body = {"prompt": "caf\u00e9 ", "max_tokens": 120, "temperature": 2.5, "seed": seed}
            events = s.stream(TEXT, body)
            text = deltas(events, False)
            check("broken or not: deltas make the text", text == s.ask(TEXT, body)[1]["choices"][0]["text"])
            many += text.count("\ufffd")
        check("such a model breaks characters", many > 50, many)
        body = {"prompt": "x", "max_tokens": 3, "temperature": 0, "logit_bias": {"226": 100}, "logprobs": 0}
        events = s.stream(TEXT, dict(body, max_tokens=1))
        check("half a character waits to the end", [e["choices"][0]["text"] for e in events[:-1]] == ["\ufffd", ""], events)


def test_subwords():
    with Server("--event", "0", model="subwords") as s:
        text = "the moon, \u00e9t\u00e9 \u4e2d <|end|> x" + "x" * 600
        tokens = s.ask("/tokenize", {"content": text})[1]["tokens"]
        pieces = s.ask("/tokenize", {"content": "<|end|>" + "x" * 600, "with_pieces": True})[1]["tokens"]
        end, long = (p["id"] for p in pieces)
        check("added tokens are one each, whatever their length", [p["piece"] for p in pieces] == ["<|end|>", "x" * 600], pieces)
        check("tokens spell their text", s.ask("/detokenize", {"tokens": tokens}) == (200, {"content": text}), tokens)
        half = s.ask("/tokenize", {"content": "\u4e2d", "with_pieces": True})[1]["tokens"][:2]
        check("half a character is one mark", s.ask("/detokenize", {"tokens": [h["id"] for h in half]})[1]["content"] == "\ufffd", half)
        def said(token, **fields):
            return s.ask(TEXT, dict({"prompt": "the ", "max_tokens": 3, "logit_bias": {str(token): 100}, "logprobs": 0}, **fields))[1]["choices"][0]
        choice = said(long)
        check("a long token is shown", choice["text"] == 3 * 600 * "x" and choice["logprobs"]["tokens"] == ["x" * 600] * 3
              and choice["logprobs"]["text_offset"] == [0, 600, 1200] and choice["finish_reason"] == "length", choice)
        events = s.stream(TEXT, {"prompt": "the ", "max_tokens": 3, "logit_bias": {str(long): 100}})
        check("as it comes", [e["choices"][0]["text"] for e in events[:-1]] == ["x" * 600] * 3 + [""], events)
        choice = said(end)
        check("a control token is no text and ends a reply", choice["text"] == "" and choice["finish_reason"] == "stop"
              and choice["logprobs"]["tokens"] == [], choice)
        answer = s.ask(CHAT, {"messages": HELLO, "max_tokens": 5, "logit_bias": {str(end): 100}})[1]
        check("of a chat too; it counts as said", answer["choices"][0]["finish_reason"] == "stop" and answer["usage"]["completion_tokens"] == 1, answer)
        the = s.ask("/tokenize", {"content": "x the", "with_pieces": True})[1]["tokens"][1]
        long = [{"role": "user", "content": "what does the moon do, " * 9}]
        body = {"messages": long, "max_tokens": 3, "logit_bias": {str(the["id"]): 100}}
        answer = s.ask(CHAT, body)[1]
        want = the["piece"].lstrip() + 2 * the["piece"]
        check("the blank before a reply is its first token's, and not shown", the["piece"][0] == " "
              and answer["choices"][0]["message"]["content"] == want == deltas(s.stream(CHAT, body)), (the, answer))
        talk = s.ask(CHAT, {"messages": long + [{"role": "assistant", "content": want}] + HELLO, "max_tokens": 0})[1]
        check("so the next turn has the same tokens", talk["usage"]["prompt_tokens_details"]["cached_tokens"]
              >= answer["usage"]["prompt_tokens"] > 40, (answer, talk))
        choice = said(half[0]["id"], max_tokens=2, echo=True, logprobs=None)
        check("bytes that are no character are a mark each", choice["text"] == "the \ufffd\ufffd", choice)
        whole = s.text("the moon ", max_tokens=20, temperature=1, seed=3)
        check("a stream says the same", deltas(s.stream(TEXT, {"prompt": "the moon ", "max_tokens": 20, "seed": 3, "temperature": 1}), False) == whole)


def logprobs(s, prompt, top=20):
    choice = s.ask(TEXT, {"prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": top})[1]["choices"][0]
    return choice["logprobs"]["top_logprobs"][0]


def test_context():  # 6.1 case 8
    with Server() as s:
        one, two = logprobs(s, "moon the tide"), logprobs(s, "sand the tide")
        both = [k for k in one if k in two]
        check("an early symbol changes what follows", both and max(abs(one[k] - two[k]) for k in both) > 1e-4, (one, two))


def test_cache():  # 6.1 case 9
    with Server("--cache", "1") as s:
        text = ("the moon pulls the tide and the sand keeps the waves " * 8)[:400]  # past the context of 256
        for length in (40, 255, 257, 400):
            body = {"prompt": text[:length], "max_tokens": 2, "temperature": 0, "logprobs": 20}
            fresh = s.ask(TEXT, dict(body, cache_prompt=False))[1]
            kept = s.ask(TEXT, body)[1]
            check("a kept state gives the same bits", fresh["choices"] == kept["choices"], (length, fresh, kept))
            check("fresh is fresh", fresh["usage"]["prompt_tokens_details"]["cached_tokens"] == 0)
        # every position, to past the context: a reply that nothing kept helps, and each beginning of it from what is kept
        whole = s.ask(TEXT, {"prompt": text[:31], "max_tokens": 270, "temperature": 0, "logprobs": 20, "cache_prompt": False})[1]["choices"][0]
        wrong, used = [], 0
        for i, fresh in enumerate(whole["logprobs"]["top_logprobs"]):
            one = s.ask(TEXT, {"prompt": text[:31] + whole["text"][:i], "max_tokens": 1, "temperature": 0, "logprobs": 20})[1]
            used += one["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
            if one["choices"][0]["logprobs"]["top_logprobs"][0] != fresh:
                wrong.append(31 + i)
        check("from a kept state every position of 31 to 300 has the bits of none", i == 269 and used > 230 and not wrong, (i, used, wrong))
        check("and is used", 200 <= kept["usage"]["prompt_tokens_details"]["cached_tokens"] <= 400, kept["usage"])
        again = s.ask(TEXT, body)[1]
        check("the same prompt needs no hearing at all", again["choices"] == kept["choices"]
              and again["usage"]["prompt_tokens_details"]["cached_tokens"] == 400, again)
        check("max_tokens 0 of it", s.text(text, max_tokens=0) == "")
        talk = [{"role": "user", "content": "what does the moon do, and what the tide"}]
        for turn in range(4):
            body = {"messages": talk, "max_tokens": 50, "temperature": 0}
            answer = s.ask(CHAT, body)[1]
            cached, prompt = answer["usage"]["prompt_tokens_details"]["cached_tokens"], answer["usage"]["prompt_tokens"]
            if turn:
                check("the next turn hears its new symbols alone", prompt - cached < 60 + 32, answer["usage"])
            check("and says the same", answer["choices"] == s.ask(CHAT, dict(body, cache_prompt=False))[1]["choices"])
            talk += [answer["choices"][0]["message"], {"role": "user", "content": "what does the tide do"}]
        for i in range(75):  # more states than a MiB holds
            s.ask(TEXT, {"prompt": text[i % 20:i % 20 + 32] + "abcdef"[i % 6] + "ghilm"[i // 6 % 5] + "nops"[i // 30], "max_tokens": 1})
        metrics = metrics_of(s)
        check("as many as there is room for", 40 < metrics["wavecoh_kept_states"] <= (1 << 20) // 15000, metrics)
        check("hits and misses", metrics["wavecoh_cache_hits_total"] > 6 and metrics["wavecoh_cache_misses_total"] > 50, metrics)
        check("a state that went is heard again", s.ask(TEXT, dict(body, cache_prompt=True, prompt=text[:100], max_tokens=1))[0] == 200)
        one = s.ask(TEXT, {"prompt": text[:200], "n": 4, "max_tokens": 20, "seed": 4, "temperature": 1})[1]
        alone = [s.ask(TEXT, {"prompt": text[:200], "max_tokens": 20, "seed": 4 + i, "temperature": 1, "cache_prompt": False})[1]["choices"][0]["text"]
                 for i in range(4)]
        check("n replies share the hearing of a prompt", [c["text"] for c in one["choices"]] == alone, one)
    for options in ([], ["--prefill", "2"]):  # more replies than slots: those that come later are told by those that are through
        with Server("--slots", "3", *options) as s:
            for prompt in ("a", text[:70]):
                body = {"prompt": prompt, "max_tokens": 5, "seed": 4, "temperature": 1, "cache_prompt": False}
                one = s.ask(TEXT, dict(body, n=11))[1]
                alone = [s.ask(TEXT, dict(body, seed=4 + i))[1]["choices"][0]["text"] for i in range(11)]
                check("more replies than slots", [c["text"] for c in one["choices"]] == alone, (options, one, alone))
    keys = WORK + "/keys"
    with open(keys, "w") as file:
        file.write("a\nb\n")
    with Server("--keys", keys) as s:
        def cached(key):
            return s.ask(TEXT, {"prompt": text, "max_tokens": 1}, headers={"Authorization": "Bearer " + key})[1]["usage"]["prompt_tokens_details"]["cached_tokens"]
        check("keys do not share states", [cached("a"), cached("a"), cached("b"), cached("b")] == [0, 400, 0, 400])
    with Server("--cache", "0") as s:
        check("no cache", s.text(text) == s.text(text) and metrics_of(s)["wavecoh_kept_states"] == 0)


def test_prefill():
    text = ("the moon pulls the tide and the sand keeps the waves " * 8)[:400]
    body = {"max_tokens": 3, "temperature": 0, "logprobs": 20}
    with Server() as s, Server("--prefill", "70") as p:
        for length in (70, 71, 135, 400):  # from nothing, and from what is kept
            for fresh in (False, True):
                steps = s.ask(TEXT, dict(body, prompt=text[:length]))[1]["choices"][0]["logprobs"]["top_logprobs"]
                blocks = p.ask(TEXT, dict(body, prompt=text[:length], cache_prompt=not fresh))[1]["choices"][0]["logprobs"]["top_logprobs"]
                worst = max(abs(a[k] - b[k]) for a, b in zip(steps, blocks) for k in a if k in b)
                check("blocks of a prompt are its symbols", worst < 1e-4, (length, worst))
        bodies = [{"prompt": text[i:], "max_tokens": 20, "temperature": 1, "seed": i, "cache_prompt": False, "n": 1 + i % 2} for i in range(5)]
        alone = [p.ask(TEXT, b)[1]["choices"] for b in bodies]
        together = [None] * len(bodies)
        def one(i): together[i] = p.ask(TEXT, bodies[i])[1]["choices"]
        threads = [threading.Thread(target=one, args=(i,)) for i in range(len(bodies))]
        [t.start() for t in threads]
        [t.join() for t in threads]
        check("together as alone", together == alone)
        raws = [busy(p, prompt=text * 50, cache_prompt=False, stream=False) for _ in range(3)]  # they leave while they are heard
        time.sleep(0.3)
        [raw.close() for raw in raws]
        check("who leaves in the midst of a prompt leaves the ear to the next", p.text(text[5:], max_tokens=3) == s.text(text[5:], max_tokens=3))


def metrics_of(s):
    connection = s.connect()
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    check("metrics are text", answer.status == 200 and answer.getheader("Content-Type").startswith("text/plain"))
    lines = text.splitlines()
    check("three lines a figure", len(lines) % 3 == 0 and all(lines[i].startswith("# HELP wavecoh_") and lines[i + 1].startswith("# TYPE ")
          and lines[i + 2].split()[0] == lines[i].split()[2] for i in range(0, len(lines), 3)), text)
    return {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}


def test_figures():
    with Server("--slots", "3") as s:
        before = metrics_of(s)
        s.ask(TEXT, {"prompt": "the ", "max_tokens": 7})
        s.ask(TEXT, {"prompt": 5})
        after = metrics_of(s)
        def more(name): return after["wavecoh_" + name] - before["wavecoh_" + name]
        check("symbols are counted", more("prompt_tokens_total") == 4 and more("tokens_predicted_total") == 7 and more("steps_total") == 10, after)
        check("and requests", more("requests_total") >= 2 and more("refused_total") == 1, after)
        raw = busy(s, max_tokens=60000)
        time.sleep(0.2)
        slots = s.ask("/slots")[1]
        check("a slot at work", len(slots) == 3 and [x["is_processing"] for x in slots] == [True, False, False]
              and slots[0]["prompt_tokens"] == 4 and slots[0]["completion_tokens"] > 0, slots)
        raw.close()
        props = s.ask("/props")[1]
        check("props", props["total_slots"] == 3 and props["model"]["id"] == "chars" and "{messages}" in props["chat_template"]
              and props["default_generation_settings"]["temperature"] == 0.8, props)
    with Server("--temperature", "0.12345678901234568", "--top-p", "0.3333333333333333148") as s:
        made = s.ask("/props")[1]["default_generation_settings"]
        check("props are JSON whatever the digits", abs(made["temperature"] - 0.123456789012345) < 1e-14 and abs(made["top_p"] - 1 / 3) < 1e-14, made)


def test_tokens():
    with Server() as s:
        text = "the moon, \u00e9t\u00e9 and \u20ac\n"
        tokens = s.ask("/tokenize", {"content": text})[1]["tokens"]
        check("a token a character", len(tokens) == len(text))
        check("and back", s.ask("/detokenize", {"tokens": tokens}) == (200, {"content": text}))
        pieces = s.ask("/tokenize", {"content": text, "with_pieces": True})[1]["tokens"]
        check("with pieces", [p["id"] for p in pieces] == tokens and "".join(p["piece"] for p in pieces) == text)
        check("nothing is nothing", s.ask("/tokenize", {"content": ""}) == (200, {"tokens": []}) and s.ask("/detokenize", {"tokens": []}) == (200, {"content": ""}))
        for path, body, param in (("/tokenize", {}, "content"), ("/tokenize", {"content": 5}, "content"), ("/tokenize", {"content": "\u4e2d"}, "content"),
                                  ("/tokenize", {"content": "a", "with_pieces": 1}, "with_pieces"), ("/detokenize", {}, "tokens"),
                                  ("/detokenize", {"tokens": "a"}, "tokens"), ("/detokenize", {"tokens": [99]}, "tokens")):
            answer = s.ask(path, body)
            check(f"{path} refuses {body}", is_refusal(answer, 400, "invalid_request_error", None, param), answer)
    with Server(model="bytes") as s:
        pieces = s.ask("/tokenize", {"content": "\u00e9", "with_pieces": True})[1]["tokens"]
        check("pieces of a character are bytes", [p["piece"] for p in pieces] == [[0xc3], [0xa9]], pieces)
    with Server(model="short") as s:
        plain = s.ask("/tokenize", {"content": "a" * 100})[1]["tokens"]
        special = s.ask("/tokenize", {"content": "a" * 100, "add_special": True})[1]["tokens"]
        check("the start symbol where it is asked for, and no limit of positions", len(plain) == 100 and special[1:] == plain)
        check("it has no text", s.ask("/detokenize", {"tokens": special})[1]["content"] == "a" * 100)


def test_unknown():
    for word, gap in (("skip", []), ("replace", [0])):
        with Server("--unknown", word, model="joins") as s:
            for content, tokens in (("the% the", [5] + gap + [0, 5]), ("%", gap), ("zz", [3] * 20), ("z%the", [3] * 10 + gap + [5])):
                answer = s.ask("/tokenize", {"content": content})
                check(f"{content} by {word}: what is left is one text", answer == (200, {"tokens": tokens}), answer)
                answer = s.ask(TEXT, {"prompt": [content, "the"], "max_tokens": 1})
                check("a prompt too", answer[0] == 200 and answer[1]["usage"]["prompt_tokens"] == (len(tokens) or 1) + 1, answer)
    with Server(model="joins") as s:
        check("unless they are refused", is_refusal(s.ask("/tokenize", {"content": "the%"}), 400, "invalid_request_error", "invalid_value", "content"))


def test_embeddings():
    import base64
    import struct
    with Server() as s:
        texts = ["the moon pulls the tide", "the moon", "sand"]
        status, answer = s.ask("/v1/embeddings", {"input": texts, "model": "chars"})
        rows = [d["embedding"] for d in answer["data"]]
        check("a row a text", status == 200 and answer["object"] == "list" and [d["index"] for d in answer["data"]] == [0, 1, 2]
              and all(len(r) == 32 for r in rows) and answer["usage"] == {"prompt_tokens": 35, "total_tokens": 35}, answer)
        check("of length 1", all(abs(sum(x * x for x in r) - 1) < 1e-5 for r in rows))
        check("that tells texts apart", rows[0] != rows[1])
        coded = s.ask("/v1/embeddings", {"input": texts[0], "encoding_format": "base64", "dimensions": 32})[1]["data"][0]["embedding"]
        floats = struct.unpack("<32f", base64.b64decode(coded, validate=True))
        check("base64 is the same", max(abs(a - b) for a, b in zip(floats, rows[0])) < 1e-6)
        last = s.ask("/v1/embeddings", {"input": texts, "pooling": "last"})[1]["data"]
        check("the last row is another one", last[0]["embedding"] != rows[0])
        one = s.ask("/v1/embeddings", {"input": "e", "pooling": "last"})[1]["data"][0]["embedding"]
        check("of one symbol they are the same", one == s.ask("/v1/embeddings", {"input": "e"})[1]["data"][0]["embedding"])
        # the mean of two symbols is the mean of the rows after each of them
        for body, code, param in (({}, "missing_required_parameter", "input"), ({"input": 5}, "invalid_type", "input"),
                                  ({"input": ["a", 5]}, "invalid_type", "input"), ({"input": "a", "dimensions": 5}, "unsupported_value", "dimensions"),
                                  ({"input": "a", "encoding_format": "int8"}, "invalid_value", "encoding_format"),
                                  ({"input": "a", "pooling": 1}, "invalid_type", "pooling"), ({"input": "\u4e2d"}, "invalid_value", "input")):
            answer = s.ask("/v1/embeddings", body)
            check(f"embeddings refuse {body}", is_refusal(answer, 400, "invalid_request_error", code, param), answer)


def test_logprobs():
    import math
    with Server() as s:
        body = {"messages": HELLO, "max_tokens": 12, "temperature": 0, "logprobs": True, "top_logprobs": 3}
        choice = s.ask(CHAT, body)[1]["choices"][0]
        content = choice["logprobs"]["content"]
        check("one entry a symbol, bytes make the text", "".join(t["token"] for t in content) == choice["message"]["content"]
              and b"".join(bytes(t["bytes"]) for t in content).decode() == choice["message"]["content"], content)
        check("greedy takes the likeliest", all(t["top_logprobs"][0]["token"] == t["token"] and len(t["top_logprobs"]) == 3
              and t["logprob"] == t["top_logprobs"][0]["logprob"] for t in content))
        check("they fall", all(t["top_logprobs"][0]["logprob"] >= t["top_logprobs"][2]["logprob"] for t in content))
        events = s.stream(CHAT, body)
        told = [t for e in events[:-1] if e["choices"][0]["logprobs"] for t in e["choices"][0]["logprobs"]["content"]]
        check("a stream tells the same", told == content)
        all_of_it = logprobs(s, "the ")
        choice = s.ask(TEXT, {"prompt": "the ", "max_tokens": 3, "temperature": 0, "logprobs": 20, "logit_bias": {"3": 50}, "top_k": 5})[1]["choices"][0]
        check("filters and biases do not change them", choice["logprobs"]["top_logprobs"][0] == all_of_it)
        check("they are probabilities", 0.9 < sum(math.exp(p) for p in all_of_it.values()) <= 1.0001, all_of_it)
        check("offsets of the text", choice["logprobs"]["text_offset"] == [0, 1, 2] and len(choice["logprobs"]["token_logprobs"]) == 3)
        letters = s.ask("/tokenize", {"content": "\u00e9\u20ac"})[1]["tokens"]
        body = {"prompt": "the ", "max_tokens": 6, "seed": 1, "logprobs": 20, "logit_bias": {str(t): 100 for t in letters}}
        choice = s.ask(TEXT, body)[1]["choices"][0]
        check("they count characters", set(choice["text"]) == set("\u00e9\u20ac") and choice["logprobs"]["text_offset"] == list(range(6)), choice)
        events = s.stream(TEXT, body)
        check("in a stream too", [o for e in events[:-1] for o in (e["choices"][0]["logprobs"] or {}).get("text_offset", [])] == list(range(6)), events)
    with Server(model="bytes") as s:
        body = {"prompt": "the ", "max_tokens": 1, "logprobs": 20, "logit_bias": {"200": 100}}
        for events in ([s.ask(TEXT, body)[1]], s.stream(TEXT, body)[:1]):
            told = events[0]["choices"][0]["logprobs"]
            check("tokens that are no text are told by their bytes, and none is lost",
                  told["tokens"] == ["bytes:\\xc8"] and len(told["top_logprobs"][0]) == 20, told)
        body = {"prompt": "the ", "max_tokens": 30, "logprobs": 0, "temperature": 9, "seed": 4, "logit_bias": {"200": 100, "226": 100, "97": 100}}
        for choice in (s.ask(TEXT, body)[1]["choices"][0], s.ask(TEXT, dict(body, stop="aa"))[1]["choices"][0]):
            told = choice["logprobs"]
            places = [o for o, t in zip(told["text_offset"], told["tokens"]) if t == "a" and o < len(choice["text"])] # a stop cut the last
            check("and where a letter stands behind them is told", [i for i, c in enumerate(choice["text"]) if c == "a"] == places
                  and len(set(told["tokens"])) == 3, choice)
    with Server("--unknown", "skip", model="few") as s:
        choice = s.ask(CHAT, {"messages": HELLO, "max_tokens": 2, "logprobs": True, "top_logprobs": 20})
        content = choice[1]["choices"][0]["logprobs"]["content"]
        check("no more likeliest ones than there are", all(len(t["top_logprobs"]) == len({x["token"] for x in t["top_logprobs"]}) == 4
              and abs(sum(math.exp(x["logprob"]) for x in t["top_logprobs"]) - 1) < 1e-5 for t in content), content)


def test_biases():
    with Server() as s:
        count = s.ask("/v1/models")[1]["data"][0]["meta"]["n_vocab"]
        got = s.ask(TEXT, {"prompt": "the ", "max_tokens": 5, "logit_bias": {"7": 100}, "logprobs": 0, "seed": 1})[1]["choices"][0]["text"]
        check("100 is the only one", len(set(got)) == 1, got)
        got = s.text("the ", logit_bias={str(i): -100 for i in range(count) if i != 9})
        check("-100 bans", len(set(got)) == 1, got)
        seven = s.ask("/detokenize", {"tokens": [7]})[1]["content"]
        for name in ("7", "07"): # added up, -100 and 100 are a ban
            raw = f'{{"prompt":"the ","max_tokens":5,"seed":1,"logit_bias":{{"7":-100,"9":100,"{name}":100,"9":-100}}}}'
            answer = s.ask(TEXT, raw=raw)
            check("of a token that is named twice the last number counts", answer[0] == 200 and set(answer[1]["choices"][0]["text"]) == {seven}, answer)
        answer = s.ask(TEXT, {"prompt": "the ", "max_tokens": 5, "logit_bias": {str(i): -100 for i in range(count)}})
        check("all banned: an error, not a crash", is_refusal(answer, 500, "server_error"), answer)
        events = s.stream(TEXT, {"prompt": "the ", "max_tokens": 5, "logit_bias": {str(i): -100 for i in range(count)}})
        check("in a stream as its last event", "error" in events[-1], events)
    with Server(model="bytes") as s:
        plain = s.text("the ", max_tokens=60)
        check("presence is heard", s.text("the ", max_tokens=60, presence_penalty=2) != plain)
        check("a negative one too", s.text("the ", max_tokens=60, frequency_penalty=-2) != plain)
        def kinds(text): return len(set(text))
        check("frequency brings variety", kinds(s.text("the ", max_tokens=60, frequency_penalty=2)) > kinds(plain), plain)


def test_together():  # 6.1 case 10
    with Server("--slots", "8") as s:
        bodies = [{"prompt": p, "max_tokens": 40 + i, "temperature": 1, "seed": i} for i, p in enumerate(["the ", "user: ", "moon", "a"] * 5)]
        alone = [s.ask(TEXT, b)[1]["choices"][0]["text"] for b in bodies]
        together = [None] * len(bodies)
        def one(i): together[i] = s.ask(TEXT, bodies[i])[1]["choices"][0]["text"]
        threads = [threading.Thread(target=one, args=(i,)) for i in range(len(bodies))]
        [t.start() for t in threads]
        [t.join() for t in threads]
        check("each gets what it gets alone, to the letter", together == alone)


def busy(s, **fields):
    """A stream that is under way: its socket, with the first bytes read."""
    raw = socket.create_connection(("127.0.0.1", s.port))
    body = json.dumps(dict({"prompt": "the ", "max_tokens": 60000, "stream": True}, **fields)).encode()
    raw.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    if fields.get("stream", True):
        raw.recv(100)
    return raw


def test_leaving():  # 6.1 case 11
    with Server("--slots", "1", "--queue", "0") as s:
        for stream in (True, False):
            for how in ("close", "shutdown"):
                raw = busy(s, stream=stream)
                time.sleep(0.3)
                answer = s.ask(TEXT, {"prompt": "a", "max_tokens": 1})
                check("the slot is taken", is_refusal(answer, 429, "rate_limit_error", "queue_full"), answer)
                check("429 says when", s.headers.get("Retry-After") == "1")
                answer = s.ask(TEXT, {"prompt": "a", "max_tokens": 1, "stream": True})
                check("a stream is refused in the same way", is_refusal(answer, 429, "rate_limit_error", "queue_full"), answer)
                raw.shutdown(socket.SHUT_RDWR) if how == "shutdown" else raw.close()
                end = time.time() + 5 * SLOW
                while time.time() < end and s.ask(TEXT, {"prompt": "a", "max_tokens": 1})[0] == 429:
                    time.sleep(0.02)
                check(f"a client that leaves frees its slot (stream {stream})", time.time() < end)
                raw.close()
    for how in (signal.SIGTERM, signal.SIGINT):
        s = Server()
        got = []
        thread = threading.Thread(target=lambda: got.append(s.ask(TEXT, {"prompt": "the ", "max_tokens": 2000, "seed": 1})))
        thread.start()
        keep = s.connect()
        keep.request("GET", "/health")
        keep.getresponse().read()
        time.sleep(0.2)
        s.process.send_signal(how)
        time.sleep(0.1)
        if not got: # still at work: a connection from before is told so
            keep.request("POST", TEXT, json.dumps({"prompt": "a"}), {"Content-Type": "application/json"})
            answer = keep.getresponse()
            check("503 while it drains", answer.status == 503 and json.loads(answer.read())["error"]["code"] == "draining")
        thread.join()
        check("what was under way is finished", got and got[0][0] == 200 and got[0][1]["usage"]["completion_tokens"] == 2000, got)
        out, err = s.process.communicate(timeout=60)
        check(f"{how.name}: the end is 0", s.process.returncode == 0 and not err, (s.process.returncode, err))
    s = Server("--tokens_most", "1000000000")
    raw = busy(s, max_tokens=1000000000)
    s.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    check("it waits for what is under way", s.process.poll() is None)
    s.process.send_signal(signal.SIGINT)
    s.process.send_signal(signal.SIGTERM)
    try:
        check("a second signal ends it", s.process.wait(20) != 0)
    except subprocess.TimeoutExpired:
        s.process.kill()
        check("a second signal ends it", False)
    raw.close()
    s.process.communicate()


def test_limits():
    with Server("--longest", "1", "--slots", "1", "--tokens_most", "100000000") as s:
        raw = busy(s, max_tokens=100000000)
        answer = s.ask(TEXT, {"prompt": "a", "max_tokens": 1})
        check("a request that waits too long, or gets the place", answer[0] == 200 or is_refusal(answer, 503, "unavailable_error", "timeout"), answer)
        text = b""
        raw.settimeout(20 * SLOW)
        while b"timeout" not in text:
            piece = raw.recv(1 << 20)
            if not piece: break
            text = text[-200:] + piece
        check("a stream that takes too long says so", b'"code":"timeout"' in text, text[-500:])
        raw.close()
    with Server("--timeout", "1") as s:
        raw, silent = (socket.create_connection(("127.0.0.1", s.port)) for _ in range(2))
        raw.sendall(b"POST /v1/completions HTTP/1.1\r\n")
        raw.settimeout(0.1)
        silent.settimeout(20)
        text, began = b"", time.time()
        while not text and time.time() < began + 20:  # a byte now and then does not help
            try:
                raw.sendall(b"x")
                text = raw.recv(1000)
            except TimeoutError:
                pass
        check("a head that drips in is refused in its time", b" 408 " in text and b'"code":"timeout"' in text and time.time() < began + 3 * SLOW, text)
        check("a silent connection is closed", silent.recv(100) == b"")
        keep = s.connect()
        keep.request("GET", "/health")
        check("and a kept one", keep.getresponse().read() and keep.sock.recv(100) == b"")
        raw.close(), silent.close()
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", s.port))
        asked = json.dumps({"prompt": "the ", "max_tokens": 60000, "stream": True, "logprobs": 20}).encode()
        deaf.sendall(POSTED + b"Content-Length: %d\r\n\r\n" % len(asked) + asked)
        end = time.time() + 20 * SLOW
        while not any(x["is_processing"] for x in s.ask("/slots")[1]) and time.time() < end:
            time.sleep(0.01)
        while any(x["is_processing"] for x in s.ask("/slots")[1]) and time.time() < end:
            time.sleep(0.1)
        check("who asks for a stream and does not read it loses the slot", time.time() < end)
        deaf.close()
    with Server(model="short") as s: # 64 learned positions, a start symbol
        answer = s.ask(TEXT, {"prompt": "a" * 64, "max_tokens": 4})
        check("a prompt past the positions", is_refusal(answer, 400, "invalid_request_error", "context_length_exceeded", "prompt"), answer)
        answer = s.ask(TEXT, {"prompt": "a" * 60, "max_tokens": 40})[1]
        check("a reply ends at the last position", answer["usage"]["completion_tokens"] == 3 and answer["choices"][0]["finish_reason"] == "length", answer)
        answer = s.ask(TEXT, {"prompt": "a" * 63, "max_tokens": 40})[1]
        check("or has none", answer["usage"]["completion_tokens"] == 0 and answer["choices"][0]["finish_reason"] == "length", answer)
    leave = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")  # a program that gives up leaves its memory to the system
    for options, status, word in ((["nothing.safetensors"], 1, "nothing.safetensors"), ([], 2, "a model is needed"), (["-x"], 2, "-x"),
                                  ([WORK + "/chars.safetensors", "--host", "localhost"], 2, "--host"),
                                  ([WORK + "/chars.safetensors", "--keys", "/dev/null"], 1, "empty"),
                                  ([WORK + "/chars.safetensors", "--port", "99999"], 2, "port")):
        run = subprocess.run([BIN + "/server", *options, *([] if "--port" in options else ["--port", "0"])], capture_output=True, text=True, timeout=60, env=leave)
        check(f"{options} is one sentence", run.returncode == status and word in run.stderr and run.stderr.count("\n") == 1, run.stderr)
    with Server() as s:
        run = subprocess.run([BIN + "/server", WORK + "/chars.safetensors", "--port", str(s.port)], capture_output=True, text=True, env=leave)
        check("a port in use is one sentence", run.returncode == 1 and "cannot listen" in run.stderr and run.stderr.count("\n") == 1, run.stderr)


def test_template():
    path = WORK + "/template"
    with open(path, "w") as file:
        file.write("<start>{messages}[{role}|{content}]{reply}[assistant|{stop}]")
    with Server("--template", path, model="bytes") as s:
        answer = s.ask(CHAT, {"messages": [{"role": "system", "content": "{role}"}, {"role": "user", "content": "x"}], "max_tokens": 3})[1]
        check("the template is written", answer["usage"]["prompt_tokens"] == len("<start>[system|{role}][user|x][assistant|"), answer)
    plain = "{messages}{role}: {content}\n{reply}assistant: {stop}\nuser:{stop}\n"
    said = []
    for text in (plain, "\ufeff" + plain.replace("\n", "\r\n")):
        with open(path, "w", newline="") as file:
            file.write(text)
        with Server("--template", path) as s:
            body = {"messages": HELLO, "max_tokens": 200, "seed": 5, "temperature": 1.5}
            said.append(s.ask(CHAT, body)[1]["choices"][0])
            check("a stop of CR LF is the end of a line where the model knows no other",
                  s.text("the moon ", max_tokens=200, stop="\r\n") == s.text("the moon ", max_tokens=200, stop="\n") != s.text("the moon ", max_tokens=200))
    check("and so it is in a template", said[0] == said[1] and said[0]["finish_reason"] == "stop", said)
    with Server("--template", path, model="bytes") as s:
        usage = s.ask(CHAT, {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1})[1]["usage"]
        check("bytes are taken as they are", usage["prompt_tokens"] == len("\ufeffuser: x\r\nassistant: ".encode()), usage)
    for text, word in (("{role}", "{messages}"), ("{messages}{content}", "{reply}"), ("{messages}{reply}", "{content}"),
                       ("{messages}{content}{reply}{stop}", "behind {stop}"), ("{messages}{content}{reply}" + "{stop}a" * 5, "four")):
        with open(path, "w") as file:
            file.write(text)
        run = subprocess.run([BIN + "/server", WORK + "/chars.safetensors", "--template", path, "--port", "0"], capture_output=True, text=True,
                             env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
        check(f"template {text!r} is refused", run.returncode == 1 and word in run.stderr and run.stderr.count("\n") == 1, run.stderr)


POSTED = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POSTED + b"Transfer-Encoding: chunked\r\n\r\n"
ASKED = b'{"prompt":"a","max_tokens":1}'
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n"
BROKEN_HTTP = (
    (b"\x00\x01\x02\r\n\r\n", 400, "invalid_http"), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "invalid_http"),
    (b"GET\r\n\r\n", 400, "invalid_http"), (b"GET /\r\n\r\n", 400, "invalid_http"), (b"GET / HTTP/1.1 \r\n\r\n", 400, "invalid_http"),
    (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_http"), (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_http"),
    (b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_http"), (b"GET / HTTP/1.1\nHost: x\n\n", 400, "invalid_http"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version_not_supported"), (b"GET / HTTP/1.2\r\n\r\n", 505, "http_version_not_supported"),
    (b"GET / HTTP/1.1\r\n\r\n", 400, "invalid_http"), (HEALTH + b"Host: y\r\n\r\n", 400, "invalid_http"),
    (HEALTH + b"no colon\r\n\r\n", 400, "invalid_http"), (HEALTH + b"A : b\r\n\r\n", 400, "invalid_http"),
    (HEALTH + b": b\r\n\r\n", 400, "invalid_http"), (HEALTH + b"A: b\r\n c\r\n\r\n", 400, "invalid_http"),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "invalid_http"), (b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n", 400, "invalid_http"),
    (HEALTH + b"A: b\x00c\r\n\r\n", 400, "invalid_http"), (HEALTH + b"A: b\rc\r\n\r\n", 400, "invalid_http"),
    (POSTED + b"Content-Length: -5\r\n\r\n", 400, "invalid_http"), (POSTED + b"Content-Length: \r\n\r\n", 400, "invalid_http"),
    (POSTED + b"Content-Length: 5, 5\r\n\r\n", 400, "invalid_http"), (POSTED + b"Content-Length: 0x5\r\n\r\n", 400, "invalid_http"),
    (POSTED + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400, "invalid_http"),
    (POSTED + b"Content-Length: 99999999999999999999999\r\n\r\n", 413, "payload_too_large"),
    (POSTED + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "invalid_http"),
    (POSTED + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400, "unsupported_value"),
    (POSTED.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n", 400, "invalid_http"),
    (CHUNKED + b"zz\r\n", 400, "invalid_http"), (CHUNKED + b"\r\n", 400, "invalid_http"), (CHUNKED + b"-1\r\n", 400, "invalid_http"),
    (CHUNKED + b"fffffffffffffffff\r\n", 400, "invalid_http"), (CHUNKED + b"5\x00\r\n12345\r\n", 400, "invalid_http"),
    (CHUNKED + b"2 \r\n{}\r\n", 400, "invalid_http"), (CHUNKED + b" 2\r\n{}\r\n", 400, "invalid_http"),
    (CHUNKED + b"1" * 300, 400, "invalid_http"), (CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n", 400, "invalid_http"),
    (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", 431, "head_too_large"), (HEALTH + b"X: y\r\n" * 50000, 431, "head_too_large"),
    (HEALTH + b"X: y\r\n" * 101 + b"\r\n", 431, "head_too_large"), (CHUNKED + b"0\r\n" + b"X: y\r\n" * 5000, 431, "head_too_large"))
WELL_HTTP = (
    (b"\r\n\r\n" + HEALTH + b"\r\n", [b"200"]), (HEALTH.replace(b"1.1", b"1.0") + b"\r\n", [b"200"]),
    (HEALTH + b"X: y\r\n" * 90 + b"\r\n", [b"200"]), (HEALTH + b"Cookie: =;;\xff=\r\nReferer: " + b"x" * 15000 + b"\r\n\r\n", [b"200"]),
    (b"GET /health?" + b"a&" * 7000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [b"200"]), (HEALTH + b"Authorization: Bearer " + b"k" * 15000 + b"\r\n\r\n", [b"200"]),
    (b"GET /%zz%%% HTTP/1.1\r\nHost: x\r\n\r\n", [b"404"]), (b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", [b"404"]),
    (b"GET " + b"/" * 16000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [b"404"]), (b"~! /health HTTP/1.1\r\nHost: x\r\n\r\n", [b"405"]),
    (POSTED + b"Content-Type: " + b"x" * 15000 + b"\r\n\r\n", [b"400"]), (POSTED.replace(b"json", b"x" * 15000) + b"Content-Length: 0\r\n\r\n", [b"415"]),
    (CHUNKED + b"D;a=b\r\n" + ASKED[:13] + b"\r\n00010\r\n" + ASKED[13:] + b"\r\n0\r\nX: y\r\n\r\n" + HEALTH + b"\r\n", [b"200", b"200"]),
    (CHUNKED + b"%x \t;a=b\r\n" % len(ASKED) + ASKED + b"\r\n0 ;c\r\n\r\n" + HEALTH + b"\r\n", [b"200", b"200"]),
    (HEALTH.replace(b"/health", b"http://localhost:8080/health?x") + b"\r\n", [b"200"]), (HEALTH.replace(b"/health", b"HTTPS://[::1]/nothing") + b"\r\n", [b"404"]),
    (HEALTH.replace(b"/health", b"http://localhost") + b"\r\n", [b"200"]), (HEALTH.replace(b"/health", b"http://localhost?/health") + b"\r\n", [b"200"]),
    ((POSTED + b"Content-Length: %d\r\n\r\n" % len(ASKED) + ASKED) * 3 + HEALTH * 1 + b"\r\n", [b"200"] * 4),
    (POSTED + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(ASKED) + ASKED, [b"100", b"200"]))


def spoken(s, raw, count=100):
    """What comes back for these bytes, whose sender then waits for so many answers: [(head, body)]."""
    one = socket.create_connection(("127.0.0.1", s.port))
    one.settimeout(5 * SLOW)
    got, answers = b"", []
    try:
        one.sendall(raw)
        while len(answers) < count:
            piece = one.recv(1 << 16)
            if not piece:
                break
            got += piece
            while b"\r\n\r\n" in got:
                head, _, rest = got.partition(b"\r\n\r\n")
                size = int((re.findall(rb"(?i)content-length: (\d+)", head) or [0])[0])
                if len(rest) < size:
                    break
                answers.append((head, rest[:size]))
                got = rest[size:]
    except OSError as error:
        got += repr(error).encode()
    one.close()
    return answers or [(got, b"{}")]


def test_http():
    with Server() as s:
        connection = s.connect()
        for i in range(3): # one connection, many requests, a stream among them
            connection.request("POST", TEXT, json.dumps({"prompt": "a", "max_tokens": 2, "stream": i == 1}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            check("a connection is kept", answer.status == 200 and answer.read())
        for raw, status, code in BROKEN_HTTP:
            for before in (b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"):
                head, body = spoken(s, before + raw)[-1]
                check(f"{before + raw[-60:]!r} is refused in JSON", b" %d " % status in head.split(b"\r\n")[0] and b"Connection: close" in head
                      and is_refusal((status, json.loads(body)), status, "invalid_request_error", code), (head, body))
        long = b'{"prompt":"a","max_tokens":3000,"seed":1}'
        for bad, status in ((b"nonsense\r\n\r\n", b"400"), (b"\n", b"400"), (b"GET / HTTP/1.2\r\n\r\n", b"505"), (CHUNKED + b"zz\r\n", b"400")):
            got = spoken(s, POSTED + b"Content-Length: %d\r\n\r\n" % len(long) + long + bad, 2)
            check(f"what is no HTTP behind a request under way, {bad[-12:]!r}, is refused behind its answer",
                  [head[9:12] for head, _ in got] == [b"200", status] and b'"completion_tokens":3000' in got[0][1], [g[0] for g in got])
        raw = busy(s, max_tokens=60000)
        raw.sendall(b"nonsense\r\n\r\n")
        time.sleep(0.3)
        check("its client is still there", any(x["is_processing"] for x in s.ask("/slots")[1]))
        raw.close()
        end = time.time() + 5 * SLOW
        while time.time() < end and any(x["is_processing"] for x in s.ask("/slots")[1]):
            time.sleep(0.02)
        check("and frees its slot when he leaves", time.time() < end)
        for raw, want in WELL_HTTP:
            got = [head[9:12] for head, _ in spoken(s, raw, len(want))]
            check(f"{raw[:60]!r} is well", got == want, got)
        check("it lives after broken HTTP", s.ask("/health")[0] == 200)
        check("a path with a zero byte is nobody's", is_refusal(s.ask("/%00"), 404, "invalid_request_error", "not_found"))
        answer = s.ask(TEXT, raw=b"{}", headers={"Transfer-Encoding": "gzip"})
        check("the seeds of 64 bits", s.text("a", seed=-2**63) == s.text("a", seed=-2**63) and s.text("a", seed=2**63 - 1)
              and s.ask(TEXT, {"prompt": "a", "seed": -2**63 - 1})[0] == 400)
        check("a body in an unknown coding is refused before it comes", is_refusal(answer, 400, "invalid_request_error", "unsupported_value"), answer)
        many = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(1100)]
        check("1,100 idle connections keep nobody out", s.ask("/health")[0] == 200)
        [one.close() for one in many]
    with Server("--longest", "1") as s:
        raw = socket.create_connection(("127.0.0.1", s.port))
        raw.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        began, ended = time.time(), False
        while time.time() < began + 20 and not ended:
            try:
                raw.sendall(b" ")
                time.sleep(0.1)
            except OSError:
                ended = True
        check("a body that drips in is cut off", ended and s.ask("/health")[0] == 200)
        raw.close()


def test_load():
    with Server() as s:
        run = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "server_load.py"), str(s.port), str(s.process.pid), "soak", "250"],
                             capture_output=True, text=True, timeout=600)
        check("mixed and broken requests, clients that leave: no answer is lost", run.returncode == 0 and " 0 answers lost" in run.stdout,
              run.stdout + run.stderr)
        end = time.time() + 10 * SLOW
        while time.time() < end and any(x["is_processing"] for x in s.ask("/slots")[1]):
            time.sleep(0.05)
        check("and no slot is left taken", time.time() < end)


def test_official_client():
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    try:
        import server_openai
    except ImportError:
        print("not run: the server through OpenAI's client (no openai: pip install openai)")
        return
    with Server(env={"WAVECOH_KEYS": "secret"}) as s:
        server_openai.run(s, check)


def test_page():
    with Server() as s:
        connection = s.connect()
        connection.request("GET", "/")
        answer = connection.getresponse()
        page = answer.read().decode()
        check("the page is one HTML file", answer.status == 200 and answer.getheader("Content-Type") == "text/html; charset=utf-8"
              and page.startswith("<!doctype html>") and "http" not in page.replace("//127", ""), page[:200])
        check("that may talk to us alone", "default-src 'none'" in answer.getheader("Content-Security-Policy", ""))
        connection.close()
        browser = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
        if not browser:
            print("not run: the chat page in a browser (no chromium)")
            return
        sys.dont_write_bytecode = True
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        import server_page
        with Server(env={"WAVECOH_KEYS": "secret"}) as keyed:
            server_page.run(s, browser, WORK + "/profile", check, keyed)


def main():
    if not build():
        return
    run = subprocess.run([BIN + "/fuzz_requests", "-models", WORK], capture_output=True, text=True)
    if not check("the models are trained", run.returncode == 0, run.stderr):
        return
    for name, test in list(globals().items()):
        if name.startswith("test_") and (len(sys.argv) < 2 or any(a in name for a in sys.argv[1:])):
            began = os.times()
            try:
                test()
            except Exception as error: # one failure more, and the next test
                import traceback
                check(name, False, "".join(traceback.format_exception(error))[-1000:])
            now = os.times()
            if os.environ.get("TIMES"):
                print(f"{name}: {now[2] + now[3] - began[2] - began[3]:.1f} s of CPU, {now[0] + now[1] - began[0] - began[1]:.1f} here")


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)
