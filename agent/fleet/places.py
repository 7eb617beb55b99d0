"""Where a terminal's secrets and certificates lie beside its config file, and how the config names them.

Under the packaged unit the service cannot read ``credentials``: systemd hands the files over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.fleet.files import write_whole

PACKAGED = Path("/etc/facepay-agent")
_HANDED_OVER = Path("/run/credentials/facepay-agent.service")


@dataclass(frozen=True, slots=True)
class Places:
    """Of one config file."""

    config: Path

    @property
    def certificate(self) -> Path:
        return self.config.parent / "terminal.pem"

    @property
    def authority(self) -> Path:
        return self.config.parent / "ca.pem"

    def secret(self, name: str) -> Path:
        """Where the file itself lies."""
        return self.config.parent / "credentials" / name

    def named(self, name: str) -> str:
        """What the config calls it."""
        return str(_HANDED_OVER / name if self.config.parent == PACKAGED else self.secret(name))

    def keep(self, name: str, content: bytes) -> Path:
        """Write a secret, for its owner alone. Raises ``OSError``."""
        path = self.secret(name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, content, mode=0o600)
        return path
