"""Kills and revives things at random while something else goes on."""

import random
import threading
import time


class Victim:
    """Something that can be killed and revived, so many times."""

    def __init__(self, name, kill, revive, times=2):
        self.name, self.kill, self.revive, self.times = name, kill, revive, times
        self.deaths = 0


def service_victim(service):
    return Victim(service.name, service.kill, service.start)


def broker_victim(servers):
    servers.rabbit.write_down_queues()
    return Victim("broker", servers.rabbit.kill, servers.rabbit.start)


def database_victim(servers):
    return Victim("database", lambda: servers.postgres.stop("immediate"), servers.postgres.start)


class Chaos(threading.Thread):
    """Kills one after the other, in random order, each as often as it says; `check()` waits for its end and
    tells what went wrong. A victim stays dead and alive for a random time of up to the given
    seconds."""

    def __init__(self, victims, seed, dead_seconds=0.5, alive_seconds=1.0):
        super().__init__(daemon=True)
        self.dice = random.Random(seed)
        self.turns = [victim for victim in victims for _ in range(victim.times)]
        self.dice.shuffle(self.turns)
        self.dead_seconds, self.alive_seconds = dead_seconds, alive_seconds
        self.problem = None

    def run(self):
        try:
            for victim in self.turns:
                time.sleep(self.dice.uniform(0, self.alive_seconds))
                victim.kill()
                victim.deaths += 1
                time.sleep(self.dice.uniform(0, self.dead_seconds))
                victim.revive()
        except Exception as error:
            self.problem = repr(error)

    def check(self):
        self.join()
        assert self.problem is None, self.problem
