"""Tills that each break exactly one rule of the duty, the way real ones do."""

from __future__ import annotations

import json
from typing import Any

from agent.tillkit.rules import Rule
from tests.tillkit.reference_till import ReferenceTill


class IgnoresSignature(ReferenceTill):
    def is_signed(self, envelope: dict[str, Any]) -> bool:
        if "jws" not in envelope:
            envelope["result"] = json.dumps(envelope)
        return True


class IgnoresField(ReferenceTill):
    """Does not compare one field of its open request."""

    field = ""

    def is_ours(self, result: dict[str, Any]) -> bool:
        return super().is_ours(result | {self.field: (self.open or {}).get(self.field)})


class IgnoresNonce(IgnoresField):
    field = "nonce"


class IgnoresRequestId(IgnoresField):
    field = "request_id"


class IgnoresSha256(IgnoresField):
    field = "request_sha256"


class IgnoresTerminal(IgnoresField):
    field = "terminal"


class IgnoresEpoch(IgnoresField):
    field = "epoch"


class PaysTwice(ReferenceTill):
    def on_repeat(self, result: dict[str, Any]) -> None:
        super().on_repeat(result)
        if result["decision"] == "match":
            self.pay(result["request_id"])


class PaysLate(ReferenceTill):
    def is_in_time(self) -> bool:
        return True


class AcceptsRetained(ReferenceTill):
    def is_retained(self, retained: bool) -> bool:
        return False


class PaysAfterCancel(ReferenceTill):
    def is_cancelled(self) -> bool:
        return False


class DoesNotAcknowledge(ReferenceTill):
    def acknowledge(self, result_id: str) -> None: ...


class AcknowledgesOnce(ReferenceTill):
    """Thinks that one acknowledgement cannot be lost."""

    def on_repeat(self, result: dict[str, Any]) -> None: ...


class KeepsTheEpoch(ReferenceTill):
    """Reads the epoch at its own start only."""

    first = ""

    def ask(self) -> None:
        self.first = self.epoch = self.first or self.epoch
        super().ask()


class KeepsTheNonce(ReferenceTill):
    """Thinks that a random number may be used for the whole day."""

    def send(self, kind: str, payload: bytes) -> None:
        if kind == "request":
            tree = json.loads(payload) | {"nonce": "ab" * 16}
            payload = self.reopen(tree)
        super().send(kind, payload)

    def reopen(self, tree: dict[str, Any]) -> bytes:
        import hashlib

        payload = json.dumps(tree).encode()
        assert self.open is not None
        self.open |= {"nonce": tree["nonce"], "request_sha256": hashlib.sha256(payload).hexdigest()}
        return payload


class PaysOnAnythingButNo(ReferenceTill):
    """Takes a decision it does not know for a yes."""

    def is_ours(self, result: dict[str, Any]) -> bool:
        if result["decision"] not in ("no_match", "undecided"):
            result["decision"] = "match"
        return super().is_ours(result)


class NeverPays(ReferenceTill):
    def pay(self, request_id: str) -> None: ...


BROKEN: dict[type[ReferenceTill], Rule] = {
    IgnoresSignature: Rule.SIGNATURE,
    IgnoresNonce: Rule.NONCE,
    IgnoresRequestId: Rule.REQUEST_ID,
    IgnoresSha256: Rule.REQUEST_SHA256,
    IgnoresTerminal: Rule.TERMINAL,
    IgnoresEpoch: Rule.EPOCH,
    PaysTwice: Rule.ONCE,
    PaysLate: Rule.LATE,
    AcceptsRetained: Rule.RETAINED,
    PaysAfterCancel: Rule.CANCELLED,
    DoesNotAcknowledge: Rule.ACK,
    AcknowledgesOnce: Rule.ACK,
    KeepsTheEpoch: Rule.REQUEST_EPOCH,
    KeepsTheNonce: Rule.FRESH_REQUEST,
    PaysOnAnythingButNo: Rule.MATCH_ONLY,
    NeverPays: Rule.PAYS,
}
