"""After verifications no picture is in any file or message; the search itself is tested, too."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.diagnostics.picture_search import holds_picture
from agent.diagnostics.privacy import audit
from agent.diagnostics.stored_files import Level
from agent.messages.signing import KEY_FILE
from agent.resources import data
from agent.root.doctor import inputs_from_file
from agent.service.worker_pool import WorkerPool
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, Agent, Place, running, till_of

PIECE = 24  # bytes: long enough to be unique


def pieces_of(raw: bytes) -> list[bytes]:
    """Pieces of a picture in the forms of a file: raw, base64, hex."""
    found = list[bytes]()
    for start in range(0, len(raw) - PIECE, max(PIECE, len(raw) // 40)):
        piece = raw[start : start + PIECE]
        if len(set(piece)) < 8:
            continue  # padding and flat areas are in every file
        shifted = [base64.b64encode(b"\0" * pad + piece)[4:-4] for pad in range(3)]
        found += [piece, piece.hex().encode(), *shifted]
    return found


def traces_of(pictures: list[bytes], raw: bytes) -> list[bytes]:
    return [piece for picture in pictures for piece in pieces_of(picture) if piece in raw]


@contextmanager
def capturing(port: int, path: Path) -> Iterator[None]:
    """Record all messages of the broker into ``path``; requests contain an enrolled photo."""
    command = ["mosquitto_sub", "-p", str(port), "-V", "5", "-t", "facepay/#", "-F", "%t %x"]
    with path.open("wb") as file, subprocess.Popen(command, stdout=file) as listening:
        try:
            yield
        finally:
            listening.terminate()


def messages(path: Path) -> dict[str, bytes]:
    """topic → all its payloads."""
    reported = dict[str, bytes]()
    for line in path.read_text().splitlines():
        topic, _, payload = line.partition(" ")
        reported[topic] = reported.get(topic, b"") + bytes.fromhex(payload)
    return reported


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The crops that the compare service received: they must be nowhere else."""
    crops = list[bytes]()
    compare = WorkerPool.compare

    async def recording(self: WorkerPool, first: bytearray, second: bytearray, *rest: float) -> float:
        crops.extend(bytes(each) for each in (first, second) if each != ENROLLED)
        return await compare(self, first, second, *rest)

    monkeypatch.setattr(WorkerPool, "compare", recording)
    return crops


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All folders in which the agent may write: home, cache and temporary folder."""
    folder = tmp_path / "home"
    for name, place in (("HOME", ""), ("XDG_CACHE_HOME", "cache"), ("TMPDIR", "tmp")):
        (folder / place).mkdir(exist_ok=True)
        monkeypatch.setenv(name, str(folder / place))
    return folder


async def test_after_verifications_no_file_and_no_message_contains_a_picture(
    place: Place, home: Path, sent: list[bytes], tmp_path: Path
) -> None:
    config, captured = place.config("one_obama_podium", "[trace]\nenabled = true\n"), tmp_path / "mqtt.txt"
    with capturing(place.broker.port, captured):
        async with running(config) as agent, till_of(place) as (till, _):
            for _ in range(3):
                assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
            _audit_beside_the_running_agent(config, agent, home)
            agent.process.terminate()
            assert await agent.ended(60) == 0
        await asyncio.sleep(0.2)
    reported = messages(captured)
    topics = {topic.rsplit("/", 1)[1] for topic in reported}
    assert topics >= {"request", "result", "event", "state", "ack"}
    assert len(sent) == 3 and all(crop.startswith(b"\xff\xd8\xff") for crop in sent)
    scene = data("photos/obama_podium.jpg").read_bytes()
    output = b"".join(payload for topic, payload in reported.items() if not topic.endswith("/request"))
    assert not holds_picture(output) and not traces_of([*sent, scene], output)
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path != captured]
    assert {path.name for path in kept} >= {KEY_FILE, "outbox.sqlite3", "agent.log", "last-verification.json"}
    assert any(path.suffix == ".jsonl" for path in kept), "a trace was stored, too"
    for path in kept:
        assert not holds_picture(path.read_bytes()), path
        assert not traces_of([*sent, scene], path.read_bytes()), path
    request = b"".join(payload for topic, payload in reported.items() if topic.endswith("/request"))
    assert holds_picture(request) and traces_of([ENROLLED], request), "the search finds the till's own photo"


def own_root(home: Path) -> Path:
    """The root of this machine for the audit, with the temporary folders of this test only."""
    root = home / "root"
    (root / "var").mkdir(parents=True)
    for name in ("etc", "proc", "run", "sys"):
        (root / name).symlink_to(f"/{name}")
    for name in ("tmp", "var/tmp"):
        (root / name).symlink_to(home / "tmp")
    return root


def _audit_beside_the_running_agent(config: Path, agent: Agent, home: Path) -> None:
    items = audit(replace(inputs_from_file(config), root=own_root(home)))
    state = [item for item in items if "/state/" in item.path]
    assert {item.level for item in state} == {Level.OK}, state
    assert not any("a picture" in str(item.finding) for item in items)
    limits = Path(f"/proc/{agent.process.pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits, "a crash writes no core dump"


def test_audit_searches_the_temporary_folder_of_its_root_only(
    place: Place, home: Path, tmp_path: Path
) -> None:
    """A folder of another program in the system's temporary folder fails no test here."""
    (home / "tmp" / "facepay-left").mkdir()
    (home / "tmp" / "facepay-left" / "x.jpg").write_bytes(data("photos/obama_portrait.jpg").read_bytes())
    items = audit(replace(inputs_from_file(place.config("empty")), root=own_root(home)))
    found = [item.path for item in items if "a picture" in str(item.finding)]
    assert len(found) == 2 and all(path.endswith("tmp/facepay-left") for path in found), found


@pytest.mark.parametrize("form", [lambda raw: raw, base64.b64encode, lambda raw: raw.hex().encode()])
def test_search_finds_a_planted_picture(form: Any) -> None:
    crop = data("photos/obama_portrait.jpg").read_bytes()
    assert holds_picture(b'{"x": "' + form(crop) + b'"}')
    middle = crop[5_000:9_000]  # a part without head and tail
    assert not holds_picture(form(middle)) and traces_of([crop], b"x" + form(middle))
    assert not traces_of([crop], b"nothing of it" * 1_000)
