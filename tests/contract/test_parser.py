"""The official AsyncAPI parser accepts the contract, and the official generator finds its names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from agent.resources import config_file
from tests.contract.sides import SIDES, path_of

pytestmark = pytest.mark.long

PARSER, GENERATOR = "@asyncapi/parser@3", "@asyncapi/modelina@5"
GENERATE = """
import { TypeScriptGenerator, PythonGenerator, JavaGenerator, CSharpGenerator } from '@asyncapi/modelina';
import { readFileSync } from 'node:fs';
const found = {};
for (const Kind of [TypeScriptGenerator, PythonGenerator, JavaGenerator, CSharpGenerator]) {
  const models = await new Kind().generate(readFileSync(process.argv[2], 'utf8'));
  found[Kind.name] = Object.fromEntries(models.map((model) => [model.modelName, model.result]));
}
console.log(JSON.stringify(found));
"""
READ = """
import { Parser } from '@asyncapi/parser';
import { readFileSync } from 'node:fs';
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], 'utf8'));
console.log(JSON.stringify({ accepted: Boolean(document), diagnostics }));
"""
ERROR, WARNING = 0, 1
MODELS = {
    *("Request", "SignedRequest", "Cancel", "SignedCancel", "Ack", "SignedAck", "Accepted", "GuidanceEvent"),
    *("Stage", "Refused", "Refusal", "SignedResult", "Result", "Decision", "Reason", "Compare", "Assurance"),
    *("State", "StateLimits", "StateKey", "Rotation", "Health", "Diag", "Report"),
}
UNIONS = {f"{name}Topic" for name in ("Request", "Cancel", "Ack", "Event", "Contents")}


def skip_or_fail(why: str) -> None:
    """Skip with the reason. As root on Debian the set-up must work, so fail there."""
    if os.geteuid() == 0 and Path("/etc/debian_version").exists():
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed parser, for node."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        skip_or_fail("the AsyncAPI parser needs node 20 and npm: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("asyncapi")
    (folder / "read.mjs").write_text(READ)
    (folder / "generate.mjs").write_text(GENERATE)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PARSER, GENERATOR]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        skip_or_fail(f"npm cannot install {PARSER} and {GENERATOR}: {done.stderr.strip()[-300:]}")
    return folder


def read(parser: Path, contract: Path) -> tuple[bool, list[str]]:
    """(accepted, errors and warnings) of a document."""
    command = ["node", "read.mjs", str(contract)]
    done = subprocess.run(command, cwd=parser, check=True, capture_output=True, text=True, timeout=120)
    answer = json.loads(done.stdout)
    problems = [
        f"{row['code']}: {row['message']}" for row in answer["diagnostics"] if row["severity"] <= WARNING
    ]
    return answer["accepted"], problems


def test_parser_accepts_the_contract(parser: Path) -> None:
    assert read(parser, config_file("facepay.asyncapi.yaml")) == (True, [])


@pytest.mark.parametrize("side", SIDES)
def test_generated_models_have_the_names_of_the_contract(parser: Path, side: str) -> None:
    assert read(parser, path_of(side)) == (True, [])
    command = ["node", "generate.mjs", str(path_of(side))]
    done = subprocess.run(command, cwd=parser, check=True, capture_output=True, text=True, timeout=300)
    named = set(yaml.safe_load(path_of(side).read_text(encoding="utf-8"))["components"]["schemas"])
    for language, models in json.loads(done.stdout).items():
        assert set(models) >= MODELS, (language, sorted(MODELS - set(models)))
        assert not [each for each in models if "anonymous" in each.lower()], language
        assert {each for each in models if each} - named <= UNIONS, language
        assert "decision" in models["Result"] and "reference" in models["Request"], language


def test_parser_refuses_a_broken_contract(parser: Path, tmp_path: Path) -> None:
    text = config_file("facepay.asyncapi.yaml").read_text(encoding="utf-8")
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace("action: send", "action: shout"), encoding="utf-8")
    accepted, problems = read(parser, broken)
    assert not accepted and problems
