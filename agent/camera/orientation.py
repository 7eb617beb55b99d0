"""How the camera is mounted: the rotation and mirroring that turn each picture upright.

The capture thread applies the orientation to every frame of every camera kind. So preview, crop, hints and
the direction of a challenge are all based on the upright picture.
"""

from dataclasses import dataclass, replace
from typing import Literal, assert_never

import cv2
import numpy as np

from agent.core.model import Frame

Rotation = Literal[0, 90, 180, 270]


@dataclass(frozen=True, slots=True)
class Orientation:
    """``rotation``: degrees clockwise. ``mirror``: left and right are exchanged, after the rotation."""

    rotation: Rotation = 0
    mirror: bool = False

    def turn_upright(self, frame: Frame) -> Frame:
        """The frame as a person in front of the terminal stands. Without pixels, the same frame.

        After a quarter turn the width of the new frame is the height of the old frame.
        """
        if self == AS_CAPTURED or not isinstance(frame.pixels, np.ndarray):
            return frame
        turned = self._turn(frame.pixels)
        small = self._turn(frame.small) if isinstance(frame.small, np.ndarray) else frame.small
        height, width = turned.shape[:2]
        return replace(frame, pixels=turned, small=small, width_px=width, height_px=height)

    def _turn(self, pixels: cv2.typing.MatLike) -> cv2.typing.MatLike:
        match self.rotation:
            case 0:
                turned = pixels
            case 90:
                turned = cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
            case 180:
                turned = cv2.rotate(pixels, cv2.ROTATE_180)
            case 270:
                turned = cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)
            case _:
                assert_never(self.rotation)
        return cv2.flip(turned, 1) if self.mirror else turned


AS_CAPTURED = Orientation()
