"""`facepay reference check`: is an enrolled photo good enough, before a sale depends on it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import AsJson, ConfigFile
from agent.cli.waiting import Waiting

if TYPE_CHECKING:
    from agent.config import Config
    from agent.core.model import Reference

app = typer.Typer(no_args_is_help=True, help="Look after enrolled photos.")

_UNUSABLE, _NOT_FETCHED = 1, 2
_HINTS = {  # English, Chinese
    "shot": ("The photo can be used.", "照片可用。"),
    "no_face": (
        "No face is found: use a photo of the customer looking at the camera, the face uncovered.",
        "未检测到人脸：请使用顾客正视镜头、面部无遮挡的照片。",
    ),
    "multiple_faces": (
        "Several faces: use a photo with the customer alone.",
        "有多张人脸：请使用只有顾客本人的照片。",
    ),
    "too_small": (
        "The face is too small: use a closer photo, the face at least 100 px wide and high.",
        "人脸过小：请使用更近的照片，人脸宽高至少 100 像素。",
    ),
    "off_centre": (
        "The face is cut off by the photo's edge: use one with the whole face.",
        "人脸被照片边缘截断：请使用面部完整的照片。",
    ),
    "turned": (
        "The face is turned away: use a photo looking straight at the camera.",
        "面部未正对镜头：请使用正视镜头的照片。",
    ),
    "too_dark": (
        "The face is too dark: use a photo with light on the face.",
        "面部过暗：请使用面部有光照的照片。",
    ),
    "backlit": (
        "The face is dark before a bright background: use a photo with light on the face.",
        "背景明亮而面部过暗：请使用面部有光照的照片。",
    ),
    "too_bright": (
        "The face is over-exposed: use a photo with softer light.",
        "面部过曝：请使用光线更柔和的照片。",
    ),
    "blurred": ("The face is blurred: use a sharp photo.", "面部模糊：请使用清晰的照片。"),
}
_PICTURE_HINT = (
    "Use a JPEG, PNG or BMP photo, long side at most 4000 px.",
    "请使用 JPEG、PNG 或 BMP 照片，长边不超过 4000 像素。",
)


@app.callback()
def reference() -> None:
    """Look after enrolled photos."""


@app.command(
    "check", epilog="Example:  facepay reference check https://photos.example/17.jpg --config agent.toml"
)
def check(
    photo: Annotated[
        str, typer.Argument(metavar="PHOTO_OR_URL", help="A file, or an address as tills send it.")
    ],
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="What the till says the photo's sha256 is.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Test an enrolled photo before the sale: the terminal's own rules, no paid call.

    Fetches an address as the terminal would, checks sha256, size and kind, decodes, and looks for one usable
    face. Exit 0: usable, 1: not usable, 2: refused or could not be fetched.
    """
    import asyncio
    import json

    from agent.cli.config import path_of
    from agent.config import Config
    from agent.config.file import load
    from agent.errors import CompareError

    loaded = load(path_of(config), Config)
    try:
        with Waiting("looking at the photo"):
            found = _examined(loaded, asyncio.run(_resolved(loaded, _reference(photo, sha256))))
    except CompareError as error:
        found = _verdict(error.code, str(error), (error.fix, error.fix_zh))
    fix, fix_zh = ("", "") if found["verdict"] == "usable" else ("fix: ", "处理: ")
    words = f"{found['verdict']}: {found['why']}\n{fix}{found['hint']}\n{fix_zh}{found['hint_zh']}"
    print(json.dumps(found) if as_json else words)
    if found["verdict"] != "usable":
        raise typer.Exit(_UNUSABLE if found["verdict"] == "reference_unusable" else _NOT_FETCHED)


def _reference(photo: str, sha256: str | None) -> Reference:
    from agent.core.model import Reference
    from agent.core.reasons import Reason
    from agent.errors import CompareError

    if "://" in photo:
        return Reference(url=photo, sha256=sha256)
    try:
        return Reference(image=Path(photo).read_bytes(), sha256=sha256)
    except OSError as error:
        why = f"{photo}: {error.strerror}"
        raise CompareError(
            why, code=Reason.REFERENCE_UNREACHABLE, fix="Correct the path.", fix_zh="请修正路径。"
        ) from error


async def _resolved(config: Config, wanted: Reference) -> bytes:
    """The photo's bytes. Raises ``CompareError`` (``reference_*``) as a verification would."""
    from urllib.parse import urlsplit

    from agent.root.wiring import make_references

    section = config.compare
    if section.reference == "passthrough" and wanted.url:  # the API may download from anywhere: so do we here
        hosts = (urlsplit(wanted.url).netloc.lower(),)
        section = section.model_copy(update={"reference": "fetch", "reference_hosts": hosts})
    references = make_references(config.model_copy(update={"compare": section}))
    try:
        side = await references.resolve(wanted)
    finally:
        await references.close()
    assert isinstance(side, bytes)
    return side


def _examined(config: Config, image: bytes) -> dict[str, Any]:
    import hashlib
    from dataclasses import asdict

    from agent.compare.contract import ApiFailure
    from agent.core.policy import PolicyLimits
    from agent.service.images import decode
    from agent.vision.detector import Detector
    from agent.vision.enrolled import examine

    try:
        pixels = decode(image)
    except ApiFailure as failure:
        return _verdict("reference_unusable", str(failure), _PICTURE_HINT)
    vision = config.vision
    detector = Detector.load(vision.detector_model, confidence=vision.confidence, threads=vision.threads)
    seen = examine(pixels, detector, PolicyLimits(**config.policy.model_dump()))
    facts: dict[str, Any] = {
        "sha256": hashlib.sha256(image).hexdigest(),
        "bytes": len(image),
        "width_px": pixels.shape[1],
        "height_px": pixels.shape[0],
    }
    if seen.face is not None and seen.quality is not None:
        box, quality = seen.face.box, seen.quality
        facts["face_px"] = [round(box.width_px), round(box.height_px)]
        facts["quality"] = {name: round(value, 1) for name, value in asdict(quality).items()}
    verdict = "usable" if seen.reason == "shot" else "reference_unusable"
    why = f"face {facts['face_px'][0]}×{facts['face_px'][1]} px" if verdict == "usable" else str(seen.reason)
    return _verdict(verdict, why, _HINTS[seen.reason], **facts)


def _verdict(verdict: str, why: str, hint: tuple[str, str], **facts: Any) -> dict[str, Any]:
    return {"verdict": verdict, "why": why, "hint": hint[0], "hint_zh": hint[1], **facts}
