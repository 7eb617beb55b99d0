"""The topics of the till contract: construction and parsing.

``facepay/v1/{site}/{terminal}/verify/{till}/{kind}``, ``…/diag/{operator}/{kind}``, ``…/state``,
``…/health``, ``…/doctor``. Ids are ``[A-Za-z0-9_-]{1,64}``, so no id puts a wildcard, a slash or a control
character into a topic.
"""

import re
from dataclasses import dataclass

from agent.errors import TillError
from agent.texts import Text

PREFIX = "facepay/v1"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

REQUEST, CANCEL, ACK = "request", "cancel", "ack"  # till → terminal
EVENT, RESULT = "event", "result"  # terminal → till
GET_STATE, STATE_COPY = "get_state", "state_copy"  # till → terminal, and the answer
REPORT = "report"  # terminal → operator
STATE, HEALTH = "state", "health"  # terminal → all
PROBE_TILL = "facepay-doctor"  # not a till: empty messages under this id test the rights to answer tills


def is_id(text: object) -> bool:
    """Whether ``text`` is valid as one level of a topic."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def checked_id(text: str) -> str:
    """``text`` if it is an id. Raises ``TillError`` (``id_invalid``) otherwise."""
    if not is_id(text):
        raise TillError(
            Text("detail.not_an_id", text=text[:80]), code="id_invalid", fix=Text("fix.id_characters")
        )
    return text


def every_terminal(kind: str) -> str:
    """The filter of ``STATE`` or ``HEALTH`` of all terminals of all sites."""
    return f"{PREFIX}/+/+/{kind}"


def terminal_of(topic: str) -> tuple[str, str, str] | None:
    """(site, terminal, ``STATE`` or ``HEALTH``) of a topic below ``every_terminal``; None for any other."""
    levels = topic.removeprefix(f"{PREFIX}/").split("/", 3)
    if not topic.startswith(f"{PREFIX}/") or len(levels) != 3 or levels[2] not in (STATE, HEALTH):
        return None
    site, terminal, kind = levels
    return (site, terminal, kind) if is_id(site) and is_id(terminal) else None


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics of one terminal."""

    site: str
    terminal: str

    @property
    def base(self) -> str:
        return f"{PREFIX}/{checked_id(self.site)}/{checked_id(self.terminal)}"

    @property
    def state(self) -> str:
        return f"{self.base}/{STATE}"

    @property
    def health(self) -> str:
        return f"{self.base}/{HEALTH}"

    @property
    def doctor(self) -> str:
        """For the broker self-test: the terminal publishes and subscribes to this topic."""
        return f"{self.base}/doctor"

    def verify(self, till: str, kind: str) -> str:
        return f"{self.base}/verify/{checked_id(till)}/{kind}"

    def diag(self, operator: str, kind: str) -> str:
        return f"{self.base}/diag/{checked_id(operator)}/{kind}"

    def operator_filter(self) -> str:
        """The filter of diagnosis requests, for the subscription of the terminal."""
        return f"{self.base}/diag/+/{REQUEST}"

    def operator_of(self, topic: str) -> str | None:
        """The operator in the topic of a diagnosis request; None for any other topic."""
        operator = topic.removeprefix(f"{self.base}/diag/").removesuffix(f"/{REQUEST}")
        return operator if is_id(operator) and topic == self.diag(operator, REQUEST) else None

    def till_filter(self, kind: str) -> str:
        """The filter of one message kind of all tills, for the subscription of the terminal."""
        return f"{self.base}/verify/+/{kind}"

    def read(self, topic: str) -> tuple[str, str] | None:
        """(till, kind) of a ``verify`` topic of this terminal; None for any other topic."""
        head, _, rest = topic.removeprefix(self.base).partition("/verify/")
        till, _, kind = rest.partition("/")
        if not topic.startswith(self.base) or head or not is_id(till) or "/" in kind or not kind:
            return None
        return till, kind
