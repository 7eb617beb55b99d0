"""The wire contract of ``CompareFace`` (2020-03-03), shared by client and service. Pure.

Source: the provider's page of the API and the models of its SDK. ImageA is the shot, ImageB the enrolled
photo.
"""

import json

ACTION, VERSION, SERVICE = "CompareFace", "2020-03-03", "iai"
PATH = "/"
FACE_MODEL = "3.0"  # a threshold applies to the scale of this model only
BASE64_MAX_CHARS = 5_000_000  # of one image


def success_body(score: float, request_id: str) -> bytes:
    """The bytes of a success. ``score`` is finite, 0-100, on the scale of ``FACE_MODEL``."""
    return _dump({"Score": float(score), "FaceModelVersion": FACE_MODEL, "RequestId": request_id})


def failure_body(code: str, message: str, request_id: str) -> bytes:
    """The bytes of a failure with a code of the 2020 API."""
    return _dump({"Error": {"Code": code, "Message": message}, "RequestId": request_id})


def _dump(response: dict[str, object]) -> bytes:
    return json.dumps({"Response": response}, separators=(",", ":"), allow_nan=False).encode()
