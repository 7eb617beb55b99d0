"""The fault table: every row of docs/reference/faults.md."""

from __future__ import annotations

from tests.faults.api import API_FAULTS
from tests.faults.broker import BROKER_FAULTS
from tests.faults.camera import CAMERA_FAULTS
from tests.faults.fault import Fault
from tests.faults.machine import MACHINE_FAULTS

GROUPS: dict[str, tuple[Fault, ...]] = {
    "Camera": CAMERA_FAULTS,
    "Broker and certificates": BROKER_FAULTS,
    "Clock, network and compare API": API_FAULTS,
    "Disk, files, config and unit": MACHINE_FAULTS,
}
FAULTS: tuple[Fault, ...] = tuple(fault for faults in GROUPS.values() for fault in faults)
