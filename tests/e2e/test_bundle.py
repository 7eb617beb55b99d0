"""A support archive of a terminal after verifications, searched for known secrets and a known face."""

from __future__ import annotations

import base64
import gzip
import json
import stat
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli.bundle import CONFIRMATION
from agent.cli.command_table import application
from agent.diagnostics.picture_search import holds_picture
from agent.diagnostics.redact import forms
from agent.messages.keyring import Keyring
from agent.messages.signing import KEY_FILE, Signer
from agent.resources import data
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, Place, running, till_of
from tests.e2e.test_privacy import sent, traces_of  # noqa: F401 - a fixture

PASSWORD = b"mqtt-passw0rd/of=the+shop"
STREAM = "rtsp://camera:stre4m-s3cret@10.0.0.9:554/channel-of-shop"
REFERENCE = "https://photos.example/enrolled/customer-8841.jpg?token=ref3rence-t0ken"
PERSONAL = ("cashier-anna", "customer-8841", "ref3rence-t0ken", "stre4m-s3cret", "channel-of-shop", "till-1/")


@pytest.fixture
def journal(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journalctl that prints the agent's log, and lines of a program that logs secrets."""
    programs, log = place.folder / "bin", place.folder / "agent.log"
    programs.mkdir()
    worse = place.folder / "worse.log"
    (programs / "journalctl").write_text(f"#!/bin/sh\ncat '{log}' '{worse}'\n")
    (programs / "journalctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return worse


def secrets(place: Place) -> dict[str, bytes]:
    state = place.folder / "state"
    lines = [
        *(state / KEY_FILE).read_bytes().splitlines(),
        *(place.folder / "tls.key").read_bytes().splitlines(),
    ]
    found = {f"key line {number}": line for number, line in enumerate(lines) if not line.startswith(b"-----")}
    found["secret key"] = (place.folder / "secret").read_bytes()
    found["mqtt password"] = PASSWORD
    return found


def configured(place: Place) -> Path:
    (place.folder / "password").write_bytes(PASSWORD + b"\n")
    Signer.generate().save(place.folder / "tls.key")
    for name in ("password", "tls.key"):
        (place.folder / name).chmod(0o600)
    config = place.config("one_obama_podium", "[trace]\nenabled = true\n")
    text = config.read_text().replace(
        "[mqtt]\n", f'[mqtt]\nusername = "cashier-anna"\npassword_file = "{place.folder / "password"}"\n'
    )
    config.write_text(text)
    return config


def worst_log(place: Place, crop: bytes) -> bytes:
    """A log with everything that a log must never contain."""
    rows = [b"info: " + value for value in secrets(place).values()]
    rows += [b"info: basic " + base64.b64encode(b"user:" + value) for value in secrets(place).values()]
    rows += [(place.folder / "state" / KEY_FILE).read_bytes(), f"GET {REFERENCE} at {STREAM}".encode()]
    rows += [b'{"image": "' + base64.b64encode(crop) + b'"}', crop, crop.hex().encode()]
    return b"\n".join(rows) + b"\nlast line of the log till=cashier-anna\n"


def bundled(config: Path, file: Path, *more: str, typed: str = "") -> Result:
    return CliRunner().invoke(
        application(), ["bundle", "-c", str(config), "-o", str(file), *more], input=typed
    )


def opened(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        return {
            Path(entry.name).name: taken.read()
            for entry in archive.getmembers()
            if (taken := archive.extractfile(entry)) is not None
        }


async def test_bundle_contains_no_secret_face_or_sale(
    place: Place,
    journal: Path,
    sent: list[bytes],  # noqa: F811
    tmp_path: Path,
) -> None:
    config, file = configured(place), tmp_path / "for-support.tar.gz"
    async with running(config), till_of(place) as (till, _):
        for _ in range(2):
            assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
        Keyring(place.folder / "state").trust("cashier-anna", Signer.generate().public)
        journal.write_bytes(worst_log(place, sent[0]))
        done = await _in_thread(config, file)
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    parts = opened(file)
    manifest = json.loads(parts["MANIFEST.json"])
    assert {row["name"] for row in manifest["parts"]} | {"MANIFEST.json"} == set(parts)
    assert not manifest["left_out"], "a serving terminal has all parts"
    assert set(parts) >= {
        "journal.txt",
        "traces.json",
        "last-verification.json",
        "doctor.json",
        "metrics.txt",
    }
    assert b"last line of the log till=id-" in parts["journal.txt"], "other lines are kept"
    whole = {"archive": file.read_bytes(), "tar": gzip.decompress(file.read_bytes())} | parts
    kept = json.loads((place.folder / "state" / "last-verification.json").read_text())["request_id"]
    personal = [*PERSONAL, kept, "AKIDEXAMPLE"]
    for name, raw in whole.items():
        for what, secret in secrets(place).items():
            assert not [form for form in forms(secret) if form in raw], f"{what} is in {name}"
        for word in personal:
            assert not [form for form in forms(word.encode()) if form in raw], f"{word} is in {name}"
        assert not holds_picture(raw) and not traces_of([*sent, ENROLLED], raw), f"a face is in {name}"
    assert "landmarks" not in parts["traces.json"].decode() and '"face"' not in parts["traces.json"].decode()


async def _in_thread(config: Path, file: Path, *more: str, typed: str = "") -> Result:
    """The command in a thread, while this loop serves the MQTT connection."""
    import asyncio

    return await asyncio.to_thread(bundled, config, file, *more, typed=typed)


async def test_bundle_with_picture_needs_typed_confirmation(place: Place, tmp_path: Path) -> None:
    config, file = place.config("one_obama_podium"), tmp_path / "with.tar.gz"
    async with running(config):
        refused = await _in_thread(config, file, "--with-picture", typed="yes\n")
        assert refused.exit_code == 1 and not file.exists()
        done = await _in_thread(config, file, "--with-picture", typed=f"{CONFIRMATION}\n")
    assert done.exit_code == 0, done.output
    parts = opened(file)
    assert parts["picture.jpg"].startswith(b"\xff\xd8\xff")
    rows = {row["name"]: row for row in json.loads(parts["MANIFEST.json"])["parts"]}
    assert [name for name, row in rows.items() if row["holds_a_picture_of_a_person"]] == ["picture.jpg"]
    assert not any(holds_picture(raw) for name, raw in parts.items() if name != "picture.jpg")


def test_bundle_without_agent_lists_missing_parts(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "off.tar.gz"
    done = bundled(place.config("empty"), file, "--json")
    reported = json.loads(done.stdout)
    assert done.exit_code == 0 and reported["left_out"]["status.json"].startswith("status_socket_missing")
    assert reported["left_out"]["traces.json"].startswith("not_recorded")
    again = bundled(place.config("empty"), file)
    assert again.exit_code == 1 and getattr(again.exception, "code", "") == "file_exists"


def test_search_of_these_tests_finds_planted_secrets(place: Place) -> None:
    configured(place)
    Signer.generate().save(place.folder / KEY_FILE)
    (place.folder / "state").mkdir(exist_ok=True)
    (place.folder / KEY_FILE).rename(place.folder / "state" / KEY_FILE)
    crop = data("photos/obama_portrait.jpg").read_bytes()
    raw = worst_log(place, crop)
    assert all(any(form in raw for form in forms(secret)) for secret in secrets(place).values())
    assert holds_picture(raw) and traces_of([crop], raw)
