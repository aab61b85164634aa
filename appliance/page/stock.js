// The shop's products: adding, changing, counting.
import { call, problemKind } from './api.js';
import * as catalogue from './catalogue.js';
import { field, formDialog } from './dialogs.js';
import { byId, el, reconcile, setClass, setText, toast } from './dom.js';
import { formatMoney, formatNumber, moneyText, parseMoney, parseWhole } from './format.js';
import { t } from './strings.js';
import { isLow } from './till.js';

const PAGE = 50;
const STOCK_MAX = 1000000000;
const PRICE_MAX = 1000000000000;
const NAME_MAX = 200;
const SKU_MAX = 64;
let limit = PAGE;

function rowElement(product) {
  const id = product.product_id;
  const button = (name, act) => el('button', { type: 'button',
    onclick: () => act(catalogue.find(id)) }, t(`stock.${name}`));
  return el('tr', {}, el('th', { scope: 'row' }), el('td', { class: 'muted' }),
    el('td', { class: 'number' }), el('td', { class: 'number' },
      el('span', { class: 'big' }), ' ', el('span', {})),
    el('td', {}, el('div', { class: 'buttons' }, button('adjust', adjust), button('edit', edit))));
}

function updateRow(element, product) {
  const [name, sku, price, stock, actions] = element.children;
  const [adjustButton, editButton] = actions.firstChild.children;
  setText(name, product.product_name);
  setText(sku, product.sku ?? '');
  setText(price, formatMoney(product.price));
  setText(stock.firstChild, formatNumber(product.stock));
  setText(stock.lastChild, markText(product));
  setClass(stock.lastChild, isLow(product) ? `badge ${product.stock === 0 ? 'bad' : 'warn'}` : '');
  adjustButton.setAttribute('aria-label', t('stock.adjust_of', { name: product.product_name }));
  editButton.setAttribute('aria-label', t('stock.edit_of', { name: product.product_name }));
}

function markText(product) {
  if (product.stock === 0) return t('stock.out');
  return isLow(product) ? t('stock.low') : '';
}

export function render() {
  if (byId('stock').hidden) return;
  const isWanted = byId('stock-low').checked ? isLow : () => true;
  const { found, count } = catalogue.search(byId('stock-search').value, limit, isWanted);
  reconcile(byId('stock-rows'), found, (product) => product.product_id, rowElement, updateRow);
  byId('stock-table').hidden = count === 0;
  byId('stock-none').hidden = count > 0;
  byId('stock-more').hidden = count <= limit;
}

/** What the box says is wrong, as a sentence. */
function problemText(problem) {
  if (problemKind(problem) === 'insufficient-stock')
    return t('stock.not_that_many', { available: formatNumber(problem.available) });
  const details = problem.errors?.map((error) => `${error.field}: ${error.detail}`).join('; ');
  return t('failed', { detail: details ?? problem.detail });
}

/** Sends a change; null when it is done. */
async function change(method, path, body, key, done) {
  const { status, data } = await call(method, path, { body, key });
  if (status >= 300) return problemText(data);
  catalogue.put(data);
  toast(done(data));
  return null;
}

function productFields(product) {
  const name = field(t('stock.name'), { maxlength: NAME_MAX });
  const sku = field(t('stock.sku'), { maxlength: SKU_MAX });
  const price = field(t('stock.price'), { inputmode: 'decimal' });
  name.input.value = product?.product_name ?? '';
  sku.input.value = product?.sku ?? '';
  price.input.value = moneyText(product?.price ?? 0);
  return { name, sku, price };
}

/** The fields' values; null, with the wrong ones marked, if any is. */
function readProduct({ name, sku, price }) {
  const minor = parseMoney(price.input.value);
  const isGood = minor !== null && minor <= PRICE_MAX;
  price.fail(isGood ? '' : t('stock.bad_price', { example: moneyText(1250) }));
  const title = name.input.value.trim();
  name.fail(title ? '' : t('stock.needed'));
  return title && isGood
    ? { product_name: title, price: minor, sku: sku.input.value.trim() || null } : null;
}

export function add() {
  const fields = productFields(null);
  const count = field(t('stock.count'), { inputmode: 'numeric' });
  count.input.value = '0';
  formDialog(t('stock.add'), [fields.name, fields.sku, fields.price, count].map((f) => f.element),
    t('stock.add'), async (key) => {
      const stock = parseWhole(count.input.value, 0, STOCK_MAX);
      count.fail(stock === null ? t('stock.bad_count') : '');
      const body = readProduct(fields);
      if (!body || stock === null) return '';
      return change('POST', '/products', { ...body, stock }, key,
        (product) => t('stock.added', { name: product.product_name }));
    });
}

function edit(product) {
  const fields = productFields(product);
  formDialog(t('stock.edit_of', { name: product.product_name }),
    [fields.name, fields.sku, fields.price].map((f) => f.element), t('save'), async () => {
      const body = readProduct(fields);
      if (!body) return '';
      return change('PATCH', `/products/${product.product_id}`, body, null,
        (changed) => t('stock.saved', { name: changed.product_name }));
    });
}

function deltaField(product) {
  const after = el('p', { class: 'muted', 'aria-live': 'polite' });
  const delta = field(t('stock.delta'), { inputmode: 'text' }, after);
  delta.input.addEventListener('input', () => {
    const number = parseWhole(delta.input.value, -STOCK_MAX, STOCK_MAX);
    const stock = catalogue.find(product.product_id).stock;
    setText(after, number === null ? ''
      : t('stock.will_be', { count: formatNumber(stock + number) }));
  });
  return delta;
}

function reasonField() {
  const reasons = t('stock.reasons').split('|');
  const list = el('div', { class: 'buttons' }, ...reasons.map((text) =>
    el('button', { type: 'button', onclick: () => {
      reason.input.value = text;
      reason.input.dispatchEvent(new Event('input', { bubbles: true }));
    } }, text)));
  const reason = field(t('stock.reason'), { maxlength: NAME_MAX }, list);
  return reason;
}

function adjust(product) {
  const delta = deltaField(product);
  const reason = reasonField();
  formDialog(t('stock.adjust_of', { name: product.product_name }),
    [delta.element, reason.element], t('save'), async (key) => {
      const number = parseWhole(delta.input.value, -STOCK_MAX, STOCK_MAX);
      const text = reason.input.value.trim();
      reason.fail(text ? '' : t('stock.needed'));
      delta.fail(number ? '' : t('stock.bad_delta'));
      if (!number || !text) return '';
      return change('POST', `/products/${product.product_id}/stock`,
        { delta: number, reason: text }, key, (changed) => t('stock.adjusted',
          { name: changed.product_name, count: formatNumber(changed.stock) }));
    });
}

export function start() {
  const showFirst = () => {
    limit = PAGE;
    render();
  };
  byId('stock-search').addEventListener('input', showFirst);
  byId('stock-low').addEventListener('change', showFirst);
  byId('stock-add').addEventListener('click', add);
  byId('stock-more').addEventListener('click', () => {
    limit += PAGE;
    render();
  });
  catalogue.events.addEventListener('change', render);
}
