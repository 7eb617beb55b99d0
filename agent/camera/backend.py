"""The interface between a kind of camera and the capture thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from agent.core.model import FaceLight, Frame

Remedies = tuple[tuple[str, Callable[[], None]], ...]


class CameraBackend(Protocol):
    """A blocking camera. Only the capture thread calls it, except ``close`` and the remedies.

    A backend can be opened again after ``close``; its sequence numbers continue. After a ``CameraError`` the
    capture thread closes the backend and opens it after a pause, unless the advice is ``Retry.NEVER``.
    """

    @property
    def remedies(self) -> Remedies:
        """Measures that can restart a silent camera without opening it again: name and call, mildest first.

        Each call runs in its own thread while ``grab`` may be blocked. A call may hang; its thread is then
        abandoned. A call may raise ``CameraError``. Empty when only opening again helps.
        """

    def open(self) -> None:
        """Raises ``CameraError`` when there is no camera."""

    def grab(self) -> Frame:
        """Block until the next frame. Raises ``CameraError`` when no further frame can come."""

    def close(self) -> None:
        """Release the camera; a blocked ``grab`` ends soon after. Safe to call twice."""


@runtime_checkable
class Exposing(Protocol):
    """A camera that can adapt its exposure to a face."""

    def expose(self, light: FaceLight | None) -> None:
        """Called in the event loop: must not block or raise. None: the verification ended."""
