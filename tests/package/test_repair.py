"""A package that dpkg left half installed: facepay-after-upgrade and facepay-repair.service."""

from __future__ import annotations

import os
import shutil
from configparser import ConfigParser
from pathlib import Path

import pytest
from apt_repo import add

from agent.resources import config_file
from tests.package.after_upgrade import OLD, Upgrades
from tests.package.apt_terminal import MISSING, package

pytestmark = [
    pytest.mark.long,  # needs the program of a Debian package
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}: make reprepro, as root"),
]
UNITS = ("facepay-agent.service", "facepay-compare.service", "facepay-fleet-exporter.service")
SYSTEMD = Path(__file__).parent.parent.parent / "systemd"


def test_a_half_installed_package_is_repaired_without_a_network(repo: Path, upgrades: Upgrades) -> None:
    """The power failed while dpkg replaced the files: `dpkg --configure -a` does nothing."""
    shutil.rmtree(repo)
    upgrades.stop_in_the_middle()
    assert f"{OLD} is half installed" in upgrades.check("repair")
    assert upgrades.terminal.installed == OLD and upgrades.is_whole


def test_a_half_installed_first_version_is_repaired_from_the_cache(tmp_path: Path, repo: Path) -> None:
    add(repo, [package(tmp_path, OLD)])
    upgrades = Upgrades(tmp_path, repo)
    upgrades.terminal.upgrade()
    upgrades.stop_in_the_middle()
    upgrades.check()
    assert upgrades.good == OLD
    upgrades.stop_in_the_middle()
    for file in (
        *(upgrades.terminal.root / "var/cache/apt/archives").glob("*.deb"),
        *upgrades.kept.iterdir(),
    ):
        file.unlink()
    assert "apt-get install --reinstall facepay-agent" in upgrades.check(ok=False)


@pytest.mark.parametrize("words", [(), ("repair",)])
def test_a_repair_that_fails_is_a_failure_until_a_repair_succeeds(
    upgrades: Upgrades, words: tuple[str, ...]
) -> None:
    stored = upgrades.kept / "facepay-agent.deb"
    good = stored.read_bytes()
    stored.write_bytes(b"damaged")
    upgrades.stop_in_the_middle()
    assert "could not be installed" in upgrades.check(*words, ok=False)
    assert not upgrades.is_whole and str(upgrades.problem) == (
        f"{OLD} is not healthy after the upgrade, and it stays"
    )
    stored.write_bytes(good)
    upgrades.check()
    assert upgrades.is_whole and upgrades.problem is None
    assert "--quiet is-enabled facepay-compare" in upgrades.systemctl_commands
    assert "start facepay-agent" in upgrades.systemctl_commands, "systemd has not started it at the boot"


def test_a_repair_waits_until_another_program_has_ended_its_use_of_dpkg(upgrades: Upgrades) -> None:
    upgrades.stop_in_the_middle()
    (upgrades.terminal.root / "locked").touch()
    assert f"{OLD} is half installed" in upgrades.check("repair")
    assert upgrades.is_whole


def test_no_other_fault_of_the_repair_keeps_a_whole_package_from_its_start(upgrades: Upgrades) -> None:
    """facepay-agent.service requires the unit."""
    (upgrades.terminal.root / "locked").touch()
    upgrades.check("repair")
    upgrades.check(ok=False)
    (upgrades.terminal.root / "locked").unlink()
    shutil.rmtree(upgrades.kept)
    upgrades.kept.touch()  # a disk that cannot be written
    upgrades.check("repair")
    upgrades.dpkg_status.write_text("damaged")
    upgrades.check("repair")


def test_each_unit_with_the_files_of_the_package_requires_the_repair() -> None:
    unit = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(config_file("apt/facepay-repair.service"))
    assert unit["Unit"]["Before"].split() == unit["Install"]["RequiredBy"].split() == list(UNITS)
    users = sorted(
        each.name for each in SYSTEMD.glob("*.service") if "ExecStart=/opt/facepay-agent" in each.read_text()
    )
    assert users == sorted(UNITS)


def test_any_user_can_read_the_facts_and_only_root_the_status(upgrades: Upgrades) -> None:
    """The agent runs as user facepay; the umask of root can be 077."""
    shutil.rmtree(upgrades.kept)
    earlier = os.umask(0o077)
    try:
        upgrades.check()
        upgrades.kept.chmod(0o700)
        (upgrades.kept / "failed").write_text("of an earlier release")
        upgrades.check("repair")
        upgrades.check("before")
    finally:
        os.umask(earlier)
    modes = {each.name: each.stat().st_mode & 0o777 for each in (upgrades.kept, *upgrades.kept.iterdir())}
    assert modes["kept"] == 0o755 and modes["version"] == modes["failed"] == 0o644
    assert modes["before.json"] == 0o600
