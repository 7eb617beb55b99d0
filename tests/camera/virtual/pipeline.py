"""Patches that make picamera2 work with libcamera's virtual camera, which differs from a Pi's camera.

The virtual camera has no raw stream, and needs luma and chroma of a buffer as two planes. No other part of
picamera2 is patched: event loop, requests, configuration, start and stop are the real ones.
"""

from __future__ import annotations

import mmap
from typing import Any

import libcamera
from picamera2 import Picamera2
from picamera2.allocators import DmaAllocator


def adapt() -> None:
    Picamera2._get_raw_modes = lambda _camera: [{"format": "NV12", "size": (1280, 720)}]
    DmaAllocator.allocate = _allocate


def _allocate(allocator: Any, configuration: Any, _use_case: Any) -> None:
    """As the real allocator, with two planes per buffer."""
    allocator.libcamera_fds = []
    allocator.cleanup()
    allocator.frame_buffers, allocator.open_fds = {}, []
    for stream in configuration:
        allocator.frame_buffers[stream.stream] = [
            _buffer(allocator, stream) for _ in range(stream.buffer_count)
        ]


def _buffer(allocator: Any, stream: Any) -> Any:
    fd = allocator.dmaHeap.alloc("virtual", stream.frame_size).get()
    luma = stream.stride * stream.size.height
    planes = []
    for offset, length in ((0, luma), (luma, stream.frame_size - luma)):
        plane = libcamera.FrameBuffer.Plane()
        plane.fd, plane.offset, plane.length = fd, offset, length
        planes.append(plane)
    buffer = libcamera.FrameBuffer(planes)
    own = buffer.planes[0].fd
    allocator.open_fds.append(fd)
    allocator.libcamera_fds.append(own)
    allocator.mapped_buffers_used[own] = False
    allocator.mapped_buffers[buffer] = mmap.mmap(fd, stream.frame_size)
    return buffer
