"""Prometheus metrics: services keep plain numbers, and a scrape reads them (https://prometheus.io/docs)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from twisted.logger import Logger
from twisted.web.http import Request as HTTPRequest
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

log = Logger()

Values: TypeAlias = float | Mapping[Any, float]
"""One number, or numbers by label value: a str, or a tuple of them where there are several labels."""
Read: TypeAlias = Callable[[], Values]


class Metrics:
    """The metrics of one daemon, each name prefixed with `namespace_`."""

    def __init__(self, namespace: str, version: str) -> None:
        self._namespace = namespace
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self.gauge(
            "build_info",
            "Constantly 1; the label is this program's version.",
            lambda: {version: 1},
            "version",
        )

    def counter(self, name: str, help: str, read: Read, *labels: str) -> None:
        """A number that only grows; `_total` is added to its name. `read` is called for each scrape."""
        self._registry.register(_Reader(CounterMetricFamily, f"{self._namespace}_{name}", help, read, labels))

    def gauge(self, name: str, help: str, read: Read, *labels: str) -> None:
        """A number that goes up and down. `read` is called for each scrape."""
        self._registry.register(_Reader(GaugeMetricFamily, f"{self._namespace}_{name}", help, read, labels))

    def text(self) -> bytes:
        """All metrics now, in Prometheus' text format."""
        return generate_latest(self._registry)

    def site(self) -> Site:
        """A factory for HTTP connections that serves them at /metrics."""
        root = _Root()
        root.putChild(b"metrics", _Page(self))
        site = _QuietSite(root, timeout=15)
        site.displayTracebacks = False
        site.noisy = False
        return site


class _Reader(Collector):
    """One metric; one that cannot be read is left out of the scrape and logged."""

    def __init__(
        self, family: Callable[..., Any], name: str, help: str, read: Read, labels: tuple[str, ...]
    ) -> None:
        self._family = family
        self._name, self._help, self._read, self._labels = name, help, read, labels

    def describe(self) -> Iterator[Metric]:
        """Registration needs the name only: nothing is read before the first scrape."""
        yield self._family(self._name, self._help, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        family = self._family(self._name, self._help, labels=self._labels)
        try:
            values = self._read()
        except Exception:  # noqa: BLE001  one broken reader must not hide all other metrics
            log.failure("the metric {name} cannot be read", name=self._name)
            return
        for label, value in _by_label(values):
            family.add_metric(label, value)
        yield family


def _by_label(values: Values) -> list[tuple[list[str], float]]:
    if not isinstance(values, Mapping):
        return [([], values)]
    return [([label] if isinstance(label, str) else list(label), value) for label, value in values.items()]


class _Root(Resource):
    def getChild(self, path: bytes, request: HTTPRequest) -> IResource:
        return notFound()


class _Page(Resource):
    isLeaf = True

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"content-type", CONTENT_TYPE_LATEST.encode())
        return self._metrics.text()


class _QuietSite(Site):
    def log(self, request: HTTPRequest) -> None:
        """Scrapes every few seconds are not worth a log line each."""
