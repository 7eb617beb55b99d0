"""Causes of refusals: a closed set for the answer (``data.cause``), the log and the metrics.

One API code has several causes. The code gives the client its next step; the cause names the limit or the
check that failed.
"""

from enum import StrEnum, unique


@unique
class Cause(StrEnum):
    """The reference of each value: docs/reference/compare-contract.md, section "Causes"."""

    # code 15
    ACCOUNT_RATE = "account_rate"
    CONNECTIONS = "connections"
    MEMORY = "memory"
    MEMORY_ACCOUNT = "memory_account"
    MEMORY_ADDRESS = "memory_address"
    QUEUE_LENGTH = "queue_length"
    QUEUE_TIME = "queue_time"
    RESOLVER_FULL = "resolver_full"
    SHARED_STORE = "shared_store"
    SIGNATURES_FULL = "signatures_full"
    STOPPING = "stopping"
    TOO_LATE = "too_late"
    # code 9
    EXPIRED = "expired"
    FAR_FUTURE = "far_future"
    # code 5
    TOKEN = "token"  # noqa: S105 - a cause, not a secret
    # code 21
    ACTION = "action"
    BODY_SLOW = "body_slow"
    FACE_MODEL = "face_model"
    FIELD_CHARACTERS = "field_characters"
    FIELD_REPEATED = "field_repeated"
    FIELD_TYPE = "field_type"
    JSON_INVALID = "json_invalid"
    JSON_KEY_REPEATED = "json_key_repeated"
    JSON_NO_OBJECT = "json_no_object"
    MEDIA_TYPE = "media_type"
    MULTIPART_BROKEN = "multipart_broken"
    MULTIPART_UNFINISHED = "multipart_unfinished"
    PARAMETER_MISSING = "parameter_missing"
    PARAMETER_UNKNOWN = "parameter_unknown"
    PARAMETER_VALUE = "parameter_value"
    PARTS_TOO_MANY = "parts_too_many"
    QUALITY_CONTROL = "quality_control"
    REGION = "region"
    VERSION = "version"
    # -1400, -1102, -1101, -1103
    BASE64 = "base64"
    FORMAT = "format"
    SIZE = "size"
    SIZE_SMALL = "size_small"
    HEADER = "header"
    LENGTH = "length"
    SCANS = "scans"
    UNFINISHED = "unfinished"
    DECODER = "decoder"
    NO_FACE = "no_face"
    FACE_SMALL = "face_small"
    NOT_UPRIGHT = "not_upright"
    VECTOR = "vector"
    # downloads
    URL = "url"
    NOT_PUBLIC = "not_public"
    REDIRECTS = "redirects"
    NO_HOST = "no_host"
    NO_CONNECTION = "no_connection"
    RESOLVER_SLOW = "resolver_slow"
    DOWNLOAD_SLOW = "download_slow"
    HTTP_STATUS = "http_status"
    HTTP_ERROR = "http_error"
