"""The fault table of docs/reference/faults.md, on booted Debian 12 and 13 with the installed package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.debian import RELEASES, needs_a_debian_of_its_own
from tests.faults.box import AGENT, CREDENTIALS, FaultBox, fault_box
from tests.faults.fault import Fault
from tests.faults.table import FAULTS

pytestmark = pytest.mark.long

STATUS_WITHIN_S = 240.0  # the agent checks a healthy API each minute; more for a busy machine
DOCTOR_RUNS = 3  # a finding of a busy machine, e.g. a check without a result in time, ends; a fault's stays
# of the machine that runs the tests, not of the terminal in the box
OF_THE_HOST = {"sys.clock", "sys.power", "sys.thermal", "sys.memory", "sys.disk"}


@pytest.fixture(scope="module", params=RELEASES)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultBox]:
    needs_a_debian_of_its_own(request.param)
    with fault_box(request.param, tmp_path_factory.mktemp(request.param)) as box:
        yield box


@pytest.fixture
def box(installed: FaultBox) -> Iterator[FaultBox]:
    """A healthy terminal; healthy again for the next test."""
    yield installed
    installed.heal()


def found(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows that an operator must read."""
    return {row["id"]: row for row in rows if row["verdict"] in ("warn", "fail")}


def test_healthy_terminal_has_no_finding_for_root(box: FaultBox) -> None:
    _, rows = box.doctor()
    assert found(rows).keys() <= OF_THE_HOST, found(rows)
    assert " ONLINE" in box.status()


def test_root_with_the_unit_down_uses_the_files_of_the_credentials(box: FaultBox) -> None:
    box.do(f"systemctl stop {AGENT}")
    _, rows = box.doctor()
    whys = {row["id"]: (row["verdict"], row["why"]) for row in rows}
    assert whys["keys.files"] == ("pass", f"all secret files exist: {CREDENTIALS}")
    assert [whys[check][0] for check in ("api.auth", "mqtt.tls", "mqtt.roundtrip")] == ["pass"] * 3, whys
    assert {name for name, (verdict, _) in whys.items() if verdict == "fail"} - OF_THE_HOST == {
        "service.state"
    }


COMMANDS = ("status", "config check", "keys show", "privacy-audit", "trace show", "why", "camera shot x.jpg")


@pytest.mark.parametrize("command", COMMANDS)
def test_user_without_sudo_reads_the_command_with_sudo(installed: FaultBox, command: str) -> None:
    output = installed.do(f"cd /tmp && runuser -u nobody -- facepay {command} 2>&1", ok=(78,))
    assert f"sudo facepay {command}" in output and "Traceback" not in output


@pytest.mark.parametrize("command", ["doctor --json", "doctor", "status", "status --json"])
def test_output_to_a_full_disk_ends_with_its_reason(installed: FaultBox, command: str) -> None:
    output = installed.do(f"facepay {command} 2>&1 >/dev/full", ok=(1,))
    assert output.startswith("output_failed: ") and output.count("output_failed") == 1, output


def test_doctor_without_sudo_reports_what_the_user_may_read(installed: FaultBox) -> None:
    output = installed.do("cd /tmp && runuser -u nobody -- facepay doctor 2>&1", ok=(2,))
    assert "sudo facepay doctor" in output and "Traceback" not in output
    assert "service.state" in output and "sys.memory" in output


@pytest.mark.parametrize("fault", FAULTS, ids=[each.name for each in FAULTS])
def test_doctor_and_status_name_the_fault(box: FaultBox, fault: Fault) -> None:
    fault.make(box)
    for _ in range(DOCTOR_RUNS):
        code, rows = box.doctor()
        read = found(rows)
        others = {name for name in read if read[name]["verdict"] == "fail"} - OF_THE_HOST
        if fault.check in read and others <= {fault.check, *fault.also}:
            break
    assert code > 0 and fault.check in read, f"exit {code}: {read}"
    row = read[fault.check]
    assert fault.why in row["why"] and fault.fix in row["fix"] and row["fix_zh"], row
    assert others <= {fault.check, *fault.also}, {name: read[name]["why"] for name in others}
    status = box.status_with(fault.status, STATUS_WITHIN_S)
    assert fault.status in status, status
