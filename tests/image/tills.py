"""Tills that sell at a box and remember what it acknowledged, to hold the box to it later."""

import contextlib
import http.client
import itertools
import threading

from box import wait_until

from machine import INVENTORY
from machine import ORDERS

TILLS = 4
STOCK = 1000000
SALE_SECONDS = 20
PAGE = 500
LOAD_SECONDS = 60


class Tills:
    def __init__(self, box):
        self.box = box
        self.numbers = itertools.count(1)  # a customer of its own for each sale
        self.acknowledged = {}             # customer: number of the order
        self.unanswered = []
        self.complaints = []

    def open_shop(self):
        answer = self.box.ask(INVENTORY, "POST", "/products",
                              {"product_name": "iPhone", "stock": STOCK})
        assert answer.status == 201, answer
        return self.sell(1)

    def sell_to(self, customer):
        answer = self.box.ask(ORDERS, "POST", "/orders",
                              {"user_id": customer, "product_id": 1, "quantity": 1},
                              {"Idempotency-Key": f"customer-{customer}"}, SALE_SECONDS)
        assert answer.status == 201, answer
        self.acknowledged[customer] = answer.json["id"]
        return answer.json

    def sell(self, count):
        return [self.sell_to(next(self.numbers)) for _ in range(count)][-1]

    def sell_until_the_end(self):
        while True:
            customer = next(self.numbers)
            try:
                self.sell_to(customer)
            except (OSError, http.client.HTTPException):
                self.unanswered.append(customer)
                return
            except AssertionError as error:
                self.complaints.append(error)
                return

    @contextlib.contextmanager
    def selling(self, count):
        """Sells from several tills; after `count` sales the body ends the box, and the tills see it."""
        wanted = len(self.acknowledged) + count
        tills = [threading.Thread(target=self.sell_until_the_end, daemon=True)
                 for _ in range(TILLS)]
        for till in tills:
            till.start()
        wait_until(lambda: len(self.acknowledged) >= wanted, LOAD_SECONDS, "sales")
        yield
        for till in tills:
            till.join(LOAD_SECONDS)
            assert not till.is_alive(), "the box has not ended"

    def try_again(self):
        """What got no answer is sent again, under the same keys."""
        while self.unanswered:
            self.sell_to(self.unanswered.pop())

    def orders(self):
        """All that the box has, as (customer, number)."""
        orders, after = [], 0
        while after is not None:
            page = self.box.ask(ORDERS, "GET", f"/orders?after={after}&limit={PAGE}").json
            orders += [(order["user_id"], order["id"]) for order in page["orders"]]
            after = page["next_after"]
        return orders

    def audit(self):
        """Whatever was acknowledged is there, nothing is there twice, and no number is missing."""
        orders = self.orders()
        assert dict(orders) == self.acknowledged
        assert sorted(number for _, number in orders) == list(range(1, len(orders) + 1))
        assert len(dict(orders)) == len(orders)
        assert self.complaints == []
