"""The error codes of ``CompareFace`` for the failures of this service.

A failure has a code of the 2018 API and often a cause. The cause decides where there is one, otherwise the
code. Both tables are complete, so every failure has a code that the provider documents; the reference is
docs/reference/compareface.md.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from agent.compare.compareface_contract import failure_body
from agent.compare.contract import ApiFailure
from agent.service.causes import Cause

_Key = TypeVar("_Key", Cause, int)
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
_ARREARS = "ResourceUnavailable.InArrears"


def _code_by_key(rows: Mapping[str, Iterable[_Key]]) -> dict[_Key, str]:
    return {key: code for code, keys in rows.items() for key in keys}


BY_CAUSE = _code_by_key(
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
BY_CODE = _code_by_key(
    {
        _ARREARS: (3,),
        _HEADER: (4, 5, 6),
        "InternalError": (7, 8, 200, 201, 213),
        _EXPIRED: (9, 13),
        _NO_KEY: (10, 11, 12),
        _FORGED: (14,),
        _BUSY: (15,),
        # -1302 to -1312 are codes of face libraries, which are no part of CompareFace
        _VALUE: (16, -1302, -1303, -1305, -1306, -1307, -1309, -1310, -1311, -1312, -1313),
        _EMPTY: (17, 18, -1300),
        _PARAMETER: (19, 21),
        _SIZE: (20, -1408),
        "RequestSizeLimitExceeded": (23,),
        "UnauthorizedOperation": (24,),
        "ResourceInsufficient": (25,),
        "ResourceUnavailable.GetAuthInfoError": (107, 108),
        "FailedOperation.RpcFail": (202,),
        "FailedOperation.RequestTimeout": (203,),
        _COMPARE: (-1100, -1103),
        _NO_FACE: (-1101,),
        _DECODE: (-1102, -1400),
        _SERVER: (*range(-1110, -1103), -1200, -1201, -1401),  # -1104 to -1110: face attributes
        "MissingParameter.ErrorParameterEmpty": (-1301,),
        _URL: (-1304, -1505),
        _DOWNLOAD: (-1308, -1403, -1506, -1507, -5062),
        _FACE: (-1404, -1409),
    }
)


def error_code(failure: ApiFailure) -> str:
    return BY_CAUSE[Cause(failure.cause)] if failure.cause else BY_CODE[failure.api_code]


def error_body(failure: ApiFailure, request_id: str) -> bytes:
    """The bytes of a failure. The message names the cause and the image, which the error code does not."""
    side = {1: " (image A)", 2: " (image B)"}.get(failure.fail_flag or 0, "")
    cause = f"{failure.cause}: " if failure.cause else ""
    return failure_body(error_code(failure), f"{cause}{failure}{side}", request_id)
