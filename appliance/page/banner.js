// The word at the top of every view when something isn't as it should be, and the sign beside the
// views that says how it is.
import { byId, setClass, setText } from './dom.js';
import { formatDuration, formatNumber } from './format.js';
import * as status from './status.js';
import { t } from './strings.js';

const KINDS = { unreachable: 'bad', not_ready: 'bad', damaged: 'bad', disk: 'warn', away: 'warn',
  bridge: 'warn', attention: 'warn' };
const PILLS = { unreachable: 'unreachable', away: 'away', bridge: 'away', online: 'online',
  alone: 'alone', unknown: 'unknown' };

function textOf(condition) {
  const accounts = status.last()?.bridge;
  const count = accounts?.backlog ?? 0;
  if (condition === 'away' && count === 0) return t('banner.away_empty');
  return t(`banner.${condition}`, { number: count, count: formatNumber(count),
    age: formatDuration(Math.max(1, accounts ? status.oldestAge(accounts) : 0)) });
}

/** The age moves each second; whoever listens need not hear of it. */
function speak(condition) {
  if (byId('banner').dataset.condition === condition) return;
  byId('banner').dataset.condition = condition;
  setText(byId('spoken'), KINDS[condition] ? textOf(condition) : t(`pill.${PILLS[condition]}`));
}

export function render() {
  const condition = status.condition();
  const kind = KINDS[condition];
  const pill = PILLS[condition] ?? 'attention';
  byId('banner').hidden = !kind;
  byId('banner-box').hidden = condition === 'unreachable';
  if (kind) {
    setClass(byId('banner'), `banner ${kind}`);
    setText(byId('banner-text'), textOf(condition));
  }
  setText(byId('pill-text'), t(`pill.${pill}`));
  setClass(byId('pill'), `pill ${kind ?? (condition === 'online' ? 'good' : '')}`);
  if (condition !== 'unknown') speak(condition);
}

export function start() {
  status.events.addEventListener('change', render);
  render();
}
