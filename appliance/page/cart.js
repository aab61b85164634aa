// What is being rung up in this tab. It outlives a reload.
import * as catalogue from './catalogue.js';
import { own, parse } from './store.js';

const NAME = 'tillbox.cart';
export const QUANTITY_MAX = 1000000;
export const LINES_MAX = 1000;

export const events = new EventTarget();
let lines = parse(own.get(NAME), []).filter((line) => line.product_id > 0 && line.quantity > 0);

export const list = () => lines;
export const isEmpty = () => lines.length === 0;

function save() {
  own.set(NAME, JSON.stringify(lines));
  events.dispatchEvent(new Event('change'));
}

const clamp = (quantity) => Math.min(Math.max(Math.trunc(quantity), 1), QUANTITY_MAX);

/** One more of a product; the line it is in, or null if the cart is full. */
export function add(product) {
  const line = lines.find((entry) => entry.product_id === product.product_id);
  if (line) line.quantity = clamp(line.quantity + 1);
  else if (lines.length >= LINES_MAX) return null;
  else lines.push({ product_id: product.product_id, quantity: 1 });
  save();
  return lines.find((entry) => entry.product_id === product.product_id);
}

export function setQuantity(id, quantity) {
  const line = lines.find((entry) => entry.product_id === id);
  if (line) line.quantity = clamp(quantity);
  save();
}

export function remove(id) {
  lines = lines.filter((line) => line.product_id !== id);
  save();
}

export function clear() {
  lines = [];
  save();
}

/** Puts lines back that were taken out, beside what has come since. */
export function restore(back) {
  for (const { product_id: id, quantity } of back) {
    const line = lines.find((entry) => entry.product_id === id);
    if (line) line.quantity = clamp(line.quantity + quantity);
    else lines.push({ product_id: id, quantity });
  }
  save();
}

export const priceOf = (line) => catalogue.find(line.product_id)?.price ?? 0;
export const total = () => lines.reduce((sum, line) => sum + priceOf(line) * line.quantity, 0);
export const count = () => lines.reduce((sum, line) => sum + line.quantity, 0);
