import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Box, waitUntil } from './support/box.mjs';
import { heldSales, scan, sell, shopTest, touch } from './support/shop.mjs';

const TOKEN = 'correct-horse-battery-staple';
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tillbox-token-'));
const tokenFile = path.join(folder, 'token');
fs.writeFileSync(tokenFile, `${TOKEN}\n`, { mode: 0o600 });
after(() => fs.rmSync(folder, { recursive: true }));
const WITH_TOKEN = { settings: ['--api-token-file', tokenFile], open: false, goods: () => null };

const headers = { Authorization: `Bearer ${TOKEN}` };
const addTea = (box) => box.call('POST', '/products', { product_name: 'Tea', stock: 9, price: 100 },
  headers);

shopTest('a box with a token asks for it, keeps it for the tab, and forgets it when told to',
  async ({ box, context, url }) => {
    await addTea(box);
    const page = await context.newPage();
    await page.goto(`${url}/`);
    await page.locator('dialog #login').waitFor();
    await page.keyboard.press('Escape');
    assert.ok(await page.locator('dialog #login').isVisible(), 'it can be dismissed');
    await page.getByLabel('Token').fill('something else entirely');
    await page.keyboard.press('Enter');
    await page.getByText('That isn’t the token.').waitFor();
    await page.getByLabel('Token').fill(TOKEN);
    await page.keyboard.press('Enter');
    await page.waitForSelector('html[data-ready]');
    await sell(page, 'Tea');
    await page.locator('#cart-outcome .receipt').waitFor();
    assert.equal(await page.evaluate(() => localStorage['tillbox.token']), undefined);
    const other = await context.newPage();
    await other.goto(`${url}/`);
    await other.locator('dialog #login').waitFor();
    await page.click('#options');
    await page.getByRole('button', { name: 'Forget the token' }).click();
    await page.locator('dialog #login').waitFor();
  }, WITH_TOKEN);

shopTest('a token may be remembered on the device', async ({ context, url }) => {
  const page = await context.newPage();
  await page.goto(`${url}/`);
  await page.getByLabel('Token').fill(TOKEN);
  await page.getByLabel('Remember it').check();
  await page.keyboard.press('Enter');
  await page.waitForSelector('html[data-ready]');
  const other = await context.newPage();
  await other.goto(`${url}/`);
  await other.waitForSelector('html[data-ready]');
}, WITH_TOKEN);

shopTest('on a name without TLS all works too: selling, scanning, copying, sending again',
  async ({ box, page }) => {
    assert.equal(await page.evaluate(() => window.isSecureContext), false);
    await scan(page, 'ESP-1');
    await page.locator('#cart-lines li', { hasText: 'Espresso' }).waitFor();
    await box.kill();
    await page.click('#cart-sell');
    await page.locator('#pending').waitFor();
    await box.start();
    await waitUntil(async () => (await heldSales(page)).length === 0, 'an answer', 15000);
    assert.equal((await box.orders()).length, 1);
  }, { host: 'box.test', settings: ['--allowed-hosts', 'box.test'] });

shopTest('the shop’s currency and locale are the page’s', async ({ page }) => {
  assert.equal(await page.locator('#tab-till').textContent(), 'Kasse');
  await touch(page, 'House blend');
  assert.match(await page.locator('#cart-total').textContent(), /^CHF\s24[.,]90$/);
}, { settings: ['--currency', 'CHF', '--locale', 'de-CH'] });

shopTest('a currency without cents has none', async ({ page }) => {
  await touch(page, 'House blend');
  assert.match(await page.locator('#cart-total').textContent(), /^(JP)?¥2,490$/);
}, { settings: ['--currency', 'JPY', '--locale', 'en-US'] });

shopTest('a page that is older than the box says so', async ({ page, url }) => {
  assert.equal(await page.locator('#new-page').isVisible(), false);
  await page.route('**/settings', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response,
      json: { ...(await response.json()), page_build: '0123456789abcdef' } });
  });
  await page.goto(`${url}/`);
  await page.locator('#new-page', { hasText: 'The box has a newer page' }).waitFor();
  await page.unroute('**/settings');
  await page.click('#reload');
  await page.waitForSelector('html[data-ready]');
  assert.equal(await page.locator('#new-page').isVisible(), false);
});

test('the files of the page come compressed, unmixed, and with a strict policy', async () => {
  const box = await new Box().start();
  try {
    const page = await fetch(`${box.url}/`, { headers: { 'Accept-Encoding': 'identity' } });
    const html = await page.text();
    const policy = page.headers.get('content-security-policy');
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
    assert.doesNotMatch(policy, /unsafe|\*|data:|http/);
    assert.doesNotMatch(html, /<script(?![^>]* src=)|<style| style=| on\w+=/);
    assert.equal(page.headers.get('cache-control'), 'no-cache');
    const again = await fetch(`${box.url}/`,
      { headers: { 'If-None-Match': page.headers.get('etag') } });
    assert.equal(again.status, 304);
    const builds = new Set();
    for (const [, where, build] of html.matchAll(/"(\/page\/(\w+)\/[\w.]+)"/g)) {
      const file = await fetch(box.url + where);
      assert.equal(file.status, 200, where);
      assert.match(file.headers.get('cache-control'), /immutable/);
      assert.equal(file.headers.get('content-encoding'), 'gzip');
      builds.add(build);
    }
    assert.equal(builds.size, 1);
    assert.equal((await fetch(`${box.url}/page/0000000000000000/app.js`)).status, 404);
  } finally {
    await box.remove();
  }
});

test('plain and compressed files are the same', async () => {
  const box = await new Box().start();
  try {
    const html = await (await fetch(`${box.url}/`)).text();
    const http = await import('node:http');
    const raw = (where, encoding) => new Promise((resolve) => {
      http.get(box.url + where, { headers: { 'Accept-Encoding': encoding } }, async (answer) => {
        const parts = [];
        for await (const part of answer) parts.push(part);
        resolve([answer.headers['content-encoding'], Buffer.concat(parts)]);
      });
    });
    for (const [, where] of [...html.matchAll(/"(\/page\/[\w./]+)"/g), [null, '/']]) {
      const [none, plain] = await raw(where, 'gzip;q=0');
      const [gzip, packed] = await raw(where, 'br, gzip');
      assert.deepEqual([none, gzip], [undefined, 'gzip'], where);
      assert.ok(gunzipSync(packed).equals(plain), where);
    }
  } finally {
    await box.remove();
  }
});
