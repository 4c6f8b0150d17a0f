"""The dashboards without a Grafana: JSON equals code, nothing is lost on the way, panels say what they show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.grafana.files import FILES, text_of
from tests.monitoring.promql import COUNTING, kinds, plain, selectors
from tests.monitoring.test_rules import RULES, rules_of

BOARDS = {path: json.loads(path.read_text()) for path in FILES}
UNITS = {"none", "short", "s", "percentunit", "eps", "reqps", "ops", "rps", "Bps", "bytes", "bool_yes_no"}
RECORDED = {rule["record"] for path in RULES for rule in rules_of(path) if "record" in rule}
PANELS = [
    pytest.param(path, panel, id=f"{path.stem}: {panel['title']}")
    for path, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
EXPRESSIONS = [
    *(
        pytest.param(target["expr"], id=f"{one.id} {target['refId']}")
        for one in PANELS
        for target in one.values[1]["targets"]
    ),
    *(pytest.param(rule["expr"], id=rule.get("alert") or rule["record"]) for path in RULES for rule in rules_of(path)),
]
every_panel = pytest.mark.parametrize(("path", "panel"), PANELS)
every_expression = pytest.mark.parametrize("expression", EXPRESSIONS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_committed_json_is_what_the_code_makes(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == text_of(FILES[path]), "run: make dashboards"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_key_is_unknown_to_grafana(path: Path) -> None:
    """The SDK drops unknown keys when it reads."""
    board = BOARDS[path]
    again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert again == board
    assert board["schemaVersion"] == 42


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_ids_and_titles_are_unique_and_panels_do_not_overlap(path: Path) -> None:
    panels = BOARDS[path]["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    assert min(ids) > 0
    titles = [panel["title"] for panel in panels]
    assert len(set(titles)) == len(titles)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_the_dashboards_find_each_other() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    for board in BOARDS.values():
        assert board["tags"] == ["tripline"]
        assert board["links"][0]["tags"] == ["tripline"]


@every_panel
def test_a_panel_says_what_it_shows(path: Path, panel: dict[str, Any]) -> None:
    assert panel["title"][0].isupper()
    assert len(panel["description"]) > 20
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"]["uid"] == "${datasource}"
    if panel["type"] != "stat":
        assert panel["options"]["legend"]["showLegend"]
    legends = [target["legendFormat"] for target in panel["targets"]]
    assert all(legends)
    assert len(set(legends)) == len(legends)


@every_panel
def test_a_panel_asks_for_the_chosen_jobs_only(path: Path, panel: dict[str, Any]) -> None:
    wanted = ["job", "instance"] if path.stem == "tripline-runtime" else ["job"]
    for target in panel["targets"]:
        expression = target["expr"]
        assert set(re.findall(r"\[(.*?)\]", expression)) <= {"$__rate_interval", "$__range"}
        for selector in selectors(plain(expression, job="chosen_job", instance="chosen_instance")):
            if selector.metric == "ALERTS":  # some have no job: what is absent has none
                continue
            for name in wanted:
                assert selector.matchers.get(name) == f"chosen_{name}", selector


@every_expression
def test_counters_are_asked_for_their_increase_and_gauges_never(expression: str) -> None:
    for selector in selectors(plain(expression)):
        if selector.metric in RECORDED:
            assert selector.function not in COUNTING, selector
            continue
        assert selector.metric in kinds(), f"{selector.metric} is exposed by nobody"
        if kinds()[selector.metric] == "counter":
            is_asked_rightly = selector.function in COUNTING and selector.is_range
            assert is_asked_rightly or selector.function == "absent", selector
        else:
            assert selector.function not in COUNTING, selector


@every_expression
def test_a_quantile_is_taken_of_buckets_with_their_limits(expression: str) -> None:
    if "histogram_quantile" in expression:
        assert expression.count("_bucket") == expression.count("histogram_quantile")
        assert len(re.findall(r"\ble\)", expression)) == expression.count("histogram_quantile")
