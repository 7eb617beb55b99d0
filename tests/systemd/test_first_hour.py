"""The first hour of an operator in a booted Debian: install, try, undo, configure, serve, screen, upgrade.

Network: loopback only. The commands are those of README.md, docs/how-to/install.md and payer-display.md. The
compositor of the payer's screen draws in memory; the unit and its limits are the shipped ones.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from agent.messages.signing import Signer
from tests.debian import booted, installed_debian, needs_a_debian_of_its_own, run
from tests.systemd.transcript import AGENT, Transcript

pytestmark = pytest.mark.long

COMPARE = "facepay-compare.service"
DISPLAY = "facepay-display.service"
BROWSER = ("cage", "seatd", "xwayland", "chromium")
HEADLESS = "[Service]\nEnvironment=WLR_BACKENDS=headless WLR_LIBINPUT_NO_DEVICES=1\n"
INSTALL = "apt-get install -y -qq --no-install-recommends"
INIT = (
    "facepay init --yes --site shop-1 --terminal terminal-1 --camera replay:one_obama_podium --photos inline "
    "--appid 1250000001 --bucket terminals --secret-id AKIDEXAMPLEEXAMPLEEXAMPLE "
    "--accept plain_mqtt --accept plain_http_compare --accept replay_camera --accept liveness_off"
)


@pytest.fixture(scope="module")
def transcript() -> Iterator[Transcript]:
    needs_a_debian_of_its_own("", BROWSER)
    with installed_debian("", BROWSER) as debian, booted(debian) as box:
        yield Transcript(box)


def test_the_first_hour_ends_in_a_match(transcript: Transcript, capsys: pytest.CaptureFixture[str]) -> None:
    """One test, because each part needs the state of the part before."""
    try:
        transcript.do(f"{INSTALL} /root/facepay-agent.deb")
        before = stored(transcript)
        a_try_ends_in_a_match(transcript)
        undo_restores_the_installation(transcript, before)
        a_config_takes_the_place_of_a_try(transcript)
        serves_with_the_config(transcript)
        a_try_does_not_change_the_config(transcript)
        the_screen_for_the_payer_opens(transcript)
        an_upgrade_does_not_prompt(transcript)
    finally:
        with capsys.disabled():
            print("\n" + "\n".join(transcript.lines))


def stored(transcript: Transcript) -> str:
    """Every file of config and state with its mode and content."""
    return transcript.box.run(
        "sh",
        "-ec",
        "cd / && find etc/facepay-agent var/lib/facepay-agent -printf '%M %u %g %p\n' | sort; "
        "find etc/facepay-agent var/lib/facepay-agent -type f | sort | xargs sha256sum",
    )


def tried(transcript: Transcript) -> str:
    output = transcript.do("facepay init --try")
    transcript.lines += [f"        {line}" for line in output.splitlines()]
    assert output.startswith("match/same_person, similarity ") and "signature valid" in output
    return output


def a_try_ends_in_a_match(transcript: Transcript) -> None:
    output = tried(transcript)
    assert [transcript.show(unit, "ActiveState") for unit in (AGENT, COMPARE)] == ["active", "active"]
    assert [transcript.show(unit, "UnitFileState") for unit in (AGENT, COMPARE)] == ["disabled", "disabled"]
    (ask,) = re.findall(r"^  (facepay till ask .*)$", output, re.MULTILINE)
    assert "\nmatch/same_person, " in transcript.do(ask)  # after the line on stderr
    (look,) = re.findall(r"^  sudo (facepay status); sudo (facepay why); sudo facepay doctor$", output, re.M)
    for command in look:
        assert "match" in transcript.do(command)
    tried(transcript)


def undo_restores_the_installation(transcript: Transcript, before: str) -> None:
    assert transcript.do("facepay init --try --undo") == "The trial is stopped and removed."
    assert [transcript.show(unit, "ActiveState") for unit in (AGENT, COMPARE)] == ["inactive", "inactive"]
    assert stored(transcript) == before
    assert transcript.do("dpkg --verify facepay-agent") == ""


def a_config_takes_the_place_of_a_try(transcript: Transcript) -> None:
    tried(transcript)
    transcript.do(f"systemctl enable --now {COMPARE}")
    output = transcript.box.run("sh", "-ec", INIT, ok=(0, 1))
    transcript.lines += [f"        {line}" for line in output.splitlines()]
    for line in ("✓ camera.detect", "✓ api.auth", "✓ mqtt.roundtrip"):
        assert line in output, output
    assert transcript.show(AGENT, "ActiveState") == "inactive", "the trial has ended"
    assert transcript.do("ls /etc/facepay-agent/agent.d") == "50-terminal.toml"
    assert transcript.do("dpkg --verify facepay-agent") == "", "the shipped config is unchanged"
    assert transcript.do("stat -c '%a %U %G' /etc/facepay-agent/agent.d/*") == "640 root facepay"


def serves_with_the_config(transcript: Transcript) -> None:
    key = Signer.generate()
    key.save(transcript.box.file("/root/till-1.key"))
    transcript.box.file("/srv/till-1.pem").write_bytes(key.public.pem())
    transcript.do("facepay keys trust till-1 /srv/till-1.pem")
    transcript.do(f"systemctl enable --now {AGENT}")
    transcript.do("facepay keys show 2>/dev/null >/root/terminal.pem")
    transcript.ask()


def a_try_does_not_change_the_config(transcript: Transcript) -> None:
    before, pid = stored_config(transcript), transcript.show(AGENT, "MainPID")
    assert "wrote nothing" in tried(transcript)
    assert (stored_config(transcript), transcript.show(AGENT, "MainPID")) == (before, pid)


def stored_config(transcript: Transcript) -> str:
    return transcript.do("cd /etc/facepay-agent && find . -type f | sort | xargs sha256sum")


def the_screen_for_the_payer_opens(transcript: Transcript) -> None:
    """Chromium with its own sandbox, inside the limits of the unit; again after a crash."""
    config = transcript.box.file("/etc/facepay-agent/agent.d/60-display.toml")
    config.write_text('[display]\nlisten = "loopback"\n')
    drop_in = transcript.box.file(f"/etc/systemd/system/{DISPLAY}.d/headless.conf")
    drop_in.parent.mkdir()
    drop_in.write_text(HEADLESS)
    transcript.do(f"systemctl daemon-reload; systemctl restart {AGENT}; systemctl enable --now {DISPLAY}")
    a_browser_shows_the_screen(transcript)
    pid = transcript.show(DISPLAY, "MainPID")
    limits = transcript.do(f"grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/{pid}/status")
    assert limits.split() == ["CapEff:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2"]
    folders = "/etc/facepay-agent /var/lib/facepay-agent /run/facepay-agent /home /root"
    assert transcript.do(f"nsenter -t {pid} -m -- find {folders} -mindepth 1") == "", "hidden"
    transcript.do(f"systemctl kill --signal=KILL {DISPLAY}")
    transcript.box.wait_for(
        "systemctl", "show", DISPLAY, "--property=NRestarts", "--value", answer="1", timeout_s=60
    )
    a_browser_shows_the_screen(transcript)
    transcript.ask()
    transcript.do(f"systemctl disable --now {DISPLAY}")


def a_browser_shows_the_screen(transcript: Transcript) -> None:
    deadline = time.monotonic() + 120
    while "✓ display.browser" not in (
        found := transcript.box.run("facepay", "doctor", "--only", "display", ok=(0, 1, 2))
    ):
        assert time.monotonic() < deadline, found
        time.sleep(1)


def an_upgrade_does_not_prompt(transcript: Transcript) -> None:
    """A release with another agent.toml. dpkg would end with an error at a prompt: stdin is empty."""
    folder = transcript.box.file("/root/newer")
    run("dpkg-deb", "-R", transcript.box.file("/root/facepay-agent.deb"), folder)
    control = folder / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*", "Version: 99.0.0", control.read_text()))
    shipped = folder / "etc/facepay-agent/agent.toml"
    shipped.write_text("# a later release\n" + shipped.read_text())
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", folder, f"{folder}.deb")
    transcript.do(f"{INSTALL} /root/newer.deb")
    config = transcript.box.file("/etc/facepay-agent/agent.toml").read_text()
    assert config.startswith("# a later release")
    status = json.loads(transcript.box.run("facepay", "status", "--json", ok=(0, 1, 2)))
    assert status["site"] == "shop-1"
    transcript.ask()
