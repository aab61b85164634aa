"""Plays the service manager's part for a program: a NOTIFY_SOCKET to speak to, and a watchdog."""

import contextlib
import pathlib
import socket
import time

from box import BUILD

HANG = BUILD / "tests" / "hang.so"


class ServiceManager:
    """Listens on a socket of its own. `words` has all that was said so far, with the moment."""

    def __init__(self, folder, watchdog_s=4):
        self.path = pathlib.Path(folder) / "notify"
        self.hang_file = pathlib.Path(folder) / "hang"
        self.watchdog_s = watchdog_s
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.path.chmod(0o666)
        self.words = []

    def environment(self, hang_call=None):
        """The variables that a service is started with; `hang_call` can be made to hang later."""
        variables = {"NOTIFY_SOCKET": str(self.path),
                     "WATCHDOG_USEC": str(int(self.watchdog_s * 1000000))}
        if hang_call:
            # A sanitizer would rather be the first library itself.
            variables.update(LD_PRELOAD=str(HANG), TILLBOX_HANG_CALL=hang_call,
                             TILLBOX_HANG_FILE=str(self.hang_file),
                             ASAN_OPTIONS="verify_asan_link_order=0")
        return variables

    def listen(self, seconds):
        """Takes what is said within this time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                word = self.socket.recv(4096).decode()
                self.words.append((time.monotonic(), word))

    def count(self, word):
        return sum(said == word for _, said in self.words)

    def wait_for(self, word, seconds=20):
        """Waits until it has been said once more than before."""
        before = self.count(word)
        deadline = time.monotonic() + seconds
        while self.count(word) == before:
            assert time.monotonic() < deadline, f"no {word} in {seconds} s, only {self.words}"
            self.listen(0.05)
        return self

    def goes_quiet(self, word="WATCHDOG=1"):
        """Is there soon a whole watchdog period without this word? What was under way may come."""
        quiet_since = time.monotonic()
        deadline = quiet_since + 2 * self.watchdog_s
        while quiet_since + self.watchdog_s > time.monotonic():
            if time.monotonic() > deadline:
                return False
            before = self.count(word)
            self.listen(0.1)
            if self.count(word) > before:
                quiet_since = time.monotonic()
        return True

    @contextlib.contextmanager
    def hanging(self):
        """The call hangs meanwhile."""
        self.hang_file.touch()
        try:
            yield
        finally:
            self.hang_file.unlink()

    def close(self):
        self.socket.close()
