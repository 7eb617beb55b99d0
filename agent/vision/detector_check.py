"""Checks of the models and of the camera's focus, for `facepay doctor`. No payer's face is analyzed."""

import time
from dataclasses import replace

import cv2
import numpy as np

from agent.config import VisionConfig
from agent.errors import ModelError
from agent.health.probe_results import ModelProbe, MountingReading
from agent.resources import data
from agent.texts import Text
from agent.vision.detector import Detector
from agent.vision.embedding import Embedder, align
from agent.vision.quality import face_gray, sharpness

_PORTRAIT = "photos/obama_portrait.jpg"  # shipped, one person
_WIDTH_PX = 320
_FRAME_PX = (1280, 720)  # the size of a frame changes the time of a detection little
_CLEARER = (
    0.05  # confidence that a rotated face must have more than the face as it is: it was 0.09 on 4 photographs
)


def check_models(config: VisionConfig) -> ModelProbe:
    """Run the configured detector and the face recogniser on the shipped portrait.

    The agent loads the recogniser at the first passed challenge or the first break of a track. A damaged file
    must be found before.

    Raises ``ModelError``: missing, changed or unusable weights.
    """
    detector = Detector.load(config.detector_model, width_px=config.detector_width_px)
    picture = cv2.imread(str(data(_PORTRAIT)))
    if picture is None:
        raise ModelError(Text("detail.portrait_undecodable", path=_PORTRAIT))
    began_s = time.monotonic()
    pixels = np.asarray(picture, np.uint8)
    faces = detector.detect(pixels)
    spent_ms = round((time.monotonic() - began_s) * 1e3)
    embedder = Embedder()
    if faces and embedder.describe(align(pixels, faces[0])) is None:
        raise ModelError(Text("detail.no_vector"))
    return ModelProbe(len(faces), spent_ms, detector.detection_ms(*_FRAME_PX))


def check_mounting(config: VisionConfig, pixels: object) -> MountingReading:
    """Search the picture for a face in four rotations: as it is, and turned by 90, 180 and 270 degrees.

    YuNet gives an upright face the highest confidence. Its landmarks look upright in every rotation, so they
    cannot show how the camera is mounted. The cost is four detections and loading the model.

    Args:
        pixels: (H, W, 3) uint8, B,G,R, upright for the present config; anything else has no face.
    Raises:
        ModelError: missing, changed or unusable weights.
    """
    reading = MountingReading(scene_sharpness(pixels))
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or pixels.dtype != np.uint8:
        return reading
    detector = Detector.load(config.detector_model, width_px=config.detector_width_px)
    best, picture = 0.0, np.asarray(pixels, np.uint8)
    for rotation in (0, 90, 180, 270):
        face = next(iter(detector.detect(picture)), None)
        if face is not None and face.confidence > best:
            best = face.confidence + (_CLEARER if rotation == 0 else 0.0)
            size = {"face_width_px": face.box.width_px, "face_fraction": face.box.height_px / len(picture)}
            reading = replace(reading, rotation=rotation, **size)
        if face is not None and rotation == 0 and (gray := face_gray(picture, face.box)).size:
            reading = replace(reading, face_sharpness=sharpness(gray))
        picture = np.asarray(cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE), np.uint8)
    return reading


def scene_sharpness(pixels: object) -> float:
    """Sharpness of a whole picture at a width of 320 px: 0–100; 0 for a picture without detail or no picture.

    Args:
        pixels: (H, W, 3) uint8, B,G,R; anything else is 0.
    """
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or pixels.dtype != np.uint8:
        return 0.0
    height, width = pixels.shape[:2]
    if min(height, width) < 16:
        return 0.0
    gray = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    size = (_WIDTH_PX, max(3, round(height * _WIDTH_PX / width)))
    return sharpness(np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8))
