"""Drives a headless Chromium over its DevTools protocol, through two pipes: no server, no package.

    with Chromium('file:///tmp/page.html', size=(1100, 900)) as tab:
        tab.run('document.title')
"""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time


def browser():
    """The path of a Chromium, or None."""
    for name in ('chromium', 'chromium-browser', 'google-chrome'):
        if shutil.which(name):
            return shutil.which(name)
    return None


class Chromium:
    def __init__(self, address, size=(1100, 900), flags=()):
        self.folder = tempfile.mkdtemp(prefix='chromium.')
        self.downloads = os.path.join(self.folder, 'downloads')
        os.mkdir(self.downloads)
        to_read, self.to = os.pipe()
        self.back, back_write = os.pipe()
        # the browser reads descriptor 3 and writes descriptor 4
        moved = [os.dup(to_read) for _ in range(2)], [os.dup(back_write) for _ in range(2)]
        command = [browser(), '--headless=new', '--remote-debugging-pipe', '--no-sandbox', '--disable-gpu',
                   '--no-first-run', '--disable-dev-shm-usage', '--disable-extensions', '--mute-audio',
                   '--disable-background-networking', '--disable-component-update', '--hide-scrollbars',
                   '--user-data-dir=' + os.path.join(self.folder, 'profile'),
                   '--window-size=%d,%d' % size] + list(flags) + ['about:blank']
        shell = 'exec "$@" 3<&%d 4>&%d' % (to_read, back_write)
        self.process = subprocess.Popen(['sh', '-c', shell, 'sh'] + command, close_fds=True,
                                        pass_fds=(to_read, back_write), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for fd in [to_read, back_write] + moved[0] + moved[1]:
            os.close(fd)
        self.bytes, self.number, self.session, self.faults = b'', 0, None, []
        targets = self.ask('Target.getTargets')['targetInfos']
        page = [t['targetId'] for t in targets if t['type'] == 'page'][0]
        self.session = self.ask('Target.attachToTarget', targetId=page, flatten=True)['sessionId']
        for name in ('Page', 'Runtime', 'DOM'):
            self.ask(name + '.enable')
        session, self.session = self.session, None
        self.ask('Browser.setDownloadBehavior', behavior='allow', downloadPath=self.downloads)
        self.session = session
        self.ask('Page.navigate', url=address)
        self.wait("document.readyState === 'complete' && location.protocol !== 'about:'")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.ask('Browser.close', seconds=10)
            self.process.wait(20)
        except Exception:  # it is gone already, or does not listen
            self.process.kill()
            self.process.wait()
        os.close(self.to)
        os.close(self.back)
        shutil.rmtree(self.folder, ignore_errors=True)

    def message(self, seconds):
        """The next message of the browser, or None after so many seconds."""
        end = time.time() + seconds
        while b'\0' not in self.bytes:
            if not select.select([self.back], [], [], max(0, end - time.time()))[0]:
                return None
            piece = os.read(self.back, 1 << 20)
            if not piece:
                raise RuntimeError('the browser has ended')
            self.bytes += piece
        one, self.bytes = self.bytes.split(b'\0', 1)
        return json.loads(one)

    def ask(self, method, seconds=120, **given):
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': given}
        if self.session:
            message['sessionId'] = self.session
        data = json.dumps(message).encode() + b'\0'
        while data:
            data = data[os.write(self.to, data):]
        end = time.time() + seconds
        while True:
            answer = self.message(end - time.time())
            if answer is None:
                raise RuntimeError('%s: no answer within %d seconds' % (method, seconds))
            if answer.get('method') == 'Runtime.exceptionThrown':
                self.faults.append(answer['params']['exceptionDetails'])
            if answer.get('id') == self.number:
                if 'error' in answer:
                    raise RuntimeError('%s: %s' % (method, answer['error']['message']))
                return answer['result']

    def run(self, script, seconds=120):
        """The value of an expression in the page; promises are waited for."""
        answer = self.ask('Runtime.evaluate', seconds, expression=script, awaitPromise=True, returnByValue=True)
        if 'exceptionDetails' in answer:
            details = answer['exceptionDetails']
            raise RuntimeError(details.get('exception', {}).get('description', details['text']))
        return answer['result'].get('value')

    def wait(self, script, seconds=60):
        """Until an expression is true; 0 if it never was."""
        end = time.time() + seconds
        while time.time() < end:
            if self.run(script):
                return 1
            time.sleep(0.1)
        return 0

    def give(self, selector, path):
        """Choose a file in an <input type=file>."""
        root = self.ask('DOM.getDocument')['root']['nodeId']
        node = self.ask('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.ask('DOM.setFileInputFiles', nodeId=node, files=[path])

    def drop(self, paths=(), text=None, at=(200, 200)):
        """Drag files, or a text, from elsewhere and let them fall on the page."""
        items = [] if text is None else [{'mimeType': 'text/plain', 'data': text}]
        data = {'items': items, 'files': list(paths), 'dragOperationsMask': 1}
        for kind in ('dragEnter', 'dragOver', 'drop'):
            self.ask('Input.dispatchDragEvent', type=kind, x=at[0], y=at[1], data=data)

    def press(self, key, code):
        text = {'text': '\r'} if key == 'Enter' else {}
        for kind in ('keyDown', 'keyUp'):
            self.ask('Input.dispatchKeyEvent', type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                     **(text if kind == 'keyDown' else {}))

    def saved(self, seconds=30):
        """The path of the first whole download."""
        end = time.time() + seconds
        while time.time() < end:
            names = [n for n in os.listdir(self.downloads) if not n.endswith('.crdownload')]
            if names and os.path.getsize(os.path.join(self.downloads, names[0])) > 0:
                return os.path.join(self.downloads, names[0])
            time.sleep(0.1)
        return None

    def look(self, path, dark=False, width=None, height=900):
        """A picture of the whole page, light or dark, as wide as a phone if asked."""
        scheme = [{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}]
        self.ask('Emulation.setEmulatedMedia', features=scheme)
        if width:
            self.ask('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1,
                     mobile=width < 600)
        self.run('new Promise((done) => setTimeout(done, 700))')
        picture = self.ask('Page.captureScreenshot', format='png', captureBeyondViewport=True)
        with open(path, 'wb') as file:
            file.write(base64.b64decode(picture['data']))
