"""Text displays of focus and light, for the adjustment of lens and lamps. Pure."""

from collections.abc import Mapping

from agent.health.probe_results import LensReading
from agent.texts import Text, on_one_line, printed_locales

_BAR = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_COLUMNS = " ▁▂▃▄▅▆▇█"
_NEAR_PEAK = 0.97

_COVERED, _DARK, _BRIGHT = 12.0, 60.0, 195.0  # mean luma, 0–255
_BLACK_SHARE, _OVEREXPOSED_SHARE = 0.5, 0.1  # of the pixels
_USED_SHARE, _FLAT_STEPS = 0.005, 6  # a picture that uses fewer of the 32 steps is flat

# libcamera's name -> message key, and the factor to the shown unit
_OF_LIGHT = {
    "ExposureTime": ("camera.exposure_time", 1e-3),
    "AnalogueGain": ("camera.analogue_gain", 1.0),
    "DigitalGain": ("camera.digital_gain", 1.0),
    "Lux": ("camera.lux", 1.0),
    "SensorTemperature": ("camera.sensor_temperature", 1.0),
}
_OF_FOCUS = {"LensPosition": ("camera.lens_position", 1.0), "FocusFoM": ("camera.focus_fom", 1.0)}


class PeakHold:
    """Shows the best sharpness so far: turn the lens past the peak, then back to it."""

    def __init__(self) -> None:
        self.peak = 0.0

    def line(self, reading: LensReading) -> str:
        """One reading: number, bar, peak, and whether the reading is at the peak."""
        self.peak = max(self.peak, reading.sharpness)
        at_peak = reading.sharpness >= _NEAR_PEAK * self.peak > 0
        advice = on_one_line(Text("camera.at_peak" if at_peak else "camera.past_peak"))
        number = f"sharpness {reading.sharpness:5.1f} {_bar(reading.sharpness)} peak {self.peak:5.1f}"
        return "  ".join([number, advice, *_camera_values(reading, _OF_FOCUS)])


def light_screen(reading: LensReading) -> str:
    """Histogram, numbers and advice, on several lines."""
    advice = light_advice(reading)
    lines = [
        f"light  {_histogram_columns(reading)}  {on_one_line(Text('camera.black_to_white'))}",
        f"       {_luma_numbers(reading)}",
        *(f"       {advice.write(locale)}" for locale in printed_locales()),
    ]
    if facts := _camera_values(reading, _OF_LIGHT):
        lines.append(f"       {on_one_line(Text('camera.camera'))}: {', '.join(facts)}")
    return "\n".join(lines)


def light_line(reading: LensReading) -> str:
    """As ``light_screen``, on one line."""
    parts = [
        f"light  {_histogram_columns(reading)}",
        _luma_numbers(reading),
        on_one_line(light_advice(reading)),
    ]
    return "  ".join([*parts, *_camera_values(reading, _OF_LIGHT)])


def _camera_values(reading: LensReading, factors: Mapping[str, tuple[str, float]]) -> list[str]:
    """The values that the camera reports with this frame; empty for most cameras."""
    return [
        on_one_line(Text(key, value=reading.metadata[name] * scale))
        for name, (key, scale) in factors.items()
        if name in reading.metadata
    ]


def _histogram_columns(reading: LensReading) -> str:
    """The histogram as square roots: otherwise one bright wall would hide all other levels."""
    highest = max(*reading.levels, 1e-9)
    return "".join(_COLUMNS[min(8, round(8 * (share / highest) ** 0.5))] for share in reading.levels)


def _luma_numbers(reading: LensReading) -> str:
    shares = f"{reading.dark_share:.0%} black, {reading.bright_share:.0%} overexposed"
    return f"mean {reading.mean_luma:.0f} of 255, {shares}"


def light_advice(reading: LensReading) -> Text:
    """The fix for the light; the worst fault first."""
    if reading.mean_luma < _COVERED:
        return Text("fix.light_black")
    if reading.bright_share > _OVEREXPOSED_SHARE:
        return Text("fix.light_overexposed")
    if reading.mean_luma < _DARK or reading.dark_share > _BLACK_SHARE:
        return Text("fix.light_dark")
    if reading.mean_luma > _BRIGHT:
        return Text("fix.light_bright")
    if sum(share > _USED_SHARE for share in reading.levels) < _FLAT_STEPS:
        return Text("fix.light_flat")
    return Text("fix.light_good")


def _bar(value: float) -> str:
    """0–100 as a bar of eighths of a letter."""
    eighths = round(min(100.0, max(0.0, value)) / 100 * _BAR * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(_BAR)
