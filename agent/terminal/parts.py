"""The ports and the settings of a terminal. Composition roots fill them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from agent.core.attempt_limits import AttemptLimits
from agent.core.frame_log import FrameLog
from agent.core.model import Assurance, CameraHealth, FaceLight, Frame, Result
from agent.core.ports import Camera, ClaimStore, Clock, Compare, FaceAnalyzer, Till
from agent.core.trace import Trace
from agent.core.verification_types import Limits

RecordVerification = Callable[[Result, FrameLog, Trace | None], None]
"""Stores the frame log and the trace of an ended verification, for `facepay why` and `facepay trace`.

Called in a thread. May raise ``OSError``, which changes no result.
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """The adapters, as the composition root wired them."""

    clock: Clock
    camera: Camera
    analyzer: FaceAnalyzer
    compare: Compare
    till: Till
    claim_store: ClaimStore
    check_frame: Callable[[Frame], CameraHealth]  # the brightness check of every frame
    record: RecordVerification = lambda _result, _frame_log, _trace: None
    # gets the brightness of the payer's face after each analysis of a face; None after the verification
    adapt_exposure: Callable[[FaceLight | None], None] = lambda _light: None


@dataclass(frozen=True, slots=True)
class Settings:
    """The values that the terminal needs from the config and from this process."""

    epoch: str
    limits: Limits
    publish_margin_ms: int
    assurance: Assurance
    consent_required: bool = False
    inline_reference: bool = True
    age_required: bool = False  # see ``core.admission.AdmissionFacts``
    requests_per_minute: int = 120  # per till
    guard: AttemptLimits = field(default_factory=AttemptLimits)
    earlier_calls: int = 0  # calls of earlier processes in the last day
    is_traced: bool = False  # whether `record` gets a trace
    assurances: frozenset[str] = frozenset()  # the assurances that a request may ``require``
