import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { Bridge, waitUntil } from './support/box.mjs';
import { openOffice, tellOffice } from './support/office.mjs';
import { sell, shopTest } from './support/shop.mjs';

const banner = (page, text) => page.locator('#banner', { hasText: text }).waitFor();
const noBanner = (page) => page.locator('#banner').waitFor({ state: 'hidden' });
const pill = (page, text) => page.locator('#pill', { hasText: text }).waitFor();
const view = (page, name) => page.click(`#tab-${name}`);

/** A test with a head office and a bridge of its own. */
function officeTest(name, body) {
  shopTest(name, async (shop) => {
    const office = await openOffice();
    const bridge = await new Bridge(shop.box, office.settings).start();
    try {
      await pill(shop.page, 'Online');
      await body({ ...shop, bridge, office });
    } finally {
      await bridge.stop();
    }
  });
}

officeTest('head office away: a banner on every view, and it goes when head office is back',
  async ({ page }) => {
    await tellOffice('stop');
    await sell(page, 'Espresso');
    await page.locator('#cart-outcome .receipt').waitFor();
    await banner(page, /Head office can’t be reached. Sales go on: 1 event waits/);
    for (const name of ['receipts', 'stock', 'box', 'till']) {
      await view(page, name);
      assert.ok(await page.locator('#banner').isVisible(), name);
    }
    await view(page, 'box');
    await page.locator('.sink', { hasText: 'Database' }).getByText('open', { exact: true })
      .waitFor();
    await page.locator('#box-line', { hasText: 'Can’t be reached' }).waitFor();
    await tellOffice('start');
    await noBanner(page);
    await pill(page, 'Online');
    await page.locator('#box-line', { hasText: 'Everything arrives' }).waitFor();
    assert.equal(await page.locator('#box-line .huge').textContent(), '0');
  });

officeTest('the bridge ends: a banner, the command that starts it, and all is well again',
  async ({ box, bridge, page }) => {
    await bridge.stop();
    await banner(page, /line to head office isn’t running. Sales go on/);
    await sell(page, 'Espresso');
    await page.locator('#cart-outcome .receipt').waitFor();
    await view(page, 'box');
    const command = page.locator('#box-todo code', { hasText: ' run --data-dir ' });
    assert.match(await command.textContent(), new RegExp(`/bridge run --data-dir ${box.dataDir}$`));
    await bridge.start();
    await noBanner(page);
    await page.locator('#box-todo', { hasText: 'Nothing needs an operator' }).waitFor();
  });

shopTest('the box itself away is another banner than head office away', async ({ box, page }) => {
  await pill(page, 'No head office');
  await box.kill();
  await banner(page, /The box can’t be reached/);
  await pill(page, 'No box');
  await box.start();
  await noBanner(page);
  await pill(page, 'No head office');
});

officeTest('a refused event is listed with its reason, and the commands shown set it right',
  async ({ box, context, page, office }) => {
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await tellOffice('refuse');
    await sell(page, 'Espresso');
    // Another event gets through: it is this one, and not the broker.
    await box.call('POST', '/products/1/stock', { delta: 1, reason: 'found' });
    await banner(page, /The box needs an operator/);
    await view(page, 'box');
    const entry = page.locator('.parked li');
    await entry.filter({ hasText: 'order.created' }).filter({ hasText: 'order 1' }).waitFor();
    assert.match(await entry.locator('.reason').textContent(), /\w/);
    await entry.locator('summary', { hasText: 'Send again' }).click();
    await entry.getByRole('button', { name: /^Copy: .* replay / }).click();
    await page.locator('.toast', { hasText: 'Copied' }).waitFor();
    const command = await page.evaluate(() => navigator.clipboard.readText());
    await tellOffice('take');
    execFileSync('/bin/sh', ['-c', command], { env: { ...process.env, ...office.settings },
      stdio: 'ignore' });
    await noBanner(page);
    await page.locator('#box-parked-card').waitFor({ state: 'hidden' });
    assert.equal((await box.call('GET', '/status')).data.bridge.sinks
      .reduce((sum, sink) => sum + sink.parked, 0), 0);
  });

shopTest('the chart has the sales of before and after a restart', async ({ box, page }) => {
  for (let count = 0; count < 5; count++)
    await box.call('POST', '/orders', { user_id: 1, product_id: 1, quantity: 1 });
  await box.call('POST', '/orders/5/cancel');
  await box.stop();
  await box.start();
  await box.call('POST', '/orders', { user_id: 1, product_id: 1, quantity: 1 });
  const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
  await waitUntil(async () => sum((await box.call('GET', '/history')).data.sales) === 6,
    'the sale after the restart');
  const { data } = await box.call('GET', '/history');
  assert.deepEqual([sum(data.sales), sum(data.cancellations)], [6, 1]);
  await view(page, 'box');
  await page.getByRole('img', { name: /6 sales and 1 cancellations/ }).waitFor();
  const hash = (await box.call('GET', '/status')).data.journal.chain_head.hash;
  await page.locator('#box-proof', { hasText: hash }).waitFor();
});
