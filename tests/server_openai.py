"""examples/server.c through the official client (pip install openai); tests/test_server.py runs it."""
import openai

check = None  # of the test that runs this


def models(client):
    page = client.models.list()
    check("models.list", [m.id for m in page.data] == ["chars"] and page.data[0].object == "model")
    check("models.retrieve", client.models.retrieve("chars").owned_by == "wavecoh")


def chats(client):
    messages = [{"role": "system", "content": "sing"}, {"role": "user", "content": "what does the moon do"}]
    one = client.chat.completions.create(model="chars", messages=messages, max_tokens=40, temperature=0)
    check("a chat", one.choices[0].message.role == "assistant" and one.choices[0].message.content
          and one.usage.total_tokens == one.usage.prompt_tokens + one.usage.completion_tokens)
    again = client.chat.completions.create(model="chars", messages=messages, max_completion_tokens=40, temperature=0)
    check("its kept state", again.usage.prompt_tokens_details.cached_tokens == again.usage.prompt_tokens
          and again.choices[0].message.content == one.choices[0].message.content)
    parts = [{"role": "user", "content": [{"type": "text", "text": "the moon"}]}]
    many = client.chat.completions.create(model="chars", messages=parts, max_tokens=9, n=3, seed=5, temperature=1.5, top_p=0.9,
                                          stop=["zz"], presence_penalty=0.5, frequency_penalty=0.5, logit_bias={"3": -100}, user="me")
    check("n choices", [c.index for c in many.choices] == [0, 1, 2])
    told = client.chat.completions.create(model="chars", messages=messages, max_tokens=4, logprobs=True, top_logprobs=2)
    content = told.choices[0].logprobs.content
    check("logprobs", len(content) == 4 and len(content[0].top_logprobs) == 2 and bytes(content[0].bytes).decode() == content[0].token)
    extra = client.chat.completions.create(model="chars", messages=messages, max_tokens=4, extra_body={"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1})
    check("fields of our own", extra.choices[0].finish_reason in ("length", "stop"))
    stream = client.chat.completions.create(model="chars", messages=messages, max_tokens=40, temperature=0, stream=True,
                                            stream_options={"include_usage": True})
    events = list(stream)
    text = "".join(e.choices[0].delta.content or "" for e in events if e.choices)
    check("a stream", text == one.choices[0].message.content and events[0].choices[0].delta.role == "assistant")
    check("its usage", events[-1].usage.completion_tokens == one.usage.completion_tokens and not events[-1].choices)
    with client.chat.completions.create(model="chars", messages=messages, max_tokens=5000, stream=True) as stream:
        next(iter(stream))
    check("a stream that is left", client.models.list().data)


def completions(client):
    one = client.completions.create(model="chars", prompt="the ", max_tokens=12, temperature=0, echo=True)
    check("a completion", one.object == "text_completion" and one.choices[0].text.startswith("the "))
    two = client.completions.create(model="chars", prompt=["the ", "a"], max_tokens=3, logprobs=2)
    check("of two prompts", [c.index for c in two.choices] == [0, 1] and len(two.choices[0].logprobs.top_logprobs) == 3)
    events = list(client.completions.create(model="chars", prompt="the ", max_tokens=12, temperature=0, stream=True))
    check("as a stream", "the " + "".join(e.choices[0].text for e in events) == one.choices[0].text)


def embeddings(client):
    plain = client.embeddings.create(model="chars", input=["the moon", "sand"], encoding_format="float")
    coded = client.embeddings.create(model="chars", input=["the moon", "sand"])  # the client asks for base64
    worst = max(abs(a - b) for i in range(2) for a, b in zip(plain.data[i].embedding, coded.data[i].embedding))
    check("embeddings, either way", len(coded.data[0].embedding) == 32 and worst < 1e-6 and coded.usage.prompt_tokens == 12)


def errors(client, port):
    def raises(kind, code, param, call):
        try:
            call()
            check(f"{kind.__name__} is raised", False)
        except kind as error:
            check(f"{kind.__name__}, {code}", (error.code, error.param) == (code, param) and error.status_code >= 400, error)
    hello = [{"role": "user", "content": "a"}]
    raises(openai.BadRequestError, "invalid_value", "temperature",
           lambda: client.chat.completions.create(model="chars", messages=hello, temperature=-1))
    raises(openai.BadRequestError, "invalid_value", "messages", lambda: client.chat.completions.create(model="chars", messages=[]))
    raises(openai.NotFoundError, "model_not_found", "model", lambda: client.models.retrieve("other"))
    stranger = openai.OpenAI(api_key="wrong", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
    raises(openai.AuthenticationError, "invalid_api_key", None, lambda: stranger.models.list())


def run(server, check_):
    global check
    check = check_
    client = openai.OpenAI(api_key="secret", base_url=f"http://127.0.0.1:{server.port}/v1", max_retries=0)
    models(client)
    chats(client)
    completions(client)
    embeddings(client)
    errors(client, server.port)
