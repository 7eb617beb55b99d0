"""The checks of a shot immediately before it is sent: each check can refuse the shot, none can accept it."""

from collections.abc import Sequence
from typing import Protocol, assert_never

import numpy as np
from numpy.typing import NDArray

from agent.core.model import Detection, Shot
from agent.core.reasons import Continuity
from agent.errors import LivenessError, Retry
from agent.texts import Text
from agent.vision.embedding import align
from agent.vision.face_identity import FaceIdentity
from agent.vision.turn_relief import has_relief
from agent.vision.turn_shading import changes_light


class LivenessModel(Protocol):
    """A network that judges one picture of a face."""

    name: str

    def is_live(self, bgr: NDArray[np.uint8], face: Detection) -> bool: ...


def check_shot(
    shot: Shot,
    pixels: NDArray[np.uint8],
    identity: FaceIdentity,
    models: Sequence[LivenessModel],
    *,
    shading: bool = False,
) -> None:
    """Raise unless every check that is in use accepts the shot.

    Args:
        pixels: (H, W, 3) uint8, the full-size frame of the shot.
        identity: compares the faces of a challenge with the shot; not used without a challenge.
        models: all of them must accept the shot.
        shading: the light on the face must change in each turn of a challenge.
    Raises:
        LivenessError: ``face_swapped``, ``liveness_not_completed`` or ``liveness_failed``.
        ModelError: a model of a check is missing or failed.
    """
    if shot.evidence:
        starts = tuple(path.faces[0] if path.faces else None for path in shot.paths)
        check_one_person(identity.compare_challenge(shot.evidence, starts, align(pixels, shot.face)))
    if not all(has_relief(path) for path in shot.paths):
        raise _not_completed(Text("detail.no_relief"))
    if shading and not all(changes_light(path) for path in shot.paths):
        raise _not_completed(Text("detail.no_shading"))
    for model in models:
        if not model.is_live(pixels, shot.face):
            raise LivenessError(Text("detail.model_refused", name=model.name))


def check_one_person(found: Continuity) -> None:
    """Raise ``LivenessError`` unless the faces of the challenge and of the shot are one person."""
    match found:
        case Continuity.SAME:
            return
        case Continuity.OTHER:
            raise LivenessError(Text("detail.other_turned"), code="face_swapped")
        case Continuity.UNKNOWN:
            raise _not_completed(Text("detail.turned_incomparable"))
        case never:
            assert_never(never)


def _not_completed(why: Text) -> LivenessError:
    return LivenessError(why, code="liveness_not_completed", retry=Retry.NEW_SHOT)
