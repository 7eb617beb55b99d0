"""What is wrong with the link becomes a condition of the terminal, in ``state``, and goes again."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import Config, StorageConfig
from agent.health.condition_tracker import ConditionTracker
from agent.messages.signing import Signer
from agent.mqtt.reason_codes import BrokerProblem
from agent.root.wiring import make_state_facts


@pytest.mark.parametrize("trouble", BrokerProblem)
def test_a_trouble_of_the_link_is_shown_in_state_while_it_lasts(
    trouble: BrokerProblem, tmp_path: Path
) -> None:
    changes: list[int] = []
    moments = iter(range(0, 10**9, 60_000))  # nothing is too young to be seen
    conditions = ConditionTracker(lambda: next(moments), lambda: changes.append(1))
    config = Config(storage=StorageConfig(directory=tmp_path))
    facts = make_state_facts(config, Signer.load_or_create(tmp_path), conditions)
    assert (facts.status(), facts.more()["conditions"]) == ("online", [])
    facts.on_trouble(trouble, True, "why")
    facts.on_trouble(trouble, True, "why")
    assert (facts.status(), facts.more()["conditions"]) == ("degraded", [trouble])
    facts.on_trouble(trouble, False, "")
    assert (facts.status(), facts.more()["conditions"]) == ("online", [])
    assert len(changes) == 2, "published when it comes and when it goes, not each time it is noticed"
