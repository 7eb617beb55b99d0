"""The transcript of a booted system in docs/reference/systemd.md: commands and journal lines."""

from __future__ import annotations

import json
import time

from agent.messages.signing import Signer
from agent.service.settings import EXAMPLE_SECRET
from tests.debian import Booted

AGENT = "facepay-agent.service"
PHOTO = "/opt/facepay-agent/lib/python3*/site-packages/agent/data/photos/enrolled/obama_portrait.jpg"
CONFIG_FILE = "/etc/facepay-agent/agent.toml"
CONFIG = """
site = "shop-1"
terminal = "terminal-1"
accepted_risks = ["plain_mqtt", "plain_http_compare", "replay_camera", "liveness_off"]
inline_reference = true
[camera]
source = "one_obama_podium"
[compare]
appid = "1250000001"
bucket = "terminals"
secret_id = "AKIDEXAMPLEEXAMPLEEXAMPLE"
secret_key_file = "/run/credentials/facepay-agent.service/secret-key"
"""


class Transcript:
    """A booted system, with a transcript of commands and journal lines."""

    def __init__(self, box: Booted) -> None:
        self.box = box
        self.lines: list[str] = []
        self._began = time.monotonic()
        self._cursor = ""

    def do(self, command: str) -> str:
        """Run a shell command in the system and note it in the transcript."""
        self.note(f"# {command}")
        return self.box.run("sh", "-ec", command).strip()

    def configure(self) -> None:
        """The steps of an operator: config, API key, key of a till."""
        key = Signer.generate()
        key.save(self.box.file("/root/till-1.key"))
        self.box.file("/srv/till-1.pem").write_bytes(key.public.pem())
        self.box.file(CONFIG_FILE).write_text(CONFIG)
        self.box.file("/etc/facepay-agent/credentials/secret-key").write_bytes(EXAMPLE_SECRET)
        self.do("runuser -u facepay -- facepay keys trust till-1 /srv/till-1.pem")

    def show(self, unit: str, name: str) -> str:
        return self.box.run("systemctl", "show", unit, "--property", name, "--value").strip()

    def serving(self, restarts: int, within_s: float) -> None:
        """Wait until systemd has restarted the agent this often and the agent is READY."""
        wanted = f"{restarts}\nactive"
        command = (
            "systemctl",
            "show",
            AGENT,
            "--value",
            "--property",
            "NRestarts",
            "--property",
            "ActiveState",
        )
        self.box.wait_for(*command, answer=wanted, timeout_s=within_s)
        self.journal()

    def journal(self) -> None:
        """Add the new journal lines of the unit with their times."""
        after = (f"--after-cursor={self._cursor}",) if self._cursor else ()
        for line in self.box.run("journalctl", f"--unit={AGENT}", "--output=json", *after).splitlines():
            entry = json.loads(line)
            self._cursor = entry["__CURSOR"]
            self.note(f"    {entry['MESSAGE']}", at_s=int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6)

    def ask(self, wanted: str = "match/same_person") -> None:
        """Send a till's request, verify the signature and compare the result."""
        output = self.do(
            f"facepay till ask {PHOTO} --site shop-1 --terminal terminal-1 --sign-key /root/till-1.key "
            "--key /root/terminal.pem --json || true"
        )
        result = json.loads(output.splitlines()[-1])
        compared = result.get("compare") or {}
        verdict = f"{result['decision']}/{result['reason']}"
        self.note(
            f"{verdict}, similarity {compared.get('similarity', 0):.0f}, "
            f"{result['timings_ms']['total']} ms, boot {result['boot_id'][:8]}, epoch {result['epoch'][:8]}"
        )
        assert verdict == wanted

    def note(self, line: str, at_s: float | None = None) -> None:
        """Add a line. ``at_s``: time on the kernel's monotonic clock; None: now."""
        self.lines.append(f"{(at_s or time.monotonic()) - self._began:6.1f}  {line}")
