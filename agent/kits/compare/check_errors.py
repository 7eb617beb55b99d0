"""Requests that must be refused, each with its code, and with ``fail_flag`` where a picture is to blame."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from agent.kits.compare.bodies import RequestBody, image, json_body, multipart, text
from agent.kits.compare.images import blank_png, bomb_png, padded
from agent.kits.compare.probe import DOWNLOAD_CODES, ContractCheck, Differs, Probe

_OVER_6_MB = 6_300_000
_URL_MAX_CHARS = 2_048
_DEAD_URL = "http://127.0.0.1:1/photo.jpg"

Make = Callable[[Probe], RequestBody]
Codes = frozenset[int]


async def _refused(probe: Probe, codes: Codes, flag: int | None, make: Make) -> str:
    seen = await probe.ask(make(probe))
    about = seen.data.get("fail_flag")
    if seen.code not in codes or about != flag:
        expected = " or ".join(str(code) for code in sorted(codes))
        raise Differs(f"{seen}; expected {expected}" + (f" with fail_flag {flag}" if flag else ""))
    return str(seen)


def _pictures(first: bytes | None, second: bytes | None) -> Make:
    """None: a good picture."""

    def make(probe: Probe) -> RequestBody:
        good = probe.pictures.reference
        return multipart(
            text("appid", probe.account.appid),
            image("imageA", good if first is None else first),
            image("imageB", good if second is None else second),
        )

    return make


def _nobody(side: int) -> Make:
    return lambda probe: _pictures(*_at(side, probe.pictures.nobody))(probe)


def _cut(side: int) -> Make:
    return lambda probe: _pictures(*_at(side, probe.pictures.reference[:2_000]))(probe)


def _at(side: int, picture: bytes) -> tuple[bytes | None, bytes | None]:
    return (picture, None) if side == 1 else (None, picture)


def _one_side(probe: Probe) -> RequestBody:
    return multipart(text("appid", probe.account.appid), image("imageA", probe.pictures.shot))


def _urls(**changes: object) -> Make:
    """JSON with two urls; None leaves a field out."""

    def make(probe: Probe) -> RequestBody:
        fields: dict[str, object] = {"appid": probe.account.appid, "urlA": _DEAD_URL, "urlB": _DEAD_URL}
        return json_body({name: value for name, value in (fields | changes).items() if value is not None})

    return make


def _long_url(chars: int) -> str:
    start = "http://photos.invalid/"
    return start + "x" * (chars - len(start))


def _too_large(probe: Probe) -> RequestBody:
    return _pictures(padded(probe.pictures.shot, _OVER_6_MB), None)(probe)


_GIF = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002024401003b")

_MISTAKES: tuple[tuple[str, tuple[int, ...] | Codes, int | None, Make], ...] = (
    ("appid missing", (-1301,), None, _urls(appid=None)),
    ("appid empty", (-1301,), None, _urls(appid="")),
    ("broken JSON", (3, 21), None, lambda _: RequestBody(b'{"appid":', "application/json")),
    ("a list instead of an object", (3, 21), None, lambda _: RequestBody(b"[]", "application/json")),
    ("a url that is a number", (3, 21), None, _urls(urlA=7)),
    ("neither JSON nor multipart", (3, 21), None, lambda _: RequestBody(b"appid=1", "text/plain")),
    ("multipart without a boundary", (3, 21), None, lambda _: RequestBody(b"x", "multipart/form-data")),
    ("no body", (3, 21), None, lambda _: RequestBody(b"", "")),
    ("a body over 6 MB", (23,), None, _too_large),
    ("image B missing", (-1300,), 2, _one_side),
    ("image A empty", (-1300,), 1, _pictures(b"", None)),
    ("image B empty", (-1300,), 2, _pictures(None, b"")),
    ("image A is a GIF", (-1400,), 1, _pictures(_GIF, None)),
    ("image B is text", (-1400,), 2, _pictures(None, b"no picture at all")),
    ("image A cut short", (-1102,), 1, _cut(1)),
    ("image B cut short", (-1102,), 2, _cut(2)),
    ("nobody in image A", (-1101,), 1, _nobody(1)),
    ("nobody in image B", (-1101,), 2, _nobody(2)),
    ("4000 px wide, nobody in it", (-1101,), 1, _pictures(blank_png(4_000, 64), None)),
    ("4001 px wide", (-1400,), 1, _pictures(blank_png(4_001, 64), None)),
    ("a decompression bomb", (-1400,), 2, _pictures(None, bomb_png(60_000, 60_000))),
    ("a url of 2049 characters", (-1304,), None, _urls(urlA=_long_url(_URL_MAX_CHARS + 1))),
    ("a url of 2048 characters to nowhere", DOWNLOAD_CODES, 1, _urls(urlA=_long_url(_URL_MAX_CHARS))),
    ("a url that is none", DOWNLOAD_CODES, 1, _urls(urlA="photo.jpg")),
    ("a url to a closed port", DOWNLOAD_CODES, 1, _urls()),
    ("a url to the metadata address", DOWNLOAD_CODES, 1, _urls(urlA="http://169.254.169.254/latest/")),
)

CHECKS = tuple(
    ContractCheck("mistake", name, partial(_refused, codes=frozenset(codes), flag=flag, make=make))
    for name, codes, flag, make in _MISTAKES
)
