"""Focus and light as text: for turning the lens and moving the lamps. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agent.health.looks import LensLook

_BAR = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_COLUMNS = " ▁▂▃▄▅▆▇█"
_NEAR_PEAK = 0.97

_COVERED, _DARK, _BRIGHT = 12.0, 60.0, 195.0  # mean luma, 0–255
_LOST_SHARE, _BURNT_SHARE = 0.5, 0.1  # of the pixels
_USED_SHARE, _FLAT_STEPS = 0.005, 6  # a picture that uses fewer of the 32 steps is flat


# libcamera's name -> words, and what its unit is to be multiplied with
_OF_LIGHT = {
    "ExposureTime": ("exposed for 曝光 {:.1f} ms", 1e-3),
    "AnalogueGain": ("gain 增益 {:.1f}", 1.0),
    "DigitalGain": ("digital gain 数字增益 {:.1f}", 1.0),
    "Lux": ("{:.0f} lux", 1.0),
    "SensorTemperature": ("sensor 传感器 {:.0f} °C", 1.0),
}
_OF_FOCUS = {
    "LensPosition": ("lens at 镜头 {:.2f} dioptres 屈光度", 1.0),
    "FocusFoM": ("contrast 对比 {:.0f}", 1.0),
}


class PeakHold:
    """The best sharpness so far: one turns past it, then back."""

    def __init__(self) -> None:
        self.peak = 0.0

    def line(self, look: LensLook) -> str:
        """One reading: number, bar, peak, and whether this is it."""
        self.peak = max(self.peak, look.sharpness)
        at_peak = look.sharpness >= _NEAR_PEAK * self.peak > 0
        words = "at the peak 已达峰值" if at_peak else "past it: turn back 已过峰值，请回转"
        number = f"sharpness {look.sharpness:5.1f} {_bar(look.sharpness)} peak {self.peak:5.1f}"
        return "  ".join([number, words, *camera_words(look, _OF_FOCUS)])


def light_screen(look: LensLook) -> str:
    """Histogram, numbers and a verdict in words."""
    words, words_zh = light_words(look)
    return "\n".join(
        [
            f"light  {_columns(look)}  black to white 暗→亮",
            f"       {_numbers(look)}",
            f"       {words}",
            f"       {words_zh}",
            *(f"       camera 摄像头: {', '.join(said)}" for said in [camera_words(look, _OF_LIGHT)] if said),
        ]
    )


def light_line(look: LensLook) -> str:
    """The same in one line."""
    words = [f"light  {_columns(look)}", _numbers(look), " ".join(light_words(look))]
    return "  ".join([*words, *camera_words(look, _OF_LIGHT)])


def camera_words(look: LensLook, of: Mapping[str, tuple[str, float]]) -> list[str]:
    """What the camera itself says of this frame, as far as it does: most say nothing."""
    return [words.format(look.told[name] * scale) for name, (words, scale) in of.items() if name in look.told]


def _columns(look: LensLook) -> str:
    """The histogram; its root is drawn, or one bright wall would hide everything else."""
    most = max(*look.levels, 1e-9)
    return "".join(_COLUMNS[min(8, round(8 * (share / most) ** 0.5))] for share in look.levels)


def _numbers(look: LensLook) -> str:
    return f"mean {look.mean_luma:.0f} of 255, {look.dark_share:.0%} black, {look.bright_share:.0%} burnt out"


def light_words(look: LensLook) -> tuple[str, str]:
    """What to do about the light, in English and Chinese; the worst first."""
    if look.mean_luma < _COVERED:
        return "Black: uncover the lens, or switch on a light.", "全黑：请移开镜头遮挡物，或打开灯光。"
    if look.bright_share > _BURNT_SHARE:
        return (
            "Burnt out: move the lamp, turn the camera away from the window.",
            "过曝：请移动灯具，或使摄像头避开窗户。",
        )
    if look.mean_luma < _DARK or look.dark_share > _LOST_SHARE:
        return "Dark: more light from the front.", "偏暗：请增加正面光线。"
    if look.mean_luma > _BRIGHT:
        return "Bright: less light, or none from behind.", "偏亮：请减弱光线，避免逆光。"
    if sum(share > _USED_SHARE for share in look.levels) < _FLAT_STEPS:
        return "Flat: clean the lens, remove its film.", "对比度低：请清洁镜头，撕掉保护膜。"
    return "Good.", "良好。"


def _bar(value: float) -> str:
    """0–100 as a bar of eighths of a letter."""
    eighths = round(min(100.0, max(0.0, value)) / 100 * _BAR * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(_BAR)
