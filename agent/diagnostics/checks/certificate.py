"""This terminal's own certificate, the one it shows the broker: for how long is it good?"""

from __future__ import annotations

from datetime import UTC, datetime

from agent.config.secret_files import is_credential
from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.errors import TillError
from agent.health.conditions import CONDITIONS
from agent.health.expiry import ExpiryLevel, days_left, expiry_level
from agent.health.probe_results import CertificateProbe
from agent.texts import Text

_BEGINS = Text("fix.certificate_not_valid_yet")


def own(world: World) -> Finding:
    """Ended is a failure, and then nothing else of the broker is asked: it would refuse it all."""
    mqtt = world.config().mqtt
    try:
        seen = world.certificate()
    except TillError as error:
        unseen = error.code == "certificate_denied"
        handed = mqtt.cert_file is not None and is_credential(mqtt.cert_file) and not mqtt.cert_file.exists()
        if not unseen and not handed:
            raise
        return skipped("only the service may read mqtt.cert_file; sudo may look at more")
    if seen is None:
        return skipped("no certificate of its own" if mqtt.tls else "no TLS to the broker")
    return _judge(seen, world.unix_ms())


def _judge(seen: CertificateProbe, now_ms: int) -> Finding:
    if now_ms < seen.begins_unix_s * 1_000:
        return warning("by this terminal's clock it is not valid yet", _BEGINS)
    near, ends = expiry_level(seen.ends_unix_s, now_ms), datetime.fromtimestamp(seen.ends_unix_s, UTC).date()
    whose = f"for {seen.name}" if seen.name else "without a name"
    words = f"{whose}, ends {ends}, {days_left(seen.ends_unix_s, now_ms)} days left"
    match near:
        case ExpiryLevel.FAR:
            return passed(words)
        case ExpiryLevel.ENDED:
            return failed(f"{whose}, ended {ends}", _renew(near))
        case ExpiryLevel.THIS_WEEK:
            return warning(f"URGENT: {words}", _renew(near))
        case ExpiryLevel.SOON:
            return warning(words, _renew(near))


def _renew(near: ExpiryLevel) -> Text:
    return CONDITIONS[near].fix
