"""Redaction of texts for support: no secrets, urls without their secrets, ids of sales replaced. Pure.

An id becomes `id-1`, `id-2` …, the same in the whole bundle, so that support can group the lines of one sale.
The original id cannot be recovered. Kept for support: site, terminal, hosts, ports, codes, numbers. Removed:
ids of requests, results, sales, consents and tills, nonces, epochs, session ids of the API, urls of enrolled
photos, names of home folders.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from agent.config import Config
from agent.texts import Text, json_field_names, locales

SECRET_MIN_BYTES = 6  # a shorter secret would match in every text
_API_PATH = "/face/compare"  # of the contract, the same on each terminal

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
)
_URL = re.compile(
    r"\b([a-z][a-z0-9+.-]{1,15})://(?:[^\s/?#\"@]*@)*([^\s/?#\"'@,;)\]}]*)([^\s\"',;)\]}]*)", re.I
)
_UUID = re.compile(r"\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b", re.I)
_HEX = re.compile(r"\b[0-9a-f]{24,}\b", re.I)
_LONG = re.compile(r"[A-Za-z0-9+/_=-]{60,}(?:\.[A-Za-z0-9+/_=-]*)*")
_NAMED = re.compile(
    r"\b(till|operator|who|username|peer|session|session_id|transaction_id|consent_ref|request_id|result_id|nonce|epoch|request)"
    r"(\"?\s*[=:]\s*\"?)([^\s\"',;)\]}{[]+)"
)
_FOLDER = re.compile(r"\b(tills|operators)/([A-Za-z0-9_-]{1,64})(?=/|\b)")
_TOPIC = re.compile(r"\b(verify|diag)/([A-Za-z0-9_-]{1,64})/")
_MARK = re.compile("\ue000([0-9]{1,4})\ue001")  # private use characters are in no url, id or path
_HOME = re.compile(r"/home/[^/\s\"']+")
_NAMES = ("till", "operator", "session", "transaction_id", "consent_ref", "request_id", "result_id", "nonce")
_VALUE_MIN_CHARS = 4
# values that are also common words of reports: a report must stay readable
_COMMON_WORDS = {"demo", "shop", "till", "broker", "site", "terminal", "replay", "stream", "fetch", "info"}
_PATH = re.compile(r"(?<![\w/<])/(?:[\w.~+@-]+/?)+")
_PORT = re.compile(r"(?<=>)(?<!config file>):\d{1,5}\b")
_ADDRESS = re.compile(
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{1,4})*::[0-9a-f:]*(?:%\w+)?"
    r"|\b(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}\b",
    re.I,
)
_LOG_LINE = r"({before})(?:\{{.*?\"event\": \"([\w ]+)\"|\w+\s+[\w.]+: (\w+))?.*"


def forms(secret: bytes) -> Iterator[bytes]:
    """The forms of a secret in a file: raw, base64 (three alignments), hex, url-encoded."""
    yield secret
    for pad in range(3):
        whole = base64.b64encode(b"\0" * pad + secret).rstrip(b"=")
        # only digits that depend on the secret alone
        part = whole[-(-pad * 8 // 6) : (pad + len(secret)) * 8 // 6]
        if len(part) >= SECRET_MIN_BYTES:
            yield part
            yield part.translate(bytes.maketrans(b"+/", b"-_"))
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield quote(secret, safe="").encode()


def _secret_lines(value: bytes) -> list[bytes]:
    """The lines of a key file without its frame, or the one value of another file; not those too short."""
    lines = value.split(b"\n") if b"-----BEGIN" in value else [value.strip()]
    return [line for line in lines if len(line) >= SECRET_MIN_BYTES and not line.startswith(b"-----")]


class Redactor:
    """Redacts the texts of one bundle. ``secrets``: name → value; each line of a key file is a secret."""

    def __init__(self, secrets: Mapping[str, bytes], keep: frozenset[str] = frozenset()) -> None:
        """``keep``: fingerprints that are not redacted, e.g. the config's."""
        self._keep = keep
        self._ids = dict[str, str]()
        self._secrets = dict[bytes, str]()  # form of a secret → name of the secret
        for name, value in secrets.items():
            for line in _secret_lines(value):
                self._secrets |= {form: name for form in forms(line) if len(form) >= SECRET_MIN_BYTES}
        self._names = sorted(set(self._secrets.values()))
        longest = sorted(self._secrets, key=len, reverse=True)
        self._secret_pattern = re.compile(b"|".join(map(re.escape, longest))) if longest else None

    def holds_secret(self, raw: bytes) -> str:
        """The name of a secret in these bytes, in any form; empty when there is none."""
        match = None if self._secret_pattern is None else self._secret_pattern.search(raw)
        return "" if match is None else self._secrets[match[0]]

    def without_secrets(self, text: str) -> str:
        """The text without known secrets, in every form; nothing else is redacted."""
        return self._unmark(self._mark_secrets(text))

    def _mark_secrets(self, text: str) -> str:
        """Replace known secrets by marks that no pattern of this module splits: a url stays one url."""
        raw = text.encode("utf-8", "replace")
        if self._secret_pattern is not None:
            index = self._names.index
            raw = self._secret_pattern.sub(
                lambda match: f"\ue000{index(self._secrets[match[0]])}\ue001".encode(), raw
            )
        return raw.decode("utf-8", "replace")

    def _unmark(self, text: str) -> str:
        def name(match: re.Match[str]) -> str:
            number = int(match[1])
            return f"[secret {self._names[number]}]" if number < len(self._names) else match[0]

        return _MARK.sub(name, text)

    def text(self, text: str) -> str:
        """The redacted text. Urls first: a secret inside a url would split it."""
        text = _PRIVATE_KEY.sub("[private key]", self._mark_secrets(text))
        text = self._unmark(_URL.sub(_bare_url, text))
        text = _NAMED.sub(lambda match: match[1] + match[2] + self._replace_id(match[3]), text)
        text = _UUID.sub(lambda match: self._replace_id(match[0]), text)
        text = _HEX.sub(lambda match: self._replace_id(match[0]), text)
        text = _FOLDER.sub(lambda match: f"{match[1]}/{self._replace_id(match[2])}", text)
        text = _TOPIC.sub(lambda match: f"{match[1]}/{self._replace_id(match[2])}/", text)
        text = _HOME.sub("/home/…", text)
        return _LONG.sub(lambda match: self._redact_long(match[0]), text)

    def tree(self, value: Any, name: str = "") -> Any:
        """Redacted JSON values. Numbers stay."""
        match value:
            case Mapping():
                return {self.text(str(key)): self.tree(item, str(key)) for key, item in value.items()}
            case list() | tuple():
                return [self.tree(item, name) for item in value]
            case str():
                return self._replace_id(value) if name in _NAMES and value else self.text(value)
            case Path():
                return self.text(str(value))
            case bool() | int() | float() | None:
                return value
            case _:
                return f"[{type(value).__name__}]"

    def _redact_long(self, text: str) -> str:
        is_path = text.startswith("/") and not re.search(r"[+=]|[^/]{41}", text)
        return text if text in self._keep or is_path else f"[{len(text)} characters]"

    def _replace_id(self, value: str) -> str:
        if value in self._keep or re.fullmatch(r"id-\d+|None|null", value):
            return value
        return self._ids.setdefault(value, f"id-{len(self._ids) + 1}")


def _bare_url(match: re.Match[str]) -> str:
    scheme, host, rest = match.groups()
    if "@" in rest:  # a password with a slash: the start of the host is unknown
        return f"{scheme}://…"
    return f"{scheme}://{host}{rest if rest in ('', '/', _API_PATH) else '/…'}"


class ConfigRedactor:
    """Redacts doctor reports: replaces each value of one config by the name of its key."""

    def __init__(self, config: Config, path: Path | None) -> None:
        named = dict[str, list[str]]()
        for value, key in _config_texts(config.model_dump(), ""):
            named.setdefault(value.lower(), []).append(key)
        if path is not None:
            named[str(path).lower()] = ["config file"]
        self._names = {value: f"<{', '.join(dict.fromkeys(keys))}>" for value, keys in named.items()}
        self._value_pattern = _any_of(self._names)
        # A fix is a text of this product: a value that is a plain word is kept there.
        self._value_pattern_for_fixes = _any_of([value for value in self._names if not value.isalpha()])
        self._redactor = Redactor({})
        # Only the event of a log line is kept: the rest is text from outside, and may be cut within a value.
        before = "|".join(re.escape(word) for word in _before_log_lines())
        self._log_line = re.compile(_LOG_LINE.format(before=before), re.S)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of ``facepay doctor --json``, redacted."""
        redacted = {key: self.text(str(row[key])) for key in (*json_field_names("why"), "because")}
        redacted |= {
            key: self.text(str(row[key]), self._value_pattern_for_fixes) for key in json_field_names("fix")
        }
        return {**row, **redacted}

    def text(self, text: str, values: re.Pattern[str] | None = None) -> str:
        """``text`` without values, paths, addresses and ports. ``values``: the pattern of the values."""
        text = self._log_line.sub(lambda match: f"{match[1]}{match[2] or match[3] or ''} …", text)
        text = (values or self._value_pattern).sub(lambda match: self._names[match[0].lower()], text)
        text = self._redactor.text(text)
        text = _ADDRESS.sub("<address>", _PATH.sub("<path>", text))
        return _PORT.sub(":<port>", text)


def _before_log_lines() -> Iterator[str]:
    """The words before a log line in the reasons of ``service.state``, in each language."""
    for locale in locales():
        template = Text("why.service.state.with_error").template(locale)
        yield template.partition("{why}")[2].partition("{error}")[0]


def _any_of(values: Iterable[str]) -> re.Pattern[str]:
    longest = sorted(values, key=len, reverse=True)
    return re.compile("|".join(rf"(?<!\w){re.escape(value)}(?!\w)" for value in longest) or r"(?!)", re.I)


def _config_texts(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    """(text, key) of every text in a config, and of the host in each url."""
    for key, value in tree.items():
        name = f"{above}{key}"
        match value:
            case Mapping():
                yield from _config_texts(value, f"{name}.")
            case list() | tuple():
                yield from ((text, name) for text in map(str, value) if _is_redacted(text))
            case str() | Path() if _is_redacted(str(value)):
                yield str(value), name
                parts = urlsplit(str(value)) if "://" in str(value) else None
                for part in (parts.netloc, parts.hostname) if parts else ():
                    if part and _is_redacted(part):
                        yield part, name


def _is_redacted(text: str) -> bool:
    return len(text) >= _VALUE_MIN_CHARS and text not in _COMMON_WORDS
