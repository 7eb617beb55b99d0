"""The arm64 package in an arm64 Debian on an emulated processor: `make test-arm64`. Optional.

Every compiled part runs, and no result is wrong on a machine that is dozens of times too slow. The tests show
nothing about speed, cameras or a real board.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian import ROOT, Debian, minimal_system, needs_a_debian_of_its_own, run

pytestmark = pytest.mark.long

BINFMT = Path("/proc/sys/fs/binfmt_misc")
IMPORTS = "import cv2, numpy, cryptography, pydantic_core, joserfc, httpx, paho.mqtt, uvicorn"
MODELS = """
import platform, numpy as np
from agent.resources import data
from agent.vision.detector import Detector
from agent.service.recogniser import Recogniser, cosine
photos = data("photos")
one, other = ((photos / f"{name}.jpg").read_bytes() for name in ("obama_portrait", "obama_podium"))
judge = Recogniser()
print(platform.machine(), round(cosine(judge.embed(one), judge.embed(other)), 2))
"""


@pytest.fixture(scope="module")
def debian() -> Iterator[Debian]:
    if os.environ.get("FACEPAY_ARM64") != "1":
        pytest.skip("optional, it takes minutes: make test-arm64")
    needs_a_debian_of_its_own()
    if not (BINFMT / "qemu-aarch64").exists():
        pytest.fail(
            "the kernel does not start arm64 programs: make test-arm64 installs what is needed, as root"
        )
    with tempfile.TemporaryDirectory(prefix="facepay-arm64-") as scratch:
        root = Path(scratch, "root")
        run("cp", "-a", minimal_system(arch="arm64"), root, timeout_s=600)
        run(
            sys.executable,
            ROOT / "packaging" / "build_deb.py",
            "--fast",
            "--arch",
            "arm64",
            "--output",
            scratch,
            timeout_s=600,
        )
        (package,) = Path(scratch).glob("*_arm64.deb")
        shutil.move(package, root / "root" / "facepay-agent.deb")
        made = Debian(root)
        made.run("apt-get", "install", "-y", "--no-install-recommends", "/root/facepay-agent.deb")
        yield made


def test_every_compiled_part_runs(debian: Debian) -> None:
    debian.run("/opt/facepay-agent/bin/python3", "-c", IMPORTS)
    assert "facepay demo" in debian.run("facepay", "--help")


def test_models_give_the_same_similarity(debian: Debian) -> None:
    machine, similarity = debian.run("/opt/facepay-agent/bin/python3", "-c", MODELS).split()[-2:]
    assert machine == "aarch64"
    assert float(similarity) == pytest.approx(0.75, abs=0.02)


def test_demo_on_a_slow_machine_has_no_wrong_result(debian: Debian) -> None:
    """An emulated analysis is very slow: a result may be undecided, but not wrong."""
    reported = debian.run("facepay", "demo", "--json", ok=(0, 1))
    rows = json.loads(reported[reported.index('{"verifications"') :].splitlines()[0])["verifications"]
    assert len(rows) == 7
    for row in rows:
        assert row["decision"] == "undecided" or row["as_expected"], row
