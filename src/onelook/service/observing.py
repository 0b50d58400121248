"""Observing: metrics for Prometheus, and one log line for each request."""

import logging
import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("onelook.service.access")

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")


class Metrics:
    """The metrics of one service, in their own registry."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter(
            "onelook_requests", "Answered requests", labels, registry=registry
        )
        self.seconds = Histogram(
            "onelook_request_seconds",
            "Seconds from the head of a request to the end of its answer",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "onelook_batch_size",
            "Images embedded together",
            buckets=SIZES,
            registry=registry,
        )
        self.waiting = Gauge(
            "onelook_waiting_images",
            "Images that are accepted but not answered",
            registry=registry,
        )
        ProcessCollector(registry=registry)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


class Observer:
    """Counts and logs requests by route, never by URL, which may name a person."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun, status = time.perf_counter(), 500

        async def send_seen(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, send_seen)
        finally:
            seconds = time.perf_counter() - begun
            route = getattr(scope.get("route"), "path", None) or "none"
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.requests.labels(method, route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(seconds)
            log.info("%s %s %d %.1f ms", method, route, status, 1000 * seconds)
