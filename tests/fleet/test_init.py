"""``facepay init``: from nothing to a valid config with a key; the remaining problems are named."""

from __future__ import annotations

import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agent.config import Config
from agent.config.file import load
from agent.errors import ConfigError
from agent.fleet.template import fill
from agent.resources import config_file
from agent.service.settings import EXAMPLE_SECRET
from tests.e2e.agents import Place
from tests.e2e.test_keys import facepay


def flags(place: Place, config: Path) -> list[str | Path]:
    key = place.folder / "key.txt"
    key.write_bytes(EXAMPLE_SECRET)
    return [
        *("init", "--config", config, "--profile", "demo", "--site", "shop-1", "--terminal", "terminal-1"),
        *("--broker", f"mqtt://127.0.0.1:{place.broker.port}", "--api", place.service.url),
        *("--appid", "1250000001", "--bucket", "terminals", "--secret-id", "AKIDEXAMPLEEXAMPLEEXAMPLE"),
        *("--secret-key-file", key, "--camera", "replay:one_obama_podium"),
        *("--storage", place.folder / "state", "--yes"),
    ]


def test_init_with_options_only_writes_a_config_that_passes_the_doctor(place: Place) -> None:
    config = place.folder / "etc" / "agent.toml"
    done = facepay(*flags(place, config))
    assert done.returncode <= 1, done.stdout + done.stderr  # a machine without NTP is a warning
    for line in (
        "✓ camera.detect",
        "✓ api.auth",
        "✓ mqtt.roundtrip",
        "facepay keys trust",
        "systemctl enable",
    ):
        assert line in done.stdout, done.stdout
    loaded = load(config, Config)
    assert (loaded.site, loaded.camera.source) == ("shop-1", "one_obama_podium")
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    secret = config.parent / "credentials" / "secret-key"
    assert secret.read_bytes() == EXAMPLE_SECRET and stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert EXAMPLE_SECRET.decode() not in config.read_text() + done.stdout + done.stderr
    assert config.read_text().count("#") > 50, "the shipped comments stay"
    completed = facepay("keys", "show", "--config", config)
    assert "fingerprint" in completed.stderr


def test_an_existing_config_is_kept_without_force(place: Place) -> None:
    config = place.folder / "agent.toml"
    config.write_text("precious")
    done = facepay(*flags(place, config))
    assert done.returncode == 78 and done.stderr.startswith("config_exists")
    assert config.read_text() == "precious"
    assert facepay(*flags(place, config), "--force", "--no-tests").returncode == 0
    assert (config.parent / "agent.toml.before").read_text() == "precious"


def test_an_unreachable_broker_is_named_and_the_config_is_written(place: Place) -> None:
    config = place.folder / "agent.toml"
    wrong = [str(each).replace(f":{place.broker.port}", ":1") for each in flags(place, config)]
    done = facepay(*wrong)
    assert done.returncode == 2 and "✗ mqtt.connect" in done.stdout and config.exists(), done


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--profile", "shop"), "shop does not run with plain_mqtt"),
        (("--broker", "mqtts://user:word@host"), "without a user or password"),
        (("--broker", "mqtts://user:word@host:x"), "--broker"),
        (("--camera", "stream:rtsps://cam:word@10.0.0.9/ch1"), "--camera: a password"),
        (("--broker", "host:1883"), "mqtts://host:port"),
        (("--site", "a b"), "site"),
        (("--site", 'x"\nprofile = "demo'), "site"),
        (("--camera", "webcam"), "camera.kind"),
        (("--accept", "everything"), "there is no risk"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_invalid_config_is_not_written(place: Place, more: tuple[str, str], message: str) -> None:
    config = place.folder / "agent.toml"
    done = facepay(*flags(place, config), *more)
    assert done.returncode == 78 and message in done.stderr, done.stderr
    assert "word@" not in done.stderr
    assert (
        not config.exists() and not list(config.parent.glob(".*")) and not (place.folder / "state").exists()
    )


def test_init_prompts_for_values_and_does_not_print_the_secret(place: Place) -> None:
    config = place.folder / "agent.toml"
    command = [sys.executable, "-m", "agent.cli", "init", "--config", str(config), "--profile", "demo"]
    answers = [
        "shop-1",
        "terminal-1",
        f"mqtt://127.0.0.1:{place.broker.port}",
        place.service.url,
        "1250000001",
    ]
    answers += ["terminals", "AKIDEXAMPLEEXAMPLEEXAMPLE", "replay:empty", EXAMPLE_SECRET.decode()]
    done = subprocess.run(
        [*command, "--storage", str(place.folder / "state"), "--no-tests"],
        input="\n".join(answers) + "\n",
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done
    assert load(config, Config).compare.secret_id == "AKIDEXAMPLEEXAMPLEEXAMPLE"
    assert EXAMPLE_SECRET.decode() not in done.stdout + done.stderr + config.read_text()


def test_each_risk_of_profile_shop_needs_its_own_confirmation(place: Place) -> None:
    config = place.folder / "agent.toml"
    command = [str(each) for each in flags(place, config) if each != "--yes"]
    command[command.index("demo")] = "shop"
    for answers, code in (("y\n" * 4, 0), ("y\ny\ny\nn\n", 78)):
        config.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "agent.cli", *command, "--no-tests"],
            input=answers,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done
        assert done.stdout.count("Accept this risk?") == 4 and config.exists() == (code == 0)
    assert "shop does not run with liveness_off" in done.stderr


def test_fill_sets_the_values_and_changes_nothing_else() -> None:
    text = config_file("agent.toml").read_text()
    made = fill(
        text, {"site": 'a "quoted" # one', "mqtt.ca_file": "/x", "mqtt.tls": True, "trace.keep_days": 3}
    )
    tree, before = tomllib.loads(made), tomllib.loads(text)
    before["site"], before["trace"]["keep_days"] = 'a "quoted" # one', 3
    before["mqtt"] |= {"ca_file": "/x", "tls": True}
    assert tree == before
    assert "keep_days = 3   # at most 7" in made, "its comment stays"
    assert fill("", {"mqtt.port": 1, "site": "s"}) == 'site = "s"\n\n[mqtt]\nport = 1\n'


@pytest.mark.parametrize(
    "text", ['site = """\na\n"""\n', "mqtt.port = 1\n", 'x = """\n[mqtt]\nport = 2\n"""\n'], ids=range(3)
)
def test_fill_refuses_a_file_that_it_cannot_change_safely(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be set"):
        fill(text, {"site": "s", "mqtt.port": 9})


def test_help_has_an_example() -> None:
    assert "facepay init --site" in facepay("init", "--help").stdout
