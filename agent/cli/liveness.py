"""`facepay liveness import | evaluate`: the passive liveness model, which this project does not ship."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.config import load_config
from agent.cli.console import Spinner
from agent.cli.options import AsJson, ConfigFile
from agent.errors import ImageError, StorageError, failure_at, reason_of
from agent.texts import Text

if TYPE_CHECKING:
    from agent.config import Config
    from agent.vision.passive.error_rates import Answer, SpeciesRates

_MAX_PICTURE_BYTES = 20_000_000

app = typer.Typer(no_args_is_help=True, help="Import and evaluate the passive liveness model.")


@app.command("import", epilog="Example:  facepay liveness import 2.7_80x80_MiniFASNetV2.pth")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="One of the two official files of weights.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Import an official weight file of MiniFASNet for `[liveness] passive = "minifasnet"`.

    Nothing in the file is executed. The file must have the sha256 of an official file. The network is built
    from the weights, compared with recorded scores, and written below the state directory for the service.
    """
    from agent.privileges import as_owner
    from agent.vision.passive.importer import missing, read_weights, store
    from agent.vision.passive.official import LICENCE, ORIGIN

    directory = load_config(config).storage.directory
    with Spinner("reading the weights"):
        weights, onnx = read_weights(file)
    try:
        with as_owner(directory):
            target = store(weights, onnx, directory)
            left = missing(directory)
    except OSError as error:
        raise StorageError(failure_at(directory, error)) from error
    if as_json:
        facts = {"file": weights.file, "sha256": weights.sha256, "written": str(target), "missing": left}
        print(json.dumps(facts | {"origin": ORIGIN, "licence": LICENCE}))
        return
    print(f"imported     {weights.file}\nsha256       {weights.sha256}\nwritten      {target}")
    print(f"origin       {ORIGIN}\nlicence      {LICENCE}")
    print(
        f"missing      {', '.join(left)}"
        if left
        else 'Set passive = "minifasnet" under [liveness], then restart the agent.'
    )


@app.command(
    "evaluate", epilog="Example:  facepay liveness evaluate pictures    pictures/attack/screen/1.jpg"
)
def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Contains bona-fide/ and attack/NAME/, with pictures.")
    ],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Measure the error rates of the imported model on your own pictures of people and of attacks.

    The terms are those of ISO/IEC 30107-3: APCER for each kind of attack, BPCER for living people, with
    intervals at 95 %. No conformance is claimed. The challenge is not part of this measurement.
    """
    from agent.vision.passive.error_rates import pictures_by_kind, rates

    try:
        pictures = pictures_by_kind(folder)
    except (ValueError, OSError) as error:
        raise ImageError(reason_of(error), fix=Text("fix.liveness_folder_wrong")) from error
    judge = _liveness_test(load_config(config))
    with Spinner("judging the pictures"):
        rows = rates(pictures, judge)
    print(json.dumps([_facts(row) for row in rows]) if as_json else _table(rows))


def _liveness_test(config: Config) -> Callable[[Path], Answer]:
    """A function that judges a picture file as the terminal judges a shot: largest face, both networks."""
    from agent.compare.contract import ApiFailure
    from agent.safe_open import read_plain
    from agent.service.image_decoder import decode
    from agent.vision.detector import Detector
    from agent.vision.passive.error_rates import Answer
    from agent.vision.passive.passive_liveness import PassiveLiveness

    rules, vision = config.liveness, config.vision
    model = PassiveLiveness(config.storage.directory, rules.passive_threshold)
    detector = Detector.load(vision.detector_model, width_px=vision.detector_width_px)

    def judge(path: Path) -> Answer:
        try:
            pixels = decode(read_plain(path, _MAX_PICTURE_BYTES, links=True))
        except (OSError, ApiFailure):
            return Answer.NONE
        faces = detector.detect(pixels)
        if not faces:
            return Answer.NONE
        face = max(faces, key=lambda face: face.box.area_px)
        return Answer.LIVE if model.is_live(pixels, face) else Answer.ATTACK

    return judge


def _facts(row: SpeciesRates) -> dict[str, Any]:
    low, high = row.errors.interval
    return {
        "presentations": row.name,
        "errors": row.errors.count,
        "answers": row.errors.total,
        "low": low,
        "high": high,
        "no_answers": row.no_answers.count,
        "total": row.no_answers.total,
    }


def _table(rows: list[SpeciesRates]) -> str:
    people, *species = rows
    lines = [f"BPCER  {people.errors}", f"BPNRR  {people.no_answers}"]
    for row in species:
        lines += [f"APCER  {row.errors}  ({row.name})", f"APNRR  {row.no_answers}  ({row.name})"]
    worst = max(species, key=lambda row: row.errors.count / max(1, row.errors.total))
    lines.append(f"highest APCER: {worst.errors}  ({worst.name})")
    lines.append("Terms of ISO/IEC 30107-3. No conformance is claimed.")
    return "\n".join(lines)
