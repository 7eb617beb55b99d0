"""The tests that need many seconds start first, so that no worker runs one of them alone at the end.

With ``--dist worksteal``, pytest-xdist gives each worker an equal part of the collected tests, in their
order, and a worker without work gets the last tests of another. Here the slow tests are moved to the start
of the parts, the longest to different workers. A slow test that is not listed makes the run longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

# Starts of test ids, the longest first. One entry: one worker. Its tests share what takes long to make.
SLOW = (
    "tests/kits/till_conformance/test_kit.py::",
    "tests/terminal/test_traces.py::test_replay_of_the_demo_ends_as_recorded",
    "tests/chaos/test_chaos.py::test_one_kill_at_each_point_loses_nothing",
    "tests/e2e/test_wheel.py::",
    "tests/service/test_restart.py::test_restart_under_load",
    "tests/kits/compare/test_compareface_conformance.py::test_the_compare_service_passes_every_check",
    "tests/service/test_attacks.py::test_unfinished_uploads",
    "tests/e2e/test_slow_api.py::",
    "tests/kits/simulator/test_simulator.py::test_a_crash_between_result_and_ack",
    "tests/e2e/test_bad_days.py::test_commands_with_a_hung_agent",
    "tests/e2e/test_rollout.py::test_a_bundle_that_loses_the_broker",
    "tests/camera/test_factory.py::test_type_check",
    "tests/cli/test_exit_codes.py::test_closed_stream_changes",
    "tests/service/test_compare_service.py::test_program_with_two_workers",
    "tests/e2e/test_bad_days.py::test_status_and_doctor_with_a_silent_broker",
    "tests/service/test_decoder_memory.py::",
    "tests/service/test_restart.py::test_request_that_outlives_the_stop",
    "tests/health/test_conditions.py::test_condition_is_raised_shown_everywhere_and_cleared[compare_slow]",
    "tests/e2e/test_pauses.py::",
    "tests/mqtt/test_connection.py::test_connection_half_open_is_replaced",
    "tests/kits/simulator/test_simulator.py::test_till_client_accepts_a_stored_result_signed",
    "tests/broker_example/test_kits_with_tls.py::",
    "tests/service/test_attacks.py::",
    "tests/bench/test_faulty_api.py::",
    "tests/cli/test_brokers_away.py::",
    "tests/e2e/test_bad_input.py::",
    "tests/e2e/test_camera.py::",
    "tests/e2e/test_page.py::",
    "tests/e2e/test_reload.py::",
    "tests/e2e/test_rollout.py::",
    "tests/cli/test_conformance.py::",
    "tests/cli/test_console.py::",
    "tests/bench/test_bench_smoke.py::",
    "tests/kits/compare/test_conformance.py::test_the_compare_service_passes_every_check",
    "tests/health/test_expiry.py::",
)


class HasId(Protocol):
    @property
    def nodeid(self) -> str: ...


Item = TypeVar("Item", bound=HasId)


def slow_first(items: Sequence[Item], workers: int) -> list[Item]:
    """The same items: the slow ones at the starts of ``workers`` parts, of the sizes that worksteal makes."""
    groups, others = dict[str, list[Item]](), list[Item]()
    for item in items:
        start = next((start for start in SLOW if item.nodeid.startswith(start)), None)
        (others if start is None else groups.setdefault(start, [])).append(item)
    parts: list[list[Item]] = [[] for _ in range(workers)]
    for place, start in enumerate(start for start in SLOW if start in groups):
        turn, worker = divmod(place, workers)
        parts[worker if turn % 2 == 0 else -1 - worker] += groups[start]
    ordered, left = list[Item](), len(items)
    for place, part in enumerate(parts):
        size = left // (workers - place)
        free = max(0, size - len(part))
        ordered += part + others[:free]
        del others[:free]
        left = len(items) - len(ordered)
    return ordered + others
