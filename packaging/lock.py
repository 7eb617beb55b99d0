"""Write the locks: each installed version with the hashes of its files. ``make lock`` runs this program.

One file for each set of extras that is installed together: ``terminal`` (the Debian package), ``demo``,
``dev`` (CI, ``make test``), ``bench``, ``docs``. A file is for Python 3.11 and later, on x86_64 and
aarch64, by its markers. No file names an index: pip uses the configured index.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "packaging" / "lock"
# name of a lock -> its extras. A later lock uses the versions of the earlier locks.
LOCKS = {
    "terminal": ("service-opencv", "terminal"),
    "demo": ("demo",),
    "dev": ("dev",),
    "bench": ("bench",),
    "docs": ("docs",),
}
EDITABLE = "editables>=0.5"  # additional requirement of `pip install --editable`
HEADER = "# Written by `make lock` from pyproject.toml. Do not edit.\n"


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    FOLDER.mkdir(exist_ok=True)
    done = list[Path]()
    for name, extras in LOCKS.items():
        print(f"packaging/lock/{name}.txt", file=sys.stderr)
        path = FOLDER / f"{name}.txt"
        build = () if name == "terminal" else (*project["build-system"]["requires"], EDITABLE)
        path.write_text(HEADER + _resolved(extras, build, done), encoding="utf-8")
        done.append(path)


def _resolved(extras: tuple[str, ...], more: tuple[str, ...], agreed: list[Path]) -> str:
    """The lock's text. ``more``: requirements beside the project's own. ``agreed``: locks to agree with."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal"]
    command += ["--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--upgrade", *(f"--extra={extra}" for extra in extras)]
    command += [f"--constraints={path}" for path in agreed]
    sources = ["pyproject.toml", "-"]
    done = subprocess.run(
        [*command, *sources], cwd=ROOT, input="\n".join(more), check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
