// The box itself: its line to head office, what needs an operator, and the proof that all is there.
import { get } from './api.js';
import { chartElement } from './chart.js';
import { byId, copyText, el, setText, toast } from './dom.js';
import { formatBytes, formatDuration, formatMoment, formatNumber } from './format.js';
import * as status from './status.js';
import { t } from './strings.js';

const EXTRAS_MS = 10000; // chart and parked events change slowly
let commands = { appliance: '', bridge: '', data_dir: '' };
let parked = [];
let extrasAt = -Infinity;
const drawn = new Map();

export function setCommands(known) {
  commands = known;
}

/** A shell's word; quoted where it has to be. */
const quote = (word) =>
  (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

const bridge = (...words) =>
  [commands.bridge, ...words, '--data-dir', commands.data_dir].map(quote).join(' ');
const appliance = (...words) =>
  [commands.appliance, ...words, '--data-dir', commands.data_dir].map(quote).join(' ');

function commandElement(text) {
  const copy = () => copyText(text).then(() => toast(t('box.copied')));
  return el('div', { class: 'command' }, el('code', { tabindex: '0' }, text),
    el('button', { type: 'button', 'aria-label': `${t('box.copy')}: ${text}`, onclick: copy },
      t('box.copy')));
}

/** Draws a part anew only when something in it has changed: focus and selection stay. */
function draw(id, data, ...make) {
  const signature = JSON.stringify(data);
  if (drawn.get(id) === signature) return;
  drawn.set(id, signature);
  byId(id).replaceChildren(...make.flatMap((part) => part(data)).filter(Boolean));
}

function facts(rows) {
  return el('dl', {}, ...rows.flatMap(([name, value, kind]) =>
    [el('dt', {}, name), el('dd', { class: kind ?? '' }, value)]));
}

function lineFacts({ line, backlog, age, unaccounted, error }) {
  const kind = { online: 'good', behind: 'warn', alone: '' }[line] ?? 'warn';
  return [
    el('p', { class: `state ${kind}` }, t(`box.state.${line}`, { detail: error })),
    facts([[t('box.backlog'), formatNumber(backlog), 'huge'],
      [t('box.oldest'), backlog ? formatDuration(age) : t('box.nothing'), 'big'],
      [t('box.unaccounted'), formatNumber(unaccounted), unaccounted ? 'big bad-text' : 'big']]),
  ];
}

function drawLine(box) {
  const accounts = box.bridge;
  draw('box-line', { line: status.lineState(accounts), backlog: accounts.backlog ?? 0,
    age: status.oldestAge(accounts), unaccounted: accounts.unaccounted_events ?? 0,
    error: accounts.error ?? '' }, lineFacts);
}

const momentOr = (text) => (text ? formatMoment(text) : t('box.never'));

/** What the state was when the bridge ended says nothing of now. */
function stateFact(sink, isRunning) {
  if (!isRunning) return [t('box.sink_state'), t('box.state.bridge'), 'badge warn'];
  const kind = { running: 'good', starting: '' }[sink.state] ?? 'bad';
  return [t('box.sink_state'), t(`box.sink.${sink.state}`), `badge ${kind}`];
}

function sinkElement(sink, isRunning) {
  return el('section', { class: 'sink' },
    el('h3', {}, t(`box.sink.${sink.name}`)),
    facts([
      stateFact(sink, isRunning),
      [t('box.breaker'), t(`box.breaker.${sink.breaker}`),
        `badge ${sink.breaker === 'closed' ? 'good' : 'bad'}`],
      [t('box.pending'), formatNumber(sink.pending)],
      [t('box.delivered'), formatNumber(sink.delivered)],
      [t('box.parked_count'), formatNumber(sink.parked), sink.parked ? 'bad-text' : ''],
      [t('box.last_delivered'), momentOr(sink.last_delivered_at)],
      [t('box.last_error'),
        sink.last_error ? `${momentOr(sink.last_error_at)}: ${sink.last_error}` : t('box.never')],
    ]));
}

/** [what is the matter, the commands to run] for each thing that needs a person. */
function todos(box) {
  const accounts = box.bridge;
  const sinks = accounts.sinks ?? [];
  const list = sinks.filter((sink) => sink.state === 'stopped').map((sink) => [
    t('box.todo.stopped', { sink: t(`box.sink.${sink.name}`), error: sink.last_error }),
    [bridge('status'), bridge('reconcile')]]);
  if (status.lineState(accounts) === 'bridge')
    list.push([t('box.todo.bridge'), ['systemctl start tillbox-bridge', bridge('run')]]);
  if (sinks.some((sink) => sink.parked > 0))
    list.push([t('box.todo.parked'), [bridge('parked', 'list'), bridge('replay')]]);
  if (accounts.unaccounted_events > 0)
    list.push([t('box.todo.unaccounted'), [bridge('reconcile')]]);
  if (box.journal.integrity === 'damaged')
    list.push([t('box.todo.damaged', { detail: box.journal.damage }), [appliance('verify')]]);
  if (box.disk.stage !== 'ok')
    list.push([t('box.todo.disk'), [`df -h ${quote(commands.data_dir)}`]]);
  return list;
}

function todoElements(list) {
  if (list.length === 0) return [el('p', { class: 'state good' }, t('box.todo_none'))];
  return list.map(([text, lines]) =>
    el('div', { class: 'todo' }, el('p', {}, text), ...lines.map(commandElement)));
}

function parkedElement(entry) {
  const order = entry.order_id ? ` · ${t('box.parked_order', { id: entry.order_id })}` : '';
  const only = ['--sink', entry.sink, '--id', entry.event_id];
  return el('li', {},
    el('p', {}, el('strong', {},
      t('box.parked_event', { type: entry.event_type, sequence: entry.sequence })), order, ' ',
    el('span', { class: `badge ${entry.state === 'refused' ? 'bad' : 'warn'}` },
      t(`box.parked.${entry.state}`))),
    el('p', {}, `${t(`box.sink.${entry.sink}`)} · ${momentOr(entry.parked_at)}`),
    el('p', { class: 'reason' }, entry.reason),
    el('details', {}, el('summary', {}, t('box.replay')), commandElement(bridge('replay', ...only))),
    el('details', {}, el('summary', {}, t('box.discard')),
      commandElement(bridge('parked', 'discard', ...only, '--reason', 'REASON'))));
}

function drawParked(box) {
  const count = (box.bridge.sinks ?? []).reduce((total, sink) => total + sink.parked, 0);
  byId('box-parked-card').hidden = count === 0;
  draw('box-parked', { count, parked }, () => [
    el('p', {}, t('box.parked_text', { number: count, count: formatNumber(count) })),
    el('ul', { class: 'parked' }, ...parked.map(parkedElement))]);
}

function proofFacts({ journal }) {
  const kind = journal.integrity === 'damaged' ? 'bad-text' : '';
  return facts([
    [t('box.chain'), formatNumber(journal.chain_head.sequence), 'huge'],
    [t('box.hash'), journal.chain_head.hash, 'mono'],
    [t('box.integrity'), t(`box.integrity.${journal.integrity}`), kind],
    [t('box.journal_id'), journal.journal_id, 'mono']]);
}

function machineFacts({ device, location, uptime, disk, queue, versions }) {
  const free = disk.free_bytes >= 0 ? `${formatBytes(disk.free_bytes)}, ` : '';
  return facts([
    [t('box.disk'), free + t(`box.disk.${disk.stage}`), disk.stage === 'ok' ? 'big' : 'big bad-text'],
    [t('box.device'), device], [t('box.location'), location], [t('box.uptime'), uptime],
    [t('box.queue'), `${formatNumber(queue.length)}, ${formatNumber(queue.longest)}`],
    [t('box.versions'),
      Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(', ')]]);
}

async function loadExtras() {
  if (performance.now() - extrasAt < EXTRAS_MS) return;
  extrasAt = performance.now();
  const [history, list] = await Promise.all([get('/history'), get('/parked')]);
  ({ parked } = list);
  setText(byId('box-chart-title'),
    t('box.chart', { hours: (history.sales.length * history.span_s) / 3600 }));
  draw('box-chart', history, chartElement);
  if (status.last()) drawParked(status.last());
}

export function render() {
  const box = status.last();
  if (byId('box').hidden || !box) return;
  drawLine(box);
  draw('box-sinks', box.bridge, ({ sinks = [], bridge_running: isRunning }) =>
    sinks.map((sink) => sinkElement(sink, isRunning)));
  byId('box-sinks-card').hidden = (box.bridge.sinks ?? []).length === 0;
  draw('box-todo', todos(box), todoElements);
  drawParked(box);
  draw('box-proof', { journal: box.journal }, proofFacts);
  draw('box-machine', { device: box.device_id, location: box.location, disk: box.disk,
    queue: box.queue, versions: box.versions, uptime: formatDuration(box.uptime_s) }, machineFacts);
  if (status.reachable()) loadExtras().catch(() => null); // the banner tells that the box is away
}

export function start() {
  status.events.addEventListener('change', render);
}
