"""A link error becomes a condition in ``state``, and is cleared afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import Config, StorageConfig
from agent.health.condition_tracker import ConditionTracker
from agent.messages.signing import Signer
from agent.mqtt.reason_codes import BrokerProblem
from agent.root.wiring import make_state_facts


@pytest.mark.parametrize("problem", BrokerProblem)
def test_link_error_is_a_condition_while_it_lasts(problem: BrokerProblem, tmp_path: Path) -> None:
    changes: list[int] = []
    moments = iter(range(0, 10**9, 60_000))  # every condition is old enough to be displayed
    conditions = ConditionTracker(lambda: next(moments), lambda: changes.append(1))
    config = Config(storage=StorageConfig(directory=tmp_path))
    facts = make_state_facts(config, Signer.load_or_create(tmp_path), conditions)
    assert (facts.status(), facts.fields()["conditions"]) == ("online", [])
    facts.on_problem(problem, True, "why")
    facts.on_problem(problem, True, "why")
    assert (facts.status(), facts.fields()["conditions"]) == ("degraded", [problem])
    facts.on_problem(problem, False, "")
    assert (facts.status(), facts.fields()["conditions"]) == ("online", [])
    assert len(changes) == 2, "published when raised and when cleared, not at each detection"
