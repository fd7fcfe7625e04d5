"""Figures for Prometheus; this file wraps its client library."""

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds of the buckets of latencies."""

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """What a server counts; every label has few values, of which no client chooses one."""

    def __init__(self) -> None:
        """Start at zero, in a registry of its own."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = Counter(
            "segdeploy_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "segdeploy_request_seconds",
            "Seconds from a request to its response.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._stage_seconds = Histogram(
            "segdeploy_stage_seconds",
            "Seconds of each stage of a request.",
            ["stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._rejected = Counter(
            "segdeploy_rejected",
            "Requests that were refused, by status.",
            ["status"],
            registry=self.registry,
        )
        self._images = Counter(
            "segdeploy_images", "Images that were segmented.", ["model"], registry=self.registry
        )
        self._batches = Histogram(
            "segdeploy_batch_size",
            "Images in one call of a network.",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.shares = Gauge(
            "segdeploy_zone_share",
            "Share of a zone that a class has, in [0, 1].",
            ["camera", "zone", "label"],
            registry=self.registry,
        )
        self.camera_age = Gauge(
            "segdeploy_camera_age_seconds",
            "Age of the last frame of a camera.",
            ["camera"],
            registry=self.registry,
        )
        self.alerts = Counter(
            "segdeploy_alerts", "Alerts that began.", ["alert"], registry=self.registry
        )

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is asked for at each scrape."""
        Gauge(f"segdeploy_{name}", description, registry=self.registry).set_function(value)

    def count_batch(self, model: str, images: int) -> None:
        """Count a call of a network."""
        self._images.labels(model).inc(images)
        self._batches.labels(model).observe(images)

    def count_stages(self, seconds: Mapping[str, float]) -> None:
        """Count the stages of a job."""
        for stage, value in seconds.items():
            self._stage_seconds.labels(stage).observe(value)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a response."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)
        if status in {401, 403, 408, 413, 415, 422, 429, 503}:
            self._rejected.labels(str(status)).inc()

    def page(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)
