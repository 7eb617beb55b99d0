"""`facepay till ack | verify | simulate | conformance` and `facepay keys`: real processes, a real broker."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

import pytest

from agent.kits.till_conformance.scenarios import SCENARIOS
from agent.messages.signing import KEY_FILE, PublicKey, Signer
from tests import commands
from tests.brokers import Mosquitto, free_port
from tests.contract import golden
from tests.kits.till_conformance.reference_till import ReferenceTill

facepay = partial(commands.facepay, PYTHONWARNINGS="error")


@dataclass(frozen=True)
class Running:
    """A command that runs, and the other ends of its outputs."""

    command: commands.Command
    stdout: TextIO
    stderr: TextIO


@contextmanager
def running(*arguments: str | Path, env: dict[str, str] | None = None) -> Iterator[Running]:
    (out, its_out), (err, its_err) = os.pipe(), os.pipe()
    words, strict = list(map(str, arguments)), {"PYTHONWARNINGS": "error"} | (env or {})
    with (
        os.fdopen(out, encoding="utf-8") as stdout,
        os.fdopen(err, encoding="utf-8") as stderr,
        commands.Command(words, stdout=its_out, stderr=its_err, env=strict) as command,
    ):
        os.close(its_out)
        os.close(its_err)
        try:
            yield Running(command, stdout, stderr)
        finally:
            command.kill()
            command.wait()


def wait_for(path: Path) -> bytes:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.05)
    return path.read_bytes()


# --- simulate, ask, verify, ack -----------------------------------------------------------------------


def test_simulate_answers_a_request_and_the_captured_result_verifies(
    broker: Mosquitto, tmp_path: Path
) -> None:
    pem, photo = tmp_path / "terminal.pem", tmp_path / "photo.jpg"
    photo.write_bytes(golden.PHOTO)
    options = ("--port", str(broker.port), "--terminal", "simulated-1")
    with running("till", "simulate", "--key", pem, "--requests", "1", "--json", *options) as simulator:
        first = json.loads(simulator.stdout.readline())  # the line that the tutorial names
        assert first["topic"].endswith("/state") and json.loads(first["payload"])["status"] == "online"
        assert pem.exists()
        completed = facepay("till", "ask", photo, "--key", pem, *options)
        assert completed.returncode == 0, completed.stderr
        assert "match/same_person" in completed.stdout and "signature valid" in completed.stdout
        assert simulator.command.wait(60) == 0, simulator.stderr.read()
        output = simulator.stdout.read()
    lines = [first, *(json.loads(line) for line in output.splitlines())]
    wire = {line["topic"].rsplit("/", 1)[1]: line["payload"] for line in lines}
    assert {"state", "request", "event", "result", "ack"} <= set(wire)
    for kind in ("request", "result"):
        (tmp_path / f"{kind}.json").write_text(wire[kind])
    files = (tmp_path / "result.json", "--key", pem, "--request", tmp_path / "request.json")
    checked = facepay("till", "verify", *files)
    assert (checked.returncode, checked.stdout.split(";")[0]) == (
        0,
        "valid: match/same_person from site/simulated-1",
    )


def test_ask_prints_nothing_about_a_signature_when_no_result_came(broker: Mosquitto, tmp_path: Path) -> None:
    pem, photo = tmp_path / "terminal.pem", tmp_path / "photo.jpg"
    photo.write_bytes(golden.PHOTO)
    options = ("--port", str(broker.port), "--terminal", "simulated-3")
    with running("till", "simulate", "--scenario", "silent", "--key", pem, *options):
        wait_for(pem)
        completed = facepay("till", "ask", photo, "--key", pem, "--ttl-ms", "1000", *options)
    assert completed.returncode == 2
    assert completed.stdout == "undecided/timed_out, no acceptable result arrived; nothing was verified\n"


@pytest.mark.parametrize(
    ("dropped", "words"),
    [
        ("request", "No `accepted` event arrived. At the broker, let the terminal read"),
        ("result", "An `accepted` event arrived, and no result in time."),
    ],
)
def test_ask_without_an_answer_names_the_missing_right(dropped: str, words: str, tmp_path: Path) -> None:
    """Mosquitto confirms each subscription, and drops the messages that the ACL does not allow to read."""
    kinds = ("request", "cancel", "ack", "event", "result", "get_state", "state_copy")
    rights = [
        f"topic {'write' if kind == dropped else 'readwrite'} facepay/v1/+/+/verify/+/{kind}"
        for kind in kinds
    ]
    (tmp_path / "acl").write_text("\n".join(["topic readwrite facepay/v1/+/+/state", *rights]) + "\n")
    broker = Mosquitto(tmp_path, f"acl_file {tmp_path / 'acl'}").start()
    pem, photo = tmp_path / "terminal.pem", tmp_path / "photo.jpg"
    photo.write_bytes(golden.PHOTO)
    options = ("--port", str(broker.port))
    # an unread match would become the event result_expired
    with running("till", "simulate", "--scenario", "different_person", "--key", pem, *options):
        wait_for(pem)
        completed = facepay("till", "ask", photo, "--key", pem, "--ttl-ms", "2000", *options)
    broker.stop()
    assert completed.returncode == 2 and completed.stdout.startswith("undecided/timed_out")
    assert words in completed.stderr and "MQTT 服务器" in completed.stderr, completed.stderr


@pytest.mark.parametrize("command", ["simulate", "conformance"])
def test_command_with_a_key_deletes_its_folder_at_sigterm(
    broker: Mosquitto, tmp_path: Path, command: str
) -> None:
    pem, listen = tmp_path / "terminal.pem", ("--listen", "0") if command == "conformance" else ()
    words = ("--key", pem, "--port", str(broker.port), "--terminal", f"ends-{command}", *listen)
    with tempfile.TemporaryDirectory() as folder:  # not in tmp_path: the path of a state directory is limited
        with running("till", command, *words, env={"TMPDIR": folder}) as started:
            wait_for(pem)
            assert [path.name.startswith(f"facepay-{command}-") for path in Path(folder).iterdir()] == [True]
            os.kill(started.command.pid, signal.SIGTERM)
            assert started.command.wait(60) == 130
        assert list(Path(folder).iterdir()) == []


def test_a_photo_of_80_kb_is_refused_at_once_with_its_size(broker: Mosquitto, tmp_path: Path) -> None:
    pem, photo = tmp_path / "terminal.pem", tmp_path / "photo.jpg"
    photo.write_bytes(b"x" * 80_000)
    options = ("--port", str(broker.port), "--terminal", "simulated-4")
    with running("till", "simulate", "--key", pem, *options):
        wait_for(pem)
        completed = facepay(
            "till", "ask", photo, "--ttl-ms", "60000", *options
        )  # longer than the time-out of this test
    assert completed.returncode == 1 and "\nrequest_too_large: " in completed.stderr
    assert "80000 bytes" in completed.stderr and "60000" in completed.stderr


def test_a_wrong_scenario_or_script_is_named(broker: Mosquitto, tmp_path: Path) -> None:
    done = facepay("till", "simulate", "--scenario", "sunshine", "--port", str(broker.port))
    assert done.returncode == 78 and "sunshine" in done.stderr and "wrong_nonce" in done.stderr
    script = tmp_path / "script.toml"
    script.write_text("[[answer]]\nfaul = 'late'\n")
    done = facepay("till", "simulate", "--script", script)
    assert done.returncode == 78 and f"{script}:2" in done.stderr
    done = facepay("till", "simulate", "--host", "broker.example")
    assert done.returncode == 78 and "loopback" in done.stderr


def test_simulate_without_a_broker_reports_mqtt_unreachable() -> None:
    done = facepay("till", "simulate", "--port", str(free_port()))
    assert done.returncode == 1 and done.stderr.startswith("mqtt_unreachable: ")


def test_verify_names_the_rule(tmp_path: Path) -> None:
    key, result = golden.FOLDER / "terminal-key.pem", golden.FOLDER / "result-match.json"
    request = golden.FOLDER / "request.json"
    done = facepay("till", "verify", result, "--key", key, "--request", request, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["result"]["result_id"] == golden.RESULT_ID
    altered = tmp_path / "altered.json"
    altered.write_text(result.read_text().replace("93.42", "99.99"))
    done = facepay("till", "verify", altered, "--key", key)
    assert (done.returncode, done.stdout) == (1, "NOT valid: the signature is not the pinned key's\n")
    done = facepay("till", "verify", result, "--key", result)
    assert done.returncode == 1 and done.stderr.startswith("key_unusable: ")


def test_ack_reaches_the_terminal(broker: Mosquitto, tmp_path: Path) -> None:
    pem, options = tmp_path / "terminal.pem", ("--port", str(broker.port), "--terminal", "simulated-2")
    with running("till", "simulate", "--key", pem, *options) as simulator:
        wait_for(pem)
        done = facepay("till", "ack", golden.RESULT_ID, *options)
        assert (done.returncode, done.stdout) == (0, f"acknowledged {golden.RESULT_ID}\n"), done.stderr
        lines = iter(simulator.stdout.readline, "")
        assert any("/ack " in line and golden.RESULT_ID in line for line in lines)
    done = facepay("till", "ack", "the-last-one")
    assert done.returncode == 1 and done.stderr.startswith("id_invalid: ")


# --- conformance --------------------------------------------------------------------------------------


def test_conformance_reports_the_scenarios_of_a_till(broker: Mosquitto, tmp_path: Path) -> None:
    pem, listen = tmp_path / "terminal.pem", free_port()
    options = ("--port", str(broker.port), "--listen", str(listen), "--settle-ms", "200", "--terminal", "kit")
    only = ("--only", "match", "--only", "wrong_nonce", "--wait-s", "20", "--json")
    with running("till", "conformance", "--key", pem, *only, *options) as kit:
        assert f"127.0.0.1:{listen}" in kit.stderr.readline()
        till = ReferenceTill(listen, wait_for(pem), ("site", "kit", "till-1"), ttl_ms=1_500)
        till.start()
        drained = threading.Thread(target=kit.stderr.read)
        drained.start()
        try:
            report = json.loads(kit.stdout.read())
        finally:
            till.stop()
            drained.join()
        assert kit.command.wait(60) == 0, report
    assert report["passed"]
    assert [row["scenario"] for row in report["scenarios"]] == ["match", "wrong_nonce"]


def test_conformance_without_a_till_passes_nothing(broker: Mosquitto, tmp_path: Path) -> None:
    options = ("--port", str(broker.port), "--listen", "0", "--terminal", "empty")
    done = facepay(
        "till", "conformance", "--key", tmp_path / "k.pem", "--wait-s", "1", "--settle-ms", "50", *options
    )
    assert done.returncode == 1
    assert f"0 of {len(SCENARIOS)} passed" in done.stdout
    assert "your till: ask" in done.stderr
    done = facepay("till", "conformance", "--key", tmp_path / "k.pem", "--only", "sunshine")
    assert done.returncode == 78 and "sunshine" in done.stderr


# --- keys ---------------------------------------------------------------------------------------------


def test_keys_show_prints_the_key_that_a_till_pins(tmp_path: Path) -> None:
    signer = Signer.load_or_create(tmp_path)
    done = facepay("keys", "show", "--directory", tmp_path)
    assert PublicKey.load(done.stdout.encode()).pem() == signer.public.pem()
    assert signer.fingerprint in done.stderr
    facts = json.loads(facepay("keys", "show", "--directory", tmp_path, "--json").stdout)
    pem = signer.public.pem().decode()
    assert facts == {
        "kid": signer.key_id,
        "sha256": signer.fingerprint,
        "pem": pem,
        "tills": {},
        "operators": {},
    }
    private = (tmp_path / KEY_FILE).read_text().splitlines()[1]
    assert private not in done.stdout + done.stderr


def test_keys_show_creates_no_key(tmp_path: Path) -> None:
    done = facepay("keys", "show", "--directory", tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("key_missing: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [["till", "ack"], ["till", "verify"], ["till", "simulate"], ["till", "conformance"], ["keys", "show"]],
    ids=" ".join,
)
def test_help_of_every_command_has_an_example(command: list[str]) -> None:
    output = facepay(*command, "--help")
    assert output.returncode == 0, output.stderr
    assert "Example:" in output.stdout and f"facepay {' '.join(command)}" in output.stdout
    assert "--json" in output.stdout
