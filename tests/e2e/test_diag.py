"""Remote diagnosis on a real broker: accepted and refused requests, and values that no report contains."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.config import MqttConfig
from agent.diagnostics.picture_search import holds_picture
from agent.errors import TillError
from agent.fleet import diagnosis_client
from agent.fleet.diagnosis_client import DiagnosisClient, opened_report, request_tree
from agent.messages.diagnosis import REQUEST_MAX_BYTES
from agent.messages.encode import envelope
from agent.messages.keyring import OPERATORS, Keyring
from agent.messages.signing import PublicKey, Signer
from agent.messages.topics import REPORT, REQUEST
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from agent.till.remote_diagnosis import VERIFIED_PER_MINUTE
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, NO_OWN_CHECKS, TOPICS, Agent, Place, running, till_of
from tests.e2e.test_keys import facepay
from tests.waits import until_accepted

WHO = "back-office"
QUICK = ("sys.memory",)  # a check without dependencies


@pytest.fixture
def operator(place: Place) -> Signer:
    """The key of an operator that was installed before the start of the agent."""
    signer = Signer.generate()
    Keyring(place.folder / "state", OPERATORS).trust(WHO, signer.public)
    return signer


def pinned(place: Place) -> PublicKey:
    return Signer.load_or_create(place.folder / "state").public


def client_of(place: Place, signer: Signer, who: str = WHO) -> DiagnosisClient:
    return DiagnosisClient(MqttConfig(port=place.broker.port), TOPICS, who, signer, pinned(place))


class Line:
    """A raw connection that sends forged requests and receives every report."""

    def __init__(self, place: Place) -> None:
        self.received: asyncio.Queue[Message] = asyncio.Queue()
        self.epoch: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._key = pinned(place)
        filters = [(TOPICS.state, 1), (f"{TOPICS.base}/diag/+/{REPORT}", 1)]
        config = MqttConfig(port=place.broker.port)
        self.link = Connection(config, ClientOptions("raw", filters, self._arrived, lambda: None))

    def _arrived(self, message: Message) -> None:
        if message.topic != TOPICS.state:
            self.received.put_nowait(message)
        elif not self.epoch.done() and (state := json.loads(message.payload))["status"] != "offline":
            self.epoch.set_result(state["epoch"])

    async def send(self, payload: bytes, who: str = WHO, *, retained: bool = False) -> None:
        await self.link.publish(Message(TOPICS.diag(who, REQUEST), payload, retained))

    async def report(self, timeout_s: float = 60) -> dict[str, Any]:
        message = await asyncio.wait_for(self.received.get(), timeout_s)
        reported = opened_report(json.loads(message.payload), self._key)
        assert reported is not None, "signed by the terminal"
        return reported

    async def silence(self, seconds: float = 0.7) -> None:
        with pytest.raises(TimeoutError):
            await self.report(seconds)


@asynccontextmanager
async def lined(place: Place, scene: str = "empty") -> AsyncIterator[tuple[Line, str, Agent]]:
    async with running(place.config(scene)) as agent:
        line = Line(place)
        await line.link.start()
        try:
            yield line, await asyncio.wait_for(line.epoch, 60), agent
        finally:
            await line.link.stop()


async def test_a_trusted_operator_gets_the_doctors_findings_signed(place: Place, operator: Signer) -> None:
    before = place.service.calls
    async with running(place.config("empty"), code=NO_OWN_CHECKS):
        reported = await client_of(place, operator).request_report()
    assert place.service.calls == before, "no API call"
    rows = {row["id"]: row for row in reported["doctor"]["checks"]}
    assert rows["agent.status"]["verdict"] == "pass" and rows["camera.detect"]["verdict"] == "pass"
    assert rows["model.integrity"]["verdict"] == "pass" and rows["net.tcp"]["verdict"] == "pass"
    assert not {"api.auth", "mqtt.roundtrip", "camera.focus", "camera.mounting"} & set(rows), (
        "these checks need a device or an API call"
    )


def _picture(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(ENROLLED)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (lambda folder: (folder / "secret").chmod(0o644), "compare.secret_key_file"),
        (lambda folder: _picture(folder / "state/photo-of-anna.bin"), "<storage.directory><path>"),
        (lambda folder: (folder / "agent.toml").write_text('site = "photo-of-anna shop"'), "config_invalid"),
    ],
    ids=["a secret readable for every user", "a picture in the state directory", "a broken config"],
)
async def test_report_contains_no_value_of_the_config_no_path_and_no_secret(
    place: Place, operator: Signer, fault: Callable[[Path], object], named: str
) -> None:
    folder = place.folder
    async with running(place.config("empty")):
        fault(folder)
        reported = await client_of(place, operator).request_report()
    output = json.dumps(reported["doctor"], ensure_ascii=False)
    assert reported["doctor"]["exit"] > 0 and named in output, "the fault is named by its config key"
    hidden = [str(folder), "127.0.0.1", str(place.service.url), "1250000001", "AKIDEXAMPLE", "photo-of-anna"]
    hidden += [str(place.broker.port), place.service.url.split(":")[2].split("/")[0], "terminals"]
    for word in hidden:
        assert word not in output, word
    assert not holds_picture(output.encode())


async def test_diag_ask_prints_the_report(place: Place, tmp_path: Path) -> None:
    config, signer = place.config("empty"), Signer.generate()
    signer.save(tmp_path / "ops.key")
    (tmp_path / "ops.pem").write_bytes(signer.public.pem())
    trusted = await asyncio.to_thread(
        facepay, "keys", "trust", WHO, tmp_path / "ops.pem", "--operator", "--config", config
    )
    assert "operator back-office is trusted" in trusted.stdout and "Restart the agent" in trusted.stdout
    async with running(config):
        (tmp_path / "terminal.pem").write_bytes(pinned(place).pem())
        where = ("--port", str(place.broker.port), "--site", "shop-1", "--terminal", "terminal-1")
        keys = ("--sign-key", tmp_path / "ops.key", "--key", tmp_path / "terminal.pem")
        done = await asyncio.to_thread(facepay, "diag", "ask", *where, *keys, "--only", "model.integrity")
        assert done.returncode == 0 and "✓ model.integrity" in done.stdout, done
        done = await asyncio.to_thread(facepay, "diag", "ask", *where, *keys)
        assert done.returncode == 1 and "diag_declined: the terminal declined: rate_limited" in done.stderr


async def test_terminal_without_trusted_operators_does_not_subscribe(place: Place) -> None:
    async with lined(place) as (line, epoch, _):
        await line.send(envelope("diag", request_tree(TOPICS, WHO, epoch, QUICK), Signer.generate()))
        await line.silence()


def _unsigned(tree: dict[str, Any], _key: Signer, _till: Signer) -> bytes:
    return envelope("diag", tree, None)


def _by_an_unknown_key(tree: dict[str, Any], _key: Signer, _till: Signer) -> bytes:
    return envelope("diag", tree, Signer.generate())


def _by_a_till(tree: dict[str, Any], _key: Signer, till: Signer) -> bytes:
    return envelope("diag", tree, till)


def _as_another_kind(tree: dict[str, Any], key: Signer, _till: Signer) -> bytes:
    outer = json.loads(envelope("cancel", tree, key))
    return json.dumps({"diag": outer["cancel"], "jws": outer["jws"]}).encode()


def _changed(tree: dict[str, Any], key: Signer, _till: Signer) -> bytes:
    return envelope("diag", tree, key).replace(b"sys.memory", b"net.tcpxxx")


def _too_large(tree: dict[str, Any], key: Signer, _till: Signer) -> bytes:
    made = envelope("diag", tree | {"more": "x" * REQUEST_MAX_BYTES}, key)
    assert len(made) > REQUEST_MAX_BYTES
    return made


def _for_another_operator(tree: dict[str, Any], key: Signer, _till: Signer) -> bytes:
    return envelope("diag", tree | {"operator": "another-operator"}, key)


def _replayed_from_another_terminal(tree: dict[str, Any], key: Signer, _till: Signer) -> bytes:
    return envelope("diag", tree | {"terminal": "terminal-2"}, key)


def _replayed_from_another_site(tree: dict[str, Any], key: Signer, _till: Signer) -> bytes:
    return envelope("diag", tree | {"site": "shop-2"}, key)


def _for_any_terminal(tree: dict[str, Any], key: Signer, _till: Signer) -> bytes:
    return envelope("diag", {name: value for name, value in tree.items() if name != "terminal"}, key)


def _deep(_tree: dict[str, Any], _key: Signer, _till: Signer) -> bytes:
    return b'{"diag":' * 400


@pytest.mark.parametrize(
    "forge",
    [
        _unsigned,
        _by_an_unknown_key,
        _by_a_till,
        _as_another_kind,
        _changed,
        _too_large,
        _for_another_operator,
        _replayed_from_another_terminal,
        _replayed_from_another_site,
        _for_any_terminal,
        _deep,
        lambda _tree, _key, _till: b"",
        lambda _tree, _key, _till: b"\xff\xd8\xff",
    ],
)
async def test_request_without_a_trusted_signature_is_ignored_and_the_next_is_answered(
    place: Place, operator: Signer, forge: Callable[[dict[str, Any], Signer, Signer], bytes]
) -> None:
    till = Signer.generate()
    Keyring(place.folder / "state").trust(WHO, till.public)  # a till with the same name is no operator
    async with lined(place) as (line, epoch, agent):
        await line.send(forge(request_tree(TOPICS, WHO, epoch, QUICK), operator, till))
        await line.silence()
        await line.send(envelope("diag", request_tree(TOPICS, WHO, epoch, QUICK), operator))
        assert (await line.report())["declined"] is None
        assert agent.process.poll() is None


async def test_repeat_is_ignored_and_old_epoch_or_high_rate_is_declined(
    place: Place, operator: Signer
) -> None:
    async with lined(place) as (line, epoch, _):
        first = envelope("diag", request_tree(TOPICS, WHO, epoch, QUICK), operator)
        await line.send(first)
        assert (await line.report())["declined"] is None
        await line.send(first)  # the same bytes: a replay
        await line.silence()
        await line.send(envelope("diag", request_tree(TOPICS, WHO, "0" * 32, QUICK), operator))
        assert (await line.report())["declined"] == "request_stale"
        await line.send(envelope("diag", request_tree(TOPICS, WHO, epoch, QUICK), operator))
        assert (await line.report())["declined"] == "rate_limited"
        unknown = envelope("diag", request_tree(TOPICS, WHO, epoch, ("no.such",)), operator)
        await line.send(unknown, retained=True)
        await line.silence()
        await line.send(b"", retained=True)  # clear the retained message for later tests


async def test_flood_of_requests_is_limited_and_payments_continue(place: Place, operator: Signer) -> None:
    async with lined(place, "one_obama_podium") as (line, epoch, agent), till_of(place) as (till, _):
        for _ in range(60):
            await line.send(envelope("diag", request_tree(TOPICS, WHO, epoch, QUICK), operator))
        await line.send(b"x" * 100_000)
        verdict = await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)
        assert verdict.decision == "match"
        answers = line.received.qsize()
        assert 1 <= answers <= VERIFIED_PER_MINUTE, "each of them costs one signature at most"
        assert agent.process.poll() is None


async def test_request_during_a_verification_is_declined_as_busy(place: Place, operator: Signer) -> None:
    async with lined(place) as (line, epoch, _), till_of(place) as (till, _):
        asking = asyncio.create_task(till.ask(ENROLLED, ttl_ms=3_000))
        await until_accepted(till)
        await line.send(envelope("diag", request_tree(TOPICS, WHO, epoch, QUICK), operator))
        assert (await line.report())["declined"] == "busy"
        assert (await asking).decision == "undecided"


async def test_unknown_check_is_declined_and_state_and_report_of_another_key_are_ignored(
    place: Place, operator: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(place.config("empty")):
        with pytest.raises(TillError) as declined:
            await client_of(place, operator).request_report(("no.such",))
        assert "check_unknown" in str(declined.value)
        wrong_key = DiagnosisClient(
            MqttConfig(port=place.broker.port), TOPICS, WHO, operator, Signer.generate().public
        )
        monkeypatch.setattr(diagnosis_client, "STATE_TIMEOUT_S", 1.5)
        with pytest.raises(TillError, match="its state is not signed with the pinned key"):
            await wrong_key.request_report(QUICK, timeout_s=1.5)
    report = {"report": "{}", "jws": operator.sign("{}", "report")}
    assert opened_report(report, operator.public) == {}
    assert opened_report(report, Signer.generate().public) is None
