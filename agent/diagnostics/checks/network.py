"""Checks of the compare API and of the photo hosts: name, port, certificate, clock, speed, signature."""

import socket
import ssl
import time
from pathlib import Path
from statistics import median

import certifi

from agent.config.profile import accepts_photos
from agent.config.tls_files import client_context
from agent.core.hosts import in_url, is_address
from agent.core.reasons import Reason
from agent.diagnostics.check import Finding, Verdict, failed, passed, skipped, warning
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.checks.config import without_secrets
from agent.diagnostics.checks.tls import ADDRESS_FIX, Keys, handshake
from agent.diagnostics.endpoint_probe import Endpoint, addresses, connect, exchange
from agent.errors import CompareError, ConfigError, failure_at, reason_of
from agent.health.conditions import fix_for
from agent.health.conditions_compare import COMPARE_SLOW
from agent.texts import Text

_CLOCK_WRONG_MS, _CLOCK_DRIFT_MS = 60_000, 5_000  # a signature lasts 60 s
_SLOW_MS = 1_000
_NEAR_SHARE = 0.7  # of the time limit of a call: with such a median many calls are too late
_CALLS_MAX, _PAUSE_S = 3, 0.5  # to a busy API

_CLOCK_FIX = Text("fix.synchronise_clock")
_NETWORK_FIX = Text("fix.network_slow")
_RATE_FIX = Text("fix.api_rate_used_up")
_NOT_THE_API_FIX = Text("fix.not_the_api")


def endpoint(inputs: CheckInputs) -> Endpoint:
    """Raises ``ConfigError``."""
    try:
        return Endpoint.of(inputs.config().compare.url)
    except ValueError as error:
        raise ConfigError(failure_at("compare.url", error)) from error


def dns(inputs: CheckInputs) -> Finding:
    where = endpoint(inputs)
    if is_address(where.host):
        return passed(Text("why.net.dns.address", host=where.host))
    try:
        candidates = addresses(inputs, where.host, where.port)
    except OSError as error:
        return unresolved(where.host, error)
    return passed(Text("why.net.dns.found", host=where.host, address=candidates[0][4][0]))


def unresolved(host: str, error: OSError) -> Finding:
    reasons = {
        socket.EAI_NONAME: Text("why.net.dns.no_such_name"),
        socket.EAI_AGAIN: Text("why.net.dns.no_answer"),
    }
    reason = reasons.get(error.errno or 0, reason_of(error))
    if isinstance(error, TimeoutError):
        reason = Text("why.net.dns.never")
    return failed(Text("why.net.dns.failed", host=host, reason=reason), Text("fix.name_not_resolved"))


def tcp(inputs: CheckInputs) -> Finding:
    where = endpoint(inputs)
    try:
        connect(addresses(inputs, where.host, where.port)).close()
    except OSError as error:
        return unconnected(where, error, "[compare] url")
    return passed(Text("why.net.tcp.accepted", where=where))


def unconnected(where: Endpoint, error: OSError, key: str) -> Finding:
    """No TCP connection is possible. ``key``: the config key of the address."""
    if isinstance(error, ConnectionRefusedError):  # then cable, name and route are correct
        return failed(Text("why.net.tcp.refused", where=where), Text("fix.port_refuses", key_=key))
    reason: object = reason_of(error)
    if isinstance(error, TimeoutError):
        reason = Text("why.net.tcp.no_answer")
    why = Text("why.net.tcp.failed", where=where, reason=reason)
    return failed(why, Text("fix.host_unreachable", key_=key))


def tls(inputs: CheckInputs) -> Finding:
    where, config = endpoint(inputs), inputs.config().compare
    if not where.tls:
        return skipped(Text("why.net.tls.plain"))
    context = client_context("compare.ca_file", config.ca_file or Path(certifi.where()))  # as the agent
    return handshake(inputs, where, context, Keys("[compare] url", "compare.ca_file"), ADDRESS_FIX)


def photos(inputs: CheckInputs) -> Finding:
    """Whether each host of the enrolled photos has a name, a port and a certificate: the worst finding.

    Profile demo accepts photos over http, so its hosts may have no TLS port.
    """
    config = inputs.config()
    if not accepts_photos(config):
        return failed(Text("detail.no_photos"), Text("fix.no_photos"))
    hosts = config.compare.reference_hosts if config.compare.reference == "fetch" else ()
    if not hosts or config.profile == "demo":
        return skipped(Text("why.net.photos.none") if not hosts else Text("why.net.photos.demo"))
    context = client_context("compare.ca_file", config.compare.ca_file or Path(certifi.where()))
    findings = [_photo_host(inputs, host, context) for host in hosts]
    worst = min(
        findings, key=lambda finding: (Verdict.FAIL, Verdict.WARN, Verdict.PASS).index(finding.verdict)
    )
    if worst.verdict is Verdict.PASS:
        return passed(Text("why.net.photos.trusted", hosts=", ".join(hosts)))
    return worst


def _photo_host(inputs: CheckInputs, host: str, context: ssl.SSLContext) -> Finding:
    """As ``dns``, ``tcp`` and ``tls``, for one entry of ``compare.reference_hosts``: a host, or host:port."""
    key = "[compare] reference_hosts"
    try:
        # `reference_hosts` has an IPv6 address without brackets
        where = Endpoint.of(f"https://{in_url(host) if is_address(host) else host}")
    except ValueError as error:
        return failed(failure_at("compare.reference_hosts", error), Text("fix.no_photos"))
    try:
        candidates = addresses(inputs, where.host, where.port)
    except OSError as error:
        return unresolved(where.host, error)
    try:
        connect(candidates).close()
    except OSError as error:
        return unconnected(where, error, key)
    return handshake(inputs, where, context, Keys(key, "compare.ca_file"), ADDRESS_FIX)


def clock(inputs: CheckInputs) -> Finding:
    """The wall clock against the Date header. The certificate is not verified; the clock is not set."""
    try:
        api_ms = exchange(inputs, endpoint(inputs)).date_unix_ms
    except OSError:
        return skipped(Text("why.api.clock.no_answer"))
    if api_ms is None:
        return skipped(Text("why.api.clock.no_time"))
    ahead_ms = inputs.unix_ms() - api_ms
    side, offset_s = "ahead" if ahead_ms > 0 else "behind", f"{abs(ahead_ms) / 1e3:.0f}"
    offset = Text(f"why.api.clock.{side}", offset_s=offset_s)
    if abs(ahead_ms) >= _CLOCK_WRONG_MS:
        return failed(Text("why.api.clock.wrong", offset=offset), _CLOCK_FIX)
    if abs(ahead_ms) >= _CLOCK_DRIFT_MS:
        return warning(Text("why.api.clock.wrong", offset=offset), _CLOCK_FIX)
    return passed(offset)


def latency(inputs: CheckInputs) -> Finding:
    where = endpoint(inputs)
    try:
        timing = exchange(inputs, where)
    except OSError as error:
        return failed(Text("why.api.latency.no_answer", where=where, error=reason_of(error)), _NETWORK_FIX)
    # without a comparison: api.auth measures a signed request
    names = ("dns_ms", "tcp_ms", "tls_ms", "first_byte_ms")
    phases = Text("why.api.latency.phases", **{name: getattr(timing, name) for name in names})
    if timing.total_ms >= (timeout_ms := inputs.config().verification.ask_timeout_ms):
        why = Text("why.api.latency.too_slow", phases=phases)
        return failed(why, Text("fix.api_timeout", timeout_ms=timeout_ms, fix=_NETWORK_FIX))
    calls_ms = _median_of_calls(inputs)
    if calls_ms >= _NEAR_SHARE * timeout_ms:
        why = Text("why.api.latency.near_limit", phases=phases, calls_ms=calls_ms, timeout_ms=timeout_ms)
        return warning(why, COMPARE_SLOW.fix)
    return warning(phases, _NETWORK_FIX) if timing.total_ms >= _SLOW_MS else passed(phases)


def _median_of_calls(inputs: CheckInputs) -> int:
    """Median time of one API call in the last verifications of a running agent, in ms; 0 without a call.

    The agent measures the sum of the calls of a verification, so each sum is divided by its own calls.
    """
    document = inputs.status_if_answering() or {}
    rows = [row for row in document.get("last", []) if row["asks"] and row["timings_ms"]["api"]]
    return int(median(row["timings_ms"]["api"] / row["asks"] for row in rows)) if rows else 0


def auth(inputs: CheckInputs) -> Finding:
    """A signed API call without a picture: the API refuses it, but only after it accepted the signature.

    The call is free. The API checks in the documented order: signature, account and target, pictures.
    """
    obstacle = without_secrets(inputs.config(), "compare")
    if obstacle is not None:
        return obstacle
    busy_answers, began_s = 0, time.monotonic()
    while (error := _call_api(inputs)) is not None and error.code == Reason.COMPARE_BUSY:
        busy_answers += 1
        if busy_answers == _CALLS_MAX:
            return failed(Text("why.api.auth.busy", busy=busy_answers, error=error.detail), _RATE_FIX)
        time.sleep(_PAUSE_S)
        began_s = time.monotonic()
    finding, took_ms = _finding_of_answer(error), round((time.monotonic() - began_s) * 1e3)
    timeout_ms = inputs.config().verification.ask_timeout_ms
    if finding.remedy is None and took_ms >= min(_SLOW_MS, timeout_ms):
        why, slow_fix = Text("why.api.auth.late", why=finding.reason, took_ms=took_ms), Text("fix.api_slow")
        is_over_timeout = took_ms >= timeout_ms
        finding = warning(
            why, Text("fix.api_timeout", timeout_ms=timeout_ms, fix=slow_fix) if is_over_timeout else slow_fix
        )
    if busy_answers and not finding.remedy:
        return warning(Text("why.api.auth.busy_then", busy=busy_answers, why=finding.reason), _RATE_FIX)
    return finding


def _call_api(inputs: CheckInputs) -> CompareError | None:
    try:
        inputs.call_api()
    except CompareError as error:
        return error
    return None


def _finding_of_answer(error: CompareError | None) -> Finding:
    if error is None:
        return passed(Text("why.api.auth.accepted_unchecked"))
    match error.code:
        case Reason.FACE_UNUSABLE | Reason.REFERENCE_UNUSABLE:
            return passed(Text("why.api.auth.accepted"))
        case Reason.CLOCK:
            return failed(Text("why.api.auth.clock_wrong", error=error.detail), _CLOCK_FIX)
        case Reason.COMPARE_CREDENTIALS:
            return failed(Text("why.api.auth.key_wrong", error=error.detail), Text("fix.api_key_wrong"))
        case Reason.COMPARE_FAILED | Reason.COMPARE_MALFORMED if error.api_code is None:
            return failed(Text("why.api.auth.not_the_api", error=error.detail), _NOT_THE_API_FIX)
        case _:
            return failed(error.sentence, fix_for(error))
