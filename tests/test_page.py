"""The page of examples/page.c: built by the line in its first comment, its program run by node, and the page itself
driven in a headless Chromium from disk. Files go from the page to examples/eval.c and from examples/train.c to it.

    python3 tests/test_page.py [FOLDER]     with a folder, pictures of the page stay there
    python3 tests/test_page.py --speed TEXT [STEPS]
        CPU time and seconds of so many steps (2000) in the page against examples/train.c with --isa sse2 on one thread,
        hundred by hundred in turn (Linux)

PAGE names a page that is built already.
"""
import glob
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import chromium  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
passed = failed = 0


def check(is_well, what):
    global passed, failed
    if is_well:
        passed += 1
    else:
        failed += 1
        print('FAILED: ' + what)


def finish():
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(failed > 0)


def output(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, cwd=ROOT,
                          stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout


def numbers():
    """Numbers in words: little to learn, and it is learnt in seconds."""
    low = ('zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen '
           'seventeen eighteen nineteen').split()
    tens = 'none ten twenty thirty forty fifty sixty seventy eighty ninety'.split()
    text, n = '', 7
    for i in range(1600):
        n = (n * 1103515245 + 12345) % 2147483648
        number = 1 + n * 99 // 2147483648
        word = low[number] if number < 20 else tens[number // 10] + ('-' + low[number % 10] if number % 10 else '')
        text += word + ('.\n' if i % 6 == 5 else ', ')
    return text


def build_page(folder):
    """The page by the line in the comment, or None."""
    if os.environ.get('PAGE'):
        return os.path.abspath(os.environ['PAGE'])
    with open(os.path.join(ROOT, 'examples', 'page.c')) as file:
        line = re.search(r'emcc (?:[^\n]*\\\n)*[^\n]*', file.read()).group(0).replace('\\\n', ' ')
    page = os.path.join(folder, 'page.html')
    words = [page if word == 'page.html' else word for word in line.split()]
    environment = dict(os.environ)
    if 'NODE_PATH' not in environment and os.path.isdir('/usr/share/nodejs'):
        environment['NODE_PATH'] = '/usr/share/nodejs'
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, cwd=ROOT,
                          env=environment)
    check(done.returncode == 0 and done.stdout == '', 'the page builds without a word: ' + done.stdout[:2000])
    if not os.path.exists(page):
        return None
    with open(page, encoding='utf-8') as file:
        text = file.read()
    check(len(text.encode()) <= 1000000, 'the page has at most 1 MB: %d' % len(text.encode()))
    check(not re.search(r'(src|href)\s*=|@import|url\(', re.sub(r'<template.*?</template>|link\.href = ', '', text,
                                                               flags=re.S)), 'the page loads nothing')
    return page


def build_programs(folder):
    cc = ['tcc'] if shutil.which('tcc') else os.environ.get('CC', 'cc').split()  # the former takes a second
    for name in ('train', 'eval'):
        status, said = output(*(cc + ['-O0', '-w', '-o', os.path.join(folder, name),
                                'examples/%s.c' % name, '-lm', '-lpthread']))
        check(status == 0, 'examples/%s.c builds: %s' % (name, said[:500]))


def eval_of(folder, model, text, cut):
    status, said = output(os.path.join(folder, 'eval'), model, text, '--from', str(cut))
    found = re.search(r'loss ([0-9.]+)', said)
    check(status == 0 and found, 'eval reads the file: ' + said[:300])
    return float(found.group(1)) if found else 99


# Weights follow from the phases that are drawn where rows do not listen.
SETTINGS = {'bands': 12, 'layers': 2, 'heads': 4, 'maestro': 8, 'forgetting': 'off', 'loudness': 'off'}
TRAINING = {'batch': 8, 'seq': 32, 'warmup': 20, 'eval_every': 30, 'eval_batches': 4}


def train(folder, text):
    """What examples/train.c makes of the same text with the same settings in 60 steps: its file and its loss."""
    out = os.path.join(folder, 'train.safetensors')
    options = ['--%s=%s' % pair for pair in list(SETTINGS.items()) + list(TRAINING.items())]
    status, said = output(os.path.join(folder, 'train'), '--data', text, '--out', out, '--steps', '60', '--sample', '0',
                          '--threads', '1', *options)
    found = re.findall(r'val ([0-9.]+)', said)
    check(status == 0 and found, 'train runs: ' + said[-300:])
    return out, float(found[-1]) if found else 99


def run_core(folder, page, text, native_loss):
    out = os.path.join(folder, 'core.safetensors')
    settings = ['%s=%s' % pair for pair in SETTINGS.items()] + ['trainer.%s=%s' % pair for pair in TRAINING.items()]
    status, said = output('node', 'tests/page_core.js', page, text, out, '60', 'trainer.steps=60', *settings)
    check(status == 0, 'the program runs under node: ' + said[-500:])
    if status != 0:
        return
    f = json.loads(said.splitlines()[-1])
    check(f['isa'] == 'wasm' and f['fields'] > 40, 'it has four lanes and the field tables')
    check('text' in f['early'][0] and 'save' in f['early'][1] and 'bands' in f['early'][2],
          'what cannot be done yet is refused in a sentence: %s' % f['early'])
    # Sixty steps of two builds with different libm: their roundings part slowly.
    check(f['step'] == 60 and abs(f['val'] - native_loss) < 2e-3,
          'it computes what train computes: %s and %s' % (f['val'], native_loss))
    check(f['writes'].isprintable() and len(f['writes']) == 40, 'it writes: %s' % f['writes'])
    check(f['heard'] == 19 and abs(f['weights'] - 1) < 1e-5, 'a row of weights sums to 1: %s' % f['weights'])
    check(f['apart'] < 1e-5, 'weights are those of the phases that are drawn: %s' % f['apart'])
    check(f['fades'], 'oscillators take energy, and not all of it')
    check(0.5 < f['next'] < 1.00001, 'the likeliest symbols have a probability: %s' % f['next'])
    check(f['goes'] == 1 and f['again'] == [60, f['loss']], 'its own file goes on where it was saved: %s' % f['again'])
    check(f['stays'] == [0, 60, f['loss']], 'a text that is opened later is for the loaded network: %s' % f['stays'])
    check('it was taken' != f['damaged'] and f['kept'] == f['loss'], 'a damaged file loses nothing')
    check(f['plans'] == [], 'networks of other plans are looked into: %s' % f['plans'])
    check(f['foreseen'] >= 90, 'it foresees a pattern of five: %d of 100' % f['foreseen'])
    check(abs(eval_of(folder, out, text, int(f['cut'])) - f['loss']) < 1e-5, 'eval has the loss of the page')


def set_field(tab, name, value):
    tab.run("(() => { const i = document.getElementById('%s'); i.value = '%s'; i.dispatchEvent(new Event('change')); })()"
            % (name, value))


def drive(folder, page, text, trained, pictures):
    with chromium.Chromium('file://' + page) as tab:
        check(tab.wait('state.ready'), 'the page runs from disk')
        for name, value in SETTINGS.items():
            set_field(tab, 'model-' + name + ('-too' if name in ('maestro', 'forgetting', 'loudness') else ''), value)
        for name, value in TRAINING.items():
            set_field(tab, 'trainer-' + name + ('' if name in ('batch', 'seq') else '-too'), value)
        set_field(tab, 'trainer-steps', 150)
        tab.drop(text='a drop of text')
        check(tab.wait("$('about-text').textContent.startsWith('14 bytes, 10 different')"), 'a text is dropped')
        tab.drop()
        check(tab.run("$('text').value") == 'a drop of text', 'where nothing is dropped nothing is lost')
        tab.drop([text])
        check(tab.wait("$('said').textContent.includes('numbers.txt is opened')"), 'the file of a text is dropped')
        tab.give('#file', text)
        check(tab.wait("$('said').textContent.includes('is opened')"), 'a text is opened')
        check(tab.run("$('said').classList.contains('fault')") is False, 'no setting was refused')
        set_field(tab, 'model-heads', 5)
        tab.run("$('go').click()")
        check(tab.wait("$('said').classList.contains('fault') && $('said').textContent.includes('heads')"),
              'heads that do not divide the width are refused')
        set_field(tab, 'model-heads', 4)
        tab.run("$('go').focus()")
        tab.press('Enter', 13)  # by the keyboard
        check(tab.wait('state.stats.running'), 'it trains')
        tab.run("$('heard').value = 'twenty-t'; $('heard').dispatchEvent(new Event('input'))")
        check(tab.wait('state.stats.step >= 150 && !state.stats.running', 120), 'it makes its steps')
        loss = tab.run('state.stats.val')
        check(0 < loss < 1.2, 'the validation loss is below 1.2 nats after 150 steps: %s' % loss)
        check(tab.run("$('sample').textContent.length") > 60, 'it writes a sample')
        check(tab.wait("state.view && state.view.letters.join('') === 'twenty-t'"), 'it hears what is typed')
        check(tab.run('state.view.layers * state.view.heads') == 8, 'eight wheels')
        drawn = ("(() => { const c = $('%s'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
                 " let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })()")
        for canvas in ('losses', 'wheels', 'energies'):
            check(tab.run(drawn % canvas) > 1000, canvas + ' is drawn')
        for name, dark, width in (('light', False, 1120), ('dark', True, 1120), ('phone', False, 360), ('open', True, 360)):
            tab.run("document.querySelectorAll('details').forEach((d) => { d.open = %s; })" % str(name == 'open').lower())
            picture = os.path.join(pictures or folder, name + '.png')
            tab.look(picture, dark, width)
            check(os.path.getsize(picture) > 20000, 'a picture is taken: ' + name)
            check(tab.run('document.documentElement.scrollWidth') <= width, 'nothing stands outside: ' + name)
            ink = tab.run('getComputedStyle(document.body).backgroundColor')
            check((ink == 'rgb(19, 22, 28)') == dark, 'light and dark: %s %s' % (name, ink))
        tab.run("$('go').click()")
        check(tab.wait("$('said').textContent.includes('allow more')"), 'a run that is over says so')
        tab.run("$('measure').click()")
        check(tab.wait('state.measured > 0'), 'the whole end of the text is measured')
        measured, cut = tab.run('state.measured'), int(tab.run('state.stats.cut'))
        tab.run("$('save').click()")
        saved = tab.saved()
        check(saved, 'a file is saved')
        if saved:
            check(abs(eval_of(folder, saved, text, cut) - measured) < 1e-5, 'eval has the loss of the page in Chromium')
        tab.drop([trained])
        check(tab.wait("$('said').textContent.includes('train.safetensors is loaded: Train goes on')"),
              'the file of train is dropped')
        check(tab.run('state.stats.step') == 60, 'and goes on where train left it')
        if saved:
            tab.give('#load', saved)
            check(tab.wait('state.stats.step === 150'), 'the file of the page is loaded')
        tab.run("state.measured = 0, $('said').textContent = ''")
        tab.give('#load', trained)
        check(tab.wait("$('said').textContent.includes('Train goes on')"), 'the file of train is loaded')
        check(tab.run('state.stats.step') == 60, 'and is where train left it')
        tab.run("$('measure').click()")
        tab.wait('state.measured > 0')
        check(abs(eval_of(folder, trained, text, cut) - tab.run('state.measured')) < 1e-5, 'eval has its loss too')
        tab.run("$('tab-learn').focus()")
        tab.press('ArrowRight', 39)
        check(tab.run("!$('game').hidden && $('learn').hidden"), 'the arrow keys turn to the other tab')
        tab.run("document.activeElement.blur()")
        for i in range(24):
            tab.press(*(('ArrowLeft', 37) if i % 3 else ('ArrowRight', 39)))
        check(tab.wait('game.hits.length === 24'), 'the game is played by keys')
        check('of 24 foreseen' in tab.run("$('tally').textContent"), 'and told')
        tab.look(os.path.join(pictures or folder, 'game.png'), True, 1120)
        check(tab.run("performance.getEntriesByType('resource').every((e) => e.name.startsWith('blob:'))"), 'nothing was fetched')
        check(not tab.faults, 'nothing was thrown: %s' % tab.faults[:1])


def worker_seconds():
    """CPU time of the busiest worker of the browsers that run."""
    most = 0
    for path in glob.glob('/proc/[0-9]*/task/*/stat'):
        try:
            with open(path) as file:
                said = file.read()
        except OSError:
            continue
        if said.split('(', 1)[1].startswith('DedicatedWorker'):
            words = said.rsplit(')', 1)[1].split()
            most = max(most, (int(words[11]) + int(words[12])) / os.sysconf('SC_CLK_TCK'))
    return most


def speed(folder, page, text, steps):
    """Both take hundreds of steps in turn; the page draws and writes meanwhile, as ever."""
    status, said = output('cc', '-O2', '-w', '-o', os.path.join(folder, 'train'), 'examples/train.c', '-lm', '-lpthread')
    check(status == 0, 'train builds: ' + said[:300])
    native = [os.path.join(folder, 'train'), '--data', text, '--bands', '32', '--layers', '4', '--heads', '8', '--batch',
              '16', '--seq', '64', '--steps', '100', '--eval-every', '-1', '--sample', '0', '--threads', '1', '--isa',
              'sse2', '--out', os.path.join(folder, 'out.safetensors')]
    cpu, wall = [0, 0], [0, 0]
    with chromium.Chromium('file://' + page) as tab:
        tab.wait('state.ready')
        set_field(tab, 'trainer-eval_every-too', -1)
        set_field(tab, 'trainer-steps', -1)
        tab.give('#file', text)
        tab.wait("$('said').textContent.includes('is opened')")
        for hundred in range(1, steps // 100 + 1):
            began, used = time.time(), worker_seconds()
            tab.run("$('go').click()")
            tab.wait('state.stats && state.stats.step >= %d' % (100 * hundred), 600)
            tab.run("$('go').click()")
            tab.wait('!state.stats.running')
            cpu[0] += worker_seconds() - used
            wall[0] += time.time() - began
            began, used = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            check(output(*native)[0] == 0, 'train runs')
            cpu[1] += resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used
            wall[1] += time.time() - began
            print('%4d steps: page %.1f s CPU, %.1f s; train %.1f s CPU, %.1f s; ratios %.2f %.2f'
                  % (100 * hundred, cpu[0], wall[0], cpu[1], wall[1], cpu[0] / cpu[1], wall[0] / wall[1]), flush=True)


for program in ('emcc', 'node'):
    if not shutil.which(program):
        print('not run: the page (no %s; Debian: emscripten, nodejs)' % program)
        finish()
with tempfile.TemporaryDirectory(prefix='wavecoh-page.') as work:
    built = build_page(work)
    if built and sys.argv[1:2] == ['--speed']:
        speed(work, built, os.path.abspath(sys.argv[2]), int((sys.argv + ['2000'])[3]))
    elif built:
        source = os.path.join(work, 'numbers.txt')
        with open(source, 'w') as written:
            written.write(numbers())
        build_programs(work)
        checkpoint, reached = train(work, source)
        run_core(work, built, source, reached)
        if chromium.browser():
            drive(work, built, source, checkpoint, sys.argv[1] if len(sys.argv) > 1 else None)
        else:
            print('not run: the page in a browser (no chromium)')
finish()
