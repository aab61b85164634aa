// Other clients: sells at a steady pace over a few connections until its input ends. Says "ready",
// and at the end how many a second were answered. usage: load.mjs PORT PRODUCT_ID PER_SECOND
import net from 'node:net';

const [port, product, perSecond] = process.argv.slice(2).map(Number);
const CONNECTIONS = 16;
const WARM_UP = 200;
const body = JSON.stringify({ user_id: 2, product_id: product, quantity: 1 });
const request = `POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`
  + `Content-Length: ${body.length}\r\n\r\n${body}`;
let sent = 0;
let answered = 0;
let since = 0;

function till() {
  const socket = net.connect(port, '127.0.0.1').setNoDelay(true);
  const line = { socket, isFree: true };
  socket.on('data', (data) => {
    if (!data.includes('HTTP/1.1 201')) throw new Error(String(data));
    line.isFree = true;
    if (++answered === WARM_UP) {
      since = performance.now();
      console.log('ready');
    }
  });
  return line;
}

const tills = Array.from({ length: CONNECTIONS }, till);
const start = performance.now();
const timer = setInterval(() => {
  const due = Math.floor(((performance.now() - start) * perSecond) / 1000);
  for (const line of tills) {
    if (sent >= due) break;
    if (!line.isFree) continue;
    line.isFree = false;
    line.socket.write(request);
    sent++;
  }
}, 2);

process.stdin.resume().on('end', () => {
  clearInterval(timer);
  console.log(((answered - WARM_UP) * 1000) / (performance.now() - since));
  for (const { socket } of tills) socket.destroy();
});
