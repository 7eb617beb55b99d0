"""The package of `make deb`, not installed: reproducible bytes, and no unused files."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import completion
import manual
import pytest
from environment import OPT, WEIGHTS
from package_metadata import CHANGELOG, DOC, SBOM

from tests.debian import ROOT, built_package, release, run
from tests.package.test_documents import dead_links

pytestmark = pytest.mark.long

# libraries of compiled modules, an alias, a package of which only the compiled backend runs, model weights
CARRIED = {"numpy.libs", "opencv_python_headless.libs", "multipart", "cffi", *WEIGHTS}
IMPORT_ALL = """
import importlib, pkgutil, sys, agent
for each in pkgutil.walk_packages(agent.__path__, "agent."):
    if not each.name.endswith("__main__"):
        importlib.import_module(each.name)
# what typer, rich, httpx and `facepay page` import on first use
import segno, rich.console, rich.markdown, rich.traceback, httpcore, certifi, _cffi_backend
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def package() -> Path:
    if release() not in {"bookworm", "trixie"}:
        pytest.skip("needs a Debian 12 or 13 to build the package on")
    return built_package()


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    run("dpkg-deb", "-x", package, folder)
    return folder


def site_of(unpacked: Path) -> Path:
    return next((unpacked / OPT / "lib").glob("python3*/site-packages"))


def test_two_builds_of_one_commit_are_the_same_bytes(package: Path, unpacked: Path, tmp_path: Path) -> None:
    """The second one from another, older checkout, with another umask, hash seed, time zone and language."""
    at = json.loads((unpacked / SBOM).read_text(encoding="utf-8"))["metadata"]["timestamp"]
    epoch = str(int(datetime.fromisoformat(at).timestamp()))  # also after a commit during this test
    scratch, checkout = tmp_path / "elsewhere", tmp_path / "checkout"
    scratch.mkdir()
    _copy_checkout(checkout, time_s=int(epoch) - 1_000_000)
    env = os.environ | {"PYTHONHASHSEED": "77", "TZ": "Asia/Shanghai", "LC_ALL": "C", "TMPDIR": str(scratch)}
    env["SOURCE_DATE_EPOCH"] = epoch
    command = [
        sys.executable,
        str(checkout / "packaging" / "build_deb.py"),
        "--fast",
        "--output",
        str(tmp_path),
    ]
    subprocess.run(command, check=True, capture_output=True, env=env, umask=0o077, timeout=1_500)
    (again,) = tmp_path.glob("*.deb")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (package, again)]
    if digests[0] != digests[1]:
        listings = [set(run("dpkg-deb", "-c", path).splitlines()) for path in (package, again)]
        listed = sorted(listings[0] ^ listings[1])[:20]
        pytest.fail(
            f"not the same bytes; content: {_different(package, again, tmp_path)}; attributes: {listed}"
        )


def _copy_checkout(target: Path, time_s: int) -> None:
    """The files of the checkout with another time of change."""
    listed = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in {*run("git", "-C", ROOT, *listed).split("\0")} - {""}:
        if (ROOT / name).is_file():  # a deleted file is still listed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
            os.utime(target / name, (time_s, time_s))


def _different(first: Path, second: Path, folder: Path) -> list[str]:
    trees = []
    for number, path in enumerate((first, second)):
        tree = folder / str(number)
        run("dpkg-deb", "-R", path, tree)
        trees.append(
            {str(each.relative_to(tree)): each.read_bytes() for each in tree.rglob("*") if each.is_file()}
        )
    names = trees[0].keys() | trees[1].keys()
    return sorted(name for name in names if trees[0].get(name) != trees[1].get(name))[:20]


def test_documents_man_page_and_completion_are_in_the_package(unpacked: Path) -> None:
    assert not dead_links(unpacked)
    assert b".SH NAME" in gzip.decompress((unpacked / manual.MAN).read_bytes())
    assert b"complete -o default -F _facepay facepay" in (unpacked / completion.BASH).read_bytes()
    assert (unpacked / completion.ZSH).read_bytes().startswith(b"#compdef facepay\n")
    assert b"complete -c facepay -n" in (unpacked / completion.FISH).read_bytes()


def test_package_contains_no_demo_broker_no_unused_code_and_no_tests(unpacked: Path) -> None:
    site = site_of(unpacked)
    assert not (site / "iotcore").exists()
    for carrier, kept in WEIGHTS.items():
        files = {path.relative_to(site / carrier).as_posix() for path in (site / carrier).rglob("*.*")}
        assert files == kept, "the model weights alone"
    assert not list(site.glob("*/**/tests"))


def test_each_package_in_it_is_imported_by_the_product(unpacked: Path) -> None:
    """Every module of the product loads from the package; an unused library is not shipped."""
    site = site_of(unpacked)
    loaded = set(
        run(
            "/usr/bin/python3", "-S", "-c", f"import sys; sys.path.insert(0, {str(site)!r}){IMPORT_ALL}"
        ).split()
    )
    shipped = {path.name.partition(".")[0] for path in site.iterdir() if not path.name.endswith(".dist-info")}
    shipped -= {"__pycache__", *(name.partition(".")[0] for name in CARRIED)}
    assert len(shipped) > 15
    assert shipped - loaded == set()


def test_the_bill_of_materials_names_each_python_package(unpacked: Path) -> None:
    made = json.loads((unpacked / SBOM).read_text(encoding="utf-8"))
    listed = {(each["name"], each["version"]) for each in made["components"]}
    infos = list(site_of(unpacked).glob("*.dist-info"))
    assert len(listed) == len(infos) > 20
    assert all(len(each["hashes"][0]["content"]) == 64 for each in made["components"])


def test_package_contains_no_path_of_the_build_machine(unpacked: Path) -> None:
    assert gzip.decompress((unpacked / CHANGELOG).read_bytes()).startswith(b"facepay-agent (")
    assert (unpacked / DOC / "CHANGELOG.md").exists()
    for path in site_of(unpacked).glob("facepay_agent-*.dist-info/*"):
        assert path.name not in {"RECORD", "direct_url.json"}
        if path.is_file():
            assert str(ROOT).encode() not in path.read_bytes(), path
    for path in (site_of(unpacked) / "agent").rglob("*.pyc"):
        assert str(ROOT).encode() not in path.read_bytes(), path
