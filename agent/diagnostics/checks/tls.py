"""Checks of certificates: of a server's chain, verified as the agent verifies it, and of the terminal's own.

One TLS handshake without application data: a broker gets no CONNECT, so no client is disconnected.
"""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.config.secret_files import is_credential
from agent.config.tls_files import unverified_context
from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.endpoint_probe import CONNECT_TIMEOUT_S, Endpoint, addresses, connect
from agent.errors import TillError, reason_of
from agent.health.conditions_mqtt import CERTIFICATE_ENDED
from agent.health.expiry import ExpiryLevel, days_left, expiry_level
from agent.log import printable
from agent.texts import Text

# OpenSSL's X509_V_ERR_ numbers
_NOT_YET, _EXPIRED, _WRONG_NAMES = 9, 10, {62, 64}  # of a host, of an IP address
_UNKNOWN_ISSUER = {2, 18, 19, 20, 21}
_STRICT = range(79, 95)  # rules of RFC 5280 that Python 3.13 checks (VERIFY_X509_STRICT)
_ALERTS = ("SSLV3_ALERT_", "TLSV1_", "TLSV13_")  # OpenSSL's names of the alerts that the other side sent
_NAMES_MAX = 4  # shown host names of a certificate
_NAME_MAX = 64  # X.520's limit of a common name; a server may send more

ADDRESS_FIX = Text("fix.address_without_tls")
_RENEW_FIX = Text("fix.renew_server_certificate")


@dataclass(frozen=True, slots=True)
class Keys:
    """The config keys of one server: its address, and the CA that the terminal trusts."""

    address: str
    ca_file: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate of a chain. ``label``: its place in the chain and its name. ``names``: hosts."""

    label: Text
    names: tuple[str, ...]
    begins_unix_s: int
    ends_unix_s: int
    is_issuer: bool


def own_certificate(inputs: CheckInputs) -> Finding:
    """An ended certificate is a failure: the broker refuses it, so the broker checks are skipped."""
    mqtt = inputs.config().mqtt
    try:
        probe = inputs.certificate()
    except TillError as error:
        file = mqtt.cert_file
        is_of_service = file is not None and is_credential(file) and not file.exists()
        if error.code != "certificate_denied" and not is_of_service:
            raise
        return skipped(Text("why.mqtt.certificate.service_only"))
    if probe is None:
        return skipped(Text("why.mqtt.certificate.none") if mqtt.tls else Text("why.mqtt.plain"))
    now_ms = inputs.unix_ms()
    if now_ms < probe.begins_unix_s * 1_000:
        return warning(Text("why.mqtt.certificate.not_yet"), Text("fix.certificate_not_valid_yet"))
    ends = datetime.fromtimestamp(probe.ends_unix_s, UTC).date()
    named = Text("why.mqtt.certificate.named", name=probe.name)
    subject = named if probe.name else Text("why.mqtt.certificate.unnamed")
    level = expiry_level(probe.ends_unix_s, now_ms)
    if level is ExpiryLevel.ENDED:
        return failed(Text("why.mqtt.certificate.ended", subject=subject, ends=ends), CERTIFICATE_ENDED.fix)
    days = days_left(probe.ends_unix_s, now_ms)
    summary = Text("why.mqtt.certificate.ends", subject=subject, ends=ends, days=days)
    return _near_expiry(level, summary, level.condition.fix) if level.condition else passed(summary)


def handshake(
    inputs: CheckInputs, where: Endpoint, context: ssl.SSLContext, keys: Keys, no_tls: Text
) -> Finding:
    """``no_tls``: the fix for a server without TLS."""
    try:
        chain = _certificate_chain(inputs, where, context, "get_verified_chain")
    except ssl.SSLCertVerificationError as error:
        return _untrusted_chain(inputs, where, error, context, keys)
    except ssl.SSLError as error:
        if error.reason is not None and error.reason.startswith(_ALERTS):
            why = Text("why.tls.handshake", where=where, error=reason_of(error))
            return failed(why, Text("fix.tls_refused", key_=keys.address))
        return failed(Text("why.tls.none", where=where, error=reason_of(error)), no_tls)
    except OSError as error:
        if isinstance(error, TimeoutError) and "handshake" in str(error):  # not of the name server or of TCP
            why = Text("why.tls.slow", where=where, limit_s=round(CONNECT_TIMEOUT_S))
            return failed(why, Text("fix.tls_slow", key_=keys.address))
        why = Text("why.tls.handshake", where=where, error=reason_of(error))
        return failed(why, no_tls)
    return _trusted_chain(
        min(chain, key=lambda certificate: certificate.ends_unix_s), inputs.unix_ms(), keys.ca_file
    )


def _trusted_chain(first: Certificate, now_ms: int, ca_key: str) -> Finding:
    """``first``: the certificate of the chain that ends first, and with it the trust in the server."""
    ends = datetime.fromtimestamp(first.ends_unix_s, UTC).date()
    level = expiry_level(first.ends_unix_s, now_ms)
    if level is ExpiryLevel.ENDED:
        return failed(Text("why.tls.ended", certificate=first.label, ends=ends), _renewal_fix(first, ca_key))
    days = days_left(first.ends_unix_s, now_ms)
    summary = Text("why.tls.ends", certificate=first.label, ends=ends, days=days)
    if level is ExpiryLevel.FAR:
        return passed(Text("why.tls.trusted", summary=summary))
    return _near_expiry(level, summary, _renewal_fix(first, ca_key))


def _near_expiry(level: ExpiryLevel, summary: Text, remedy: Text) -> Finding:
    urgent = Text("why.tls.urgent", summary=summary)
    return warning(urgent if level is ExpiryLevel.THIS_WEEK else summary, remedy)


def _renewal_fix(certificate: Certificate, ca_key: str) -> Text:
    return Text("fix.renew_issuer_certificate", ca_key=ca_key) if certificate.is_issuer else _RENEW_FIX


def _untrusted_chain(
    inputs: CheckInputs,
    where: Endpoint,
    error: ssl.SSLCertVerificationError,
    context: ssl.SSLContext,
    keys: Keys,
) -> Finding:
    code, now_s, ca_key = error.verify_code, inputs.unix_ms() // 1_000, keys.ca_file
    if code in (_EXPIRED, _NOT_YET):
        certificates = [
            *_unverified_chain(inputs, where),
            *(_certificate_of(certificate, 1) for certificate in context.get_ca_certs()),
        ]
        out_of_date = [
            certificate
            for certificate in certificates
            if not certificate.begins_unix_s <= now_s < certificate.ends_unix_s
        ]
        label = out_of_date[0].label if out_of_date else Text("why.tls.of_the_chain")
        if code == _NOT_YET:
            why = Text("why.tls.not_yet", where=where, certificate=label)
            return failed(why, Text("fix.certificate_not_valid_yet"))
        why = Text("why.tls.expired", where=where, certificate=label)
        return failed(why, _renewal_fix(out_of_date[0], ca_key) if out_of_date else _RENEW_FIX)
    if code in _WRONG_NAMES:
        chain = _unverified_chain(inputs, where)
        names = ", ".join(printable(name) for name in (chain[0].names if chain else ())[:_NAMES_MAX])
        shown = names or Text("why.tls.no_name")
        why = Text("why.tls.other_name", where=where, certificate=_first_label(chain), names=shown)
        return failed(why, Text("fix.certificate_other_name", key_=keys.address, host=where.host))
    if code in _UNKNOWN_ISSUER:
        remedy = Text("fix.issuer_unknown", ca_key=ca_key)
        label, fault = _first_label(_unverified_chain(inputs, where)), reason_of(error)
        return failed(Text("why.tls.unknown_issuer", where=where, certificate=label, error=fault), remedy)
    remedy = Text("fix.certificate_breaks_standard") if code in _STRICT else ADDRESS_FIX
    return failed(Text("detail.at", place=where, reason=reason_of(error)), remedy)


def _unverified_chain(inputs: CheckInputs, where: Endpoint) -> Sequence[Certificate]:
    """The unverified chain of the server, from a second handshake; empty when that fails."""
    try:
        return _certificate_chain(inputs, where, unverified_context(), "get_unverified_chain")
    except OSError:
        return ()


def _certificate_chain(
    inputs: CheckInputs, where: Endpoint, context: ssl.SSLContext, method: str
) -> list[Certificate]:
    """The server's certificate first. Only an inner object of Python (3.10+) has the parsed chain."""
    with (
        connect(addresses(inputs, where.host, where.port)) as plain,
        context.wrap_socket(plain, server_hostname=where.host) as link,
    ):
        chain = getattr(link._sslobj, method)() or ()  # type: ignore[attr-defined]
        return [_certificate_of(certificate.get_info(), depth) for depth, certificate in enumerate(chain)]


def _first_label(chain: Sequence[Certificate]) -> Text:
    return chain[0].label if chain else Text("why.tls.server")


def _certificate_of(fields: Mapping[str, Any], depth: int) -> Certificate:
    holder = "issuer" if depth else "server"
    subject = {key: value for part in fields.get("subject", ()) for key, value in part}
    others = (value for _, value in fields.get("subjectAltName", ()))
    name = subject.get("commonName") or subject.get("organizationName") or next(others, "")
    label = Text(f"why.tls.{holder}_named", name=printable(name)[:_NAME_MAX])
    return Certificate(
        label if name else Text(f"why.tls.{holder}"),
        tuple(value[:_NAME_MAX] for _, value in fields.get("subjectAltName", ())),
        ssl.cert_time_to_seconds(fields["notBefore"]),
        ssl.cert_time_to_seconds(fields["notAfter"]),
        bool(depth),
    )
