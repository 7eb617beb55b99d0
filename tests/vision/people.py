"""The shipped photos and scenes for the vision tests."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from agent import resources
from agent.camera.simulated.renderer import SceneRenderer, SpriteCache
from agent.camera.simulated.scene import Person, Scene, SceneStep
from agent.vision import quality
from agent.vision.detector import Detector
from agent.vision.embedding import Embedder
from agent.vision.face_identity import FaceIdentity

Pixels = NDArray[np.uint8]

NAMES = ("obama_portrait", "obama_podium", "biden_portrait", "collins_portrait")
SPRITES = SpriteCache()  # a cache: each person is cut out once for all tests


@cache
def detector() -> Detector:
    return Detector.load()


@cache
def embedder() -> Embedder:
    """One loaded network for all tests: a load takes longer than ten embeddings."""
    return Embedder()


def new_identity() -> FaceIdentity:
    """A new identity with the shared network."""
    return FaceIdentity(embedder)


@cache
def photo(name: str) -> Pixels:
    picture = cv2.imread(str(resources.data("photos") / f"{name}.jpg"))
    assert picture is not None
    return picture.astype(np.uint8, copy=False)


@cache
def face_of(name: str) -> Pixels:
    """The face on a shipped photo as luma, read-only."""
    (found,) = detector().detect(photo(name))
    gray = quality.face_gray(photo(name), found.box)
    gray.setflags(write=False)
    return gray


def standing(name: str, *, light: float = 1.0, **where: float) -> Pixels:
    """A 1280×720 frame with one person in it; ``where`` are keys of a scene's step."""
    return staged(
        Person(photo=name, path=(SceneStep.model_validate({"at_ms": 0, "face": 0.32, **where}),)), light=light
    )


def staged(*people: Person, at_ms: int = 0, light: float = 1.0) -> Pixels:
    return SceneRenderer(Scene(people=people, light=light), 1280, 720, 1, SPRITES).picture(at_ms)


def person(name: str, x: float, face: float) -> Person:
    return Person(photo=name, path=(SceneStep(at_ms=0, x=x, face=face),))


def empty_shop(at_ms: int = 0) -> Pixels:
    return staged(at_ms=at_ms)
