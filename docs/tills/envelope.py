"""The signed envelopes of a terminal, for till.py: {"result": "<text>", "jws": "<header>..<signature>"}."""

import json
import time
from base64 import urlsafe_b64decode
from hashlib import sha256

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

UNREADABLE = (KeyError, TypeError, AttributeError, ValueError, RecursionError, JoseError)
OLD_KEY_S = 600  # after a rotation of the terminal's key
# includes suspend, unlike time.monotonic; only Linux has CLOCK_BOOTTIME, on macOS CLOCK_MONOTONIC includes it
CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def now_s() -> float:
    """Monotonic seconds with the time in suspend. On Windows time.monotonic includes it."""
    return time.monotonic() if CLOCK is None else time.clock_gettime(CLOCK)


def load_key(pem: bytes | str) -> OKPKey:
    """An Ed25519 key. Its kid is made of the 32 bytes of the public key."""
    public = urlsafe_b64decode(OKPKey.import_key(pem)["x"] + "=")
    return OKPKey.import_key(pem, {"kid": sha256(public).hexdigest()[:16]})


def header(kind: str, key: OKPKey) -> dict:
    return {"alg": "Ed25519", "typ": f"facepay-{kind}+jws", "kid": key.kid}


def sealed(kind: str, fields: dict, key: OKPKey | None) -> bytes:
    """The payload of a message, signed where there is a key."""
    text = json.dumps({"schema": f"facepay.{kind}/1"} | fields)
    if key is None:
        return text.encode()
    compact = jws.serialize_compact(header(kind, key), text, key, ["Ed25519"])
    return json.dumps({kind: text, "jws": jws.detach_content(compact)}).encode()


def verified(envelope: dict, kind: str, key: OKPKey) -> dict:
    """The message in the envelope; {}: it is not signed with this key as this kind."""
    try:
        signed = jws.deserialize_compact(envelope["jws"], key, ["Ed25519"], payload=envelope[kind])
        is_signed = header(kind, key).items() <= signed.headers().items()
        return json.loads(signed.payload) if is_signed else {}
    except UNREADABLE:
        return {}


class Terminal:
    """A terminal and its key, pinned out of band. Only messages that name this terminal are returned."""

    def __init__(self, address: dict, pem: bytes) -> None:
        self.address, self.key = address, load_key(pem)
        self.old_key, self.old_until_s, self.new_epochs = None, 0.0, set()

    def state(self, envelope: dict) -> dict:
        """The signed fields, never those beside them: a broker could write another epoch there."""
        rotation = json.loads(envelope["state"]).get("key", {}).get("rotation")
        statement = self.own(verified(rotation, "rotation", self.key))  # the old key signed the new key
        key = load_key(statement["new_key"]) if statement else self.key
        state = self.own(verified(envelope, "state", key))
        if state and statement:
            self.old_key, self.old_until_s = self.key, now_s() + OLD_KEY_S
            self.key, self.new_epochs = key, set()
        if state:
            self.new_epochs.add(state["epoch"])
        return state

    def result(self, envelope: dict) -> dict:
        """The result. After a rotation the old key is valid for a result of an earlier epoch, for a time."""
        result = verified(envelope, "result", self.key)
        if not result and now_s() < self.old_until_s:
            result = verified(envelope, "result", self.old_key)
            result = {} if result.get("epoch") in self.new_epochs else result
        return self.own(result)

    def own(self, message: dict) -> dict:
        return message if self.address.items() <= message.items() else {}
