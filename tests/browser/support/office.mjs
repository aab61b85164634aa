// Head offices for the tests: who runs the tests holds PostgreSQL and RabbitMQ, and listens here.
const CONTROL = process.env.TILLBOX_OFFICE;

/** stop and start: its database; refuse and take: its broker's way to a queue. */
export async function tellOffice(word) {
  if (!CONTROL) throw new Error('TILLBOX_OFFICE is not set: run these tests by tools/run_tests.py');
  const response = await fetch(`${CONTROL}/${word}`, { method: 'POST' });
  if (!response.ok) throw new Error(`${word}: ${await response.text()}`);
  return response.json();
}

/** A new, empty one: {settings}, the variables that lead to it. */
export async function openOffice() {
  return { settings: await tellOffice('open') };
}
