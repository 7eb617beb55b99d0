"""The ports of the tests."""

from __future__ import annotations

import subprocess
import sys

PORTS = "from tests.brokers import free_port; print(*(free_port() for _ in range(150)))"


def test_no_port_is_given_to_two_workers_or_twice() -> None:
    given = list[str]()
    for worker in ("gw0", "gw1"):
        env = {"PYTEST_XDIST_WORKER": worker, "PYTEST_XDIST_WORKER_COUNT": "60"}
        command = [sys.executable, "-c", PORTS]
        given += subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.split()
    assert len(given) == len(set(given)) == 300
