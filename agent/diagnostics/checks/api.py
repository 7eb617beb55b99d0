"""The API itself: its clock against ours, its speed, and whether it takes our signature."""

from __future__ import annotations

import time

from agent.core.reasons import Reason
from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.checks.config import without_secrets
from agent.diagnostics.checks.network import endpoint
from agent.diagnostics.endpoint_probe import exchange
from agent.diagnostics.world import World
from agent.errors import CompareError
from agent.texts import Text

_OFF_MS, _DRIFT_MS = 60_000, 5_000  # a signature lasts 60 s
_SLOW_MS = 1_000
_ASKS, _PAUSE_S = 3, 0.5  # a busy API may be asked so often

_TIME = Text("fix.synchronise_clock")
_NET = Text("fix.network_slow")
_KEY = Text("fix.api_key_wrong")
_SLOW = Text("fix.api_slow")
_BUSY = Text("fix.api_rate_used_up")
_NOT_THE_API = Text("fix.not_the_api")


def clock(world: World) -> Finding:
    """Our wall clock against the Date header. Read without judging the certificate; nothing is set by it."""
    try:
        told_ms = exchange(world, endpoint(world)).date_unix_ms
    except OSError:
        return skipped("the API gives no answer to read a time from; net.tls and api.latency say more")
    if told_ms is None:
        return skipped("the API does not tell its time")
    ahead_ms = world.unix_ms() - told_ms
    words = f"{abs(ahead_ms) / 1e3:.0f} s {'ahead of' if ahead_ms > 0 else 'behind'} the API"
    if abs(ahead_ms) >= _OFF_MS:
        return failed(f"this terminal's clock is {words}", _TIME)
    return (
        warning(f"this terminal's clock is {words}", _TIME) if abs(ahead_ms) >= _DRIFT_MS else passed(words)
    )


def latency(world: World) -> Finding:
    where = endpoint(world)
    try:
        took = exchange(world, where)
    except OSError as error:
        return failed(f"{where}: no answer to a plain question: {error.strerror or error}", _NET)
    phases = f"dns {took.dns_ms}, tcp {took.tcp_ms}, tls {took.tls_ms}, first byte {took.first_byte_ms} ms"
    phases += ", without a comparison"  # api.auth measures a signed request
    if took.total_ms >= world.config().verification.ask_timeout_ms:
        return failed(f"slower than verification.ask_timeout_ms: {phases}", _NET)
    return warning(phases, _NET) if took.total_ms >= _SLOW_MS else passed(phases)


def auth(world: World) -> Finding:
    """A signed question with no picture in it: refused for that, but only after the signature was accepted.

    It costs nothing. Of the documented order: the signature is judged first, then account and target, then
    the pictures.
    """
    hindrance = without_secrets(world.config(), "compare")
    if hindrance is not None:
        return hindrance
    busy, began_s = 0, time.monotonic()
    while (error := _answer(world)) is not None and error.code == Reason.COMPARE_BUSY:
        busy += 1
        if busy == _ASKS:
            return failed(f"busy {busy} times in a row: {error}", _BUSY)
        time.sleep(_PAUSE_S)
        began_s = time.monotonic()
    finding = _in_time(_judged(error), round((time.monotonic() - began_s) * 1e3))
    return (
        warning(f"busy {busy} times, then: {finding.why}", _BUSY) if busy and not finding.remedy else finding
    )


def _in_time(finding: Finding, took_ms: int) -> Finding:
    if finding.remedy is not None or took_ms < _SLOW_MS:
        return finding
    return warning(f"{finding.why}; answered only after {took_ms} ms", _SLOW)


def _answer(world: World) -> CompareError | None:
    try:
        world.ask_api()
    except CompareError as error:
        return error
    return None


def _judged(error: CompareError | None) -> Finding:
    if error is None:
        return failed("answers a question without a picture with a similarity", _NOT_THE_API)
    match error.code:
        case Reason.FACE_UNUSABLE | Reason.REFERENCE_UNUSABLE:
            return passed("signature accepted; the question had no picture and was refused for that")
        case Reason.CLOCK:
            return failed(f"clock wrong: {error}", _TIME)
        case Reason.COMPARE_CREDENTIALS:
            return failed(f"key wrong: {error}", _KEY)
        case Reason.COMPARE_FAILED | Reason.COMPARE_MALFORMED if error.api_code is None:
            return failed(f"not the API's answer: {error}", _NOT_THE_API)
        case _:
            return failed(f"{error.code}: {error}", error.fix)
