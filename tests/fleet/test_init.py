"""``facepay init``: from nothing to a valid config with a key; the remaining problems are named."""

from __future__ import annotations

import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from agent.config import Config
from agent.config.file import load
from agent.config.profile import risks_of
from agent.errors import ConfigError
from agent.fleet import machine
from agent.fleet.toml_edit import set_values
from agent.resources import config_file
from agent.service.settings import EXAMPLE_SECRET
from agent.texts import Text
from tests.e2e.agents import Place
from tests.e2e.test_keys import facepay
from tests.texts import en, zh

RISKS = ("plain_mqtt", "plain_http_compare", "replay_camera", "liveness_off")


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
        "facepay run --config",
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
        (
            ("--profile", "shop", *(each for name in RISKS for each in ("--accept", name))),
            "neither a photo host",
        ),
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
def test_an_invalid_config_is_not_written(place: Place, more: tuple[str, ...], message: str) -> None:
    config = place.folder / "agent.toml"
    done = facepay(*flags(place, config), *more)
    assert done.returncode == 78 and message in done.stderr, done.stderr
    assert "word@" not in done.stderr
    assert "candidate" not in done.stderr and "config/agent.toml" not in done.stderr, (
        "the operator edits no file"
    )
    assert (
        not config.exists() and not list(config.parent.glob(".*")) and not (place.folder / "state").exists()
    )


def prompted(place: Place, config: Path, answers: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    """`init` with the answers as lines of stdin, without its tests."""
    command = ("init", "--config", config, "--profile", "demo", "--storage", place.folder / "state")
    return facepay(*command, "--no-tests", *more, answers="\n".join(answers) + "\n")


KEY = "a-key-that-is-not-published"


def test_init_prompts_for_values_and_does_not_print_the_secret(place: Place) -> None:
    config = place.folder / "agent.toml"
    answers = ["shop-1", f"mqtt://127.0.0.1:{place.broker.port}", place.service.url, "1250000001"]
    answers += ["terminals", "AKIDOTHER", "replay:empty", "photos.example", KEY]
    done = prompted(place, config, answers, "--terminal", "terminal-1")
    assert done.returncode == 0, done
    loaded = load(config, Config)
    assert (loaded.compare.secret_id, loaded.compare.reference_hosts) == ("AKIDOTHER", ("photos.example",))
    assert (config.parent / "credentials" / "secret-key").read_text() == KEY
    assert KEY not in done.stdout + done.stderr + config.read_text()


def test_each_answer_is_judged_at_once_and_the_question_is_repeated(place: Place) -> None:
    config = place.folder / "agent.toml"
    answers = [
        "a b",
        "shop-1",
        "host:1883",
        f"mqtt://127.0.0.1:{place.broker.port}",
        "ftp://x",
        place.service.url,
    ]
    answers += ["", "12 5", "1250000001", "", "AKIDOTHER", "webcam", "replay:no-such-scene", "replay:empty"]
    done = prompted(place, config, [*answers, "inline", KEY], "--terminal", "terminal-1")
    assert done.returncode == 0, done
    wanted = ["site: ", "--broker: ", "compare.url: ", "required", "compare.appid: "]
    wanted += ["camera.kind: ", "camera.source: "]
    found = [key for line in done.stderr.splitlines() for key in wanted if key in line]
    assert found == wanted, done.stderr
    assert load(config, Config).inline_reference


def test_init_does_not_ask_for_values_that_the_machine_shows(place: Place) -> None:
    """With the compare service of this machine: no question for the terminal, the account and its key."""
    config = place.folder / "agent.toml"
    broker = f"mqtt://127.0.0.1:{place.broker.port}"
    done = prompted(
        place, config, ["shop-1", broker, "http://127.0.0.1:8100/face/compare", "replay:empty", "inline"]
    )
    assert done.returncode == 0, done
    loaded = load(config, Config)
    assert (loaded.compare.appid, loaded.compare.bucket) == ("1250000001", "terminals")
    assert loaded.terminal == machine.terminal_id() != ""
    assert (config.parent / "credentials" / "secret-key").read_bytes() == EXAMPLE_SECRET


def test_init_does_not_edit_the_config_of_the_package(place: Place) -> None:
    config, own = place.folder / "agent.toml", place.folder / "agent.d" / "50-terminal.toml"
    shipped = config_file("agent.toml").read_bytes()
    config.write_bytes(shipped)
    assert facepay(*flags(place, config), "--no-tests").returncode == 0
    assert config.read_bytes() == shipped and stat.S_IMODE(own.stat().st_mode) == 0o640
    loaded = load(config, Config)
    assert (loaded.site, loaded.profile, loaded.mqtt.port) == ("shop-1", "demo", place.broker.port)
    assert own.read_text().startswith("# The keys of this terminal")
    again = facepay(*flags(place, config), "--no-tests")
    assert again.returncode == 78 and again.stderr.startswith(f"config_exists: {own}")
    assert facepay(*flags(place, config), "--force", "--site", "shop-2", "--no-tests").returncode == 0
    assert load(config, Config).site == "shop-2" and config.read_bytes() == shipped
    assert 'site = "shop-1"' in own.with_name(f"{own.name}.before").read_text()


def test_init_with_a_folder_as_config_names_the_folder(place: Place) -> None:
    refused = facepay(*flags(place, place.folder), "--no-tests")
    assert refused.returncode == 78 and refused.stderr.startswith(f"config_exists: {place.folder}")


def test_each_risk_has_a_sentence() -> None:
    for name in risks_of(Config()):
        assert en(Text(f"risk.{name}")).startswith(f"{name}: ") and zh(Text(f"risk.{name}")).startswith(name)


def test_each_risk_of_profile_shop_needs_its_own_confirmation(place: Place) -> None:
    config = place.folder / "agent.toml"
    command = [str(each) for each in flags(place, config) if each != "--yes"]
    command[command.index("demo")] = "shop"
    for answers, code in (("inline\n" + "y\n" * 4, 0), ("inline\ny\ny\ny\nn\n", 78)):
        config.unlink(missing_ok=True)
        done = facepay(*command, "--no-tests", answers=answers)
        assert done.returncode == code, done
        assert done.stdout.count("Accept this risk?") == 4 and config.exists() == (code == 0)
    assert "shop does not run with liveness_off: no config is written" in done.stderr
    assert "candidate" not in done.stderr, "no file that the operator cannot find"


def test_fill_sets_the_values_and_changes_nothing_else() -> None:
    text = config_file("agent.toml").read_text()
    made = set_values(
        text, {"site": 'a "quoted" # one', "mqtt.ca_file": "/x", "mqtt.tls": True, "trace.keep_days": 3}
    )
    tree, before = tomllib.loads(made), tomllib.loads(text)
    before["site"], before["trace"]["keep_days"] = 'a "quoted" # one', 3
    before["mqtt"] |= {"ca_file": "/x", "tls": True}
    assert tree == before
    assert "keep_days = 3   # at most 7" in made, "its comment stays"
    assert set_values("", {"mqtt.port": 1, "site": "s"}) == 'site = "s"\n\n[mqtt]\nport = 1\n'


@pytest.mark.parametrize(
    "text", ['site = """\na\n"""\n', "mqtt.port = 1\n", 'x = """\n[mqtt]\nport = 2\n"""\n'], ids=range(3)
)
def test_fill_refuses_a_file_that_it_cannot_change_safely(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be set"):
        set_values(text, {"site": "s", "mqtt.port": 9})


def test_help_has_an_example() -> None:
    assert "facepay init --site" in facepay("init", "--help").stdout
