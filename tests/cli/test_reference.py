"""`facepay reference check`: a test of an enrolled photo before the sale, with the terminal's rules."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.core.model import Quality
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.service.image_decoder import Pixels, decode
from agent.texts import texts_below
from agent.vision.reference_check import check_reference
from tests.cli.test_cli import PHOTOS
from tests.commands import facepay
from tests.compare.servers import Endpoint, endpoint, http, replies
from tests.service.pictures import bomb_png, photo
from tests.vision.people import detector

GOOD = PHOTOS / "obama_portrait.jpg"
SHA256 = hashlib.sha256(GOOD.read_bytes()).hexdigest()


def jpeg(pixels: Pixels) -> bytes:
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def portrait(name: str = "obama_portrait") -> Pixels:
    return decode(photo(name))


def two_people(share: float = 1.0) -> bytes:
    """``share``: size of the second face, as a fraction of the first."""
    first, second = portrait(), portrait("biden_portrait")
    scale = 1.7 * share
    second = np.asarray(cv2.resize(second, None, fx=scale, fy=scale), np.uint8)[: first.shape[0]]
    missing = max(0, first.shape[0] - second.shape[0])
    second = np.pad(second, ((0, missing), (0, 0), (0, 0)), mode="edge")
    return jpeg(np.hstack([first, second]))


CASES = [
    pytest.param(photo("obama_portrait"), 0, "usable", "face 198×266 px", id="usable"),
    pytest.param(photo("obama_portrait")[:5_000], 1, "reference_unusable", "not complete", id="cut short"),
    pytest.param(bomb_png(60_000, 60_000), 1, "reference_unusable", "60000x60000 px is too large", id="bomb"),
    pytest.param(b"GIF89a" + bytes(64), 1, "reference_unusable", "not JPEG, PNG or BMP", id="gif"),
    pytest.param(b"", 1, "reference_unusable", "not JPEG", id="empty"),
    pytest.param(photo("enrolled/no_face"), 1, "reference_unusable", "no_face", id="empty"),
    pytest.param(two_people(), 1, "reference_unusable", "multiple_faces", id="two people"),
    pytest.param(
        jpeg(cv2.rotate(portrait(), cv2.ROTATE_180).astype(np.uint8)),
        *(1, "reference_unusable", "not_upright"),
        id="upside down",
    ),
    pytest.param(two_people(0.6), 0, "usable", "second face of ", id="second person at 60 %"),
    pytest.param(photo("collins_portrait"), 1, "reference_unusable", "too_small", id="small"),
    pytest.param(
        jpeg(cv2.GaussianBlur(portrait(), (0, 0), 9).astype(np.uint8)),
        *(1, "reference_unusable", "blurred"),
        id="blurred",
    ),
    pytest.param(jpeg(portrait() // 12), 1, "reference_unusable", "too_dark", id="dark"),
    pytest.param(
        jpeg(portrait()[:, :420]), 1, "reference_unusable", "off_centre", id="an ear and half an eye off"
    ),
    pytest.param(jpeg(portrait()[160:]), 1, "reference_unusable", "off_centre", id="no forehead"),
    pytest.param(jpeg(portrait()[220:]), 1, "reference_unusable", "off_centre", id="no eyes"),
]


@pytest.mark.parametrize(("image", "code", "verdict", "why"), CASES)
def test_reference_check_prints_usable_or_the_reason(
    tmp_path: Path, image: bytes, code: int, verdict: str, why: str
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(image)
    done = facepay("reference", "check", path)
    first, hint, hint_zh = done.stdout.splitlines()
    assert (done.returncode, first.split(": ")[0]) == (code, verdict), done.stdout + done.stderr
    assert why in first
    assert hint.endswith(".") and hint_zh.endswith("。")


def test_json_has_the_measures() -> None:
    done = facepay("reference", "check", GOOD, "--json", "--sha256", SHA256.upper())
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (report["verdict"], report["sha256"]) == ("usable", SHA256)
    assert (report["width_px"], report["height_px"], report["bytes"]) == (720, 900, GOOD.stat().st_size)
    assert report["face_px"] == [198, 266]
    assert set(report["quality"]) == {field.name for field in fields(Quality)}


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        ([GOOD, "--sha256", "00" * 32], "reference_refused"),
        (["https://elsewhere.example/p.jpg"], "reference_refused"),
        (["http://photos.example/p.jpg"], "reference_refused"),
        (["/nowhere.jpg"], "reference_unreachable"),
    ],
)
def test_reference_refused_by_a_verification_exits_2(arguments: list[str | Path], verdict: str) -> None:
    done = facepay("reference", "check", *arguments, "--json")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (2, verdict)


def config(folder: Path, server: Endpoint, kind: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(
        f'profile = "demo"\n[compare]\nreference = "{kind}"\nreference_hosts = ["localhost:{server.port}"]\n'
        if kind == "fetch"
        else f'profile = "demo"\n[compare]\nreference = "{kind}"\n'
    )
    return path


@pytest.mark.parametrize("kind", ["fetch", "passthrough"])
async def test_address_is_fetched_once_without_an_api_call(tmp_path: Path, kind: str) -> None:
    async with endpoint(replies(http(GOOD.read_bytes()))) as server:
        done = await asyncio.to_thread(
            facepay, "reference", "check", server.url(), "--config", config(tmp_path, server, kind), "--json"
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["sha256"] == SHA256
    assert [received.method for received in server.requests] == ["GET"]


async def test_an_address_that_fails_is_unreachable(tmp_path: Path) -> None:
    async with endpoint(replies(http(b"", "404 Not Found"))) as server:
        done = await asyncio.to_thread(
            facepay, "reference", "check", server.url(), "--config", config(tmp_path, server, "fetch")
        )
    assert done.returncode == 2
    assert done.stdout.startswith("reference_unreachable: HTTP 404")


def test_help_has_an_example_and_nothing_heavy_is_needed_for_it() -> None:
    shown = facepay("reference", "check", "--help")
    assert "facepay reference check" in shown.stdout and "--json" in shown.stdout


@pytest.mark.parametrize("width_px", [120, 160, 197])
def test_a_photo_cut_close_around_the_face_is_never_too_large(width_px: int) -> None:
    """A detected face may be taller than the photo: then the photo cuts off the face."""
    whole = portrait()
    (found,) = detector().detect(whole)
    middle, top = found.box.centre, int(found.box.y_px)
    left = int(middle.x_px - width_px / 2)
    close = whole[top + 40 : top + 240, left : left + width_px]
    seen = check_reference(np.ascontiguousarray(close), detector(), PolicyLimits())
    assert seen.reason in (FrameReason.OFF_CENTRE, FrameReason.TURNED, FrameReason.NO_FACE, FrameReason.SHOT)


def test_every_verdict_on_a_photo_has_a_hint() -> None:
    """The reasons idle, no presence, followed and too large do not apply to a photo."""
    streams_only = {FrameReason.IDLE, FrameReason.NO_PRESENCE, FrameReason.FOLLOWED, FrameReason.TOO_LARGE}
    of_photos = {"unreadable", "not_upright", "orientation_uncertain", "second_face"}
    assert set(texts_below("enrolled_photo")) - of_photos == set(FrameReason) - streams_only
