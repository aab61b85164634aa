// Money, numbers and times as the shop writes them.
let locale = 'en';
let digits = 2;
// Made once: each takes longer to make than a sale has time for.
let money = null;
let plain = null;
let clock = null;
let moment = null;

export function setFormats(newLocale, currency) {
  locale = newLocale;
  money = new Intl.NumberFormat(locale, { style: 'currency', currency });
  plain = new Intl.NumberFormat(locale);
  clock = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit' });
  moment = new Intl.DateTimeFormat(locale, { dateStyle: 'short', timeStyle: 'medium' });
  digits = money.resolvedOptions().maximumFractionDigits;
}

/** An amount in minor units: 250 is €2.50, or ¥250 where the currency has no cents. */
export const formatMoney = (minor) => money.format(minor / 10 ** digits);

export const formatNumber = (number) => plain.format(number);

export const formatTime = (text) => clock.format(new Date(text));

export const formatMoment = (text) => moment.format(new Date(text));

const UNITS = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];

/** "5 minutes": the largest unit that fits. */
export function formatDuration(seconds) {
  const [unit, size] = UNITS.find(([, length]) => seconds >= length) ?? UNITS[3];
  return new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'long' })
    .format(Math.floor(seconds / size));
}

export function formatBytes(bytes) {
  const [unit, size] = bytes >= 1e9 ? ['gigabyte', 1e9] : ['megabyte', 1e6];
  return new Intl.NumberFormat(locale, { style: 'unit', unit, maximumFractionDigits: 1 })
    .format(bytes / size);
}

/** Text for an input: 250 is "2.50", or "2,50" where the decimal sign is a comma. */
export function moneyText(minor) {
  const format = new Intl.NumberFormat(locale,
    { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false });
  return format.format(minor / 10 ** digits);
}

/** Minor units of "2.50", "2,50" or "2"; null if it is no amount. Exact: no fractions are used. */
export function parseMoney(text) {
  const parts = /^(\d{1,12})(?:[.,](\d*))?$/.exec(text.trim());
  if (!parts || (parts[2] ?? '').length > digits) return null;
  return Number(parts[1] + (parts[2] ?? '').padEnd(digits, '0'));
}

/** A whole number within bounds; null if it is none. */
export function parseWhole(text, minimum, maximum) {
  const trimmed = text.trim();
  if (!/^[+-]?\d{1,10}$/.test(trimmed)) return null;
  const number = Number(trimmed);
  return number >= minimum && number <= maximum ? number : null;
}

/** For comparing names: without case and accents, so that "cafe" finds "Café". */
export const fold = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();

export const compareNames = () => new Intl.Collator(locale, { numeric: true }).compare;
