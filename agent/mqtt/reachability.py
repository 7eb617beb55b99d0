"""The fault of a broker connection as one error, for tools; the agent has conditions instead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.config import MqttConfig
from agent.errors import TillError
from agent.health.conditions import CONDITIONS
from agent.messages.topics import Topics
from agent.mqtt.reason_codes import BrokerProblem
from agent.texts import Text

TERMINAL_UNSIGNED = Text("detail.terminal_unsigned")  # a state arrived, but not of the pinned key
# The keys of the sentence and of the fix. The fixes of the conditions are for a terminal and its config.
_TEXTS = {
    BrokerProblem.UNREACHABLE: ("detail.broker_unreachable_at", "fix.broker_unreachable"),
    BrokerProblem.CERTIFICATE: ("detail.broker_problem_at", "fix.client_broker_certificate"),
    BrokerProblem.TLS: ("detail.broker_problem_at", "fix.client_broker_tls"),
    BrokerProblem.REFUSED: ("detail.broker_refuses_client", "fix.client_identity_refused"),
    BrokerProblem.BANNED: ("detail.broker_refuses_client", "fix.client_banned"),
    BrokerProblem.CLIENT_ID: ("detail.broker_refuses_client", "fix.client_id_not_allowed"),
    BrokerProblem.QUOTA: ("detail.broker_problem_at", "fix.client_quota"),
    BrokerProblem.MOVED: ("detail.broker_problem_at", "fix.client_moved"),
    BrokerProblem.SUBSCRIPTION_REFUSED: (
        "detail.broker_refuses_subscriptions",
        "fix.client_subscription_refused",
    ),
    BrokerProblem.PUBLISH_REFUSED: ("detail.broker_refuses_message", "fix.client_publish_refused"),
}
# No attempt will succeed. A refused message is not one of them: ``publish`` raises its error itself.
_FINAL = {
    BrokerProblem.BANNED,
    BrokerProblem.CERTIFICATE,
    BrokerProblem.CLIENT_ID,
    BrokerProblem.PROTOCOL,
    BrokerProblem.REFUSED,
    BrokerProblem.SUBSCRIPTION_REFUSED,
    BrokerProblem.TLS,
}


def client_error(config: MqttConfig, problem: BrokerProblem, reason: str | Text) -> TillError:
    """The error of a client. ``reason``: the broker's, or that of the failed connection attempt."""
    place = f"{config.host}:{config.port}"
    sentence, fix = _TEXTS.get(problem, ("detail.broker_problem_at", ""))
    why = Text(sentence, where=place, reason=reason)
    return TillError(why, code=problem, fix=Text(fix) if fix else CONDITIONS[problem].fix)


def silent_terminal(topics: Topics, reason: Text) -> TillError:
    """The error for a terminal without a usable ``state``, on a broker without a problem."""
    why = Text("detail.terminal_at", terminal=topics.base, reason=reason)
    if reason == TERMINAL_UNSIGNED:
        return TillError(why, code="terminal_key_wrong", fix=Text("fix.terminal_key_wrong"))
    return TillError(why, code="terminal_offline", fix=Text("fix.no_terminal_at_broker"))


class Reachability:
    """The problems of one connection. Pass ``note_ready`` and ``note_problem`` to ``ClientOptions``."""

    def __init__(self, config: MqttConfig) -> None:
        self._config = config
        self._was_ready = False
        self._problems = dict[BrokerProblem, str | Text]()  # the oldest first
        self._limits = set[asyncio.Timeout]()  # of the waits that run now

    def note_ready(self) -> None:
        self._was_ready = True

    def note_problem(self, problem: BrokerProblem, is_active: bool, detail: str | Text = "") -> None:
        if is_active:
            self._problems[problem] = detail
            self._end_waits_if_refused()
        else:
            self._problems.pop(problem, None)

    @asynccontextmanager
    async def limit(self, timeout_s: float) -> AsyncIterator[None]:
        """``asyncio.timeout`` that ends at once when the broker refuses this client. Several may run."""
        async with asyncio.timeout(timeout_s) as limit:
            self._limits.add(limit)
            try:
                self._end_waits_if_refused()
                yield
            finally:
                self._limits.discard(limit)

    def _end_waits_if_refused(self) -> None:
        if self._problems.keys() & _FINAL:
            for limit in self._limits:
                if not limit.expired():
                    limit.reschedule(asyncio.get_running_loop().time())

    def problem(self) -> TillError | None:
        """The error for the oldest problem that remains; None: no problem was reported."""
        return self._oldest_error(except_for=frozenset())

    def error(self, otherwise: TillError) -> TillError:
        """The error after a time-out. ``otherwise``: the error when the broker itself has no problem.

        A refused message is left out: a client without the right to send ``get_state`` gets a retained state.
        """
        if reported := self._oldest_error(except_for=frozenset({BrokerProblem.PUBLISH_REFUSED})):
            return reported
        if self._was_ready:
            return otherwise
        return client_error(self._config, BrokerProblem.UNREACHABLE, Text("detail.no_answer_in_time"))

    def _oldest_error(self, except_for: frozenset[BrokerProblem]) -> TillError | None:
        for problem, detail in self._problems.items():
            if problem not in except_for:
                return client_error(self._config, problem, detail)
        return None
