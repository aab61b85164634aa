// A test's surroundings: a box with goods, a browser profile, a page; and after it the proof that the
// page did nothing that it must never do.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Box, fill } from './box.mjs';
import { openBrowser, openPage, openProfile } from './browser.mjs';

let browser = null;

export async function sharedBrowser() {
  browser ??= await openBrowser();
  return browser;
}

after(async () => browser?.close());

/**
 * A test with a shop of its own: {box, url, context, page}. `settings` are the appliance's, `profile`
 * the browser's; `host` is the name by which the page is opened.
 */
export function shopTest(name, body, { settings = [], profile = {}, host, goods = fill,
  open = true } = {}) {
  test(name, async () => {
    const box = await new Box(...settings).start();
    const url = host ? `http://${host}:${box.port}` : box.url;
    const { context, faults } = await openProfile(await sharedBrowser(),
      { origin: url, ...profile });
    try {
      await goods(box);
      const page = open ? await openPage(context, url) : null;
      await body({ box, url, context, page });
      assert.deepEqual(faults, []);
      assert.equal(await box.stop(), 0, 'the box ended badly');
    } finally {
      await context.close();
      await box.remove();
    }
  });
}

export const card = (page, name) => page.locator('.card', { hasText: name }).first();
export const touch = (page, name) => card(page, name).click();

export async function sell(page, ...names) {
  for (const name of names) await touch(page, name);
  await page.click('#cart-sell');
}

/** The number on the receipt that is shown. */
export async function receiptNumber(page) {
  return Number(await page.locator('#cart-outcome .receipt-number strong').textContent());
}

/** Sales that the browser holds without an answer. */
export function heldSales(page) {
  return page.evaluate(() => Object.keys(localStorage)
    .filter((name) => name.startsWith('tillbox.sale.'))
    .map((name) => JSON.parse(localStorage[name])));
}

const SCANNER_MS = 5; // from one character to the next

/** As a scanner does, whatever the machine is busy with: each key has the time it was pressed. */
export async function scan(page, code, start = Date.now() / 1000) {
  const session = await page.context().newCDPSession(page);
  const keys = [...code].map((key) => ({ key, text: key }));
  keys.push({ key: 'Enter', code: 'Enter', text: '\r', windowsVirtualKeyCode: 13 });
  for (const [index, key] of keys.entries()) {
    const timestamp = start + (index * SCANNER_MS) / 1000;
    await session.send('Input.dispatchKeyEvent', { type: 'keyDown', timestamp, ...key });
    await session.send('Input.dispatchKeyEvent', { type: 'keyUp', timestamp, key: key.key });
  }
  await session.detach();
  return start + (keys.length * SCANNER_MS) / 1000;
}
