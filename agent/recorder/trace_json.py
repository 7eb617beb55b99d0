"""Encoding of a recorded verification as one line of JSON, and exact decoding.

Contains boxes, landmarks, measures, answers and times; never a pixel. A number that JSON cannot represent is
written as a string, because NaN is a possible answer of an API.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from typing import Any

from agent.core import model, strict_json
from agent.core import verification_types as types
from agent.core.challenge_plan import Turn, TurnSide
from agent.core.model import Analysis, Detection, Result
from agent.core.policy import PolicyLimits, coordinates
from agent.core.reasons import Continuity, FrameReason, Guidance, Reason
from agent.core.trace import Trace
from agent.core.verification_types import Event
from agent.errors import Retry

FORMAT = 2  # since format 2 a frame has continuity and similarity


@dataclass(frozen=True, slots=True)
class Recording:
    """A trace with its policy and its result."""

    request_id: str
    ended_unix_ms: int
    config_sha256: str
    decision: str
    reason: str
    asks: int
    policy: PolicyLimits
    trace: Trace


def recording(result: Result, trace: Trace, policy: PolicyLimits, unix_ms: int) -> Recording:
    ids = (result.request.request_id, unix_ms, result.assurance.policy_sha256)
    return Recording(*ids, result.decision, result.reason, result.asks, policy, trace)


def to_line(recorded: Recording) -> bytes:
    """The recording as one line with a line feed."""
    trace = recorded.trace
    plans = [[[turn.side, turn.wait_ms] for turn in plan] for plan in trace.limits.plans]
    tree = {
        "facepay_trace": FORMAT,
        **{name: getattr(recorded, name) for name in _HEAD},
        "policy": asdict(recorded.policy),
        "deadline_ms": trace.deadline_ms,
        "not_before_ms": trace.not_before_ms,
        "limits": asdict(trace.limits) | {"plans": plans},
        "events": [_event(event) for event in trace.events],
    }
    return json.dumps(tree, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def from_line(line: bytes) -> Recording:
    """The recording of one line.

    Raises ``ValueError``: not JSON, another format, or not a line of ``to_line``.
    """
    tree = strict_json.loads(line)
    try:
        if not isinstance(tree, dict) or tree["facepay_trace"] != FORMAT:
            raise ValueError("not a trace of this format")
        plans = tuple(
            tuple(Turn(TurnSide(side), int(ms)) for side, ms in plan) for plan in tree["limits"]["plans"]
        )
        return Recording(
            **{name: kind(tree[name]) for name, kind in _HEAD.items()},
            policy=PolicyLimits(**tree["policy"]),
            trace=Trace(
                int(tree["deadline_ms"]),
                int(tree["not_before_ms"]),
                types.Limits(**tree["limits"] | {"plans": plans}),
                tuple(_EVENTS[event.pop("is")](event) for event in tree["events"]),
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a trace: {type(error).__name__}: {error}") from error


_HEAD: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("request_id", "config_sha256", "decision", "reason"), str),
    **dict.fromkeys(("ended_unix_ms", "asks"), int),
}


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _event(event: Event) -> dict[str, Any]:
    tree: dict[str, Any] = {"is": type(event).__name__, "at_ms": event.at_ms}
    match event:
        case types.FrameAnalyzed(analysis=analysis):
            tree |= _analysis(analysis)
        case types.CallAnswered(number=number, comparison=answer):
            numbers = {"similarity": _number(answer.similarity), "threshold": _number(answer.threshold)}
            tree |= {"ask": number, "comparison": asdict(answer) | numbers}
        case types.CallFailed(number=number, reason=reason, retry=retry, api_code=code):
            tree |= {"ask": number, "reason": reason, "retry": retry, "api_code": code}
        case types.InputFailed(reason=reason) | types.CameraFailed(reason=reason):
            tree |= {"reason": reason}
    return tree


def _analysis(analysis: Analysis) -> dict[str, Any]:
    quality = analysis.quality
    return {
        "seq": analysis.frame_seq,
        "captured_ms": analysis.captured_ms,
        "reason": analysis.reason,
        "size_px": [analysis.frame_width_px, analysis.frame_height_px],
        "face": None if analysis.face is None else _face(analysis.face),
        "others": [_face(other) for other in analysis.others],
        "quality": None if quality is None else [_number(value) for value in astuple(quality)],
        "track": analysis.track,
        "shot": None if analysis.shot is None else analysis.shot.track,
        "hint": analysis.hint,
        "continuity": analysis.continuity,
        "similarity": None if analysis.similarity is None else _number(analysis.similarity),
    }


def _face(face: Detection) -> list[float | str]:
    box = face.box
    numbers = (box.x_px, box.y_px, box.width_px, box.height_px, *coordinates(face.landmarks), face.confidence)
    return [_number(value) for value in numbers]


def _to_face(numbers: list[Any]) -> Detection:
    x, y, width, height, *marks, confidence = (float(number) for number in numbers)
    points = [model.Point(marks[i], marks[i + 1]) for i in range(0, 10, 2)]
    return Detection(model.Box(x, y, width, height), model.Landmarks(*points), confidence)


def _to_frame_analyzed(tree: dict[str, Any]) -> types.FrameAnalyzed:
    face = None if tree["face"] is None else _to_face(tree["face"])
    others = tuple(_to_face(other) for other in tree["others"])
    quality = None if tree["quality"] is None else model.Quality(*(float(value) for value in tree["quality"]))
    (width, height), seq, captured_ms = tree["size_px"], int(tree["seq"]), int(tree["captured_ms"])
    shot = None
    if tree["shot"] is not None and face is not None and quality is not None:
        shot = model.Shot(
            model.Frame(None, seq, captured_ms, width, height), face, quality, int(tree["shot"]), others
        )
    hint = None if tree["hint"] is None else Guidance(tree["hint"])
    reason = FrameReason(tree["reason"])
    track, continuity = tree["track"], Continuity(tree["continuity"])
    cosine = None if tree["similarity"] is None else float(tree["similarity"])
    values = (seq, captured_ms, reason, face, track, quality, shot, hint, others, width, height, continuity)
    return types.FrameAnalyzed(int(tree["at_ms"]), Analysis(*values, similarity=cosine))


def _to_call_answered(tree: dict[str, Any]) -> types.CallAnswered:
    answer = tree["comparison"]
    numbers = {name: float(answer[name]) for name in ("similarity", "threshold")}
    return types.CallAnswered(int(tree["at_ms"]), int(tree["ask"]), model.Comparison(**answer | numbers))


def _to_call_failed(tree: dict[str, Any]) -> types.CallFailed:
    reason, retry = Reason(tree["reason"]), Retry(tree["retry"])
    return types.CallFailed(int(tree["at_ms"]), int(tree["ask"]), reason, retry, tree["api_code"])


_EVENTS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "FrameAnalyzed": _to_frame_analyzed,
    "CallAnswered": _to_call_answered,
    "CallFailed": _to_call_failed,
    "InputFailed": lambda tree: types.InputFailed(int(tree["at_ms"]), Reason(tree["reason"])),
    "CameraFailed": lambda tree: types.CameraFailed(int(tree["at_ms"]), Reason(tree["reason"])),
    "Ticked": lambda tree: types.Ticked(int(tree["at_ms"])),
    "Cancelled": lambda tree: types.Cancelled(int(tree["at_ms"])),
    "Interrupted": lambda tree: types.Interrupted(int(tree["at_ms"])),
    "InternalFailure": lambda tree: types.InternalFailure(int(tree["at_ms"])),
}
