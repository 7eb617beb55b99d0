"""The paths of a terminal's secrets and certificates beside its config file, and their paths in the config.

The packaged service cannot read ``credentials``: systemd passes the files to the service.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.fleet.toml_edit import Value, set_values
from agent.resources import config_file
from agent.safe_write import write_whole
from agent.toml_layers import trial_layer

PACKAGED = Path("/etc/facepay-agent")
_HEADER = "# The keys of this terminal. A key here takes the place of the same key in {config}.\n"
_UNITS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))
_SYSTEMD_CREDENTIALS = Path("/run/credentials/facepay-agent.service")


@dataclass(frozen=True, slots=True)
class TerminalPaths:
    """The paths of one config file. No property requires that its file exists."""

    config: Path

    @property
    def is_packaged(self) -> bool:
        """Whether the config is the one of the shipped unit. After `pip install` there is no unit."""
        return self.config.parent == PACKAGED and any(
            (folder / "facepay-agent.service").exists() for folder in _UNITS
        )

    @property
    def own(self) -> Path:
        """The file with this terminal's keys, beside the shipped config."""
        return self.config.with_suffix(".d") / "50-terminal.toml"

    @property
    def trial(self) -> Path:
        """The keys of `facepay init --try`. The name sorts after ``own``: it wins until it is removed."""
        return trial_layer(self.config)

    @property
    def target(self) -> Path:
        """The file that `init` and `enrol` write: the config; ``own`` if the config is as shipped."""
        return self.own if self.own.exists() or self.is_shipped() else self.config

    def is_shipped(self) -> bool:
        """Whether the config is the unchanged file of the package."""
        return self.config.is_file() and self.config.read_bytes() == config_file("agent.toml").read_bytes()

    def text_with(self, values: Mapping[str, Value]) -> str:
        """The text of ``target`` with these keys. Raises ``ConfigError``, ``OSError``."""
        if self.target.exists():
            return set_values(self.target.read_text(encoding="utf-8"), values)
        return self.fresh_text(values)

    def fresh_text(self, values: Mapping[str, Value]) -> str:
        """As ``text_with``, without the keys of an existing file. Raises ``ConfigError``."""
        if self.target == self.config:
            return set_values(config_file("agent.toml").read_text(encoding="utf-8"), values)
        return _HEADER.format(config=self.config) + set_values("", dict(reversed(list(values.items()))))

    def write(self, path: Path, text: str) -> None:
        """Write a file of the config, readable for the group of ``config``. Raises ``OSError``."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        write_whole(path, text.encode(), mode=0o640, like=path)
        if os.geteuid() == 0 and self.config.exists():
            os.chown(path, -1, self.config.stat().st_gid)

    @property
    def certificate(self) -> Path:
        return self.config.parent / "terminal.pem"

    @property
    def authority(self) -> Path:
        return self.config.parent / "ca.pem"

    def secret(self, name: str) -> Path:
        """The path of the file of a secret."""
        return self.config.parent / "credentials" / name

    def secret_in_config(self, name: str) -> str:
        """The path of a secret as the config names it: for the package, of the systemd credential."""
        return str(_SYSTEMD_CREDENTIALS / name if self.is_packaged else self.secret(name))

    def write_secret(self, name: str, content: bytes) -> None:
        """Write a secret file with mode 0600. Raises ``OSError``."""
        path = self.secret(name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, content)
