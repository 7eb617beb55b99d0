"""The pose of a head that looks straight ahead, against which the turns of a challenge are measured. Pure.

The first frame can show a head that still comes back from another pose. Turns to one side would then be
measured too short, and turns to the other side too long. So until the first prompt a straighter frame
replaces the pose. Only a pose near that of the first frame does so: a head that has moved farther was not at
rest, and the films of turns that begin with such a motion would pass more often.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.core.geometry import Pose

MAX_REST = 0.25  # largest yaw of the first frame, which must not show a head that turns
REST_YAW = 0.12  # largest yaw difference to the pose at rest of a head that looks straight


@dataclass(frozen=True, slots=True)
class RestPose:
    """``pose``: of the straightest frame near the first one. ``first_yaw``: of the first frame."""

    pose: Pose
    first_yaw: float

    @classmethod
    def of(cls, pose: Pose) -> RestPose | None:
        """The pose of the first frame; None for a turned face or an unknown pose."""
        return cls(pose, pose.yaw) if pose.is_known and abs(pose.yaw) <= MAX_REST else None

    def straightened(self, pose: Pose) -> RestPose:
        """With the pose of a frame before the first prompt."""
        is_near = abs(pose.yaw - self.first_yaw) <= REST_YAW
        return replace(self, pose=pose) if is_near and abs(pose.yaw) < abs(self.pose.yaw) else self

    def turned(self, pose: Pose) -> float:
        """The yaw relative to the pose at rest, to any side."""
        return abs(pose.yaw - self.pose.yaw)

    def has_moved(self, pose: Pose) -> bool:
        """Whether a head at the first prompt has left the pose at rest, or that of the first frame."""
        return max(self.turned(pose), abs(pose.yaw - self.first_yaw)) > REST_YAW
