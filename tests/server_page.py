"""The chat page of examples/server.c in a headless Chromium; tests/test_server.py runs it.

The browser is told what to do over its debugging pipe: JSON messages that end with a zero byte."""
import json
import os
import select
import subprocess
import time


class Browser:
    def __init__(self, program, profile):
        to, self.out = os.pipe()
        self.come, back = os.pipe()

        def places():  # the browser reads at 3 and writes at 4
            one, two = os.dup(to), os.dup(back)
            os.dup2(one, 3)
            os.dup2(two, 4)
            os.close(one)
            os.close(two)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--user-data-dir=" + profile,
             "--remote-debugging-pipe"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=places)
        os.close(to)
        os.close(back)
        self.text, self.number, self.session, self.errors = b"", 0, None, []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Runtime.enable")
        self.ask("Page.enable")

    def message(self, wait):
        while b"\0" not in self.text:
            if not select.select([self.come], [], [], wait)[0]:
                raise TimeoutError("the browser says nothing")
            piece = os.read(self.come, 1 << 16)
            if not piece:
                raise TimeoutError("the browser has ended")
            self.text += piece
        one, self.text = self.text.split(b"\0", 1)
        return json.loads(one)

    def ask(self, method, **fields):
        self.number += 1
        body = {"id": self.number, "method": method, "params": fields}
        if self.session:
            body["sessionId"] = self.session
        os.write(self.out, json.dumps(body).encode() + b"\0")
        while True:
            said = self.message(60)
            if said.get("method") == "Runtime.exceptionThrown":
                self.errors.append(said["params"]["exceptionDetails"])
            if said.get("id") == self.number:
                return said.get("result", {"error": said.get("error")})

    def run(self, script):
        return self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True).get("result", {}).get("value")

    def until(self, script, seconds=30):
        end = time.time() + seconds
        while time.time() < end:
            if self.run(script):
                return True
            time.sleep(0.05)
        return False

    def press(self, key, text="", **how):
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, text=text if kind == "keyDown" else "",
                     windowsVirtualKeyCode=how.get("code", 0), modifiers=how.get("modifiers", 0))

    def type(self, text):
        self.ask("Input.insertText", text=text)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.come)


SAID = "[...document.querySelectorAll('.said')].map(x => x.textContent)"
IDLE = "document.getElementById('send').textContent === 'Send' && !running"


def run(server, program, profile, check, keyed):
    b = Browser(program, profile)
    try:
        b.ask("Page.navigate", url=f"http://127.0.0.1:{server.port}/")
        check("the page names the model", b.until("document.title === 'chars'"), b.run("document.title"))
        check("the field has the focus", b.run("document.activeElement.id") == "text")
        talks(b, check)
        stops(b, check)
        settings(b, check)
        themes(b, check)
        b.ask("Page.navigate", url=f"http://127.0.0.1:{keyed.port}/")
        check("a key is asked for", b.until("document.getElementById('status').textContent.includes('key is needed')"),
              b.run("document.getElementById('status').textContent"))
        b.press("s", modifiers=1)
        b.until("document.getElementById('settings').open")
        b.run("fields.key.value = 'secret'; document.getElementById('done').click()")
        check("with it the page works", b.until("document.title === 'chars'"))
        check("no error in the console", not b.errors, b.errors)
    finally:
        b.close()


def talks(b, check):
    b.run("kept.temperature = '0'; kept.max_tokens = '40'")
    b.type("what does the moon do")
    b.press("Enter", "\r", code=13)
    check("Enter sends, and a reply comes", b.until(SAID + ".length === 2 && " + IDLE), b.run(SAID))
    said = b.run(SAID)
    check("the message and its reply", said[0] == "what does the moon do" and said[1] == b.run("talk[1].content") and said[1], said)
    check("what it cost", "symbols in" in b.run("document.getElementById('status').textContent"))
    b.type("the tide")
    b.press("Enter", "\r", code=13, modifiers=8)
    check("Shift+Enter does not send", b.run(SAID + ".length") == 2)
    b.run("fresh()")
    check("a new conversation is empty", b.run(SAID) == [] and b.run("talk.length") == 0)
    b.run("show('assistant', '<b>x</b>')")
    check("what comes is text, not HTML", b.run("document.querySelectorAll('#talk b').length") == 0)
    b.run("fresh(); document.getElementById('text').value = ''")
    b.type("\u4e2d")
    b.press("Enter", "\r", code=13)
    check("an error of the server is shown", b.until("document.getElementById('status').className === 'failed'"))
    b.press("ArrowUp", code=38)
    check("the arrow takes a message back", b.run("document.getElementById('text').value") == "\u4e2d" and b.run(SAID) == [])
    b.run("fresh(); document.getElementById('text').value = ''")


def stops(b, check):
    b.run("kept.max_tokens = '60000'; kept.temperature = '1.5'; kept.stop = ''")
    for way in ("Escape", "button"):
        b.run("talk = []; document.getElementById('talk').replaceChildren()")
        b.type("a")
        b.run("kept.system = ''")
        b.press("Enter", "\r", code=13)
        b.until("running && document.querySelector('.assistant') && document.querySelector('.assistant').textContent.length > 3 || " + IDLE, 10)
        # (a reply may end by itself where the model begins to speak as the user: what counts is whether
        # one ran at the key or click itself)
        if way == "Escape":
            b.run("window.was = false; addEventListener('keydown', () => { window.was = !!running; }, {capture: true, once: true})")
            b.press("Escape", code=27)
        else:
            b.run("window.was = !!running; if (running) document.getElementById('send').click()")
        was = b.run("window.was")
        check(f"{way} ends a reply", b.until(IDLE, 10) and (not was or b.run("document.getElementById('status').textContent") == "stopped"),
              b.run("document.getElementById('status').textContent"))


def settings(b, check):
    b.press("s", modifiers=1)
    check("Alt+S opens the settings", b.until("document.getElementById('settings').open"))
    b.run("fields.max_tokens.value = '3'; fields.system.value = 'sing'; fields.temperature.value = ''")
    b.press("Escape", code=27)
    check("Escape closes them", b.until("!document.getElementById('settings').open"))
    check("they are kept", b.until("JSON.parse(localStorage.getItem('wavecoh')).max_tokens === '3'"))
    b.run("fresh()")
    b.type("the moon")
    b.press("Enter", "\r", code=13)
    b.until(SAID + ".length === 2 && " + IDLE)
    check("and used", len(b.run("talk[1].content")) <= 3 and JSON_BODY(b)["messages"][0] == {"role": "system", "content": "sing"}
          and "temperature" not in JSON_BODY(b), b.run("body()"))
    b.press("n", modifiers=1)
    check("Alt+N begins anew", b.run("talk.length") == 0)


def JSON_BODY(b):
    return json.loads(b.run("body()"))


def themes(b, check):
    ground = "getComputedStyle(document.body).backgroundColor"
    b.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    light = b.run(ground)
    b.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = b.run(ground)
    check("dark where the system is", light != dark, (light, dark))
    b.press("d", modifiers=1)
    check("Alt+D turns it", b.run(ground) == light, b.run(ground))
    b.press("d", modifiers=1)
    check("and back", b.run(ground) == dark)
    rows = b.run("[...document.querySelectorAll('button,textarea,input')].every(x => x.textContent || x.ariaLabel || x.closest('label'))")
    check("everything has a name", rows)
