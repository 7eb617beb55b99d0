"""Checks of every form of request: the forms of the API page, and the forms that real clients send."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from agent.kits.compare.bodies import BOUNDARY, RequestBody, image, json_body, multipart, text
from agent.kits.compare.images import padded
from agent.kits.compare.probe import DOWNLOAD_CODES, ContractCheck, Differs, NotOffered, Probe

SAME_PERSON = 75.0  # "usually the same person" on the scale of the API page
_NEARLY_6_MB = 5_800_000
_NO_TYPE = '; filename="photo.jpg"'

Form = Callable[[Probe], RequestBody]


def pair(probe: Probe) -> RequestBody:
    """The simplest request: two files of one person."""
    return files(probe, probe.pictures.shot, probe.pictures.reference)


async def same_person(probe: Probe, form: Form) -> str:
    answer = await probe.send(form(probe))
    if answer.code in DOWNLOAD_CODES:
        raise NotOffered(f"{answer}: the endpoint does not download from the given address")
    similarity = answer.similarity()
    if similarity < SAME_PERSON:
        raise Differs(f"similarity {similarity:.1f} for one person")
    return f"similarity {similarity:.1f}"


def files(probe: Probe, first: bytes, second: bytes) -> RequestBody:
    """A multipart body with the appid and two image files."""
    return multipart(text("appid", probe.account.appid), image("imageA", first), image("imageB", second))


def _page(probe: Probe) -> RequestBody:
    return multipart(
        text("appid", probe.account.appid, ";"),  # the page's trailing semicolon
        image("imageA", probe.pictures.shot),
        image("imageB", probe.pictures.reference),
    )


def _require_bucket(probe: Probe) -> str:
    if not probe.account.bucket:
        raise NotOffered("no bucket given")
    return probe.account.bucket


def _python_client(probe: Probe) -> RequestBody:
    return multipart(
        text("appid", probe.account.appid, '; filename="appid"'),
        text("bucket", _require_bucket(probe), '; filename="bucket"'),
        image("imageA", probe.pictures.shot, '; filename="imageA"'),
        image("imageB", probe.pictures.reference, '; filename="imageB"'),
    )


def _java_client(probe: Probe) -> RequestBody:
    first, second = probe.pictures.shot, probe.pictures.reference
    kind = '; filename="b.jpg"\r\nContent-Type: image/jpg\r\nContent-Length: {}'
    return multipart(
        image("imageB", second, kind.format(len(second))),
        text("appid", probe.account.appid, f"\r\nContent-Length: {len(probe.account.appid)}"),
        image("imageA", first, kind.format(len(first))),
    )


def _node_client(probe: Probe) -> RequestBody:
    return multipart(
        image("imageA", probe.pictures.shot),
        image("imageB", probe.pictures.reference),
        text("appid", probe.account.appid),
    )


def _types_only_by_name(probe: Probe) -> RequestBody:
    return multipart(
        text("appid", probe.account.appid),
        image("imageA", probe.pictures.shot, ""),
        image("imageB", probe.pictures.reference, "\r\nContent-Type: application/octet-stream"),
    )


def _unknown_part(probe: Probe) -> RequestBody:
    return multipart(
        text("something", "else"),
        text("appid", probe.account.appid),
        image("imageA", probe.pictures.shot),
        image("imageB", probe.pictures.reference),
    )


def _empty_url(probe: Probe) -> RequestBody:
    return multipart(
        text("appid", probe.account.appid),
        image("imageA", probe.pictures.shot),
        text("urlB", ""),
        image("imageB", probe.pictures.reference),
    )


def _quoted_boundary(probe: Probe) -> RequestBody:
    return RequestBody(pair(probe).content, f'multipart/form-data; charset=utf-8; boundary="{BOUNDARY}"')


def _large_body(probe: Probe) -> RequestBody:
    return files(probe, padded(probe.pictures.shot, _NEARLY_6_MB), probe.pictures.reference)


def _urls(probe: Probe, content_type: str = "application/json") -> RequestBody:
    urls = {"urlA": probe.photo_url("shot"), "urlB": probe.photo_url("reference")}
    return json_body({"appid": probe.account.appid, **urls}, content_type)


def _urls_as_parts(probe: Probe) -> RequestBody:
    return multipart(
        text("appid", probe.account.appid),
        text("urlA", probe.photo_url("shot")),
        text("urlB", probe.photo_url("reference"), '; filename="urlB"'),
    )


def _file_and_url(probe: Probe) -> RequestBody:
    return multipart(
        text("appid", probe.account.appid),
        image("imageA", probe.pictures.shot),
        text("urlB", probe.photo_url("reference")),
    )


def _url_and_file(probe: Probe) -> RequestBody:
    return multipart(
        text("urlA", probe.photo_url("shot")),
        image("imageB", probe.pictures.reference, _NO_TYPE),
        text("appid", probe.account.appid),
    )


def _url_wins(probe: Probe) -> RequestBody:
    return multipart(
        text("appid", probe.account.appid),
        image("imageA", probe.pictures.no_face),
        text("urlA", probe.photo_url("shot")),
        image("imageB", probe.pictures.reference),
    )


async def _dead_url_beats_image(probe: Probe) -> str:
    answer = await probe.send(
        multipart(
            text("appid", probe.account.appid),
            image("imageA", probe.pictures.shot),
            image("imageB", probe.pictures.reference),
            text("urlB", "http://127.0.0.1:1/photo.jpg"),
        )
    )
    if answer.code not in DOWNLOAD_CODES or answer.data.get("fail_flag") != 2:
        raise Differs(f"{answer}; expected a download code for image 2")
    return str(answer)


async def _other_host(probe: Probe, host: str) -> str:
    answer = await probe.send(pair(probe), headers={"Host": host})
    if answer.code is None:
        raise NotOffered(f"{answer}: the endpoint serves its own host name only")
    return f"similarity {answer.similarity():.1f}"


def _with_first(name: str) -> Form:
    return lambda probe: files(probe, getattr(probe.pictures, name), probe.pictures.reference)


def _with_second(name: str) -> Form:
    return lambda probe: files(probe, probe.pictures.reference, getattr(probe.pictures, name))


_FORMS: tuple[tuple[str, Form], ...] = (
    ("two files, as the page shows them", _page),
    ("two files, bucket absent", pair),
    ("text parts with a file name, images without a type", _python_client),
    ("image/jpg, a length per part, B before A", _java_client),
    ("appid last", _node_client),
    ("images without a file name", _types_only_by_name),
    ("an unknown part", _unknown_part),
    ("an empty url beside an image", _empty_url),
    ("boundary in quotes, charset beside it", _quoted_boundary),
    ("a body of nearly 6 MB", _large_body),
    ("PNG", _with_first("png")),
    ("BMP", _with_first("bmp")),
    ("EXIF orientation of image A", _with_first("rotated")),
    ("EXIF orientation of image B", _with_second("rotated")),
    ("two urls as JSON", _urls),
    ("JSON with a charset", partial(_urls, content_type="application/json; charset=utf-8")),
    ("two urls as parts", _urls_as_parts),
    ("a file and a url", _file_and_url),
    ("a url and a file", _url_and_file),
    ("the url wins over the image", _url_wins),
)

CHECKS = (
    *(ContractCheck("form", name, partial(same_person, form=form)) for name, form in _FORMS),
    ContractCheck("form", "a dead url wins over a good image", _dead_url_beats_image),
    *(
        ContractCheck("form", f"host {host}", partial(_other_host, host=host))
        for host in ("recognition.image.myqcloud.com", "service.image.myqcloud.com")
    ),
)
