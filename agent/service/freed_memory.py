"""Settings of the C library's allocator: freed pictures are overwritten, and large ones are given back.

A freed buffer keeps its bytes until the next use of that memory. Copies of a picture exist in the buffers of
the socket, of the HTTP parser and of the decoder, and no code of this package owns these buffers.
"""

import ctypes

_M_MMAP_THRESHOLD, _M_PERTURB, _M_ARENA_MAX = -3, -6, -8  # malloc.h of glibc
_LARGE_BYTES = 128 * 1024  # glibc's first value. A fixed value is not raised by the first large buffer.
_FILL = 0x5A
_HEAPS = 1  # a heap for each thread keeps 14 MB more


def return_and_overwrite() -> bool:
    """Set all for the whole process, before its second thread starts.

    False with another C library, which has no such settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {_M_MMAP_THRESHOLD: _LARGE_BYTES, _M_PERTURB: _FILL, _M_ARENA_MAX: _HEAPS}
    return all(mallopt(name, value) for name, value in settings.items())
