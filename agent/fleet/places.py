"""The paths of a terminal's secrets and certificates beside its config file, and their paths in the config.

The packaged service cannot read ``credentials``: systemd passes the files to the service.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.fleet.files import write_whole

PACKAGED = Path("/etc/facepay-agent")
_SYSTEMD_CREDENTIALS = Path("/run/credentials/facepay-agent.service")


@dataclass(frozen=True, slots=True)
class TerminalPaths:
    """The paths for one config file."""

    config: Path

    @property
    def certificate(self) -> Path:
        return self.config.parent / "terminal.pem"

    @property
    def authority(self) -> Path:
        return self.config.parent / "ca.pem"

    def secret(self, name: str) -> Path:
        """The path of the file."""
        return self.config.parent / "credentials" / name

    def named(self, name: str) -> str:
        """The path in the config."""
        return str(_SYSTEMD_CREDENTIALS / name if self.config.parent == PACKAGED else self.secret(name))

    def keep(self, name: str, content: bytes) -> None:
        """Write a secret file with mode 0600. Raises ``OSError``."""
        path = self.secret(name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, content, mode=0o600)
