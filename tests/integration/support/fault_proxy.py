"""A bad line: a TCP proxy that can delay, slow down, stall, cut and refuse, in one direction or both,
at once or when certain bytes come.

    with FaultProxy(server_port) as line:
        client.connect(line.port)
        line.stall_at(UP, b"COMMIT")  # the server never gets it, and nobody is told
        line.heal()

What is stalled is half-open TCP: both ends keep their connection and hear nothing more."""

import collections
import contextlib
import select
import socket
import struct
import threading
import time

from ports import free_port

UP, DOWN, BOTH = "up", "down", "both"  # from the client to the server, and back
CHUNK = 1 << 14
WAITING_MAX = 1 << 18  # bytes that wait for their time; beyond it the sender has to wait
IDLE_SECONDS = 1
RATE_SECONDS = 0.01  # how often a line with a rate moves its bytes


def reset(connection):
    """Closes so that the other side gets a reset."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Flow:
    """One direction of one connection."""

    def __init__(self, direction, source, target):
        self.direction, self.source, self.target = direction, source, target
        self.waiting = collections.deque()  # (when it is due, bytes)
        self.waiting_size = 0
        self.stalled = False
        self.ended = False  # the source has no more …
        self.closed = False  # … and the target knows
        self.tail = b""  # of what has come: a mark may lie across two chunks
        self.sent_at = time.monotonic()

    def may_read(self):
        return not self.stalled and not self.ended and self.waiting_size < WAITING_MAX

    def may_write(self, now):
        return not self.stalled and bool(self.waiting) and self.waiting[0][0] <= now

    def put(self, data, due):
        self.waiting.append((due, data))
        self.waiting_size += len(data)

    def send(self, rate, now):
        """Sends what is due, of which `rate` bytes a second; None is any number."""
        due, data = self.waiting[0]
        limit = len(data)
        if rate:
            limit = int(min(now - self.sent_at, 0.1) * rate)
        try:
            sent = self.target.send(data[:limit]) if limit else 0
        except BlockingIOError:
            sent = 0
        if sent or not rate:
            self.sent_at = now
        self.waiting.popleft()
        if sent < len(data):
            self.waiting.appendleft((due, data[sent:]))
        self.waiting_size -= sent
        return sent


Mark = collections.namedtuple("Mark", "direction marker act")


class FaultProxy:
    """Passes connections to `port` on to `target_port`. Any thread may call its methods. `passed`
    counts the bytes of each direction, `hits` the marks that were met, `connections` what was
    accepted."""

    def __init__(self, target_port):
        self.target_port = target_port
        self.lock = threading.RLock()
        self.flows, self.marks = [], []
        self.delay_seconds = {UP: 0.0, DOWN: 0.0}
        self.rate = {UP: None, DOWN: None}
        self.stalls_new = self.ending = False
        self.passed = {UP: 0, DOWN: 0}
        self.hits = self.connections = 0
        self.port = free_port()
        self.listener = None
        self.waker, self.wakened = socket.socketpair()
        self.waker.setblocking(False)
        self.accept()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending = True
        self._wake()
        self.thread.join()
        self.cut()
        self.refuse()
        self.waker.close()
        self.wakened.close()

    # What can happen to a line.

    def refuse(self):
        """Connecting fails from now on; what is connected stays."""
        with self.lock:
            if self.listener:
                self.listener.close()
            self.listener = None
        self._wake()

    def accept(self):
        """Undoes refuse()."""
        with self.lock:
            if self.listener:
                return
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", self.port))
            self.listener.listen(64)
            self.listener.setblocking(False)
        self._wake()

    def cut(self):
        """Every connection is reset, on both sides."""
        with self.lock:
            for flow in self.flows:
                reset(flow.source)
            self.flows = []
        self._wake()

    def stall(self, direction=BOTH):
        """What is connected goes on existing, and nothing passes."""
        with self.lock:
            for flow in self.flows:
                flow.stalled = flow.stalled or direction in (BOTH, flow.direction)

    def stall_new(self):
        """The same for what connects from now on."""
        self.stalls_new = True

    def stall_at(self, direction, marker):
        """Stalls the connection on which these bytes come next, before they get through."""
        self._add_mark(direction, marker, lambda flow: self._stall(flow, BOTH))

    def stall_after(self, direction, marker):
        """Lets these bytes through, and what follows them, but nothing in the other direction."""
        other = DOWN if direction == UP else UP
        self._add_mark(direction, marker, lambda flow: self._stall(flow, other))

    def cut_at(self, direction, marker):
        """Resets the connection on which these bytes come next, before they get through."""
        self._add_mark(direction, marker, self._cut)

    def delay(self, seconds, direction=BOTH):
        """Bytes take so long from now on."""
        for one in (UP, DOWN):
            if direction in (BOTH, one):
                self.delay_seconds[one] = seconds

    def throttle(self, bytes_per_second, direction=BOTH):
        """Each connection carries no more than this; None is any number."""
        for one in (UP, DOWN):
            if direction in (BOTH, one):
                self.rate[one] = bytes_per_second
        self._wake()

    def heal(self):
        """A good line from now on; connections that were stalled are reset."""
        with self.lock:
            self.stalls_new, self.marks = False, []
            self.delay(0.0)
            self.throttle(None)
            for flow in [flow for flow in self.flows if flow.stalled]:
                self._cut(flow)
            self.accept()

    # How it is done: one thread moves all bytes.

    def _wake(self):
        with contextlib.suppress(OSError):
            self.waker.send(b"!")

    def _add_mark(self, direction, marker, act):
        with self.lock:
            self.marks.append(Mark(direction, marker, act))

    def _pair(self, flow):
        return [one for one in self.flows if flow.source in (one.source, one.target)]

    def _stall(self, flow, direction):
        for one in self._pair(flow):
            one.stalled = one.stalled or direction in (BOTH, one.direction)

    def _cut(self, flow):
        pair = self._pair(flow)
        self.flows = [one for one in self.flows if one not in pair]
        for one in pair:
            reset(one.source)

    def _run(self):
        while not self.ending:
            with self.lock:
                wanted = self._wanted(time.monotonic())
            try:
                readable, writable, _ = select.select(*wanted)
            except (OSError, ValueError):
                continue  # one was closed in the meantime
            with self.lock:
                self._serve(readable, writable)

    def _wanted(self, now):
        """The arguments of select(): who may be read, who may be written, how long to wait."""
        readers, writers, until = [self.wakened], [], now + IDLE_SECONDS
        if self.listener:
            readers.append(self.listener)
        for flow in self.flows:
            if flow.may_read():
                readers.append(flow.source)
            if flow.stalled or not flow.waiting:
                continue
            if self.rate[flow.direction]:
                until = min(until, now + RATE_SECONDS)
            elif flow.may_write(now):
                writers.append(flow.target)
            until = min(until, max(flow.waiting[0][0], now + RATE_SECONDS))
        return readers, writers, [], until - now

    def _serve(self, readable, writable):
        if self.wakened in readable:
            self.wakened.recv(CHUNK)
        if self.listener in readable:
            self._connect()
        now = time.monotonic()
        for flow in list(self.flows):
            if flow in self.flows and flow.source in readable and flow.may_read():
                self._read(flow, now)
            may_send = flow.target in writable or self.rate[flow.direction]
            if flow in self.flows and may_send and flow.may_write(now):
                self._write(flow, now)
            if flow in self.flows and flow.ended and not flow.waiting and not flow.closed:
                self._finish(flow)

    def _connect(self):
        try:
            client = self.listener.accept()[0]
        except OSError:
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target_port), 5)
        except OSError:
            reset(client)
            return
        self.connections += 1
        for one in (client, server):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = [Flow(UP, client, server), Flow(DOWN, server, client)]
        for flow in pair:
            flow.stalled = self.stalls_new
        self.flows += pair

    def _read(self, flow, now):
        try:
            data = flow.source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._cut(flow)
            return
        flow.ended = not data
        self._meet_marks(flow, data)
        if data and not flow.stalled and flow in self.flows:
            flow.put(data, now + self.delay_seconds[flow.direction])
            self.passed[flow.direction] += len(data)

    def _meet_marks(self, flow, data):
        seen = flow.tail + data
        flow.tail = seen[-64:]
        for mark in [mark for mark in self.marks
                     if mark.direction == flow.direction and mark.marker in seen]:
            self.marks.remove(mark)
            self.hits += 1
            mark.act(flow)

    def _write(self, flow, now):
        try:
            flow.send(self.rate[flow.direction], now)
        except OSError:
            self._cut(flow)

    def _finish(self, flow):
        """Passes the end of a direction on; after both the connection is gone."""
        flow.closed = True
        with contextlib.suppress(OSError):
            flow.target.shutdown(socket.SHUT_WR)
        pair = self._pair(flow)
        if all(one.closed for one in pair):
            self.flows = [one for one in self.flows if one not in pair]
            flow.source.close()
            flow.target.close()
