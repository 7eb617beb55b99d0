"""A photo that follows the prompts of the challenge, with the real detector: never compared.

A few attacks run here. ``python -m tests.bench.flat_attacks`` runs many and prints the counts of
docs/explanation/seeing.md.
"""

from __future__ import annotations

import pytest

from agent.core.reasons import Reason
from tests.vision.flat import Hand, analyzer, attack


@pytest.mark.parametrize(
    ("name", "hand"),
    [
        ("obama_portrait", Hand(turn=40)),
        ("biden_portrait", Hand(turn=40, roll=12, pitch=10, shake=1)),
        ("collins_portrait", Hand(turn=30, bend=0.4)),
    ],
    ids=["turned", "tilted and shaken", "bent"],
)
def test_photo_that_follows_every_prompt_is_never_compared(name: str, hand: Hand) -> None:
    called, reason = attack(analyzer(), name, hand, seed=3)
    assert not called
    assert reason in {Reason.LIVENESS_NOT_COMPLETED, Reason.LIVENESS_FAILED, Reason.FACE_UNUSABLE}
