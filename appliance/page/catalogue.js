// The shop's products, all of them in memory: search and scanning wait for nobody.
import { Unreachable, get } from './api.js';
import { compareNames, fold } from './format.js';

const PAGE = 500;

export const events = new EventTarget();
const products = new Map();
const bySku = new Map();
let sorted = null; // by name; null: to be sorted anew
let lastId = 0;
let cursor = 0; // of the round that brings all products up to date, a page at a time
let roundFrom = -1; // the journal's sequence when that round began
let synced = -1; // the sequence up to which every product is known
let complete = false;

export const find = (id) => products.get(id);
export const findSku = (sku) => bySku.get(sku) ?? bySku.get(sku.trim());
export const size = () => products.size;
export const isComplete = () => complete;

/** The product's name, also of one that this page has not seen yet. */
export const nameOf = (id) => products.get(id)?.product_name ?? `#${id}`;

function changed() {
  events.dispatchEvent(new Event('change'));
}

function index(product) {
  const known = products.get(product.product_id);
  if (known && bySku.get(known.sku) === known) bySku.delete(known.sku);
  if (product.sku) bySku.set(product.sku, product);
  if (!known || known.product_name !== product.product_name) sorted = null;
  product.folded = fold(`${product.product_name} ${product.sku ?? ''}`);
  products.set(product.product_id, product);
  lastId = Math.max(lastId, product.product_id);
}

/** Takes in a product that the box has answered with. */
export function put(product) {
  index(product);
  changed();
}

/** Stock that a sale of this page took, before the box is asked again. */
export function take(lines, sign = -1) {
  for (const { product_id: id, quantity } of lines) {
    const product = products.get(id);
    if (product) product.stock = Math.max(0, product.stock + sign * quantity);
  }
  changed();
}

async function fetchAfter(id) {
  const page = await get(`/products?limit=${PAGE}&after=${id}`);
  for (const product of page.products) index(product);
  return page.next_after;
}

/** Loads all products; the page can be used while they come. */
export async function load() {
  for (let after = 0; after !== null; changed()) after = await fetchAfter(after);
  complete = true;
  changed();
}

/** Products that were added since. */
export async function loadNew() {
  for (let after = lastId; after !== null; ) after = await fetchAfter(after);
  changed();
}

async function syncPage(sequence) {
  if (cursor === 0) roundFrom = sequence;
  const next = await fetchAfter(cursor);
  cursor = next ?? 0;
  if (next === null) synced = roundFrom;
  else await loadNew();
  changed();
}

let isSyncing = false;

/** Called with the journal's head at each poll: nothing is asked for while nothing has changed. */
export async function sync(sequence) {
  if (!complete || isSyncing || (sequence === synced && cursor === 0)) return;
  isSyncing = true;
  try {
    await syncPage(sequence);
  } catch (error) {
    if (!(error instanceof Unreachable) && !error.status) throw error;
  } finally {
    isSyncing = false;
  }
}

function inOrder() {
  if (!sorted) {
    const compare = compareNames();
    sorted = [...products.values()].map((product) => product.product_id)
      .sort((a, b) => compare(products.get(a).product_name, products.get(b).product_name));
  }
  return sorted;
}

/** Up to `limit` products with every word of `text` in name or SKU, and how many there are. */
export function search(text, limit, isWanted = () => true) {
  const words = fold(text).split(/\s+/).filter(Boolean);
  const found = [];
  let count = 0;
  for (const id of inOrder()) {
    const product = products.get(id);
    if (!isWanted(product) || !words.every((word) => product.folded.includes(word))) continue;
    if (++count <= limit) found.push(product);
  }
  return { found, count };
}
