// The right side of the till: the cart, the button that sells, and what came of it.
import * as cart from './cart.js';
import * as catalogue from './catalogue.js';
import { byId, el, reconcile, setClass, setText, toast } from './dom.js';
import { formatMoney, formatNumber, parseWhole } from './format.js';
import * as outbox from './outbox.js';
import { problemKind } from './api.js';
import * as receipt from './receipt.js';
import * as status from './status.js';
import { shared } from './store.js';
import { t } from './strings.js';

const CASHIER = 'tillbox.cashier';
const parts = {};
let isSelling = false;
let shown = null; // the key of the sale that the notice or receipt is about

export const cashier = () => Number(shared.get(CASHIER)) || 1;
export const setCashier = (id) => shared.set(CASHIER, String(id));

function lineElement(line) {
  const id = line.product_id;
  const name = catalogue.nameOf(id);
  const quantity = () => cart.list().find((entry) => entry.product_id === id)?.quantity ?? 1;
  const input = el('input', { class: 'quantity', inputmode: 'numeric', autocomplete: 'off',
    'aria-label': t('cart.quantity', { name }),
    onchange: () => {
      const number = parseWhole(input.value, 1, cart.QUANTITY_MAX);
      cart.setQuantity(id, number ?? quantity());
      input.value = String(quantity());
      input.dataset.shown = input.value;
    } });
  const button = (label, sign, act) => el('button', { type: 'button', class: 'icon',
    'aria-label': t(label, { name }), onclick: act }, sign);
  return el('li', {},
    el('div', { class: 'line-name' }, el('strong', {}), el('small', {})),
    el('span', { class: 'line-total' }),
    el('div', { class: 'stepper' },
      button('cart.less', '−', () => (quantity() > 1
        ? cart.setQuantity(id, quantity() - 1) : cart.remove(id))),
      input,
      button('cart.more', '+', () => cart.setQuantity(id, quantity() + 1)),
      button('cart.remove', '✕', () => cart.remove(id))));
}

function updateLine(element, line) {
  const product = catalogue.find(line.product_id);
  const isShort = product && product.stock < line.quantity;
  const [name, total, stepper] = element.children;
  const input = stepper.children[1];
  setText(name.firstChild, catalogue.nameOf(line.product_id));
  setText(name.lastChild, isShort
    ? t('cart.short', { count: formatNumber(product.stock) })
    : t('cart.each', { price: formatMoney(cart.priceOf(line)) }));
  setClass(name.lastChild, isShort ? 'warn-text' : 'muted');
  setText(total, formatMoney(cart.priceOf(line) * line.quantity));
  // What is being typed there stays; what a scan has changed is shown.
  if (input.value === (input.dataset.shown ?? '')) input.value = String(line.quantity);
  input.dataset.shown = String(line.quantity);
}

function notice(kind, title, ...children) {
  parts.outcome.replaceChildren(
    el('div', { class: `notice ${kind}` }, el('h3', {}, title), ...children));
}

function button(label, act, name = '') {
  return el('button', { type: 'button', class: name, onclick: act }, label);
}

function clearOutcome() {
  shown = null;
  parts.outcome.replaceChildren();
}

export function render() {
  const isEmpty = cart.isEmpty();
  const total = formatMoney(cart.total());
  reconcile(parts.lines, cart.list(), (line) => line.product_id, lineElement, updateLine);
  setText(parts.total, total);
  setText(parts.sellText, isSelling ? t('cart.selling') : t('cart.sell', { total }));
  parts.sell.disabled = isEmpty || isSelling;
  parts.clear.hidden = isEmpty || isSelling;
  parts.empty.hidden = !isEmpty || parts.outcome.childElementCount > 0;
  parts.foot.hidden = isEmpty && parts.outcome.childElementCount > 0;
  setText(parts.open, t('cart.show', { number: cart.count(), count: formatNumber(cart.count()),
    total }));
}

function showReceipt(order) {
  receipt.remember(order);
  notice('good', t('sale.sold'), receipt.receiptElement(order),
    el('div', { class: 'buttons' },
      button(t('receipt.print'), () => receipt.printReceipt(order)),
      button(t('cart.next'), next, 'primary')));
}

/** One product is short: offers what there is. */
function offerLess({ product_id: id, available }) {
  const act = () => {
    if (available > 0) cart.setQuantity(id, available);
    else cart.remove(id);
    clearOutcome();
    render();
  };
  return button(available > 0 ? t('sale.set', { count: formatNumber(available) })
    : t('sale.take_out'), act);
}

function isShortage(problem) {
  return problemKind(problem) === 'insufficient-stock';
}

export function refusalText(problem) {
  return isShortage(problem)
    ? t('sale.short', { name: catalogue.nameOf(problem.product_id),
      requested: formatNumber(problem.requested), available: formatNumber(problem.available) })
    : problem.errors?.map((error) => error.detail).join(', ') ?? problem.detail;
}

function showRefusal(problem) {
  const product = isShortage(problem) && catalogue.find(problem.product_id);
  if (product) catalogue.put({ ...product, stock: problem.available });
  notice('bad', t('sale.refused'), el('p', {}, refusalText(problem)),
    el('div', { class: 'buttons' }, isShortage(problem) ? offerLess(problem) : null,
      button(t('dismiss'), () => { clearOutcome(); render(); })));
}

function showUnknown(sale) {
  shown = sale.key;
  notice('warn', t('sale.unknown'),
    el('p', {}, t(sale.isSafe ? 'sale.unknown_text' : 'sale.not_kept')),
    el('div', { class: 'buttons' }, button(t('cart.next'), next, 'primary')));
}

function settle(sale, outcome, lines) {
  if (outcome.kind === 'sold') {
    showReceipt(outcome.order);
    setTimeout(() => catalogue.take(outcome.order.items)); // the receipt comes first
  } else if (outcome.kind === 'refused') {
    cart.restore(lines);
    showRefusal(outcome.problem);
  } else {
    showUnknown(sale);
    status.poll();
  }
}

/** The sale is on disk in this browser before it is on its way. */
export async function sell() {
  if (isSelling || cart.isEmpty()) return;
  const lines = cart.list().map((line) => ({ ...line }));
  const sale = outbox.keep({ user_id: cashier(), items: lines }, lines, cart.total());
  isSelling = true;
  clearOutcome();
  render();
  cart.clear();
  const outcome = await outbox.send(sale);
  isSelling = false;
  settle(sale, outcome, lines);
  render();
  parts.outcome.querySelector('.primary')?.focus({ preventScroll: true });
}

/** Ready for the next customer. */
export function next() {
  clearOutcome();
  render();
  byId('till').classList.remove('shows-cart');
  byId('search').focus();
}

export function add(product) {
  const line = cart.add(product);
  if (shown || parts.outcome.childElementCount > 0) clearOutcome();
  if (!line) toast(t('cart.full'), 'bad');
  else setText(byId('spoken'), t('cart.added', { name: product.product_name,
    count: formatNumber(line.quantity) }));
  render();
}

/** A sale that had no answer got one, here or in another tab. */
function onSettled({ detail }) {
  if (detail.kind === 'sold') catalogue.take(detail.isForeign ? [] : detail.order.items);
  if (detail.key !== shown) return;
  if (detail.kind === 'sold') showReceipt(detail.order);
  else clearOutcome();
  render();
}

export function start() {
  for (const name of ['lines', 'total', 'sell', 'clear', 'empty', 'foot', 'open', 'outcome'])
    parts[name] = byId(`cart-${name}`);
  parts.sellText = byId('cart-sell-text');
  parts.sell.addEventListener('click', sell);
  parts.clear.addEventListener('click', () => cart.clear());
  parts.open.addEventListener('click', () => byId('till').classList.add('shows-cart'));
  byId('cart-back').addEventListener('click', () =>
    byId('till').classList.remove('shows-cart'));
  cart.events.addEventListener('change', render);
  catalogue.events.addEventListener('change', render);
  outbox.events.addEventListener('settled', onSettled);
  render();
}
