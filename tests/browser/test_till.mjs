import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { card, heldSales, receiptNumber, scan, sell, shopTest, touch } from './support/shop.mjs';

shopTest('a sale shows the receipt with its number, takes stock and empties the cart',
  async ({ box, page }) => {
    await sell(page, 'Espresso', 'Croissant', 'Croissant');
    assert.equal(await receiptNumber(page), 1);
    assert.match(await page.locator('#cart-outcome .receipt-total').textContent(), /€6\.30/);
    const [order] = await box.orders();
    assert.deepEqual(order.items.map((line) => [line.product_id, line.quantity]), [[1, 1], [4, 2]]);
    assert.equal(order.total, 630);
    assert.match(await card(page, 'Croissant').textContent(), /22 left/);
    assert.equal(await page.locator('#cart-lines li').count(), 0);
    assert.deepEqual(await heldSales(page), []);
    await sell(page, 'Espresso');
    await page.locator('#cart-outcome .receipt[data-order="2"]').waitFor();
  });

shopTest('a sale of more than there is is refused, says what is short, and can be put right',
  async ({ box, page }) => {
    await touch(page, 'Baguette');
    await page.fill('#cart-lines .quantity', '9');
    await page.click('#cart-sell');
    const notice = page.locator('#cart-outcome .notice.bad');
    assert.match(await notice.textContent(), /Baguette: 9 wanted, 4 in stock/);
    assert.equal(await page.inputValue('#cart-lines .quantity'), '9', 'the cart is still there');
    assert.equal((await box.orders()).length, 0);
    await notice.getByRole('button', { name: 'Sell 4 instead' }).click();
    await page.click('#cart-sell');
    await page.locator('#cart-outcome .receipt').waitFor();
    assert.equal(await box.stock(5), 0);
  });

shopTest('a receipt is cancelled after a question, and its goods are back', async ({ box, page }) => {
  await sell(page, 'Croissant');
  await page.click('#tab-receipts');
  await page.getByRole('button', { name: 'Cancel receipt 1' }).click();
  await page.getByRole('button', { name: 'Back', exact: true }).click();
  assert.equal((await box.orders())[0].status, 'created', 'a question that was answered no');
  await page.getByRole('button', { name: 'Cancel receipt 1' }).click();
  await page.getByRole('button', { name: 'Cancel the receipt' }).click();
  await page.locator('#receipts-rows .badge.bad', { hasText: 'Cancelled' }).waitFor();
  assert.equal((await box.orders())[0].status, 'cancelled');
  assert.equal(await box.stock(4), 24);
  await page.click('#tab-till');
  assert.match(await card(page, 'Croissant').textContent(), /24 left/);
});

shopTest('a cancellation whose answer was lost is asked for again under its key',
  async ({ box, context, page }) => {
    await sell(page, 'Croissant');
    await page.click('#tab-receipts');
    const keys = [];
    await context.route('**/orders/1/cancel', async (route) => {
      keys.push(route.request().headers()['idempotency-key']);
      await route.fetch();
      if (keys.length === 1) await route.abort();
      else await route.continue();
    });
    await page.getByRole('button', { name: 'Cancel receipt 1' }).click();
    await page.getByRole('button', { name: 'Cancel the receipt' }).click();
    await page.locator('.toast', { hasText: 'Receipt 1 is cancelled' }).waitFor();
    assert.equal(new Set(keys).size, 1);
    assert.equal(await box.stock(4), 24);
  });

shopTest('the receipts go back to the first, and any is found by its number',
  async ({ box, page }) => {
    for (let count = 0; count < 30; count++)
      await box.call('POST', '/orders', { user_id: 1, product_id: 1, quantity: 1 });
    await page.click('#tab-receipts');
    await page.locator('#receipts-rows th', { hasText: '30' }).waitFor();
    assert.equal(await page.locator('#receipts-rows tr').count(), 25);
    await page.click('#receipts-older');
    await page.waitForFunction(() => document.querySelectorAll('#receipts-rows tr').length === 5);
    await page.fill('#receipts-number', '17');
    await page.keyboard.press('Enter');
    await page.locator('dialog .receipt[data-order="17"]').waitFor();
    await page.click('dialog header button');
    await page.fill('#receipts-number', '31');
    await page.keyboard.press('Enter');
    await page.locator('.toast', { hasText: 'There is no receipt 31' }).waitFor();
  });

shopTest('a scan adds the product from wherever the focus is', async ({ box, page }) => {
  const end = await scan(page, '4006381333931');
  await page.locator('#cart-lines li', { hasText: 'Croissant' }).waitFor();
  await page.focus('#search');
  await scan(page, 'ESP-1', end);
  await page.locator('#cart-lines li', { hasText: 'Espresso' }).waitFor();
  assert.equal(await page.inputValue('#search'), '');
  await page.focus('#cart-lines .quantity');
  await scan(page, '4006381333931');
  await page.waitForFunction(() => document.querySelector('#cart-lines .quantity').value === '2');
  await page.focus('#cart-sell');
  await scan(page, 'CAP-1');
  await page.locator('#cart-lines li', { hasText: 'Cappuccino' }).waitFor();
  assert.equal((await box.orders()).length, 0, 'the scan’s Enter pressed the button');
  await scan(page, '0000000');
  await page.locator('.toast', { hasText: '0000000' }).waitFor();
  await box.add('Fresh from the oven', 99, 5, 'NEW-1');
  await scan(page, 'NEW-1');
  await page.locator('#cart-lines li', { hasText: 'Fresh from the oven' }).waitFor();
});

shopTest('what a hand types is no scan', async ({ page }) => {
  await page.focus('#search');
  await page.keyboard.type('cafe', { delay: 90 });
  assert.equal(await page.inputValue('#search'), 'cafe');
  await page.waitForFunction(() => document.querySelectorAll('.card').length === 1);
  await page.keyboard.press('Enter');
  await page.locator('#cart-lines li', { hasText: 'Café au lait' }).waitFor();
});

shopTest('a sale needs no mouse', async ({ box, page }) => {
  await page.keyboard.press('F2');
  await page.keyboard.type('juice', { delay: 60 });
  await page.keyboard.press('Enter');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Enter');
  await page.keyboard.press('F8');
  await page.locator('#cart-outcome .receipt').waitFor();
  const [order] = await box.orders();
  assert.deepEqual(order.items.map((line) => line.product_id), [9, 10]);
  await page.keyboard.press('Enter'); // "Next sale" has the focus
  assert.equal(await page.evaluate(() => document.activeElement.id), 'search');
});

shopTest('every control of every view is reached with Tab', async ({ page }) => {
  for (const view of ['till', 'receipts', 'stock', 'box']) {
    await page.click(`#tab-${view}`);
    const wanted = await page.evaluate(() =>
      [...document.querySelectorAll('button, input, select, summary')]
        .filter((control) => control.checkVisibility() && !control.disabled
          && control.tabIndex >= 0).length);
    const seen = await page.evaluate(() => { window.seen = new Set(); return 0; });
    assert.equal(seen, 0);
    for (let step = 0; step < wanted + 8; step++) {
      await page.keyboard.press('Tab');
      await page.evaluate(() => window.seen.add(document.activeElement));
    }
    const reached = await page.evaluate(() => [...window.seen]
      .filter((control) => control.matches('button, input, select, summary')).length);
    assert.equal(reached, wanted, view);
  }
});

const EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>';
shopTest('markup in names, codes and reasons stays text', async ({ box, page }) => {
  await box.add(EVIL, 100, 5, '"><svg onload=hacked=1>');
  await page.locator('.card', { hasText: '<script>' }).waitFor();
  await sell(page, '<script>');
  await page.locator('#cart-outcome .receipt', { hasText: EVIL }).waitFor();
  for (const view of ['receipts', 'stock']) {
    await page.click(`#tab-${view}`);
    await page.locator(`#${view} tr`, { hasText: '<script>' }).waitFor();
  }
  await page.getByRole('button', { name: `Edit ${EVIL}` }).click();
  assert.equal(await page.locator('dialog input').first().inputValue(), EVIL);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator('main img, main script').count(), 0);
}, { settings: ['--shop-name', '<b onclick=alert(1)>Shop</b>'] });

shopTest('a receipt on paper is the receipt alone', async ({ page }) => {
  await sell(page, 'Espresso');
  await receiptNumber(page);
  await page.evaluate(() => { window.print = () => { window.printed = true; }; });
  await page.keyboard.press('F9');
  assert.equal(await page.evaluate(() => window.printed), true);
  await page.emulateMedia({ media: 'print' });
  assert.ok(await page.locator('#print .receipt').isVisible());
  assert.equal(await page.locator('header.top').isVisible(), false);
  assert.equal(await page.locator('main').isVisible(), false);
});

shopTest('ten thousand products are searched as fast as one types', async ({ page }) => {
  await page.waitForFunction(() => document.querySelector('#grid-more').checkVisibility());
  assert.equal(await page.locator('.card').count(), 60);
  const slowest = await page.evaluate(async () => {
    const search = document.getElementById('search');
    let most = 0;
    for (const text of ['1', '12', '123', '1234', 'article 9', 'nothing like it']) {
      search.value = text;
      const start = performance.now();
      search.dispatchEvent(new Event('input'));
      most = Math.max(most, performance.now() - start);
    }
    return most;
  });
  assert.ok(slowest < 100, `${slowest} ms for a key`);
  await scan(page, 'SKU-9876');
  await page.locator('#cart-lines li', { hasText: 'Article 9876' }).waitFor();
}, {
  async goods(box) {
    await box.stop();
    execFileSync('sqlite3', [`${box.dataDir}/journal.db`,
      'WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)'
      + ' INSERT INTO products (product_name, stock, price, sku, updated_at_ms)'
      + " SELECT 'Article ' || i, 100, i, 'SKU-' || i, 0 FROM n"]);
    await box.start();
  },
});
