"""`facepay doctor --after-upgrade`: wait until the agent is healthy with the installed version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent import __version__
from agent.cli.config import storage_of
from agent.cli.console import Spinner
from agent.control.server import path_for, request_status
from agent.core.strict_json import json_object
from agent.fleet.upgrade_check import wait_until_healthy
from agent.texts import json_fields, translated_lines


def check(config: Path | None, before: Path | None, within_s: float, *, as_json: bool) -> int:
    """Wait until the agent is healthy, print the outcome, return the exit code: 0 healthy, 2 not healthy.

    ``before``: a file with the output of `facepay status --json`. An unusable file counts as no file.
    """
    socket = path_for(storage_of(config))
    with Spinner(f"checking the agent for at most {within_s:g} s"):
        problem = wait_until_healthy(
            lambda: request_status(socket), __version__, _status_before(before), within_s
        )
    if as_json:
        facts = {"schema": "facepay.upgrade/1", "version": __version__, **json_fields("problem", problem)}
        print(json.dumps(facts, ensure_ascii=False))
    else:
        print(f"version {__version__}: {problem or 'the agent is healthy'}")
        for line in translated_lines(problem, "why") if problem else []:
            print(line)
    return 2 if problem else 0


def _status_before(path: Path | None) -> Mapping[str, Any]:
    """The status before the upgrade; empty without a usable file: then every fault counts."""
    try:
        return (json_object(path.read_bytes()) if path is not None else None) or {}
    except OSError:
        return {}
