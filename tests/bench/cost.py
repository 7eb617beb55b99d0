"""What a process has used so far, as the kernel counts it."""

from __future__ import annotations

import resource
from pathlib import Path


def cpu_s() -> float:
    """CPU seconds of this process, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def pss_mib(pid: int | str = "self") -> float:
    """Proportional set size: shared pages count in proportion to who shares them."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024
