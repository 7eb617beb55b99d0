"""The man page facepay(1), generated from the help texts of the command line, and the shell completions."""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from completion import completions, names, options
from environment import ROOT

MAN = Path("usr/share/man/man1/facepay.1.gz")


def write(tree: Path, version: str, epoch_s: int) -> None:
    """Write the files into the package."""
    commands = list(all_commands())
    files = {place: text.encode() for place, text in completions(commands).items()}
    files[MAN] = gzip.compress(man_page(commands, version, epoch_s).encode(), mtime=0)
    for place, content in files.items():
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).write_bytes(content)


def all_commands() -> Iterator[tuple[str, Any]]:
    """Each command with its words, e.g. ``("till ask", command)``; first ``("", facepay itself)``."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from typer.main import get_command

    from agent.cli.command_table import application

    def walk(words: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield words, command
        for name, inner in getattr(command, "commands", {}).items():
            if not inner.hidden:
                yield from walk(f"{words} {name}".strip(), inner)

    yield from walk("", get_command(application()))


def man_page(commands: list[tuple[str, Any]], version: str, epoch_s: int) -> str:
    """The page in the macros of man(7)."""
    day = datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d")
    lines = [
        f'.TH FACEPAY 1 "{day}" "facepay-agent {version}" "User Commands"',
        *(".SH NAME", r"facepay \- face-payment terminal agent and compare service"),
        *(".SH SYNOPSIS", ".B facepay", r".I COMMAND", r"[\fIOPTIONS\fR]"),
        *(".SH DESCRIPTION", _text(_help(commands[0][1]))),
        *(
            ".PP",
            r"The first commands on a new terminal: \fBfacepay init \-\-try\fR, then \fBfacepay init\fR.",
        ),
        ".SH COMMANDS",
    ]
    for words, command in commands[1:]:
        usage = " ".join(each.make_metavar(_context(command)) for each in _arguments(command))
        lines += [".SS " + _text(f"facepay {words} {usage}".strip()), _text(_help(command))]
        for option in options(command):
            lines += [".TP", ".B " + _text(", ".join(names(option))), _text(option.help or "")]
        if command.epilog:
            lines += [".PP", _text(command.epilog)]
    lines += [
        *(".SH FILES", ".TP", ".I /etc/facepay-agent/agent.toml", "The config with every default."),
        *(".TP", ".I /etc/facepay-agent/agent.d/*.toml", "The keys of this terminal. A later file wins."),
        *(".TP", ".I /etc/facepay-agent/credentials/", "Secrets that systemd passes to the units."),
        *(".TP", ".I /usr/share/doc/facepay-agent/docs/index.md", "All pages of the documentation."),
        *(".SH EXIT STATUS", "See the page docs/reference/cli.md."),
        *(".SH SEE ALSO", r".BR systemctl (1),", r".BR mosquitto (8)"),
    ]
    return "\n".join(lines) + "\n"


def _context(command: Any) -> Any:
    from click import Context

    return Context(command)


def _arguments(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "argument"]


def _help(command: Any) -> str:
    return str(command.help or command.short_help or "")


def _text(text: str) -> str:
    """Text for man(7): no line is a request, and hyphens stay ASCII so that options can be copied."""
    plain = " ".join(re.sub(r"`([^`]*)`", r"\1", text).split())
    escaped = plain.replace("\\", r"\e").replace("-", r"\-")
    return r"\&" + escaped if escaped.startswith((".", "'")) else escaped
