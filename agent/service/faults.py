"""Fault injection, to observe a terminal while its API fails. Off by default.

- ``latency=400``: wait 400 ms before the answer.
- ``code=-1101`` or ``code=-1101:2`` (with ``fail_flag``): answer with that code.
- ``drop``: close the connection within the answer. ``drip``: send one byte every 200 ms.
- ``truncate``: cut the JSON. ``html``: the 502 of a proxy.
- ``nan``, ``types``: a success with an invalid similarity.

A suffix ``@0.1`` limits a fault to that share of the requests.
"""

import asyncio
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never, get_args

from starlette.types import ASGIApp, Receive, Scope, Send

from agent.compare.codes import table
from agent.compare.contract import ApiFailure
from agent.errors import ConfigError
from agent.service.causes import Cause
from agent.service.served_api import ServedApi
from agent.texts import Text

_SPEC = re.compile(r"(?P<kind>[a-z]+)(=(?P<value>-?\d{1,6})(:(?P<flag>[12]))?)?(@(?P<rate>[01](\.\d+)?))?")
FaultKind = Literal["latency", "code", "drop", "drip", "truncate", "html", "nan", "types"]
_KINDS: dict[str, FaultKind] = {kind: kind for kind in get_args(FaultKind)}
_WITH_VALUE = frozenset({"latency", "code"})
_DRIP_S = 0.2
_NUMBER = re.compile(rb"(?<=:)\d+\.\d+")  # of a success
_OK, _BAD_GATEWAY = 200, 502


@dataclass(frozen=True, slots=True)
class InjectedFault:
    kind: FaultKind
    value: int = 0  # latency: ms; code: the code
    flag: int | None = None
    rate: float = 1.0


def failures() -> str:
    """The codes that ``code=`` accepts, as a text."""
    return ", ".join(str(code) for code in sorted(table(), key=abs) if code)


def parse_fault(text: str) -> InjectedFault:
    """Parse one ``--fault``. Raises ``ConfigError``."""
    spec = _SPEC.fullmatch(text)
    if not spec or spec["kind"] not in _KINDS or (spec["value"] is not None) != (spec["kind"] in _WITH_VALUE):
        raise ConfigError(Text("detail.fault_unknown", text=text), code="fault_unknown")
    fault = InjectedFault(
        kind=_KINDS[spec["kind"]],
        value=int(spec["value"] or 0),
        flag=int(spec["flag"]) if spec["flag"] else None,
        rate=float(spec["rate"] or 1),
    )
    if fault.kind == "code" and (fault.value == 0 or fault.value not in table()):
        fix = Text("fix.failure_code_unknown", failures=failures())
        raise ConfigError(Text("detail.fault_no_code", text=text), code="fault_unknown", fix=fix)
    return fault


@dataclass(frozen=True, slots=True)
class FaultInjector:
    """ASGI middleware. Applies the first fault whose share includes the comparison; ``latency`` adds up."""

    app: ASGIApp
    faults: tuple[InjectedFault, ...]
    apis: Mapping[str, ServedApi]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        served = self.apis.get(scope["path"]) if scope["type"] == "http" else None
        if served is None or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        for fault in self.faults:
            if random.random() >= fault.rate:  # noqa: S311 - no secret
                continue
            if fault.kind != "latency":
                await _drain(receive)
                return await _send_faulty_answer(fault, served, send)
            try:
                await asyncio.sleep(fault.value / 1e3)
            except asyncio.CancelledError:  # the service stops
                return await _send_answer(send, served.failure(ApiFailure(15, cause=Cause.STOPPING), "fault"))
        return await self.app(scope, receive, send)


async def _drain(receive: Receive) -> None:
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass


async def _send_faulty_answer(fault: InjectedFault, served: ServedApi, send: Send) -> None:
    success_body = served.success(91.0, "fault")
    match fault.kind:
        case "code":
            await _send_answer(send, served.failure(ApiFailure(fault.value, fail_flag=fault.flag), "fault"))
        case "truncate":
            await _send_answer(send, success_body[:-9])
        case "html":
            await _send_answer(send, b"<html><body>Bad Gateway</body></html>", status=_BAD_GATEWAY)
        case "nan":
            await _send_answer(send, _NUMBER.sub(b"NaN", success_body))
        case "types":
            await _send_answer(send, _NUMBER.sub(b'"91.0"', success_body))
        case "drop":
            await _send_head(send, _OK, len(success_body))
            await send({"type": "http.response.body", "body": success_body[:9], "more_body": True})
        case "drip":
            await _send_head(send, _OK, len(success_body))
            for position in range(len(success_body)):
                has_more = position + 1 < len(success_body)
                byte = success_body[position : position + 1]
                await send({"type": "http.response.body", "body": byte, "more_body": has_more})
                await asyncio.sleep(_DRIP_S)
        case "latency":
            raise ValueError("a delay has no answer")
        case _:
            assert_never(fault.kind)


async def _send_answer(send: Send, body: bytes, *, status: int = _OK) -> None:
    await _send_head(send, status, len(body))
    await send({"type": "http.response.body", "body": body})


async def _send_head(send: Send, status: int, length: int) -> None:
    kind = b"application/json" if status == _OK else b"text/html"
    headers = [(b"content-type", kind), (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
