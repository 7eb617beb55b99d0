"""Check of the client certificate that this terminal sends to the broker: its validity period."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.config.secret_files import is_credential
from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.errors import TillError
from agent.health.conditions_mqtt import CERTIFICATE_ENDED, CERTIFICATE_ENDS_SOON, CERTIFICATE_ENDS_THIS_WEEK
from agent.health.expiry import ExpiryLevel, days_left, expiry_level
from agent.health.probe_results import CertificateProbe
from agent.texts import Text

_BEGINS = Text("fix.certificate_not_valid_yet")


def own(world: World) -> Finding:
    """An ended certificate is a failure: the broker refuses it, so the broker checks are skipped."""
    mqtt = world.config().mqtt
    try:
        probe = world.certificate()
    except TillError as error:
        is_denied = error.code == "certificate_denied"
        file = mqtt.cert_file
        is_of_service = file is not None and is_credential(file) and not file.exists()
        if not is_denied and not is_of_service:
            raise
        return skipped("only the service may read mqtt.cert_file; run the doctor with sudo")
    if probe is None:
        return skipped("no client certificate" if mqtt.tls else "no TLS to the broker")
    return _expiry(probe, world.unix_ms())


def _expiry(probe: CertificateProbe, now_ms: int) -> Finding:
    if now_ms < probe.begins_unix_s * 1_000:
        return warning("by this terminal's clock it is not valid yet", _BEGINS)
    level = expiry_level(probe.ends_unix_s, now_ms)
    ends = datetime.fromtimestamp(probe.ends_unix_s, UTC).date()
    subject = f"for {probe.name}" if probe.name else "without a name"
    summary = f"{subject}, ends {ends}, {days_left(probe.ends_unix_s, now_ms)} days left"
    match level:
        case ExpiryLevel.FAR:
            return passed(summary)
        case ExpiryLevel.ENDED:
            return failed(f"{subject}, ended {ends}", CERTIFICATE_ENDED.fix)
        case ExpiryLevel.THIS_WEEK:
            return warning(f"URGENT: {summary}", CERTIFICATE_ENDS_THIS_WEEK.fix)
        case ExpiryLevel.SOON:
            return warning(summary, CERTIFICATE_ENDS_SOON.fix)
