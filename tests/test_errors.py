"""Every error of ours ends with what to do about it, in both languages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.errors import AgentError


def below(kind: type[AgentError]) -> Iterator[type[AgentError]]:
    for each in kind.__subclasses__():
        yield each
        yield from below(each)


# Those of other files never reach a person: their room turns them into answers of its own.
KINDS = sorted((kind for kind in set(below(AgentError)) if kind.__module__ == "agent.errors"), key=str)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_to_do(kind: type[AgentError]) -> None:
    error = kind("x")
    assert error.code != "internal_error"
    assert error.fix.endswith(".") and any("\u4e00" <= letter <= "\u9fff" for letter in error.fix_zh)


def test_a_particular_fix_never_stands_beside_the_chinese_of_another() -> None:
    for kind in KINDS:
        assert (kind("x", fix="Do this.").fix, kind("x", fix="Do this.").fix_zh) == ("Do this.", "")
        assert kind("x", fix="Do this.", fix_zh="请这样做。").fix_zh == "请这样做。"
