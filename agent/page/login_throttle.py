"""Login throttle: an address with too many wrong tokens is refused for a while."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request

GUESSES_MAX = 10
WINDOW_S = 60.0
_PEERS_MAX = 256


def peer_of(request: Request) -> str:
    """The address of the request's sender."""
    return request.client.host if request.client else "?"


class LoginThrottle:
    """Wrong tokens per address, within a window that begins with the first wrong token.

    Bounded: the address with the oldest window is dropped first. One-time links do not count: links are
    random, and a link must work also while another client guesses tokens through the same tunnel.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._wrong: dict[str, tuple[float, int]] = {}  # address -> (began, count), oldest window first

    def too_many(self, peer: str) -> bool:
        began_s, count = self._wrong.get(peer, (0.0, 0))
        return count >= GUESSES_MAX and self._now_s() - began_s < WINDOW_S

    def wrong(self, peer: str) -> None:
        now_s = self._now_s()
        began_s, count = self._wrong.get(peer, (now_s, 0))
        if now_s - began_s >= WINDOW_S:
            self._wrong.pop(peer)
            began_s, count = now_s, 0
        self._wrong[peer] = (began_s, count + 1)
        while len(self._wrong) > _PEERS_MAX:
            del self._wrong[next(iter(self._wrong))]
