// The page begins here.
import { events as apiEvents, get } from './api.js';
import * as banner from './banner.js';
import * as basket from './basket.js';
import * as box from './box.js';
import * as catalogue from './catalogue.js';
import { byId, setText } from './dom.js';
import { setFormats } from './format.js';
import { LANGUAGE, openLogin, openOptions } from './options.js';
import * as outbox from './outbox.js';
import * as pending from './pending.js';
import * as receipt from './receipt.js';
import * as receipts from './receipts.js';
import * as status from './status.js';
import * as stock from './stock.js';
import { own, parse, shared } from './store.js';
import { setLanguage, t } from './strings.js';
import * as till from './till.js';

const VIEWS = ['till', 'receipts', 'stock', 'box'];
const SETTINGS = 'tillbox.settings'; // as of the last time: the page can begin without the box
const VIEW = 'tillbox.view';
const RETRY_MS = 2000;
let build = null; // of the page's files, when it was loaded
let sequence = -1;

function writeWords() {
  for (const element of document.querySelectorAll('[data-t]'))
    setText(element, t(element.dataset.t));
  for (const element of document.querySelectorAll('[data-t-label]'))
    element.setAttribute('aria-label', t(element.dataset.tLabel));
  for (const element of document.querySelectorAll('[data-t-hint]'))
    element.setAttribute('placeholder', t(element.dataset.tHint));
}

function isUsable(locale) {
  try {
    return Boolean(locale) && Intl.NumberFormat.supportedLocalesOf(locale).length > 0;
  } catch {
    return false;
  }
}

function applySettings(settings) {
  const chosen = shared.get(LANGUAGE);
  const locale = [settings.locale, chosen, navigator.language].find(isUsable) ?? 'en';
  setLanguage(chosen, settings.locale, navigator.language);
  setFormats(locale, settings.currency ?? 'EUR');
  receipt.setShop(settings.shop_name ?? 'Tillbox');
  till.setLowStock(settings.low_stock ?? 0);
  outbox.setKeyHours(settings.idempotency_hours ?? 72);
  box.setCommands(settings.commands ?? { appliance: '', bridge: '', data_dir: '' });
  setText(byId('shop'), settings.shop_name ?? 'Tillbox');
  document.title = settings.shop_name ?? 'Tillbox';
  writeWords();
}

/** Another build of the page is on the box: it was upgraded. */
function watchBuild(settings) {
  const [, loaded] = /\/page\/(\w+)\//.exec(import.meta.url) ?? [];
  build = build ?? loaded;
  byId('new-page').hidden = !settings.page_build || settings.page_build === build;
}

async function loadSettings() {
  const settings = await get('/settings');
  shared.set(SETTINGS, JSON.stringify(settings));
  applySettings(settings);
  watchBuild(settings);
}

function onShown(view) {
  if (view === 'receipts') receipts.refresh();
  if (view === 'stock') stock.render();
  if (view === 'box') box.render();
}

function showView(view) {
  for (const name of VIEWS) {
    const isShown = name === view;
    const tab = byId(`tab-${name}`);
    byId(name).hidden = !isShown;
    tab.setAttribute('aria-selected', String(isShown));
    tab.tabIndex = isShown ? 0 : -1;
  }
  own.set(VIEW, view);
  onShown(view);
}

function onTabKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const at = VIEWS.findIndex((name) => `tab-${name}` === event.target.id);
  const view = VIEWS[(at + step + VIEWS.length) % VIEWS.length];
  event.preventDefault();
  showView(view);
  byId(`tab-${view}`).focus();
}

function startViews() {
  for (const name of VIEWS) byId(`tab-${name}`).addEventListener('click', () => showView(name));
  byId('tabs').addEventListener('keydown', onTabKey);
  byId('pill').addEventListener('click', () => showView('box'));
  byId('banner-box').addEventListener('click', () => showView('box'));
  byId('options').addEventListener('click', openOptions);
  byId('reload').addEventListener('click', () => location.reload());
  const last = own.get(VIEW);
  showView(VIEWS.includes(last) ? last : 'till');
}

/** What is new in the journal may be news for the products and the receipts shown. */
function onStatus() {
  const head = status.last()?.journal.chain_head.sequence ?? -1;
  if (status.reachable()) {
    outbox.sendPending();
    catalogue.sync(head);
  }
  if (head !== sequence && !byId('receipts').hidden) receipts.refresh();
  sequence = head;
}

/** The box may be starting: tries until it has been reached once. */
async function connect(wasReached = () => null) {
  try {
    await loadSettings();
    await catalogue.load();
    wasReached();
  } catch (error) {
    if (error.status === 401) return; // the login begins the page again
    setTimeout(connect, RETRY_MS, wasReached);
  }
}

let uptime = null;

/** A box that has been restarted may have been upgraded or set up anew. */
function watchRestarts() {
  const now = status.last()?.started_at;
  if (uptime && now && now !== uptime) loadSettings().catch(() => null);
  uptime = now ?? uptime;
}

function start() {
  apiEvents.addEventListener('unauthorized', openLogin);
  applySettings(parse(shared.get(SETTINGS), {}));
  for (const part of [catalogue, outbox, basket, till, receipts, stock, box, banner, pending])
    part.start?.();
  startViews();
  status.events.addEventListener('change', onStatus);
  status.events.addEventListener('change', watchRestarts);
  status.start();
  connect(() => document.documentElement.setAttribute('data-ready', ''));
}

start();
