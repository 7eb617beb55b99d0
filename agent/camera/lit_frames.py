"""The lit frames of a camera: the dark frames of a strobed camera are left out (``core.strobe``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import cv2
import numpy as np

from agent.core.model import Frame
from agent.core.strobe import WINDOW, is_unlit

_STRIDE = 8  # a sample of the pixels is enough for the brightness, about 10 µs at 1280×720


class LitFrames:
    """Stores the brightness of the last frames of one camera, and no pixels."""

    def __init__(self) -> None:
        self._lumas: deque[float] = deque(maxlen=WINDOW)

    def next(self, grab: Callable[[], Frame]) -> Frame:
        """The next frame of ``grab`` that is not a dark frame of a strobed camera.

        Calls ``grab`` once or twice; exceptions of ``grab`` pass. Returns a frame without (H, W, 3) pixels.
        """
        while True:
            frame = grab()
            pixels = frame.pixels
            if not isinstance(pixels, np.ndarray) or pixels.ndim != 3:
                return frame
            self._lumas.append(float(cv2.mean(pixels[::_STRIDE, ::_STRIDE, 1])[0]))  # green
            if not is_unlit(tuple(self._lumas)):
                return frame
