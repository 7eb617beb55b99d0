"""Tills that each break exactly one acceptance rule, as real tills do."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from agent.kits.till_conformance.scenarios import Rule
from tests.kits.till_conformance.reference_till import ReferenceTill, _signed


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
        self.new_epochs.clear()
        return super().is_from_before(envelope)


class KeepsTheOldKeyForLaterEpochs(ReferenceTill):
    """Refuses the old key for the first epoch after the rotation only."""

    def on_state(self, envelope: dict[str, Any]) -> None:
        first = set(self.new_epochs)
        super().on_state(envelope)
        self.new_epochs = first & self.new_epochs or self.new_epochs


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


class IgnoresKid(ReferenceTill):
    """Verifies with the pinned key, whatever key the header names."""

    def is_signed(self, envelope: dict[str, Any]) -> bool:
        head, _, signature = envelope.get("jws", "").partition("..")
        text = base64.urlsafe_b64encode(envelope["result"].encode()).rstrip(b"=") if head else b""
        try:
            self.key.verify(base64.urlsafe_b64decode(signature + "=="), head.encode() + b"." + text)
        except InvalidSignature:
            return self.is_from_before(envelope)
        header = json.loads(base64.urlsafe_b64decode(head + "=="))
        return bool(header["typ"] == "facepay-result+jws")


class EndsTheSaleOnAForgery(ReferenceTill):
    """Takes a result with a wrong signature as the end of the sale."""

    def is_signed(self, envelope: dict[str, Any]) -> bool:
        if super().is_signed(envelope):
            return True
        self.open = None
        return False


class AcknowledgesBeforeItVerifies(ReferenceTill):
    def is_signed(self, envelope: dict[str, Any]) -> bool:
        self.acknowledge(json.loads(envelope.get("result") or json.dumps(envelope))["result_id"])
        return super().is_signed(envelope)


class DropsARepeatBeforeItVerifies(ReferenceTill):
    """Takes the second message with a result_id as a repeat, although the first one was forged."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.received: set[str] = set()

    def is_ours(self, result: dict[str, Any]) -> bool:
        return super().is_ours(result) and result["result_id"] not in self.received

    def on_result(self, envelope: dict[str, Any], *, retained: bool) -> None:
        super().on_result(envelope, retained=retained)
        self.received.add(json.loads(envelope.get("result") or json.dumps(envelope))["result_id"])


class TrustsAKnownResult(ReferenceTill):
    """Verifies each result_id once, and lets the payer try again until ttl_ms is over."""

    sale: dict[str, Any] | None = None  # the request of the latest no_match
    verified = ""

    def on_result(self, envelope: dict[str, Any], *, retained: bool) -> None:
        before = self.open
        super().on_result(envelope, retained=retained)
        self.sale = before or self.sale

    def is_signed(self, envelope: dict[str, Any]) -> bool:
        result = json.loads(envelope.get("result") or json.dumps(envelope))
        if super().is_signed(envelope):
            self.verified = result["result_id"] if result["decision"] == "no_match" else ""
            return True
        known = self.sale is not None and result["result_id"] == self.verified
        self.open = self.sale if known else self.open
        return known


class FollowsAnyRotation(ReferenceTill):
    """Pins the key of a statement that the new key signed."""

    def follow(self, state: dict[str, Any], envelope: dict[str, Any]) -> None:
        statement = json.loads(state.get("key", {}).get("rotation", {}).get("rotation", "{}"))
        new = load_pem_public_key(statement["new_key"].encode()) if statement else self.key
        assert isinstance(new, Ed25519PublicKey)
        if new != self.key:
            self.old_key, self.key = self.key, new
            self.old_until_s, self.new_epochs = time.monotonic() + 600, set()


class StartsItsTimerLate(ReferenceTill):
    """Starts its timer when the terminal has accepted the request."""

    def on_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "accepted":
            self.deadline_s = time.monotonic() + self.ttl_ms / 1e3
        super().on_event(event)


class StoresItsOpenRequest(ReferenceTill):
    """Takes up its open request again after a restart, with a new timer."""

    def restart(self) -> None:
        stored = self.open
        super().restart()
        self.open = stored
        self.deadline_s = time.monotonic() + 60


class RefusesAnUnknownField(ReferenceTill):
    """Parses a result into a class with fixed fields."""

    def is_ours(self, result: dict[str, Any]) -> bool:
        return super().is_ours(result) and "added_later" not in result


class FailsOnAnUnknownEvent(ReferenceTill):
    """Takes an unknown event as the end of the sale."""

    def on_event(self, event: dict[str, Any]) -> None:
        if event["event"] not in ("accepted", "guidance", "stage"):
            event = {"result_id": "", **event, "refusal": event.get("refusal", event["event"])}
            self.on_refused(event)


class FailsOnAnUnknownStage(ReferenceTill):
    """Takes an unknown stage as the end of the sale."""

    def on_event(self, event: dict[str, Any]) -> None:
        super().on_event(event)
        if event.get("stage") not in (None, "seeking", "challenging", "holding", "comparing", "waiting"):
            self.open = None


class AcknowledgesAnyEvent(ReferenceTill):
    def on_event(self, event: dict[str, Any]) -> None:
        super().on_event(event)
        if "result_id" in event:
            self.acknowledge(event["result_id"])


class NeverPays(ReferenceTill):
    def pay(self, request_id: str) -> None: ...


class TakesAnyState(ReferenceTill):
    """Reads the fields beside the envelope and verifies nothing."""

    def on_state(self, envelope: dict[str, Any]) -> None:
        super().on_state(envelope)
        self.epoch = envelope["epoch"]


class ReadsBesideTheEnvelope(ReferenceTill):
    """Verifies the text of a state, and then takes the fields beside the text."""

    def on_state(self, envelope: dict[str, Any]) -> None:
        super().on_state(envelope)
        if self.is_state_signed(envelope) and self.is_here(envelope):
            self.epoch = envelope["epoch"]


class TakesAStateOfAnotherKind(ReferenceTill):
    """Verifies the signature of a state and not its kind."""

    def is_state_signed(self, envelope: dict[str, Any]) -> bool:
        return super().is_state_signed(envelope) or _signed(
            self.key, {"cancel": envelope.get("state", ""), "jws": envelope.get("jws", "")}, "cancel"
        )


class TakesTheStateOfAnotherTerminal(ReferenceTill):
    def is_here(self, fields: dict[str, Any]) -> bool:
        return True


class DoesNotAskForState(ReferenceTill):
    def get_state(self) -> None: ...


class AsksForStateOnce(ReferenceTill):
    get_state_s = 3_600.0


class IgnoresTheCopy(ReferenceTill):
    """Asks for the state and ignores the answer."""

    def on_state_copy(self, envelope: dict[str, Any]) -> None: ...


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
    KeepsTheOldKeyForLaterEpochs: Rule.ROTATION,
    SendsNoTime: Rule.SENT_AT,
    SendsSeconds: Rule.SENT_AT,
    KeepsTheEpoch: Rule.REQUEST_EPOCH,
    KeepsTheNonce: Rule.FRESH_REQUEST,
    PaysOnAnythingButNo: Rule.MATCH_ONLY,
    IgnoresKid: Rule.SIGNATURE,
    EndsTheSaleOnAForgery: Rule.SIGNATURE,
    AcknowledgesBeforeItVerifies: Rule.SIGNATURE,
    DropsARepeatBeforeItVerifies: Rule.SIGNATURE,
    TrustsAKnownResult: Rule.SIGNATURE,
    FollowsAnyRotation: Rule.ROTATION,
    StartsItsTimerLate: Rule.LATE,
    StoresItsOpenRequest: Rule.RESTART,
    RefusesAnUnknownField: Rule.ADDITIONS,
    FailsOnAnUnknownEvent: Rule.ADDITIONS,
    FailsOnAnUnknownStage: Rule.ADDITIONS,
    AcknowledgesAnyEvent: Rule.ADDITIONS,
    NeverPays: Rule.PAYS,
    TakesAnyState: Rule.STATE_SIGNATURE,
    ReadsBesideTheEnvelope: Rule.STATE_SIGNATURE,
    TakesAStateOfAnotherKind: Rule.STATE_SIGNATURE,
    TakesTheStateOfAnotherTerminal: Rule.STATE_SIGNATURE,
    DoesNotAskForState: Rule.GET_STATE,
    AsksForStateOnce: Rule.GET_STATE,
    IgnoresTheCopy: Rule.REQUEST_EPOCH,
}
