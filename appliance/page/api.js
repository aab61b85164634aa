// Calls of the box's API.
import { own, shared } from './store.js';

const TIMEOUT_MS = 8000;
const TOKEN = 'tillbox.token';

/** The box gave no answer: it may or may not have done what was asked. */
export class Unreachable extends Error {}

export const events = new EventTarget();

export function hasToken() {
  return Boolean(own.get(TOKEN) ?? shared.get(TOKEN));
}

export function setToken(token, remember) {
  forgetToken();
  (remember ? shared : own).set(TOKEN, token);
}

export function forgetToken() {
  own.remove(TOKEN);
  shared.remove(TOKEN);
}

/** 32 hexadecimal digits. randomUUID() exists only on pages that came over TLS. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function headersFor(body, key) {
  const headers = {};
  const token = own.get(TOKEN) ?? shared.get(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (key) headers['Idempotency-Key'] = key;
  return headers;
}

/**
 * {status, data}. `body` is a value, or text that is JSON already. Throws Unreachable when there is
 * no answer or none that can be read.
 */
export async function call(method, path, { body, key, timeoutMs = TIMEOUT_MS } = {}) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), timeoutMs);
  try {
    const response = await fetch(path, {
      method,
      headers: headersFor(body, key),
      body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
      signal: stop.signal,
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
    });
    const data = await response.json();
    if (response.status === 401) events.dispatchEvent(new Event('unauthorized'));
    return { status: response.status, data };
  } catch (error) {
    throw new Unreachable(String(error));
  } finally {
    clearTimeout(timer);
  }
}

/** The data of a GET that went well, or an error. */
export async function get(path, options) {
  const { status, data } = await call('GET', path, options);
  if (status !== 200) throw Object.assign(new Error(data.detail ?? status), { status, data });
  return data;
}

/** Which kind of error a problem is (RFC 9457): the last word of its type. */
export const problemKind = (data) => String(data?.type ?? '').split(':').pop();
