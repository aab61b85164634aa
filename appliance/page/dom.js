// Building the page. Text only ever goes in as text, never as markup.

/** An element. `on…` attributes are listeners; `true` sets a bare attribute, `null` none. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Writes only what differs: a screen reader is told of real changes alone. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

/**
 * Makes the children of `parent` those of `items`, and keeps the elements of items that stay, so
 * that focus and scrolling do too. `create(item)` makes an element, `update(element, item)` fills
 * it in.
 */
export function reconcile(parent, items, keyOf, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const key = String(keyOf(item));
    const element = known.get(key) ?? create(item);
    known.delete(key);
    element.dataset.key = key;
    update(element, item);
    return element;
  });
  for (const element of known.values()) element.remove();
  wanted.forEach((element, index) => {
    const present = parent.children[index];
    if (present !== element) parent.insertBefore(element, present ?? null);
  });
}

const TOAST_MS = 6000;
const TOASTS_MAX = 3;

/** A word that goes away by itself; `kind` is good, warn or bad. */
export function toast(text, kind = 'good') {
  const list = byId('toasts');
  const item = el('p', { class: `toast ${kind}` }, text);
  list.append(item);
  while (list.children.length > TOASTS_MAX) list.firstChild.remove();
  setTimeout(() => item.remove(), TOAST_MS);
}

/** Copies text; the clipboard API exists only on pages that came over TLS or from this machine. */
export async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = el('textarea', { class: 'offscreen', readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}
