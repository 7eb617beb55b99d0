"""The scene file: a small TOML script that moves real photographs in front of the camera.

::

    about = "walks up, holds, leaves"
    length_ms = 8000
    [[people]]
    photo = "obama_portrait"         # a name in agent/data/photos/index.toml
    path = [                         # straight lines between these; no person before and after
      { at_ms = 500, x = 1.2, face = 0.2 },
      { at_ms = 2000, x = 0.5, face = 0.3 },
    ]
"""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agent import resources
from agent.config.file import Ms, Section, load
from agent.errors import ConfigError, WrongValueError
from agent.texts import Text

Length = Annotated[int, Field(ge=100, le=3_600_000)]


class SceneStep(Section):
    """Place and pose of a person at one time. Fractions are of the frame."""

    at_ms: Ms
    x: Annotated[float, Field(ge=-1, le=2)] = 0.5  # the face's centre
    y: Annotated[float, Field(ge=-1, le=2)] = 0.45
    face: Annotated[float, Field(ge=0.02, le=1.5)] = 0.3  # the face's height
    turn: Annotated[float, Field(ge=-180, le=180)] = 0.0  # degrees to the picture's right; 90 is a profile
    blur: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # of the face's height: out of focus


class Person(Section):
    """One photograph and its movement."""

    photo: str
    path: Annotated[tuple[SceneStep, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _times_increase(self) -> Self:
        times = [step.at_ms for step in self.path]
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise WrongValueError(Text("detail.scene_times"))
        return self

    def at(self, at_ms: int) -> SceneStep | None:
        """Place and pose ``at_ms`` after the scene's start; None when the person is not in the scene."""
        if not self.path[0].at_ms <= at_ms <= self.path[-1].at_ms:
            return None
        for before, after in pairwise(self.path):
            if at_ms <= after.at_ms:
                return _between(before, after, at_ms)
        return self.path[0]


class Scene(Section):
    """A complete scene file."""

    about: str = ""
    length_ms: Length = 10_000
    backdrop: Literal["shop", "window", "plain"] = "shop"  # window: bright, so that faces are backlit
    light: Annotated[float, Field(ge=0, le=4)] = 1.0  # gain of the whole picture
    noise: Annotated[float, Field(ge=0, le=40)] = 2.5  # of the sensor, standard deviation in levels of 255
    people: tuple[Person, ...] = ()  # a later person stands in front of an earlier one


class Photo(Section):
    """A shipped photograph with the position of its face."""

    file: str
    person: str
    face: tuple[float, float, float, float]  # x, y, width, height in the photograph's pixels
    head: Annotated[float, Field(gt=0, le=2)] = 0.75  # half the head's width with hair, in face widths


class PhotoIndex(Section):
    photo: dict[str, Photo]


def load_photos() -> dict[str, Photo]:
    """The shipped photographs by name."""
    return load(resources.data("photos") / "index.toml", PhotoIndex).photo


def scene_path(source: str) -> Path:
    """The file of a scene: ``source`` itself, or the shipped scene of this name."""
    shipped = resources.data("scenes") / f"{source}.toml"
    return shipped if shipped.is_file() else Path(source)


def load_scene(source: str) -> Scene:
    """Read a scene file, or the shipped scene of this name.

    Raises:
        ConfigError: unreadable, unknown key, wrong value, unknown photograph; the message names the file.
    """
    path = scene_path(source)
    scene = load(path, Scene)
    known_photos = load_photos() if scene.people else {}
    for person in scene.people:
        if person.photo not in known_photos:
            names = ", ".join(known_photos)
            raise ConfigError(Text("detail.no_photograph", path=path, photo=person.photo, names=names))
    return scene


def _between(before: SceneStep, after: SceneStep, at_ms: int) -> SceneStep:
    share = (at_ms - before.at_ms) / (after.at_ms - before.at_ms)
    values = {
        name: getattr(before, name) + share * (getattr(after, name) - getattr(before, name))
        for name in ("x", "y", "face", "turn", "blur")
    }
    return SceneStep.model_construct(at_ms=at_ms, **values)
