// The receipts: the newest first, any by its number, and their cancellation.
import { Unreachable, call, get, newKey, problemKind } from './api.js';
import * as catalogue from './catalogue.js';
import { confirmDialog, openDialog } from './dialogs.js';
import { byId, el, reconcile, setClass, setText, toast } from './dom.js';
import { formatMoment, formatMoney, formatNumber, parseWhole } from './format.js';
import * as receipt from './receipt.js';
import { t } from './strings.js';

const PAGE = 25;
const TRIES = 3;
let orders = [];
let before = null; // of the page shown; null: the newest
let nextBefore = null;
let isLoaded = false;

function itemsText(order) {
  const names = order.items.slice(0, 4).map((line) =>
    `${formatNumber(line.quantity)} × ${catalogue.nameOf(line.product_id)}`);
  return names.join(', ') + (order.items.length > 4 ? ' …' : '');
}

function rowElement(order) {
  const id = order.id;
  const find = () => orders.find((entry) => entry.id === id) ?? order;
  const button = (name, act, kind) => el('button', { type: 'button', class: kind,
    'aria-label': t(`receipts.${name}_of`, { id }), onclick: act }, t(`receipts.${name}`));
  return el('tr', {}, el('th', { scope: 'row', class: 'big' }), el('td', {}), el('td', {}),
    el('td', { class: 'number big' }), el('td', {}, el('span', {})),
    el('td', {}, el('div', { class: 'buttons' }, button('show', () => show(find())),
      button('cancel', () => cancel(find()), 'danger-text'))));
}

function updateRow(element, order) {
  const [id, time, items, total, state, actions] = element.children;
  const isCancelled = order.status === 'cancelled';
  setText(id, String(order.id));
  setText(time, formatMoment(order.created_at));
  setText(items, itemsText(order));
  setText(total, formatMoney(order.total));
  setText(state.firstChild, t(isCancelled ? 'receipt.cancelled' : 'receipts.valid'));
  setClass(state.firstChild, isCancelled ? 'badge bad' : 'badge good');
  actions.firstChild.lastChild.hidden = isCancelled;
}

export function render() {
  byId('receipts-none').hidden = !isLoaded || orders.length > 0;
  byId('receipts-table').hidden = orders.length === 0;
  byId('receipts-older').hidden = nextBefore === null;
  byId('receipts-newest').hidden = before === null;
  reconcile(byId('receipts-rows'), orders, (order) => order.id, rowElement, updateRow);
}

export async function load(from = before) {
  const page = await get(`/orders/latest?limit=${PAGE}${from ? `&before=${from}` : ''}`);
  before = from;
  ({ orders, next_before: nextBefore } = page);
  isLoaded = true;
  render();
}

/** Something has changed; the page that is shown may have too. */
export function refresh() {
  load().catch(() => null); // the banner tells that the box is away
}

function replace(order) {
  orders = orders.map((entry) => (entry.id === order.id ? order : entry));
  render();
}

/** Under one key: when the answer is lost, asking again cancels nothing twice. */
async function postCancel(id) {
  const key = newKey();
  for (let tries = 1; ; tries++) {
    try {
      const answer = await call('POST', `/orders/${id}/cancel`, { key });
      if (problemKind(answer.data) !== 'in-flight') return answer;
    } catch (error) {
      if (!(error instanceof Unreachable) || tries === TRIES) throw error;
    }
  }
}

async function finishCancel(id) {
  const { status, data } = await postCancel(id);
  if (status === 200) {
    replace(data);
    catalogue.take(data.items, 1);
    toast(t('receipts.done', { id }));
  } else if (problemKind(data) === 'already-cancelled') {
    toast(t('receipts.already', { id }), 'warn');
    refresh();
  } else {
    toast(t('failed', { detail: data.detail }), 'bad');
  }
}

export async function cancel(order) {
  const text = t('receipts.confirm', { id: order.id, total: formatMoney(order.total) });
  if (!(await confirmDialog(t('receipt.title', { id: order.id }), text,
    t('receipts.confirm_yes')))) return;
  try {
    await finishCancel(order.id);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    toast(t('no-answer'), 'bad');
  }
}

export function show(order) {
  const buttons = el('div', { class: 'buttons' },
    el('button', { type: 'button', onclick: () => receipt.printReceipt(order) },
      t('receipt.print')));
  if (order.status !== 'cancelled')
    buttons.append(el('button', { type: 'button', class: 'danger-text',
      onclick: () => {
        dialog.close();
        cancel(order);
      } }, t('receipts.cancel')));
  const dialog = openDialog(t('receipt.title', { id: order.id }),
    el('div', { class: 'stack' }, receipt.receiptElement(order), buttons));
}

async function findNumber(event) {
  event.preventDefault();
  const input = byId('receipts-number');
  const id = parseWhole(input.value, 1, 9999999999);
  if (id === null) return;
  try {
    show(await get(`/orders/${id}`));
    input.value = '';
  } catch (error) {
    toast(error.status === 404 ? t('receipts.missing', { id }) : t('no-answer'), 'bad');
  }
}

export function start() {
  byId('receipts-find').addEventListener('submit', findNumber);
  byId('receipts-older').addEventListener('click', () => load(nextBefore).catch(() => null));
  byId('receipts-newest').addEventListener('click', () => load(null).catch(() => null));
  catalogue.events.addEventListener('change', () => byId('receipts').hidden || render());
}
