"""A config bundle: numbered, for a ring, signed by the operator. Packing and unpacking; no files, no clock.

``{"bundle": "<JSON text>", "jws": "<detached JWS>"}``: the envelope of the till contract with the type
``facepay-bundle+jws``. The type prevents that another text signed by the operator is valid as a bundle.
The order of unpacking:

1. Size. Then the outer object, with exactly two strings.
2. The signature over the text's SHA-256 (the library does not sign long texts), by a key pinned on this
   terminal. Before this step the text is not decoded.
3. The text: schema, number, ring, configs. Unknown members are an error.

A config is named by ``site/terminal``, or ``*`` for all other terminals. No name in a bundle becomes a path.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeGuard

from agent.config.file import MAX_FILE_BYTES
from agent.core import strict_json
from agent.errors import reason_of
from agent.fleet.fleet_errors import refusal, too_long
from agent.messages.encode import dumps
from agent.messages.signing import PublicKey, Signer
from agent.messages.topics import is_id
from agent.texts import Text

KIND = "bundle"
SCHEMA = "facepay.bundle/1"
MAX_BUNDLE_BYTES = 1024 * 1024
ALL_TERMINALS = "*"
NUMBER_MAX = 10**15
_MEMBERS = {"schema", "number", "ring", "issued_at", "configs"}

Ring = Literal["canary", "all"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The content of a signed bundle."""

    number: int
    ring: Ring
    issued_at: str  # RFC 3339, for people
    configs: Mapping[str, str]  # "site/terminal" or "*": TOML

    def config_for(self, site: str, terminal: str) -> str:
        """The TOML for this terminal. A config for ``*`` is returned with site and terminal in front.

        Raises:
            FleetError: ``bundle_not_for_us``.
        """
        specific = self.configs.get(f"{site}/{terminal}")
        if specific is not None:
            return specific
        shared = self.configs.get(ALL_TERMINALS)
        if shared is None:
            why = Text("detail.bundle_no_config", number=self.number, site=site, terminal=terminal)
            raise refusal("bundle_not_for_us", why)
        return f'site = "{site}"\nterminal = "{terminal}"\n\n{shared}'


def is_ring(value: object) -> TypeGuard[Ring]:
    return value in ("canary", "all")


def is_ring_accepted(terminal_ring: Ring, bundle_ring: Ring) -> bool:
    """Whether a terminal accepts a bundle for ``bundle_ring``: a canary accepts every bundle."""
    return terminal_ring == "canary" or bundle_ring == "all"


def pack(bundle: Bundle, signer: Signer) -> bytes:
    """The signed bytes. Raises ``FleetError`` (``bundle_malformed``) where ``unpack`` would."""
    raw = envelope(dumps({"schema": SCHEMA, **asdict(bundle)}), signer)
    unpack(raw, [signer.public])
    return raw


def envelope(text: str, signer: Signer) -> bytes:
    """The envelope of a text with the operator's signature."""
    return dumps({KIND: text, "jws": signer.sign(_digest(text), KIND)}).encode()


def unpack(raw: bytes, trusted: Sequence[PublicKey]) -> Bundle:
    """The bundle, verified with the trusted keys.

    Raises:
        FleetError: ``bundle_malformed``, ``bundle_untrusted``.
    """
    if len(raw) > MAX_BUNDLE_BYTES:
        raise refusal("bundle_malformed", too_long(MAX_BUNDLE_BYTES))
    outer = _loads(raw)
    text, detached = outer.get(KIND), outer.get("jws")
    if set(outer) != {KIND, "jws"} or not isinstance(text, str) or not isinstance(detached, str):
        raise refusal("bundle_malformed", Text("detail.bundle_members"))
    digest = _digest(text)
    if not any(key.verify(digest, detached, KIND) for key in trusted):
        raise refusal("bundle_untrusted", Text("detail.bundle_no_trusted_key"))
    return _decode_bundle(_loads(_encoded(text)))


def _decode_bundle(tree: Mapping[str, object]) -> Bundle:
    number, ring, issued_at, configs = (tree.get(name) for name in ("number", "ring", "issued_at", "configs"))
    if set(tree) != _MEMBERS or tree["schema"] != SCHEMA:
        raise refusal("bundle_malformed", Text("detail.bundle_schema", schema=SCHEMA))
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= NUMBER_MAX:
        raise refusal("bundle_malformed", Text("detail.bundle_number_range", most=NUMBER_MAX))
    if not is_ring(ring):
        raise refusal("bundle_malformed", Text("detail.bundle_ring_unknown"))
    if not isinstance(issued_at, str) or len(issued_at) > 64 or not issued_at.isprintable():
        raise refusal("bundle_malformed", Text("detail.bundle_issued_at"))
    if not isinstance(configs, dict) or not configs:
        raise refusal("bundle_malformed", Text("detail.bundle_no_configs"))
    for name, text in configs.items():
        site, _, terminal = name.partition("/")
        if name != ALL_TERMINALS and not (is_id(site) and is_id(terminal)):
            raise refusal("bundle_malformed", Text("detail.bundle_config_name", name=name[:80]))
        if not isinstance(text, str) or len(_encoded(text)) > MAX_FILE_BYTES:
            why = Text("detail.bundle_config_text", name=name, limit_bytes=MAX_FILE_BYTES)
            raise refusal("bundle_malformed", why)
    return Bundle(number, ring, issued_at, configs)


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(_encoded(text)).hexdigest()}"


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # a lone surrogate: valid in JSON, not in UTF-8
        raise refusal("bundle_malformed", Text("detail.not_utf8")) from error


def _loads(raw: bytes) -> dict[str, object]:
    try:
        tree = strict_json.loads(raw)
    except ValueError as error:
        raise refusal("bundle_malformed", Text("detail.not_json", reason=reason_of(error))) from error
    if not isinstance(tree, dict):
        raise refusal("bundle_malformed", Text("detail.not_json_object"))
    return tree
