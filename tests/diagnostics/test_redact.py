"""The redaction of texts for support."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.bundle_parts import secrets_of, shown_config
from agent.config import Config
from agent.diagnostics.redact import Redactor, forms
from agent.messages.signing import Signer

SECRET = b"Gu5t6xGARNpq86cd98joQYCN3EXAMPLE"


@pytest.mark.parametrize(
    "form",
    [
        lambda raw: raw,
        base64.b64encode,
        lambda raw: base64.b64encode(b"key=" + raw + b";"),
        lambda raw: base64.b64encode(b"a:" + raw),
        base64.urlsafe_b64encode,
        lambda raw: raw.hex().encode(),
        lambda raw: raw.hex().upper().encode(),
        lambda raw: quote(raw, safe="").encode(),
    ],
    ids=["raw", "base64", "inside base64", "basic auth", "base64url", "hex", "HEX", "urlencoded"],
)
@pytest.mark.parametrize("secret", [SECRET, b"p@ss/w+rd?&\xc3\xa9"])
def test_redactor_removes_a_secret_in_every_form(form: Any, secret: bytes) -> None:
    redactor = Redactor({"the key": secret})
    text = b"before " + form(secret) + b" after"
    assert redactor.holds_secret(text) == "the key"
    redacted = redactor.text(text.decode())
    assert not redactor.holds_secret(redacted.encode()) and "before" in redacted and "after" in redacted


@given(st.binary(min_size=8, max_size=40), st.binary(max_size=20), st.binary(max_size=20))
def test_a_secret_anywhere_inside_base64_is_found(secret: bytes, before: bytes, after: bytes) -> None:
    raw = base64.b64encode(before + secret.strip() + after)
    assert len(secret.strip()) < 8 or any(form in raw for form in forms(secret.strip()))


def test_a_key_file_counts_line_by_line(tmp_path: Path) -> None:
    signer = Signer.generate()
    signer.save(tmp_path / "key.pem")
    pem = (tmp_path / "key.pem").read_bytes()
    redactor = Redactor({"signing key": pem})
    line = pem.splitlines()[1]
    assert redactor.holds_secret(b"x" + line) == "signing key"
    assert "PRIVATE" not in redactor.text(f"log: {pem.decode()} end") and "end" in redactor.text(
        f"{line!r} end"
    )
    assert "[private key]" in Redactor({}).text(pem.decode()), "an unknown key, too"


@pytest.mark.parametrize(
    ("text", "gone", "left"),
    [
        ("GET https://photos.example/e/8841.jpg?token=t0k3n&x=1", ["8841", "t0k3n"], "photos.example"),
        ("open rtsp://cam:hunter2@10.0.0.9:554/ch1", ["hunter2", "cam:", "ch1"], "10.0.0.9:554"),
        ("open rtsp://cam:hun/ter2@10.0.0.9/ch1", ["hun", "ter2"], "rtsp://"),
        ("open rtsp://cam:hun't,er2@10.0.0.9/ch1", ["hun", "er2"], "rtsp://10.0.0.9"),
        ("page_token_wrong peer=10.0.0.9 mqtt.username=anna", ["10.0.0.9", "anna"], "peer=id-1"),
        ("https://a@b:pw@api.example/face/compare", ["pw"], "https://api.example/face/compare"),
        ("till=anna id=7d444840-9dc0-41d1-b245-5ffdce74fad2", ["anna", "7d444840"], "till=id-1"),
        ('{"till": "anna", "nonce":"9f86d081884c7d659a2feaa0c55ad015"}', ["anna", "9f86"], '"till": "id-1"'),
        ("session=abc-17 code=9", ["abc-17"], "code=9"),
        ("at facepay/v1/s/t/verify/till-anna/request", ["anna"], "v1/s/t/verify/id-1/request"),
        ("/var/lib/facepay-agent/tills/till-anna/56899b295a01ffff.pem", ["anna"], "56899b295a01ffff.pem"),
        ("/home/anna/agent.toml:3", ["anna"], "/home/…/agent.toml:3"),
        (f"crop {'QUJD' * 40}", ["QUJDQUJD"], "[160 characters]"),
        (f"{'/a-long-folder' * 6}/x.pem", [], "/a-long-folder" * 6),
        (f"jws {'x' * 70}..{'y' * 80}", ["xxxx", "yyyy"], "characters]"),
    ],
)  # fmt: skip
def test_text_removes_personal_values_and_keeps_the_others(text: str, gone: list[str], left: str) -> None:
    redacted = Redactor({}).text(text)
    assert not [part for part in gone if part in redacted], redacted
    assert left in redacted


def test_redactor_gives_one_id_the_same_replacement() -> None:
    redactor = Redactor({})
    one, other = "7d444840-9dc0-41d1-b245-5ffdce74fad2", "c9bf9e57-1685-4c89-bafb-ff5af830be8a"
    first = redactor.text(f"asked request_id={one}; result {other}")
    again = redactor.tree({"request_id": one, "result": other})
    assert first == "asked request_id=id-1; result id-2" and again == {"request_id": "id-1", "result": "id-2"}
    assert redactor.text(first) == first, "redaction is idempotent"


def test_redactor_keeps_numbers_words_and_allowed_fingerprints() -> None:
    sha256 = "a59a65bb120ac62d" * 4
    redactor = Redactor({}, frozenset({sha256}))
    tree = {"config_sha256": sha256, "till": {"withheld": 3}, "fps": 9.5, "ok": True, "none": None}
    assert redactor.tree(tree) == tree
    line = (
        "2026-03-14T15:00:00+0000 facepay[812]: info    terminal: result decision=match asks=1 total_ms=640"
    )
    assert redactor.text(line) == line


def test_shown_config_contains_only_allowed_texts(tmp_path: Path) -> None:
    config = Config.model_validate(
        {
            "camera": {"kind": "stream", "source": "rtsp://cam:hunter2@10.0.0.9/ch1?key=k3yk3y"},
            "compare": {"secret_id": "AKIDSECRET", "appid": "125000", "bucket": "b-1", "region": "r-1"},
            "mqtt": {"username": "anna", "password_file": tmp_path / "password"},
        }
    )
    shown = shown_config(config)
    assert (shown["compare"]["appid"], shown["mqtt"]["username"]) == ("[set]", "[set]")
    assert shown["compare"]["region"] == "r-1" and shown["mqtt"]["port"] == 1883
    redacted = str(Redactor(secrets_of(config)).tree(shown))
    for value in ("AKIDSECRET", "hunter2", "k3yk3y", "anna", "125000"):
        assert value not in redacted
    assert "rtsp://10.0.0.9/…" in redacted or "rtsp://" in redacted


def test_shown_config_hides_a_new_text_key() -> None:
    class Newer(Config):
        some_token: str = "t0ken"
        hosts: tuple[str, ...] = ("a", "b")

    shown = shown_config(Newer())
    assert (shown["some_token"], shown["hosts"]) == ("[set]", "[2 set]")
