"""The parts of a support archive: collected, redacted, each with a reason."""

import platform
from collections import deque
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from agent import __version__
from agent.config import Config
from agent.config.secret_files import secret_files, secret_urls
from agent.control.status import config_fingerprint
from agent.core.verification_types import CallAnswered, CallFailed, FrameAnalyzed
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.doctor import exit_code, run_checks
from agent.diagnostics.privacy import audit
from agent.diagnostics.redact import Redactor
from agent.diagnostics.support_bundle import Missing, Part, text_part, tree_part
from agent.errors import AgentError
from agent.health.metrics import render
from agent.messages.signing import KEY_FILE
from agent.recorder import last_verification
from agent.recorder.trace_json import Recording
from agent.recorder.traces import FOLDER, read
from agent.root.doctor import inputs_from_file
from agent.safe_open import open_plain
from agent.texts import Text

JOURNAL_LINES = 3_000
# file -> its content, and the reason why support needs it
_PARTS = {
    "versions.json": ("versions of program, system and libraries", "is this a known fault?"),
    "config.json": ("every value in force; texts that support does not need appear as [set]", "settings"),
    "doctor.json": ("the current findings of `facepay doctor`", "the cause of the fault"),
    "status.json": ("the status of the running agent", "state and conditions"),
    "metrics.txt": ("the status as Prometheus text", "for a collector"),
    "last-verification.json": ("each frame of the last verification", "the reason of the result"),
    "traces.json": (
        "the last recorded verifications: times, reasons, quality",
        "the reasons of the results; no face position, no landmark",
    ),
    "privacy.json": ("every file of the product on this terminal", "find files that must not be here"),
    "journal.txt": (f"the last {JOURNAL_LINES} lines of the log", "what happened"),
}
_TRACES_MAX = 50  # verifications
_SECRET_MAX_BYTES = 16_384
# Only the text values of these config keys are shown. Any other text, also of a new key, appears as "[set]".
_SHOWN = frozenset(
    {"profile", "site", "terminal", "accepted_risks", "kind", "source", "provider", "url", "host", "region"}
    | {"reference", "reference_hosts", "mode", "level", "ack", "turns", "bind"}
)


class Gathering:
    """Collects the parts of one bundle. A part that fails is listed in ``missing`` with the reason."""

    def __init__(self, path: Path, config: Config) -> None:
        self.inputs: CheckInputs = inputs_from_file(path, must_be_runnable=False)
        self._path = path
        self.redactor = Redactor(secrets_of(config), frozenset({config_fingerprint(config)}))
        self._config = config
        self.parts = list[Part]()
        self.missing = list[Missing]()

    def gather(self, on_part: Callable[[str], None] = lambda _: None) -> None:
        """Collect all parts; block until the doctor has ended. ``on_part`` gets the name before each part."""
        contents: dict[str, Callable[[], Any]] = {
            "versions.json": self._versions,
            "config.json": lambda: shown_config(self._config) | {"sha256": config_fingerprint(self._config)},
            "doctor.json": self._doctor,
            "status.json": lambda: dict(self.inputs.status()),
            "metrics.txt": lambda: render(self.inputs.status()).decode(),
            "last-verification.json": self._last,
            "traces.json": self._traces,
            "privacy.json": lambda: [item.facts() for item in audit(self.inputs)],
            "journal.txt": self._journal,
        }
        for name, content in contents.items():
            on_part(name)
            part = text_part if name.endswith(".txt") else tree_part
            try:
                self.parts.append(part(name, *_PARTS[name], content(), self.redactor))
            except (AgentError, OSError) as error:
                code = error.code if isinstance(error, AgentError) else type(error).__name__
                self.missing.append(Missing(name, f"{code}: {error}"))

    def _versions(self) -> dict[str, Any]:
        packages = sorted(
            f"{distribution.metadata['Name']} {distribution.version}" for distribution in distributions()
        )
        return {
            "facepay": __version__,
            "python": platform.python_version(),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "system": _release(self.inputs.root),
            "packages": packages,
        }

    def _doctor(self) -> dict[str, Any]:
        reports = list(run_checks(CHECKS, inputs_from_file(self._path)))
        return {"exit": exit_code(reports), "checks": [report.facts() for report in reports]}

    def _last(self) -> dict[str, Any]:
        last = last_verification.read(self._config.storage.directory)
        frames = [[frame.after_ms, frame.reason, frame.score] for frame in last.frame_log.frames]
        stages = [[stage.after_ms, stage.name] for stage in last.frame_log.stages]
        tree = {key: getattr(last, key) for key in ("request_id", "decision", "reason", "asks", "total_ms")}
        return tree | {
            "frames": frames,
            "stages": stages,
            "funnel": dict(last.frame_log.frames_by_reason),
        }

    def _traces(self) -> list[dict[str, Any]]:
        if not self._config.trace.enabled:
            raise AgentError(Text("detail.recording_off"), code="not_recorded")
        recorded = deque(read(self._config.storage.directory / FOLDER), _TRACES_MAX)
        return [without_positions(recording) for recording in recorded]

    def _journal(self) -> str:
        text = self.inputs.program(
            *("journalctl", "-u", "facepay-agent", "-u", "facepay-compare", "-n", str(JOURNAL_LINES)),
            *("-o", "short-iso", "--no-pager", "--quiet", "--no-hostname"),
        )
        if not text:
            raise AgentError(Text("detail.no_journal"), code="no_journal")
        return text


def secrets_of(config: Config) -> dict[str, bytes]:
    """Every secret that the config names and this user may read: no part may contain these."""
    secrets = dict[str, bytes]()
    files = secret_files(config) | {"signing key": config.storage.directory / KEY_FILE}
    for name, path in files.items():
        try:
            with open_plain(path, links=True) as file:
                secrets[name] = file.read(_SECRET_MAX_BYTES)
        except OSError:
            continue  # a secret that this user cannot read cannot be in a part either
    urls = secret_urls(config)
    if config.camera.source_file is not None:
        urls["camera.source_file"] = secrets.get("camera.source_file", b"").decode("utf-8", "replace").strip()
    for name, url in urls.items():
        secrets |= {f"{name} {part}": value.encode() for part, value in _secrets_of_url(url)}
    return secrets | {"compare.secret_id": config.compare.secret_id.encode()}


def _secrets_of_url(url: str) -> Iterator[tuple[str, str]]:
    try:
        parts = urlsplit(url)
        password, query = parts.password or "", parts.query
    except ValueError:
        yield "text", url
        return
    yield from (("password", form) for form in {password, unquote(password)} if form)
    yield from (("query", pair.partition("=")[2]) for pair in query.split("&") if pair)


def shown_config(config: Config) -> dict[str, Any]:
    """The config for display: numbers, switches and paths; texts only of the keys in ``_SHOWN``."""
    return {key: _shown(key, value) for key, value in config.model_dump().items()}


def _shown(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _shown(inner, item) for inner, item in value.items()}
    if isinstance(value, str) and key not in _SHOWN:
        return "[set]" if value else ""
    if isinstance(value, tuple | list) and key not in _SHOWN and any(isinstance(item, str) for item in value):
        return f"[{len(value)} set]"
    return value


def without_positions(recorded: Recording) -> dict[str, Any]:
    """A recorded verification without positions of faces and landmarks.

    A row of ``events``: milliseconds after the start, kind of the event, then its reason and score, or the
    number of the API call.
    """
    rows = list[list[Any]]()
    for event in recorded.trace.events:
        after_ms, kind = event.at_ms - recorded.trace.not_before_ms, type(event).__name__
        match event:
            case FrameAnalyzed(analysis=seen):
                score = None if seen.quality is None else round(seen.quality.score, 1)
                rows.append([after_ms, kind, str(seen.reason), score])
            case CallAnswered(number=number) | CallFailed(number=number):
                rows.append([after_ms, kind, number])
            case _:
                rows.append([after_ms, kind])
    names = ("request_id", "ended_unix_ms", "decision", "reason", "asks")
    return {name: getattr(recorded, name) for name in names} | {"events": rows}


def _release(root: Path) -> str:
    try:
        text = (root / "etc/os-release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown"
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return lines.get("PRETTY_NAME", "unknown").strip('"')
