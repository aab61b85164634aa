"""The short form of the kills of bridge_soak.py: what the bridge has written down is always true."""

import random

from bridge_soak import run_kills

KILLS = 12
BACKLOG = 10000


def test_kills_while_draining_lose_nothing_and_double_nothing(tmp_path, office):
    run_kills(tmp_path, office, KILLS, BACKLOG, random.Random(20))
