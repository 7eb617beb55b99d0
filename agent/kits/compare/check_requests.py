"""Checks of accepted requests: the answer, and every form of request.

An answer has its JSON structure, and its similarity separates persons. The forms are those of the API page
and those that real clients send.
"""

from collections.abc import Callable
from functools import partial

from agent.kits.compare.images import padded
from agent.kits.compare.probe import (
    BOUNDARY,
    DOWNLOAD_CODES,
    JPEG_FILE,
    ContractCheck,
    Differs,
    NotOffered,
    Part,
    Probe,
    ProbeAnswer,
    RequestBody,
    json_body,
    multipart,
    part,
)

_SAME_PERSON = 75.0  # "usually the same person" on the scale of the API page
_STRANGER_MAX = 70.0  # on this scale one stranger in a thousand reaches 70
_SESSION_MAX_CHARS = 256
_NO_TYPE = '; filename="photo.jpg"'
_OCTETS = "\r\nContent-Type: application/octet-stream"
_QUOTED = f'multipart/form-data; charset=utf-8; boundary="{BOUNDARY}"'

Form = Callable[[Probe], RequestBody]


def pair(probe: Probe) -> RequestBody:
    """The simplest request: two files of one person."""
    return files(probe, probe.pictures.shot, probe.pictures.reference)


def files(probe: Probe, first: bytes, second: bytes) -> RequestBody:
    """A multipart body with the appid and two image files."""
    return multipart(appid(probe), part("imageA", first, JPEG_FILE), part("imageB", second, JPEG_FILE))


def appid(probe: Probe, more: str = "") -> Part:
    return part("appid", probe.account.appid, more)


def shot(probe: Probe, more: str = JPEG_FILE) -> Part:
    return part("imageA", probe.pictures.shot, more)


def _no_face(probe: Probe) -> Part:
    return part("imageA", probe.pictures.no_face, JPEG_FILE)


def _reference(probe: Probe, more: str = JPEG_FILE) -> Part:
    return part("imageB", probe.pictures.reference, more)


def _url_a(probe: Probe) -> Part:
    return part("urlA", probe.photo_url("shot"))


def _url_b(probe: Probe, more: str = "") -> Part:
    return part("urlB", probe.photo_url("reference"), more)


def _python_client(probe: Probe) -> RequestBody:
    if not probe.account.bucket:
        raise NotOffered("no bucket given")
    return multipart(
        appid(probe, '; filename="appid"'),
        part("bucket", probe.account.bucket, '; filename="bucket"'),
        shot(probe, '; filename="imageA"'),
        _reference(probe, '; filename="imageB"'),
    )


def _java_client(probe: Probe) -> RequestBody:
    kind = '; filename="b.jpg"\r\nContent-Type: image/jpg\r\nContent-Length: {}'
    return multipart(
        _reference(probe, kind.format(len(probe.pictures.reference))),
        appid(probe, f"\r\nContent-Length: {len(probe.account.appid)}"),
        shot(probe, kind.format(len(probe.pictures.shot))),
    )


def _urls(probe: Probe, content_type: str = "application/json") -> RequestBody:
    urls = {"urlA": probe.photo_url("shot"), "urlB": probe.photo_url("reference")}
    return json_body({"appid": probe.account.appid, **urls}, content_type)


async def _same_person(probe: Probe, form: Form) -> str:
    answer = await probe.send(form(probe))
    if answer.code in DOWNLOAD_CODES:
        raise NotOffered(f"{answer}: the endpoint does not download from the given address")
    similarity = answer.similarity()
    if similarity < _SAME_PERSON:
        raise Differs(f"similarity {similarity:.1f} for one person")
    return f"similarity {similarity:.1f}"


async def _dead_url_beats_image(probe: Probe) -> str:
    dead_url = part("urlB", "http://127.0.0.1:1/photo.jpg")
    answer = await probe.send(multipart(appid(probe), shot(probe), _reference(probe), dead_url))
    if answer.code not in DOWNLOAD_CODES or answer.data.get("fail_flag") != 2:
        raise Differs(f"{answer}; expected a download code for image 2")
    return str(answer)


async def _other_host(probe: Probe, host: str) -> str:
    answer = await probe.send(pair(probe), headers={"Host": host})
    if answer.code is None:
        raise NotOffered(f"{answer}: the endpoint serves its own host name only")
    return f"similarity {answer.similarity():.1f}"


def _check_shape(answer: ProbeAnswer) -> None:
    if answer.status != 200:
        raise Differs(f"HTTP {answer.status}")
    if answer.content_type.partition(";")[0].strip().lower() != "application/json":
        raise Differs(f"Content-Type {answer.content_type or 'missing'}")
    if answer.code is None or answer.tree is None or not isinstance(answer.tree.get("message"), str):
        raise Differs("code is not an integer, or message is not a string")
    if not isinstance(answer.tree.get("data"), dict):
        raise Differs("data is not an object")


async def _success(probe: Probe) -> str:
    answer = await probe.send(pair(probe))
    _check_shape(answer)
    similarity = answer.similarity()
    session = answer.data.get("session_id")
    if not isinstance(session, str) or len(session) > _SESSION_MAX_CHARS:
        raise Differs("data.session_id is not a string")
    if answer.tree is None or answer.tree.get("message") != "OK":
        raise Differs("message is not OK")
    return f"HTTP 200, JSON, similarity {similarity:.1f}"


async def _failure(probe: Probe) -> str:
    answer = await probe.send(files(probe, probe.pictures.no_face, probe.pictures.reference))
    _check_shape(answer)
    if answer.code == 0 or "similarity" in answer.data:
        raise Differs(f"{answer}, with a similarity: {'similarity' in answer.data}")
    return f"HTTP 200, JSON, {answer}"


async def _keep_alive(probe: Probe) -> str:
    await probe.send(pair(probe))
    answer = await probe.send(pair(probe))
    answer.similarity()
    if answer.connected:
        raise NotOffered("each request needs a new connection")
    return "two requests, one connection"


async def _scale(probe: Probe) -> str:
    images = probe.pictures
    answers = [
        await probe.send(files(probe, image, images.reference))
        for image in (images.reference, images.shot, images.stranger, images.third)
    ]
    same, person, *strangers = [answer.similarity() for answer in answers]
    summary = f"same picture {same:.1f}, same person {person:.1f}, others {max(strangers):.1f} at most"
    if not same >= person >= _SAME_PERSON > _STRANGER_MAX > max(strangers):
        raise Differs(summary)
    return summary


async def _symmetry(probe: Probe) -> str:
    images = probe.pictures
    one = (await probe.send(files(probe, images.shot, images.reference))).similarity()
    other = (await probe.send(files(probe, images.reference, images.shot))).similarity()
    if abs(one - other) > 1.0:
        raise Differs(f"{one:.1f} and {other:.1f} with the sides exchanged")
    return f"{one:.1f} and {other:.1f} with the sides exchanged"


_FORMS: tuple[tuple[str, Form], ...] = (
    # the page's trailing semicolon
    ("two files, as the page shows them", lambda p: multipart(appid(p, ";"), shot(p), _reference(p))),
    ("two files, bucket absent", pair),
    ("text parts with a file name, images without a type", _python_client),
    ("image/jpg, a length per part, B before A", _java_client),
    ("appid last", lambda p: multipart(shot(p), _reference(p), appid(p))),
    ("images without a file name", lambda p: multipart(appid(p), shot(p, ""), _reference(p, _OCTETS))),
    ("an unknown part", lambda p: multipart(part("something", "else"), appid(p), shot(p), _reference(p))),
    ("an empty url beside an image", lambda p: multipart(appid(p), shot(p), part("urlB", ""), _reference(p))),
    ("boundary in quotes, charset beside it", lambda p: RequestBody(pair(p).content, _QUOTED)),
    ("a body of nearly 6 MB", lambda p: files(p, padded(p.pictures.shot, 5_800_000), p.pictures.reference)),
    ("PNG", lambda p: files(p, p.pictures.png, p.pictures.reference)),
    ("BMP", lambda p: files(p, p.pictures.bmp, p.pictures.reference)),
    ("EXIF orientation of image A", lambda p: files(p, p.pictures.rotated, p.pictures.reference)),
    ("EXIF orientation of image B", lambda p: files(p, p.pictures.reference, p.pictures.rotated)),
    ("two urls as JSON", _urls),
    ("JSON with a charset", partial(_urls, content_type="application/json; charset=utf-8")),
    ("two urls as parts", lambda p: multipart(appid(p), _url_a(p), _url_b(p, '; filename="urlB"'))),
    ("a file and a url", lambda p: multipart(appid(p), shot(p), _url_b(p))),
    ("a url and a file", lambda p: multipart(_url_a(p), _reference(p, _NO_TYPE), appid(p))),
    ("the url wins over the image", lambda p: multipart(appid(p), _no_face(p), _url_a(p), _reference(p))),
)

CHECKS = (
    ContractCheck("answer", "shape of a success", _success),
    ContractCheck("answer", "shape of a failure", _failure),
    ContractCheck("answer", "the connection is kept", _keep_alive),
    ContractCheck("answer", "similarity falls from same picture to same person to strangers", _scale),
    ContractCheck("answer", "similarity does not depend on the sides", _symmetry),
    *(ContractCheck("form", name, partial(_same_person, form=form)) for name, form in _FORMS),
    ContractCheck("form", "a dead url wins over a good image", _dead_url_beats_image),
    *(
        ContractCheck("form", f"host {host}", partial(_other_host, host=host))
        for host in ("recognition.image.myqcloud.com", "service.image.myqcloud.com")
    ),
)
