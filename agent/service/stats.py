"""Metrics of the service, with one registry per service, so that one process can run several services."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Stats:
    def __init__(self) -> None:
        self.calls = 0  # answered POST /face/compare, with any code
        self._registry = CollectorRegistry()
        self._answers = Counter(
            "facepay_service_answers", "Answers by code.", ["code"], registry=self._registry
        )
        self._seconds = Histogram(
            "facepay_service_answer_seconds",
            "Request received to answer ready.",
            buckets=_SECONDS,
            registry=self._registry,
        )

    def answered(self, api_code: int, seconds: float) -> None:
        self.calls += 1
        self._answers.labels(str(api_code)).inc()
        self._seconds.observe(seconds)

    def exposition(self) -> bytes:
        """The metrics as Prometheus text."""
        return generate_latest(self._registry)
