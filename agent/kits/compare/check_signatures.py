"""Checks of the multi-use signature: every field order of a real client, and signatures to refuse."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection
from functools import partial

from agent.kits.compare.check_requests import pair
from agent.kits.compare.probe import ContractCheck, Differs, NotOffered, Probe, json_body

Header = Callable[[Probe], str]

_DAYS_90_S = 90 * 86_400
# the sample of the API page: its padding is wrong, so the text is not base64
_PAGE_SAMPLE = "FCHXdPTEwMDAwMzc5Jms9QUtJRGVRZDBrRU1yM2J4ZjhRckJi=="


async def _accepted(probe: Probe, header: Header) -> str:
    answer = await probe.send(pair(probe), authorization=header(probe))
    return f"similarity {answer.similarity():.1f}"


async def _refused(probe: Probe, codes: Collection[int], header: Header) -> str:
    answer = await probe.send(pair(probe), authorization=header(probe))
    if answer.code not in codes:
        raise Differs(f"{answer}; expected {' or '.join(str(code) for code in sorted(codes))}")
    return str(answer)


async def _twice(probe: Probe) -> str:
    header = probe.sign(validity_s=300)
    for _ in range(2):
        answer = await probe.send(pair(probe), authorization=header)
        if answer.code == 13:
            raise NotOffered("code 13: this account accepts each signature once")
        answer.similarity()
    return "accepted again"


async def _unknown_appid(probe: Probe) -> str:
    """The same appid in header and body: different appids are a mismatch (6)."""
    body = json_body({"appid": "1250999999", "urlA": "http://127.0.0.1:1/", "urlB": "http://127.0.0.1:1/"})
    answer = await probe.send(body, authorization=probe.sign(a="1250999999"))
    if answer.code not in (10, 12):
        raise Differs(f"{answer}; expected 10")
    return str(answer)


async def _unknown_bucket(probe: Probe) -> str:
    answer = await probe.send(pair(probe), authorization=probe.sign(b="unknown-bucket"))
    if answer.code == 0:
        raise NotOffered("the account is not bound to buckets")
    if answer.code not in (6, 16):
        raise Differs(f"{answer}; expected 16")
    return str(answer)


def _altered(probe: Probe) -> str:
    raw = bytearray(base64.b64decode(probe.sign()))
    raw[0] ^= 1
    return base64.b64encode(raw).decode("ascii")


_ACCEPTED: tuple[tuple[str, Header], ...] = (
    ("fields a,b,k,e,t,r,u,f (the documented order)", lambda p: p.sign()),
    ("fields a,b,k,e,t,r,f, 30 s", lambda p: p.sign("abketrf", validity_s=30)),
    ("fields a,k,e,t,r,u,f, 100 s", lambda p: p.sign("aketruf", validity_s=100)),
    ("fields a,b,k,t,e, 300 s", lambda p: p.sign("abkte", validity_s=300)),
    ("fields a,k,t,r,u,b,e", lambda p: p.sign("aktrube")),
    ("valid for 90 days", lambda p: p.sign(validity_s=_DAYS_90_S)),
)
_REFUSED: tuple[tuple[str, tuple[int, ...], Header], ...] = (
    ("no Authorization header", (4,), lambda _: "-"),
    ("an empty Authorization header", (4,), lambda _: ""),
    ("no base64: the page's own sample", (5,), lambda _: _PAGE_SAMPLE),
    ("base64 of zero bytes", (5,), lambda _: base64.b64encode(bytes(40)).decode("ascii")),
    ("no secret id in it", (5, 11), lambda p: p.sign("abetruf")),
    ("no expiry in it", (5, 9), lambda p: p.sign("abktruf")),
    ("valid for more than 90 days", (5, 9), lambda p: p.sign(validity_s=_DAYS_90_S + 3_600)),
    ("expired", (9,), lambda p: p.sign(age_s=3_600)),
    ("unknown secret id", (11,), lambda p: p.sign(k="AKIDUNKNOWNUNKNOWNUNKNOWNUNK")),
    ("signed with another key", (14,), lambda p: p.sign(key=b"another key of no account")),
    ("one bit of the digest changed", (14,), _altered),
    ("another appid than the body's", (6,), lambda p: p.sign(a="1250999999")),
)

CHECKS = (
    *(ContractCheck("signature", name, partial(_accepted, header=header)) for name, header in _ACCEPTED),
    ContractCheck("signature", "the same signature twice (multi-use)", _twice),
    *(
        ContractCheck("signature", name, partial(_refused, codes=codes, header=header))
        for name, codes, header in _REFUSED
    ),
    ContractCheck("signature", "unknown appid", _unknown_appid),
    ContractCheck("signature", "unknown bucket", _unknown_bucket),
)
