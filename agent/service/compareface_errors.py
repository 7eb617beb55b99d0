"""The error codes of ``CompareFace`` for the failures of this service.

A failure has a code of the 2018 API and often a cause. The cause decides where there is one, otherwise the
code. Both tables are complete, so every failure has a code that the provider documents; the reference is
docs/reference/compareface.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.compare.compareface_contract import failure_body
from agent.compare.contract import ApiFailure
from agent.service.causes import Cause

_DECODE, _FACE = "FailedOperation.ImageDecodeFailed", "FailedOperation.ImageFacedetectFailed"
_RESOLUTION, _SIZE = "FailedOperation.ImageResolutionExceed", "FailedOperation.ImageSizeExceed"
_NO_FACE, _SMALL = "InvalidParameterValue.NoFaceInPhoto", "FailedOperation.FaceSizeTooSmall"
_EMPTY, _COMPARE = "InvalidParameterValue.ImageEmpty", "FailedOperation.CompareFail"
_DOWNLOAD, _URL = "FailedOperation.ImageDownloadError", "InvalidParameterValue.UrlIllegal"
_BUSY, _ACCOUNT_BUSY = "RequestLimitExceeded", "RequestLimitExceeded.UinLimitExceeded"
_ADDRESS_BUSY, _SERVER = "RequestLimitExceeded.IPLimit", "FailedOperation.ServerError"
_HEADER, _FORGED = "AuthFailure.InvalidAuthorization", "AuthFailure.SignatureFailure"
_EXPIRED, _NO_KEY = "AuthFailure.SignatureExpire", "AuthFailure.SecretIdNotFound"
_PARAMETER, _VALUE, _REQUEST = "InvalidParameter", "InvalidParameterValue", "InvalidRequest"
_FACE_MODEL = "InvalidParameterValue.FaceModelVersionIllegal"
_QUALITY = "InvalidParameterValue.QualityControlIllegal"
_AUTH_SERVICE, _ARREARS = "ResourceUnavailable.GetAuthInfoError", "ResourceUnavailable.InArrears"


def _each(rows: Mapping[str, Iterable[Cause]]) -> dict[Cause, str]:
    return {cause: code for code, causes in rows.items() for cause in causes}


BY_CAUSE = _each(
    {
        _BUSY: (
            *(Cause.CONNECTIONS, Cause.MEMORY, Cause.QUEUE_LENGTH, Cause.QUEUE_TIME, Cause.RESOLVER_FULL),
            *(Cause.SHARED_STORE, Cause.SIGNATURES_FULL, Cause.STOPPING, Cause.TOO_LATE),
        ),
        _ACCOUNT_BUSY: (Cause.ACCOUNT_RATE, Cause.MEMORY_ACCOUNT),
        _ADDRESS_BUSY: (Cause.MEMORY_ADDRESS,),
        _EXPIRED: (Cause.EXPIRED, Cause.FAR_FUTURE),
        "AuthFailure.TokenFailure": (Cause.TOKEN,),
        "InvalidAction": (Cause.ACTION,),
        "NoSuchVersion": (Cause.VERSION,),
        "UnsupportedRegion": (Cause.REGION,),
        "MissingParameter": (Cause.PARAMETER_MISSING,),
        "UnknownParameter": (Cause.PARAMETER_UNKNOWN,),
        _VALUE: (Cause.PARAMETER_VALUE,),
        _FACE_MODEL: (Cause.FACE_MODEL,),
        _QUALITY: (Cause.QUALITY_CONTROL,),
        _PARAMETER: (
            *(Cause.FIELD_CHARACTERS, Cause.FIELD_REPEATED, Cause.FIELD_TYPE),
            *(Cause.JSON_INVALID, Cause.JSON_KEY_REPEATED, Cause.JSON_NO_OBJECT),
        ),
        _REQUEST: (
            *(Cause.BODY_SLOW, Cause.MEDIA_TYPE, Cause.MULTIPART_BROKEN, Cause.MULTIPART_UNFINISHED),
            Cause.PARTS_TOO_MANY,
        ),
        _DECODE: (
            *(Cause.BASE64, Cause.FORMAT, Cause.HEADER, Cause.LENGTH, Cause.SCANS),
            *(Cause.UNFINISHED, Cause.DECODER),
        ),
        _RESOLUTION: (Cause.SIZE,),
        "FailedOperation.ImageResolutionTooSmall": (Cause.SIZE_SMALL,),
        _NO_FACE: (Cause.NO_FACE,),
        _SMALL: (Cause.FACE_SMALL,),
        _FACE: (Cause.NOT_UPRIGHT,),
        _COMPARE: (Cause.VECTOR,),
        _URL: (Cause.URL,),
        _DOWNLOAD: (
            *(Cause.NOT_PUBLIC, Cause.REDIRECTS, Cause.NO_HOST, Cause.NO_CONNECTION),
            *(Cause.RESOLVER_SLOW, Cause.DOWNLOAD_SLOW, Cause.HTTP_STATUS, Cause.HTTP_ERROR),
        ),
    }
)
_LIBRARY = (-1302, -1303, -1305, -1306, -1307, -1309, -1310, -1311, -1312)  # no part of CompareFace
_ATTRIBUTES = (-1104, -1105, -1106, -1107, -1108, -1109, -1110)
BY_CODE: dict[int, str] = {
    3: _ARREARS, 4: _HEADER, 5: _HEADER, 6: _HEADER, 7: "InternalError", 8: "InternalError", 9: _EXPIRED,
    10: _NO_KEY, 11: _NO_KEY, 12: _NO_KEY, 13: _EXPIRED, 14: _FORGED, 15: _BUSY, 16: _VALUE, 17: _EMPTY,
    18: _EMPTY, 19: _PARAMETER, 20: _SIZE, 21: _PARAMETER, 23: "RequestSizeLimitExceeded",
    24: "UnauthorizedOperation", 25: "ResourceInsufficient", 107: _AUTH_SERVICE, 108: _AUTH_SERVICE,
    200: "InternalError", 201: "InternalError", 202: "FailedOperation.RpcFail",
    203: "FailedOperation.RequestTimeout", 213: "InternalError",
    -1100: _COMPARE, -1101: _NO_FACE, -1102: _DECODE, -1103: _COMPARE,
    **dict.fromkeys(_ATTRIBUTES, _SERVER), -1200: _SERVER, -1201: _SERVER, -1300: _EMPTY,
    -1301: "MissingParameter.ErrorParameterEmpty", -1304: _URL, **dict.fromkeys(_LIBRARY, _VALUE),
    -1308: _DOWNLOAD, -1313: _VALUE, -1400: _DECODE, -1401: _SERVER, -1403: _DOWNLOAD, -1404: _FACE,
    -1408: _SIZE, -1409: _FACE, -1505: _URL, -1506: _DOWNLOAD, -1507: _DOWNLOAD, -5062: _DOWNLOAD,
}  # fmt: skip


def error_code(failure: ApiFailure) -> str:
    return BY_CAUSE[Cause(failure.cause)] if failure.cause else BY_CODE[failure.api_code]


def error_body(failure: ApiFailure, request_id: str) -> bytes:
    """The bytes of a failure. The message names the cause and the image, which the error code does not."""
    side = {1: " (image A)", 2: " (image B)"}.get(failure.fail_flag or 0, "")
    cause = f"{failure.cause}: " if failure.cause else ""
    return failure_body(error_code(failure), f"{cause}{failure}{side}", request_id)
