"""An HTTP server that plays the other side of a call: a shop's inventory service, or a receiver of
webhooks. It keeps every request, and answers as the test says, also badly.

    with PeerServer() as peer:
        peer.answer = lambda request: json_answer({"stock": 5})
        peer.answer = hang"""

import collections
import contextlib
import json
import socket
import ssl
import threading
import time

Request = collections.namedtuple("Request", "method path headers body at")
DRIP_SECONDS = 0.05


def raw_answer(status, body=b"", **headers):
    """The bytes of an answer."""
    lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def json_answer(value, status=200):
    return raw_answer(status, json.dumps(value).encode(), Content_Type="application/json")


def hang(_):
    """No answer, ever; the connection stays open."""
    return None


def close(_):
    """The connection is closed instead of an answer."""
    return b""


def drip(_):
    """An answer that comes byte by byte, and never to its end."""
    def bytes_of():
        yield from (b"%c" % byte for byte in b"HTTP/1.1 200 -\r\nContent-Length: 9999\r\n\r\n")
        while True:
            yield b" "
    return bytes_of()


def after(seconds, answer):
    """A behaviour that takes its time."""
    def slowly(request):
        time.sleep(seconds)
        return answer(request)
    return slowly


def in_turn(*behaviours):
    """The first request meets the first behaviour, and so on; the last one stays."""
    left = list(behaviours)
    lock = threading.Lock()

    def next_one(request):
        with lock:
            behaviour = left.pop(0) if len(left) > 1 else left[0]
        return behaviour(request)
    return next_one


class PeerServer:
    """Serves on a free loopback port; `answer` decides about each request."""

    def __init__(self, answer=hang, certificate=None, key=None):
        self.answer = answer
        self.requests = []
        self.connections = 0
        self.open = set()
        self.running = True
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Closes all; from then on connections are refused."""
        self.running = False
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while self.running:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        self.open.add(connection)
        with contextlib.suppress(OSError, ValueError):
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self.open.add(connection)
            with connection.makefile("rb") as stream:
                while (request := self._read(stream)) and self._reply(connection, request):
                    pass
        connection.close()
        self.open.discard(connection)

    def _read(self, stream):
        line = stream.readline()
        if not line:
            return None
        method, path, _ = line.decode().split(" ", 2)
        headers = {}
        while (line := stream.readline().decode().strip()):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        request = Request(method, path, headers, body, time.monotonic())
        self.requests.append(request)
        return request

    def _reply(self, connection, request):
        """False when the connection is to be closed."""
        answer = self.answer(request)
        if answer is None:
            while self.running and connection in self.open and connection.recv(1):
                pass
            return False
        if isinstance(answer, bytes):
            connection.sendall(answer)
            return answer != b""
        for chunk in answer:
            connection.sendall(chunk)
            time.sleep(DRIP_SECONDS)
        return False
