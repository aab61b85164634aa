"""Tills that sell at a steady pace, whatever the box does: what a shop does to it."""
import dataclasses
import http.client
import json
import threading
import time

from load import BenchError, TIMEOUT_S, order_body

TILLS = 8


@dataclasses.dataclass(frozen=True)
class Sale:
    """Times are of the monotonic clock."""
    order_id: int
    sent_s: float
    answered_s: float

    @property
    def duration_ms(self):
        return (self.answered_s - self.sent_s) * 1e3


class Till(threading.Thread):
    """Sells at given times over a connection of its own; a late answer delays what follows."""

    def __init__(self, port, product_id, times_s):
        super().__init__()
        self.port, self.times_s = port, times_s
        self.body = order_body(product_id)
        self.sales, self.problem = [], None

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            for due_s in self.times_s:
                time.sleep(max(0, due_s - time.monotonic()))
                self.sales.append(self.sell(connection))
        except (OSError, http.client.HTTPException, BenchError) as error:
            self.problem = error
        finally:
            connection.close()

    def sell(self, connection):
        sent_s = time.monotonic()
        connection.request("POST", "/orders", self.body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        answered_s = time.monotonic()
        if answer.status != 201:
            raise BenchError(f"an order was answered {answer.status}: {text}")
        return Sale(json.loads(text)["id"], sent_s, answered_s)


def sell_steadily(server, per_second, seconds):
    """So many orders a second, evenly spread over the tills."""
    start_s = time.monotonic() + 0.1
    times_s = [start_s + number / per_second for number in range(int(per_second * seconds))]
    tills = [Till(server.port, server.product_id, times_s[number::TILLS])
             for number in range(TILLS)]
    for till in tills:
        till.start()
    for till in tills:
        till.join()
    for till in tills:
        if till.problem:
            raise BenchError(f"a till gave up: {till.problem!r}")
    return [sale for till in tills for sale in till.sales]
