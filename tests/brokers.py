"""Real brokers for tests: one mosquitto process per test, on a free loopback port."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

BUSY_S = 60  # an upper bound for a machine with other work
MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


def free_port() -> int:
    """A free port below the range of ephemeral ports.

    A broker that is stopped and started again needs the same port. An outgoing connection of any process
    could take an ephemeral port in between.
    """
    while True:
        port = random.randrange(20_000, 30_000)
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
