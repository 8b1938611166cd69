/* The program of a page, without the page: node page_core.js PAGE.html TEXT OUT.safetensors STEPS NAME=VALUE..
   Learns TEXT with these settings ("trainer." before those of the trainer), saves the network, loads it again and
   prints figures as JSON. */
'use strict';
const fs = require('fs');
const [page, text, out, steps, ...settings] = process.argv.slice(2);
const html = fs.readFileSync(page, 'utf8');
const code = html.slice(html.indexOf('<script', html.indexOf('<template id="core">')));
const program = code.slice(code.indexOf('>') + 1, code.indexOf('</script>'));

function begin(M) {
  const give = (bytes) => { M.HEAPU8.set(bytes, M._page_room(bytes.length)); return bytes.length; };
  const string = (at) => Buffer.from(M.HEAPU8.slice(at, M.HEAPU8.indexOf(0, at))).toString();
  const sure = (result) => { if (result < 0) throw new Error(string(M._page_error())); return result; };
  const refused = (result) => (result < 0 ? string(M._page_error()) : 'it was taken');
  const figures = { isa: string(M._page_isa()), fields: JSON.parse(string(M._page_settings())).length };
  const set = (of, name, value) => { give(Buffer.from(`${name}\0${value}\0`)); return M._page_set(of); };

  figures.early = [refused(M._page_start()), refused(M._page_save()), refused(set(0, 'bands', 'many'))];
  for (const setting of settings) {
    const [name, value] = setting.split('=');
    sure(name.startsWith('trainer.') ? set(1, name.slice(8), value) : set(0, name, value));
  }
  figures.vocab = sure(M._page_open(give(fs.readFileSync(text))));
  sure(M._page_start());
  while (sure(M._page_run(1)) === 0 && M._page_stat(0) <= Number(steps));
  [figures.step, figures.train, figures.val] = [0, 1, 2].map((i) => M._page_stat(i));
  figures.cut = M._page_stat(10);
  figures.loss = M._page_evaluate();

  const length = sure(M._page_write(0, 40, 1, give(Buffer.from('one '))));
  figures.writes = Buffer.from(M.HEAPU8.slice(M._page_out(), M._page_out() + length)).toString();
  figures.heard = sure(M._page_listen(give(Buffer.from('twenty-one, thirty-'))));
  const [layers, heads, bands] = [11, 12, 13].map((i) => M._page_stat(i)), room = M._page_heard_room();
  const view = (i, count) => Array.from(M.HEAPF32.slice(M._page_view(i) / 4, M._page_view(i) / 4 + count));
  figures.waves = view(0, 5);
  figures.weights = view(3, layers * heads * room).reduce((sum, w) => sum + w, 0) / (layers * heads);
  /* Weights follow from the phases that are drawn: softmax(gain cos(query - key) - damping distance). */
  const query = view(1, 1)[0], keys = view(2, figures.heard), shown = view(3, figures.heard);
  const scores = keys.map((k, t) => Math.exp(figures.waves[0] * Math.cos(query - k) - figures.waves[3] * (figures.heard - 1 - t)));
  const total = scores.reduce((sum, s) => sum + s, 0);
  figures.apart = Math.max(...scores.map((s, t) => Math.abs(s / total - shown[t])));
  const before = view(4, bands), after = view(5, bands);
  figures.fades = before.every((e, b) => after[b] > 0 && after[b] < e);
  figures.next = view(7, 8).reduce((sum, p) => sum + p, 0);

  const size = sure(M._page_save());
  const file = Buffer.from(M.HEAPU8.slice(M._page_out(), M._page_out() + size));
  fs.writeFileSync(out, file);
  figures.goes = sure(M._page_load(give(file)));
  figures.again = [M._page_stat(0), M._page_evaluate()];
  sure(M._page_open(give(fs.readFileSync(text)))); /* for the network that was loaded */
  figures.stays = [M._page_stat(0), M._page_stat(6), M._page_evaluate()];
  figures.damaged = refused(M._page_load(give(file.subarray(0, file.length - 9))));
  figures.kept = M._page_evaluate();

  sure(M._mind_start());
  for (let i = 0; i < 300; i++) sure(M._mind_play(i % 5 === 0 || i % 5 === 2 ? 1 : 0));
  const right = M._mind_stat(3);
  for (let i = 300; i < 400; i++) sure(M._mind_play(i % 5 === 0 || i % 5 === 2 ? 1 : 0));
  figures.foreseen = M._mind_stat(3) - right;
  /* Networks of other plans: what is drawn of them is finite, and their weights are weights. */
  figures.plans = [['attention', 'dot', 'coherence'], ['attention', 'shared', 'coherence'], ['attention', 'frozen', 'coherence'],
    ['block', 'parallel', 'sequential'], ['block', 'parallel_shared', 'sequential'], ['taps', '0', '3'], ['forgetting', 'on', 'off'], ['ffn', 'gated_mlp', 'kerr'],
    ['norm', 'rms', 'layer'], ['maestros', 'add', 'dual'], ['solver', 'none', 'exact']].filter(([name, value, usual]) => {
    sure(set(0, name, value));
    sure(M._page_start());
    sure(M._page_run(1));
    sure(M._page_listen(give(Buffer.from('twenty-one, thirty-two, '.repeat(4)))));
    sure(set(0, name, usual));
    const per = [heads * 5, heads, heads * room, heads * room, bands, bands, bands];
    const total = view(3, layers * heads * room).reduce((sum, w) => sum + w, 0) / (layers * heads);
    return Math.abs(total - 1) > 1e-5 || per.some((n, i) => !view(i, n * layers).every(Number.isFinite));
  });
  console.log(JSON.stringify(figures));
}

const Module = { onRuntimeInitialized() { setTimeout(begin, 0, Module); } }; // after main, as in the page
new Function('Module', 'require', '__dirname', '__filename', program)(Module, require, __dirname, __filename);
