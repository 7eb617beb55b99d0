"""Factories of the parts: each makes one part of a config and starts nothing. For composition roots only."""

import hashlib
import secrets
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, assert_never

from agent import __version__
from agent.compare import secret
from agent.compare.base import CompareClient
from agent.config import Config
from agent.config.profile import requires_signatures
from agent.core.attempt_limits import AttemptLimits
from agent.core.frame_log import FrameLog
from agent.core.model import Assurance, Result
from agent.core.policy import PolicyLimits
from agent.core.trace import Trace
from agent.core.verification_types import Limits
from agent.errors import ConfigError
from agent.health.board import is_synchronised
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions import CONDITIONS
from agent.health.conditions_till import RESULTS_UNACKNOWLEDGED
from agent.live_view.frame_tap import FrameTap
from agent.messages.decode import DecodeRules
from agent.messages.encode import ClockFacts, Issued, TerminalIdentity, result
from agent.messages.keyring import OPERATORS, Keyring
from agent.messages.rotation import fingerprints, record_start, statement_for
from agent.messages.signing import Signer
from agent.mqtt.reason_codes import BrokerProblem
from agent.outbox.outbox import Outbox
from agent.recorder import last_verification
from agent.recorder.trace_json import recording
from agent.recorder.traces import TraceFiles
from agent.root.liveness import has_liveness, liveness_checks, make_liveness_models
from agent.terminal.parts import Settings
from agent.texts import Text
from agent.till.adapter import MqttTill
from agent.till.state_publisher import StateFacts
from agent.vision.face_analyzer import LocalFaceAnalyzer

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class BootClock:
    """``core.ports.Clock`` on CLOCK_BOOTTIME: monotonic, and includes time in suspend."""

    def now_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000


def make_identity(config: Config) -> TerminalIdentity:
    """The identity of this process. Each start has a new epoch: a request of an earlier epoch is stale."""
    return TerminalIdentity(
        config.site,
        config.terminal,
        boot_id=_BOOT_ID.read_text().strip(),
        epoch=secrets.token_hex(16),
        show_similarity=config.show_similarity,
    )


def make_outbox(
    config: Config,
    identity: TerminalIdentity,
    clock: BootClock,
    signer: Signer,
    offset_ms: Callable[[], int | None],
) -> Outbox:
    """The outbox, which signs a result once and stores the bytes. Raises ``StorageError``."""

    def encode(value: Result, issued: Issued) -> bytes:
        return result(value, identity, issued, signer, ClockFacts(is_synchronised(), offset_ms()))

    return Outbox(config.storage, clock, identity.boot_id, encode, is_synchronised)


def make_compare(config: Config, clock: BootClock) -> CompareClient:
    """The configured provider. Raises ``ConfigError``."""
    if config.compare.secret_key_file is None:
        raise ConfigError(Text("detail.secret_key_file_unset"))
    kind: type[CompareClient]
    match config.compare.provider:  # only the modules of this provider are imported
        case "face_compare_2018":
            from agent.compare.face2018_client import FaceCompare2018

            kind = FaceCompare2018
        case "compareface_2020":
            from agent.compare.compareface import CompareFace2020

            kind = CompareFace2020
        case unwired:
            assert_never(unwired)
    return kind(
        config.compare,
        secret.secret_reader(config.compare.secret_key_file),
        clock,
        profile=config.profile,
        allows_plain_http="plain_http_compare" in config.accepted_risks,
    )


def make_limits(config: Config) -> Limits:
    margins = {"budget_ms", "publish_margin_ms"}
    rules = {name: value for name, value in config.verification if name not in margins}
    turns = config.liveness.turns if has_liveness(config) else 0
    return Limits(**rules, excellent_score=config.policy.excellent_score, turns=turns)


def make_recorder(config: Config, clock: BootClock) -> Callable[[Result, FrameLog, Trace | None], None]:
    """Stores the frame log of the last verification, and its trace when tracing is on."""
    directory, files, policy = config.storage.directory, make_trace_files(config), policy_limits(config)

    def record(result: Result, frames: FrameLog, trace: Trace | None) -> None:
        now_ms = clock.unix_ms()
        last_verification.write(directory, result, frames, now_ms)
        if trace is not None:
            files.append(recording(result, trace, policy, now_ms))

    return record


def make_face_analyzer(config: Config) -> LocalFaceAnalyzer:
    """Raises ``ModelError``."""
    return LocalFaceAnalyzer(
        config.vision,
        policy_limits(config),
        liveness_models=make_liveness_models(config),
        challenge=has_liveness(config),
        shading=config.liveness.shading,
    )


def make_trace_files(config: Config) -> TraceFiles:
    rules = config.trace
    return TraceFiles(config.storage.directory, keep_days=rules.keep_days, max_bytes=rules.max_bytes)


def policy_limits(config: Config) -> PolicyLimits:
    return PolicyLimits(**dict(config.policy))


def make_assurance(config: Config) -> Assurance:
    policy = config.model_dump_json(include={"policy", "verification", "compare", "liveness"})
    return Assurance(
        liveness_checks=liveness_checks(config),
        camera=config.camera.kind,
        transport="tls" if config.mqtt.tls else "plain",
        policy_sha256=hashlib.sha256(policy.encode()).hexdigest(),
        accepted_risks=config.accepted_risks,
    )


def make_till(
    config: Config, identity: TerminalIdentity, outbox: Outbox, clock: BootClock, state_facts: StateFacts
) -> MqttTill:
    rules = DecodeRules(
        config.mqtt.request_max_bytes,
        config.verification.budget_ms,
        signatures_required=requires_signatures(config),
        trust=Keyring(config.storage.directory),
        accepts_diagnosis=bool(Keyring(config.storage.directory, OPERATORS).tills()),
        site=identity.site,
        terminal=identity.terminal,
        terminal_required=config.profile != "demo",
        wall_ms=lambda: clock.unix_ms() if is_synchronised() else None,
    )
    margin_ms = config.verification.publish_margin_ms
    return MqttTill(config.mqtt, identity, rules, outbox, clock, margin_ms=margin_ms, state_facts=state_facts)


def make_settings(config: Config, epoch: str, earlier_calls: int = 0) -> Settings:
    return Settings(
        epoch=epoch,
        limits=make_limits(config),
        publish_margin_ms=config.verification.publish_margin_ms,
        assurance=make_assurance(config),
        consent_required=config.consent_required,
        inline_reference=config.inline_reference,
        age_required=config.profile != "demo",
        requests_per_minute=config.mqtt.requests_per_minute,
        guard=AttemptLimits(**dict(config.guard)),
        earlier_calls=earlier_calls,
        is_traced=config.trace.enabled,
        assurances=frozenset({"liveness"} if has_liveness(config) else ()),
    )


def make_state_facts(
    config: Config, signer: Signer, conditions: ConditionTracker, frame_tap: FrameTap | None = None
) -> StateFacts:
    """The facts of ``state``. The signer is in use from now on: its key may be rotated."""
    record_start(config.storage.directory, signer)
    rotation = statement_for(config.storage.directory, signer)
    key = {"kid": signer.key_id, "sha256": signer.fingerprint} | ({"rotation": rotation} if rotation else {})

    def facts() -> dict[str, Any]:
        watched = {"preview_open": True} if frame_tap is not None and frame_tap.watched else {}
        return watched | {
            "version": __version__,
            "profile": config.profile,
            "accepted_risks": list(config.accepted_risks),
            "limits": {
                "request_max_bytes": config.mqtt.request_max_bytes,
                "budget_max_ms": config.verification.budget_ms,
                "inline_reference": config.inline_reference,
            },
            "key": key,
            "conditions": [condition.code for condition in conditions.causes],
        }

    def on_problem(problem: BrokerProblem, is_active: bool, detail: str | Text) -> None:
        conditions.update(CONDITIONS[problem], is_active, detail)

    return StateFacts(
        lambda: "degraded" if conditions.causes else "online",
        facts,
        signer,
        on_problem,
        partial(conditions.update, RESULTS_UNACKNOWLEDGED),
        fingerprints(config.storage.directory, signer),
    )
