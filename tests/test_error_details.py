"""The detail of each error that an operator can read is a text in every language."""

from __future__ import annotations

import ast
import datetime
import errno
import socket
import sqlite3
import ssl
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

import agent
from agent import errors
from agent.camera.simulated.scene import Scene
from agent.config import Config
from agent.config.file import Section, load
from agent.errors import AgentError, ConfigError, WrongValueError, failure_at, reason_of
from agent.service.settings import ServiceConfig
from agent.texts import Text, placeholders, read
from tests.texts import en, zh

AGENT = Path(agent.__file__).parent
CLASSES = {name for name, kind in vars(errors).items() if isinstance(kind, type)} - {
    "Retry",
    "StrEnum",
    "Text",
}
CLASSES |= {"camera_error", "ConnectFailure", "absent", "errors.absent", "stalled", "errors.stalled"}
CLASSES |= {"refusal", "Rejected", "malformed", "WrongValueError", "KeyRepeatedError"}
FINDINGS = {"failed", "warning", "skipped", "passed"}
# What another program reads: the answers of the compare service, and the refusals in messages to a till.
ENGLISH_ONLY = (
    "service/",
    "messages/decode.py",
    "messages/diagnosis.py",
    "messages/fields.py",
    "till/inbound.py",
)
DETAIL_IS_SECOND = {"camera_error", "refusal", "Rejected", "client_error"}


def is_english(node: ast.expr, names: dict[str, list[ast.expr]]) -> bool:
    """Whether an argument is an English sentence: a literal, an f-string, ``str(...)``, or a name for one."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr() | ast.BinOp():
            return True
        case ast.Call(func=ast.Name(id="str")) | ast.Call(func=ast.Attribute(attr="join")):
            return True
        case ast.IfExp():
            return is_english(node.body, names) or is_english(node.orelse, names)
        case ast.Name(id=name):
            return any(is_english(value, {}) for value in names.get(name, []))
        case _:
            return False


def assigned(function: ast.AST) -> dict[str, list[ast.expr]]:
    """The values that each name gets in a function, also in a tuple."""
    found = dict[str, list[ast.expr]]()
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for name, value in pairs:
                if isinstance(name, ast.Name):
                    found.setdefault(name.id, []).append(value)
    return found


def english_details(source: str, calls: set[str]) -> Iterator[str]:
    """``line: argument`` of each call whose detail is an English sentence without a key."""
    functions = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for function in functions:
        names = assigned(function)
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in calls or not node.args:
                continue
            at = int(ast.unparse(node.func) in DETAIL_IS_SECOND)
            if len(node.args) > at and is_english(node.args[at], names):
                yield f"{node.lineno}: {ast.unparse(node.args[at])}"


def test_every_error_and_finding_that_an_operator_can_read_has_a_key() -> None:
    """A new detail without a key fails here: add it to [detail] in messages/*.toml."""
    found = [
        f"{path.relative_to(AGENT)}:{each}"
        for path in sorted(AGENT.rglob("*.py"))
        if not str(path.relative_to(AGENT)).startswith(ENGLISH_ONLY)
        for each in english_details(path.read_text(encoding="utf-8"), CLASSES | FINDINGS)
    ]
    assert found == []


@pytest.mark.parametrize(
    "body",
    [
        "raise ConfigError('x')",
        "raise ConfigError(f'{x}')",
        "raise CameraError(str(x))",
        "why, fix = f'{x}', 1; raise TillError(why)",
        "return failed('x', fix)",
        "return camera_error(CAMERA_ABSENT, 'x')",
        "raise refusal('bundle_old', f'{x}')",
        "raise malformed('x')",
    ],
)
def test_a_detail_without_a_key_is_found(body: str) -> None:
    assert list(english_details(f"def f(x, fix):\n    {body}\n", CLASSES | FINDINGS))


def given(call: ast.Call) -> set[str] | None:
    """The facts of a ``Text`` call; None when a mapping is unpacked."""
    names = [keyword.arg for keyword in call.keywords]
    return None if None in names else {str(name) for name in names}


def test_every_text_gets_the_facts_of_its_placeholders() -> None:
    english, found = read(AGENT / "data/messages/en.toml"), list[str]()
    for path in sorted(AGENT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        # ``Text(key).template(locale)`` has no facts
        templates = {
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "template"
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "Text" and node.args):
                continue
            key = node.args[0]
            name = str(key.value) if isinstance(key, ast.Constant) else ""
            if (
                name
                and given(node) not in (None, placeholders(english[name]))
                and node.lineno not in templates
            ):
                found.append(f"{path.relative_to(AGENT)}:{node.lineno}: {name}")
    assert found == []


# --- values of a config -------------------------------------------------------------------------

DAY = datetime.datetime(2026, 1, 1)
VALUES: tuple[object, ...] = (
    *(1, 0, -1, 10**6, 10**30, 1.5, float("nan"), float("inf"), True, "", "x", "1", "9" * 5_000, "\0"),
    *([], ["x"], [1], {}, {"x": 1}, [{}], [{"x": 1}], DAY, DAY.date(), DAY.time()),
)


def keys_of(kind: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in kind.model_fields.items():
        yield (*path, name)
        for inner in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, Section):
                yield from keys_of(inner, (*path, name))


def faults_of(kind: type[Section]) -> Iterator[tuple[str, object]]:
    """(type, error) of each fault that a value of TOML in place of any key causes."""
    for path in keys_of(kind):
        for value in VALUES:
            tree: object = value
            for name in reversed(path):
                tree = {name: tree}
            try:
                kind.model_validate(tree)
            except ValidationError as error:
                for each in error.errors():
                    yield each["type"], each.get("ctx", {}).get("error")


def test_no_validator_of_a_config_raises_a_value_error_without_a_text() -> None:
    found = [
        f"{path.relative_to(AGENT)}:{node.lineno}"
        for path in [*(AGENT / "config").glob("*.py"), AGENT / "service/settings.py"]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ValueError"
    ]
    assert found == []


@pytest.mark.parametrize("kind", [Config, ServiceConfig, Scene])
def test_every_fault_of_a_value_has_a_text(kind: type[Section]) -> None:
    english, found = read(AGENT / "data/messages/en.toml"), set[str]()
    for name, error in faults_of(kind):
        found.add(name)
        if name == "value_error":
            assert isinstance(error, WrongValueError), error
        else:
            assert f"value.{name}" in english
    assert {"extra_forbidden", "int_type"} <= found


@pytest.mark.parametrize(
    ("text", "english", "chinese"),
    [
        ("[compare]\nthreshold = 101\n", "2: compare.threshold: must be less than 100.0, not 101", "100"),
        ("profile = 'x'\n", "1: profile: must be one of 'demo', 'shop'", "其中之一"),
        ("colour = 1\n", "1: colour: unknown key", "未知的键"),
        ("[mqtt]\nhost = '[::1]'\n", "2: mqtt.host: the host name or IP address alone", "方括号"),
        ("site = 1\nterminal = 2\n", "1: site: must be a text in quotation marks (and 1 more)", "另有 1 处"),
        ("site = \n", "not TOML: ", "不是 TOML"),
    ],
)
def test_a_wrong_config_is_named_in_both_languages(
    tmp_path: Path, text: str, english: str, chinese: str
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, Config)
    assert str(caught.value).startswith(f"{file}") and english in str(caught.value)
    assert isinstance(caught.value.detail, Text) and chinese in zh(caught.value.detail)


# --- errors of libraries ------------------------------------------------------------------------


def verification_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "from OpenSSL"
    return error


def sqlite_error() -> sqlite3.Error:
    try:
        sqlite3.connect("/dev/null/x")
    except sqlite3.Error as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "english", "chinese"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device", "磁盘空间已满"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known", "没有此主机名"),
        (verification_error(10), "certificate has expired", "证书已过期"),
        (sqlite_error(), "unable to open database file", "无法打开数据库文件"),
        (AgentError(Text("detail.no_frame")), "no frame", "收不到"),
    ],
    ids=["errno", "resolver", "certificate", "sqlite", "agent"],
)
def test_the_usual_errors_of_libraries_have_texts(error: Exception, english: str, chinese: str) -> None:
    text = failure_at("here", error)
    assert en(text).startswith("here: ") and english in en(text) and chinese in zh(text)


def test_an_unknown_error_is_quoted_or_named() -> None:
    assert reason_of(OSError(errno.EXDEV, "Invalid cross-device link")) == "Invalid cross-device link"
    assert reason_of(ValueError("from a library")) == "from a library"
    assert reason_of(TimeoutError()) == "TimeoutError"
    assert reason_of(verification_error(94)) == "from OpenSSL"
