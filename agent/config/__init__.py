"""The agent's config as frozen sections. ``config/file.py`` reads a file.

An import reads no file. A component receives only its own section. Units are in the names.
A secret is never a value: a section names the *file* that holds the secret.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from agent.config.file import FilePath, Ms, Secret, Section
from agent.config.vision import (
    CameraConfig,
    LivenessConfig,
    PolicyConfig,
    VerificationConfig,
    VetoConfig,
    VisionConfig,
)
from agent.core.directories import NAME_MAX_BYTES, PATH_MAX_BYTES, directory_fault, size_bytes
from agent.core.hosts import is_address
from agent.errors import WrongValueError
from agent.texts import SOURCE, Text, locales


def _check_host(text: str) -> str:
    """Only a host name or an IP address. A url, a port or brackets would fail later, in the resolver."""
    if not is_address(text) and (not text or re.search(r"[\s/@\[\]]|:\d+\Z|\A[a-z]+:", text, re.I)):
        raise WrongValueError(Text("detail.host_alone"))
    return text


def _check_locale(locale: str) -> str:
    """Only a language with an installed message file."""
    if locale not in locales():
        raise WrongValueError(Text("value.literal_error", expected=", ".join(locales())))
    return locale


def _check_directory(directory: Path) -> Path:
    """Only a directory with which each start of the agent works."""
    if fault := directory_fault(str(directory)):
        facts = {"path_max": PATH_MAX_BYTES, "name_max": NAME_MAX_BYTES, "size": size_bytes(str(directory))}
        raise WrongValueError(Text(f"detail.directory_{fault}", **facts))
    return directory


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Host = Annotated[str, AfterValidator(_check_host)]
Port = Annotated[int, Field(ge=1, le=65_535)]

# every section is imported from here
__all__ = [
    "CameraConfig",
    "LivenessConfig",
    "PolicyConfig",
    "VerificationConfig",
    "VetoConfig",
    "VisionConfig",
]

COMPAREFACE_THRESHOLD = 60.0  # its documentation: one false accept in 1e5; 50 is one in 1e4


class CompareConfig(Section):
    provider: Literal["face_compare_2018", "compareface_2020"] = "face_compare_2018"
    url: Annotated[str, Secret.URL] = "http://127.0.0.1:8100/face/compare"
    appid: str = ""
    bucket: str = ""
    secret_id: str = ""
    # a file or a systemd credential, never the key itself
    secret_key_file: Annotated[FilePath | None, Secret.FILE] = None
    ca_file: FilePath | None = None
    region: str = ""  # compareface_2020 only, where the endpoint needs one
    threshold: Annotated[float, Field(ge=0, lt=100)] = (
        80  # on this provider's scale; the compiled floor is 75 (compareface_2020: 60, 50)
    )
    reference: Literal["fetch", "passthrough"] = "fetch"  # passthrough: the API downloads the url itself
    reference_hosts: tuple[str, ...] = ()  # allow-list for fetch; empty: inline photos only
    reference_max_bytes: Annotated[int, Field(ge=1_024, le=6_000_000)] = 5_000_000
    reference_timeout_ms: Ms = 3_000

    @model_validator(mode="before")
    @classmethod
    def _threshold_of_provider(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and tree.get("provider") == "compareface_2020":
            return {"threshold": COMPAREFACE_THRESHOLD, **tree}
        return tree


class MqttConfig(Section):
    host: Host = "127.0.0.1"
    port: Port = 1883
    tls: bool = False
    transport: Literal["tcp", "websockets"] = "tcp"
    websocket_path: Annotated[str, Field(pattern=r"^/[!-~]{0,200}$")] = "/mqtt"
    alpn: Annotated[str, Field(pattern=r"^[!-~]{0,64}$")] = ""  # a hosted broker that shares port 443
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: Annotated[FilePath | None, Secret.FILE] = None
    username: str = ""
    password_file: Annotated[FilePath | None, Secret.FILE] = None
    keepalive_s: Annotated[int, Field(ge=5, le=120)] = 15
    request_max_bytes: Annotated[int, Field(ge=1_024, le=131_072)] = 98_304
    requests_per_minute: Annotated[int, Field(ge=1, le=6_000)] = 120  # per till
    ack: Literal["till", "broker"] = "till"

    @model_validator(mode="after")
    def _alpn_requires_tls(self) -> Self:
        if self.alpn and not self.tls:
            raise WrongValueError(Text("detail.alpn_without_tls"))
        return self


class StorageConfig(Section):
    directory: Annotated[Path, AfterValidator(_check_directory)] = Path("/var/lib/facepay-agent")
    retention_hours: Annotated[int, Field(ge=1, le=24 * 31)] = 72
    max_results: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000


class GuardConfig(Section):
    """Limits that refuse a request before a paid call; 0: no limit. See core/attempt_limits.py."""

    failures: Annotated[int, Field(ge=0, le=1_000)] = 5  # per enrolled photo, and for the terminal
    failures_within_ms: Ms = 180_000
    pause_ms: Ms = 180_000
    calls_per_minute: Annotated[int, Field(ge=0)] = 60
    calls_per_day_warning: Annotated[int, Field(ge=0)] = 3_000
    calls_per_day: Annotated[int, Field(ge=0)] = 6_000


class TraceConfig(Section):
    """Traces of verifications for a replay: landmarks and request ids, no pixels."""

    enabled: bool = False
    keep_days: Annotated[int, Field(ge=1, le=7)] = 7
    max_bytes: Annotated[int, Field(ge=100_000, le=1_000_000_000)] = 50_000_000  # of all days together


class PageConfig(Section):
    """Off by default. On the LAN the page needs a token, and pictures need TLS."""

    listen: Literal["off", "loopback", "lan"] = "off"
    port: Port = 8_090
    token_file: Annotated[FilePath | None, Secret.FILE] = None
    cert_file: FilePath | None = None
    key_file: Annotated[FilePath | None, Secret.FILE] = None
    preview: bool = False

    @model_validator(mode="after")
    def _lan_requires_token_and_tls(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise WrongValueError(Text("detail.pair_belongs"))
        if self.listen == "lan" and self.token_file is None:
            raise WrongValueError(Text("detail.lan_needs_token"))
        if self.listen == "lan" and self.preview and self.cert_file is None:
            raise WrongValueError(Text("detail.lan_preview_needs_tls"))
        return self


class DisplayConfig(Section):
    """The screen for the payer, off by default. There is no other listener than the loopback."""

    listen: Literal["off", "loopback"] = "off"
    port: Port = 8_091
    shop_name: Annotated[str, StringConstraints(max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    locale: Annotated[str, AfterValidator(_check_locale)] = SOURCE  # idle, and for a request without a locale
    sound: bool = False


class LogConfig(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    json_lines: bool = False


class Config(Section):
    """The whole file. ``model_construct``: the defaults are valid and need no schema of their own."""

    profile: Literal["demo", "shop"] = "shop"
    site: Id = "site"
    terminal: Id = "terminal"
    accepted_risks: tuple[str, ...] = ()
    consent_required: bool = False
    inline_reference: bool = False  # a persistent broker would keep an inline photo
    show_similarity: bool = True
    camera: CameraConfig = CameraConfig.model_construct()
    vision: VisionConfig = VisionConfig.model_construct()
    policy: PolicyConfig = PolicyConfig.model_construct()
    verification: VerificationConfig = VerificationConfig.model_construct()
    liveness: LivenessConfig = LivenessConfig.model_construct()
    guard: GuardConfig = GuardConfig.model_construct()
    compare: CompareConfig = CompareConfig.model_construct()
    mqtt: MqttConfig = MqttConfig.model_construct()
    storage: StorageConfig = StorageConfig.model_construct()
    trace: TraceConfig = TraceConfig.model_construct()
    page: PageConfig = PageConfig.model_construct()
    display: DisplayConfig = DisplayConfig.model_construct()
    log: LogConfig = LogConfig.model_construct()
