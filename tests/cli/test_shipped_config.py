"""Commands read the shipped config and never write it: the file belongs to a package or a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli import config as cli_config
from agent.errors import ConfigError
from agent.messages.signing import Signer
from agent.resources import config_file
from tests.commands import facepay

SHIPPED = config_file("agent.toml")


def beside(config: Path) -> set[Path]:
    return set(config.parent.rglob("*"))


@pytest.mark.parametrize("command", ["trust operator.pem", "apply bundle.json", "rollback"])
def test_commands_that_write_beside_a_config_refuse_the_shipped_one(command: str, tmp_path: Path) -> None:
    (tmp_path / "operator.pem").write_bytes(Signer.generate().public.pem())
    (tmp_path / "bundle.json").write_text("{}")
    before = beside(SHIPPED)
    done = facepay("config", *command.split(), "--config", str(SHIPPED), cwd=tmp_path)
    assert done.returncode == 78 and done.stderr.startswith("config_shipped: "), done
    assert "\nfix: " in done.stderr and "\n处理: " in done.stderr
    assert beside(SHIPPED) == before


def test_without_a_config_of_a_terminal_there_is_nothing_to_write_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "agent.toml"
    monkeypatch.setattr(cli_config, "DEFAULT", own)
    with pytest.raises(ConfigError, match="shipped"):
        cli_config.terminals_path_of(None)
    own.write_text("")
    assert cli_config.terminals_path_of(None) == own.resolve()
    link = tmp_path / "link.toml"
    link.symlink_to(SHIPPED)
    with pytest.raises(ConfigError, match="shipped"):
        cli_config.terminals_path_of(link)
