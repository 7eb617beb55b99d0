"""The JSON of the commands that need an agent has the documented fields (docs/reference/cli.md)."""

from __future__ import annotations

import asyncio
import json
import shlex
from typing import Any

import pytest

from agent.messages.signing import Signer
from tests.brokers import free_port
from tests.cli.test_public_api import command_of, documented
from tests.commands import facepay
from tests.e2e.agents import ENROLLED, Place, running

pytestmark = pytest.mark.long  # an agent, a verification and thirteen commands

AT = "--site shop-1 --terminal terminal-1 --port {port}"
WITH_AGENT = [
    f"till ask photo.jpg --ttl-ms 60000 {AT}",
    "status --config agent.toml",
    "page --config agent.toml",
    "why --config agent.toml",
    "trace show --config agent.toml",
    "trace replay --config agent.toml",
    "trace compare-policy --with agent.toml --config agent.toml",
    "bundle --config agent.toml --output bundle.tar.gz",
    f"till watch --count 1 {AT}",
    f"till ack 0b5c6a5e-4a8e-4a43-9c63-2f0c1a8d9d11 {AT}",
    "fleet watch --once --port {port}",
    f"diag ask --sign-key operator.key --key terminal.pem --only sys.memory {AT}",
    "till load --terminals 1 --rate 5 --seconds 1 --port {port}",
]


def first(stdout: str) -> dict[str, Any]:
    """The document, or the first line, or the first object of a list."""
    document = json.loads(stdout.splitlines()[0])
    found: dict[str, Any] = document[0] if isinstance(document, list) else document
    return found


async def test_the_json_with_an_agent_has_the_documented_fields(place: Place) -> None:
    folder = place.folder
    config = place.config(
        "one_obama_portrait", f'[trace]\nenabled = true\n[page]\nlisten = "loopback"\nport = {free_port()}\n'
    )
    operator = Signer.load_or_create(folder / "operator")
    (folder / "operator/signing-key.pem").rename(folder / "operator.key")
    (folder / "operator.pem").write_bytes(operator.public.pem())
    (folder / "terminal.pem").write_bytes(Signer.load_or_create(folder / "state").public.pem())
    (folder / "photo.jpg").write_bytes(ENROLLED)
    trust = ("keys", "trust", "--operator", "back-office", folder / "operator.pem", "--config", config)
    assert facepay(*trust).returncode == 0
    async with running(config):
        for words in WITH_AGENT:
            command = [*shlex.split(words.format(port=place.broker.port)), "--json"]
            done = await asyncio.to_thread(facepay, *command, cwd=folder, timeout_s=200)
            assert done.returncode in (0, 1, 2) and done.stdout, (words, done)
            fields, expected = list(first(done.stdout)), documented()[command_of(words)]
            if words.startswith("till ask"):  # the whole result of the contract
                assert set(expected) <= set(fields), (words, fields)
            else:
                assert fields == expected, words
