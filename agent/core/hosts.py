"""Host names and IP addresses as text."""

from ipaddress import ip_address


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address, so that no name server is needed."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether ``host`` is ``localhost`` or a loopback address."""
    return host == "localhost" or (is_address(host) and ip_address(host).is_loopback)


def in_url(host: str) -> str:
    """The host as in a url and in a Host header: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
