"""Faults on purpose, so that a terminal can be watched while its API misbehaves. Never on by default.

``latency=400`` waits that many ms before answering · ``code=-1101`` or ``code=-1101:2`` (with ``fail_flag``)
answers that code · ``drop`` closes the connection within the answer · ``drip`` sends a byte every 200 ms ·
``truncate`` cuts the JSON short · ``html`` is a proxy's 502 · ``nan`` and ``types`` are successes with a
similarity that is none. ``@0.1`` behind any of them: only that share of requests.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from agent.compare.codes import table
from agent.compare.contract import PATH, ApiFailure, failure_body, success_body
from agent.errors import ConfigError
from agent.texts import Text

_SPEC = re.compile(r"(?P<kind>[a-z]+)(=(?P<value>-?\d{1,6})(:(?P<flag>[12]))?)?(@(?P<rate>[01](\.\d+)?))?")
_WITH_VALUE = frozenset({"latency", "code"})
_KINDS = _WITH_VALUE | {"drop", "drip", "truncate", "html", "nan", "types"}
_DRIP_S = 0.2
_OK, _BAD_GATEWAY = 200, 502


@dataclass(frozen=True, slots=True)
class InjectedFault:
    kind: str
    value: int = 0  # latency: ms; code: the code
    flag: int | None = None
    rate: float = 1.0


def failures() -> str:
    """The codes that ``code=`` may name, as people read them."""
    return ", ".join(str(code) for code in sorted(table(), key=abs) if code)


def parse_fault(text: str) -> InjectedFault:
    """Read one ``--fault``. Raises ``ConfigError``."""
    found = _SPEC.fullmatch(text)
    if (
        not found
        or found["kind"] not in _KINDS
        or (found["value"] is not None) != (found["kind"] in _WITH_VALUE)
    ):
        raise ConfigError(
            f"--fault {text}: unknown",
            code="fault_unknown",
            fix=Text("fix.fault_unknown"),
        )
    fault = InjectedFault(
        kind=found["kind"],
        value=int(found["value"] or 0),
        flag=int(found["flag"]) if found["flag"] else None,
        rate=float(found["rate"] or 1),
    )
    if fault.kind == "code" and (fault.value == 0 or fault.value not in table()):
        raise ConfigError(
            f"--fault {text}: no failure code",
            code="fault_unknown",
            fix=Text("fix.failure_code_unknown", failures=failures()),
        )
    return fault


class Faulty:
    """ASGI around the service: comparisons meet the first fault whose share of the requests they are in."""

    def __init__(
        self, app: ASGIApp, faults: tuple[InjectedFault, ...], *, chance: Callable[[], float] = random.random
    ) -> None:
        self._app = app
        self._faults = faults
        self._chance = chance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        for fault in self._faults:
            if self._chance() >= fault.rate:
                continue
            if fault.kind != "latency":
                await _drain(receive)
                return await _misbehave(fault, send)
            await asyncio.sleep(fault.value / 1e3)
        return await self._app(scope, receive, send)


async def _drain(receive: Receive) -> None:
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass


async def _misbehave(fault: InjectedFault, send: Send) -> None:
    good = success_body(91.0, "fault")
    match fault.kind:
        case "code":
            await _answer(send, failure_body(ApiFailure(fault.value, fail_flag=fault.flag), "fault"))
        case "truncate":
            await _answer(send, good[:-9])
        case "html":
            await _answer(send, b"<html><body>Bad Gateway</body></html>", status=_BAD_GATEWAY)
        case "nan":
            await _answer(send, good.replace(b"91.0", b"NaN"))
        case "types":
            await _answer(send, good.replace(b"91.0", b'"91.0"'))
        case "drop":
            await _start(send, _OK, len(good))
            await send({"type": "http.response.body", "body": good[:9], "more_body": True})
        case "drip":
            await _start(send, _OK, len(good))
            for at in range(len(good)):
                more = at + 1 < len(good)
                await send({"type": "http.response.body", "body": good[at : at + 1], "more_body": more})
                await asyncio.sleep(_DRIP_S)


async def _answer(send: Send, body: bytes, *, status: int = _OK) -> None:
    await _start(send, status, len(body))
    await send({"type": "http.response.body", "body": body})


async def _start(send: Send, status: int, length: int) -> None:
    kind = b"application/json" if status == _OK else b"text/html"
    headers = [(b"content-type", kind), (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
