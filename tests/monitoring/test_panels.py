"""Every panel and recording rule on a real Prometheus: a standalone server with things going wrong, and the registries
of a worker and a console.

The standalone server is real, with real faults: an agent over its budget, unreadable events, refused and held checks, a
notification target that is not there, an unknown host name, a wrong password, a deal that nobody touched. What it can't
show (a worker's figures, a full disk, a detector that raises) comes from the same registries that workers and consoles
serve, counted by the test.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.metrics import Metrics
from dashboards.proxy_metrics import ProxyMetrics
from dashboards.worker_metrics import WorkerMetrics
from streams.routing import INPUT_TOPICS
from tests.monitoring.promql import console_metrics, plain, worker_metrics
from tests.monitoring.quick import quick_prometheus, targets
from tests.monitoring.servers import Prometheus, Small, free_port, until
from tests.monitoring.test_dashboards import every_panel
from tests.monitoring.test_rules import RULES, rules_of

SETTINGS = """
[engine]
tick_secs = 1
[agents.bot]
actions = ["record.*"]
records_per_10_min = 10
[agents.mailer]
actions = ["email.send"]
[agents.worker]
actions = ["record.*"]
[notifications]
targets = [{name = "nobody", url = "json://127.0.0.1:9/nobody"}]
retry_secs = 0.5
"""
PAUSE_SECS = 0.5
STEP_SECS = 1
SHOWN_SECS = 90


class Standalone:
    """A real standalone server, and what goes wrong with it."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        (folder / "tripline.toml").write_text(SETTINGS)
        command = [
            sys.executable, "-m", "console", "standalone", "--config", str(folder / "tripline.toml"),
            "--data-dir", str(folder / "data"), "--port", self.address.partition(":")[2],
        ]  # fmt: skip
        with (folder / "standalone.log").open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        self._number = 0

    def wait(self) -> None:
        """Until it answers."""

        def answers() -> bool:
            with contextlib.suppress(OSError):
                return self._send("/healthz") == 200
            return False

        until(answers, "the standalone server answers", 60)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def go_wrong(self) -> None:
        """A round of work, much of it wrong."""
        self._number += 1
        number = self._number
        deal = _deal(f"006A{number}", number)
        works = [_action(f"w{number}-{each}", "worker", each) for each in range(3)]
        wrongs = [_action(f"b{number}-{each}", "bot", 100 * number + each) for each in range(15)]
        bulk = _action(f"k{number}", f"rogue-{number}", 0)  # another one each round: there is always a fresh stop
        bulk["data"]["record_ids"] = [f"001{each}" for each in range(60)]
        self._send("/v1/events", b"\n".join(map(_line, (*deal, *works, *wrongs, bulk))), "application/x-ndjson")
        self._send("/v1/events", _line(_leak(number)), "application/cloudevents+json")
        self._send("/v1/events", b'{"specversion":"1.0"}\nno json\n', "application/x-ndjson")
        for agent, action, more in (
            ("worker", "record.update", {"object": "Account"}),
            ("bot", "record.update", {"object": "Account"}),
            ("mailer", "email.send", {"object": "Contact", "recipient_ids": [f"003{number}"]}),
        ):
            check = {"agent_id": agent, "action": action, "record_ids": [f"001{number}"], "request_id": f"r{number}"}
            self._send("/v1/gate/check", _line({**check, **more}), "application/json")
        self._send("/v1/agents", host="evil.example")
        self._send("/v1/agents", authorization="Basic bWF5YTp3cm9uZw==")

    def _send(self, path: str, body: bytes | None = None, content_type: str = "", **headers: str) -> int:
        given = {**({"content-type": content_type} if body else {}), **headers}
        request = urllib.request.Request(f"http://{self.address}{path}", body, given)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code


def _line(document: Any) -> bytes:
    return json.dumps(document).encode()


def _event(kind: str, id_: str, days_ago: float, data: dict[str, Any]) -> dict[str, Any]:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 86_400 * days_ago))
    return {"specversion": "1.0", "id": id_, "source": "/test", "type": kind, "time": when, "data": data}


def _action(id_: str, agent: str, record: int) -> dict[str, Any]:
    data: dict[str, Any] = {
        "agent_id": agent,
        "action": "record.update",
        "outcome": "ok",
        "object": "Account",
        "record_ids": [f"001{record}"],
    }
    return _event("tripline.agent.action.v1", id_, 0, data)


def _leak(number: int) -> dict[str, Any]:
    """The CRM tells of a change by this round's rogue agent, a moment after it was stopped."""
    actor = {"kind": "agent", "id": f"rogue-{number}"}
    data = {"object": "Account", "record_id": f"001L{number}", "op": "update", "actor": actor}
    return _event("tripline.crm.change.v1", f"leak-{number}", -2 / 86_400, data)


def _deal(deal_id: str, number: int) -> list[dict[str, Any]]:
    """A deal that was opened long ago and never touched since, of a manager of its own."""
    after = {
        "name": "Fleet", "account": "Nordwind", "stage": "Negotiation", "amount": "148000.00", "currency": "EUR",
        "manager_id": f"jo{number}",
    }  # fmt: skip
    changes = {name: {"after": value} for name, value in after.items()}
    data = {"object": "Opportunity", "record_id": deal_id, "op": "create", "deal_id": deal_id, "changes": changes}
    call = {"kind": "call", "direction": "outbound", "deal_id": deal_id, "mentions": ["competitor: Fernbrook"]}
    return [
        _event("tripline.crm.change.v1", f"{deal_id}-0", 19, data),
        _event("tripline.crm.activity.v1", f"{deal_id}-1", 18, call),
    ]


def count_worker(metrics: WorkerMetrics) -> None:
    """What a worker counts, a round of it."""
    now = time.time()
    for topic in INPUT_TOPICS:
        metrics.consumed.add(topic, count=300)
        metrics.strays.add(topic)
        metrics.judged_to.set(topic, value=now - 0.5)
        metrics.lag.set(topic, value=12)
        metrics.state_keys.set(topic, value=40)
        metrics.snapshots.add(topic)
        metrics.snapshot_keys.add(topic, count=9)
        metrics.snapshot_bytes.add(topic, count=9_000)
        metrics.oldest_snapshot.set(topic, value=now - 8)
        for state, lanes in (("open", 4), ("recovering", 1), ("stuck", 1)):
            metrics.lanes.set(topic, state, value=lanes)
    for kind in ("finding", "risk", "alert", "top", "score", "marker", "report"):
        metrics.outputs.add(kind)
    for outcome in ("ok", "failed", "skipped"):
        metrics.commits.add(outcome)
    for plainly in (metrics.fed_again, metrics.ticks, metrics.rebalances, metrics.recovered):
        plainly.inc()
    for seconds in (metrics.detection_seconds, metrics.snapshot_seconds, metrics.recovery_seconds):
        seconds.observe(0.02)
    metrics.faults.add("action_rate")
    metrics.recovering.set(100)


def count_console(metrics: Metrics) -> None:
    """What a console counts when its disk is full, its gate slow, and somebody tries passwords."""
    metrics.degraded.set_all({"disk": 1})
    metrics.detector_faults.add("blast_radius")
    metrics.observe_wrong_records("blast_radius", 40)
    metrics.logins.add("throttled")
    metrics.log_time.set(time.time() - 3)
    metrics.judged_to.set(time.time() - 4)
    metrics.ingest_seconds.observe(0.02)
    metrics.gate_seconds.observe(0.3)
    metrics.gate_decisions.add("deny", "not_available")
    metrics.approvals.add("expired")
    metrics.approvals_waiting.set(2)
    metrics.wrong_stops.set("repeated_errors", value=1)
    metrics.widenings.set("mute", value=1)
    metrics.policy_unused.set("two_people", value=2)
    metrics.revocations.add("failed")
    metrics.cancellations.add("refused")
    metrics.oldest_approval.set(time.time() - 1_000)
    metrics.model_log_loss.set_all({"model": 0.31, "scorecard": 0.29})
    metrics.model_error.set_all({"model": 0.06, "scorecard": 0.09})
    metrics.model_drift.set(0.3)
    metrics.model_concerns.set(2)
    for channel in ("log", "slack"):
        metrics.notified(channel, True, 0.3)


class Scene:
    """All of it, going on until the tests are over."""

    def __init__(self, folder: Path) -> None:
        self.standalone = Standalone(folder)
        self.worker, self.console, self.proxy = worker_metrics(), console_metrics(), ProxyMetrics("1")
        self._served = Small(
            {
                "/w": lambda: self.worker.render().decode(),
                "/c": lambda: self.console.render().decode(),
                "/p": lambda: self.proxy.render().decode(),
            }
        )
        self.prometheus = Prometheus(folder, quick_prometheus(folder))
        targets(
            folder,
            (self.standalone.address, {"job": "tripline"}),
            (self._served.address, {"job": "tripline-worker", "instance": "w", "__metrics_path__": "/w"}),
            (self._served.address, {"job": "tripline-console", "instance": "c", "__metrics_path__": "/c"}),
            (self._served.address, {"job": "tripline-proxy", "instance": "p", "__metrics_path__": "/p"}),
        )
        self._is_over = threading.Event()
        self._rounds = threading.Thread(target=self._go_on)
        self.problem: BaseException | None = None

    def worker_page(self) -> str:
        return self.worker.render().decode()

    def console_page(self) -> str:
        return self.console.render().decode()

    def start(self) -> None:
        self.standalone.wait()
        self._rounds.start()

    def stop(self) -> None:
        self._is_over.set()
        if self._rounds.is_alive():
            self._rounds.join()
        self.prometheus.stop()
        self._served.stop()
        self.standalone.stop()

    def _go_on(self) -> None:
        try:
            while not self._is_over.wait(PAUSE_SECS):
                self.standalone.go_wrong()
                count_worker(self.worker)
                count_console(self.console)
                self.proxy.requests.add("not_parsed", "unread")
                self.proxy.seconds.observe(0.02)
        except BaseException as problem:
            self.problem = problem


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("scene"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def trouble_with(series: list[dict[str, Any]], legend: str) -> str:
    """What is wrong with the answer to a query; "" = nothing."""
    if not series:
        return "no series"
    for one in series:
        values = [float(value) for _, value in one.get("values") or [one["value"]]]
        if all(math.isnan(value) for value in values):
            return f"only NaN in {one['metric']}"
        absent = [name for name in re.findall(r"{{(\w+)}}", legend) if not one["metric"].get(name)]
        if absent:
            return f"{one['metric']} has no {absent}, which the legend names"
    return ""


def soon(scene: Scene, ask: Callable[[], str]) -> None:
    """Wait until nothing is wrong; fails with what is."""
    said = [""]

    def is_well() -> bool:
        assert scene.problem is None, scene.problem
        said[0] = ask()
        return not said[0]

    try:
        until(is_well, "", 40, 0.3)
    except AssertionError:
        pytest.fail(said[0] or repr(scene.problem))


@every_panel
def test_a_panel_has_something_to_show(scene: Scene, path: Path, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        expression = plain(target["expr"], __rate_interval=f"{SHOWN_SECS}s", __range=f"{SHOWN_SECS}s")

        def ask(expression: str = expression, target: dict[str, Any] = target) -> str:
            now = time.time()
            if target.get("instant"):
                series = scene.prometheus.query(expression)
            else:
                series = scene.prometheus.query_range(expression, now - SHOWN_SECS, now, STEP_SECS)
            return trouble_with(series, target["legendFormat"])

        soon(scene, ask)


@pytest.mark.parametrize(
    "rule", [rule for path in RULES for rule in rules_of(path) if "record" in rule], ids=lambda rule: rule["record"]
)
def test_a_recording_rule_records_its_levels(scene: Scene, rule: dict[str, Any]) -> None:
    level = rule["record"].partition(":")[0]
    legend = "".join(f"{{{{{name}}}}}" for name in level.split("_"))
    for expression in (rule["expr"], rule["record"]):
        soon(scene, lambda expression=expression: trouble_with(figures(scene.prometheus.query(expression)), legend))


def figures(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those that are NaN: nobody asked, nothing was sent."""
    return [one for one in samples if not math.isnan(float(one["value"][1]))]


@pytest.mark.parametrize(
    "rule", [rule for path in RULES for rule in rules_of(path) if "alert" in rule], ids=lambda rule: rule["alert"]
)
def test_an_alert_s_expression_is_understood(scene: Scene, rule: dict[str, Any]) -> None:
    scene.prometheus.query(rule["expr"])


def test_no_rule_fails_on_what_is_really_exposed(scene: Scene) -> None:
    assert scene.prometheus.troubles() == []
