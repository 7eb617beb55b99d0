"""The documented exit codes and fields of JSON (docs/reference/cli.md) are those of the program."""

from __future__ import annotations

import json
import re
import shlex
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import manual
import pytest

from agent.errors import AgentError
from agent.messages.signing import Signer
from agent.resources import data
from agent.service.settings import EXAMPLE_SECRET
from tests.commands import facepay
from tests.contract import golden

PAGE = (Path(__file__).parent.parent.parent / "docs/reference/cli.md").read_text(encoding="utf-8")


def rows(section: str) -> list[list[str]]:
    """The cells of the table in a section of the page, without its head."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@cache
def documented() -> dict[str, list[str]]:
    """By command: the documented fields of its JSON."""
    found = {}
    for command, _, *cells in rows("JSON"):
        found[command.strip("`")] = re.findall(r"`(\w+)`", cells[0] if cells else "")
    return found


def test_every_command_with_json_is_documented_and_no_other() -> None:
    commands = {
        words
        for words, command in manual.all_commands()
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert documented().keys() == commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A terminal without agent, broker and API, its keys, a bundle, and a captured result."""
    (tmp_path / "secret").write_bytes(EXAMPLE_SECRET)
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "agent.toml").write_text(
        'profile = "demo"\nsite = "s"\nterminal = "t"\ninline_reference = true\n'
        '[camera]\nsource = "one_obama_portrait"\nstall_ms = 120000\n'
        '[compare]\nurl = "http://127.0.0.1:9"\nappid = "1250000001"\nsecret_id = "AKIDEXAMPLE"\n'
        f'secret_key_file = "{tmp_path / "secret"}"\n[mqtt]\nport = 9\n'
        f'[storage]\ndirectory = "{tmp_path / "state"}"\n'
    )
    (tmp_path / "photo.jpg").write_bytes(data("photos/enrolled/obama_portrait.jpg").read_bytes())
    signer = Signer.load_or_create(tmp_path / "state")
    (tmp_path / "till.pem").write_bytes(Signer.generate().public.pem())
    (tmp_path / "operator.pem").write_bytes(signer.public.pem())
    (tmp_path / "state/signing-key.pem").rename(tmp_path / "operator.key")
    Signer.load_or_create(tmp_path / "state")
    (tmp_path / "result.json").write_bytes(golden.payloads()["result-match"][1])
    (tmp_path / "terminal.pem").write_bytes(golden.terminal_key().public.pem())
    return tmp_path


# commands that need no other process, in an order in which each finds what it needs
OFFLINE = [
    "config check",
    "config show",
    "keys show",
    "keys trust till-1 till.pem",
    "keys distrust till-1",
    "keys rotate",
    "privacy-audit",
    "doctor --only sys.memory",
    "reference check photo.jpg",
    "camera light",
    "camera focus --seconds 0",
    "camera shot look.jpg",
    "config pack agent.toml --key operator.key --number 1 --ring all --output bundle.json",
    "config trust operator.pem --ring all",
    "config apply bundle.json",
    "config rollback",
    "till verify result.json --key terminal.pem",
]


def command_of(words: str) -> str:
    return next(name for name in sorted(documented(), key=len, reverse=True) if words.startswith(name))


def test_the_json_has_the_documented_fields(folder: Path) -> None:
    for words in OFFLINE:
        command = command_of(words)
        own = [] if command in ("config pack", "till verify") else ["--config", "agent.toml"]
        done = facepay(*shlex.split(words), "--json", *own, cwd=folder)
        assert done.returncode in (0, 1, 2) and done.stdout, (words, done)
        document = json.loads(done.stdout)
        if command == "config show":
            assert {"site", "mqtt", "camera"} <= document.keys()
        elif command == "reference check":  # a usable photo has further facts
            assert list(document)[: len(documented()[command])] == documented()[command]
        else:
            assert list(document) == documented()[command], words


# --- exit codes ---------------------------------------------------------------------------------

# code → a command that ends with it; 74 and 130 have tests of their own, named here
EXITS: dict[int, str] = {
    0: "config check --config agent.toml",
    1: "till verify photo.jpg --key terminal.pem",
    2: "doctor --only net.tcp --config agent.toml",
    3: "status --config agent.toml",
    4: "status --config agent.toml",
    78: "config check --config missing.toml",
}
ELSEWHERE = {74, 75, 130}  # tests/e2e/test_camera.py, tests/e2e/test_daemon.py, tests/cli/test_exit_codes.py


def below(kind: type[AgentError]) -> Iterator[type[AgentError]]:
    for each in kind.__subclasses__():
        yield each
        yield from below(each)


def test_the_documented_exit_codes_are_those_of_the_errors_and_of_this_test() -> None:
    codes = {int(code) for code, *_ in rows("Exit codes")}
    assert codes == EXITS.keys() | ELSEWHERE
    assert {kind.exit_code for kind in below(AgentError)} | {AgentError.exit_code} <= codes


@pytest.mark.parametrize("code", EXITS)
def test_a_command_ends_with_the_documented_exit_code(code: int, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        if code == 4:
            silent.bind(str(folder / "state/status.sock"))
            silent.listen()
        done = facepay(*EXITS[code].split(), cwd=folder)
    assert done.returncode == code, done


@pytest.mark.parametrize("words", ["--only no.such", "--no-such-option"])
def test_wrong_usage_of_the_doctor_is_2_with_an_empty_stdout(words: str, folder: Path) -> None:
    """1 is a warning of the doctor."""
    done = facepay("doctor", *words.split(), "--config", "agent.toml", cwd=folder)
    assert (done.returncode, done.stdout) == (2, ""), done
