"""The metrics of an HTTP proxy in front of a CRM; the rules of ``dashboards.metrics`` hold here as well."""

from __future__ import annotations

from dashboards.registry import CounterBy, Registry

SECONDS_PROXIED = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
ANSWERS = (
    "passed", "crm_failed", "denied", "held", "not_parsed", "gate_unavailable", "unauthorized", "bad_request",
    "too_large", "too_slow",
)  # fmt: skip
ROUTES = ("read", "write", "unread")
"""``unread``: nobody could tell what it does, or it was refused before anybody looked."""


class ProxyMetrics(Registry):
    """What one proxy answered, and how long that took."""

    def __init__(self, version: str = "") -> None:
        super().__init__(version)
        self.requests = CounterBy(
            self._counter(
                "proxy_requests",
                "Requests of the agent, by answer (passed: the CRM has answered; crm_failed: it has not) and kind of "
                "route (unread: nobody could tell what it does).",
                "answer",
                "route",
            ),
            ANSWERS,
            ROUTES,
        )
        self.seconds = self._histogram(
            "proxy_request_seconds", "From a request's receipt to its answer, the gate's and the CRM's time included.",
            SECONDS_PROXIED,
        )  # fmt: skip
