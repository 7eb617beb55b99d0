"""Cache of the embeddings of enrolled photos, shared by the worker threads."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable

from agent.service.recogniser import Embedding


class ReferenceCache:
    """Embeddings of enrolled photos by sha256, the least recently used first out. For threads."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._rows: OrderedDict[bytes, Embedding] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = 0

    def get(self, image: bytearray, embed: Callable[[bytearray], Embedding]) -> Embedding:
        """The embedding of ``image``, cached or new. Failures of ``embed`` are raised and not cached."""
        key = hashlib.sha256(image).digest()
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
                self.hits += 1
                return self._rows[key]
        embedding = embed(image)
        if self._max_entries:
            with self._lock:
                self._rows[key] = embedding
                if len(self._rows) > self._max_entries:
                    self._rows.popitem(last=False)
        return embedding

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()
