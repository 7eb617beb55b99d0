"""Checks of CompareFace (2020-03-03): answers, forms of a request, signatures, refusals.

Sources: the provider's pages of the API, of the common parameters and of the signature, and the models and
error codes of the provider's SDK.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial

from agent.kits.compare.compareface_probe import (
    CompareFaceAnswer,
    CompareFaceProbe,
    Signing,
    encoded,
    images,
    pair,
)
from agent.kits.compare.images import blank_png, bomb_png, padded
from agent.kits.compare.probe import ContractCheck, Differs, NotOffered

_SAME_PERSON, _STRANGER_MAX = 50.0, 40.0  # "usually the same person"; one stranger in a thousand reaches 40
_NEARLY_5_MB, _OVER_5_MB = 3_650_000, 3_800_000  # before base64
_MODEL = "3.0"
_GIF = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002024401003b")
Fields = Callable[[CompareFaceProbe], Mapping[str, object] | bytes]
Check = ContractCheck[CompareFaceProbe]


def _check_shape(answer: CompareFaceAnswer) -> None:
    http = answer.http
    if http.status != 200 or http.content_type.partition(";")[0].strip().lower() != "application/json":
        raise Differs(f"HTTP {http.status}, {http.content_type or 'no type'}")
    request_id = answer.fields.get("RequestId")
    if not isinstance(request_id, str) or not 0 < len(request_id) <= 256:
        raise Differs("Response.RequestId is not text")


async def _success(probe: CompareFaceProbe) -> str:
    answer = await probe.ask(pair(probe, FaceModelVersion=_MODEL))
    _check_shape(answer)
    score = answer.score()
    if answer.fields.get("FaceModelVersion") != _MODEL or "Error" in answer.fields:
        raise Differs("FaceModelVersion is not 3.0, or there is an Error")
    return f"HTTP 200, JSON, score {score:.1f}"


async def _failure(probe: CompareFaceProbe) -> str:
    answer = await probe.ask(images(probe.pictures.no_face, probe.pictures.reference))
    _check_shape(answer)
    if (
        not answer.code
        or "Score" in answer.fields
        or not isinstance(answer.fields["Error"].get("Message"), str)
    ):
        raise Differs(f"{answer}, with a score: {'Score' in answer.fields}")
    return f"HTTP 200, JSON, {answer}"


async def _keep_alive(probe: CompareFaceProbe) -> str:
    await probe.ask(pair(probe))
    answer = await probe.ask(pair(probe))
    answer.score()
    if answer.http.connected:
        raise NotOffered("each request needs a new connection")
    return "two requests, one connection"


async def _scale(probe: CompareFaceProbe) -> str:
    pictures = probe.pictures
    shots = (pictures.reference, pictures.shot, pictures.stranger, pictures.third)
    scores = [(await probe.ask(images(shot, pictures.reference))).score() for shot in shots]
    same, person, *strangers = scores
    summary = f"same picture {same:.1f}, same person {person:.1f}, others {max(strangers):.1f} at most"
    if not same >= person >= _SAME_PERSON > _STRANGER_MAX > max(strangers):
        raise Differs(summary)
    return summary


async def _accepted(probe: CompareFaceProbe, fields: Fields, signing: Signing | None = None) -> str:
    return f"score {(await probe.ask(fields(probe), signing)).score():.1f}"


async def _refused(
    probe: CompareFaceProbe, codes: tuple[str, ...], fields: Fields, signing: Signing | None = None
) -> str:
    """Pass: one of ``codes``, or a more precise code of the same family."""
    answer = await probe.ask(fields(probe), signing)
    if not any(answer.code == code or answer.code.startswith(f"{code}.") for code in codes):
        raise Differs(f"{answer}; expected {' or '.join(codes)}")
    return answer.code


async def _twice(probe: CompareFaceProbe) -> str:
    content = json.dumps(pair(probe)).encode()
    headers = probe.headers(content, Signing())
    answers = [await probe.send_headers(content, headers) for _ in range(2)]
    answers[0].score()
    if answers[1].code.startswith("AuthFailure"):
        raise NotOffered(f"{answers[1].code}: this account accepts each signature once")
    answers[1].score()
    return "accepted again"


def _urls(a: bool, b: bool) -> Fields:
    def fields(probe: CompareFaceProbe) -> dict[str, object]:
        shot = {"UrlA": probe.photo_url("shot")} if a else {"ImageA": encoded(probe.pictures.shot)}
        other = {"UrlB": probe.photo_url("reference")} if b else {"ImageB": encoded(probe.pictures.reference)}
        return {**shot, **other}

    return fields


def _both(probe: CompareFaceProbe) -> dict[str, object]:
    return pair(probe, ImageB=encoded(probe.pictures.stranger), UrlB=probe.photo_url("reference"))


_ACCEPTED: tuple[tuple[str, Fields], ...] = (
    ("two images", pair),
    ("every parameter", lambda p: pair(p, FaceModelVersion=_MODEL, QualityControl=0, NeedRotateDetection=0)),
    ("an empty url beside an image", lambda p: pair(p, UrlA="")),
    ("slashes escaped", lambda p: json.dumps(pair(p)).replace("/", "\\/").encode()),
    ("padding escaped", lambda p: json.dumps(pair(p)).replace("=", "\\u003d").encode()),
    (
        "an image of nearly 5 MB",
        lambda p: images(padded(p.pictures.shot, _NEARLY_5_MB), p.pictures.reference),
    ),
    ("PNG", lambda p: images(p.pictures.png, p.pictures.reference)),
    ("BMP", lambda p: images(p.pictures.bmp, p.pictures.reference)),
    ("EXIF orientation of image A", lambda p: images(p.pictures.rotated, p.pictures.reference)),
    ("EXIF orientation of image B", lambda p: images(p.pictures.shot, p.pictures.rotated)),
    ("two urls", _urls(a=True, b=True)),
    ("an image and a url", _urls(a=False, b=True)),
    ("a url and an image", _urls(a=True, b=False)),
    ("the url wins over the image", _both),
)
_SIGNED: tuple[tuple[str, Signing], ...] = (
    ("with a region", Signing(headers={"X-TC-Region": "ap-guangzhou"})),
    ("with the language of messages", Signing(headers={"X-TC-Language": "en-US"})),
    ("a further signed header", Signing(signed={"x-tc-action": "CompareFace"})),
    ("a charset in the content type", Signing(content_type="application/json; charset=utf-8")),
    ("four minutes old", Signing(age_s=240)),
    ("four minutes ahead", Signing(age_s=-240)),
)
_AUTH, _FORGED = "AuthFailure", "AuthFailure.SignatureFailure"
_NO_ID = ("AuthFailure.SecretIdNotFound", "AuthFailure.InvalidSecretId")
_FORGERIES: tuple[tuple[str, tuple[str, ...], Signing], ...] = (
    ("no Authorization header", (_AUTH, "MissingParameter"), Signing(headers={"Authorization": ""})),
    ("a signature of 2018", (_AUTH,), Signing(headers={"Authorization": "QUtJRA=="})),
    ("unknown secret id", _NO_ID, Signing(signer="AKIDUNKNOWN")),
    ("signed with another key", (_FORGED,), Signing(key=b"another key of no account")),
    ("signed for another body", (_FORGED,), Signing(body=b"{}")),
    ("another content type", (_FORGED,), Signing(headers={"Content-Type": "application/json;x=y"})),
    ("ten minutes old", ("AuthFailure.SignatureExpire",), Signing(age_s=600)),
    ("ten minutes ahead", ("AuthFailure.SignatureExpire",), Signing(age_s=-600)),
    ("another day in the scope", (_AUTH,), Signing(day="2020-01-01")),
    ("another service in the scope", (_AUTH,), Signing(service="cvm")),
    ("no timestamp", (_AUTH, "MissingParameter"), Signing(headers={"X-TC-Timestamp": ""})),
)
_HEADERS: tuple[tuple[str, tuple[str, ...], Signing], ...] = (
    ("no action", ("MissingParameter", "InvalidAction"), Signing(headers={"X-TC-Action": ""})),
    ("another action", ("InvalidAction",), Signing(headers={"X-TC-Action": "NoSuchAction"})),
    ("no version", ("MissingParameter", "NoSuchVersion"), Signing(headers={"X-TC-Version": ""})),
    ("another version", ("NoSuchVersion", "InvalidAction"), Signing(headers={"X-TC-Version": "1999-01-01"})),
)
_JSON_FAULT = ("InvalidParameter", "InvalidRequest", "InvalidParameterValue")
_EMPTY = ("InvalidParameterValue.ImageEmpty", "InvalidParameterValue.ImageEmptyError", "MissingParameter")
_NO_PICTURE = (
    "FailedOperation.ImageDecodeFailed",
    "InvalidParameterValue",
    "FailedOperation.ImageFacedetectFailed",
)
_NO_FACE = ("InvalidParameterValue.NoFaceInPhoto", "FailedOperation.ImageFacedetectFailed")
_SMALL = ("FailedOperation.ImageResolutionTooSmall",)
_PIXELS, _BYTES = (
    ("FailedOperation.ImageResolutionExceed",),
    ("FailedOperation.ImageSizeExceed", "RequestSizeLimitExceeded"),
)
_UNUSABLE = (*_NO_FACE, "FailedOperation.FaceSizeTooSmall")
_DEAD = ("FailedOperation.ImageDownloadError", "InvalidParameterValue.UrlIllegal")
_MISTAKES: tuple[tuple[str, tuple[str, ...], Fields], ...] = (
    ("broken JSON", _JSON_FAULT, lambda _: b'{"ImageA":'),
    ("a list instead of an object", _JSON_FAULT, lambda _: b"[]"),
    ("an image that is a number", _JSON_FAULT, lambda p: pair(p, ImageA=7)),
    ("an unknown parameter", ("UnknownParameter",), lambda p: pair(p, NoSuchParameter=1)),
    ("model 1.0", ("InvalidParameterValue",), lambda p: pair(p, FaceModelVersion="1.0")),
    ("quality level 5", ("InvalidParameterValue",), lambda p: pair(p, QualityControl=5)),
    ("no image", _EMPTY, lambda _: {}),
    ("image B missing", _EMPTY, lambda p: pair(p, ImageB=None)),
    ("image A empty", _EMPTY, lambda p: pair(p, ImageA="")),
    ("an image without base64", _NO_PICTURE, lambda p: pair(p, ImageA="%" * 400)),
    ("image A is a GIF", _NO_PICTURE, lambda p: images(_GIF, p.pictures.reference)),
    ("image B is text", _NO_PICTURE, lambda p: images(p.pictures.shot, b"not an image")),
    ("image A truncated", _NO_PICTURE, lambda p: images(p.pictures.shot[:2_000], p.pictures.reference)),
    ("image B truncated", _NO_PICTURE, lambda p: images(p.pictures.shot, p.pictures.reference[:2_000])),
    ("no face in image A", _NO_FACE, lambda p: images(p.pictures.no_face, p.pictures.reference)),
    ("no face in image B", _NO_FACE, lambda p: images(p.pictures.shot, p.pictures.no_face)),
    ("an image over 5 MB", _BYTES, lambda p: pair(p, ImageA=encoded(padded(p.pictures.shot, _OVER_5_MB)))),
    ("PNG of 2001 px", _PIXELS, lambda p: images(blank_png(2_001, 64), p.pictures.reference)),
    ("PNG of 2000 px, no face", _UNUSABLE, lambda p: images(blank_png(2_000, 64), p.pictures.reference)),
    ("63 px high", _SMALL, lambda p: images(p.pictures.shot, blank_png(200, 63))),
    ("a decompression bomb", _PIXELS, lambda p: images(p.pictures.shot, bomb_png(60_000, 60_000))),
    ("a text that is not a url", _DEAD, lambda p: pair(p, UrlA="photo.jpg")),
    ("a dead url wins over a good image", _DEAD, lambda p: pair(p, UrlB="http://127.0.0.1:1/photo.jpg")),
    ("a url to the metadata address", _DEAD, lambda p: pair(p, UrlA="http://169.254.169.254/latest/")),
)

CHECKS: tuple[Check, ...] = (
    ContractCheck("answer", "shape of a success", _success),
    ContractCheck("answer", "shape of a failure", _failure),
    ContractCheck("answer", "the connection is kept", _keep_alive),
    ContractCheck("answer", "score falls from same picture to same person to strangers", _scale),
    *(ContractCheck("form", name, partial(_accepted, fields=fields)) for name, fields in _ACCEPTED),
    *(
        ContractCheck("signature", name, partial(_accepted, fields=pair, signing=signing))
        for name, signing in _SIGNED
    ),
    ContractCheck("signature", "the same signature twice (multi-use)", _twice),
    *(
        ContractCheck("signature", name, partial(_refused, codes=codes, fields=pair, signing=signing))
        for name, codes, signing in _FORGERIES
    ),
    *(
        ContractCheck("mistake", name, partial(_refused, codes=codes, fields=pair, signing=signing))
        for name, codes, signing in _HEADERS
    ),
    *(
        ContractCheck("mistake", name, partial(_refused, codes=codes, fields=fields))
        for name, codes, fields in _MISTAKES
    ),
)
NOT_CHECKED = "rates, packages, arrears and temporary keys: an account's or a server's state, not a request's"
