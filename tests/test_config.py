"""Config files: the shipped file is complete and correct, and each error names file, line and key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from agent.cli.config import storage_of
from agent.config import Config, GuardConfig, PolicyConfig, StorageConfig
from agent.config.file import Section, load
from agent.control.server import NAME
from agent.core.attempt_limits import AttemptLimits
from agent.core.policy import PolicyLimits
from agent.errors import ConfigError
from agent.resources import config_file
from agent.texts import Text


def test_the_shipped_file_sets_every_key_to_its_default() -> None:
    text = config_file("agent.toml").read_text(encoding="utf-8")
    assert load(config_file("agent.toml"), Config) == Config()
    shown = tomllib.loads(re.sub(r"(?m)^# (\w+ = )", r"\1", text))

    def check(model: type[BaseModel], tree: dict[str, object], where: str) -> None:
        assert set(tree) == set(model.model_fields), f"[{where}] does not show every key"
        for name, field in model.model_fields.items():
            section = field.annotation
            if isinstance(section, type) and issubclass(section, BaseModel):
                inner = tree[name]
                assert isinstance(inner, dict)
                check(section, inner, name)

    check(Config, shown, "top")


@pytest.mark.parametrize("text", ["mode = 'challenge'\nshading = true\n", "mode = 'off'\nshading = false\n"])
def test_load_shading_is_accepted_with_the_challenge_only(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f"[liveness]\n{text}")
    assert load(path, Config).liveness.shading is ("challenge" in text)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[mqtt]\nhots = 'x'\n", 2, "mqtt.hots: unknown key"),
        ("site = 'a b'\n", 1, "site"),
        ("[mqtt]\nport = 0\n", 2, "mqtt.port"),
        ("terminal = 't'\n\n[compare]\nthreshold = 'high'\n", 4, "compare.threshold"),
        ("[verification]\nhold_ms = 9000\n", 1, "must be less than budget_ms"),
        ("[policy]\nzone_left = 0.9\n", 1, "payer zone is empty"),
        ("[liveness]\nturns = 1\nshading = true\n", 3, "liveness.shading: shading checks the turns"),
        ("[liveness]\nshading = true\nmode = 'off'\n", 2, "liveness.shading: shading checks the turns"),
        ("nonsense = 1\n", 1, "nonsense: unknown key"),
        ("mqtt.port = 99999\n", 1, "mqtt.port"),
    ],
)
def test_load_invalid_value_names_file_line_and_key(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, Config)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert words in str(caught.value)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xfe", b"[mqtt\n", b"a = \n", b"x" * 300_000, b"a = " + b"1" * 5_000, b"a = " + b"[" * 5_000],
    ids=["not utf-8", "no toml", "half a line", "huge", "a number without end", "a nesting without end"],
)
def test_load_of_other_content_names_the_file(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "agent.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        load(path, Config)


def test_load_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "nothing.toml", Config)


def test_the_limits_of_the_core_are_the_config_sections_field_by_field() -> None:
    """A limit without a key, a key without a limit and two different defaults are found here."""
    for limits, section in ((PolicyLimits, PolicyConfig), (AttemptLimits, GuardConfig)):
        assert set(limits.__dataclass_fields__) == set(section.model_fields)
        assert limits(**section().model_dump()) == limits()


@pytest.mark.parametrize(
    "line",
    [
        'site = "a',
        "site = “a”",
        "site = 'a'\nsite = 'b'",
        "page = True",
        "[mqtt]\n[mqtt]",
        "port = 18,83",
        "x",
    ],
)
def test_a_fault_of_the_syntax_is_named_with_its_line_and_advice_about_the_syntax(
    tmp_path: Path, line: str
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f'profile = "demo"\n{line}\n[camera]\n')
    with pytest.raises(ConfigError) as caught:
        load(file, Config)
    assert re.match(rf"{re.escape(str(file))}:[23]: not TOML: ", str(caught.value))
    assert caught.value.fix == Text("fix.config_not_toml"), "no key is named"


@pytest.mark.parametrize(
    ("directory", "words"),
    [
        ("/x\\u0000y", "storage.directory: contains a NUL character"),
        ("/" + "x" * 300, "storage.directory: a component is longer than 255 bytes"),
        ("/xxxxxxxxx" * 9 + "/yyyyyy", "storage.directory: 97 bytes: a path of at most 95 bytes"),
        ("state", "storage.directory: is not an absolute path"),
        ("~/state", "storage.directory: is not an absolute path"),
        ("", "storage.directory: is not an absolute path"),
    ],
    ids=["nul", "long component", "long path", "relative", "tilde", "empty"],
)
def test_load_state_directory_that_no_agent_can_use_is_refused(
    tmp_path: Path, directory: str, words: str
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'[storage]\ndirectory = "{directory}"\n')
    with pytest.raises(ConfigError) as caught:
        load(path, Config)
    assert str(caught.value).startswith(f"{path}:2: {words}")
    with pytest.raises(ConfigError, match=r"storage\.directory"):
        storage_of(path)


def path_keys(section: type[Section], where: str = "") -> Iterator[str]:
    """The keys of all fields that hold a path."""
    for name, field in section.model_fields.items():
        found = [field.annotation, *get_args(field.annotation)]
        inner = [each for each in found if isinstance(each, type) and issubclass(each, Section)]
        if inner:
            yield from path_keys(inner[0], f"{where}{name}.")
        elif "Path" in repr(field.annotation):
            yield f"{where}{name}"


@pytest.mark.parametrize("key", [*path_keys(Config)])
def test_path_with_a_nul_is_refused_before_it_is_used(tmp_path: Path, key: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'{key} = "/x\\u0000y"\n')
    with pytest.raises(ConfigError, match=rf"{re.escape(key)}: contains a NUL character"):
        load(path, Config)


def test_status_socket_of_the_longest_state_directory_fits_into_its_address() -> None:
    longest = Path("/" + "x" * 94)
    assert len(str(StorageConfig(directory=longest).directory / NAME)) == 107


def test_load_of_a_file_that_is_not_utf_8_names_line_and_fix(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_bytes("site = 's'\n[display]\nshop_name = 'Caf\u00e9'\n".encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        load(path, Config)
    assert str(caught.value) == f"{path}:3: byte 0xe9 is not UTF-8"
    assert "as UTF-8" in str(caught.value.fix)
