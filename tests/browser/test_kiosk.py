"""The command of facepay-display.service opens the payer's screen, with Debian's cage and a screen in memory.

The unit's limits that systemd sets are not tried here, except ``MemoryDenyWriteExecute`` where the kernel has
an equal for one process.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.kit import needs_a_browser
from tests.browser.payer_kit import states
from tests.page.kit import until

pytestmark = pytest.mark.long  # a compositor and a browser start
UNIT = Path(__file__).parent.parent.parent / "systemd" / "facepay-display.service"
PROGRAMS = ("/usr/bin/cage", "/usr/bin/Xwayland")
START_S = 60.0
_NO_NEW_PRIVS, _SET_MDWE = 38, 65  # prctl


def command(folder: Path) -> list[str]:
    """``ExecStart`` with ``folder`` for the unit's folders, and a screen in memory."""
    text = UNIT.read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = (each for each in text.splitlines() if each.startswith("ExecStart="))
    line = line.removeprefix("ExecStart=").replace("/run/facepay-display", str(folder))
    env, *words = line.replace("%d", str(folder)).split()
    return [env, "WLR_BACKENDS=headless", "WLR_LIBINPUT_NO_DEVICES=1", *words]


def limit() -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_SET_MDWE, 1, 0, 0, 0)  # an older kernel refuses it


@contextmanager
def kiosk(start_page: Path) -> Iterator[subprocess.Popen[bytes]]:
    user = "nobody" if os.geteuid() == 0 else None  # Chromium's sandbox refuses root
    # the folder for the temporary files of the tests is closed to other users; killed processes still write
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        shutil.copyfile(start_page, folder / "start.html")
        if user is not None:
            for path in (folder, folder / "start.html"):
                os.chown(path, pwd.getpwnam(user).pw_uid, -1)
        probe = subprocess.run(["unshare", "--user", "true"], check=False, capture_output=True, user=user)
        if probe.returncode:
            pytest.skip("this machine allows no user namespaces: Chromium's sandbox cannot start")
        process = subprocess.Popen(
            command(folder),
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            preexec_fn=limit,  # noqa: PLW1509 - two system calls, no lock is taken
            start_new_session=True,
            env={**os.environ, "TMPDIR": name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def test_command_of_the_unit_opens_the_screen_and_again_after_a_crash() -> None:
    needs_a_browser()
    missing = [program for program in PROGRAMS if not Path(program).exists()]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: sudo apt-get install cage xwayland")
    async with states() as page:
        for _ in range(2):
            with kiosk(page.directory / "display.html"):
                await until(lambda: page.display.viewers == 1, START_S)
                await page.show_face(page.begin(budget_ms=120_000))
                await asyncio.sleep(1)
                assert page.display.viewers == 1, "the page reads the pictures"
            await until(lambda: page.display.viewers == 0, START_S)
