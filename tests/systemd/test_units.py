"""The shipped units are valid and have minimal rights. Checked offline with systemd-analyze."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.page.display_key import FILE

SYSTEMD = Path(__file__).parent.parent.parent / "systemd"
ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze on this machine")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(ANALYZE), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("unit", "worst"),
    [
        ("facepay-agent.service", 1.5),
        ("facepay-compare.service", 1.2),
        ("facepay-display.service", 2.3),
        ("facepay-fleet-exporter.service", 1.2),
    ],
)
def test_unit_exposure_is_within_its_limit(
    unit: str, worst: float, record_property: Callable[[str, object], None]
) -> None:
    output = analyze("security", "--offline=true", "--no-pager", SYSTEMD / unit).stdout
    found = re.search(r"exposure level for \S+: ([\d.]+)", output)
    assert found, output
    record_property("figure", f"{unit}: exposure {found[1]} (at most {worst})")
    assert float(found[1]) <= worst


@pytest.mark.parametrize("unit", sorted(path.name for path in SYSTEMD.glob("*.service")))
def test_systemd_analyze_verify_accepts_the_unit(unit: str, tmp_path: Path) -> None:
    # The program is not installed here: verify needs an existing program.
    text = (SYSTEMD / unit).read_text().replace("/opt/facepay-agent/bin/facepay", "/bin/true")
    copy = tmp_path / unit
    copy.write_text(re.sub(r"file:/\S+|man:facepay\S+", "", text))
    done = analyze("verify", copy)
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_display_unit_opens_no_camera_no_network_and_no_file_of_the_agent() -> None:
    text = (SYSTEMD / "facepay-display.service").read_text()
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("DeviceAllow=")] == ["DeviceAllow=char-drm rw"]
    assert {"DevicePolicy=closed", "IPAddressDeny=any", "IPAddressAllow=localhost"} <= set(lines)
    (hidden,) = (line for line in lines if line.startswith("InaccessiblePaths="))
    for folder in ("/var/lib/facepay-agent", "/etc/facepay-agent", "/run/facepay-agent"):
        assert f"-{folder}" in hidden.split("=")[1].split()
    assert "User=facepay-display" in lines and "PAMName=" not in re.sub("#.*", "", text)
    assert "--no-sandbox" not in text
    assert f"LoadCredential=start.html:/var/lib/facepay-agent/{FILE}" in lines
    assert "u facepay-display " in (SYSTEMD / "facepay.sysusers").read_text()


def test_units_have_no_core_dump_and_no_secret() -> None:
    for path in SYSTEMD.glob("*.service"):
        text = path.read_text()
        assert "LimitCORE=0" in text, f"{path.name}: a core dump contains faces"
        assert "Environment=" not in text and "--secret" not in text, f"{path.name}: secrets are credentials"
