"""Urls of photos, as a till or a client gives them: one parser for the terminal and for the service. Pure."""

import httpx

from agent.errors import WrongValueError
from agent.texts import Text

_PORT_MAX = 65_535


def parse_photo_url(text: str) -> httpx.URL:
    """Parse an absolute url with a host.

    Raises:
        ValueError: malformed, not ASCII after IDNA encoding, without a host, with a user or password, or with
            a port outside 1 to 65535.
    """
    try:
        url = httpx.URL(text)
        # httpx decodes lazily: each of these raises for a host that IDNA cannot encode or decode
        host, netloc, port = url.host, url.netloc.decode("ascii"), url.port
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise WrongValueError(Text("detail.photo_url_malformed")) from error
    if not host or not netloc or url.userinfo:
        raise WrongValueError(Text("detail.photo_url_host"))
    if port is not None and not 0 < port <= _PORT_MAX:
        raise WrongValueError(Text("detail.photo_url_port"))
    return url
