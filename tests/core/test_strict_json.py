"""JSON that readers could understand differently is refused."""

from __future__ import annotations

import pytest

from agent.core.strict_json import loads

LONGEST = 10**18 - 1


@pytest.mark.parametrize("number", [0, 1, LONGEST, -LONGEST])
def test_integer_of_up_to_eighteen_digits_is_read(number: int) -> None:
    assert loads(str(number).encode()) == number


@pytest.mark.parametrize("number", [LONGEST + 1, -LONGEST - 1, 2**63 - 1, 2**63, -(2**63)])
def test_integer_of_nineteen_digits_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="integer out of range"):
        loads(str(number).encode())
