"""What a profile allows: ``demo`` stays on loopback, ``shop`` runs no risk that nobody has accepted by name.

Source of the list: the till contract, "Transport and identity".
"""

from __future__ import annotations

from ipaddress import ip_address

from agent.config import Config
from agent.errors import ConfigError
from agent.texts import Text

UNSIGNED = "unsigned_requests"  # not refused here: without it, each unsigned request is


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def risks(config: Config) -> dict[str, bool]:
    """Each risk that ``shop`` refuses, and whether this config takes it."""
    return {
        "plain_mqtt": not config.mqtt.tls,
        "plain_http_compare": config.compare.url.startswith("http://"),
        "replay_camera": config.camera.kind == "replay",
        "plain_rtsp_camera": config.camera.kind == "stream" and config.camera.source.startswith("rtsp://"),
        "liveness_off": config.liveness.mode == "off",
        "plain_http_page": config.page.is_open_to_the_wire,
        "reference_passthrough": config.compare.reference == "passthrough",
    }


def check_profile(config: Config) -> None:
    """Refuse what the profile does not allow.

    Raises:
        ConfigError: ``demo`` beyond loopback; ``shop`` with a risk that ``accepted_risks`` does not name;
            an accepted risk that does not exist (a typo must not look like a decision).
    """
    taken = risks(config)
    known = (*taken, UNSIGNED)
    for name in config.accepted_risks:
        if name not in known:
            raise ConfigError(f"accepted_risks: there is no risk {name!r}; one of {', '.join(known)}")
    if config.profile == "demo":
        if not _is_loopback(config.mqtt.host):
            raise ConfigError(f"mqtt.host: profile demo is for loopback only, not {config.mqtt.host}")
        if config.page.listen == "lan":
            raise ConfigError("page.listen: profile demo is for loopback only, not lan")
        return
    refused = [name for name, holds in taken.items() if holds and name not in config.accepted_risks]
    if refused:
        raise ConfigError(
            f"profile: shop does not run with {', '.join(refused)}",
            fix=Text("fix.change_config_name"),
        )
