"""What all registries of Tripline share: metrics with a prefix, and labelled ones whose children are made once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4"
OTHER = "other"


def version() -> str:
    """Tripline's version; "0" in a source tree that is not installed."""
    try:
        return metadata.version("tripline")
    except metadata.PackageNotFoundError:
        return "0"


class CounterBy:
    """A counter with labels whose children are made once; unknown values are counted as "other"."""

    def __init__(self, metric: Counter | Gauge, *values: Iterable[str]) -> None:
        known = [dict.fromkeys((*value, OTHER)) for value in values]
        self._known = known
        self.width = len(known)
        self._children = {key: metric.labels(*key) for key in product(*known)}

    def add(self, *key: str, count: float = 1) -> None:
        """Count; ``key`` is one value a label, in their order."""
        self._child(key).inc(count)

    def set(self, *key: str, value: float) -> None:
        """Set a gauge."""
        child = self._child(key)
        if isinstance(child, Gauge):
            child.set(value)

    def set_all(self, values: Mapping[str, float]) -> None:
        """Set a gauge with one label: the given values, 0 for the others, and "other" to the sum of the unknown."""
        unknown = sum(value for name, value in values.items() if (name,) not in self._children)
        for (name,) in self._children:
            self.set(name, value=values.get(name, 0) + (unknown if name == OTHER else 0))

    def _child(self, key: tuple[str, ...]) -> Counter | Gauge:
        child = self._children.get(key)
        if child is not None:
            return child
        parts = zip(key, self._known, strict=True)
        return self._children[tuple(part if part in known else OTHER for part, known in parts)]


class Registry:
    """Metrics in a registry of their own. Counting is thread-safe and costs about a microsecond."""

    def __init__(self, version: str = "") -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._gauge("build_info", "Always 1; the label says which version runs.", "version").labels(version).set(1)

    def render(self) -> bytes:
        """The exposition text. Takes milliseconds: call it in a thread, never on the gate's loop."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"tripline_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"tripline_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"tripline_{name}", text, registry=self.registry, buckets=buckets)
