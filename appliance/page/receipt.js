// A receipt: on the screen and on paper.
import * as catalogue from './catalogue.js';
import { byId, el } from './dom.js';
import { formatMoment, formatMoney, formatNumber } from './format.js';
import { t } from './strings.js';

let shop = '';
let latest = null;

export function setShop(name) {
  shop = name;
}

export const last = () => latest;

export function remember(order) {
  latest = order;
}

function lineRow(line) {
  return el('tr', {},
    el('td', { class: 'number' }, formatNumber(line.quantity)),
    el('td', {}, catalogue.nameOf(line.product_id),
      line.quantity > 1
        ? el('small', {}, t('cart.each', { price: formatMoney(line.unit_price) })) : null),
    el('td', { class: 'number' }, formatMoney(line.quantity * line.unit_price)));
}

export function receiptElement(order) {
  return el('div', { class: 'receipt', 'data-order': order.id },
    el('p', { class: 'shop' }, shop),
    el('p', { class: 'receipt-number' },
      el('span', {}, t('receipt.number')), el('strong', {}, String(order.id))),
    el('p', { class: 'muted' },
      `${formatMoment(order.created_at)} · ${t('receipt.cashier', { id: order.user_id })}`),
    order.status === 'cancelled'
      ? el('p', { class: 'badge bad' }, t('receipt.cancelled')) : null,
    el('table', {}, el('tbody', {}, ...order.items.map(lineRow))),
    el('p', { class: 'receipt-total' },
      el('span', {}, t('receipt.total')), el('strong', {}, formatMoney(order.total))));
}

/** Paper gets the receipt and nothing else: the style sheet sees to that. */
export function printReceipt(order) {
  byId('print').replaceChildren(receiptElement(order));
  window.print();
}
