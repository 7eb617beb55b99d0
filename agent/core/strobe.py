"""Strobed cameras: which frames their lamp does not light. Pure.

The lamp of an infrared camera may light every second frame only. The other frames are dark and do not show
the payer. The capture thread leaves them out, so that all checks get lit frames at half the rate. The frames
of a camera that stays dark, for example of a covered one, do not alternate and are not left out.
"""

from collections.abc import Sequence

WINDOW = 4  # frames: lit, dark, lit, dark
_DARK_SHARE = 0.5  # of a lit frame: one step of exposure
_LIT_LUMA = 12.0  # 0–255, the limit of a covered camera: below it the noise of the sensor decides


def is_unlit(lumas: Sequence[float]) -> bool:
    """Whether the newest frame is a dark frame of a strobed camera: the last four frames alternate.

    Never true for two frames in a row, so a strobed camera that becomes dark is reported as dark.

    Args:
        lumas: mean brightness of successive frames, 0–255, the newest last. Only the last ``WINDOW`` frames
            count; fewer frames give False.
    """
    if len(lumas) < WINDOW:
        return False
    earlier_lit, earlier_dark, lit, dark = lumas[-WINDOW:]
    return (
        min(earlier_lit, lit) > _LIT_LUMA
        and earlier_dark < _DARK_SHARE * min(earlier_lit, lit)
        and dark < _DARK_SHARE * lit
    )
