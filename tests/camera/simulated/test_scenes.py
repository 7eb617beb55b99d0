"""Scenes: errors name file and line, equal seeds give equal bits, and people stand at the scripted place."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from agent import resources
from agent.camera.simulated.cutout import Cutout
from agent.camera.simulated.renderer import SceneRenderer, SensorNoise, SpriteCache
from agent.camera.simulated.scene import Person, Photo, Scene, SceneStep, load_photos, load_scene
from agent.errors import CameraError, ConfigError

SHIPPED = sorted(path.stem for path in resources.data("scenes").glob("*.toml"))
SPRITES = SpriteCache()


@pytest.fixture(autouse=True)
def not_cut_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cache of this file makes its own cut-outs."""
    monkeypatch.setattr("agent.camera.simulated.renderer.Cutout", Cutout)


def renderer(scene: Scene, seed: int = 1) -> SceneRenderer:
    return SceneRenderer(scene, 640, 360, seed, SPRITES)


def standing(**where: float) -> Scene:
    steps = (
        SceneStep.model_validate({"at_ms": 0, **where}),
        SceneStep.model_validate({"at_ms": 5_000, **where}),
    )
    return Scene(noise=0, people=(Person(photo="obama_portrait", path=steps),))


def empty(**how: float) -> Scene:
    return Scene.model_validate({"noise": 0, **how})


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_scene_loads_and_plays(name: str) -> None:
    scene = load_scene(name)
    playing = renderer(scene)
    for at_ms in (0, scene.length_ms // 2, scene.length_ms - 1):
        picture = playing.picture(at_ms)
        assert picture.shape == (360, 640, 3)
        assert picture.dtype == np.uint8


def test_there_is_a_scene_for_each_photograph_and_a_photograph_for_each_entry() -> None:
    for name, photo in load_photos().items():
        assert f"one_{name}" in SHIPPED
        assert (resources.data("photos") / photo.file).is_file()


BROKEN = [
    pytest.param("lenght_ms = 10", "1: lenght_ms: unknown key", id="unknown key"),
    pytest.param("\nlength_ms = 10", "2: length_ms: must be greater", id="too short"),
    pytest.param("length_ms = ", "not TOML", id="not toml"),
    pytest.param('[[people]]\nphoto = "x"\npath = []', "3: people.path", id="nowhere"),
    pytest.param(
        '[[people]]\nphoto = "x"\npath = [{ at_ms = 0 }]', "no photograph 'x'", id="unknown photograph"
    ),
    pytest.param(
        '[[people]]\nphoto = "biden_portrait"\npath = [{ at_ms = 5 }, { at_ms = 5 }]',
        "1: people: at_ms must increase",
        id="time stands still",
    ),
    pytest.param(
        '[[people]]\nphoto = "biden_portrait"\npath = [{ at_ms = 5, face = nan }]',
        "people.path.face",
        id="nan",
    ),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_broken_scene_names_file_and_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "scene.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_scene(str(path))
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_missing_scene_is_named() -> None:
    with pytest.raises(ConfigError, match="no_such_scene"):
        load_scene("no_such_scene")


def test_a_scene_without_people_reads_no_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> dict[str, Photo]:
        raise AssertionError("read")

    monkeypatch.setattr("agent.camera.simulated.scene.load_photos", fail)
    monkeypatch.setattr("agent.camera.simulated.renderer.load_photos", fail)
    SceneRenderer(load_scene("empty"), 640, 360, 1, SpriteCache()).picture(0)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    scene = load_scene("two_people")
    one, two, other = (SceneRenderer(scene, 640, 360, seed, SpriteCache()) for seed in (1, 1, 2))
    assert np.array_equal(one.picture(3_000), two.picture(3_000))
    assert not np.array_equal(one.picture(3_000), other.picture(3_000))


def test_a_live_sensor_never_gives_the_same_picture_twice() -> None:
    playing = renderer(load_scene("empty"))
    assert not np.array_equal(playing.picture(0), playing.picture(100))


def test_the_noise_repeats_one_tile_in_all_rows_and_columns() -> None:
    picture = np.full((300, 400, 3), 128, np.uint8)
    SensorNoise(2.5, 400, 3).add_to(picture, 1)
    assert picture[:128, :128].std() > 2
    assert np.array_equal(picture[128:], picture[:-128])
    assert np.array_equal(picture[:, 128:], picture[:, :-128])


def test_the_noise_keeps_one_row_of_tiles() -> None:
    tracemalloc.start()
    try:
        noise = SensorNoise(2.6, 1_280, 5)
        most = 2 * 128 * (1_280 + 128) * 3
        assert tracemalloc.get_traced_memory()[0] < 1.2 * most, noise
    finally:
        tracemalloc.stop()


def test_the_noise_of_a_high_picture_needs_no_more_memory() -> None:
    picture = np.zeros((2_000, 400, 3), np.uint8)
    tracemalloc.start()
    try:
        SensorNoise(2.75, 400, 4).add_to(picture, 1)
        assert tracemalloc.get_traced_memory()[0] < picture.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("x", [0.3, 0.7])
def test_picture_person_stands_at_the_scripted_place(x: float) -> None:
    changed = np.abs(
        renderer(standing(x=x)).picture(0).astype(int) - renderer(empty()).picture(0).astype(int)
    ).max(axis=2)
    columns = np.nonzero((changed > 10).any(axis=0))[0]
    assert columns.mean() / 640 == pytest.approx(x, abs=0.06)


def test_person_is_absent_before_the_first_and_after_the_last_step() -> None:
    person = Person(photo="biden_portrait", path=(SceneStep(at_ms=100), SceneStep(at_ms=200)))
    assert person.at(99) is None
    assert person.at(201) is None
    assert person.at(100) == SceneStep(at_ms=100)


def test_between_two_steps_everything_moves_in_a_straight_line() -> None:
    path = SceneStep(at_ms=0, x=0.0, face=0.2, turn=0), SceneStep(at_ms=1_000, x=1.0, face=0.4, turn=90)
    halfway = Person(photo="biden_portrait", path=path).at(500)
    assert halfway is not None
    assert (halfway.x, halfway.turn) == (0.5, 45)
    assert halfway.face == pytest.approx(0.3)


@pytest.mark.parametrize(
    "where",
    [
        {"x": -1},
        {"x": 2, "y": 2},
        {"face": 0.02},
        {"face": 1.5},
        {"turn": 180},
        {"turn": -180},
        {"blur": 0.5},
    ],
    ids=str,
)
def test_any_place_size_and_angle_can_be_drawn(where: dict[str, float]) -> None:
    assert renderer(standing(**where)).picture(100).shape == (360, 640, 3)


def test_light_and_backdrop_change_the_picture() -> None:
    mean = {light: renderer(empty(light=light)).picture(0).mean() for light in (0.2, 1.0, 1.6)}
    assert mean[0.2] < mean[1.0] < mean[1.6]
    assert renderer(Scene(backdrop="window")).picture(0).mean() > renderer(Scene()).picture(0).mean()


def test_unreadable_photograph_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    monkeypatch.setattr(resources, "data", tmp_path.joinpath)
    with pytest.raises(CameraError, match=r"broken\.jpg"):
        Cutout(Photo(file="broken.jpg", person="empty", face=(1, 1, 9, 9)))
