// Sales as bars, and under them the events that waited: two pictures with one time axis.
import { el, svg } from './dom.js';
import { formatNumber, formatTime } from './format.js';
import { t } from './strings.js';

const WIDTH = 960;
const SALES_HEIGHT = 150;
const BACKLOG_HEIGHT = 60;
const LABELS = 5;

const most = (numbers) => Math.max(0, ...numbers);
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

function picture(height, ...shapes) {
  return svg('svg', { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: 'none',
    'aria-hidden': 'true' }, ...shapes);
}

function bars(values) {
  const step = WIDTH / values.length;
  const scale = SALES_HEIGHT / Math.max(1, most(values));
  return picture(SALES_HEIGHT, ...values.map((value, index) => svg('rect', {
    class: 'bar', x: index * step + 1, width: step - 2, y: SALES_HEIGHT - value * scale,
    height: value * scale })));
}

/** Stretches without a known value are left out. */
function area(values) {
  const step = WIDTH / values.length;
  const scale = BACKLOG_HEIGHT / Math.max(1, most(values));
  return picture(BACKLOG_HEIGHT, ...values.map((value, index) => svg('rect', {
    class: 'backlog', x: index * step, width: step, y: BACKLOG_HEIGHT - (value ?? 0) * scale,
    height: (value ?? 0) * scale })));
}

function title(name, values) {
  return el('p', { class: 'chart-title' }, el('span', {}, t(name)),
    el('span', { class: 'muted' }, t('box.chart_most', { count: formatNumber(most(values)) })));
}

function axis({ until, span_s: span, sales }) {
  const end = new Date(until).getTime();
  const start = end - sales.length * span * 1000;
  const times = Array.from({ length: LABELS }, (_, index) =>
    new Date(start + ((end - start) * index) / (LABELS - 1)).toISOString());
  return el('p', { class: 'chart-axis muted' },
    ...times.map((time) => el('span', {}, formatTime(time))));
}

export function chartElement(history) {
  const hours = (history.sales.length * history.span_s) / 3600;
  const label = t('box.chart_label', { hours, sales: formatNumber(sum(history.sales)),
    cancelled: formatNumber(sum(history.cancellations)),
    backlog: formatNumber(most(history.backlog)) });
  return el('div', { class: 'chart', role: 'img', 'aria-label': label },
    title('box.chart_sales', history.sales), bars(history.sales),
    title('box.chart_backlog', history.backlog), area(history.backlog), axis(history));
}
