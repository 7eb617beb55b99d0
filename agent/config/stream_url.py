"""The address of a camera stream, and whether a connection to it authenticates the camera.

By default FFmpeg verifies no certificate. With tls_verify it compares the name in the certificate only with a
DNS name. With an IP address as host it accepts every certificate of the given CA (measured with the FFmpeg 8
inside opencv-python-headless 4.14; tested by tests/camera/test_stream_tls.py).
"""

import re
import socket
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from agent.errors import WrongValueError
from agent.texts import Text

MAX_CHARS = 2_048
TLS_SCHEMES = frozenset({"rtsps", "https"})  # FFmpeg applies tls_verify and ca_file to these only
_OTHER_SCHEMES = frozenset({"rtsp", "http", "rtmp", "rtmps", "udp", "tcp", "rtp", "srt"})
SCHEMES = TLS_SCHEMES | _OTHER_SCHEMES
_DNS_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?"
)


class Authentication(StrEnum):
    """What a connection to a stream proves about the camera."""

    VERIFIED = "verified"  # a certificate of the named CA, for this DNS name
    UNVERIFIED = "unverified"  # encrypted, but any certificate is accepted
    NONE = "none"


@dataclass(frozen=True, slots=True)
class StreamUrl:
    """A parsed address. ``text`` is for FFmpeg; ``repr`` omits it because it can contain a password."""

    scheme: str  # lower case, one of SCHEMES
    host: str  # lower case, without brackets
    query: str
    text: str

    def __repr__(self) -> str:
        return f"StreamUrl({self.scheme}://{self.host})"

    def authentication(self, *, has_ca: bool) -> Authentication:
        """``has_ca``: ``camera.ca_file`` is set, so FFmpeg verifies the certificate."""
        if self.scheme not in TLS_SCHEMES:
            return Authentication.UNVERIFIED if self.scheme == "rtmps" else Authentication.NONE
        is_compared = _DNS_NAME.fullmatch(self.host) and not _is_numeric(self.host)
        # An item without "=" can be an option of FFmpeg: with rtsps://…?udp the pictures are not encrypted.
        has_option = any("=" not in item for item in self.query.split("&") if item)
        is_verified = has_ca and is_compared and not has_option
        return Authentication.VERIFIED if is_verified else Authentication.UNVERIFIED


def parse(source: str) -> StreamUrl:
    """The parts of a stream's address, with the scheme in lower case.

    Raises:
        ValueError: the address is unusable. The message never quotes it: an address can contain a password.
    """
    if len(source) > MAX_CHARS or re.search(r"[\s\x00-\x1f\x7f-\x9f\\\"'<>]", source):
        # the log finds the end of an address, and so of its password, by these characters
        raise WrongValueError(Text("detail.stream_characters", most=MAX_CHARS))
    scheme, mark, rest = source.partition("://")
    scheme = scheme.lower()
    if not mark:
        raise WrongValueError(Text("detail.stream_no_scheme"))
    if scheme not in SCHEMES:
        known = ", ".join(sorted(SCHEMES))
        name = f" {scheme}" if re.fullmatch(r"[a-z0-9+.-]{1,16}", scheme) else ""
        raise WrongValueError(Text("detail.stream_scheme", name=name, known=known))
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise WrongValueError(Text("detail.stream_unparsable")) from None
    if not host:
        raise WrongValueError(Text("detail.stream_no_host"))
    return StreamUrl(scheme, host, parts.query, f"{scheme}://{rest}")


def _is_numeric(host: str) -> bool:
    """Whether the resolver takes ``host`` for an IP address; 127.1 and 0x7f000001 are forms of one."""
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return False
    return True
