"""Checks of the board: power, temperature, disk, memory, clock. From /sys, /proc and the Pi's firmware."""

from __future__ import annotations

import os
from pathlib import Path

from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.errors import StatusError
from agent.health.clock import EARLIEST_MS
from agent.health.disk import shortage
from agent.health.temperature import HOT_C, hottest_c
from agent.texts import Text

_WARM_C = 75.0
_DISK_LOW_BYTES = 200_000_000
_MEMORY_LOW_KIB, _MEMORY_OUT_KIB = 128 * 1024, 48 * 1024
_CMA_LOW_KIB = 16 * 1024  # three full-size frame buffers of the camera
_WORN, _WORN_OUT = 0x08, 0x0B  # eMMC life time: tenths used up, 0x0b is beyond the last

_POWER = Text("fix.power_supply_weak")
_COOL = Text("fix.cool_terminal")
_MEMORY = Text("fix.free_memory")
_NTP = Text("fix.no_time_source")


def _number(path: Path) -> int | None:
    """The number in a file, decimal or 0x…; None when the file is absent or holds no number."""
    try:
        return int(path.read_text().split()[0], 0)
    except (OSError, ValueError, IndexError):
        return None


def power(world: World) -> Finding:
    """The firmware's throttle bits: 0–3 now, 16–19 since the start; under-voltage causes the rest."""
    output = world.program("vcgencmd", "get_throttled")  # throttled=0x50005
    try:
        bits = int((output or "").strip().split("=")[1], 16)
    except (IndexError, ValueError):
        found = _number(world.root / "sys/devices/platform/soc/soc:firmware/get_throttled")
        if found is None:
            return skipped("no Raspberry Pi firmware")
        bits = found
    if bits & 0x1:
        return failed(f"under-voltage now (0x{bits:x})", _POWER)
    if bits & 0x1_0000:
        return warning(f"under-voltage since the last start (0x{bits:x})", _POWER)
    if bits & 0xE:
        return warning(f"slowed down now: {_throttled(bits)} (0x{bits:x})", _COOL)
    if bits & 0xE_0000:
        return warning(f"slowed down since the last start: {_throttled(bits >> 16)} (0x{bits:x})", _COOL)
    return passed(f"no under-voltage (0x{bits:x})")


def _throttled(bits: int) -> str:
    names = ((0x2, "frequency capped"), (0x4, "throttled"), (0x8, "soft temperature limit"))
    return ", ".join(name for bit, name in names if bits & bit)


def thermal(world: World) -> Finding:
    hottest = hottest_c(world.root)
    if hottest is None:
        return skipped("no temperature sensor")
    if hottest >= HOT_C:
        return failed(f"{hottest:.0f} °C: the processor is slowed down", _COOL)
    if hottest >= _WARM_C:
        return warning(f"{hottest:.0f} °C", _COOL)
    return passed(f"{hottest:.0f} °C")


def disk(world: World) -> Finding:
    """Free space and mount options of the outbox's file system, and wear of an eMMC."""
    directory = world.config().storage.directory
    place = next((path for path in (directory, *directory.parents) if path.exists()), Path("/"))
    about = world.statvfs(place)
    free_bytes = about.f_bavail * about.f_frsize
    free = f"{free_bytes // 1_000_000} MB free at {place}"
    if about.f_flag & os.ST_RDONLY:
        return failed(f"{place} is read-only", Text("fix.disk_read_only"))
    if lack := shortage(about):
        return failed(f"{lack} at {place}", _free_space_fix(place))
    if free_bytes < _DISK_LOW_BYTES:
        return warning(free, _free_space_fix(place))
    return _wear(world.root, free)


def _free_space_fix(place: Path) -> Text:
    """Searches the complete file system: the largest files are rarely in the agent's own folder."""
    top = next(path for path in (place, *place.parents) if path.is_mount() or path == path.parent)
    return Text("fix.free_disk_space", top=top)


def _wear(root: Path, free: str) -> Finding:
    """eMMC only: two estimates in tenths of its life time, and the state of its spare blocks."""
    replace = Text("fix.plan_replace_storage")
    for device in sorted((root / "sys/block").glob("mmcblk*/device")):
        try:
            used = max(int(word, 16) for word in (device / "life_time").read_text().split())
        except (OSError, ValueError):
            continue  # an SD card has no such values
        spare = _number(device / "pre_eol_info") or 0
        if used >= _WORN_OUT or spare >= 0x03:
            return failed(f"{free}, but the eMMC is worn out (life_time 0x{used:02x})", replace)
        if used >= _WORN or spare == 0x02:
            return warning(f"{free}, but the eMMC is {used * 10} % worn", replace)
    return passed(free)


def memory(world: World) -> Finding:
    try:
        lines = (world.root / "proc/meminfo").read_text().splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if len(line.split()) > 1}
        available = kib["MemAvailable"]
    except (OSError, ValueError, KeyError):
        return skipped("/proc/meminfo has no such value")
    free = f"{available // 1024} MiB available"
    if available < _MEMORY_OUT_KIB:
        return failed(free, _MEMORY)
    if available < _MEMORY_LOW_KIB:
        return warning(free, _MEMORY)
    if kib.get("CmaTotal", 0) and kib.get("CmaFree", 0) < _CMA_LOW_KIB and _is_idle(world):
        free = f"{kib['CmaFree'] // 1024} MiB of camera memory (CMA) free"
        return warning(free, Text("fix.enlarge_camera_memory"))
    return passed(free)


def _is_idle(world: World) -> bool:
    """Whether no agent is running: a running agent uses camera memory."""
    try:
        return world.running() is None
    except StatusError:
        return False


def clock(world: World) -> Finding:
    """Whether the clock was set and is synchronised; ``api.clock`` measures its offset from the API."""
    if world.unix_ms() < EARLIEST_MS:
        return failed("the clock was never set: its date is before 2026", _NTP)
    synchronised = world.is_synchronised()
    if synchronised is None:
        return skipped("the kernel does not report whether the clock is synchronised")
    return passed("synchronised") if synchronised else warning("not synchronised by NTP", _NTP)
