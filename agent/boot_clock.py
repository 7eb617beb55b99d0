"""The clock for a limit of time that includes suspend.

CLOCK_MONOTONIC, and so ``time.monotonic``, stops while the machine is suspended (``time(7)``): a result that
arrives after the suspend would be in time.
"""

import time


def boot_s() -> float:
    """Seconds on CLOCK_BOOTTIME: monotonic, includes suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
