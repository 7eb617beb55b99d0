"""What every kind of camera is to the capture thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from agent.core.model import FaceLight, Frame

Remedies = tuple[tuple[str, Callable[[], None]], ...]


class CameraBackend(Protocol):
    """A blocking camera. Called from the capture thread only, except ``close`` and the remedies.

    One grabber may be opened again after ``close``; its sequence numbers go on. A ``CameraError`` with advice
    other than ``Retry.NEVER`` makes the capture thread close it and open it again after a pause.
    """

    @property
    def remedies(self) -> Remedies:
        """What may bring a silent camera back without opening it again: name and call, the gentlest first.

        Each is called from a thread of its own while ``grab`` may be blocked, and may itself hang: then that
        thread is abandoned. It may raise ``CameraError``. Empty where only opening again helps.
        """

    def open(self) -> None:
        """Raises ``CameraError`` when there is no camera."""

    def grab(self) -> Frame:
        """Block until the next frame. Raises ``CameraError`` when there will be none."""

    def close(self) -> None:
        """Release the camera; a blocked ``grab`` ends soon after. Safe to call twice."""


@runtime_checkable
class Exposing(Protocol):
    """A camera that can expose for a face."""

    def expose(self, light: FaceLight | None) -> None:
        """Called from the asyncio loop: must not block or raise. None: no face counts any more."""
