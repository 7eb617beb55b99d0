"""Tills that each break exactly one acceptance rule, as real tills do."""

from __future__ import annotations

import json
from typing import Any

from agent.kits.till_conformance.rules import Rule
from tests.kits.till_conformance.reference_till import ReferenceTill


class IgnoresSignature(ReferenceTill):
    def is_signed(self, envelope: dict[str, Any]) -> bool:
        if "jws" not in envelope:
            envelope["result"] = json.dumps(envelope)
        return True


class IgnoresField(ReferenceTill):
    """Does not compare one field of the open request."""

    field = ""

    def is_ours(self, result: dict[str, Any]) -> bool:
        return super().is_ours(result | {self.field: (self.open or {}).get(self.field)})


class IgnoresNonce(IgnoresField):
    field = "nonce"


class IgnoresRequestId(IgnoresField):
    field = "request_id"


class IgnoresSha256(IgnoresField):
    field = "request_sha256"


class IgnoresTerminal(ReferenceTill):
    """Does not compare the terminal."""

    def on_result(self, envelope: dict[str, Any], *, retained: bool) -> None:
        if self.is_signed(envelope):
            result = json.loads(envelope["result"]) | {"terminal": self.terminal}
            envelope = {"result": json.dumps(result), "checked": True}
        super().on_result(envelope, retained=retained)

    def is_signed(self, envelope: dict[str, Any]) -> bool:
        return envelope.get("checked") is True or super().is_signed(envelope)


class IgnoresEpoch(IgnoresField):
    field = "epoch"


class PaysTwice(ReferenceTill):
    last = ""  # the request_id of the last payment

    def pay(self, request_id: str) -> None:
        self.last = request_id
        super().pay(request_id)

    def on_other(self, result: dict[str, Any]) -> None:
        super().on_other(result)
        if result["decision"] == "match" and result["request_id"] == self.last:
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
    """Acknowledges each result once, although an acknowledgement can be lost."""

    def on_other(self, result: dict[str, Any]) -> None: ...


class ComparesTheNewestEpoch(ReferenceTill):
    """Rejects results for requests to an earlier process of the terminal."""

    def is_signed(self, envelope: dict[str, Any]) -> bool:
        return super().is_signed(envelope) and json.loads(envelope["result"])["epoch"] == self.epoch


class ForgetsTheOldKey(ReferenceTill):
    def is_from_before(self, envelope: dict[str, Any]) -> bool:
        return False


class KeepsTheOldKey(ReferenceTill):
    def is_from_before(self, envelope: dict[str, Any]) -> bool:
        self.new_epoch = ""
        return super().is_from_before(envelope)


class SendsNoTime(ReferenceTill):
    def send(self, kind: str, payload: bytes) -> None:
        tree = json.loads(payload)
        tree.pop("sent_at_ms", None)
        super().send(kind, json.dumps(tree).encode())


class SendsSeconds(ReferenceTill):
    def unix_ms(self) -> int:
        return super().unix_ms() // 1000


class IgnoresExpired(ReferenceTill):
    def on_refused(self, event: dict[str, Any]) -> None:
        super().on_refused({name: value for name, value in event.items() if name != "result_id"})


class KeepsTheEpoch(ReferenceTill):
    """Reads the epoch only at its start."""

    first = ""

    def ask(self) -> None:
        self.first = self.epoch = self.first or self.epoch
        super().ask()


class KeepsTheNonce(ReferenceTill):
    """Uses the same nonce for every request."""

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
    """Treats an unknown decision as a match."""

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
    ComparesTheNewestEpoch: Rule.ACK,
    ForgetsTheOldKey: Rule.ACK,
    IgnoresExpired: Rule.ACK,
    KeepsTheOldKey: Rule.ROTATION,
    SendsNoTime: Rule.SENT_AT,
    SendsSeconds: Rule.SENT_AT,
    KeepsTheEpoch: Rule.REQUEST_EPOCH,
    KeepsTheNonce: Rule.FRESH_REQUEST,
    PaysOnAnythingButNo: Rule.MATCH_ONLY,
    NeverPays: Rule.PAYS,
}
