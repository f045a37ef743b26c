"""Metrics for Prometheus: counts and seconds, no names."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lungct_services.jobs.queue import Jobs

_PREFIX = "lungct_gateway"
_ANALYSIS_S = (5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800)
_WAIT_S = (10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)


class Metrics:
    """All metrics of one gateway, in a registry of their own."""

    def __init__(self, jobs: Jobs) -> None:
        """Register them."""
        self.registry = registry = CollectorRegistry()
        registry.register(_JobCounts(jobs))
        self.orthanc_up = Gauge(
            f"{_PREFIX}_orthanc_up", "1 where Orthanc answered the last question", registry=registry
        )
        self.feed_read = Gauge(
            f"{_PREFIX}_feed_read_timestamp_seconds", "When the change feed was last read", registry=registry
        )
        self.analysis_s = Histogram(
            f"{_PREFIX}_analysis_seconds", "One run of the analysis", buckets=_ANALYSIS_S, registry=registry
        )
        self.wait_s = Histogram(
            f"{_PREFIX}_arrival_to_end_seconds",
            "From a complete study to its end",
            ["state"],
            buckets=_WAIT_S,
            registry=registry,
        )
        self.tried_again = Counter(
            f"{_PREFIX}_retries", "Steps that failed and are tried again", ["reason"], registry=registry
        )


class _JobCounts(Collector):
    """Jobs by state, counted in the database when asked."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def collect(self) -> Iterable[Metric]:
        """Yield the gauge ``lungct_gateway_jobs``."""
        family = GaugeMetricFamily(f"{_PREFIX}_jobs", "Jobs by state", labels=["state"])
        for state, count in self._jobs.counts().items():
            family.add_metric([state], count)
        yield family
