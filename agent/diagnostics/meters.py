"""Focus and light as text: for turning the lens and moving the lamps. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agent.health.probe_results import LensReading
from agent.texts import Text, beside, locales

_BAR = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_COLUMNS = " ▁▂▃▄▅▆▇█"
_NEAR_PEAK = 0.97

_COVERED, _DARK, _BRIGHT = 12.0, 60.0, 195.0  # mean luma, 0–255
_LOST_SHARE, _BURNT_SHARE = 0.5, 0.1  # of the pixels
_USED_SHARE, _FLAT_STEPS = 0.005, 6  # a picture that uses fewer of the 32 steps is flat


# libcamera's name -> message key, and the factor to the shown unit
_OF_LIGHT = {
    "ExposureTime": ("camera.exposure_time", 1e-3),
    "AnalogueGain": ("camera.analogue_gain", 1.0),
    "DigitalGain": ("camera.digital_gain", 1.0),
    "Lux": ("camera.lux", 1.0),
    "SensorTemperature": ("camera.sensor_temperature", 1.0),
}
_OF_FOCUS = {
    "LensPosition": ("camera.lens_position", 1.0),
    "FocusFoM": ("camera.focus_fom", 1.0),
}


class PeakHold:
    """The best sharpness so far: one turns past it, then back."""

    def __init__(self) -> None:
        self.peak = 0.0

    def line(self, look: LensReading) -> str:
        """One reading: number, bar, peak, and whether this is it."""
        self.peak = max(self.peak, look.sharpness)
        at_peak = look.sharpness >= _NEAR_PEAK * self.peak > 0
        words = beside(Text("camera.at_peak" if at_peak else "camera.past_peak"))
        number = f"sharpness {look.sharpness:5.1f} {_bar(look.sharpness)} peak {self.peak:5.1f}"
        return "  ".join([number, words, *camera_words(look, _OF_FOCUS)])


def light_screen(look: LensReading) -> str:
    """Histogram, numbers and a verdict in words."""
    advice = light_words(look)
    heading = beside(Text("camera.camera"))
    return "\n".join(
        [
            f"light  {_columns(look)}  {beside(Text('camera.black_to_white'))}",
            f"       {_numbers(look)}",
            *(f"       {advice.write(locale)}" for locale in locales()),
            *(f"       {heading}: {', '.join(facts)}" for facts in [camera_words(look, _OF_LIGHT)] if facts),
        ]
    )


def light_line(look: LensReading) -> str:
    """The same in one line."""
    words = [f"light  {_columns(look)}", _numbers(look), beside(light_words(look))]
    return "  ".join([*words, *camera_words(look, _OF_LIGHT)])


def camera_words(look: LensReading, of: Mapping[str, tuple[str, float]]) -> list[str]:
    """What the camera itself says of this frame, as far as it does: most say nothing."""
    return [
        beside(Text(key, value=look.told[name] * scale))
        for name, (key, scale) in of.items()
        if name in look.told
    ]


def _columns(look: LensReading) -> str:
    """The histogram; its root is drawn, or one bright wall would hide everything else."""
    most = max(*look.levels, 1e-9)
    return "".join(_COLUMNS[min(8, round(8 * (share / most) ** 0.5))] for share in look.levels)


def _numbers(look: LensReading) -> str:
    return f"mean {look.mean_luma:.0f} of 255, {look.dark_share:.0%} black, {look.bright_share:.0%} burnt out"


def light_words(look: LensReading) -> Text:
    """What to do about the light; the worst fault first."""
    if look.mean_luma < _COVERED:
        return Text("fix.light_black")
    if look.bright_share > _BURNT_SHARE:
        return Text("fix.light_overexposed")
    if look.mean_luma < _DARK or look.dark_share > _LOST_SHARE:
        return Text("fix.light_dark")
    if look.mean_luma > _BRIGHT:
        return Text("fix.light_bright")
    if sum(share > _USED_SHARE for share in look.levels) < _FLAT_STEPS:
        return Text("fix.light_flat")
    return Text("fix.light_good")


def _bar(value: float) -> str:
    """0–100 as a bar of eighths of a letter."""
    eighths = round(min(100.0, max(0.0, value)) / 100 * _BAR * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(_BAR)
