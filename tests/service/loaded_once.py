"""SFace for the services and doctors of one test process: checked for each of them, loaded once."""

from __future__ import annotations

import contextlib
import threading
from functools import cache

import cv2

from agent.service.openvino_networks import CompiledNetworks
from agent.vision.embedding import Embedder, Pixels, Vector
from agent.vision.models import SFACE, locate


@cache
def _loaded() -> Embedder:
    return Embedder()


def load_before_fork() -> None:
    """Load SFace for the processes that this one forks later. OpenCV starts no thread: a fork has none."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    _loaded()
    cv2.setNumThreads(threads)


class LoadedOnce(Embedder):
    """Stands for an ``Embedder``. The network is shared: one call at a time, also from several services."""

    _one_call = threading.Lock()

    def __init__(self) -> None:
        locate(SFACE)
        with self._one_call:
            self._net = _loaded()._net

    def describe(self, aligned: Pixels) -> Vector | None:
        with self._one_call:
            return super().describe(aligned)


class CompiledOnce(CompiledNetworks):
    """The compiled networks of all services. OpenVINO runs calls of several threads one after the other."""

    def release_buffers(self) -> None:
        with contextlib.suppress(RuntimeError):  # another service uses a network at this moment
            super().release_buffers()
