"""Checks of refused requests: the expected code, and ``fail_flag`` for a fault of one image."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from agent.kits.compare.check_requests import appid, files, shot
from agent.kits.compare.images import blank_png, bomb_png, padded
from agent.kits.compare.probe import (
    DOWNLOAD_CODES,
    ContractCheck,
    Differs,
    Probe,
    RequestBody,
    json_body,
    multipart,
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

CHECKS = tuple(
    ContractCheck("mistake", name, partial(_refused, codes=codes, flag=flag, make=make))
    for name, codes, flag, make in _BAD_REQUESTS
)
