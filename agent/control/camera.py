"""The three camera requests of a technician on the status socket, and their responses.

``lens``: measures of one frame, without face detection. ``mounting``: measures of one frame with face
detection. ``shot``: one annotated JPEG with face detection. All are refused during a verification. No picture
is stored.
"""

import base64
import binascii
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from agent.control.server import request_document, unknown_response
from agent.errors import AgentError, CameraError, CameraReserved
from agent.health.probe_results import LensReading, MountingReading
from agent.texts import Text, json_fields, text_of_fields

SCHEMA = "facepay.view/1"
LENS, MOUNTING, SHOT = b"lens\n", b"mounting\n", b"shot\n"
ANSWER_MAX_BYTES = 512 * 1024
TOO_MANY = "camera_shots_too_many"
_TIMEOUT_S = 6.0  # the agent itself waits up to 5 s for a frame


@dataclass(frozen=True, slots=True)
class AnnotatedPicture:
    """An annotated picture in memory, with the reason and guidance of its analysis."""

    jpeg: bytes
    reason: str
    guidance: str


def encode_answer(answer: LensReading | MountingReading | AnnotatedPicture | AgentError) -> bytes:
    """The response with the result of a request, or with its refusal."""
    tree: dict[str, Any]
    match answer:
        case LensReading():
            tree = {"lens": asdict(answer)}
        case MountingReading():
            tree = {"mounting": asdict(answer)}
        case AnnotatedPicture(jpeg, reason, guidance):
            picture = base64.b64encode(jpeg).decode()
            tree = {"shot": {"jpeg_b64": picture, "reason": reason, "guidance": guidance}}
        case AgentError():
            tree = {"error": answer.code, **json_fields("why", answer.detail)}
    return json.dumps({"schema": SCHEMA, **tree}).encode()


def request_lens(path: Path) -> LensReading:
    """The measurements of the running agent's next frame.

    Raises:
        AgentNotRunning, StatusError: as ``server.request_status``.
        CameraReserved, CameraError: refused by the agent.
    """
    tree = _request(path, LENS).get("lens")
    names = {field.name for field in fields(LensReading)}
    if not isinstance(tree, dict) or set(tree) != names or not isinstance(tree["levels"], list):
        raise unknown_response(path)
    if not isinstance(tree["metadata"], dict) or not all(
        isinstance(number, int | float) for number in tree["metadata"].values()
    ):
        raise unknown_response(path)
    return LensReading(**{**tree, "levels": tuple(tree["levels"])})


def request_mounting(path: Path) -> MountingReading:
    """The faces in the running agent's next frame, in four rotations. Raises as ``request_lens``."""
    tree = _request(path, MOUNTING).get("mounting")
    if not isinstance(tree, dict) or set(tree) != {field.name for field in fields(MountingReading)}:
        raise unknown_response(path)
    numbers = (
        *(tree[name] for name in ("sharpness", "face_width_px", "face_fraction")),
        tree["face_sharpness"] or 0,
    )
    are_numbers = all(isinstance(number, int | float) for number in numbers)
    if tree["rotation"] not in (None, 0, 90, 180, 270) or not are_numbers:
        raise unknown_response(path)
    return MountingReading(**tree)


def request_shot(path: Path) -> AnnotatedPicture:
    """One annotated picture of the running agent's camera. Raises as ``request_lens``."""
    tree = _request(path, SHOT).get("shot")
    if not isinstance(tree, dict):
        raise unknown_response(path)
    try:
        jpeg = base64.b64decode(tree["jpeg_b64"], validate=True)
        return AnnotatedPicture(jpeg, str(tree["reason"]), str(tree["guidance"]))
    except (KeyError, TypeError, binascii.Error) as error:
        raise unknown_response(path) from error


def _request(path: Path, request: bytes) -> dict[str, Any]:
    tree = request_document(path, request, SCHEMA, timeout_s=_TIMEOUT_S, max_bytes=ANSWER_MAX_BYTES)
    if tree is None:
        raise unknown_response(path)
    why = text_of_fields("why", tree)
    match tree.get("error"):
        case None:
            return tree
        case CameraReserved.code:
            raise CameraReserved(why)
        case code if code == TOO_MANY:
            raise CameraError(why, code=TOO_MANY, fix=Text("fix.camera_shots_too_many"))
        case code:
            raise CameraError(why, code=str(code))
