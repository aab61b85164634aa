"""Ports for servers that a test starts, ends, and starts again."""

import random
import socket

# Below those that the kernel gives to outgoing connections (ip_local_port_range, ip(7)): such a one may
# be taken by a connection while the server is away.
PORTS = range(10000, 32000)


def free_port():
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
