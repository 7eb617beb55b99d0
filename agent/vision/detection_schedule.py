"""Schedule of face detections: which frames need a detection, and which of them in the whole frame."""

from agent.vision.luma import PresenceGate, Sample

# Longest time between two detections in the whole frame. It limits three delays: until a second person beside
# a followed payer is detected, until a person without movement is separated from the background, and until
# the core gets the next shot.
_WHOLE_MS = 300
_ENGAGED_MS = 1_000  # after a detected face, every frame gets a detection for this time


class DetectionSchedule:
    """Stores the times of the last detections of one verification, and the luma of the empty scene."""

    def __init__(self) -> None:
        self._presence = PresenceGate()
        self._whole_ms: int | None = None
        self._face_ms: int | None = None

    def begin(self) -> None:
        """Reset at the start of a verification: the first frame gets a detection in the whole frame."""
        self._presence.begin()
        self._whole_ms = None
        self._face_ms = None

    def is_due(self, luma: Sample, at_ms: int) -> bool:
        """Whether this frame needs a detection."""
        if self.is_whole_due(at_ms):
            return True
        if self._face_ms is not None and at_ms - self._face_ms <= _ENGAGED_MS:
            return True
        return self._presence.is_present(luma)

    def is_whole_due(self, at_ms: int) -> bool:
        return self._whole_ms is None or at_ms - self._whole_ms >= _WHOLE_MS

    def note_whole_frame(self, at_ms: int) -> None:
        self._whole_ms = at_ms

    def note_face(self, at_ms: int) -> None:
        self._face_ms = at_ms

    def note_no_face(self, luma: Sample) -> None:
        """The whole frame has no face: store its luma as the empty scene."""
        self._presence.learn(luma)
