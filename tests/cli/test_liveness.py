"""`facepay liveness`: import of the official weights, and error rates on pictures of the operator."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.command_table import application
from agent.vision.passive import importer, passive_liveness
from agent.vision.passive.official import FOLDER
from tests.cli.test_cli import PHOTOS
from tests.commands import facepay
from tests.vision.test_passive_import import official


def config(folder: Path) -> Path:
    path = folder / "agent.toml"
    path.write_text(f'[storage]\ndirectory = "{folder}"\n')
    return path


def test_import_of_both_files_and_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [official(1), official(2, squeeze=True, scale=4.0)]
    rows = tuple(row for _, row in files)
    monkeypatch.setattr(importer, "read_weights", partial(importer.read_weights, official=rows))
    monkeypatch.setattr(importer, "missing", partial(importer.missing, official=rows))
    monkeypatch.setattr(
        passive_liveness, "PassiveLiveness", partial(passive_liveness.PassiveLiveness, official=rows)
    )
    where, run = str(config(tmp_path)), CliRunner().invoke
    for number, (raw, row) in enumerate(files):
        weights = tmp_path / row.file
        weights.write_bytes(raw)
        done = run(application(), ["liveness", "import", str(weights), "--config", where, "--json"])
        assert done.exit_code == 0, done.output
        facts = json.loads(done.output)
        assert facts["sha256"] == row.sha256 and facts["licence"] == "Apache-2.0" and facts["origin"]
        assert facts["missing"] == [row.file for row in rows[number + 1 :]]
        assert (tmp_path / FOLDER / row.onnx_file).stat().st_mode & 0o777 == 0o600
    done = run(application(), ["liveness", "import", str(tmp_path / rows[0].file), "--config", where])
    assert 'passive = "minifasnet"' in done.output
    pictures = tmp_path / "pictures"
    for place, names in {
        "bona-fide": ("obama_portrait", "biden_portrait"),
        "attack/print": ("obama_podium",),
    }.items():
        (pictures / place).mkdir(parents=True)
        for name in names:
            (pictures / place / f"{name}.jpg").write_bytes((PHOTOS / f"{name}.jpg").read_bytes())
    (pictures / "attack/print/broken.jpg").write_bytes(b"no picture")
    done = run(application(), ["liveness", "evaluate", str(pictures), "--config", where, "--json"])
    people, print_ = json.loads(done.output)
    assert (people["presentations"], people["answers"], people["no_answers"]) == ("bona-fide", 2, 0)
    assert (print_["presentations"], print_["answers"], print_["no_answers"]) == ("print", 1, 1)
    done = run(application(), ["liveness", "evaluate", str(pictures), "--config", where])
    assert done.output.startswith("BPCER") and "APCER" in done.output
    assert "No conformance is claimed" in done.output


def test_import_of_another_file_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(official(1)[0])
    done = facepay("liveness", "import", str(tmp_path / "weights.pth"), "--config", str(config(tmp_path)))
    assert done.returncode != 0
    assert done.stderr.startswith("model_checksum: ") and "fix: " in done.stderr
    assert not (tmp_path / FOLDER).exists()


def test_evaluate_without_the_import_or_without_pictures_is_refused(tmp_path: Path) -> None:
    where = str(config(tmp_path))
    done = facepay("liveness", "evaluate", str(tmp_path / "none"), "--config", where)
    assert done.returncode != 0 and "DIR/bona-fide" in done.stderr
    for place in ("bona-fide", "attack/print"):
        (tmp_path / "pictures" / place).mkdir(parents=True)
        (tmp_path / "pictures" / place / "1.jpg").touch()
    done = facepay("liveness", "evaluate", str(tmp_path / "pictures"), "--config", where)
    assert done.returncode != 0 and done.stderr.startswith("model_missing: ")
