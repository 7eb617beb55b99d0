"""Every branch of two small modules of the core: token buckets and strict JSON."""

from __future__ import annotations

import pytest

from agent.core import strict_json
from agent.core.rate import Senders, TokenBucket


def test_a_bucket_gives_its_burst_at_once_then_its_rate() -> None:
    bucket = TokenBucket(rate_per_s=2.0, burst=3, now_s=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(10.25), "half a token"
    assert bucket.take(10.5) and not bucket.take(10.5)


def test_a_bucket_never_holds_more_than_its_burst_and_a_clock_that_goes_back_refills_nothing() -> None:
    bucket = TokenBucket(rate_per_s=1.0, burst=2, now_s=0.0)
    assert [bucket.take(1_000.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(0.0)
    assert bucket.take(1.0), "counted from the earlier time on"


def test_each_sender_has_a_bucket_of_its_own_and_the_longest_silent_is_dropped() -> None:
    senders = Senders(per_minute=60, burst=1, most=2)
    assert senders.take("a", 0.0) and not senders.take("a", 0.0)
    assert senders.take("b", 0.0)
    assert not senders.take("a", 0.0), "a has sent later than b now"
    assert senders.take("c", 0.0), "b is dropped"
    assert not senders.take("a", 0.0)
    assert senders.take("b", 0.0), "a new bucket, with its burst"


@pytest.mark.parametrize(
    ("raw", "tree"),
    [
        (b'{"a": [1, -2.5, "x", null, true]}', {"a": [1, -2.5, "x", None, True]}),
        (b"-999999999999999999", -999_999_999_999_999_999),
        ("\u201c".join(['"', '"']).encode(), "\u201c"),
    ],
)
def test_plain_json_is_read(raw: bytes, tree: object) -> None:
    assert strict_json.loads(raw) == tree


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b"\xff", b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b"-1e999", b"1" * 20),
        *(b'{"a": 1, "a": 1}', b'{"a": {"b": 1, "b": 2}}', b"[" * 200_000),
    ],
    ids=lambda raw: raw[:12],
)
def test_what_two_readers_could_read_differently_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        strict_json.loads(raw)
