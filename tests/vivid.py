"""A virtual machine with a V4L2 camera: Debian's kernel in QEMU, its vivid driver, this tree read-only.

The machine needs no hardware virtualisation: QEMU's TCG translates. The guest has no network.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.debian import ROOT, run
from tests.stored import kept

TOOLS = ("qemu-system-x86_64", "busybox", "cpio", "depmod", "v4l2-ctl", "dpkg-deb")
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "vivid")
ONE_CAMERA = "n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0"
BUSYBOX = "/bin/busybox"
INIT = f"""#!{BUSYBOX} sh
for place in proc sys dev root; do {BUSYBOX} mkdir -p /$place; done
{BUSYBOX} mount -t proc proc /proc
{BUSYBOX} mount -t sysfs sysfs /sys
{BUSYBOX} mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do
  case $module in *vivid.ko*) options="{ONE_CAMERA}" ;; *) options="" ;; esac
  {BUSYBOX} insmod $module $options
done
{BUSYBOX} mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144 host /root
for place in proc sys dev; do {BUSYBOX} mount --move /$place /root/$place; done
{BUSYBOX} mount -t tmpfs tmpfs /root/tmp
{BUSYBOX} chroot /root /bin/sh -c "$({BUSYBOX} cat /command)"
{BUSYBOX} poweroff -f
"""


def needs_a_machine_with_a_camera() -> None:
    """Skip without FACEPAY_VIVID=1; with it a missing tool is a failure."""
    if os.environ.get("FACEPAY_VIVID") != "1":
        pytest.skip("optional, a virtual machine with a camera: make test-vivid")
    if platform.machine() != "x86_64":
        pytest.skip("the virtual machine is made for x86_64")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.fail(f"{', '.join(missing)} missing: make test-vivid installs what is needed, as root")


def run_in_guest(script: Path, timeout_s: float = 600) -> list[dict[str, Any]]:
    """Boot, run a Python file as root with /dev/video0, and return the printed JSON objects."""
    kernel = _kernel()
    with tempfile.TemporaryDirectory(prefix="facepay-vivid-") as scratch:
        disk = _initrd(Path(scratch), kernel, f"cd {ROOT}; PYTHONPATH={ROOT} {sys.executable} -B {script}")
        (image,) = (kernel / "boot").glob("vmlinuz-*")
        console = run(
            "qemu-system-x86_64",
            *("-nodefaults", "-no-reboot", "-nographic", "-serial", "stdio"),
            *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"),
            *("-kernel", image, "-initrd", disk, "-append", "console=ttyS0 quiet panic=-1"),
            "-virtfs",
            "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
            timeout_s=timeout_s,
        )
    rows = [json.loads(line[line.index("{") :]) for line in console.splitlines() if '{"step"' in line]
    assert rows and rows[-1]["step"] == "end", console[-4_000:]
    return rows


def _kernel() -> Path:
    """The unpacked package of Debian's kernel, stored for the next run in the user's cache directory."""
    wanted = run("apt-cache", "depends", "linux-image-amd64")
    name = next(line.split()[-1] for line in wanted.splitlines() if "Depends: linux-image-" in line)
    folder = kept(name)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=folder.parent) as scratch:
            subprocess.run(["apt-get", "-qq", "download", name], cwd=scratch, check=True, timeout=600)
            (package,) = Path(scratch).glob("*.deb")
            run("dpkg-deb", "-x", package, Path(scratch, "root"))
            (release,) = Path(scratch, "root/lib/modules").iterdir()
            run("depmod", "-b", Path(scratch, "root"), release.name)
            Path(scratch, "root").rename(folder)
    return folder


def _initrd(scratch: Path, kernel: Path, command: str) -> Path:
    root = scratch / "initrd"
    for folder in ("bin", "modules"):
        (root / folder).mkdir(parents=True)
    shutil.copy(str(shutil.which("busybox")), root / "bin")
    for number, module in enumerate(_modules(kernel)):
        shutil.copy(module, root / "modules" / f"{number:03d}-{module.name}")
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    (root / "command").write_text(command)
    disk = scratch / "initrd.cpio"
    names = "\n".join(str(path.relative_to(root)) for path in [root, *sorted(root.rglob("*"))])
    with disk.open("wb") as file:
        subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet"],
            cwd=root,
            input=names.encode(),
            stdout=file,
            check=True,
            timeout=60,
        )
    return disk


def _modules(kernel: Path) -> list[Path]:
    """The modules in the order of loading: each after its dependencies."""
    (base,) = (kernel / "lib/modules").iterdir()
    depends_on = {}
    for line in (base / "modules.dep").read_text().splitlines():
        name, _, needs = line.partition(":")
        depends_on[name] = needs.split()
    found: list[Path] = []
    for wanted in MODULES:
        name = next(each for each in depends_on if Path(each).name.split(".")[0] == wanted)
        for each in (*reversed(depends_on[name]), name):
            if base / each not in found:
                found.append(base / each)
    return found
