"""Topics: an id cannot add a level or a wildcard to a topic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import TillError
from agent.messages.topics import Topics, is_id

TOPICS = Topics("shop-1", "terminal_1")
ids = st.text("ABCxyz019_-", min_size=1, max_size=64)


@pytest.mark.parametrize(
    "hostile",
    ["", "+", "#", "a/b", "a b", "a\n", "a\x00", "x" * 65, "ａ", "é", "../x", "$SYS", "a+", None, 7],
)
def test_is_id_hostile_text_is_rejected(hostile: object) -> None:
    assert not is_id(hostile)
    if isinstance(hostile, str):
        with pytest.raises(TillError):
            TOPICS.verify(hostile, "request")
        with pytest.raises(TillError):
            _ = Topics(hostile, "terminal").state


@given(till=ids, kind=st.sampled_from(["request", "cancel", "ack", "event", "result"]))
def test_read_returns_the_parts_of_verify(till: str, kind: str) -> None:
    assert TOPICS.read(TOPICS.verify(till, kind)) == (till, kind)


@pytest.mark.parametrize(
    "topic",
    [
        "facepay/v1/shop-1/terminal_1/state",
        "facepay/v1/shop-1/terminal_1/verify/till-1",
        "facepay/v1/shop-1/terminal_1/verify/till-1/",
        "facepay/v1/shop-1/terminal_1/verify/till-1/request/more",
        "facepay/v1/shop-1/terminal_1/verify/a b/request",
        "facepay/v1/shop-1/terminal_10/verify/till-1/request",
        "facepay/v1/shop-2/terminal_1/verify/till-1/request",
        "x/facepay/v1/shop-1/terminal_1/verify/till-1/request",
        "",
    ],
)
def test_read_other_topic_returns_none(topic: str) -> None:
    assert TOPICS.read(topic) is None


@given(st.text(max_size=120))
def test_read_any_text_never_raises(topic: str) -> None:
    found = TOPICS.read(topic)
    assert found is None or is_id(found[0])
