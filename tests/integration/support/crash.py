#!/usr/bin/python3
"""Kills a selling box with SIGKILL again and again, and holds the journal against every answer.

usage: tests/integration/support/crash.py [--build DIR] [--kills N] [--seed N]

Tills sell, cancel and count stock over many connections at once; they are outside the box and
write down each answer they get. Every other kill comes at a random moment, the rest at the very
moment when a large order has been acknowledged: the answer is out, and if it went out before its
COMMIT the journal hasn't got it. After each restart the journal must hold, once, whatever was
acknowledged, and must add up. Requests with an Idempotency-Key that were cut off are sent again
after the restart.

Exit code: 0 everything is accounted for, 1 something is missing, twice or doesn't add up."""

import argparse
import collections
import json
import os
import pathlib
import random
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
import time

import box as harness
from box import Box
from box import Wire
from box import request_bytes
from box import run_command

TILLS = 20
CLERKS = 4
PLAIN_PRODUCTS = 8
SCARCE = PLAIN_PRODUCTS + 1  # often sold out, so that refusals share batches with sales
# Long names put few products on a page: a large order changes many pages, and its COMMIT takes long
# enough to be killed in.
LARGE_FIRST = SCARCE + 1
LARGE_LINES = 400
LARGE_NAME = "\N{SHOPPING TROLLEY}" * 180
STOCK = 100000000
LOAD_SECONDS = (0.05, 0.5)
THREAD_SWITCH_SECONDS = 0.0001  # the thread that is to kill must not wait for the others


class Ledger:
    """What the box has acknowledged; written by many threads, which dict and list stand."""

    def __init__(self):
        self.orders = {}       # user_id: the order as it was answered; each sale has its own user
        self.cancelled = {}    # order_id: the order as it was answered
        self.adjusted = {}     # reason: (product_id, delta, stock afterwards)
        self.retried = 0
        self.complaints = []

    def complain(self, text):
        self.complaints.append(text)

    def sale(self, answer, body):
        if answer.status == 201:
            self.orders[body["user_id"]] = answer.json
        elif answer.status != 409 or body.get("product_id") != SCARCE:
            self.complain(f"a sale was answered {answer}")

    def cancellation(self, answer, order_id):
        if answer.status == 200:
            self.cancelled[order_id] = answer.json
        else:
            self.complain(f"the cancellation of order {order_id} was answered {answer}")

    def adjustment(self, answer, product_id, body):
        if answer.status == 200:
            self.adjusted[body["reason"]] = (product_id, body["delta"], answer.json["stock"])
        elif answer.status != 409 or product_id != SCARCE:
            self.complain(f"an adjustment was answered {answer}")


class Till:
    """A client with one connection. It never sends a request twice unless that has a key."""

    def __init__(self, ledger, number, seed):
        self.ledger = ledger
        self.number = number
        self.random = random.Random(f"{seed} {number}")
        self.sent = 0
        self.unanswered = None  # (path, body, key, note) of the request that was cut off
        self.cancellable = []

    def work(self, port):
        """Until the box dies."""
        try:
            with Wire(port) as wire:
                if self.unanswered and self.unanswered[2]:
                    self.ledger.retried += 1
                    self.post(wire, *self.unanswered)
                while True:
                    self.step(wire)
        except OSError:
            pass
        except Exception as error:
            self.ledger.complain(f"till {self.number}: {error!r}")
            raise

    def step(self, wire):
        chance = self.random.random()
        if chance < 0.15 and self.cancellable:
            self.cancel(wire)
        elif chance < 0.3:
            self.sell(wire, SCARCE)
        else:
            self.sell(wire, self.random.randint(1, PLAIN_PRODUCTS))

    def next_number(self):
        """One that no other till has."""
        self.sent += 1
        return self.sent * 1000 + self.number + 1

    def post(self, wire, path, body, key, note):
        self.unanswered = (path, body, key, note)
        answer = self.exchange(wire, path, body, [("Idempotency-Key", key)] if key else [])
        if not answer:
            raise ConnectionError("closed before the answer")
        self.unanswered = None
        note(answer)

    def exchange(self, wire, path, body, headers):
        return wire.request("POST", path, body, headers)

    def sell(self, wire, product_id):
        number = self.next_number()
        body = {"user_id": number, "product_id": product_id,
                "quantity": self.random.randint(1, 3)}

        def note(answer):
            self.ledger.sale(answer, body)
            if answer.status == 201:
                self.cancellable.append(answer.json["id"])

        self.post(wire, "/orders", body, self.key_for(number), note)

    def cancel(self, wire):
        order_id = self.cancellable.pop(self.random.randrange(len(self.cancellable)))
        self.post(wire, f"/orders/{order_id}/cancel", None, self.key_for(self.next_number()),
                  lambda answer: self.ledger.cancellation(answer, order_id))

    def key_for(self, number):
        return f"till-{self.number}/{number}" if self.random.random() < 0.5 else None


class Clerk(Till):
    """Counts stock, on the inventory port."""

    def step(self, wire):
        number = self.next_number()
        product_id = self.random.randint(1, SCARCE)
        body = {"delta": self.random.choice([-2, -1, 1, 2, 5]), "reason": f"count {number}"}
        self.post(wire, f"/products/{product_id}/stock", body, self.key_for(number),
                  lambda answer: self.ledger.adjustment(answer, product_id, body))


class Wholesaler(Till):
    """Sells a little of everything at once; kills the box on an answer when told to."""

    def __init__(self, ledger, number, seed):
        super().__init__(ledger, number, seed)
        self.kill = None

    def step(self, wire):
        number = self.next_number()
        items = [{"product_id": LARGE_FIRST + n, "quantity": 1} for n in range(LARGE_LINES)]
        body = {"user_id": number, "items": items}

        self.post(wire, "/orders", body, self.key_for(number),
                  lambda answer: self.ledger.sale(answer, body))

    def exchange(self, wire, path, body, headers):
        """Kills at the first byte of the answer: what the kernel has of it can still be read."""
        wire.send(request_bytes("POST", path, body, headers))
        if wire.socket.recv(1, socket.MSG_PEEK) and self.kill:
            self.kill()
        return wire.answer()


class Audit:
    """Replays the journal's events and holds them against the tables and the ledger."""

    def __init__(self, box, ledger):
        self.box = box
        self.ledger = ledger
        self.sequence = 0
        self.stock = {}
        self.orders = {}  # order_id: the data of its order.created
        self.order_of = {}  # user_id: order_id
        self.cancelled = set()
        self.reasons = {}
        self.checked = collections.Counter()
        self.problems = []

    def expect(self, good, text):
        if not good:
            self.problems.append(text)

    def catch_up(self):
        """Everything since the last call, from one snapshot; nobody may be selling."""
        journal = sqlite3.connect(f"file:{self.box.data_dir}/journal.db?mode=ro", uri=True,
                                  timeout=10, isolation_level=None)
        journal.execute("BEGIN")
        first_new = len(self.orders) + 1
        for sequence, payload in journal.execute(
                "SELECT sequence, payload FROM events WHERE sequence > ? ORDER BY sequence",
                (self.sequence,)):
            event = json.loads(payload)
            self.expect(sequence == event["sequence"] == self.sequence + 1,
                        f"event {self.sequence + 1} is missing")
            self.sequence = sequence
            self.apply(event["event_type"], event["data"])
        self.check_tables(journal, first_new)
        journal.close()
        self.check_ledger()
        return self.problems

    def apply(self, kind, data):
        if kind == "product.created":
            self.stock[data["product_id"]] = data["stock"]
        elif kind == "order.created":
            self.apply_sale(data)
        elif kind == "order.cancelled":
            order_id = data["order_id"]
            self.expect(order_id in self.orders, f"order {order_id} is cancelled but never made")
            self.expect(order_id not in self.cancelled, f"order {order_id} is cancelled twice")
            self.cancelled.add(order_id)
            self.move(data["items"], 1)
        elif kind == "stock.adjusted":
            self.stock[data["product_id"]] += data["delta"]
            self.expect(data["reason"] not in self.reasons, f"{data['reason']} is applied twice")
            self.expect(data["stock"] == self.stock[data["product_id"]],
                        f"{data['reason']} leaves another stock than it says")
            self.reasons[data["reason"]] = (data["product_id"], data["delta"], data["stock"])

    def apply_sale(self, data):
        order_id, user_id = data["order_id"], data["user_id"]
        self.expect(order_id == len(self.orders) + 1, f"order {order_id} follows a gap")
        self.expect(user_id not in self.order_of, f"the sale to {user_id} is there twice")
        self.orders[order_id] = data
        self.order_of[user_id] = order_id
        self.move(data["items"], -1)

    def move(self, items, sign):
        for item in items:
            self.stock[item["product_id"]] += sign * item["quantity"]

    def check_tables(self, journal, first_new):
        stock = dict(journal.execute("SELECT product_id, stock FROM products"))
        self.expect(stock == self.stock, "the stock isn't what the events make it")
        self.expect(all(left >= 0 for left in stock.values()), "a stock is below zero")
        rows = journal.execute("SELECT order_id, user_id, items, total FROM orders"
                               " WHERE order_id >= ?", (first_new,)).fetchall()
        self.expect(len(rows) == len(self.orders) - first_new + 1,
                    "there are not as many orders as events for them")
        for order_id, user_id, items, total in rows:
            data = self.orders.get(order_id)
            self.expect(data and (data["user_id"], data["items"], data["total"]) ==
                        (user_id, json.loads(items), total),
                        f"order {order_id} isn't what its event says")
        cancelled = {row[0] for row in journal.execute(
            "SELECT order_id FROM orders WHERE cancelled_at_ms IS NOT NULL")}
        self.expect(cancelled == self.cancelled, "other orders are cancelled than the events say")

    def news(self, what):
        """The entries of a part of the ledger that no call has seen yet."""
        entries = list(getattr(self.ledger, what).items())[self.checked[what]:]
        self.checked[what] += len(entries)
        return entries

    def check_ledger(self):
        for user_id, answer in self.news("orders"):
            data = self.orders.get(self.order_of.get(user_id), {})
            self.expect((data.get("order_id"), data.get("items"), data.get("total")) ==
                        (answer["id"], answer["items"], answer["total"]),
                        f"order {answer['id']} for {user_id} was acknowledged and is not there")
        for order_id, _ in self.news("cancelled"):
            self.expect(order_id in self.cancelled,
                        f"the cancellation of order {order_id} was acknowledged and is not there")
        for reason, adjusted in self.news("adjusted"):
            self.expect(self.reasons.get(reason) == adjusted,
                        f"{reason} was acknowledged and is not there")
        self.problems += self.ledger.complaints
        self.ledger.complaints.clear()

    def check_sums(self):
        """The stock once more, from the orders table and the adjustments alone."""
        sums = self.box.query("""
            WITH moves AS (
              SELECT item.value ->> '$.product_id' AS product_id,
                     -(item.value ->> '$.quantity') AS delta
              FROM orders, json_each(orders.items) AS item WHERE cancelled_at_ms IS NULL
              UNION ALL
              SELECT payload ->> '$.data.product_id',
                     iif(event_type = 'product.created', payload ->> '$.data.stock',
                         payload ->> '$.data.delta')
              FROM events WHERE event_type IN ('product.created', 'stock.adjusted'))
            SELECT product_id, sum(delta) FROM moves GROUP BY product_id""")
        self.expect(dict(sums) == dict(self.box.query("SELECT product_id, stock FROM products")),
                    "the stock isn't the initial stock less what was sold")
        for table, column in (("orders", "order_id"), ("events", "sequence")):
            least, most, count = self.box.query(
                f"SELECT min({column}), max({column}), count(*) FROM {table}")[0]
            self.expect((least, most) == (1, count), f"{table} has gaps")
        return self.problems


class Trial:
    """A box, its tills, and what they have been told."""

    def __init__(self, data_dir, seed):
        self.box = Box(data_dir)
        self.ledger = Ledger()
        self.random = random.Random(seed)
        self.tills = [Till(self.ledger, n, seed) for n in range(TILLS)]
        self.clerks = [Clerk(self.ledger, TILLS + n, seed) for n in range(CLERKS)]
        self.wholesaler = Wholesaler(self.ledger, TILLS + CLERKS, seed)
        self.audit = Audit(self.box, self.ledger)
        self.recovery_seconds = 0

    def set_up(self):
        self.box.start()
        with Wire(self.box.inventory_port) as wire:
            for n in range(1, LARGE_FIRST + LARGE_LINES):
                is_large = n >= LARGE_FIRST
                body = {"product_name": LARGE_NAME if is_large else f"product {n}",
                        "stock": 5 if n == SCARCE else STOCK, "price": n}
                assert wire.request("POST", "/products", body).status == 201

    def run_round(self, kills_on_answer):
        """Load, and a kill in the midst of it."""
        box = self.box
        self.wholesaler.kill = None
        work = [(till, box.orders_port) for till in [*self.tills, self.wholesaler]]
        work += [(clerk, box.inventory_port) for clerk in self.clerks]
        threads = [threading.Thread(target=till.work, args=(port,)) for till, port in work]
        for thread in threads:
            thread.start()
        time.sleep(self.random.uniform(*LOAD_SECONDS))
        if kills_on_answer:
            self.wholesaler.kill = box.process.kill
        else:
            box.process.kill()
        if (code := box.process.wait(60)) != -signal.SIGKILL:
            self.ledger.complain(f"the box ended by itself, with {code}")
        for thread in threads:
            thread.join()

    def recover(self):
        """Restarts: from the start of the process to its first sale."""
        started = time.monotonic()
        self.box.start()
        number = self.wholesaler.next_number()
        body = {"user_id": number, "product_id": 1, "quantity": 1}
        self.ledger.sale(self.box.orders("POST", "/orders", body), body)
        self.recovery_seconds = max(self.recovery_seconds, time.monotonic() - started)

    def conclude(self):
        """The whole journal once more from its first event, with the box stopped."""
        whole = Audit(self.box, self.ledger)
        if self.box.stop() != 0:
            whole.problems.append(f"the box ended with {self.box.process.returncode}")
        whole.catch_up()
        whole.check_sums()
        verified = run_command("verify", "--data-dir", self.box.data_dir)
        if verified.returncode != 0:
            whole.problems.append(f"verify: {verified.stdout}{verified.stderr}")
        return whole.problems


def run_trial(data_dir, kills, seed, say=lambda text: None):
    """Kills a box `kills` times; returns the trial and what is wrong."""
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    trial = Trial(data_dir, seed)
    problems = trial.audit.problems
    try:
        trial.set_up()
        for kill in range(kills):
            trial.run_round(kills_on_answer=kill % 2 == 1)
            trial.recover()
            if trial.audit.catch_up():
                return trial, problems
            if (kill + 1) % 25 == 0:
                say(f"{kill + 1} kills, {len(trial.ledger.orders)} orders acknowledged")
        return trial, problems + trial.conclude()
    finally:
        if trial.box.process and trial.box.process.poll() is None:
            trial.box.kill()


def main():
    parser = argparse.ArgumentParser(description="Kills a selling box again and again.")
    parser.add_argument("--build", type=pathlib.Path, default=harness.BUILD)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    arguments = parser.parse_args()
    harness.APPLIANCE = arguments.build.resolve() / "appliance"
    print(f"crash: {arguments.kills} kills, seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tillbox-crash-") as folder:
        trial, problems = run_trial(pathlib.Path(folder) / "var", arguments.kills, arguments.seed,
                                    lambda text: print(text, flush=True))
    ledger = trial.ledger
    print(f"acknowledged: {len(ledger.orders)} orders, {len(ledger.cancelled)} cancellations, "
          f"{len(ledger.adjusted)} stock adjustments; {ledger.retried} cut-off requests were sent "
          f"again under their key")
    print(f"recovery, from the start of the process to its first sale: "
          f"{trial.recovery_seconds * 1000:.0f} ms at most")
    for problem in problems[:20]:
        print(f"FAILED {problem}")
    if problems:
        print(f"crash: failed, {len(problems)} problems")
        return 1
    print("crash: passed, everything acknowledged is in the journal, once")
    return 0


if __name__ == "__main__":
    sys.exit(main())
