"""Faults of the lens and of the place of the camera, as pictures of the replay camera."""

from __future__ import annotations

from collections.abc import Callable

import cv2
from cv2.typing import MatLike

from agent.camera.simulated.renderer import SceneRenderer, SpriteCache
from agent.camera.simulated.scene import load_scene
from agent.health.frame_meter import VERIFICATIONS_MIN
from tests.faults.box import FaultBox
from tests.faults.fault import Fault

PERSON = """
[[people]]
photo = "obama_podium"
path = [{{ at_ms = 0, face = {face} }}, {{ at_ms = 10000, face = {face} }}]
"""
BLUR_SIGMA_PX = 6  # a lens that was turned by accident


def lens_black(box: FaultBox) -> None:
    box.scene("light = 0.0\nnoise = 1.0\n" + PERSON.format(face=0.32))


def over_exposed(box: FaultBox) -> None:
    box.scene("light = 4.0\nbackdrop = 'window'\n" + PERSON.format(face=0.32))


def stills(change: Callable[[MatLike], MatLike]) -> Callable[[FaultBox], None]:
    """Three pictures of a person, changed as a fault of the lens or of the mounting changes them."""

    def make(box: FaultBox) -> None:
        scene = SceneRenderer(load_scene("one_obama_podium"), 1280, 720, 1, SpriteCache())
        for number in range(3):
            picture = cv2.imencode(".jpg", change(scene.picture(2_000 + 700 * number)))[1]
            box.write(f"/srv/stills/{number}.jpg", picture.tobytes())
        box.configure({"camera.source": "/srv/stills"})
        box.restart()
        box.verify(VERIFICATIONS_MIN)

    return make


def too_far(box: FaultBox) -> None:
    box.scene(PERSON.format(face=0.1))
    box.verify(VERIFICATIONS_MIN)


LIGHT, FOCUS, MOUNTING = "camera.light", "camera.focus", "camera.mounting"
CAMERA_FAULTS = (
    Fault("lens_black", "Lens covered", lens_black, LIGHT, "mean brightness 0", "Uncover", "camera_covered"),
    Fault(
        "over_exposed",
        "Picture over-exposed",
        over_exposed,
        LIGHT,
        "mean brightness",
        "windows",
        "camera_overexposed",
    ),
    Fault(
        "upside_down",
        "Camera mounted upside down",
        stills(lambda picture: cv2.rotate(picture, cv2.ROTATE_180)),
        MOUNTING,
        "turned by 180 degrees",
        "rotation = 180",
        "camera_no_face",
    ),
    Fault(
        "sideways",
        "Camera mounted sideways",
        stills(lambda picture: cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE)),
        MOUNTING,
        "turned by 270 degrees",
        "rotation = 270",
        "camera_no_face",
    ),
    Fault(
        "out_of_focus",
        "Lens out of focus",
        stills(lambda picture: cv2.GaussianBlur(picture, (0, 0), BLUR_SIGMA_PX)),
        FOCUS,
        "sharpness of the face",
        "focus ring",
        "camera_blurred",
    ),
    Fault(
        "too_far",
        "Camera too far from the payer",
        too_far,
        MOUNTING,
        "px are needed",
        "nearer",
        "camera_too_far",
    ),
)
