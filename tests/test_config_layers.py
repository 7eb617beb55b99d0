"""The operator's keys in ``agent.d/*.toml``: later files win, and errors name the file that holds the key."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from agent.cli.config import storage_of
from agent.config import Config
from agent.config.file import load
from agent.config.secret_files import exposed_config
from agent.errors import ConfigError, FleetError
from agent.fleet.config_bundle import Bundle, pack
from agent.fleet.rollout import apply, rollback
from agent.fleet.rollout_store import RolloutStore
from agent.messages.signing import Signer
from agent.root.config_wait import wait_for_change
from agent.root.runnable_config import load_runnable_config
from agent.toml_layers import layers
from tests.commands import facepay
from tests.fleet.test_rollout import FakeTerminal
from tests.texts import en, zh
from tests.waits import WatchedStop

DEMO = 'profile = "demo"\nsite = "a"\nterminal = "t"\n[mqtt]\nport = 1\nkeepalive_s = 20\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(DEMO)
    (tmp_path / "agent.d").mkdir()
    return path


def layer(config: Path, name: str, text: str) -> Path:
    file = config.parent / "agent.d" / name
    file.write_text(text)
    return file


def test_a_later_file_wins_key_by_key(config: Path) -> None:
    layer(config, "20-b.toml", '[mqtt]\nport = 3\n[storage]\ndirectory = "/b"\n')
    layer(config, "10-a.toml", 'site = "b"\n[mqtt]\nport = 2\n')
    for ignored in ("30-c.toml.before", ".30-c.toml", "notes.txt"):
        layer(config, ignored, "not TOML")
    loaded = load(config, Config)
    assert (loaded.site, loaded.terminal, loaded.mqtt.port, loaded.mqtt.keepalive_s) == ("b", "t", 3, 20)
    assert storage_of(config) == loaded.storage.directory == Path("/b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mqtt]\nport = 7\nhots = 1\n", ":3: mqtt.hots: unknown key"),
        ("[mqtt]\nport = 0\n", ":2: mqtt.port: "),
        ("[mqtt\n", ":1: not TOML"),
        ('[page]\nlisten = "lan"\n', ":1: page: "),
        ('profile = "shop"\n', ":1: profile: shop does not run"),
        ('accepted_risks = ["x"]\n', ":1: accepted_risks: there is no risk"),
    ],
    ids=str,
)
def test_an_error_names_the_file_the_line_and_the_key(config: Path, text: str, message: str) -> None:
    file = layer(config, "10-a.toml", text)
    with pytest.raises(ConfigError) as caught:
        load_runnable_config(config)
    assert str(caught.value).startswith(f"{file}{message}"), caught.value


def test_an_error_of_the_first_file_names_the_first_file(config: Path) -> None:
    config.write_text(DEMO.replace("keepalive_s = 20", "keepalive_s = 1"))
    layer(config, "10-a.toml", "[mqtt]\nport = 2\n")
    with pytest.raises(ConfigError, match=r"agent\.toml:6: mqtt\.keepalive_s"):
        load(config, Config)


def test_a_folder_to_which_another_user_can_add_files_is_refused(config: Path) -> None:
    layer(config, "10-a.toml", 'site = "b"\n')
    (config.parent / "agent.d").chmod(0o777)
    with pytest.raises(ConfigError) as caught:
        load(config, Config)
    assert caught.value.code == "config_folder_foreign"
    if os.geteuid() == 0:
        (config.parent / "agent.d").chmod(0o755)
        os.chown(config.parent / "agent.d", 4_711, 0)
        with pytest.raises(ConfigError, match="another user"):
            load(config, Config)
        os.chown(config, 4_711, 0)
        assert load(config, Config).site == "b", "the owner of the config may add files"


@pytest.mark.parametrize("name", ["/", ".", "..", "no-such-file"])
def test_a_path_without_a_folder_has_one_file(name: str) -> None:
    assert layers(Path(name)) == (Path(name),)
    with pytest.raises(ConfigError):
        load(Path(name), Config)


def test_config_check_and_show_use_every_file(config: Path) -> None:
    file = layer(config, "10-a.toml", "[mqtt]\nport = 7\n")
    shown = facepay("config", "show", "--json", "--config", config)
    assert shown.returncode == 0 and json.loads(shown.stdout)["mqtt"]["port"] == 7
    file.write_text("[mqtt]\nport = 0\n")
    checked = facepay("config", "check", "--config", config)
    assert checked.returncode == 78 and f"{file}:2: mqtt.port" in checked.stderr


def test_a_secret_in_a_readable_file_is_reported_with_the_name_of_this_file(config: Path) -> None:
    file = layer(config, "10-a.toml", '[camera]\nkind = "stream"\nsource = "rtsp://u:word@10.0.0.9/1"\n')
    config.chmod(0o640)
    file.chmod(0o644)
    exposed = exposed_config(load(config, Config), config)
    assert exposed is not None and exposed[0] == file and "camera.source" in en(exposed[1])
    assert "camera.source" in zh(exposed[1]) and en(exposed[1]) != zh(exposed[1])
    file.chmod(0o640)
    config.chmod(0o644)
    assert exposed_config(load(config, Config), config) is None


def test_the_pause_ends_when_a_further_file_appears_or_changes(config: Path) -> None:
    ended = list[bool]()

    def wait(stop: threading.Event) -> None:
        ended.append(wait_for_change(config, stop, 3_600.0, "why"))

    for count, text in enumerate(("[mqtt]\nport = 7\n", "[mqtt]\nport = 8888\n"), start=1):
        waiting = threading.Thread(target=wait, args=[stop := WatchedStop()])
        waiting.start()
        assert stop.waited_for.wait(60)
        layer(config, "10-a.toml", text)
        waiting.join(60)
        assert ended == [True] * count


def bundle(config: Path, number: int, text: str) -> bytes:
    operator = Signer.generate()
    store = RolloutStore(config)
    with store.locked():
        store.pin(operator.public, replaces_others=True)
    return pack(Bundle(number, "all", "2026", {"*": text}), operator)


def test_a_bundle_is_checked_and_applied_together_with_the_terminals_own_keys(config: Path) -> None:
    layer(config, "50-terminal.toml", "[guard]\nfailures = 9\n")
    outcome = apply(config, bundle(config, 1, 'profile = "demo"\n[guard]\npause_ms = 1000\n'), FakeTerminal())
    assert "guard.pause_ms" in outcome.changed_keys and "guard.failures" not in outcome.changed_keys
    loaded = load(config, Config)
    assert (loaded.site, loaded.guard.failures, loaded.guard.pause_ms) == ("a", 9, 1_000)
    rollback(config, FakeTerminal())
    assert load(config, Config).guard.pause_ms != 1_000 and load(config, Config).guard.failures == 9
    assert not list(config.parent.glob("*.candidate"))


def test_a_bundle_whose_value_would_have_no_effect_is_refused(config: Path) -> None:
    file = layer(config, "50-terminal.toml", "[guard]\nfailures = 9\n")
    before = config.read_bytes()
    with pytest.raises(FleetError) as caught:
        apply(config, bundle(config, 1, 'profile = "demo"\n[guard]\nfailures = 3\n'), FakeTerminal())
    assert caught.value.code == "bundle_unfit" and f"{file}:2: guard.failures" in str(caught.value)
    assert config.read_bytes() == before


def test_pack_refuses_a_file_with_keys_beside_it(config: Path, tmp_path: Path) -> None:
    layer(config, "10-a.toml", "[mqtt]\nport = 7\n")
    key = tmp_path / "operator.key"
    Signer.generate().save(key)
    done = facepay("config", "pack", "--key", key, "--number", "1", config, cwd=tmp_path)
    assert done.returncode == 78 and "10-a.toml overrides it" in done.stderr
