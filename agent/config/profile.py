"""Rules of the profiles: ``demo`` is for loopback only; ``shop`` refuses each risk not accepted by name.

Source of the list of risks: the till contract, "Transport and identity".
"""

from agent.config import CameraConfig, Config
from agent.config.file import unsupported
from agent.config.stream_url import Authentication
from agent.core.hosts import is_loopback
from agent.errors import ConfigError
from agent.texts import Text

UNSIGNED = "unsigned_requests"  # without this risk, ``core.admission`` refuses unsigned requests
CAMERA_RISKS = ("replay_camera", "plain_rtsp_camera", "plain_stream_camera", "unverified_stream_camera")


def _camera_risk(camera: CameraConfig) -> str:
    """One of ``CAMERA_RISKS``; empty when there is none."""
    match camera.kind:
        case "picamera2" | "v4l2":
            return ""
        case "replay":
            return "replay_camera"
        case "stream":
            pass
        case _:
            raise unsupported("camera.kind", camera.kind)
    try:
        url = camera.stream_url()
    except PermissionError:
        return ""
    except (OSError, ValueError):
        return "unverified_stream_camera"  # ``root.runnable_config`` reports the fault of the file
    match url.authentication(has_ca=camera.ca_file is not None):
        case Authentication.VERIFIED:
            return ""
        case Authentication.UNVERIFIED:
            return "unverified_stream_camera"
        case Authentication.NONE:
            return "plain_rtsp_camera" if url.scheme == "rtsp" else "plain_stream_camera"


def accepts_photos(config: Config) -> bool:
    """Whether a request can name an enrolled photo: inside the request, or by a url of an allowed host."""
    compare = config.compare
    return config.inline_reference or compare.reference == "passthrough" or bool(compare.reference_hosts)


def requires_signatures(config: Config) -> bool:
    """Whether each request must be signed by a trusted key of its till, see ``core.admission``."""
    return config.profile != "demo" and UNSIGNED not in config.accepted_risks


def risks_of(config: Config) -> dict[str, bool]:
    """Each risk that ``shop`` refuses, and whether this config has it.

    A camera is no risk when the origin of its pictures is certain: picamera2, v4l2, and a stream with a
    verified certificate. A stream address in a file that this user may not read is no risk here; the agent
    reads that file.
    """
    camera = _camera_risk(config.camera)
    return {
        "plain_mqtt": not config.mqtt.tls,
        "plain_http_compare": not config.compare.url.lower().startswith("https://"),
        **{name: name == camera for name in CAMERA_RISKS},
        "liveness_off": config.liveness.mode == "off",
        # token and status are sent unencrypted over the network
        "plain_http_page": config.page.listen == "lan" and config.page.cert_file is None,
        "reference_passthrough": config.compare.reference == "passthrough",
    }


def check_profile(config: Config) -> None:
    """Refuse a config that the profile does not allow.

    Raises ``ConfigError``: ``demo`` outside loopback; ``shop`` with a risk that ``accepted_risks`` does not
    name; an accepted risk that does not exist (a typing error must not count as a decision).
    """
    present = risks_of(config)
    known_risks = (*present, UNSIGNED)
    for name in config.accepted_risks:
        if name not in known_risks:
            raise ConfigError(Text("detail.no_risk", name=name, known=", ".join(known_risks)))
    if config.profile == "demo":
        if not is_loopback(config.mqtt.host):
            raise ConfigError(Text("detail.demo_loopback", host=config.mqtt.host))
        if config.page.listen == "lan":
            raise ConfigError(Text("detail.demo_page_loopback"))
        return
    refused = [name for name, holds in present.items() if holds and name not in config.accepted_risks]
    if refused:
        why = Text("detail.shop_refuses", names=", ".join(refused))
        raise ConfigError(why, fix=Text("fix.risks_not_accepted"))
