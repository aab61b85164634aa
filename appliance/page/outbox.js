// Sales on their way to the box. Each has its Idempotency-Key from before it is first sent, and is
// kept in the browser, with the very bytes of its body, until the box has said yes or no. The same
// key with the same body is never sold twice, so sending again is always safe while the box
// remembers keys. Each sale has an entry of its own: tabs don't overwrite one another's.
import { Unreachable, call, newKey, problemKind } from './api.js';
import { own, parse, shared } from './store.js';

const PREFIX = 'tillbox.sale.';
const TIMEOUT_MS = 8000;
const REST_MS = 1000; // between two attempts of the same sale
const HOUR_MS = 3600000;
const DEFINITE = new Set([400, 404, 409, 413, 415, 422]);

export const events = new EventTarget();
const channel = 'BroadcastChannel' in window ? new BroadcastChannel('tillbox') : null;
const sending = new Set();
const TAB = own.get('tillbox.tab') ?? newKey(); // stays the same when the page is loaded again
own.set('tillbox.tab', TAB);
let keyHours = 72;

export function setKeyHours(hours) {
  keyHours = hours;
}

function changed() {
  events.dispatchEvent(new Event('change'));
}

function write(sale) {
  return shared.set(PREFIX + sale.key, JSON.stringify(sale));
}

/** Every sale without an answer, and those refused later that nobody has looked at; oldest first. */
export function list() {
  return shared.names(PREFIX)
    .map((name) => parse(shared.get(name), null))
    .filter((sale) => sale && sale.key && sale.body)
    .sort((a, b) => a.at - b.at);
}

/** Past this the box may have forgotten the key, and sending again could sell twice. */
export const isTooOld = (sale) => Date.now() - sale.at > (keyHours - 1) * HOUR_MS;

export const isSending = (sale) => sending.has(sale.key);

/** Is it on its first way to the box, from this tab or another? */
export function isFirst(sale) {
  const isRecent = Math.abs(Date.now() - sale.at) < TIMEOUT_MS;
  return !sale.isUnanswered && !sale.refusal
    && (isSending(sale) || (sale.tab !== TAB && isRecent));
}

export function forget(key) {
  shared.remove(PREFIX + key);
  changed();
}

/** Writes a new sale down. `lines` are the cart's, `body` is what will be sent. */
export function keep(body, lines, total) {
  const now = Date.now();
  const sale = { key: newKey(), tab: TAB, body: JSON.stringify(body), at: now, triedAt: now, lines,
    total };
  sale.isSafe = write(sale);
  return sale;
}

/** What an answer means: sold, refused, or not yet known. */
function outcomeOf({ status, data }) {
  if (status === 201) return { kind: 'sold', order: data };
  if (DEFINITE.has(status) && problemKind(data) !== 'in-flight')
    return { kind: 'refused', problem: data };
  return { kind: 'unknown', problem: data };
}

async function post(sale) {
  try {
    return outcomeOf(await call('POST', '/orders',
      { body: sale.body, key: sale.key, timeoutMs: TIMEOUT_MS }));
  } catch (error) {
    if (error instanceof Unreachable) return { kind: 'unknown', problem: null };
    throw error;
  }
}

/** Sends a sale once, and forgets it if the answer is yes or no. */
export async function send(sale) {
  sending.add(sale.key);
  const outcome = await post(sale);
  sending.delete(sale.key);
  if (outcome.kind !== 'unknown') forget(sale.key);
  else if (shared.get(PREFIX + sale.key)) write({ ...sale, isUnanswered: true });
  changed();
  return outcome;
}

/** For the tab that made the sale, and for all others. */
function tell(sale, outcome) {
  const detail = { key: sale.key, at: sale.at, ...outcome };
  events.dispatchEvent(new CustomEvent('settled', { detail }));
  channel?.postMessage(detail);
}

async function sendAgain(sale) {
  const current = parse(shared.get(PREFIX + sale.key), null);
  if (!current || current.refusal) return { kind: 'gone' };
  const tried = { ...current, triedAt: Date.now() };
  write(tried);
  const outcome = await send(tried);
  if (outcome.kind === 'refused') write({ ...current, refusal: outcome.problem });
  if (outcome.kind !== 'unknown') tell(sale, outcome);
  changed();
  return outcome;
}

const lockOf = (tab) => `tillbox.tab.${tab}`;

/** The tabs that are open; null where the browser doesn't tell (a page that came without TLS). */
async function openTabs() {
  if (!navigator.locks) return null;
  const { held } = await navigator.locks.query();
  return new Set(held.map((lock) => lock.name));
}

/** What another tab has sent is left to it for as long as it may be waiting for the answer. */
function isDue(sale, tabs) {
  if (sale.refusal || isSending(sale) || isTooOld(sale)) return false;
  const isLeft = sale.tab !== TAB && (!tabs || tabs.has(lockOf(sale.tab)));
  const rest = isLeft ? TIMEOUT_MS + REST_MS : REST_MS;
  return Date.now() - sale.triedAt >= rest || Date.now() < sale.triedAt;
}

async function sendDue() {
  const tabs = await openTabs();
  for (const sale of list().filter((entry) => isDue(entry, tabs))) {
    const { kind, problem } = await sendAgain(sale);
    if (kind === 'unknown' && !problem) return; // the box is away: no use in trying the others
  }
}

let isRunning = false;

/** Sends what has no answer yet: one tab after the other where the browser can see to that. */
export async function sendPending() {
  if (isRunning || list().length === 0) return;
  isRunning = true;
  try {
    if (navigator.locks) await navigator.locks.request('tillbox.outbox', sendDue);
    else await sendDue();
  } finally {
    isRunning = false;
  }
}

/** Listens to other tabs. */
export function start() {
  navigator.locks?.request(lockOf(TAB), () => new Promise(() => {})); // until the tab is closed
  window.addEventListener('storage', (event) => {
    if (event.key === null || event.key.startsWith(PREFIX)) changed();
  });
  channel?.addEventListener('message', ({ data }) =>
    events.dispatchEvent(new CustomEvent('settled', { detail: { ...data, isForeign: true } })));
}
