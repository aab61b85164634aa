import assert from 'node:assert/strict';
import { heldSales, receiptNumber, sell, shopTest, touch } from './support/shop.mjs';
import { openPage } from './support/browser.mjs';
import { waitUntil } from './support/box.mjs';

const pending = (page) => page.locator('#pending');
const settled = (page) => waitUntil(async () => (await heldSales(page)).length === 0,
  'an answer for every sale', 15000);

shopTest('the box dies after the sale and before the answer: it is sold once',
  async ({ box, context, page }) => {
    const sent = [];
    await context.route('**/orders', async (route) => {
      sent.push([route.request().headers()['idempotency-key'], route.request().postData()]);
      if (sent.length > 1) return route.continue();
      await route.fetch();
      await box.kill();
      return route.abort();
    });
    await sell(page, 'Espresso', 'Croissant');
    await page.locator('#cart-outcome .notice.warn', { hasText: 'No answer yet' }).waitFor();
    await pending(page).filter({ hasText: '1 sale not yet confirmed' }).waitFor();
    await page.locator('#banner.bad', { hasText: 'can’t be reached' }).waitFor();
    await box.start();
    await settled(page);
    await page.locator('#cart-outcome .receipt').waitFor();
    assert.equal(await receiptNumber(page), 1);
    assert.ok(sent.length > 1 && new Set(sent.map(String)).size === 1, 'another key or body');
    assert.equal((await box.orders()).length, 1);
    assert.equal(await box.stock(1), 119);
    await page.locator('#banner').waitFor({ state: 'hidden' });
  });

shopTest('what is sold while the box is dead is sold when it lives again, once',
  async ({ box, page }) => {
    await box.kill();
    await sell(page, 'Espresso');
    await pending(page).waitFor();
    await sell(page, 'Croissant');
    await pending(page).filter({ hasText: '2 sales not yet confirmed' }).waitFor();
    await box.start();
    await settled(page);
    const orders = await box.orders();
    assert.deepEqual(orders.map((order) => order.items[0].product_id), [1, 4]);
  });

shopTest('a sale without an answer is still there after the page was loaded again',
  async ({ box, page, url }) => {
    await box.kill();
    await sell(page, 'Espresso');
    await pending(page).waitFor();
    const [before] = await heldSales(page);
    await box.start();
    await page.route('**/orders', (route) => route.abort());
    await page.goto(`${url}/`);
    await pending(page).filter({ hasText: '1 sale not yet confirmed' }).waitFor();
    const [after] = await heldSales(page);
    assert.deepEqual([after.key, after.body], [before.key, before.body]);
    await page.unroute('**/orders');
    await settled(page);
    assert.equal((await box.orders()).length, 1);
  });

shopTest('a page that is loaded again in the middle of a sale sells once',
  async ({ box, page, context, url }) => {
    let held = null;
    await context.route('**/orders', async (route) => {
      if (held) return route.continue();
      held = route.fetch(); // the box gets it, the page never hears of it
      return held;
    });
    await sell(page, 'Espresso');
    await waitUntil(() => held, 'the sale');
    await page.goto(`${url}/`);
    assert.equal(await page.locator('#cart-lines li').count(), 0, 'the cart would be sold again');
    await settled(page);
    assert.equal((await box.orders()).length, 1);
  });

shopTest('the cart is still there after the page was loaded again', async ({ page, url }) => {
  await touch(page, 'Espresso');
  await touch(page, 'Espresso');
  await page.goto(`${url}/`);
  await page.locator('#cart-lines li', { hasText: 'Espresso' }).waitFor();
  assert.equal(await page.inputValue('#cart-lines .quantity'), '2');
});

shopTest('two tabs at once lose nothing and sell nothing twice',
  async ({ box, context, page, url }) => {
    const other = await openPage(context, url);
    await Promise.all([sell(page, 'Espresso'), sell(other, 'Croissant')]);
    await Promise.all([page, other].map((tab) =>
      tab.locator('#cart-outcome .receipt').waitFor()));
    const numbers = [await receiptNumber(page), await receiptNumber(other)];
    assert.deepEqual(numbers.sort(), [1, 2]);
    await box.kill();
    await Promise.all([sell(page, 'Baguette'), sell(other, 'Gift card')]);
    for (const tab of [page, other])
      await pending(tab).filter({ hasText: '2 sales not yet confirmed' }).waitFor();
    await box.start();
    await settled(page);
    const sold = (await box.orders()).map((order) => order.items[0].product_id).sort();
    assert.deepEqual(sold, [1, 12, 4, 5]);
    for (const tab of [page, other]) {
      await pending(tab).waitFor({ state: 'hidden' });
      await tab.locator('#cart-outcome .receipt').waitFor();
    }
    const own = await other.locator('#cart-outcome .receipt').textContent();
    assert.match(own, /Gift card/, 'each tab shows its own receipt');
  });

shopTest('a closed tab’s sale is sent by the next one', async ({ box, context, page, url }) => {
  await box.kill();
  await sell(page, 'Espresso');
  await pending(page).waitFor();
  await page.close();
  await box.start();
  const next = await openPage(context, url);
  await settled(next);
  assert.equal((await box.orders()).length, 1);
});

shopTest('a late refusal says so and gives the goods back to the cart', async ({ box, page }) => {
  await box.kill();
  await sell(page, 'Cinnamon roll');
  await pending(page).waitFor();
  await box.start();
  await pending(page).filter({ hasText: '1 wanted, 0 in stock' }).waitFor();
  await page.getByRole('button', { name: 'Back into the cart' }).click();
  await page.locator('#cart-lines li', { hasText: 'Cinnamon roll' }).waitFor();
  assert.equal((await box.orders()).length, 0);
});

shopTest('a sale that the box may have forgotten is not sent again by itself',
  async ({ box, page }) => {
    await box.kill();
    await sell(page, 'Espresso');
    await pending(page).waitFor();
    await page.evaluate(() => {
      const name = Object.keys(localStorage).find((text) => text.startsWith('tillbox.sale.'));
      const sale = JSON.parse(localStorage[name]);
      localStorage[name] = JSON.stringify({ ...sale, at: sale.at - 80 * 3600000, triedAt: 0 });
    });
    await box.start();
    await page.locator('#banner').waitFor({ state: 'hidden' });
    await pending(page).filter({ hasText: 'too old to be sent again safely' }).waitFor();
    assert.equal((await box.orders()).length, 0);
    await pending(page).getByRole('button', { name: 'Dismiss' }).click();
    await pending(page).waitFor({ state: 'hidden' });
  });
