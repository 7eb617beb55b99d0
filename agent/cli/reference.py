"""`facepay reference check`: test an enrolled photo before a sale depends on the photo."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from agent.cli.config import load_config
from agent.cli.console import Spinner
from agent.cli.options import AsJson, ConfigFile
from agent.errors import CompareError, failure_at
from agent.texts import Text, json_fields, labelled_lines, on_one_line, on_separate_lines, text_of_fields

if TYPE_CHECKING:
    from agent.config import Config
    from agent.core.model import Reference
    from agent.vision.reference_check import CheckedReference

app = typer.Typer(no_args_is_help=True, help="Check enrolled photos.")

_UNUSABLE, _NOT_FETCHED = 1, 2
_SECOND_FACE_MIN = 0.3  # of the largest face; smaller ones are passers-by in the background


@app.command(
    "check", epilog="Example:  facepay reference check https://photos.example/17.jpg --config agent.toml"
)
def check(
    photo: Annotated[
        str, typer.Argument(metavar="PHOTO_OR_URL", help="A file, or an address as in a till's request.")
    ],
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="The photo's sha256 as in the till's request.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Test an enrolled photo before the sale with the terminal's rules, without a paid call.

    Fetches an address like the terminal does, checks sha256, size and kind, decodes the photo, and checks for
    one usable face. Exit 0: usable, 1: not usable, 2: refused or not fetched.
    """
    from agent import event_loop
    from agent.health.conditions import fix_for

    loaded = load_config(config)
    try:
        with Spinner("checking the photo"):
            finding = _check_photo(loaded, event_loop.run(_load_photo(loaded, _reference(photo, sha256))))
    except CompareError as error:
        finding = _verdict(error.code, error.detail, fix_for(error))
    print(json.dumps(finding) if as_json else _text_of(finding))
    if finding["verdict"] != "usable":
        raise typer.Exit(_UNUSABLE if finding["verdict"] == "reference_unusable" else _NOT_FETCHED)


def _reference(photo: str, sha256: str | None) -> Reference:
    from agent.core.model import Reference
    from agent.core.reasons import Reason

    if "://" in photo:
        return Reference(url=photo, sha256=sha256)
    try:
        return Reference(image=Path(photo).read_bytes(), sha256=sha256)
    except OSError as error:
        why, fix = failure_at(photo, error), Text("fix.correct_path")
        raise CompareError(why, code=Reason.REFERENCE_UNREACHABLE, fix=fix) from error


async def _load_photo(config: Config, wanted: Reference) -> bytes:
    """The photo's bytes. Raises ``CompareError`` (``reference_*``) like a verification does."""
    from agent.compare.reference_loader import ReferenceLoader

    section = config.compare
    if (
        section.reference == "passthrough" and wanted.url
    ):  # the API may download from any host, so this check may, too
        hosts = (urlsplit(wanted.url).netloc.lower(),)
        section = section.model_copy(update={"reference": "fetch", "reference_hosts": hosts})
    references = ReferenceLoader(section, config.profile)
    try:
        side = await references.resolve(wanted)
    finally:
        await references.close()
    assert isinstance(side, bytes)
    return side


def _check_photo(config: Config, image: bytes) -> dict[str, Any]:
    import hashlib

    from agent.compare.contract import ApiFailure
    from agent.core.policy import PolicyLimits
    from agent.service.image_decoder import decode
    from agent.vision.detector import Detector
    from agent.vision.reference_check import check_reference

    try:
        pixels = decode(image)
    except ApiFailure as failure:
        return _verdict("reference_unusable", str(failure), Text("enrolled_photo.unreadable"))
    vision = config.vision
    detector = Detector.load(vision.detector_model, confidence=vision.confidence, threads=vision.threads)
    result = check_reference(pixels, detector, PolicyLimits(**config.policy.model_dump()))
    facts: dict[str, Any] = {
        "sha256": hashlib.sha256(image).hexdigest(),
        "bytes": len(image),
        "width_px": pixels.shape[1],
        "height_px": pixels.shape[0],
    }
    if result.face is not None and result.quality is not None:
        box, quality = result.face.box, result.quality
        facts["face_px"] = [round(box.width_px), round(box.height_px)]
        facts["quality"] = {name: round(value, 1) for name, value in asdict(quality).items()}
    if result.second_face >= _SECOND_FACE_MIN:
        facts["second_face_percent"] = round(result.second_face * 100)
    return _judged(result, facts)


def _judged(result: CheckedReference, facts: dict[str, Any]) -> dict[str, Any]:
    unusable = partial(_verdict, "reference_unusable")
    if result.reason != "shot":
        return unusable(result.reason, Text(f"enrolled_photo.{result.reason}"), **facts)
    if result.turn_deg is None:
        return unusable("not_upright", Text("enrolled_photo.orientation_uncertain"), **facts)
    if result.turn_deg:
        facts["turn_clockwise_deg"] = degrees = round(result.turn_deg)
        return unusable("not_upright", Text("enrolled_photo.not_upright", degrees=degrees), **facts)
    wide_px, high_px = facts["face_px"]
    why = Text("detail.photo_face", wide_px=wide_px, high_px=high_px)
    if "second_face_percent" not in facts:
        return _verdict("usable", why, Text("enrolled_photo.shot"), **facts)
    percent = facts["second_face_percent"]
    hint = Text("enrolled_photo.second_face", percent=percent)
    both = Text("detail.photo_two_faces", first=why, percent=percent)
    return _verdict("usable", both, hint, **facts)


def _verdict(verdict: str, why: str | Text, hint: Text | None, **facts: Any) -> dict[str, Any]:
    return {"verdict": verdict, **json_fields("why", why), **json_fields("hint", hint), **facts}


def _text_of(check: dict[str, Any]) -> str:
    """The verdict, then the hint in every language; as a fix where the photo is not usable."""
    hint = text_of_fields("hint", check)
    first = f"{check['verdict']}: {on_one_line(text_of_fields('why', check))}"
    if not str(hint):
        return first
    is_usable = check["verdict"] == "usable"
    below = on_separate_lines(hint).splitlines() if is_usable else labelled_lines(hint, "fix")
    return "\n".join([first, *below])
