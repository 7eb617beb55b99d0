"""Multipart bodies: collects the parts with known names and skips the other parts."""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from agent.compare.contract import ApiFailure
from agent.service.causes import Cause

_INVALID = 21
_PARTS_MAX = 32
_BROKEN = ("broken multipart", Cause.MULTIPART_BROKEN)


class Multipart:
    """One body. ``close`` must be called: the parser and its callbacks refer to each other."""

    def __init__(self, boundary: bytes, names: frozenset[str]) -> None:
        self._names = names
        self._fields: dict[str, bytearray] = {}
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._name = ""
        self._part: bytearray | None = None
        self._parts = 0
        self._is_ended = False
        self._fault: tuple[str, Cause] | None = None  # not the error: its traceback refers to the pictures
        self._parser: MultipartParser | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError:
            self._fault = _BROKEN

    def write(self, chunk: bytes) -> None:
        """Parse more of the body. After a fault, skip the rest, so that the client can read the answer."""
        if self._fault is not None or self._parser is None:
            return
        try:
            self._parser.write(chunk)
        except (ApiFailure, FormParserError) as error:
            self.close()
            self._fault = (str(error), Cause(error.cause)) if isinstance(error, ApiFailure) else _BROKEN

    def fields(self) -> dict[str, bytearray]:
        """The parts by name. Raises ``ApiFailure`` 21 for a broken body or a body without its end."""
        if self._fault is not None:
            raise ApiFailure(_INVALID, self._fault[0], cause=self._fault[1])
        if not self._is_ended:
            raise ApiFailure(_INVALID, "multipart without its end", cause=Cause.MULTIPART_UNFINISHED)
        fields, self._fields = self._fields, {}
        return fields

    def close(self) -> None:
        """Break the reference cycle, and overwrite what ``fields`` has not returned."""
        self._parser = None
        for value in (*self._fields.values(), self._part):
            if value:
                value[:] = bytes(len(value))
        self._fields, self._part = {}, None

    def _on_part_begin(self) -> None:
        self._parts += 1
        self._disposition = b""
        if self._parts > _PARTS_MAX:
            raise ApiFailure(_INVALID, "too many parts", cause=Cause.PARTS_TOO_MANY)

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += memoryview(data)[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += memoryview(data)[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        self._name = options.get(b"name", b"").decode("latin-1")
        self._part = bytearray() if self._name in self._names else None
        if self._name in self._fields:
            raise ApiFailure(_INVALID, f"{self._name} is repeated", cause=Cause.FIELD_REPEATED)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part += memoryview(data)[start:end]

    def _on_part_end(self) -> None:
        if self._part is not None:
            self._fields[self._name] = self._part
            self._part = None

    def _on_end(self) -> None:
        self._is_ended = True
