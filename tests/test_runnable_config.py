"""`config check`, `run` and doctor accept the same configs; each fault names file, line, key and a fix."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.cli.config_bundle import _configs_of
from agent.config import Config
from agent.config.file import load
from agent.diagnostics.check import Verdict
from agent.diagnostics.checks.config import lint, permissions, tills
from agent.errors import ConfigError
from agent.messages.keyring import Keyring
from agent.messages.signing import Signer
from agent.root.daemon import run_until_signal
from agent.root.doctor import inputs_from_file
from agent.root.runnable_config import check_rules, load_runnable_config
from agent.texts import Text
from tests.broker_example.pki import Authority
from tests.commands import facepay
from tests.texts import en, zh

TLS = 'tls = true\nhost = "127.0.0.1"\nport = 9\n'


class ConfigFile:
    """A config that `run` accepts; ``write`` changes lines."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.secret = folder, folder / "agent.toml", folder / "secret"
        self.secret.write_text("a secret")
        self.secret.chmod(0o600)
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        authority = Authority(folder, "ca")
        self.pair, self.other = authority.issue("terminal"), authority.issue("other")
        der, self.encrypted = folder / "der.pem", folder / "encrypted.pem"
        der.write_bytes(_der((folder / "ca.pem").read_bytes()))
        key = ec.generate_private_key(ec.SECP256R1())
        sealed = serialization.BestAvailableEncryption(b"sesame")
        self.encrypted.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
        )

    def write(
        self,
        *,
        top: str = "",
        camera: str = 'source = "empty"\n',
        compare: str = "",
        mqtt: str = "port = 9\n",
        profile: str = "demo",
    ) -> Path:
        account = f'appid = "1"\nsecret_id = "a"\nsecret_key_file = "{self.secret}"\n'
        self.path.write_text(
            f'profile = "{profile}"\n{top}[camera]\n{camera}[compare]\n{compare or account}[mqtt]\n{mqtt}'
            f'[storage]\ndirectory = "{self.state}"\n'
        )
        return self.path

    def pairing(self, cert: Path, key: Path, ca: str = "ca.pem") -> str:
        return f'{TLS}ca_file = "{self.folder / ca}"\ncert_file = "{cert}"\nkey_file = "{key}"\n'


def _der(pem: bytes) -> bytes:
    from cryptography import x509

    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


@pytest.fixture
def place(tmp_path: Path) -> ConfigFile:
    return ConfigFile(tmp_path)


def refused(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_runnable_config(path, with_parts=True)
    assert en(caught.value.fix) and zh(caught.value.fix) and "config check" not in en(caught.value.fix)
    assert caught.value.exit_code == 78
    return caught.value


def is_refused_by_run(path: Path) -> str:
    """The message with which `run` ends."""

    async def run() -> str:
        with pytest.raises(ConfigError) as caught:
            async with asyncio.timeout(60):
                await run_until_signal(load_runnable_config(path), path)
        return str(caught.value)

    return asyncio.run(run())


def account(place: ConfigFile, **other: str) -> str:
    values = {"appid": "1", "secret_id": "a", "secret_key_file": str(place.secret), **other}
    return "".join(f'{key} = "{value}"\n' for key, value in values.items())


TEXT_FAULTS = [
    ("compare", {"appid": ""}, "compare.appid"),
    ("compare", {"secret_id": ""}, "compare.secret_id"),
    ("compare", {"url": "127.0.0.1:18100/face/compare"}, "compare.url"),
    ("compare", {"url": "ftp://127.0.0.1/x"}, "compare.url"),
    ("compare", {"url": "http://127.0.0.1:99999/face/compare"}, "compare.url"),
    ("compare", {"url": "http://xn--a/face/compare"}, "compare.url"),
    ("compare", {"ca_file": "/nowhere/ca.pem", "url": "https://127.0.0.1/x"}, "compare.ca_file"),
    ("mqtt", {"host": "mqtt://127.0.0.1"}, "mqtt.host"),
    ("mqtt", {"host": "[::1]"}, "mqtt.host"),
    ("mqtt", {"host": "127.0.0.1:1883"}, "mqtt.host"),
    ("mqtt", {"host": "broker.example/x"}, "mqtt.host"),
    ("mqtt", {"host": ""}, "mqtt.host"),
    ("camera", {"source": "no_such_scene"}, "camera.source"),
    ("camera", {"source": "/nowhere/film.avi"}, "camera.source"),
    ("camera", {"kind": "stream", "source": "rtsp://viewer:open[sesame@camera.example/1"}, "camera.source"),
]


@pytest.mark.parametrize(("section", "values", "key"), TEXT_FAULTS, ids=lambda each: str(each)[:40])
def test_check_and_run_refuse_the_same_with_file_line_and_key(
    place: ConfigFile, section: str, values: dict[str, str], key: str
) -> None:
    text = account(place, **values) if section == "compare" else _lines(values)
    path = place.write(**{section: text})
    numbered = path.read_text().splitlines()
    line = 1 + next(n for n, each in enumerate(numbered) if each.startswith(f"{key.split('.')[1]} ="))
    error = refused(path)
    assert re.match(rf"{re.escape(str(path))}:{line}: {re.escape(key)}\b", str(error)), str(error)
    assert is_refused_by_run(path) == str(error)


def _lines(values: dict[str, str]) -> str:
    return "".join(f'{key} = "{value}"\n' for key, value in values.items())


def test_load_accepts_a_valid_config_and_an_ip_address(place: ConfigFile) -> None:
    assert load_runnable_config(place.write(), with_parts=True).mqtt.port == 9
    assert (
        load_runnable_config(place.write(mqtt='host = "::1"\nport = 9\n'), with_parts=True).mqtt.host == "::1"
    )
    assert load_runnable_config(
        place.write(mqtt=place.pairing(place.pair.cert, place.pair.key)), with_parts=True
    ).mqtt.tls


def test_check_and_run_refuse_a_config_without_secret_key_file(place: ConfigFile) -> None:
    path = place.write(compare='appid = "1"\nsecret_id = "a"\n')
    error = refused(path)
    assert str(error).startswith(f"{path}:4: compare.secret_key_file")
    assert is_refused_by_run(path) == str(error)


@pytest.mark.parametrize("content", [None, b"", b" \n"])
def test_judged_refuses_a_missing_or_empty_secret_file(place: ConfigFile, content: bytes | None) -> None:
    if content is None:
        place.secret.unlink()
    else:
        place.secret.write_bytes(content)
    error = refused(place.write())
    assert error.code == "secret_missing" and f"compare.secret_key_file: {place.secret}" in str(error)


def test_load_accepts_a_credential_while_the_service_is_stopped(place: ConfigFile) -> None:
    credential = "/run/credentials/facepay-agent.service/secret-key"
    assert load_runnable_config(
        place.write(compare=account(place, secret_key_file=credential)), with_parts=True
    )
    key = Path("/run/credentials/facepay-agent.service/terminal-key.pem")
    assert load_runnable_config(place.write(mqtt=place.pairing(place.pair.cert, key)), with_parts=True)


@pytest.mark.parametrize(
    ("cert", "key", "ca", "named", "words"),
    [
        ("terminal", "other", "ca.pem", "mqtt.key_file", "does not belong to the certificate"),
        ("terminal", "encrypted", "ca.pem", "mqtt.key_file", "is encrypted"),
        ("terminal", "nowhere", "ca.pem", "mqtt.key_file", "No such file"),
        ("nowhere", "terminal", "ca.pem", "mqtt.cert_file", "No such file"),
        ("terminal", "ca", "ca.pem", "mqtt.key_file", "contains no private key"),
        ("key", "terminal", "ca.pem", "mqtt.cert_file", "contains no certificate"),
        ("terminal", "terminal", "der.pem", "mqtt.ca_file", "is DER, not PEM"),
        ("der", "terminal", "ca.pem", "mqtt.cert_file", "is DER, not PEM"),
        ("terminal", "terminal", "secret", "mqtt.ca_file", "is not a PEM file"),
        ("terminal", "terminal", "nowhere.pem", "mqtt.ca_file", "No such file"),
    ],
)
def test_check_and_run_refuse_an_unusable_tls_file_with_the_reason(
    place: ConfigFile, cert: str, key: str, ca: str, named: str, words: str
) -> None:
    certs = {"terminal": place.pair.cert, "key": place.pair.key, "der": place.folder / "der.pem"}
    keys = {
        "terminal": place.pair.key,
        "other": place.other.key,
        "encrypted": place.encrypted,
        "ca": place.pair.cert,
    }
    missing = place.folder / "nowhere"
    path = place.write(mqtt=place.pairing(certs.get(cert, missing), keys.get(key, missing), ca))
    error = refused(path)
    assert error.code == "tls_file_unusable"
    assert re.search(rf":\d+: {re.escape(named)}: .*{re.escape(words)}", str(error)), str(error)
    assert is_refused_by_run(path) == str(error)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_judged_refuses_a_byte_order_mark(place: ConfigFile, mark: bytes) -> None:
    path = place.write()
    path.write_bytes(mark + path.read_bytes())
    error = refused(path)
    assert str(error) == f"{path}:1: begins with a byte order mark" and "UTF-8" in en(error.fix)


SHOP = (
    "accepted_risks = ['plain_mqtt', 'plain_http_compare', 'replay_camera', 'liveness_off']\n"
    "inline_reference = true\n"
)


@pytest.mark.parametrize(
    ("ids", "key"),
    [("site = 'site'\nterminal = 't-1'\n", "site"), ("site = 's-1'\n", "terminal"), ("", "site")],
)
def test_check_and_doctor_refuse_a_placeholder_in_profile_shop(place: ConfigFile, ids: str, key: str) -> None:
    path = place.write(profile="shop", top=SHOP + ids)
    assert re.search(rf"{key}: still the placeholder", str(refused(path)))
    with pytest.raises(ConfigError, match=f"{key}: still the placeholder"):
        lint(inputs_from_file(path))
    assert load_runnable_config(place.write(top=ids)), "profile demo may keep them"
    _configs_of([place.write(profile="shop", top=SHOP)])  # a bundle for every terminal has no ids


def shop(place: ConfigFile) -> Path:
    return place.write(profile="shop", top=f"{SHOP}site = 's-1'\nterminal = 't-1'\n")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702, 0o1777])
def test_a_state_directory_that_others_can_write_is_refused_by_run_check_and_doctor(
    place: ConfigFile, mode: int
) -> None:
    path = shop(place)
    assert load_runnable_config(path, with_parts=True).profile == "shop"
    place.state.chmod(mode)
    error = refused(path)
    assert error.code == "state_exposed" and f"mode {mode:04o}" in str(error)
    assert re.search(r":\d+: storage\.directory: ", str(error))
    with pytest.raises(ConfigError, match=r"storage\.directory"):
        check_rules(load(path, Config))
    with pytest.raises(ConfigError, match=r"storage\.directory"):
        permissions(inputs_from_file(path))


@pytest.mark.parametrize("profile", ["shop", "demo"])
@pytest.mark.parametrize("below", ["", "below/it"])
def test_a_file_in_the_place_of_the_state_directory_is_refused(
    place: ConfigFile, profile: str, below: str
) -> None:
    """Otherwise run ends with advice about a key, and the doctor with a defect of the program."""
    path = shop(place) if profile == "shop" else place.write()
    file = place.state.with_name("a-file")
    file.touch()
    path.write_text(path.read_text().replace(f'"{place.state}"', f'"{file / below}"'))
    error = refused(path)
    assert f"storage.directory: {file} is not a directory" in str(error)
    assert error.fix == Text("fix.storage_not_a_directory")
    with pytest.raises(ConfigError, match="is not a directory"):
        permissions(inputs_from_file(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change an owner")
def test_a_state_directory_of_another_user_is_refused(place: ConfigFile) -> None:
    path = shop(place)
    os.chown(place.state, 12_345, -1)
    assert "belongs to user 12345" in str(refused(path))


def test_a_config_file_that_shows_a_password_to_every_user_is_a_warning(place: ConfigFile) -> None:

    path = place.write(camera='kind = "stream"\nsource = "rtsp://viewer:open-sesame@127.0.0.1/1"\n')
    path.chmod(0o644)
    output = facepay("config", "check", "--config", path)
    assert (
        output.returncode == 0 and "every user can read it" in output.stdout and "sesame" not in output.stdout
    )
    found = permissions(inputs_from_file(path))
    assert found.verdict is Verdict.WARN and "camera.source" in found.why
    path.chmod(0o640)
    assert "warning" not in facepay("config", "check", "--config", path).stdout
    assert permissions(inputs_from_file(path)).verdict is Verdict.PASS


def test_shop_without_till_key_fails_keys_tills_and_warns_in_config_check(place: ConfigFile) -> None:
    path = shop(place)
    inputs = inputs_from_file(path)
    found = tills(inputs)
    assert found.verdict is Verdict.FAIL and "signature_missing" in found.why
    assert found.remedy and "sudo facepay keys trust TILL TILL.pem" in en(found.remedy) and zh(found.remedy)
    output = facepay("config", "check", "--config", path)
    assert output.returncode == 0 and "warning: no till has a usable key" in output.stdout
    assert "keys trust TILL" in output.stdout
    ring = Keyring(place.state)
    ring.trust("till-1", Signer.generate().public)
    assert tills(inputs).verdict is Verdict.PASS
    assert "warning" not in facepay("config", "check", "--config", path).stdout
    ring.trust("till-2", Signer.generate().public).write_bytes(b"no key")
    found = tills(inputs)
    assert found.verdict is Verdict.WARN and "till-2" in found.why
    (place.state / "tills" / "till-1").rename(place.folder / "till-1")
    assert tills(inputs).verdict is Verdict.FAIL, "a file that is no key is no usable key"


def test_accepted_unsigned_requests_need_no_till_key(place: ConfigFile) -> None:
    risks = SHOP.replace("]", ", 'unsigned_requests']")
    path = place.write(profile="shop", top=f"{risks}site = 's-1'\nterminal = 't-1'\n")
    assert tills(inputs_from_file(path)).verdict is Verdict.SKIP
    assert "warning" not in facepay("config", "check", "--config", path).stdout


def test_state_directory_that_does_not_exist_yet_gives_no_till_warning(place: ConfigFile) -> None:
    path = shop(place)
    place.state.rmdir()
    assert "warning" not in facepay("config", "check", "--config", path).stdout


PHOTOS = {
    "neither": ("", "", False),
    "inline": ("inline_reference = true\n", "", True),
    "host": ("", "reference_hosts = ['photos.example']\n", True),
    "passthrough": ("", "reference = 'passthrough'\n", True),
}


@pytest.mark.parametrize("case", PHOTOS)
def test_shop_that_accepts_no_photo_is_refused_by_run_check_and_doctor(place: ConfigFile, case: str) -> None:
    inline, compare, accepted = PHOTOS[case]
    top = SHOP.replace("inline_reference = true\n", inline).replace("]", ", 'reference_passthrough']")
    ids = "site = 's-1'\nterminal = 't-1'\n"
    path = place.write(profile="shop", top=top + ids, compare=account(place) + compare)
    if accepted:
        assert load_runnable_config(path, with_parts=True).profile == "shop"
        assert lint(inputs_from_file(path)).verdict is Verdict.PASS
        return
    error = refused(path)
    assert re.search(r":\d+: compare\.reference_hosts: neither a photo host nor inline photos", str(error))
    assert "neither a photo host" in is_refused_by_run(path)
    with pytest.raises(ConfigError, match="neither a photo host"):
        lint(inputs_from_file(path))


IMPOSSIBLE = {
    "[vision]\nconfidence = 1.0\n": "vision.confidence: must be less than or equal to 0.99, not 1.0",
    "[policy]\nmin_sharpness = 100\n": "policy.min_sharpness: must be less than or equal to 95.0, not 100",
    "[policy]\nmin_face_px = 5000\n": "policy.min_face_px: must be less than or equal to 4096, not 5000",
    f"[policy]\nmin_face_px = {10**22}\n": "policy.min_face_px: ",
    "[policy]\nmin_face_px = 700\n": "policy.min_face_px: a face of min_face_px = 700 is not smaller than",
    "[policy]\nmax_face_fraction = 0.01\n": "policy.max_face_fraction: a face of min_face_px = 100 is not",
    "[verification]\nask_timeout_ms = 1\n": "verification.ask_timeout_ms: must be greater than or equal to",
    "[verification]\nbudget_ms = 2000\n[liveness]\nmode = 'challenge'\nturns = 3\n": (
        "liveness.turns: 3 head turns need at least 4350 ms, more than verification.budget_ms = 2000"
    ),
}


@pytest.mark.parametrize("text", IMPOSSIBLE)
def test_values_with_which_no_payment_succeeds_are_refused_with_file_line_and_key(
    place: ConfigFile, text: str
) -> None:
    path = place.write()
    path.write_text(path.read_text() + text)
    error = refused(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: ", str(error)) and IMPOSSIBLE[text] in str(error)
    with pytest.raises(ConfigError, match=re.escape(IMPOSSIBLE[text])):
        lint(inputs_from_file(path))


def test_frame_period_threshold_and_inline_request_size_are_bounded(place: ConfigFile) -> None:
    path = place.write(camera='source = "empty"\nfps = 0.05\n')
    assert "camera.fps: 0.05 is one frame in 20000 ms; the period must be shorter" in str(refused(path))
    path = place.write(compare=account(place) + "threshold = 100\n")
    assert "compare.threshold: must be less than 100.0, not 100" in str(refused(path))
    path = place.write(top="inline_reference = true\n", mqtt="request_max_bytes = 1024\n")
    assert "mqtt.request_max_bytes: 1024 is too small for a photo" in str(refused(path))
    assert load_runnable_config(place.write(mqtt="port = 9\nrequest_max_bytes = 1024\n"), with_parts=True)


def test_face_limits_apply_to_the_turned_picture(place: ConfigFile) -> None:
    camera = 'source = "empty"\nrotation = 90\n'
    path = place.write(camera=camera)
    path.write_text(path.read_text() + "[policy]\nmin_face_px = 700\n")
    assert load_runnable_config(path, with_parts=True).policy.min_face_px == 700, "1280 px high"
