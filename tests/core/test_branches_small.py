"""Token buckets and strict JSON: every branch."""

from __future__ import annotations

import pytest

from agent.core import strict_json
from agent.core.rate import SenderBuckets, TokenBucket


def test_bucket_allows_the_burst_at_once_then_the_rate() -> None:
    bucket = TokenBucket(rate_per_s=2.0, burst=3, now_s=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(10.25), "half a token"
    assert bucket.take(10.5) and not bucket.take(10.5)


def test_bucket_is_limited_to_the_burst_and_ignores_a_backward_clock() -> None:
    bucket = TokenBucket(rate_per_s=1.0, burst=2, now_s=0.0)
    assert [bucket.take(1_000.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(0.0)
    assert bucket.take(1.0), "the time starts at the earlier value"


def test_senders_have_separate_buckets_and_the_least_recent_is_removed() -> None:
    senders = SenderBuckets(per_minute=60, burst=1, senders_max=2)
    assert senders.take("a", 0.0) and not senders.take("a", 0.0)
    assert senders.take("b", 0.0)
    assert not senders.take("a", 0.0), "the newest message is from a now"
    assert senders.take("c", 0.0), "b is removed"
    assert not senders.take("a", 0.0)
    assert senders.take("b", 0.0), "a new bucket with a full burst"


@pytest.mark.parametrize(
    ("raw", "tree"),
    [
        (b'{"a": [1, -2.5, "x", null, true]}', {"a": [1, -2.5, "x", None, True]}),
        (b"-999999999999999999", -999_999_999_999_999_999),
        ("\u201c".join(['"', '"']).encode(), "\u201c"),
    ],
)
def test_strict_json_reads_plain_json(raw: bytes, tree: object) -> None:
    assert strict_json.loads(raw) == tree


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b"\xff", b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b"-1e999", b"1" * 20),
        *(b'{"a": 1, "a": 1}', b'{"a": {"b": 1, "b": 2}}', b"[" * 200_000),
    ],
    ids=lambda raw: raw[:12],
)
def test_strict_json_refuses_ambiguous_json(raw: bytes) -> None:
    with pytest.raises(ValueError):
        strict_json.loads(raw)


@pytest.mark.parametrize("raw", [b"{", b"[1]", b'{"a": 1, "a": 1}', '{"a": "\ud800"}', 1, None], ids=repr)
def test_json_object_is_none_for_anything_else(raw: object) -> None:
    assert strict_json.json_object(raw) is None
    assert strict_json.json_object(b'{"a": 1}') == strict_json.json_object('{"a": 1}') == {"a": 1}
