"""SIGTERM, restart and SIGHUP of the program under load: no request is lost, and readiness ends at once."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.brokers import free_port
from tests.service.certificates import self_signed
from tests.service.kit import APPID, files, sign
from tests.service.pictures import photo
from tests.service.program import WAIT_S, WITHOUT_OPENVINO, Program, program, start, until_ready, write_config

OBAMA, PODIUM = photo("obama_portrait"), photo("obama_podium")


@dataclass
class Load:
    """Clients that post one comparison after the other, each over a new connection."""

    url: str
    codes: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self, clients: int) -> Iterator[None]:
        ended = threading.Event()
        threads = [threading.Thread(target=self._post_until, args=(ended,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join(WAIT_S)

    def until(self, count: int) -> None:
        until = time.monotonic() + WAIT_S
        while len(self.codes) + len(self.errors) < count:
            assert time.monotonic() < until, (self.codes, self.errors)
            time.sleep(0.02)

    def _post_until(self, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                with httpx.Client(trust_env=False, timeout=WAIT_S) as http:
                    answer = http.post(self.url, headers={"Authorization": sign()}, **files(PODIUM, OBAMA))
                self.codes.append(answer.json()["code"])
            except Exception as error:
                self.errors.append(repr(error))


class Supervisor:
    """The part of systemd that keeps a descriptor: receives ``FDSTORE=1``, passes it to the next process."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(WAIT_S)
        self.kept: int | None = None

    def receive_until(self, text: bytes) -> None:
        while True:
            message, ancillary, _, _ = self._socket.recvmsg(4_096, 1_024)
            for _, _, data in ancillary:
                if b"FDSTORE=1" in message:
                    self.kept = array.array("i", data)[0]
            if text in message:
                return

    def close(self) -> None:
        self._socket.close()


def start_with(kept: int, config: Path, log: Path, notify: str, setup: str) -> Program:
    """Start with the kept descriptor as number 3, as sd_listen_fds(3)."""
    saved = os.dup(3) if kept != 3 else None
    try:
        os.dup2(kept, 3, inheritable=True)
        return start(config, log, setup=setup, LISTEN_FDS="1", NOTIFY_SOCKET=notify)
    finally:
        if saved is not None:
            os.dup2(saved, 3)
            os.close(saved)


@pytest.mark.parametrize(
    ("setup", "library"),
    [(WITHOUT_OPENVINO, "OpenCV"), pytest.param("", "OpenVINO", marks=pytest.mark.long)],
)
def test_restart_under_load_refuses_and_loses_no_request(tmp_path: Path, setup: str, library: str) -> None:
    supervisor = Supervisor(tmp_path)
    config = write_config(tmp_path / "service.toml", port=free_port(), answer_within_ms=30_000)
    config.write_text(config.read_text().replace("port = 0\n", ""))
    started = start(config, tmp_path / "log-1", setup=setup, NOTIFY_SOCKET=supervisor.address)
    first = until_ready(started)
    supervisor.receive_until(b"READY=1")
    assert supervisor.kept is not None
    load = Load(first.url)
    programs = [first]
    try:
        with load.running(clients=3):
            load.until(6)
            for number in (2, 3):
                assert programs[-1].stop() == 0
                log = tmp_path / f"log-{number}"
                programs.append(start_with(supervisor.kept, config, log, supervisor.address, setup))
                until_ready(programs[-1])
                load.until(len(load.codes) + 6)
    finally:
        for each in programs:
            each.process.kill()
            each.process.wait()
        supervisor.close()
    assert not load.errors
    assert set(load.codes) == {0}
    for each in programs:
        assert "Traceback" not in each.lines()
        assert f'"library": "{library}' in each.lines()


def test_sigterm_ends_readiness_at_once_and_answers_open_requests(tmp_path: Path) -> None:
    with program(tmp_path, drain_ms=4_000, answer_within_ms=30_000) as service:
        ready = service.url.replace("/face/compare", "/readyz")
        with httpx.Client(trust_env=False, timeout=WAIT_S) as http:
            assert http.get(ready).status_code == 200
            load = Load(service.url)
            with load.running(clients=4):
                load.until(1)
                service.process.send_signal(signal.SIGTERM)
                until = time.monotonic() + 60
                while (answer := http.get(ready)).status_code == 200:
                    assert time.monotonic() < until
                assert answer.headers["connection"] == "close"
                before = len(load.codes)
                load.until(before + 1)  # a new connection is still answered
        assert service.process.wait(WAIT_S) == 0
    assert set(load.codes) == {0}
    lines = service.lines()
    assert "Traceback" not in lines and '"code": 213' not in lines


async def test_request_that_outlives_the_stop_has_code_15(tmp_path: Path) -> None:
    with program(tmp_path, drain_ms=0, body_timeout_ms=60_000) as service:
        reader, writer = await asyncio.open_connection(*service.address)
        head = f"POST /face/compare HTTP/1.1\r\nHost: x\r\nAuthorization: {sign()}\r\nContent-Length: 9\r\n"
        writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        answer = await asyncio.wait_for(reader.read(), WAIT_S)
        assert b'"code":15' in answer and b'"cause":"stopping"' in answer
        assert await asyncio.to_thread(service.process.wait, WAIT_S) == 0
        writer.close()
    assert "Traceback" not in service.lines()


def served_certificate(service: Program) -> str:
    return ssl.get_server_certificate(service.address, timeout=WAIT_S)


def test_sighup_applies_accounts_and_certificate(tmp_path: Path) -> None:
    cert_file, key_file = self_signed(tmp_path)
    names = {"cert_file": f"'{cert_file}'", "key_file": f"'{key_file}'"}
    with program(tmp_path, fresh=False, **names) as service:
        before = served_certificate(service)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def code(secret_id: str) -> int:
            with httpx.Client(trust_env=False, timeout=WAIT_S, verify=context) as http:
                form = {"appid": APPID, "urlA": "x", "urlB": "x"}
                headers = {"Authorization": sign(secret_id=secret_id)}
                answer = http.post(service.url, headers=headers, json=form)
            found: int = answer.json()["code"]
            return found

        assert code("SECOND") == 11
        self_signed(tmp_path)
        second = f'[[accounts]]\nappid = "{APPID}"\nsecret_id = "SECOND"\nexample = true\n'
        write_config(service.config, second, **names)
        service.process.send_signal(signal.SIGHUP)
        service.wait_for('"reloaded"')
        assert served_certificate(service) != before
        assert (code("SECOND"), code("AKIDEXAMPLEEXAMPLEEXAMPLE")) == (-1505, 11)
        service.config.write_text("nonsense")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for('"reload_refused"')
        assert code("SECOND") == -1505
        assert service.stop() == 0


def test_sighup_during_the_start_is_applied_after_it(tmp_path: Path) -> None:
    setup = (
        "import os, signal; from agent.service import compare_service as service\n"
        "load = service.load_recognisers\n"
        "service.load_recognisers = lambda config: (os.kill(os.getpid(), signal.SIGHUP), load(config))[1]\n"
    )
    with program(tmp_path, setup=setup) as service:
        service.wait_for('"reloaded"')
        assert service.stop() == 0
