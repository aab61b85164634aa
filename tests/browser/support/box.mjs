// Real appliances on free loopback ports, each with a data folder of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const BUILD = path.resolve(process.env.TILLBOX_BUILD ?? path.join(ROOT, 'build'));
const START_MS = 20000;

/** The first true answer of `condition`, which is asked again and again. */
export async function waitUntil(condition, what = 'the condition', ms = 10000) {
  for (const end = Date.now() + ms; ;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what} didn't come within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A program that logs JSON lines on stderr into a file. */
export class Program {
  constructor(logPath, command, options = {}) {
    const from = fs.existsSync(logPath) ? fs.statSync(logPath).size : 0;
    const log = fs.openSync(logPath, 'a');
    this.lines = () => fs.readFileSync(logPath, 'utf8').slice(from).split('\n').slice(0, -1);
    this.process = spawn(command[0], command.slice(1),
      { stdio: ['ignore', 'ignore', log], ...options });
    fs.closeSync(log);
  }

  async ready(event) {
    const find = () => {
      const line = this.lines().find((text) => text.includes(`"${event}"`));
      if (!line && this.process.exitCode !== null) throw new Error(this.lines().join('\n'));
      return line && JSON.parse(line);
    };
    return waitUntil(find, event, START_MS);
  }

  async end(signal) {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const gone = once(this.process, 'exit');
      this.process.kill(signal);
      await gone;
    }
    return this.process.exitCode;
  }
}

/** An appliance; `port` stays the same over restarts, so that a page finds it again. */
export class Box {
  constructor(...options) {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tillbox-page-'));
    this.dataDir = path.join(this.folder, 'var');
    this.options = options;
    this.port = 0;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async start() {
    this.program = new Program(path.join(this.folder, 'box.log'), [path.join(BUILD, 'appliance'),
      'serve', '--data-dir', this.dataDir, '--orders-listen', `127.0.0.1:${this.port}`,
      '--inventory-listen', '127.0.0.1:0', ...this.options]);
    this.port = (await this.program.ready('appliance.ready')).orders_port;
    return this;
  }

  kill() {
    return this.program.end('SIGKILL');
  }

  /** SIGTERM; the exit code. */
  stop() {
    return this.program.end('SIGTERM');
  }

  async remove() {
    const code = await this.stop();
    fs.rmSync(this.folder, { recursive: true, force: true });
    return code;
  }

  async call(method, where, body, headers = {}) {
    const response = await fetch(this.url + where, { method,
      headers: { ...(body ? { 'Content-Type': 'application/json' } : {}), ...headers },
      body: body && JSON.stringify(body) });
    return { status: response.status, data: await response.json() };
  }

  async add(name, price, stock, sku = null) {
    const { status, data } = await this.call('POST', '/products',
      { product_name: name, price, stock, sku });
    if (status !== 201) throw new Error(JSON.stringify(data));
    return data.product_id;
  }

  async orders() {
    return (await this.call('GET', '/orders?limit=500')).data.orders;
  }

  async stock(id) {
    return (await this.call('GET', `/products/${id}`)).data.stock;
  }
}

/** A bridge beside a box. */
export class Bridge {
  constructor(box, settings) {
    this.box = box;
    this.settings = settings;
  }

  async start() {
    this.program = new Program(path.join(this.box.folder, 'bridge.log'),
      [path.join(BUILD, 'bridge'), 'run', '--data-dir', this.box.dataDir, '--status-listen',
        '127.0.0.1:0'], { env: { ...process.env, ...this.settings } });
    await this.program.ready('bridge.ready');
    return this;
  }

  stop() {
    return this.program.end('SIGTERM');
  }
}

/** Goods as a shop may have them. */
export const GOODS = [
  ['Espresso', 250, 120, 'ESP-1'], ['Cappuccino', 340, 80, 'CAP-1'], ['Filter coffee', 290, 64],
  ['Croissant', 190, 24, '4006381333931'], ['Baguette', 220, 4, '4006381333948'],
  ['Sourdough loaf, 750 g', 480, 12], ['Cinnamon roll', 260, 0, 'CIN-1'],
  ['Mineral water 0.5 l', 180, 96, '5449000000996'], ['Orange juice, freshly pressed', 420, 18],
  ['Café au lait', 360, 40], ['House blend, beans, 1 kg', 2490, 9, 'BEANS-1KG'],
  ['Gift card', 2500, 500, 'GIFT'],
];

export async function fill(box) {
  for (const [name, price, stock, sku] of GOODS) await box.add(name, price, stock, sku);
}
