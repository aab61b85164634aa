// Dialogs: a title, a form or text, buttons.
import { Unreachable, newKey } from './api.js';
import { el, setText } from './dom.js';
import { t } from './strings.js';

let count = 0;

/** Shows `content` in a dialog; it is gone when it is closed. */
export function openDialog(title, content, { onclose, isFixed = false } = {}) {
  const id = `dialog-${++count}`;
  const close = isFixed ? null
    : el('button', { class: 'icon', type: 'button', 'aria-label': t('close'),
      onclick: () => dialog.close() }, '✕');
  const dialog = el('dialog', { 'aria-labelledby': id },
    el('header', {}, el('h2', { id }, title), close), content);
  dialog.addEventListener('close', () => {
    dialog.remove();
    onclose?.();
  });
  if (isFixed) dialog.addEventListener('cancel', (event) => event.preventDefault());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Asks yes or no. */
export function confirmDialog(title, text, yes) {
  return new Promise((resolve) => {
    const answer = (value) => () => {
      resolve(value);
      dialog.close();
    };
    const dialog = openDialog(title, el('div', { class: 'stack' }, el('p', {}, text),
      el('div', { class: 'buttons' },
        el('button', { type: 'button', onclick: answer(false) }, t('cancel')),
        el('button', { type: 'button', class: 'danger', onclick: answer(true) }, yes))),
    { onclose: () => resolve(false) });
  });
}

/** A labelled input with a place for what is wrong with it. */
export function field(label, attributes, ...more) {
  const id = `field-${++count}`;
  const input = el(attributes.tag ?? 'input',
    { id, 'aria-describedby': `${id}-error`, autocomplete: 'off', ...attributes, tag: null });
  const error = el('p', { class: 'error', id: `${id}-error` });
  return {
    input,
    element: el('div', { class: 'field' }, el('label', { for: id }, label), input, ...more, error),
    fail(text) {
      setText(error, text);
      input.setAttribute('aria-invalid', text ? 'true' : 'false');
      if (text) input.focus();
    },
  };
}

/**
 * A form in a dialog. `submit(key)` returns null when done, or what is wrong. The key stays the
 * same until something is changed: trying again after a lost answer does nothing twice.
 */
export function formDialog(title, fields, submitLabel, submit) {
  let key = newKey();
  const problem = el('p', { class: 'error', role: 'alert' });
  const go = el('button', { type: 'submit', class: 'primary' }, submitLabel);
  const form = el('form', { class: 'stack', novalidate: true, oninput: () => { key = newKey(); } },
    ...fields, problem,
    el('div', { class: 'buttons' },
      el('button', { type: 'button', onclick: () => dialog.close() }, t('cancel')), go));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (go.disabled) return;
    go.disabled = true;
    const wrong = await attempt(() => submit(key));
    go.disabled = false;
    setText(problem, wrong ?? '');
    if (wrong === null) dialog.close();
  });
  const dialog = openDialog(title, form);
  return dialog;
}

/** Runs a change; a lost answer becomes a sentence. */
export async function attempt(change) {
  try {
    return await change();
  } catch (error) {
    if (error instanceof Unreachable) return t('no-answer');
    throw error;
  }
}
