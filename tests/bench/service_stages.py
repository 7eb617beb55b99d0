"""The stages of the recognition in the compare service, each with its CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import TypeVar

from agent.service.image_decoder import decode_inspected, inspected
from agent.service.networks import load_networks
from agent.vision.embedding import align
from agent.vision.face_turn import turn_of
from tests.bench.report import Row

_Result = TypeVar("_Result")


def stages(shot: bytes, enrolled: bytes, count: int) -> list[Row]:
    """CPU time of each stage of the recognition, in this thread: another program changes it little."""
    networks = load_networks()[0]
    detector, spent_ms = networks.detector, dict[str, list[float]]()

    def timed(stage: str, work: Callable[[], _Result]) -> _Result:
        start_s = time.thread_time()
        result = work()
        spent_ms.setdefault(stage, []).append((time.thread_time() - start_s) * 1e3)
        return result

    for _ in range(count + 1):
        for name, encoded in (("shot", shot), ("enrolled photo", enrolled)):
            header = timed(f"{name}: header", partial(inspected, encoded))
            pixels = timed(f"{name}: decoder", partial(decode_inspected, header))
            (face, *_) = timed(f"{name}: detector", partial(detector.detect, pixels, 320))
            if encoded is enrolled:
                timed(f"{name}: orientation", partial(turn_of, pixels, face, detector))
            aligned = timed(f"{name}: alignment", partial(align, pixels, face))
            timed(f"{name}: embedding", partial(networks.embedder.describe, aligned))
    # without the first run, which compiles the networks
    return [
        {"what": stage, "p50": round(median(each[1:]), 2), "n": count} for stage, each in spent_ms.items()
    ]
