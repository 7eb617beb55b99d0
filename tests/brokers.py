"""Real brokers for tests: one mosquitto process per test, on a free loopback port."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import cycle
from pathlib import Path

BUSY_S = 60  # an upper bound for a machine with other work
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


@cache
def _ports() -> Iterator[int]:
    """The ports of this pytest worker, again and again: no other worker of the run gets one of them."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = range(20_000 + worker, 30_000, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    first = random.SystemRandom().randrange(len(own))  # another run on this machine begins elsewhere
    return cycle([*own[first:], *own[:first]])


def free_port() -> int:
    """A free port below the range of ephemeral ports, and another one at each call.

    The program of a test binds the port later, and a broker that is stopped and started again needs the same
    port. In between, neither an outgoing connection of any process nor another test can take it.
    """
    while True:
        port = next(_ports())
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Mosquitto:
    """One broker process; ``start`` after ``stop`` or ``kill`` uses the same port again."""

    def __init__(self, folder: Path, *lines: str) -> None:
        assert Path(MOSQUITTO).exists(), "no mosquitto: make test installs it (apt-get install mosquitto)"
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self._write(lines)

    def allow(self, *lines: str, anonymous: bool = True) -> None:
        """Start again, after ``stop``, with these lines in the config."""
        self._write((*lines, *([] if anonymous else ["allow_anonymous false"])))
        self.start()

    def _write(self, lines: Sequence[str]) -> None:
        # As root, mosquitto would change to a user without access to the files of a test.
        base = ["user root", f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence false"]
        self._config.write_text("\n".join([*base, *lines]) + "\n")

    def start(self) -> Mosquitto:
        quiet = subprocess.DEVNULL
        command = [MOSQUITTO, "-c", str(self._config)]
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        deadline = time.monotonic() + BUSY_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "mosquitto ended at once: check its config"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise AssertionError(f"mosquitto did not listen within {BUSY_S} s")

    @property
    def pid(self) -> int:
        """Process id of the broker."""
        assert self._process is not None, "not started"
        return self._process.pid

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(BUSY_S)
            self._process = None

    def kill(self) -> None:
        """End the process without any shutdown, like a power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(BUSY_S)
            self._process = None
