"""The parts of jsonschema that the contract needs, without the grammars of its ``iri`` formats.

jsonschema compiles these grammars at its import, 2 s of CPU in each test process. Here the first check of
such a format compiles them; the schemas of the contract have none.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_GRAMMARS = "rfc3987_syntax"


class _Later(ModuleType):
    """Stands for the grammars during the import of jsonschema."""

    @staticmethod
    def is_valid_syntax(term: str, value: str) -> bool:
        return bool(importlib.import_module(_GRAMMARS).is_valid_syntax(term, value))


_is_first = _GRAMMARS not in sys.modules
if _is_first:
    sys.modules[_GRAMMARS] = _Later(_GRAMMARS)

from jsonschema import Draft7Validator  # noqa: E402
from jsonschema.exceptions import ValidationError, best_match  # noqa: E402

if _is_first:
    del sys.modules[_GRAMMARS]

__all__ = ["Draft7Validator", "ValidationError", "best_match"]
