"""When a frame is worth a detection, and when the whole of it must be looked at."""

from __future__ import annotations

from agent.vision.luma import PresenceGate, Sample

# The whole frame is looked at at least this often: so long may a second person go unseen beside a payer who
# is followed, or somebody who stands so still that he is taken for the background; so long may the core wait
# for a shot after it used up the last one.
_WHOLE_MS = 300
_ENGAGED_MS = 1_000  # after a face was seen, every frame is looked at for this long


class DetectionSchedule:
    """Remembers the last looks of one verification, and what the empty scene looks like."""

    def __init__(self) -> None:
        self._presence = PresenceGate()
        self._whole_ms: int | None = None
        self._face_ms: int | None = None

    def begin(self) -> None:
        """A verification starts: its first frame is looked at in full."""
        self._presence.begin()
        self._whole_ms = None
        self._face_ms = None

    def is_due(self, luma: Sample, at_ms: int) -> bool:
        """Whether this frame is worth a detection."""
        if self.is_whole_due(at_ms):
            return True
        if self._face_ms is not None and at_ms - self._face_ms <= _ENGAGED_MS:
            return True
        return self._presence.is_present(luma)

    def is_whole_due(self, at_ms: int) -> bool:
        return self._whole_ms is None or at_ms - self._whole_ms >= _WHOLE_MS

    def looks_at_whole(self, at_ms: int) -> None:
        self._whole_ms = at_ms

    def found_a_face(self, at_ms: int) -> None:
        self._face_ms = at_ms

    def found_nobody(self, luma: Sample) -> None:
        """In the whole frame: this is what empty looks like now."""
        self._presence.learn(luma)
