"""PromQL as the tests look at it: selectors of an expression, and what is known of the metrics they name."""

from __future__ import annotations

from functools import cache
from typing import Any

import promql_parser
from msgspec import Struct

from console.app import make_metrics
from dashboards.metrics import Metrics
from dashboards.proxy_metrics import ProxyMetrics
from dashboards.worker_metrics import WorkerLabels, WorkerMetrics
from detectors.discovery import discover
from events.codec import BadReason
from governance.settings import parse_settings
from streams.routing import INPUT_TOPICS

OF_PROMETHEUS = {
    "up": "gauge",
    "scrape_samples_scraped": "gauge",
    "scrape_duration_seconds": "gauge",
    "ALERTS": "gauge",
}
COUNTING = ("rate", "increase")


class Selector(Struct, frozen=True):
    """A metric's selector, and the function around it: "" for none."""

    metric: str
    matchers: dict[str, str]
    function: str
    is_range: bool


def plain(expression: str, **values: str) -> str:
    """An expression of a dashboard with its variables filled in."""
    given = {"__rate_interval": "1m", "__range": "1h", "job": "tripline.*", "instance": ".+", **values}
    for name, value in given.items():
        expression = expression.replace(f"${name}", value)
    assert "$" not in expression, expression
    return expression


def selectors(expression: str) -> list[Selector]:
    """All selectors of an expression."""
    found: list[Selector] = []

    def look(node: Any, function: str) -> None:
        kind = type(node).__name__
        if kind == "VectorSelector":
            found.append(_selector(node, function, is_range=False))
        elif kind == "MatrixSelector":
            found.append(_selector(node.vector_selector, function, is_range=True))
        elif kind == "Call":
            for one in node.args:
                look(one, node.func.name)
        elif kind == "BinaryExpr":
            look(node.lhs, "")
            look(node.rhs, "")
        elif kind in ("AggregateExpr", "ParenExpr", "UnaryExpr", "SubqueryExpr"):
            look(node.expr, "")

    look(promql_parser.parse(expression), "")
    return found


def _selector(node: Any, function: str, *, is_range: bool) -> Selector:
    matchers = {one.name: one.value for one in node.matchers.matchers}
    return Selector(node.name or matchers["__name__"], matchers, function, is_range)


def worker_metrics() -> WorkerMetrics:
    """A worker's metrics, with the labels that it has."""
    reasons = [str(reason) for reason in BadReason]
    return WorkerMetrics(WorkerLabels(topics=INPUT_TOPICS, reasons=reasons, detectors=sorted(discover())), "1")


def console_metrics() -> Metrics:
    """A console's metrics, with the labels that it has."""
    return make_metrics(parse_settings(None, {}, {}))


@cache
def kinds() -> dict[str, str]:
    """What each series is, by its name: counter or gauge."""
    found = dict(OF_PROMETHEUS)
    for registry in (console_metrics(), worker_metrics(), ProxyMetrics()):
        for family in registry.registry.collect():
            kind = "gauge" if family.type == "gauge" else "counter"
            found.update((sample.name, kind) for sample in family.samples)
    return found
