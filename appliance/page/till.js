// The left side of the till: products to touch, to search for, to scan.
import * as basket from './basket.js';
import * as catalogue from './catalogue.js';
import { byId, el, reconcile, setClass, setText, toast } from './dom.js';
import { formatMoney, formatNumber } from './format.js';
import * as receipt from './receipt.js';
import { listen } from './scanner.js';
import { t } from './strings.js';

const PAGE = 60;
let limit = PAGE;
let lowStock = 5;
const parts = {};

export function setLowStock(threshold) {
  lowStock = threshold;
}

export const isLow = (product) => product.stock <= lowStock;

function stockText(product) {
  if (product.stock === 0) return t('till.sold_out');
  return t('till.in_stock', { count: formatNumber(product.stock) });
}

function cardElement(product) {
  const id = product.product_id;
  const press = () => basket.add(catalogue.find(id));
  return el('li', {}, el('button', { type: 'button', class: 'card', tabindex: '-1',
    onclick: press },
  el('span', { class: 'card-name' }), el('span', { class: 'card-price' }),
  el('span', { class: 'card-stock' })));
}

function stockClass(product) {
  if (product.stock === 0) return 'card-stock out';
  return isLow(product) ? 'card-stock low' : 'card-stock';
}

function updateCard(element, product) {
  const [name, price, stock] = element.firstChild.children;
  setText(name, product.product_name);
  setText(price, formatMoney(product.price));
  setText(stock, stockText(product));
  setClass(stock, stockClass(product));
}

const cards = () => [...parts.grid.querySelectorAll('.card')];

/** One card of the grid is in the order of Tab; the arrow keys move among them. */
function rove(target) {
  for (const card of cards()) card.tabIndex = card === target ? 0 : -1;
}

function emptyText(text) {
  if (!catalogue.isComplete() && catalogue.size() === 0) return t('loading');
  return text ? t('till.no_match', { text }) : t('till.none');
}

export function render() {
  const text = parts.search.value.trim();
  const { found, count } = catalogue.search(text, limit);
  const held = document.activeElement;
  reconcile(parts.grid, found, (product) => product.product_id, cardElement, updateCard);
  parts.grid.classList.toggle('filtered', text !== '');
  parts.more.hidden = count <= limit;
  parts.none.hidden = count > 0;
  setText(parts.none, emptyText(text));
  const all = cards();
  if (!all.some((card) => card.tabIndex === 0) || !all.includes(held)) rove(all[0]);
}

function showFirst() {
  limit = PAGE;
  render();
  parts.grid.parentElement.scrollTop = 0;
}

function clearSearch() {
  parts.search.value = '';
  showFirst();
}

/** Enter in the search: the product with exactly this code, or the first match. */
function addMatch() {
  const text = parts.search.value.trim();
  if (!text) return;
  const product = catalogue.findSku(text) ?? catalogue.search(text, 1).found[0];
  if (!product) return;
  clearSearch();
  basket.add(product);
}

export async function scan(code) {
  if (!catalogue.findSku(code)) await catalogue.loadNew().catch(() => null);
  const product = catalogue.findSku(code);
  render();
  if (product) basket.add(product);
  else toast(t('till.unknown_code', { code }), 'bad');
}

/** The card above or below: the one in the next row whose middle is nearest. */
function inRow(card, all, direction) {
  const from = card.getBoundingClientRect();
  const below = all.map((other) => ({ other, box: other.getBoundingClientRect() }))
    .filter(({ box }) => (direction > 0 ? box.top >= from.bottom : box.bottom <= from.top));
  below.sort((a, b) => Math.abs(a.box.top - from.top) - Math.abs(b.box.top - from.top)
    || Math.abs(a.box.left - from.left) - Math.abs(b.box.left - from.left));
  return below[0]?.other;
}

function onGridKey(event) {
  const all = cards();
  const at = all.indexOf(document.activeElement);
  if (at < 0) return;
  const target = {
    ArrowRight: () => all[at + 1],
    ArrowLeft: () => all[at - 1],
    ArrowDown: () => inRow(all[at], all, 1),
    ArrowUp: () => inRow(all[at], all, -1) ?? parts.search,
    Home: () => all[0],
    End: () => all[all.length - 1],
  }[event.key]?.();
  if (!target) return;
  event.preventDefault();
  if (target !== parts.search) rove(target);
  target.focus();
}

function onSearchKey(event) {
  if (event.key === 'Enter') addMatch();
  else if (event.key === 'Escape') clearSearch();
  else if (event.key === 'ArrowDown') cards()[0]?.focus();
  else return;
  event.preventDefault();
}

function isFree() {
  return !byId('till').hidden && !document.querySelector('dialog[open]');
}

const SHORTCUTS = {
  F2: () => parts.search.select(),
  F8: () => basket.sell(),
  F9: () => receipt.last() && receipt.printReceipt(receipt.last()),
};

export function start() {
  Object.assign(parts, { grid: byId('grid'), search: byId('search'), more: byId('grid-more'),
    none: byId('grid-none') });
  parts.search.addEventListener('input', showFirst);
  parts.search.addEventListener('keydown', onSearchKey);
  parts.grid.addEventListener('keydown', onGridKey);
  parts.grid.addEventListener('focusin', (event) => rove(event.target.closest('.card')));
  parts.more.addEventListener('click', () => {
    limit += PAGE;
    render();
  });
  document.addEventListener('keydown', (event) => {
    if (!SHORTCUTS[event.key] || !isFree()) return;
    event.preventDefault();
    SHORTCUTS[event.key]();
  });
  listen(isFree, scan);
  catalogue.events.addEventListener('change', render);
  render();
}
