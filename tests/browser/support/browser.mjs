// Chromium and pages in it.
import fs from 'node:fs';
import { chromium } from 'playwright-core';

export const SIZES = {
  tablet: { width: 1024, height: 768 },
  desk: { width: 1920, height: 1080 },
  phone: { width: 390, height: 844 },
};
const PROGRAMS = ['/usr/bin/chromium', '/usr/bin/chromium-browser'];

/** The name `box.test` is this machine too, but no secure context as loopback is. */
export async function openBrowser() {
  const program = PROGRAMS.find((name) => fs.existsSync(name));
  if (!program) throw new Error('Chromium is not installed');
  return chromium.launch({ executablePath: program,
    args: ['--no-sandbox', '--host-resolver-rules=MAP box.test 127.0.0.1',
      '--disable-dev-shm-usage', '--disable-gpu'] });
}

/**
 * A browser profile of its own. `faults` collects what a page must never do: throw, log an error,
 * break its Content-Security-Policy, ask another host.
 */
export async function openProfile(browser, { origin, size = 'tablet', ...options } = {}) {
  const context = await browser.newContext({ viewport: SIZES[size], hasTouch: size !== 'desk',
    locale: 'en-GB', timezoneId: 'UTC', reducedMotion: 'reduce', ...options });
  const faults = [];
  context.setDefaultTimeout(10000);
  context.on('weberror', (error) => faults.push(`threw ${error.error().stack}`));
  context.on('console', (message) => {
    const text = message.text();
    if (message.type() === 'error' && !/Failed to load resource|net::ERR/.test(text))
      faults.push(`logged ${text}`);
  });
  context.on('request', (request) => {
    if (!request.url().startsWith(`${origin}/`)) faults.push(`asked ${request.url()}`);
  });
  return { context, faults };
}

/** A page whose products have been loaded. */
export async function openPage(context, url) {
  const page = await context.newPage();
  await page.goto(`${url}/`);
  await page.waitForSelector('html[data-ready]');
  return page;
}
