"""A terminal with the shipped facepay-after-upgrade."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from pathlib import Path

from agent.health.upgrades import MISSING_AFTER_S, judge_upgrades, read_upgrades
from agent.resources import config_file
from agent.texts import Text
from tests.package.apt_terminal import AptTerminal

OLD, NEW, BAD = "0.2.0+deb12", "0.3.0+deb12", "0.4.0+deb12"


class Upgrades:
    """A terminal with the shipped facepay-after-upgrade; `facepay` is healthy except with ``BAD``."""

    def __init__(self, folder: Path, repo: Path) -> None:
        self.terminal = AptTerminal(folder / "terminal", repo, "canary")
        self.programs, self.kept = folder / "programs", folder / "kept"
        self.programs.mkdir()
        root = self.terminal.root
        self.dpkg_status = root / "var/lib/dpkg/status"
        status = f"[ -e {root}/stopped ] || cat {root}/opt/facepay-agent"
        stubs = {
            "facepay": f'[ "$1" != status ] || {{ {status}; exit; }}\n'
            f'[ "$1 $2" = "doctor --after-upgrade" ] && ! grep -q {BAD} {root}/opt/facepay-agent',
            "systemctl": f'echo "$*" >>{root}/systemctl.log\n'
            f'test "$*" = "--quiet is-enabled facepay-agent" -a ! -e {root}/disabled',
            "dpkg": f"[ ! -e {root}/locked ] || exit 2\n"
            f'exec {shutil.which("dpkg")} --root={root} --force-not-root "$@"',
            "sleep": f"rm {root}/locked",
            "dpkg-query": f'exec {shutil.which("dpkg-query")} --admindir={root}/var/lib/dpkg "$@"',
        }
        for name, line in stubs.items():
            (self.programs / name).write_text(f"#!/bin/sh\n{line}\n")
            (self.programs / name).chmod(0o755)

        self.environment = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "KEPT": str(self.kept),
            "ARCHIVES": str(root / "var/cache/apt/archives"),
        }
        words = [f"{name}={value}" for name, value in self.environment.items()]
        script = shlex.join(["env", *words, "sh", str(config_file("apt/facepay-after-upgrade"))])
        (root / "after-upgrade").write_text(f'#!/bin/sh\nexec {script} "$@"\n')  # for 52facepay
        (root / "after-upgrade").chmod(0o755)

    def check(self, *words: str, ok: bool = True) -> str:
        """Run the script as systemd does."""
        script = config_file("apt/facepay-after-upgrade")
        return self.terminal.apt("sh", script, *words, ok=ok, **self.environment)

    def stop_in_the_middle(self) -> None:
        """As a power cut while dpkg replaced the files."""
        self.dpkg_status.write_text(
            self.dpkg_status.read_text().replace("install ok installed", "install reinstreq half-installed")
        )
        (self.terminal.root / "opt/facepay-agent").unlink()

    @property
    def is_whole(self) -> bool:
        return "half-installed" not in self.dpkg_status.read_text() and self.terminal.installed is not None

    @property
    def systemctl_commands(self) -> list[str]:
        return (self.terminal.root / "systemctl.log").read_text().splitlines()

    @property
    def good(self) -> str:
        return (self.kept / "version").read_text().strip()

    @property
    def problem(self) -> Text | None:
        """The condition's reason, as the agent of this terminal reads it."""
        root = self.terminal.root
        (root / "var/lib/facepay-upgrade").unlink(missing_ok=True)
        (root / "var/lib/facepay-upgrade").symlink_to(self.kept)
        facts = read_upgrades(root)
        assert facts is not None
        problem = judge_upgrades(facts, int(time.time()) + MISSING_AFTER_S)
        return problem[1] if problem else None
