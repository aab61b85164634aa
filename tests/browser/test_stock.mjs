import assert from 'node:assert/strict';
import { card, shopTest, touch } from './support/shop.mjs';

const label = (page, name) => page.locator('dialog').getByLabel(name, { exact: true });
const save = (page, name) => page.locator('dialog form').getByRole('button', { name }).click();
const product = async (box, id) => (await box.call('GET', `/products/${id}`)).data;

shopTest('a new product can be sold at once', async ({ box, page }) => {
  await page.click('#tab-stock');
  await page.click('#stock-add');
  await label(page, 'Name').fill('Éclair');
  await label(page, 'Code (SKU)').fill('ECL-1');
  await label(page, 'Price').fill('3,20');
  await label(page, 'In stock').fill('7');
  await save(page, 'Add product');
  await page.locator('.toast', { hasText: 'Éclair is added' }).waitFor();
  const { product_name: name, price, stock, sku } = await product(box, 13);
  assert.deepEqual([name, price, stock, sku], ['Éclair', 320, 7, 'ECL-1']);
  await page.click('#tab-till');
  await touch(page, 'Éclair');
  await page.click('#cart-sell');
  await page.locator('#cart-outcome .receipt').waitFor();
  assert.equal(await box.stock(13), 6);
});

shopTest('a form says what is wrong, and sends nothing until it is right', async ({ box, page }) => {
  await page.click('#tab-stock');
  await page.click('#stock-add');
  await label(page, 'Price').fill('1.234');
  await label(page, 'In stock').fill('-1');
  await save(page, 'Add product');
  const errors = await page.locator('dialog .field .error').allTextContents();
  assert.deepEqual(errors.map(Boolean), [true, false, true, true]);
  await label(page, 'Name').fill('Tea');
  await label(page, 'Price').fill('1.23');
  await label(page, 'In stock').fill('1');
  await label(page, 'Code (SKU)').fill('ESP-1');
  await save(page, 'Add product');
  await page.locator('dialog', { hasText: 'another product has this sku' }).waitFor();
  await label(page, 'Code (SKU)').fill('TEA-1');
  await save(page, 'Add product');
  await page.locator('dialog').waitFor({ state: 'detached' });
  assert.equal((await product(box, 13)).product_name, 'Tea');
});

shopTest('name, price and code are changed', async ({ box, page }) => {
  await page.click('#tab-stock');
  await page.getByRole('button', { name: 'Edit Espresso' }).click();
  assert.equal(await label(page, 'Price').inputValue(), '2.50');
  await label(page, 'Name').fill('Espresso doppio');
  await label(page, 'Price').fill('3.9');
  await label(page, 'Code (SKU)').fill('');
  await save(page, 'Save');
  await page.locator('#stock-rows tr', { hasText: 'Espresso doppio' }).waitFor();
  const { product_name: name, price, sku } = await product(box, 1);
  assert.deepEqual([name, price, sku], ['Espresso doppio', 390, null]);
});

shopTest('stock moves with a reason, never below nothing', async ({ box, page }) => {
  await page.click('#tab-stock');
  await page.getByRole('button', { name: 'Adjust stock of Baguette' }).click();
  await label(page, 'Change, such as 12 or -3').fill('-9');
  await save(page, 'Loss');
  await save(page, 'Save');
  await page.locator('dialog', { hasText: 'There are only 4' }).waitFor();
  await label(page, 'Change, such as 12 or -3').fill('20');
  await page.locator('dialog', { hasText: 'Will be 24' }).waitFor();
  await save(page, 'Delivery');
  await save(page, 'Save');
  await page.locator('.toast', { hasText: 'Baguette: 24 in stock' }).waitFor();
  assert.equal(await box.stock(5), 24);
  await page.click('#tab-till');
  assert.match(await card(page, 'Baguette').textContent(), /24 left/);
});

shopTest('an adjustment whose answer was lost moves stock once', async ({ box, context, page }) => {
  let times = 0;
  await context.route('**/products/5/stock', async (route) => {
    await route.fetch();
    if (++times === 1) await route.abort();
    else await route.continue();
  });
  await page.click('#tab-stock');
  await page.getByRole('button', { name: 'Adjust stock of Baguette' }).click();
  await label(page, 'Change, such as 12 or -3').fill('6');
  await label(page, 'Reason').fill('delivery');
  await save(page, 'Save');
  await page.locator('dialog', { hasText: 'The box didn’t answer' }).waitFor();
  await save(page, 'Save');
  await page.locator('dialog').waitFor({ state: 'detached' });
  assert.equal(await box.stock(5), 10);
});

shopTest('what runs low is marked, by the shop’s own threshold', async ({ page }) => {
  assert.equal(await card(page, 'Sourdough').locator('.low').count(), 1);
  assert.equal(await card(page, 'Espresso').locator('.low').count(), 0);
  await page.click('#tab-stock');
  await page.check('#stock-low');
  const names = await page.locator('#stock-rows th').allTextContents();
  assert.deepEqual(names, ['Baguette', 'Cinnamon roll', 'House blend, beans, 1 kg',
    'Sourdough loaf, 750 g']);
}, { settings: ['--low-stock', '12'] });

shopTest('what other clients change is on the page within moments', async ({ box, page }) => {
  await box.call('POST', '/products/4/stock', { delta: 100, reason: 'delivery' });
  await card(page, 'Croissant').filter({ hasText: '124 left' }).waitFor();
  await box.call('PATCH', '/products/4', { price: 1 });
  await card(page, 'Croissant').filter({ hasText: '€0.01' }).waitFor();
});
