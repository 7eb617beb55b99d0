"""No output, log line, bundle or message contains a secret of the config."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from agent.cli.bundle_parts import secrets_of, shown_config
from agent.compare.base import check_endpoint
from agent.config import Config
from agent.config.file import Secret
from agent.config.secret_files import keys_with_secret, secret_files, secret_urls, without_secrets
from agent.config.stream_url import parse
from agent.diagnostics.redact import Redactor
from agent.errors import ConfigError
from agent.log import _Formatter, facts, without_url_secrets
from tests.commands import facepay

PARTS = ("viewer", "open-sesame", "stream1", "t0k3n-of-the-camera")
URL = "rtsp://viewer:open-sesame@camera.example:554/stream1?token=t0k3n-of-the-camera"


def stream(**more: object) -> Config:
    return Config.model_validate({"profile": "demo", "camera": {"kind": "stream", "source": URL, **more}})


@pytest.mark.parametrize("options", [(), ("--json",), ("--section", "camera")])
def test_config_show_prints_no_secret_of_an_address(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'profile = "demo"\n[camera]\nkind = "stream"\nsource = "{URL}"\n')
    output = facepay("config", "show", "--config", path, *options).stdout
    assert "rtsp://…@camera.example:554/stream1?…" in output
    assert not [part for part in ("viewer", "sesame", "t0k3n") if part in output]


def test_redactor_keeps_only_host_and_port_of_a_stream() -> None:
    """A replacement of the password before the url splits the url: user, path and query would stay."""
    redactor = Redactor(secrets_of(stream()))
    for text in (URL, f"cannot open {URL}, again", json.dumps({"source": URL}), str(shown_config(stream()))):
        reported = redactor.text(text)
        assert "rtsp://camera.example:554/…" in reported
        assert not [part for part in PARTS if part in reported], reported


def test_redactor_removes_a_stream_address_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "camera-source"
    file.write_text(f"{URL}\n")
    config = Config.model_validate({"camera": {"kind": "stream", "source_file": file}})
    redactor = Redactor(secrets_of(config))
    assert redactor.holds_secret(b"x open-sesame x") and redactor.holds_secret(b"t0k3n-of-the-camera")
    assert "sesame" not in redactor.text(f"{URL} and open-sesame")


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://u:open-sesame@h/",
        "mqtts://u:p/open-sesame@h:8883",
        "rtsp://u:p?open-sesame@h/",
        "rtsp://u:open[sesame@h/x",
        "HTTPS://h/x?secret=open-sesame",
        "http://h/x#open-sesame",
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_log_line_contains_no_secret_of_a_url(url: str, as_json: bool) -> None:
    formatter = _Formatter(json_lines=as_json)
    try:
        raise ValueError(f"cannot open {url} now")
    except ValueError as error:
        record = logging.LogRecord(
            "agent.camera", logging.ERROR, "x.py", 1, f"lost {url}", (), (type(error), error, None)
        )
    record.__dict__.update(facts(why=f"cannot open {url}", source=url))
    line = formatter.format(record)
    assert "sesame" not in line and "t0k3n" not in line and "cannot open" in line


@pytest.mark.parametrize("text", ["http://127.0.0.1:8100/face/compare", "mqtt://h", "no url: a@b", "✓ 正在"])
def test_without_url_secrets_keeps_other_texts(text: str) -> None:
    assert without_url_secrets(text) == text


@pytest.mark.parametrize("mark", ['"', "'", "<", ">", " "])
@pytest.mark.parametrize("form", ["https://viewer:open{}sesame@h/x", "https://h/x?key='open{}sesame'"])
def test_marks_in_an_address_hide_no_part_of_it(mark: str, form: str) -> None:
    config = Config.model_validate({"profile": "demo", "compare": {"url": form.format(mark)}})
    assert not re.search("viewer|open|sesame", json.dumps(without_secrets(config)["compare"]["url"]))
    assert keys_with_secret(config) == ["compare.url"]


@pytest.mark.parametrize("mark", ['"', "'", "<", ">"])
def test_marks_in_a_stream_address_are_refused(mark: str) -> None:
    """A log line could not be cleaned of them: they end an address there."""
    with pytest.raises(ValueError, match="percent-encode") as caught:
        parse(f"rtsp://viewer:open{mark}sesame@h/x")
    assert "sesame" not in str(caught.value)


def test_an_unusable_api_address_is_not_quoted() -> None:
    config = Config.model_validate({"compare": {"url": "https://viewer:sesame/open@h/"}})
    with pytest.raises(ConfigError) as caught:
        check_endpoint(config.compare, allows_plain_http=False, floor=75)
    assert "sesame" not in str(caught.value)


def fields(model: type[BaseModel], where: str = "") -> dict[str, tuple[object, list[object]]]:
    """Every field of a section tree, by key, with its type and marks."""
    found = dict[str, tuple[object, list[object]]]()
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= fields(inner, f"{where}{name}.")
        elif inner is not None:
            found[f"{where}{name}"] = (inner, list(field.metadata))
    return found


def test_each_key_that_looks_like_a_secret_is_marked() -> None:
    """The test finds a new field with a secret by its name: mark the field or list it here."""
    public = {"camera.ca_file", "compare.ca_file", "mqtt.ca_file", "mqtt.cert_file", "page.cert_file"}
    for key, (_, marks) in fields(Config).items():
        name = key.rpartition(".")[2]
        if name.endswith("_file") and key not in public:
            assert Secret.FILE in marks, f"{key}: mark it as Secret.FILE"
        if re.fullmatch(r"url|source|.*_url", name):
            assert Secret.URL in marks, f"{key}: mark it as Secret.URL"
        assert not re.search(r"password$|token$|secret$|secret_key$", name), (
            f"{key}: a secret comes from a file"
        )


def test_lists_of_secrets_contain_all_marked_fields() -> None:
    marked = {key for key, (_, marks) in fields(Config).items() if Secret.FILE in marks}
    tree: dict[str, dict[str, str]] = {}
    for key in marked:
        section, _, name = key.rpartition(".")
        tree.setdefault(section, {})[name] = "/x"
    tree["camera"]["kind"] = "stream"
    tree["page"]["cert_file"] = "/x"
    assert set(secret_files(Config.model_validate(tree))) == marked
    assert set(secret_urls(Config())) <= {"camera.source", "compare.url"}


def test_keys_with_secret_names_urls_with_secrets() -> None:
    assert keys_with_secret(stream()) == ["camera.source"]
    assert keys_with_secret(Config()) == []
    assert without_secrets(Config()) == Config().model_dump(mode="json")
