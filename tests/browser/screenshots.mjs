// Pictures of every view at three sizes, light and dark, to be looked at.
// usage: node tests/browser/screenshots.mjs FOLDER
import fs from 'node:fs';
import path from 'node:path';
import { Box, fill } from './support/box.mjs';
import { SIZES, openBrowser, openPage, openProfile } from './support/browser.mjs';

const folder = process.argv[2];
if (!folder) throw new Error('usage: node screenshots.mjs FOLDER');
fs.mkdirSync(folder, { recursive: true });

async function touch(page, name) {
  await page.locator('.card', { hasText: name }).first().click();
}

const STEPS = {
  async till(page) {
    for (const name of ['Espresso', 'Croissant', 'Croissant', 'House blend']) await touch(page, name);
  },
  async cart(page) {
    if (await page.locator('#cart-open').isVisible()) await page.click('#cart-open');
  },
  async receipt(page) {
    await page.click('#cart-sell');
    await page.waitForSelector('.receipt');
  },
  async short(page) {
    if (await page.locator('#cart-back').isVisible()) await page.click('#cart-back');
    await touch(page, 'Cinnamon');
    if (await page.locator('#cart-open').isVisible()) await page.click('#cart-open');
    await page.click('#cart-sell');
    await page.waitForSelector('.notice.bad');
  },
  async receipts(page) {
    await page.click('#tab-receipts');
    await page.waitForSelector('#receipts-rows tr');
  },
  async stock(page) {
    await page.click('#tab-stock');
    await page.waitForSelector('#stock-rows tr');
  },
  async adjust(page) {
    await page.click('#stock-rows button >> nth=0');
  },
  async box(page) {
    await page.click('dialog .icon');
    await page.click('#tab-box');
    await page.waitForSelector('.chart');
  },
  async options(page) {
    await page.click('#options');
  },
  async away(page, box) {
    await page.click('dialog .icon');
    await page.click('#tab-till');
    await box.kill();
    if (await page.locator('#cart-back').isVisible()) await page.click('#cart-back');
    await touch(page, 'Espresso');
    if (await page.locator('#cart-open').isVisible()) await page.click('#cart-open');
    await page.click('#cart-sell');
    await page.waitForSelector('#pending:not([hidden])');
    await page.waitForSelector('#banner:not([hidden])');
  },
};

async function shoot(browser, box, size, colorScheme) {
  const { context } = await openProfile(browser, { origin: box.url, size, colorScheme });
  const page = await openPage(context, box.url);
  for (const [name, step] of Object.entries(STEPS)) {
    await step(page, box);
    await page.screenshot({ path: path.join(folder, `${name}-${size}-${colorScheme}.png`) });
  }
  await context.close();
  await box.start();
}

const box = await new Box('--shop-name', 'Corner Bakery').start();
const browser = await openBrowser();
try {
  await fill(box);
  for (const size of Object.keys(SIZES))
    for (const colorScheme of ['light', 'dark']) await shoot(browser, box, size, colorScheme);
} finally {
  await browser.close();
  await box.remove();
}
