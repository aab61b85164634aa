// What the box says of itself, asked for again and again while somebody can see the page, and what
// that means for those at the till.
import { Unreachable, call } from './api.js';

const INTERVAL_MS = 2000;
const INTERVAL_MOST_MS = 10000;
const TIMEOUT_MS = 4000;

export const events = new EventTarget();
let status = null; // the last answer
let isReachable = null; // null: not asked yet
let failures = 0;
let timer = null;
let isAsking = false;

export const last = () => status;
export const reachable = () => isReachable;

/** In this state of things a person at the box is needed. */
export function needsOperator(box) {
  const bridge = box.bridge;
  const sinks = bridge.sinks ?? [];
  return sinks.some((sink) => sink.state === 'stopped' || sink.parked > 0)
    || bridge.unaccounted_events > 0 || 'error' in bridge;
}

/** alone, bridge (not running), away (can't be reached), behind or online. */
export function lineState(bridge) {
  const sinks = bridge.sinks ?? [];
  if ('error' in bridge) return 'unreadable';
  if (sinks.length === 0) return 'alone';
  if (!bridge.bridge_running) return 'bridge';
  if (sinks.some((sink) => sink.state === 'down' || sink.breaker === 'open')) return 'away';
  return sinks.some((sink) => sink.oldest_pending_age_s > 30) ? 'behind' : 'online';
}

export const oldestAge = (bridge) =>
  Math.max(0, ...(bridge.sinks ?? []).map((sink) => sink.oldest_pending_age_s));

/** What to tell everybody: the worst first. */
export function condition() {
  if (isReachable === null) return 'unknown';
  if (!isReachable) return 'unreachable';
  if (status.status === 'not_ready') return 'not_ready';
  if (status.journal.integrity === 'damaged') return 'damaged';
  if (status.disk.stage !== 'ok') return 'disk';
  const line = lineState(status.bridge);
  if (line === 'away' || line === 'bridge') return line;
  if (needsOperator(status)) return 'attention';
  return line === 'alone' ? 'alone' : 'online';
}

async function ask() {
  try {
    const answer = await call('GET', '/status', { timeoutMs: TIMEOUT_MS });
    if (answer.status === 200) status = answer.data;
    if (answer.status !== 401) isReachable = answer.status === 200;
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    isReachable = false;
  }
  failures = isReachable === false ? failures + 1 : 0;
  events.dispatchEvent(new Event('change'));
}

function schedule() {
  clearTimeout(timer);
  if (document.hidden) return;
  const wait = failures === 0 ? INTERVAL_MS : 500 * 2 ** Math.min(failures, 5);
  timer = setTimeout(poll, Math.min(wait, INTERVAL_MOST_MS));
}

/** Asks at once, and from then on by the clock. */
export async function poll() {
  if (isAsking) return;
  isAsking = true;
  try {
    await ask();
  } finally {
    isAsking = false;
    schedule();
  }
}

export function start() {
  document.addEventListener('visibilitychange', () => (document.hidden ? schedule() : poll()));
  window.addEventListener('online', poll);
  return poll();
}
