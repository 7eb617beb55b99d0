"""Forged ``state`` messages that a till must ignore. Pure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from agent.messages.encode import TerminalIdentity, dumps, state
from agent.messages.signing import Signer

FORGED_EPOCH = "0" * 32


def forged_states(
    identity: TerminalIdentity, fields: dict[str, Any], own: Signer, unknown: Signer
) -> tuple[bytes, ...]:
    """Six payloads, each with ``FORGED_EPOCH`` at the place where one kind of careless till reads it.

    Args:
        fields: the content of the true ``state`` beyond the identity.
        own: the key that the till has pinned.
        unknown: another key.
    """
    lent = replace(identity, epoch=FORGED_EPOCH)
    true = json.loads(state("online", identity, fields, own))
    plain = state("online", lent, fields)
    text = plain.decode()
    return (
        state("online", lent, fields, unknown),  # another key
        plain,  # no signature
        dumps(true | {"epoch": FORGED_EPOCH}).encode(),  # a field beside the signed text
        dumps(true | {"state": text}).encode(),  # the text, after it was signed
        dumps(true | {"state": text, "jws": own.sign(text, "cancel")}).encode(),  # another kind of message
        state("online", replace(lent, terminal="another-terminal"), fields, own),  # another terminal
    )
