"""Checks of signatures and of refused requests.

The multi-use signature: every field order of a real client, and signatures to refuse. A refused request has
the expected code, and ``fail_flag`` for a fault of one image.
"""

import base64
from collections.abc import Callable, Collection
from functools import partial

from agent.kits.compare.check_requests import appid, files, pair, shot
from agent.kits.compare.images import blank_png, bomb_png, padded
from agent.kits.compare.probe import (
    DOWNLOAD_CODES,
    ContractCheck,
    Differs,
    NotOffered,
    Probe,
    ProbeAnswer,
    RequestBody,
    json_body,
    multipart,
)

Header = Callable[[Probe], str]

_DAYS_90_S = 90 * 86_400
# the sample of the API page: its padding is wrong, so the text is not base64
_PAGE_SAMPLE = "FCHXdPTEwMDAwMzc5Jms9QUtJRGVRZDBrRU1yM2J4ZjhRckJi=="


async def _accepted(probe: Probe, header: Header) -> str:
    answer = await probe.send(pair(probe), authorization=header(probe))
    return f"similarity {answer.similarity():.1f}"


async def _not_genuine(probe: Probe, codes: Collection[int], header: Header) -> str:
    return _expect(await probe.send(pair(probe), authorization=header(probe)), codes)


def _expect(answer: ProbeAnswer, codes: Collection[int]) -> str:
    """The answer as text. Raises ``Differs``: it has none of the codes."""
    if answer.code not in codes:
        raise Differs(f"{answer}; expected {' or '.join(map(str, sorted(codes)))}")
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
    return _expect(await probe.send(body, authorization=probe.sign(a="1250999999")), (10, 12))


async def _unknown_bucket(probe: Probe) -> str:
    answer = await probe.send(pair(probe), authorization=probe.sign(b="unknown-bucket"))
    if answer.code == 0:
        raise NotOffered("the account is not bound to buckets")
    return _expect(answer, (6, 16))


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
_NOT_GENUINE: tuple[tuple[str, tuple[int, ...], Header], ...] = (
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
_OVER_6_MB = 6_300_000
_LONGEST_URL = "http://photos.invalid/".ljust(2_048, "x")
_DEAD_URL = "http://127.0.0.1:1/photo.jpg"

MakeBody = Callable[[Probe], RequestBody]


async def _refused(probe: Probe, codes: Collection[int], flag: int | None, make: MakeBody) -> str:
    answer = await probe.send(make(probe))
    fail_flag = answer.data.get("fail_flag")
    if answer.code not in codes or fail_flag != flag:
        expected = " or ".join(str(code) for code in sorted(codes))
        raise Differs(f"{answer}; expected {expected}" + (f" with fail_flag {flag}" if flag else ""))
    return str(answer)


def _first(bad: Callable[[Probe], bytes]) -> MakeBody:
    """A body with a bad image A and a good image B."""
    return lambda probe: files(probe, bad(probe), probe.pictures.reference)


def _second(bad: Callable[[Probe], bytes]) -> MakeBody:
    return lambda probe: files(probe, probe.pictures.reference, bad(probe))


def _urls(**changes: object) -> MakeBody:
    """A JSON body with two urls; None: the field is absent."""

    def make(probe: Probe) -> RequestBody:
        fields: dict[str, object] = {"appid": probe.account.appid, "urlA": _DEAD_URL, "urlB": _DEAD_URL}
        return json_body({name: value for name, value in (fields | changes).items() if value is not None})

    return make


_GIF = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002024401003b")

_BAD_REQUESTS: tuple[tuple[str, Collection[int], int | None, MakeBody], ...] = (
    ("appid missing", (-1301,), None, _urls(appid=None)),
    ("appid empty", (-1301,), None, _urls(appid="")),
    ("broken JSON", (3, 21), None, lambda _: RequestBody(b'{"appid":', "application/json")),
    ("a list instead of an object", (3, 21), None, lambda _: RequestBody(b"[]", "application/json")),
    ("a url that is a number", (3, 21), None, _urls(urlA=7)),
    ("neither JSON nor multipart", (3, 21), None, lambda _: RequestBody(b"appid=1", "text/plain")),
    ("multipart without a boundary", (3, 21), None, lambda _: RequestBody(b"x", "multipart/form-data")),
    ("no body", (3, 21), None, lambda _: RequestBody(b"", "")),
    ("a body over 6 MB", (23,), None, _first(lambda p: padded(p.pictures.shot, _OVER_6_MB))),
    ("image B missing", (-1300,), 2, lambda p: multipart(appid(p), shot(p))),
    ("image A empty", (-1300,), 1, _first(lambda _: b"")),
    ("image B empty", (-1300,), 2, _second(lambda _: b"")),
    ("image A is a GIF", (-1400,), 1, _first(lambda _: _GIF)),
    ("image B is text", (-1400,), 2, _second(lambda _: b"not an image")),
    ("image A truncated", (-1102,), 1, _first(lambda p: p.pictures.reference[:2_000])),
    ("image B truncated", (-1102,), 2, _second(lambda p: p.pictures.reference[:2_000])),
    ("no face in image A", (-1101,), 1, _first(lambda p: p.pictures.no_face)),
    ("no face in image B", (-1101,), 2, _second(lambda p: p.pictures.no_face)),
    ("4000 px wide, no face", (-1101,), 1, _first(lambda _: blank_png(4_000, 64))),
    ("4001 px wide", (-1400,), 1, _first(lambda _: blank_png(4_001, 64))),
    ("a decompression bomb", (-1400,), 2, _second(lambda _: bomb_png(60_000, 60_000))),
    ("a url of 2049 characters", (-1304,), None, _urls(urlA=_LONGEST_URL + "x")),
    ("a url of 2048 characters to an unknown host", DOWNLOAD_CODES, 1, _urls(urlA=_LONGEST_URL)),
    ("a text that is not a url", DOWNLOAD_CODES, 1, _urls(urlA="photo.jpg")),
    ("a url to a closed port", DOWNLOAD_CODES, 1, _urls()),
    ("a url to the metadata address", DOWNLOAD_CODES, 1, _urls(urlA="http://169.254.169.254/latest/")),
)

CHECKS = (
    *(ContractCheck("signature", name, partial(_accepted, header=header)) for name, header in _ACCEPTED),
    ContractCheck("signature", "the same signature twice (multi-use)", _twice),
    *(
        ContractCheck("signature", name, partial(_not_genuine, codes=codes, header=header))
        for name, codes, header in _NOT_GENUINE
    ),
    ContractCheck("signature", "unknown appid", _unknown_appid),
    ContractCheck("signature", "unknown bucket", _unknown_bucket),
    *(
        ContractCheck("mistake", name, partial(_refused, codes=codes, flag=flag, make=make))
        for name, codes, flag, make in _BAD_REQUESTS
    ),
)
