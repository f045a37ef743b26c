"""What Prometheus may know: counts and seconds, no names."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.jobs import Jobs

_PREFIX = "lungct_gateway"
_ANALYSIS_S = (5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800)
_WAIT_S = (10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)


class Metrics:
    """All metrics of one gateway, in a registry of their own."""

    def __init__(self, jobs: Jobs) -> None:
        """Register them."""
        self.registry = CollectorRegistry()
        self.registry.register(_JobCounts(jobs))
        options = {"namespace": _PREFIX, "registry": self.registry}
        self.orthanc_up = Gauge("orthanc_up", "1 where Orthanc answered the last question", **options)
        self.feed_read = Gauge("feed_read_timestamp_seconds", "When the change feed was last read", **options)
        self.analysis_s = Histogram(
            "analysis_seconds", "One run of the analysis", buckets=_ANALYSIS_S, **options
        )
        self.wait_s = Histogram(
            "arrival_to_end_seconds",
            "From a complete study to its end",
            ["state"],
            buckets=_WAIT_S,
            **options,
        )
        self.tried_again = Counter("retries", "Steps that failed and are tried again", ["reason"], **options)


class _JobCounts(Collector):
    """Jobs by state, counted in the database when asked."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def collect(self) -> Iterable[Metric]:
        """The gauge ``lungct_gateway_jobs``."""
        family = GaugeMetricFamily(f"{_PREFIX}_jobs", "Jobs by state", labels=["state"])
        for state, count in self._jobs.counts().items():
            family.add_metric([state], count)
        yield family
