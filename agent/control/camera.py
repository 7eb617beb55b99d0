"""What a technician asks the running agent's camera, over the status socket: two questions, one answer each.

``lens``: numbers of one frame, no face is looked for. ``shot``: one annotated JPEG; a face is looked for in
it, because somebody asked for exactly that. Both are refused while a payer is served. Nothing is stored.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from agent.control.server import exchange
from agent.core import strict_json
from agent.errors import AgentError, CameraError, CameraReserved, StatusError
from agent.health.probe_results import LensReading
from agent.texts import Text

SCHEMA = "facepay.view/1"
LENS, SHOT = b"lens\n", b"shot\n"
ANSWER_MAX_BYTES = 512 * 1024
TOO_MANY = "camera_shots_too_many"
_WAIT = Text("fix.camera_shots_too_many")

_TIMEOUT_S = 6.0  # the agent waits some seconds for a frame


@dataclass(frozen=True, slots=True)
class ShotLook:
    """An annotated picture in memory, and in words what the eye made of it."""

    jpeg: bytes
    reason: str
    guidance: str


def lens_answer(look: LensReading) -> bytes:
    return _answer({"lens": asdict(look)})


def shot_answer(look: ShotLook) -> bytes:
    picture = base64.b64encode(look.jpeg).decode()
    return _answer({"shot": {"jpeg_b64": picture, "reason": look.reason, "guidance": look.guidance}})


def refusal(error: AgentError) -> bytes:
    return _answer({"error": error.code, "why": str(error)})


def _answer(more: dict[str, Any]) -> bytes:
    return json.dumps({"schema": SCHEMA, **more}).encode()


def ask_lens(path: Path) -> LensReading:
    """The running agent's newest frame in numbers.

    Raises:
        AgentAway, StatusError: as ``socket.ask``.
        CameraReserved, CameraError: refused by the agent.
    """
    tree = _ask(path, LENS).get("lens")
    names = {field.name for field in fields(LensReading)}
    if not isinstance(tree, dict) or set(tree) != names or not isinstance(tree["levels"], list):
        raise _not_ours(path)
    if not isinstance(tree["told"], dict) or not all(map(_is_number, tree["told"].values())):
        raise _not_ours(path)
    return LensReading(**{**tree, "levels": tuple(tree["levels"])})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def ask_shot(path: Path) -> ShotLook:
    """One annotated picture of the running agent's camera. Raises as ``ask_lens``."""
    tree = _ask(path, SHOT).get("shot")
    if not isinstance(tree, dict):
        raise _not_ours(path)
    try:
        jpeg = base64.b64decode(tree["jpeg_b64"], validate=True)
        return ShotLook(jpeg, str(tree["reason"]), str(tree["guidance"]))
    except (KeyError, TypeError, binascii.Error) as error:
        raise _not_ours(path) from error


def _ask(path: Path, question: bytes) -> dict[str, Any]:
    raw = exchange(path, question, timeout_s=_TIMEOUT_S, max_bytes=ANSWER_MAX_BYTES)
    try:
        tree = strict_json.loads(raw) if len(raw) <= ANSWER_MAX_BYTES else None
    except ValueError:
        tree = None
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        raise _not_ours(path)
    match tree.get("error"):
        case None:
            return tree
        case CameraReserved.code:
            raise CameraReserved(str(tree.get("why")))
        case code if code == TOO_MANY:
            raise CameraError(
                str(tree.get("why")),
                code=TOO_MANY,
                fix=_WAIT,
            )
        case code:
            raise CameraError(str(tree.get("why")), code=str(code))


def _not_ours(path: Path) -> StatusError:
    return StatusError(
        f"{path}: the agent does not answer this question",
        code="status_malformed",
        fix=Text("fix.older_agent_running"),
    )
