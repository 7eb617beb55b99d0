"""Reader of the API secret. Each signature reads the file again, so a rotated key needs no restart."""

import errno
from collections.abc import Callable
from pathlib import Path

from agent.config.file import BYTE_ORDER_MARKS
from agent.core.reasons import Reason
from agent.errors import CompareError, WrongValueError, reason_of
from agent.safe_open import read_plain
from agent.texts import Text

_MAX_BYTES = 4_096
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # of this terminal: the file itself is correct


def secret_reader(path: Path) -> Callable[[], bytes]:
    """A function that returns the secret without leading and trailing white space.

    ``CompareError`` (``compare_credentials``): the file is unreadable, empty or too long;
    (``compare_unreachable``): the process has no free file descriptor or memory.
    """

    def read() -> bytes:
        try:
            secret = read_plain(path, _MAX_BYTES, links=True).strip()
            if secret.startswith(BYTE_ORDER_MARKS):
                raise WrongValueError(Text("detail.bom"))
            if not secret:
                raise WrongValueError(Text("detail.empty"))
        except (OSError, ValueError) as error:
            why = Text("detail.api_secret", path=path, reason=reason_of(error))
            if isinstance(error, OSError) and error.errno in _SHORTAGES:
                fix = Text("condition.open_files_high.fix")
                raise CompareError(why, code=Reason.COMPARE_UNREACHABLE, fix=fix) from error
            fix = Text("fix.api_secret_unusable")
            raise CompareError(why, code=Reason.COMPARE_CREDENTIALS, fix=fix) from error
        return secret

    return read
