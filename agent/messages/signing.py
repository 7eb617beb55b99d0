"""The signed envelope: ``{"result": "<JSON text>", "jws": "<detached JWS>"}``.

The signature covers the UTF-8 bytes of the text, so it survives bridges, MQTT 3.1.1 and re-serialisation of
the outer object. ``alg`` is "Ed25519" only (RFC 9864; the older "EdDSA" is deprecated). ``typ`` names the
message kind, so that a signed cancel is never valid as a signed result. ``kid`` names the key.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from agent.errors import StorageError, TillError, failure_at
from agent.safe_open import read_plain
from agent.safe_write import write_whole
from agent.texts import Text

ALGORITHM = "Ed25519"
KEY_FILE = "signing-key.pem"
PEM_MAX_BYTES = 4_096


def fingerprint(public: Ed25519PublicKey) -> str:
    """SHA-256 of the raw 32 public bytes, lower-case hex: compared out of band."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()


def key_id(public: Ed25519PublicKey) -> str:
    """The first 16 digits of the fingerprint, as in ``kid``."""
    return fingerprint(public)[:16]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public key of another party."""

    key: Ed25519PublicKey

    @classmethod
    def load(cls, pem: bytes) -> PublicKey:
        """Parse PEM. Raises ``TillError`` (``key_unusable``)."""
        try:
            key = serialization.load_pem_public_key(pem)
        except ValueError as error:
            raise TillError(Text("detail.no_public_key"), code="key_unusable") from error
        if not isinstance(key, Ed25519PublicKey):
            raise TillError(Text("detail.not_ed25519"), code="key_unusable")
        return cls(key)

    def pem(self) -> bytes:
        return self.key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def verify(self, text: str, detached: str, kind: str) -> bool:
        """Whether ``detached`` is a signature of this key over ``text`` as a message of this kind."""
        head, _, signature = detached.partition("..")
        try:
            payload = base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
            opened = jws.deserialize_compact(
                f"{head}.{payload}.{signature}", OKPKey.import_key(self.pem()), algorithms=[ALGORITHM]
            )
        except (JoseError, ValueError, TypeError):
            return False
        header = opened.headers()
        expected = {"typ": typ(kind), "kid": key_id(self.key)}
        # "crit" and "b64" (RFC 7797) change the signed bytes: the contract excludes both
        return expected.items() <= header.items() and not {"crit", "b64"} & set(header)


class Signer:
    """The private key of this terminal. Never printed, never logged."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._key = OKPKey.import_key(pem)
        self.public = PublicKey(private.public_key())
        self.key_id = key_id(self.public.key)
        self.fingerprint = fingerprint(self.public.key)

    @classmethod
    def load_or_create(cls, directory: Path) -> Signer:
        """The key in ``directory``, created on first start, mode 0600.

        Raises:
            TillError: ``key_unusable``, the file is unreadable, not an Ed25519 key, or readable by
                other users.
            StorageError: a new key cannot be written.
        """
        path = directory / KEY_FILE
        try:
            if not path.exists():
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                cls.generate().save(path)
        except PermissionError as error:
            raise TillError(failure_at(path, error), code="key_unusable") from error
        except OSError as error:  # e.g. a full disk: not a fault of the key
            raise StorageError(failure_at(path, error)) from error
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> Signer:
        """The private key in a PEM file. Raises as ``load_or_create``."""
        try:
            if path.stat().st_mode & 0o077:
                fix = Text("fix.make_key_private", path=path)
                raise TillError(Text("detail.readable_by_others", path=path), code="key_unusable", fix=fix)
            pem = read_plain(path, PEM_MAX_BYTES, links=True)
            private = serialization.load_pem_private_key(pem, password=None)
        except (OSError, ValueError) as error:
            raise TillError(failure_at(path, error), code="key_unusable") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise TillError(Text("detail.file_not_ed25519", path=path), code="key_unusable")
        return cls(private)

    @classmethod
    def generate(cls) -> Signer:
        """A new key, in memory only."""
        return cls(Ed25519PrivateKey.generate())

    def save(self, path: Path) -> None:
        """Write the key as PEM for ``load``. Raises ``OSError``."""
        write_whole(path, self._key.as_pem(private=True))

    def sign(self, text: str, kind: str) -> str:
        """Detached JWS (RFC 7515, appendix F) over the UTF-8 bytes of the text, as a message of this kind."""
        protected = {"alg": ALGORITHM, "typ": typ(kind), "kid": self.key_id}
        compact = jws.serialize_compact(protected, text.encode(), self._key, algorithms=[ALGORITHM])
        head, _, signature = compact.split(".")
        return f"{head}..{signature}"


def typ(kind: str) -> str:
    """The ``typ`` header of a kind of message, e.g. ``facepay-result+jws``."""
    return f"facepay-{kind}+jws"
