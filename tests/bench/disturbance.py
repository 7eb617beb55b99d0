"""Whether other programs used the machine during a measurement: then no figure of time is judged.

The kernel counts the ticks of all processors in /proc/stat. The ticks of this process and of its ended
children are subtracted; the rest belongs to other programs. ``steal`` is the time that the hypervisor gave to
other virtual machines.
"""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_STAT = Path("/proc/stat")
_OTHERS_MAX = 0.10  # of all processors: the kernel's own work for a measurement is about 0.03
_STEAL_MAX = 0.02
_LEAST_S = 0.5  # in a shorter section a single tick of 10 ms is too large a share


@dataclass(frozen=True, slots=True)
class Ticks:
    """CPU seconds since boot of all processors, and of this process with its ended children."""

    at_s: float
    used_s: float
    stolen_s: float
    own_s: float
    cores: int

    @classmethod
    def now(cls) -> Self | None:
        """None where the kernel has no such counters."""
        try:
            user, nice, system, _, _, irq, soft, steal = (
                int(text) / os.sysconf("SC_CLK_TCK") for text in _STAT.read_text().split()[1:9]
            )
        except (OSError, ValueError):
            return None
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own_s = sum(each.ru_utime + each.ru_stime for each in own)
        return cls(time.monotonic(), user + nice + system + irq + soft, steal, own_s, os.cpu_count() or 1)


def disturbance(before: Ticks | None, after: Ticks | None) -> str:
    """The reason why figures of time between two readings are not judged; empty without a reason."""
    if before is None or after is None:
        return "the kernel does not show the load of other programs"
    elapsed_s = after.at_s - before.at_s
    if elapsed_s < _LEAST_S:
        return ""
    whole_s = elapsed_s * after.cores
    others = (after.used_s - before.used_s - (after.own_s - before.own_s)) / whole_s
    stolen = (after.stolen_s - before.stolen_s) / whole_s
    if others > _OTHERS_MAX:
        return f"other programs used {others:.0%} of the machine"
    if stolen > _STEAL_MAX:
        return f"the hypervisor took {stolen:.0%} of the machine"
    return ""
