"""Checks of the board: power, temperature, disk, memory, clock, upgrades of the package.

The values are from /sys, /proc, the Pi's firmware, and the files of apt and facepay-after-upgrade.
"""

import os
from functools import reduce
from pathlib import Path

from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.check_inputs import CheckInputs
from agent.errors import StatusError
from agent.health.board import EARLIEST_MS, HOT_C, hottest_c, shortage
from agent.health.upgrades import DAY_S, ENDS_SOON_S, judge_upgrades, read_upgrades
from agent.texts import Text

_WARM_C = 75.0
_DISK_LOW_BYTES = 200_000_000
_MEMORY_LOW_KIB, _MEMORY_OUT_KIB = 128 * 1024, 48 * 1024
_CMA_LOW_KIB = 16 * 1024  # three full-size frame buffers of the camera
_TIMER = "apt-daily-upgrade.timer"
_WORN, _WORN_OUT = 0x08, 0x0B  # eMMC life time: tenths used up, 0x0b is beyond the last

_POWER_FIX = Text("fix.power_supply_weak")
_COOL_FIX = Text("fix.cool_terminal")
_MEMORY_FIX = Text("fix.free_memory")
_TIME_SOURCE_FIX = Text("fix.no_time_source")


def _number_in_file(path: Path) -> int | None:
    """The number in a file, decimal or 0x…; None when the file is absent or holds no number."""
    try:
        return int(path.read_text().split()[0], 0)
    except (OSError, ValueError, IndexError):
        return None


def power(inputs: CheckInputs) -> Finding:
    """The firmware's throttle bits: 0–3 now, 16–19 since the start; under-voltage causes the rest."""
    output = inputs.program("vcgencmd", "get_throttled")  # throttled=0x50005
    try:
        bits = int((output or "").strip().split("=")[1], 16)
    except (IndexError, ValueError):
        firmware_bits = _number_in_file(inputs.root / "sys/devices/platform/soc/soc:firmware/get_throttled")
        if firmware_bits is None:
            return skipped(Text("why.sys.power.no_firmware"))
        bits = firmware_bits
    if bits & 0x1:
        return failed(Text("why.sys.power.under_voltage", bits=f"0x{bits:x}"), _POWER_FIX)
    if bits & 0x1_0000:
        return warning(Text("why.sys.power.was_under_voltage", bits=f"0x{bits:x}"), _POWER_FIX)
    if bits & 0xE:
        return warning(
            Text("why.sys.power.slowed", cause=_throttle_causes(bits), bits=f"0x{bits:x}"), _COOL_FIX
        )
    if bits & 0xE_0000:
        why = Text("why.sys.power.was_slowed", cause=_throttle_causes(bits >> 16), bits=f"0x{bits:x}")
        return warning(why, _COOL_FIX)
    return passed(Text("why.sys.power.good", bits=f"0x{bits:x}"))


def _throttle_causes(bits: int) -> Text:
    """At least one of the three bits is set."""
    names = ((0x2, "frequency_capped"), (0x4, "throttled"), (0x8, "temperature_limit"))
    causes = [Text(f"why.sys.power.{name}") for bit, name in names if bits & bit]
    return reduce(lambda first, second: Text("why.sys.power.joined", first=first, second=second), causes)


def thermal(inputs: CheckInputs) -> Finding:
    hottest = hottest_c(inputs.root)
    if hottest is None:
        return skipped(Text("why.sys.thermal.no_sensor"))
    if hottest >= HOT_C:
        return failed(Text("why.sys.thermal.hot", degrees=f"{hottest:.0f}"), _COOL_FIX)
    if hottest >= _WARM_C:
        return warning(Text("detail.degrees", degrees=f"{hottest:.0f}"), _COOL_FIX)
    return passed(Text("detail.degrees", degrees=f"{hottest:.0f}"))


def disk(inputs: CheckInputs) -> Finding:
    """Free space and mount options of the outbox's file system, and wear of an eMMC."""
    directory = inputs.config().storage.directory
    place = next((path for path in (directory, *directory.parents) if path.exists()), Path("/"))
    file_system = inputs.statvfs(place)
    free_bytes = file_system.f_bavail * file_system.f_frsize
    free = Text("why.sys.disk.free", free_mb=free_bytes // 1_000_000, place=place)
    if file_system.f_flag & os.ST_RDONLY:
        return failed(Text("why.sys.disk.read_only", place=place), Text("fix.disk_read_only"))
    if missing := shortage(file_system):
        return failed(Text("why.sys.disk.short", lack=missing, place=place), _free_space_fix(place))
    if free_bytes < _DISK_LOW_BYTES:
        return warning(free, _free_space_fix(place))
    return _emmc_wear(inputs.root, free)


def _free_space_fix(place: Path) -> Text:
    """Searches the complete file system: the largest files are rarely in the agent's own folder."""
    top = next(path for path in (place, *place.parents) if path.is_mount() or path == path.parent)
    return Text("fix.free_disk_space", top=top)


def _emmc_wear(root: Path, free: Text) -> Finding:
    """eMMC only: two estimates in tenths of its life time, and the state of its spare blocks."""
    replace = Text("fix.plan_replace_storage")
    for device in sorted((root / "sys/block").glob("mmcblk*/device")):
        try:
            used = max(int(word, 16) for word in (device / "life_time").read_text().split())
        except (OSError, ValueError):
            continue  # an SD card has no such values
        spare = _number_in_file(device / "pre_eol_info") or 0
        if used >= _WORN_OUT or spare >= 0x03:
            return failed(Text("why.sys.disk.worn_out", free=free, life_time=f"0x{used:02x}"), replace)
        if used >= _WORN or spare == 0x02:
            return warning(Text("why.sys.disk.worn", free=free, percent=used * 10), replace)
    return passed(free)


def memory(inputs: CheckInputs) -> Finding:
    try:
        lines = (inputs.root / "proc/meminfo").read_text().splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if len(line.split()) > 1}
        available = kib["MemAvailable"]
    except (OSError, ValueError, KeyError):
        return skipped(Text("why.sys.memory.unknown"))
    free = Text("why.sys.memory.available", available_mib=available // 1024)
    if available < _MEMORY_OUT_KIB:
        return failed(free, _MEMORY_FIX)
    if available < _MEMORY_LOW_KIB:
        return warning(free, _MEMORY_FIX)
    if kib.get("CmaTotal", 0) and kib.get("CmaFree", 0) < _CMA_LOW_KIB and _is_idle(inputs):
        free = Text("why.sys.memory.cma", free_mib=kib["CmaFree"] // 1024)
        return warning(free, Text("fix.enlarge_camera_memory"))
    return passed(free)


def _is_idle(inputs: CheckInputs) -> bool:
    """Whether no agent is running: a running agent uses camera memory."""
    try:
        return inputs.status_if_running() is None
    except StatusError:
        return False


def clock(inputs: CheckInputs) -> Finding:
    """Whether the clock was set and is synchronised; ``api.clock`` measures its offset from the API."""
    if inputs.unix_ms() < EARLIEST_MS:
        return failed(Text("why.sys.clock.never_set"), _TIME_SOURCE_FIX)
    synchronised = inputs.is_synchronised()
    if synchronised is None:
        return skipped(Text("why.sys.clock.unknown"))
    if synchronised:
        return passed(Text("why.sys.clock.synchronised"))
    return warning(Text("why.sys.clock.not_synchronised"), _TIME_SOURCE_FIX)


def upgrades(inputs: CheckInputs) -> Finding:
    """Whether the package follows its ring: newest upgrade, waiting version, timer, end of the index."""
    facts, unix_s = read_upgrades(inputs.root), inputs.unix_ms() // 1_000
    if facts is None:
        return skipped(Text("why.sys.upgrades.no_repository"))
    if problem := judge_upgrades(facts, unix_s):
        condition, why = problem
        return warning(why, condition.fix)
    if (state := _timer_state(inputs)) in ("disabled", "masked", "masked-runtime"):
        why = Text("why.sys.upgrades.timer_off", timer=_TIMER, state=state)
        return warning(why, Text("fix.enable_upgrade_timer", timer=_TIMER))
    if facts.index_ends_s is None:
        return passed(Text("why.sys.upgrades.no_end"))
    days = (facts.index_ends_s - unix_s) // DAY_S
    why = Text("why.sys.upgrades.index_ends", days=days)
    return warning(why, Text("fix.renew_index")) if days * DAY_S < ENDS_SOON_S else passed(why)


def _timer_state(inputs: CheckInputs) -> str:
    """Of the timer of unattended-upgrades and facepay-after-upgrade; empty where it is not installed."""
    output = inputs.program("systemctl", "show", _TIMER, "--property=UnitFileState")
    return (output or "").strip().partition("=")[2]
