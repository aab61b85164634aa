// The list of sales that the box has not confirmed yet: on every view, as long as there are any.
import * as basket from './basket.js';
import * as cart from './cart.js';
import * as catalogue from './catalogue.js';
import { byId, el, reconcile, setText, toast } from './dom.js';
import { formatMoney, formatNumber, formatTime } from './format.js';
import * as outbox from './outbox.js';
import * as status from './status.js';
import { t } from './strings.js';

const timeOf = (sale) => formatTime(new Date(sale.at).toISOString());

function stateText(sale) {
  if (sale.refusal) return t('pending.refused', { detail: basket.refusalText(sale.refusal) });
  if (outbox.isTooOld(sale)) return t('pending.old');
  return t(outbox.isSending(sale) ? 'pending.sending' : 'pending.waits');
}

function whatText(sale) {
  const names = sale.lines.map((line) =>
    `${formatNumber(line.quantity)} × ${catalogue.nameOf(line.product_id)}`);
  return `${timeOf(sale)} · ${formatMoney(sale.total)} · ${names.slice(0, 3).join(', ')}`;
}

function rowElement(sale) {
  const restore = () => {
    cart.restore(sale.lines);
    outbox.forget(sale.key);
  };
  return el('li', {}, el('p', {}, el('strong', {}), el('span', {})),
    el('div', { class: 'buttons' },
      el('button', { type: 'button', onclick: restore }, t('pending.restore')),
      el('button', { type: 'button', onclick: () => outbox.forget(sale.key) }, t('dismiss'))));
}

/** What may still be sent can't be thrown away: it may have been sold already. */
function updateRow(element, sale) {
  const [text, buttons] = element.children;
  setText(text.firstChild, whatText(sale));
  setText(text.lastChild, ` ${stateText(sale)}`);
  buttons.firstChild.hidden = !sale.refusal;
  buttons.hidden = !sale.refusal && !outbox.isTooOld(sale);
}

export function render() {
  // A sale on its first way to the box has the cart's own notice.
  const sales = outbox.list().filter((sale) => !outbox.isFirst(sale));
  byId('pending').hidden = sales.length === 0;
  setText(byId('pending-title'), t('pending.title',
    { number: sales.length, count: formatNumber(sales.length) }));
  reconcile(byId('pending-list'), sales, (sale) => sale.key, rowElement, updateRow);
}

function onSettled({ detail }) {
  const time = timeOf(detail);
  if (detail.kind === 'sold') toast(t('pending.settled', { time, id: detail.order.id }));
  else toast(t('pending.was_refused', { time }), 'bad');
}

export function start() {
  outbox.events.addEventListener('change', render);
  outbox.events.addEventListener('settled', onSettled);
  catalogue.events.addEventListener('change', render);
  status.events.addEventListener('change', render); // a sale may have grown too old
  render();
}
