"""What the terminal is made of: the world behind ports, and its settings. Filled by composition roots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agent.core.attempt_limits import GuardLimits
from agent.core.frame_log import FrameLog
from agent.core.model import Assurance, CameraHealth, FaceLight, Frame, Result
from agent.core.ports import Camera, Clock, Compare, FaceAnalyzer, Ledger, Till
from agent.core.steps import Limits
from agent.core.trace import Trace

Keep = Callable[[Result, FrameLog, Trace | None], None]
"""Keeps the story of a verification, for people. Called in a thread."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world, as the composition root wired it."""

    clock: Clock
    camera: Camera
    eye: FaceAnalyzer
    compare: Compare
    till: Till
    ledger: Ledger
    glance: Callable[[Frame], CameraHealth]  # one cheap look at an idle frame
    keep: Keep = lambda _result, _story, _trace: None  # for `facepay why` and `trace`
    # how the payer's face is lit, after each look that found one; None once the verification is over
    expose: Callable[[FaceLight | None], None] = lambda _light: None


@dataclass(frozen=True, slots=True)
class Settings:
    """What the terminal needs of the config, and of this process."""

    epoch: str
    limits: Limits
    publish_margin_ms: int
    assurance: Assurance
    consent_required: bool = False
    inline_reference: bool = True
    age_required: bool = False  # see ``core.admission.Situation``
    requests_per_minute: int = 120  # per till
    guard: GuardLimits = field(default_factory=GuardLimits)
    earlier_calls: int = 0  # paid in the last day, by processes before this one
    traced: bool = False  # whether `keep` gets a trace
    assurances: frozenset[str] = frozenset()  # what a request may ``require`` of this terminal
