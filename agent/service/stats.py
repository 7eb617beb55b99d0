"""Metrics of the service, with one registry per service, so that one process can run several services.

The number of time series is bounded: labels are codes, causes (a closed set) and the appids of the config.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from agent.compare.contract import ApiFailure
from agent.http_connection import Closed

_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_PREFIX = "facepay_service_"
NO_ACCOUNT = "none"  # label of requests without a valid signature


class Stats:
    def __init__(self) -> None:
        self.calls = 0  # answered POST /face/compare, with any code
        self._registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        self._answers = self._counter("answers", "Answers by code.", "code")
        self._refusals = self._counter("refusals", "Failures by code and cause.", "code", "cause")
        self._accounts = self._counter("account_answers", "Answers by account and code.", "appid", "code")
        self.clients_gone = self._counter("clients_gone", "Requests whose client left before the answer.")
        self._closed = self._counter("connections_closed", "Connections closed without an answer.", "cause")
        self._seconds = self._histogram("answer_seconds", "Request received to answer ready.")
        self.queue_wait = self._histogram("queue_wait_seconds", "Wait of a comparison for a recogniser.")

    def answered(self, api_code: int, seconds: float, appid: str = NO_ACCOUNT) -> None:
        """Count one answer. ``appid``: of a verified signature, so the label is one of the config."""
        self.calls += 1
        self._answers.labels(str(api_code)).inc()
        self._accounts.labels(appid, str(api_code)).inc()
        self._seconds.observe(seconds)

    def refused(self, failure: ApiFailure) -> None:
        self._refusals.labels(str(failure.api_code), str(failure.cause)).inc()

    def closed(self, cause: Closed) -> None:
        self._closed.labels(str(cause)).inc()

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read at each exposition. A second call with this name replaces ``value``."""
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = Gauge(_PREFIX + name, text, registry=self._registry)
        gauge.set_function(value)

    def exposition(self) -> bytes:
        """The metrics as Prometheus text."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(_PREFIX + name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(_PREFIX + name, text, buckets=_SECONDS, registry=self._registry)
