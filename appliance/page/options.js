// What each device chooses for itself, and the token.
import { call, forgetToken, hasToken, setToken } from './api.js';
import * as basket from './basket.js';
import { field, openDialog } from './dialogs.js';
import { el } from './dom.js';
import { parseWhole } from './format.js';
import { shared } from './store.js';
import { STRINGS, currentLanguage, t } from './strings.js';

export const LANGUAGE = 'tillbox.language';
const THEME = 'tillbox.theme';
const ID_MAX = 1000000;

function select(label, choices, chosen, onchoice) {
  const list = field(label, { tag: 'select' });
  for (const [value, text] of choices)
    list.input.append(el('option', { value, selected: value === chosen }, text));
  list.input.addEventListener('change', () => onchoice(list.input.value));
  return list.element;
}

/** Every word of the page is made anew; the cart and what is on its way stay. */
function chooseLanguage(language) {
  shared.set(LANGUAGE, language);
  location.reload();
}

function chooseTheme(theme) {
  if (theme === 'auto') {
    shared.remove(THEME);
    delete document.documentElement.dataset.theme;
  } else {
    shared.set(THEME, theme);
    document.documentElement.dataset.theme = theme;
  }
}

function cashierField() {
  const cashier = field(t('options.cashier'), { inputmode: 'numeric' });
  cashier.input.value = String(basket.cashier());
  cashier.input.addEventListener('change', () => {
    const id = parseWhole(cashier.input.value, 1, ID_MAX);
    if (id !== null) basket.setCashier(id);
    cashier.input.value = String(basket.cashier());
  });
  return cashier.element;
}

function keysElement() {
  const keys = [['F2', 'search'], ['Enter', 'add'], ['F8', 'sell'], ['F9', 'print'],
    ['← ↑ ↓ →', 'arrows']];
  return el('dl', { class: 'keys' }, ...keys.flatMap(([key, name]) =>
    [el('dt', {}, el('kbd', {}, key)), el('dd', {}, t(`options.key.${name}`))]));
}

function logout() {
  forgetToken();
  location.reload();
}

export function openOptions() {
  const themes = ['auto', 'light', 'dark'].map((name) => [name, t(`options.theme.${name}`)]);
  const languages = Object.entries(STRINGS).map(([name, words]) => [name, words.language]);
  openDialog(t('options'), el('div', { class: 'stack' },
    select(t('options.language'), languages, currentLanguage(), chooseLanguage),
    select(t('options.theme'), themes, shared.get(THEME) ?? 'auto', chooseTheme),
    cashierField(),
    el('h3', {}, t('options.keys')), keysElement(),
    hasToken() ? el('div', { class: 'buttons' },
      el('button', { type: 'button', onclick: logout }, t('options.logout'))) : null));
}

/** Asks for the token until it is right; then the page begins again. */
export function openLogin() {
  if (document.getElementById('login')) return;
  const token = field(t('login.token'), { type: 'password', autocomplete: 'current-password' });
  const remember = el('input', { type: 'checkbox' });
  const form = el('form', { class: 'stack', id: 'login', novalidate: true },
    el('p', {}, t('login.text')), token.element,
    el('label', { class: 'check' }, remember, t('login.remember')),
    el('div', { class: 'buttons' },
      el('button', { type: 'submit', class: 'primary' }, t('login.go'))));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    setToken(token.input.value.trim(), remember.checked);
    const isRight = await check();
    if (isRight) location.reload();
    else token.fail(t(isRight === null ? 'no-answer' : 'login.wrong'));
  });
  openDialog(t('login.title'), form, { isFixed: true });
  token.input.focus();
}

/** True, false, or null if the box didn't answer. A wrong token isn't kept. */
async function check() {
  try {
    if ((await call('GET', '/settings')).status === 200) return true;
    forgetToken();
    return false;
  } catch {
    forgetToken();
    return null;
  }
}
