// A barcode scanner types: characters faster than any hand, and then Enter. Wherever the focus is,
// such a burst is a scan; in a field, what it has typed is taken back.
const GAP_MS = 40; // scanners need up to 20 ms a character, fast typists 80 and more
const LENGTH_MIN = 3;

const fieldOf = (target) =>
  (target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement ? target : null);

export function listen(isActive, onScan) {
  let text = '';
  let last = -Infinity;
  let field = null;
  let before = '';

  function begin(target) {
    text = '';
    field = fieldOf(target);
    before = field ? field.value : '';
  }

  function finish(event) {
    const code = text;
    const gap = event.timeStamp - last;
    last = -Infinity; // what follows is another burst, however soon
    if (code.length < LENGTH_MIN || gap > GAP_MS) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (field) field.value = before;
    onScan(code);
  }

  document.addEventListener('keydown', (event) => {
    if (!isActive() || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.key === 'Enter') finish(event);
    if (event.key.length !== 1) return; // Shift comes between the characters
    if (event.timeStamp - last > GAP_MS) begin(event.target);
    text += event.key;
    last = event.timeStamp;
    if (text.length > 1 && !field) event.preventDefault(); // a space would press a button
  }, true);
}
