"""A bad line: a TCP proxy that can slow down, delay, stall, cut and refuse, in one direction or both,
at once or when certain bytes pass.

    with FaultProxy(server_port) as line:
        client.connect(line.port)
        line.stall_at(UP, b"COMMIT")     # the server never gets it, and nobody is told
        line.heal()

What is stalled is half-open TCP: both ends keep their connection and hear nothing more."""

import collections
import contextlib
import selectors
import socket
import struct
import threading
import time

UP, DOWN, BOTH = "up", "down", "both"  # from the client to the server, and back
CHUNK = 1 << 14
BUFFER_MAX = 1 << 16  # what waits for its delay or its turn; beyond it the sender has to wait
IDLE_SECONDS = 1
RATE_SECONDS = 0.005  # how often a line with a rate moves its bytes


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
        self.ended = False  # the source has no more
        self.closed = False  # and the target knows
        self.tail = b""  # of what has come, so that a mark is found across two chunks
        self.allowance = 0.0  # bytes that the rate lets through now
        self.allowed_at = time.monotonic()

    def may_read(self):
        return not self.stalled and not self.ended and self.waiting_size < BUFFER_MAX

    def may_write(self, now):
        return not self.stalled and self.waiting and self.waiting[0][0] <= now

    def put(self, data, due):
        self.waiting.append((due, data))
        self.waiting_size += len(data)

    def send(self, rate, now):
        """Sends what is due and what the rate allows."""
        data = self.waiting[0][1]
        if rate:
            self.allowance = min(self.allowance + (now - self.allowed_at) * rate, rate / 10)
            self.allowed_at = now
            data = data[:int(self.allowance)]
        sent = self.target.send(data) if data else 0
        self.allowance -= sent if rate else 0
        due, whole = self.waiting.popleft()
        if sent < len(whole):
            self.waiting.appendleft((due, whole[sent:]))
        self.waiting_size -= sent


class Mark:
    """Something to do to the connection on which these bytes pass, once."""

    def __init__(self, direction, marker, act):
        self.direction, self.marker, self.act = direction, marker, act


class FaultProxy:
    """Passes connections on to `target_port`; `port` is its own. Any thread may call its methods; a
    context manager that ends it. `passed` counts the bytes of each direction, `hits` how often a
    mark was met."""

    def __init__(self, target_port):
        self.target_port = target_port
        self.lock = threading.RLock()
        self.flows = []
        self.marks = []
        self.delay_seconds = {UP: 0.0, DOWN: 0.0}
        self.rate = {UP: None, DOWN: None}  # bytes a second
        self.stalls_new = False
        self.passed = {UP: 0, DOWN: 0}
        self.hits = 0
        self.connections = 0
        self.ending = False
        self.listener = None
        self.port = 0
        self.accept()
        self.waker, self.wakened = socket.socketpair()
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

    # What can be done to the line.

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
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
            self.listener.bind(("127.0.0.1", self.port))
            self.listener.listen(64)
            self.listener.setblocking(False)
            self.port = self.listener.getsockname()[1]
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
        self._wake()

    def stall_new(self):
        """So does what connects from now on."""
        self.stalls_new = True

    def stall_at(self, direction, marker):
        """Stalls, before they get through, the connection on which these bytes come next."""
        self._add_mark(direction, marker, lambda flow: self._stall_both(flow, BOTH))

    def stall_after(self, direction, marker):
        """Lets these bytes through, and whatever comes in this direction, and stalls the other."""
        other = DOWN if direction == UP else UP
        self._add_mark(direction, marker, lambda flow: self._stall_both(flow, other))

    def cut_at(self, direction, marker):
        """Resets the connection on which these bytes come next, before they get through."""
        self._add_mark(direction, marker, self._cut_both)

    def delay(self, seconds, direction=BOTH):
        """Bytes take so long from now on."""
        for one in (UP, DOWN):
            if direction in (BOTH, one):
                self.delay_seconds[one] = seconds

    def throttle(self, bytes_per_second, direction=BOTH):
        """Each connection carries no more than this."""
        for one in (UP, DOWN):
            if direction in (BOTH, one):
                self.rate[one] = bytes_per_second
        self._wake()

    def heal(self):
        """A good line for what connects from now on; what was stalled is reset."""
        with self.lock:
            self.stalls_new = False
            self.marks = []
            self.delay_seconds = {UP: 0.0, DOWN: 0.0}
            self.rate = {UP: None, DOWN: None}
            for flow in [flow for flow in self.flows if flow.stalled]:
                self._cut_both(flow)
            self.accept()

    # How it works.

    def _wake(self):
        with contextlib.suppress(OSError, AttributeError):
            self.waker.send(b"!")

    def _add_mark(self, direction, marker, act):
        with self.lock:
            self.marks.append(Mark(direction, marker, act))

    def _both(self, flow):
        return [other for other in self.flows if flow.source in (other.source, other.target)]

    def _stall_both(self, flow, direction):
        for one in self._both(flow):
            one.stalled = one.stalled or direction in (BOTH, one.direction)

    def _cut_both(self, flow):
        both = self._both(flow)
        self.flows = [other for other in self.flows if other not in both]
        for one in both:
            reset(one.source)

    def _run(self):
        while not self.ending:
            with self.lock, selectors.DefaultSelector() as selector:
                self._register(selector)
                timeout = self._patience()
                ready = selector.select(0) if timeout == 0 else None
                sources = selector.get_map()
                if ready is None and sources is not None:
                    waiting = selector
            self._wait_and_serve(timeout)

    def _interests(self, now):
        """{socket: events} that matter now."""
        wanted = collections.defaultdict(int)
        wanted[self.wakened] |= selectors.EVENT_READ
        if self.listener:
            wanted[self.listener] |= selectors.EVENT_READ
        for flow in self.flows:
            if flow.may_read():
                wanted[flow.source] |= selectors.EVENT_READ
            if flow.may_write(now) and not self.rate[flow.direction]:
                wanted[flow.target] |= selectors.EVENT_WRITE
        return wanted
