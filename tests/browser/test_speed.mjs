import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { shopTest } from './support/shop.mjs';

const LOAD = fileURLToPath(new URL('./support/load.mjs', import.meta.url));
const ORDERS_PER_S = 1000;
const SALES = 60;
const P95_MOST_MS = 50;
const PACE_LEAST = 0.95 * ORDERS_PER_S;
const ROUNDS = 3;

/** Milliseconds from the press of the button until the receipt is there and a frame was drawn. */
function timeSale(page) {
  return page.evaluate(async () => {
    [...document.querySelectorAll('.card')].find((card) => card.textContent.includes('Gift card'))
      .click();
    await new Promise((resolve) => setTimeout(resolve, 30)); // as after a touch of the product
    const start = performance.now();
    const shown = new Promise((resolve) => {
      const watch = new MutationObserver(() => {
        if (!document.querySelector('#cart-outcome .receipt')) return;
        watch.disconnect();
        requestAnimationFrame(() => resolve(performance.now() - start));
      });
      watch.observe(document.getElementById('cart-outcome'), { childList: true, subtree: true });
    });
    document.getElementById('cart-sell').click();
    return shown;
  });
}

/** {p95, perSecond} of so many sales beside the load. */
async function measure(page, port, busy) {
  const load = spawn(process.execPath, [LOAD, port, busy, ORDERS_PER_S],
    { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(load.stdout, 'data'); // it is at its pace
  const times = [];
  for (let count = 0; count < SALES; count++) times.push(await timeSale(page));
  load.stdin.end();
  const [said] = await once(load.stdout, 'data');
  times.sort((a, b) => a - b);
  const p95 = times[Math.ceil(SALES * 0.95) - 1];
  console.log(`# click to receipt: median ${times[SALES / 2].toFixed(1)} ms, p95 `
    + `${p95.toFixed(1)} ms, others sold ${Number(said).toFixed(0)}/s`);
  return { p95, perSecond: Number(said) };
}

shopTest('from click to receipt in 50 ms while others sell 1,000 a second',
  async ({ box, page }) => {
    const busy = await box.add('what others sell', 100, 1000000000);
    const rounds = [];
    const isGood = ({ p95, perSecond }) => p95 <= P95_MOST_MS && perSecond >= PACE_LEAST;
    // The machine may be busy with something else for a while.
    while (rounds.length < ROUNDS && !rounds.some(isGood))
      rounds.push(await measure(page, box.port, busy));
    assert.ok(rounds.some(isGood), JSON.stringify(rounds));
  });
